"""One read of a connection for all triggers that need it at the same time.

A triggerer reads connections for its triggers one after the other, a few a second. After a restart, each of
thousands of triggers would wait for minutes until it is its turn.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

#: Connection and retry budget.
Key = tuple[str, float | None]


class _Read:
    """A read that is under way.

    :param hook: the hook that reads.
    """

    def __init__(self, hook: TrifactaHook) -> None:
        self.hook = hook
        self.waiting = 0
        self.task = asyncio.create_task(hook.async_access())


_reads: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Key, _Read]] = WeakKeyDictionary()


async def reader_of(hook: TrifactaHook) -> TrifactaHook:
    """Return a hook for the same connection that has just read it, together with its token.

    :param hook: reads it, unless another one is doing so.
    :raises TrifactaConfigurationError: the connection cannot be used; names the field.
    :raises TrifactaTokenUnreadable: it, or its token, could not be read for the retry budget.
    """
    reads = _reads.setdefault(asyncio.get_running_loop(), {})
    key = (hook.trifacta_conn_id, hook.retry_budget)
    began = hook.clock.monotonic()
    while True:
        others = reads.get(key)
        read = others
        if read is None:
            read = reads[key] = _Read(hook)
        read.waiting += 1
        try:
            # A trigger that is cancelled does not end it for the others.
            await asyncio.shield(read.task)
        except Exception:
            # The patience of the one that began it is over, ours may not be.
            if others is None or hook.clock.monotonic() - began >= hook.retries.budget:
                raise
        else:
            return read.hook
        finally:
            read.waiting -= 1
            if read.task.done() or not read.waiting:
                read.task.cancel()
                if reads.get(key) is read:
                    del reads[key]
