"""What a trigger remembers in the state of the assets that it watches (Airflow 3.3 and later)."""

from __future__ import annotations

from typing import Any

from airflow.triggers.base import BaseTrigger


class AssetState:
    """The state of each asset that a trigger watches.

    :param trigger: Airflow gives it the stores before it runs.
    """

    def __init__(self, trigger: BaseTrigger) -> None:
        store = getattr(trigger, "asset_state_store", None)
        # Without a choice of the asset, the store works only for a trigger with one. One that several assets watch
        # with must choose, and the names of its assets are known to the store alone.
        by_asset = [*getattr(store, "_by_name", {}).values(), *getattr(store, "_by_uri", {}).values()]
        self._stores: list[Any] = by_asset or ([] if store is None else [store])

    def __bool__(self) -> bool:
        """Return whether anything can be remembered."""
        return bool(self._stores)

    async def read(self, key: str) -> list[Any]:
        """Return the values that are stored under a key, one for each asset that has one.

        :raises Exception: one could not be read.
        """
        values = [await store.aget(key) for store in self._stores]
        return [value for value in values if value is not None]

    async def write(self, key: str, value: Any) -> None:
        """Store a value under a key, for each asset.

        :raises Exception: it could not be stored.
        """
        for store in self._stores:
            await store.aset(key, value)
