"""What Airflow's cancels must not end, and what must not change them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Strong references: the event loop keeps only weak ones.
_going_on: set[asyncio.Task[None]] = set()


async def outlive_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Wait until the work is done, however often the waiting task is cancelled meanwhile.

    Airflow cancels a trigger again at every sync, about once a second, until it has ended, and may stop waiting
    for it. So the work runs in a separate task, which continues; only the end of the event loop cancels it.

    :param work: the work, which limits its own duration.
    :raises asyncio.CancelledError: after the work, if the waiting task was cancelled meanwhile; or the work was.
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


async def keep_message_of_cancel(work: Coroutine[Any, Any, T]) -> T:
    """Await work, and if the waiting task is cancelled meanwhile, raise the error with the message of the cancel.

    By it, Airflow 3.3 knows that a user has ended the task, and only then calls ``on_kill``. What waits for
    a thread loses it: ``sync_to_async``, by which Airflow itself reads connections.

    :param work: the work, which is cancelled likewise.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise
    return task.result()
