"""An injectable clock: tests that wait for hours take milliseconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

#: Called to check whether to go on; an exception from it ends the current call.
Interrupt = Callable[[], None]
#: Maximum seconds between two such checks during a sleep.
_LONGEST_SLEEP = 1.0


class Clock(Protocol):
    """The clock that the clients use. All values are seconds."""

    def time(self) -> float:
        """Return the seconds since the epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return the seconds of a monotonic clock."""
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
        """Return the seconds of a monotonic clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for a while."""
        time.sleep(seconds)

    async def async_sleep(self, seconds: float) -> None:
        """Wait for a while without blocking the event loop."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


def sleep_unless(interrupt: Interrupt | None, clock: Clock, seconds: float) -> None:
    """Block for a while, checking at least once a second whether to go on: a signal handler does not end a sleep.

    :param interrupt: the check; None sleeps to the end.
    """
    if interrupt is None:
        clock.sleep(seconds)
        return
    until = clock.monotonic() + seconds
    interrupt()
    while (left := until - clock.monotonic()) > 0:
        clock.sleep(min(left, _LONGEST_SLEEP))
        interrupt()
