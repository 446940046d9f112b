"""Waits for a run: when to poll, how to interpret each status, what to log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.errors import TrifactaApiError, TrifactaUnauthorized
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.runs.kind import RunKind, RunRef, name_of, title_of
from airflow_provider_trifacta.api.statuses import RunStatus, is_final, is_known
from airflow_provider_trifacta.api.timestamps import spoken

#: Seconds between two polls, after the first few.
DEFAULT_POLL_INTERVAL = 30.0
#: Seconds for which an unknown status value is tolerated.
DEFAULT_UNKNOWN_STATUS_TIMEOUT = 600.0
#: Seconds to the first poll. Short recipes end within a few seconds; longer ones are polled less and less often.
_FIRST_INTERVAL = 1.0
_GROWTH = 1.5
#: From this interval in seconds on, a run is no longer new: its end may be seen later.
_LAST_EARLY_INTERVAL = 10.0
#: A run that has been waited for longer than this many seconds is not new when another process goes on waiting.
_NEW = 30.0
#: Seconds between polls while the token is refused.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
#: Progress is logged after 60 s, but no more often than every third poll. The interval doubles up to 15 minutes,
#: so a job of several hours logs a few lines per hour.
_PROGRESS_SECONDS = 60.0
_PROGRESS_POLLS = 3
_PROGRESS_LONGEST = 900.0


@dataclass(frozen=True)
class Ending:
    """How a wait ended.

    :param status: the last status value.
    :param kind: ``final``, or ``unknown`` if the value stayed unknown for too long.
    """

    status: str
    kind: Literal["final", "unknown"]


class Wait:
    """Decides after each poll whether the wait for a run is over, and logs changes.

    :param kind: the kind of the run.
    :param unknown_status_timeout: seconds for which an unknown status value is tolerated.
    :param log: receives changes of the status, not every poll.
    """

    def __init__(self, kind: RunKind, run: RunRef, *, unknown_status_timeout: float, log: Log) -> None:
        self._run = title_of(kind, run)
        self._unknown_status_timeout = unknown_status_timeout
        self._log = log
        self._status: str | None = None
        self._unknown_since: float | None = None

    def observe(self, status: str, now: float, *, unchanged_since: float | None = None) -> Ending | None:
        """Process the result of a poll; return how the wait ended, None while it goes on.

        :param now: seconds on any monotonic clock.
        :param unchanged_since: a time on the same clock since which the run has had this status, for callers that
            keep no state between polls.
        """
        if status != self._status:
            self._log_change(status)
            self._status = status
        if is_final(status):
            return Ending(status, "final")
        if is_known(status):
            self._unknown_since = None
            return None
        since = [moment for moment in (now, self._unknown_since, unchanged_since) if moment is not None]
        self._unknown_since = min(since)
        return Ending(status, "unknown") if now - self._unknown_since >= self._unknown_status_timeout else None

    def _log_change(self, status: str) -> None:
        if is_known(status):
            self._log.info("%s is %s", self._run, status)
        else:
            self._log.warning(
                "%s has the unknown status %r. Waiting up to %.0f s for it to change",
                self._run,
                status,
                self._unknown_status_timeout,
            )


class _ProgressReports:
    """Logs the progress of a run: first after a minute, then less and less often.

    :param began: when the wait began, seconds on the monotonic clock.
    :param may_ask: whether the progress may be requested now; otherwise the line goes without it.
    """

    def __init__(
        self,
        kind: RunKind,
        run: RunRef,
        poll_interval: float,
        began: float,
        now: float,
        log: Log,
        may_ask: Callable[[], bool],
    ) -> None:
        self._kind = kind
        self._ref = run
        self._began = began
        self._log = log
        self._may_ask = may_ask
        self._interval = max(_PROGRESS_SECONDS, _PROGRESS_POLLS * poll_interval)
        self._next = now + self._interval

    def report(self, status: str, now: float) -> Procedure[None]:
        """Log the progress if it is due."""
        if now < self._next:
            return
        progress = ""
        if status == RunStatus.IN_PROGRESS.value and self._may_ask():
            with decoration(f"The progress of {name_of(self._kind, self._ref)} could not be read", self._log):
                progress = f": {yield from self._kind.progress(self._ref)}"
        title, waited = title_of(self._kind, self._ref), spoken(now - self._began)
        self._log.info("%s is still %s after %s%s", title, status, waited, progress)
        self._interval = max(self._interval, min(2 * self._interval, _PROGRESS_LONGEST))
        self._next = now + self._interval


class PollIntervals:
    """The seconds between polls of one run: short ones at first, then the poll interval.

    :param waited: for how many seconds the run has been waited for already.
    """

    def __init__(self, poll_interval: float, *, waited: float = 0.0) -> None:
        self._poll_interval = poll_interval
        self._interval = poll_interval if waited > _NEW else min(_FIRST_INTERVAL, poll_interval)

    @property
    def is_early(self) -> bool:
        """Whether the run is new, so that its end should be seen soon."""
        return self._interval < min(self._poll_interval, _LAST_EARLY_INTERVAL)

    def next(self, random_number: float) -> float:
        """Return the seconds to the next poll, jittered by 10 %.

        :param random_number: a random number in [0, 1).
        """
        interval = self._interval
        self._interval = min(self._poll_interval, interval * _GROWTH)
        return interval * (0.9 + 0.2 * random_number)


class Observer:
    """Processes the polls of one run: logs changes and progress, and decides when the wait is over.

    :param poll_interval: seconds between two polls, after the first few.
    :param unknown_status_timeout: seconds for which an unknown status value is tolerated.
    :param began: when the wait began, seconds since the epoch, if it began in another process; None means now.
        Only used in the log.
    :param log: receives changes of the status and progress, not every poll.
    :param may_ask: whether the progress may be requested now; otherwise it is logged without.
    """

    def __init__(
        self,
        kind: RunKind,
        run: RunRef,
        *,
        poll_interval: float,
        unknown_status_timeout: float,
        began: float | None,
        clock: Clock,
        log: Log,
        may_ask: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clock = clock
        self._wait = Wait(kind, run, unknown_status_timeout=unknown_status_timeout, log=log)
        now = clock.monotonic()
        waited = 0.0 if began is None else max(0.0, clock.time() - began)
        self._progress = _ProgressReports(kind, run, poll_interval, now - waited, now, log, may_ask)

    def observe(self, status: str) -> Procedure[Ending | None]:
        """Process the result of a poll; return how the wait ended, None while it goes on."""
        now = self._clock.monotonic()
        ending = self._wait.observe(status, now)
        if ending is None:
            yield from self._progress.report(status, now)
        return ending


def wait_for_run(
    kind: RunKind,
    run: RunRef,
    *,
    poll_interval: float,
    unknown_status_timeout: float,
    began: float | None = None,
    clock: Clock,
    random_number: Callable[[], float],
    log: Log,
) -> Procedure[Ending]:
    """Poll a run until it ends.

    :param poll_interval: seconds between two polls, after the first few; jittered by 10 %.
    :param unknown_status_timeout: seconds for which an unknown status value is tolerated.
    :param began: when the wait began, seconds since the epoch, if it began in another process; None means now.
        Only used in the log.
    :param log: receives changes of the status and progress, not every poll.
    :raises TrifactaApiError: a status could not be read within the client's retry budget.
    """
    observer = Observer(
        kind,
        run,
        poll_interval=poll_interval,
        unknown_status_timeout=unknown_status_timeout,
        began=began,
        clock=clock,
        log=log,
    )
    intervals = PollIntervals(poll_interval)
    while True:
        yield Pause(intervals.next(random_number()))
        ending = yield from observer.observe((yield from kind.status(run)))
        if ending is not None:
            return ending


def poll_briefly(kind: RunKind, run: RunRef, *, seconds: float, clock: Clock) -> Procedure[str | None]:
    """Return the final status of a run if it ends within some seconds and the server answers, else None."""
    until = clock.monotonic() + seconds
    interval = _FIRST_INTERVAL
    while clock.monotonic() + interval <= until:
        yield Pause(interval)
        interval *= _GROWTH
        try:
            status = yield from kind.status(run, budget=0)
        except TrifactaApiError:
            return None  # whoever waits from here on retries
        if is_final(status):
            return status
    return None


def status_patiently(kind: RunKind, run: RunRef, *, patience: float, clock: Clock) -> Procedure[str]:
    """Read a status, retrying while the token is refused: it may be about to be replaced.

    :param patience: maximum seconds to go on.
    """
    until = clock.monotonic() + patience
    pause = _FIRST_PAUSE
    while True:
        try:
            return (yield from kind.status(run))
        except TrifactaUnauthorized:
            if clock.monotonic() + pause > until:
                raise
        yield Pause(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
