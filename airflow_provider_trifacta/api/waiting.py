"""Waiting for a job group: when to look, what each status means, what to tell the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.operations import get_job_group_status, get_jobs_for_job_group
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.reports import progress_of
from airflow_provider_trifacta.api.statuses import RunStatus, is_final, is_known
from airflow_provider_trifacta.api.timestamps import spoken

#: Seconds between two looks, once the first ones are over.
DEFAULT_POLL_INTERVAL = 30.0
#: Seconds for which a status word that nobody knows is waited through.
DEFAULT_UNKNOWN_STATUS_TIMEOUT = 600.0
#: Seconds to the first look. Short recipes end within a few; later ones are looked at less and less often.
_FIRST_INTERVAL = 1.0
_GROWTH = 1.5
#: Seconds after which the log is told how far a job group is; at least so many looks lie in between, and each time
#: the double, up to the longest: jobs of hours make some lines an hour.
_PROGRESS_SECONDS = 60.0
_PROGRESS_LOOKS = 3
_PROGRESS_LONGEST = 900.0


@dataclass(frozen=True)
class Ending:
    """How a wait ended.

    :param status: the last status word.
    :param kind: ``final`` or, when the word stayed unknown for too long, ``unknown``.
    """

    status: str
    kind: Literal["final", "unknown"]


class UnknownStatusPatience:
    """Decides for how long a status word that nobody knows is waited through.

    :param limit: seconds.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since: float | None = None

    def is_over(self, status: str, now: float, *, since: float | None = None) -> bool:
        """Return whether the word has been unknown for too long.

        :param now: seconds on any clock that does not go backwards.
        :param since: when it began, for who cannot remember.
        """
        if is_known(status):
            self._since = None
            return False
        known_since = now if self._since is None else self._since
        self._since = known_since if since is None else min(known_since, since)
        return now - self._since >= self._limit


def wait_for_job_group(
    job_group_id: Id,
    *,
    poll_interval: float,
    unknown_status_timeout: float,
    began: float | None = None,
    clock: Clock,
    random_number: Callable[[], float],
    log: Log,
) -> Procedure[Ending]:
    """Look at a job group until it ends.

    :param poll_interval: seconds between two looks, once the first ones are over; jittered by a tenth.
    :param unknown_status_timeout: seconds for which an unknown status word is waited through.
    :param began: when the wait began, seconds since the epoch, for one that goes on elsewhere; None is now. Only
        the log is told.
    :param log: is told changes of status and progress, not every look.
    :raises TrifactaApiError: a status could not be read within the client's retry budget.
    """
    interval = min(_FIRST_INTERVAL, poll_interval)
    patience = UnknownStatusPatience(unknown_status_timeout)
    started = clock.monotonic() - (0 if began is None else max(0.0, clock.time() - began))
    progress_every = max(_PROGRESS_SECONDS, _PROGRESS_LOOKS * poll_interval)
    next_progress = clock.monotonic() + progress_every
    last_status: str | None = None
    while True:
        yield Pause(interval * (0.9 + 0.2 * random_number()))
        interval = min(poll_interval, interval * _GROWTH)
        status: str = yield get_job_group_status(job_group_id)
        now = clock.monotonic()
        if status != last_status:
            if is_known(status):
                log.info("Job group %s is %s", job_group_id, status)
            else:
                log.warning(
                    "Job group %s has the status %r, which is not known. It is waited through for %.0f s",
                    job_group_id,
                    status,
                    unknown_status_timeout,
                )
            last_status = status
        if is_final(status):
            return Ending(status, "final")
        if patience.is_over(status, now):
            return Ending(status, "unknown")
        if now >= next_progress:
            progress = yield from _progress(job_group_id, status, log)
            log.info("Job group %s is still %s after %s%s", job_group_id, status, spoken(now - started), progress)
            progress_every = max(progress_every, min(2 * progress_every, _PROGRESS_LONGEST))
            next_progress = now + progress_every


def _progress(job_group_id: Id, status: str, log: Log) -> Procedure[str]:
    """Say how far the jobs are, where they can be."""
    progress = ""
    if status == RunStatus.IN_PROGRESS.value:
        with decoration(f"The progress of job group {job_group_id} could not be read", log):
            progress = f": {progress_of((yield get_jobs_for_job_group(job_group_id).within(0)))}"
    return progress
