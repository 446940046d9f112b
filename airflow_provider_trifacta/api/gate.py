"""Paces the requests of one client: how many at once, and how many a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.pace import Pace


class Gate:
    """Lets requests through in the order in which they came.

    :param at_once: how many may be under way: each needs a connection.
    :param per_second: how many may begin per second.
    :param burst: how many may begin at once after a rest.
    """

    def __init__(self, clock: Clock, *, at_once: int, per_second: float, burst: int) -> None:
        self._clock = clock
        self._slots = asyncio.Semaphore(at_once)
        self._pace = Pace(per_second, burst=burst)
        #: The number of requests that wait to begin.
        self.waiting = 0

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """Wait until a request may begin; the next one may take its place when the block ends."""
        self.waiting += 1
        began = False
        try:
            async with self._slots:
                wait = self._pace.reserve(self._clock.monotonic())
                if wait > 0:
                    await self._clock.async_sleep(wait)
                self.waiting -= 1
                began = True
                yield
        finally:
            if not began:
                self.waiting -= 1
