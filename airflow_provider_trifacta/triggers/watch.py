"""One watch for all waits of a connection in an event loop.

Each wait gets a status at each of its poll intervals. Where a list of runs vouches for the run, that costs no
request; otherwise the wait reads its own run, when it is its turn. So what a wait logs, retries and fails with is
its own, and an error of a list is nobody's.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import Context
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from airflow_provider_trifacta.airflow_support.cancellation import outlive_cancellation
from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.gate import Gate
from airflow_provider_trifacta.api.pace import Pace
from airflow_provider_trifacta.api.runs.feed import RunKey
from airflow_provider_trifacta.api.runs.kind import RunKind, RunRef
from airflow_provider_trifacta.api.runs.run_lists import RUN_LISTS
from airflow_provider_trifacta.api.runs.waiting import PollIntervals
from airflow_provider_trifacta.api.statuses import furthest, is_final, is_running
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.triggers.connection_reads import reader_of
from airflow_provider_trifacta.triggers.list_poll import ListPoll
from airflow_provider_trifacta.triggers.waking import wait_until

#: Maximum number of TCP connections of a watch.
MOST_CONNECTIONS = 4
#: Maximum number of requests per second of a watch, and how many more after a rest.
REQUESTS_PER_SECOND = 20.0
_BURST = 10
#: A run that a list vouches for is read directly after this many seconds, or this share of the poll interval.
_SAMPLE_SECONDS = 15.0
_SAMPLE_SHARE = 0.5
#: How many times a minute the progress of a run is read, which is only logged.
_PROGRESS_PER_MINUTE = 3
#: Seconds within which a wait that continues an earlier one gets its first status.
_SOON = 5.0
#: Seconds that such a wait gives the list to show its run.
_LONGEST_CATCH_UP = 120.0
#: Seconds after which a list that is being read is asked for again.
_MEANWHILE = 2.0
#: How many waits a second learn from a list that their run has changed, and how many at once. Each of them writes
#: a line to its log. A triggerer of Airflow 3.3 hangs for good if the socket for the logs fills up while it hands
#: dozens of new triggers to the process that runs them: both then wait for the other to read.
_CHANGES_PER_SECOND = 50.0
_CHANGES_AT_ONCE = 20
#: Maximum number of waits that get a status before other tasks of the event loop have their turn.
_AT_A_TIME = 100
#: Seconds between two rounds.
_SHORTEST_PAUSE = 0.02

_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Watch]] = WeakKeyDictionary()


@asynccontextmanager
async def watching(hook: TrifactaHook) -> AsyncIterator[Watch]:
    """Yield the watch of this event loop for the connection of a hook; the last user ends it.

    :raises TrifactaConfigurationError: the connection cannot be used; names the field.
    :raises TrifactaTokenUnreadable: it, or its token, could not be read for the retry budget.
    """
    hook = await reader_of(hook)
    identity = (await hook.async_access()).identity
    watches = _watches.setdefault(asyncio.get_running_loop(), {})
    watch = watches.get(identity)
    if watch is None:
        # Opening it does not let other tasks run, so there is only one.
        watch = await Watch.open(hook)
        watches[identity] = watch
    watch.users += 1
    # Thousands of waits would each keep a hook. They use that of the watch.
    del hook
    try:
        yield watch
    finally:
        watch.users -= 1
        if watch.users == 0:
            del watches[identity]
            await outlive_cancellation(watch.close())


class Subscription:
    """The wait for one run, see :meth:`Watch.subscribe`.

    :param waited: for how many seconds the run has been waited for already.
    """

    __slots__ = (
        "_turn",
        "_watch",
        "due",
        "intervals",
        "is_urgent",
        "key",
        "kind",
        "must_read",
        "poll_interval",
        "ref",
        "since",
        "status",
    )

    def __init__(self, watch: Watch, kind: RunKind, ref: RunRef, poll_interval: float, waited: float) -> None:
        self.kind = kind
        self.ref = ref
        self.key: RunKey = (kind.name, str(ref.id))
        self.poll_interval = poll_interval
        self.intervals = PollIntervals(poll_interval, waited=waited)
        self.since = watch.hook.clock.monotonic()
        #: The last status value that it received.
        self.status: str | None = None
        #: When it is to receive the next one, on the monotonic clock.
        self.due = 0.0
        #: Whether there has been news while it did not wait.
        self.is_urgent = False
        #: Whether it is to read its run even if a list vouches for it.
        self.must_read = False
        self._watch = watch
        self._turn: asyncio.Future[str | None] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its next status."""
        return self._turn is not None and not self._turn.done()

    async def next_status(self) -> str:
        """Wait until the next poll is due; return the status of the run.

        :raises TrifactaApiError: it could not be read within the retry budget.
        """
        self._turn = asyncio.get_running_loop().create_future()
        try:
            self._watch.schedule(self)
            status = await self._turn
        finally:
            self._turn = None
        if status is None:
            status = await self._watch.client.run(self.kind.status(self.ref))
            self._watch.was_read(self, status)
        self.status = status
        return status

    def receive(self, status: str | None) -> None:
        """End the wait for the next status: this is it, or None if the run must be read."""
        if self._turn is not None:
            self.must_read = False
            self._turn.set_result(status)

    def fail(self, error: BaseException) -> None:
        """End the wait for the next status with an error."""
        if self._turn is not None and not self._turn.done():
            self._turn.set_exception(RuntimeError(f"the watch has ended: {error!r}"))


