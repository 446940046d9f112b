"""A trigger as Airflow stores it."""

from __future__ import annotations

from typing import Any

from airflow.triggers.base import BaseTrigger


class StoredTrigger(BaseTrigger):
    """A trigger that survives updates of this package.

    The arguments of a trigger are plain values, and none is a secret: Airflow keeps them in its database. Each has
    a default, so that triggers stored by an older version still load; arguments added by a newer version are
    ignored with a warning.
    """

    def __init__(self, **unknown: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        if unknown:
            self.log.warning("Ignoring arguments of another version of the provider: %s", sorted(unknown))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self._arguments()

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments."""
        raise NotImplementedError
