"""Polls one list of runs for a watch: when, and whether what it shows is used."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.identity import Me, who_am_i
from airflow_provider_trifacta.api.pace import backoff
from airflow_provider_trifacta.api.runs.feed import Feed, RunKey, UnreliableList, read_list
from airflow_provider_trifacta.api.runs.kind import RunRef
from airflow_provider_trifacta.api.runs.run_lists import RunList
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import spoken

log = logging.getLogger(__name__)

#: Fewer waits than this many are read directly: the list would not save requests.
FEWEST_WAITS = 8
#: Minimum seconds between two polls.
_SHORTEST_INTERVAL = 1.0
#: Seconds that the shown statuses are used after the poll, beside two poll intervals: it takes time.
_GRACE = 5.0
#: Waits that continue earlier ones come in large numbers when a triggerer starts. The list is polled for all of
#: them together: this many seconds after the last one came, or at the latest so many after the first.
_CALM = 2.0
_LONGEST_CALM = 20.0
#: Seconds after which a list that could not be read is tried again: at first, and at most.
_FIRST_RETRY = 5.0
_LAST_RETRY = 900.0
#: Seconds for which an unreliable list is not used: at first, and at most.
_FIRST_SUSPENSION = 3600.0
_LAST_SUSPENSION = 86400.0
#: Seconds without a poll after which what the list showed is forgotten.
_LONGEST_GAP = 900.0
_BUDGET = 10.0


class ListPoll:
    """Polls a list for those of a connection's waits that it can tell about.

    :param conn_id: the connection, for the log.
    :param news: receives the runs about which the list has news.
    """

    def __init__(
        self,
        runs: RunList,
        conn_id: str,
        client: AsyncTrifactaClient,
        clock: Clock,
        news: Callable[[RunKey], None],
    ) -> None:
        self.kinds = runs.kinds
        self._runs = runs
        self._name = f"The list of {runs.noun} of connection {conn_id!r}"
        self._client = client
        self._clock = clock
        self._news = news
        self._feed = Feed(runs)
        self._intervals: Counter[float] = Counter()
        self._me: Me | None = None
        self._polled_at = -_LONGEST_GAP
        self._is_good = False
        self._failures = 0
        self._retry_at = 0.0
        self._suspensions = 0
        self._suspended_until = 0.0
        self._first_came: float | None = None
        self._last_came = 0.0

    def add(self, key: RunKey, ref: RunRef, *, began: float, continues: bool) -> None:
        """Add a run that is waited for.

        :param began: when the wait began, seconds since the epoch.
        :param continues: whether it is not new, so that its run may have changed before.
        """
        self._feed.add(key, began=began, parts=map(str, ref.parts))
        if continues:
            self._last_came = self._clock.monotonic()
            self._first_came = self._last_came if self._first_came is None else self._first_came

    def remove(self, key: RunKey) -> None:
        """Remove a run that is no longer waited for."""
        self._feed.remove(key)

    def add_interval(self, seconds: float, count: int) -> None:
        """Note how many more waits have this poll interval; fewer if negative."""
        self._intervals[seconds] += count
        if not self._intervals[seconds]:
            del self._intervals[seconds]

    @property
    def interval(self) -> float:
        """Seconds between two polls: the shortest poll interval of the waits."""
        return max(_SHORTEST_INTERVAL, min(self._intervals))

    def due(self) -> float | None:
        """Return when to poll next, on the monotonic clock; None if the list is not needed."""
        if self._intervals.total() < FEWEST_WAITS:
            return None
        due = self._polled_at + self.interval
        if self._first_came is not None:
            due = min(due, self._last_came + _CALM, self._first_came + _LONGEST_CALM)
        return max(due, self._retry_at, self._suspended_until)

    def status(self, key: RunKey, now: float, poll_interval: float) -> str | None:
        """Return the status of a run that the list vouches for; None if the run must be read."""
        if not self._is_good or self.due() is None:
            return None
        is_fresh = now - self._polled_at <= 2 * max(poll_interval, self.interval) + _GRACE
        return self._feed.status(key) if is_fresh else None

    def may_show(self, key: RunKey) -> bool:
        """Return whether the next poll is the first that can show the run."""
        return not self._failures and self.due() is not None and self._feed.is_new(key) and not self._is_suspended

    @property
    def _is_suspended(self) -> bool:
        return self._clock.monotonic() < self._suspended_until

    def ended(self, key: RunKey) -> None:
        """Note that the end of a run was read directly."""
        self._feed.ended(key, self._server_time())

    async def poll(self) -> None:
        """Read the list. An error is logged once; then each run is read directly."""
        began = self._clock.monotonic()
        if began - self._polled_at > _LONGEST_GAP:
            self._feed.forget()
        self._first_came = None
        try:
            if self._me is None:
                self._me = await self._client.run(who_am_i(self._clock, budget=_BUDGET))
            ahead = self._me.clock_offset
            await self._client.run(read_list(self._runs, self._feed, self._server_time, ahead, self._news))
        except UnreliableList as error:
            self._suspend(error)
        except Exception as error:
            self._fail(error)
        else:
            if self._failures:
                log.info("%s can be read again", self._name)
            self._polled_at = began
            self._is_good = True
            self._failures = 0

    def _server_time(self) -> float:
        return self._clock.time() + (self._me.clock_offset if self._me else 0.0)

    def _fail(self, error: Exception) -> None:
        if not self._failures:
            log.warning(
                "%s cannot be read, so each run is read directly: %s",
                self._name,
                line(f"{type(error).__name__}: {error}"),
            )
        self._is_good = False
        self._failures += 1
        self._retry_at = self._clock.monotonic() + backoff(_FIRST_RETRY, _LAST_RETRY, self._failures)

    def _suspend(self, error: UnreliableList) -> None:
        self._suspensions += 1
        seconds = backoff(_FIRST_SUSPENSION, _LAST_SUSPENSION, self._suspensions)
        log.warning(
            "%s is not reliable: %s. Each run is read directly; the list is tried again in %s",
            self._name,
            line(str(error)),
            spoken(seconds),
        )
        self._is_good = False
        self._suspended_until = self._clock.monotonic() + seconds
        self._feed.forget()
