"""What several triggers want to read at the same time is read once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

#: Maximum number of results that are kept.
_MOST = 1000


class SharedReads:
    """Reads that are shared by those who want the same at the same time; results that are final are kept."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(
        self,
        key: Hashable,
        read: Callable[[], Coroutine[Any, Any, T]],
        *,
        is_final: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Return what a read returns.

        :param key: equal for equal reads.
        :param is_final: whether its result need not be read again.
        :raises Exception: that of the read.
        """
        if key in self._kept:
            kept: T = self._kept[key]
            return kept
        task = self._under_way.get(key)
        if task is None:
            # In a context and a task of its own: who began it may be cancelled while others still wait.
            task = asyncio.create_task(self._read(key, read, is_final), context=Context())
            # Its error is not lost if nobody waits any more.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._under_way[key] = task
        result: T = await asyncio.shield(task)
        return result

    async def _read(
        self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]], is_final: Callable[[T], bool]
    ) -> T:
        try:
            result = await read()
        finally:
            del self._under_way[key]
        if is_final(result):
            self._kept[key] = result
            if len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]
        return result

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
