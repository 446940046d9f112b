"""The queue of those who wait to start a run: first come first served, at the pace of the quota.

There is one for each connection, operation and event loop. It has no task of its own: whoever is first waits for
the moment, and then wakes the next.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakKeyDictionary

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.start_pace import StartPace

#: Maximum seconds for which the first sleeps: meanwhile someone may come who has waited longer.
_LONGEST_SLEEP = 1.0

#: Connection and operation.
Key = tuple[str, str]
_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Key, StartQueue]] = WeakKeyDictionary()


class _Place:
    """A place in a queue.

    :param since: when its holder began to wait.
    :param number: decides between those who began at the same moment.
    """

    def __init__(self, since: float, number: int) -> None:
        self.rank = (since, number)
        self.is_first = asyncio.Event()


class StartQueue:
    """A queue of starts."""

    def __init__(self, clock: Clock) -> None:
        self.pace = StartPace(clock.time())
        #: How many wait, also those that have no place yet.
        self.waiting = 0
        self._clock = clock
        self._places: list[_Place] = []
        self._number = 0

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Count among those who wait."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @asynccontextmanager
    async def place(self, since: float) -> AsyncIterator[_Place]:
        """Hold a place in the queue.

        :param since: when its holder began to wait, in seconds since the epoch.
        """
        self._number += 1
        place = _Place(since, self._number)
        self._places.append(place)
        self._places.sort(key=lambda place: place.rank)
        try:
            yield place
        finally:
            self._places.remove(place)
            if self._places:
                self._places[0].is_first.set()

    def ahead_of(self, place: _Place) -> int:
        """Return how many stand before a place."""
        return self._places.index(place)

    async def slot_for(self, place: _Place, deadline: float | None) -> None:
        """Wait until the holder of a place may start.

        :param deadline: until when, in seconds since the epoch; None waits for as long as it takes.
        :raises TimeoutError: the deadline passed.
        """
        while True:
            now = self._clock.time()
            remaining = math.inf if deadline is None else deadline - now
            if remaining <= 0:
                raise TimeoutError
            if self._places[0] is not place:
                place.is_first.clear()
                async with asyncio.timeout(None if deadline is None else remaining):
                    await place.is_first.wait()
            elif self.pace.due > now:
                await self._clock.async_sleep(min(self.pace.due - now, remaining, _LONGEST_SLEEP))
            else:
                self.pace.let_out(now)
                return


def queue_of(key: Key, clock: Clock) -> StartQueue:
    """Return the queue of a connection and operation in the running event loop."""
    queues = _queues.setdefault(asyncio.get_running_loop(), {})
    if key not in queues:
        queues[key] = StartQueue(clock)
    return queues[key]
