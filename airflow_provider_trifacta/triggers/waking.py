"""Waits that an event can end early."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider_trifacta.api.clock import Clock


async def wait_until(moment: float | None, wake: asyncio.Event, clock: Clock) -> None:
    """Wait until a moment on the monotonic clock, or until the event is set; None only for the event."""
    wake.clear()
    waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(wake.wait())]
    if moment is not None:
        pause = max(0.0, moment - clock.monotonic())
        waits.append(asyncio.ensure_future(clock.async_sleep(pause)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
