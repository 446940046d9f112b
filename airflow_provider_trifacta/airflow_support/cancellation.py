"""Work that goes on while Airflow cancels whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

#: The event loop keeps weak references only.
_going_on: set[asyncio.Task[None]] = set()


async def outlive_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Wait until work is done, however often the waiting task is cancelled meanwhile.

    Airflow cancels a trigger again at every sync, about once a second, until it has ended, and may stop waiting
    itself: the work is a task of its own, which goes on all the same. Only the end of the event loop cancels it.

    :param work: bounds its own time.
    :raises asyncio.CancelledError: in the end, when the waiting task was cancelled meanwhile; or the work was.
    """
    task = asyncio.create_task(work)
    _going_on.add(task)
    task.add_done_callback(_going_on.discard)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
    task.result()
