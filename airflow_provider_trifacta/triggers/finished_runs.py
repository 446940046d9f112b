"""One reading of a list for all watchers of a connection in an event loop.

The shared streams of Airflow 3.3 have the same purpose. But an error of the stream ends all its triggers, as does
a burst of more events than their queues hold; none can tell since when it needs changes; 3.0 to 3.2 have none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from weakref import WeakKeyDictionary

from airflow_provider_trifacta.airflow_support.cancellation import outlive_cancellation
from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.identity import Me, who_am_i
from airflow_provider_trifacta.api.pace import backoff
from airflow_provider_trifacta.api.runs.changes import Changes
from airflow_provider_trifacta.api.runs.cursor import Cursor
from airflow_provider_trifacta.api.runs.finished import (
    FinishedRun,
    count_outputs,
    find_flow,
    read_finished,
)
from airflow_provider_trifacta.api.runs.kinds import KINDS
from airflow_provider_trifacta.api.runs.plan_references import PlanReferences
from airflow_provider_trifacta.api.runs.run_lists import RUN_LISTS, ListedRun, RunList
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import moment_after, spoken
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.triggers.shared_reads import SharedReads
from airflow_provider_trifacta.triggers.waking import wait_until
from airflow_provider_trifacta.triggers.watch import Watch

log = logging.getLogger(__name__)

#: Triggers come in large numbers when a triggerer starts. The list is read for all of them together: this many
#: seconds after the last one came, or at the latest so many after the first.
_CALM = 2.0
_LONGEST_CALM = 10.0
#: Seconds after which a list that could not be read is read again: at first, and at most.
_FIRST_RETRY = 5.0
_LAST_RETRY = 900.0
#: Number of readings that failed after their first page, after which the rest is given up.
_MOST_PARTIAL = 5
#: Seconds after which it is checked whether the connection has been changed.
_CONNECTION_CHECK = 600.0
#: Maximum seconds for that, and for what is only informational.
_SHORT_BUDGET = 10.0

_feeds: WeakKeyDictionary[Watch, dict[str, RunFeed]] = WeakKeyDictionary()


@asynccontextmanager
async def following(watch: Watch, cursor: Cursor, poll_interval: float) -> AsyncIterator[Follower]:
    """Let a cursor follow the list that shows its runs; the last one to leave ends the feed.

    :param watch: that of the connection.
    :param poll_interval: seconds between two readings of the list; the shortest one of all is used.
    """
    (runs,) = [runs for runs in RUN_LISTS if cursor.wanted.kind in runs.kinds]
    feeds = _feeds.setdefault(watch, {})
    feed = feeds.get(runs.kind)
    if feed is None or feed.has_ended:
        feed = feeds[runs.kind] = RunFeed(watch, runs)
    follower = Follower(feed, cursor, poll_interval)
    feed.add(follower)
    try:
        yield follower
    finally:
        feed.remove(follower)
        if not feed.is_used:
            if feeds.get(runs.kind) is feed:
                del feeds[runs.kind]
            await outlive_cancellation(feed.close())


class Follower:
    """A cursor that follows a list, see :func:`following`."""

    def __init__(self, feed: RunFeed, cursor: Cursor, poll_interval: float) -> None:
        self.cursor = cursor
        self.poll_interval = poll_interval
        self._feed = feed
        self._news = asyncio.Event()

    async def news(self) -> bool:
        """Wait until the list has been read, or could not be read; return False if the connection was changed.

        :raises RuntimeError: the feed has ended.
        """
        await self._news.wait()
        self._news.clear()
        if self._feed.failure is not None:
            raise RuntimeError("the feed has ended") from self._feed.failure
        return not self._feed.is_outdated

    def wake(self) -> None:
        """End the wait for news."""
        self._news.set()

    async def flow_of(self, flow_run_id: str, job_group_id: str | None) -> str | None:
        """Return the flow that a flow run runs; None if it cannot be known.

        :raises TrifactaApiError: it could not be read.
        """
        client = self._feed.client
        return await self._feed.reads.get(
            ("flow of", flow_run_id), lambda: client.run(find_flow(flow_run_id, job_group_id))
        )

    async def plan_of(self, run_id: str, referred: str | None) -> str | None:
        """Return the plan that a plan run ran; None if it cannot be known.

        :raises TrifactaApiError: it could not be read.
        """
        feed = self._feed
        return await feed.reads.get(
            ("plan of", run_id), lambda: feed.client.run(feed.plans.find(run_id, referred))
        )

    async def read(self, run_id: str, *, subject_id: str | None, row: ListedRun | None) -> FinishedRun | None:
        """Read a run that a list shows as ended; None if it does not exist any more.

        :raises TrifactaApiError: it could not be read.
        """
        client, kind = self._feed.client, self.cursor.wanted.kind
        return await self._feed.reads.get(
            (kind, run_id),
            lambda: client.run(read_finished(kind, run_id, subject_id=subject_id, row=row)),
            is_final=lambda run: run is None or run.has_ended,
        )

    async def outputs_of(self, run: FinishedRun) -> int | None:
        """Return how many files and tables a run wrote; None if that cannot be known."""

        async def count() -> int | None:
            with decoration(f"The outputs of {run.kind} {line(run.id, 100)} could not be counted", log):
                async with asyncio.timeout(_SHORT_BUDGET):
                    return await self._feed.client.run(count_outputs(run))
            return None

        return await self._feed.reads.get(("outputs of", run.kind, run.id), count)

    def page_of(self, run: FinishedRun) -> str:
        """Return the URL of a run's page."""
        return KINDS[run.kind].page(self._feed.client.settings.application, run.ref)