class _Entry(NamedTuple):
    """A subscription in a queue.

    :param number: keeps the order of those that are due at the same moment.
    """

    due: float
    number: int
    subscription: Subscription


class Watch:
    """Gives each of its subscriptions a status at its poll intervals. Use :func:`watching`.

    :param hook: the hook of the connection.
    :param client: the client of all waits.
    :param gate: paces its requests.
    :param stack: closes the client.
    :param random_number: returns numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        hook: TrifactaHook,
        client: AsyncTrifactaClient,
        gate: Gate,
        stack: AsyncExitStack,
        random_number: Callable[[], float] = random.random,
    ) -> None:
        self.hook = hook
        self._random = random_number
        self.client = client
        self.users = 0
        self._gate = gate
        self._stack = stack
        self._clock = hook.clock
        lists = [ListPoll(runs, hook.trifacta_conn_id, client, hook.clock, self._news) for runs in RUN_LISTS]
        self._lists = {kind: one for one in lists for kind in one.kinds}
        self._subscriptions: dict[RunKey, list[Subscription]] = {}
        #: In the order in which they were last read directly, the longest ago first.
        self._by_age: dict[Subscription, None] = {}
        #: Those that wait for their poll interval to pass, those that wait for their turn to learn of a change,
        #: and those that wait for their turn to read.
        self._queue: list[_Entry] = []
        self._changes: list[_Entry] = []
        self._reads: list[_Entry] = []
        self._numbers = itertools.count()
        self._turns = Pace(REQUESTS_PER_SECOND, burst=_BURST)
        self._change_turns = Pace(_CHANGES_PER_SECOND, burst=_CHANGES_AT_ONCE)
        self._progress = Pace(_PROGRESS_PER_MINUTE / 60, burst=_PROGRESS_PER_MINUTE)
        self._next_sample = 0.0
        self._wake_turns = asyncio.Event()
        self._wake_lists = asyncio.Event()
        self._failure: BaseException | None = None
        # In a context of their own: their log is not that of the task that happened to be the first.
        self._tasks = [
            asyncio.create_task(work, context=Context()) for work in (self._give_turns(), self._poll_lists())
        ]
        for task in self._tasks:
            task.add_done_callback(self._stopped)

    @classmethod
    async def open(cls, hook: TrifactaHook) -> Watch:
        """Return a new watch, which must be closed."""
        gate = Gate(hook.clock, at_once=MOST_CONNECTIONS, per_second=REQUESTS_PER_SECOND, burst=_BURST)
        stack = AsyncExitStack()
        return cls(hook, await stack.enter_async_context(hook.async_client(gate=gate)), gate, stack)

    async def close(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.wait(self._tasks)
        finally:
            await self._stack.aclose()

    @contextmanager
    def subscribe(
        self, kind: RunKind, ref: RunRef, *, poll_interval: float, began: float | None
    ) -> Iterator[Subscription]:
        """Yield a subscription for a run.

        :param poll_interval: seconds between two polls, after the first few.
        :param began: when the wait began, seconds since the epoch; None means now.
        """
        now = self._clock.time()
        began = now if began is None else began
        subscription = Subscription(self, kind, ref, poll_interval, now - began)
        key, runs = subscription.key, self._lists[kind.name]
        others = self._subscriptions.setdefault(key, [])
        if not others:
            runs.add(key, ref, began=began, continues=not subscription.intervals.is_early)
        others.append(subscription)
        runs.add_interval(poll_interval, 1)
        self._by_age[subscription] = None
        self._wake_lists.set()
        try:
            yield subscription
        finally:
            others.remove(subscription)
            if not others:
                del self._subscriptions[key]
                runs.remove(key)
            runs.add_interval(poll_interval, -1)
            del self._by_age[subscription]

    def may_ask_for_progress(self) -> bool:
        """Return whether the progress of a run may be requested now. It is only logged, so that is limited."""
        return self._progress.allows(self._clock.monotonic())

    # ------------------------------------------------------------------------------------------- for subscriptions

    def schedule(self, subscription: Subscription) -> None:
        """Plan the next status of a subscription, whose turn has been set."""
        if self._failure is not None:
            raise RuntimeError("the watch has ended") from self._failure
        pause = 0.0
        if subscription.is_urgent:
            subscription.is_urgent = False
        elif subscription.due == 0.0 and not subscription.intervals.is_early:
            pause = self._random() * min(subscription.poll_interval, _SOON)
        else:
            pause = subscription.intervals.next(self._random())
        self._plan(subscription, self._clock.monotonic() + pause)

    def was_read(self, subscription: Subscription, status: str) -> None:
        """Note the status that was read directly."""
        self._move_to_end(subscription)
        if is_final(status):
            self._lists[subscription.kind.name].ended(subscription.key)

    # ------------------------------------------------------------------------------------------------------- turns

    async def _give_turns(self) -> None:
        """Give each subscription its status, or its turn to read it, when it is due."""
        while True:
            now = self._clock.monotonic()
            more = self._serve_queue(now)
            self._serve_changes(now)
            self._serve_reads(now)
            if more:
                await asyncio.sleep(0)
                continue
            self._drop_outdated(self._reads)
            due = [self._queue[0].due] if self._queue else []
            if self._changes:
                due.append(now + self._change_turns.wait(now))
            if self._reads:
                due.append(now + self._turns.wait(now))
            moment = max(min(due), now + _SHORTEST_PAUSE) if due else None
            await wait_until(moment, self._wake_turns, self._clock)

    def _serve_queue(self, now: float) -> bool:
        """Give a status to those that are due, or let them queue for it; return whether there are more."""
        for _ in range(_AT_A_TIME):
            self._drop_outdated(self._queue)
            if not self._queue or self._queue[0].due > now:
                return False
            entry = heapq.heappop(self._queue)
            subscription = entry.subscription
            status = self._listed(subscription, now)
            if status is not None and status == subscription.status:
                self._tell(subscription, status, now)
            elif status is not None:
                heapq.heappush(self._changes, entry)
            elif self._may_be_shown_soon(subscription, now):
                self._plan(subscription, now + _MEANWHILE)
            else:
                heapq.heappush(self._reads, entry)
        return True

    def _serve_changes(self, now: float) -> None:
        """Tell those whose run a list shows to have changed, as many as the pace allows."""
        while True:
            self._drop_outdated(self._changes)
            if not self._changes or not self._change_turns.allows(now):
                return
            entry = heapq.heappop(self._changes)
            status = self._listed(entry.subscription, now)
            if status is None:
                heapq.heappush(self._reads, entry)
            else:
                self._tell(entry.subscription, status, now)

    def _tell(self, subscription: Subscription, status: str, now: float) -> None:
        self._sample(subscription, now)
        subscription.receive(status)

    def _serve_reads(self, now: float) -> None:
        """Give turns to read to those that have waited longest, as many as the pace allows."""
        while True:
            self._drop_outdated(self._reads)
            if not self._reads or self._gate.waiting >= MOST_CONNECTIONS or not self._turns.allows(now):
                return
            subscription = heapq.heappop(self._reads).subscription
            # The list may have shown it meanwhile; then the turn is lost, which is cheap.
            subscription.receive(None if subscription.must_read else self._listed(subscription, now))

    def _listed(self, subscription: Subscription, now: float) -> str | None:
        """Return the status of a run if a list vouches for it; None if the run must be read."""
        seen = subscription.status
        if subscription.intervals.is_early or (seen is not None and not is_running(seen)):
            return None
        runs = self._lists[subscription.kind.name]
        status = runs.status(subscription.key, now, subscription.poll_interval)
        # The list may lag behind what was read directly.
        return status if status is None or seen is None else furthest((status, seen))

    def _may_be_shown_soon(self, subscription: Subscription, now: float) -> bool:
        """Return whether it is worth waiting for the list to show the run of a wait that continues another."""
        return (
            not subscription.intervals.is_early
            and subscription.status is None
            and now - subscription.since < _LONGEST_CATCH_UP
            and self._lists[subscription.kind.name].may_show(subscription.key)
        )

    def _sample(self, cause: Subscription, now: float) -> None:
        """Let the subscription whose run was read longest ago read it, to check the list now and then."""
        if now < self._next_sample:
            return
        self._next_sample = now + max(_SAMPLE_SECONDS, _SAMPLE_SHARE * cause.poll_interval)
        oldest = next(iter(self._by_age))
        self._move_to_end(oldest)
        if oldest is not cause and oldest.is_waiting:
            oldest.must_read = True
            oldest.due = now
            heapq.heappush(self._reads, self._entry(oldest))

    def _news(self, key: RunKey) -> None:
        """Do not wait for the poll interval to pass: a list has news of the run."""
        now = self._clock.monotonic()
        for subscription in self._subscriptions.get(key, ()):
            if not subscription.is_waiting:
                subscription.is_urgent = True
            elif subscription.due > now:
                self._plan(subscription, now)

    def _plan(self, subscription: Subscription, due: float) -> None:
        subscription.due = due
        entry = self._entry(subscription)
        heapq.heappush(self._queue, entry)
        if self._queue[0] is entry:
            self._wake_turns.set()

    def _entry(self, subscription: Subscription) -> _Entry:
        return _Entry(subscription.due, next(self._numbers), subscription)

    def _move_to_end(self, subscription: Subscription) -> None:
        if subscription in self._by_age:
            del self._by_age[subscription]
            self._by_age[subscription] = None

    @staticmethod
    def _drop_outdated(queue: list[_Entry]) -> None:
        """Remove the first entries of those that have been planned anew, have had their turn or have left."""
        while queue and not (queue[0].subscription.is_waiting and queue[0].due == queue[0].subscription.due):
            heapq.heappop(queue)

    # ------------------------------------------------------------------------------------------------------- lists

    async def _poll_lists(self) -> None:
        """Poll each list when it is due."""
        while True:
            due = {one: moment for one in self._lists.values() if (moment := one.due()) is not None}
            first = min(due, key=due.__getitem__, default=None)
            if first is None:
                await wait_until(None, self._wake_lists, self._clock)
            elif due[first] > self._clock.monotonic():
                await wait_until(due[first], self._wake_lists, self._clock)
            else:
                await first.poll()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait for a watch that has failed."""
        if task.cancelled():
            error: BaseException = asyncio.CancelledError()
        else:
            error = task.exception() or RuntimeError("it stopped")
        self._failure = self._failure or error
        for subscription in self._by_age:
            subscription.fail(error)
