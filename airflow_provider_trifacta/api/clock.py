"""Time, passed in: so that tests of hours of waiting take milliseconds."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the clients need of time. All values are seconds."""

    def time(self) -> float:
        """Return the seconds since the epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block for a while."""
        ...

    async def async_sleep(self, seconds: float) -> None:
        """Wait for a while without blocking the event loop."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Return the seconds since the epoch (UTC)."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for a while."""
        time.sleep(seconds)

    async def async_sleep(self, seconds: float) -> None:
        """Wait for a while without blocking the event loop."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