class RunFeed:
    """Reads a list of runs for its followers, again and again. Use :func:`following`.

    :param runs: the list.
    """

    def __init__(self, watch: Watch, runs: RunList) -> None:
        self.client = watch.client
        self.reads = SharedReads()
        self.plans = PlanReferences()
        #: Whether the connection has been changed, so that the followers must begin anew.
        self.is_outdated = False
        #: What ended it unexpectedly.
        self.failure: BaseException | None = None
        self._hook = watch.hook
        self._clock = watch.hook.clock
        self._runs = runs
        self._name = f"The list of {runs.noun} of connection {watch.hook.trifacta_conn_id!r}"
        self._followers: dict[Follower, None] = {}
        self._wake = asyncio.Event()
        self._me: Me | None = None
        self._failures = 0
        self._partial = 0
        self._noted: set[str] = set()
        now = self._clock.monotonic()
        self._first_came = self._last_came = now
        self._read_at: float | None = None
        self._check_at = now + _CONNECTION_CHECK
        # In a context of its own: its log is not that of the trigger that happened to be the first.
        self._task = asyncio.create_task(self._follow(), context=Context())
        self._task.add_done_callback(self._stopped)

    @property
    def is_used(self) -> bool:
        """Whether it has followers."""
        return bool(self._followers)

    @property
    def has_ended(self) -> bool:
        """Whether new followers need another one."""
        return self.is_outdated or self.failure is not None

    def add(self, follower: Follower) -> None:
        """Add a follower. The list is read for it soon."""
        now = self._clock.monotonic()
        if self._first_came <= (self._read_at or 0.0):
            self._first_came = now
        self._last_came = now
        self._followers[follower] = None
        self._wake.set()

    def remove(self, follower: Follower) -> None:
        """Remove a follower."""
        del self._followers[follower]

    async def close(self) -> None:
        """End everything."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.reads.close()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.failure = task.exception()
        self._wake_all()

    def _wake_all(self) -> None:
        for follower in self._followers:
            follower.wake()

    async def _follow(self) -> None:
        while not self.is_outdated:
            if not self._followers:
                await wait_until(None, self._wake, self._clock)
                continue
            due = self._due()
            if due > self._clock.monotonic():
                await wait_until(due, self._wake, self._clock)
                continue
            await self._read()
            if self._clock.monotonic() >= self._check_at:
                self._check_at = self._clock.monotonic() + _CONNECTION_CHECK
                self.is_outdated = await self._connection_was_changed()
            self._wake_all()

    def _due(self) -> float:
        """Return when to read the list, on the monotonic clock."""
        soon = min(self._last_came + _CALM, self._first_came + _LONGEST_CALM)
        if self._read_at is None:
            return soon
        if self._failures:
            return self._read_at + backoff(_FIRST_RETRY, _LAST_RETRY, self._failures)
        due = self._read_at + min(follower.poll_interval for follower in self._followers)
        return min(due, soon) if self._last_came > self._read_at else due

    async def _read(self) -> None:
        """Read the list once, for those who follow it now. An error is logged, and followed by a longer pause."""
        self._read_at = self._clock.monotonic()
        cursors = [follower.cursor for follower in self._followers]

        def take(row: ListedRun) -> None:
            now = self._clock.monotonic()
            for cursor in cursors:
                cursor.see(row, now)

        for cursor in cursors:
            cursor.trusts_plans = self.plans.refer_to == "plans"
        changes = Changes(self._runs, min(cursor.since for cursor in cursors), take)
        try:
            if self._me is None:
                self._me = await self.client.run(who_am_i(self._clock, budget=_SHORT_BUDGET))
            began = self._server_time()
            await self.client.run(changes.read())
        except Exception as error:
            self._fail(error, changes, cursors)
        else:
            if self._failures:
                log.info("%s can be read again", self._name)
            self._failures = self._partial = 0
            self._end(changes, cursors, began)

    def _end(self, changes: Changes, cursors: list[Cursor], began: float) -> None:
        """Note that the list has been read as far as it can be."""
        newest = changes.newest
        if changes.rows and newest is None:
            self._note_once("has no updatedAt that can be read, so a change that it shows late is passed over")
            newest = began
        if changes.ignores_filter:
            self._note_once("ignores the filter by updatedAt, so more of it is read than needed")
        if changes.is_cut_off:
            self._skip(changes, cursors, "it has too many rows")
        if newest is not None:
            newest = min(newest, self._server_time())
        for cursor in cursors:
            cursor.covered(newest, self._ahead)
            surplus = cursor.drop_oldest()
            if surplus:
                log.warning("%s: %d runs that have not ended are not followed: too many", self._name, surplus)

    def _skip(self, changes: Changes, cursors: list[Cursor], reason: str) -> None:
        """Go on although earlier changes were not read."""
        shown = changes.oldest
        skipped = shown is not None and [cursor.skip_to(shown) for cursor in cursors]
        if shown is None or not any(skipped or ()):
            self._note_once(f"is read only in part ({reason}), so runs that end may be missed")
            return
        log.warning(
            "%s was read only back to %s (%s). Runs that ended between %s and then are skipped, unless they were "
            "reported before: no DAG is started for them",
            self._name,
            moment_after(shown, 0),
            reason,
            moment_after(changes.since, 0),
        )

    def _fail(self, error: Exception, changes: Changes, cursors: list[Cursor]) -> None:
        self._failures += 1
        self._partial = self._partial + 1 if changes.pages else 0
        pause = self._due() - self._clock.monotonic()
        log.warning(
            "%s could not be read, so runs that end are reported later. Trying again in %s: %s",
            self._name,
            spoken(pause),
            line(f"{type(error).__name__}: {error}"),
        )
        if self._partial >= _MOST_PARTIAL:
            self._partial = 0
            self._skip(changes, cursors, f"page {changes.pages + 1} cannot be read")

    def _note_once(self, what: str) -> None:
        if what not in self._noted:
            self._noted.add(what)
            log.warning("%s %s", self._name, what)

    @property
    def _ahead(self) -> float | None:
        """Seconds by which the server's clock is ahead of ours; None if that is unknown."""
        return self._me.clock_offset if self._me and not self._me.clock_error else None

    def _server_time(self) -> float:
        return self._clock.time() + (self._ahead or 0.0)

    async def _connection_was_changed(self) -> bool:
        """Return whether the connection, as it is stored now, has another server or other credentials."""
        used = (await self._hook.async_access()).identity
        budget = self._hook.retries.budget
        hook = TrifactaHook(self._hook.trifacta_conn_id, retry_budget=budget, clock=self._clock)
        try:
            async with asyncio.timeout(_SHORT_BUDGET):
                stored = (await hook.async_access()).identity
        except Exception as error:
            log.warning(
                "Connection %r could not be read again, so it is used as it was: %s",
                self._hook.trifacta_conn_id,
                line(f"{type(error).__name__}: {error}"),
            )
            return False
        if stored == used:
            return False
        log.info("Connection %r was changed: its lists are read with what it has now", self._hook.trifacta_conn_id)
        return True
