"""How far a list of runs has been followed: which runs were reported, which may have to be, since when to read.

Nothing that a list shows is believed: it only names the runs that are to be read. A run is reported once, however
often and in whatever order its rows appear. ``now`` is the present moment on the monotonic clock; other moments
are seconds since the epoch, on the server's clock unless specified otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_trifacta.api.ids import same_id
from airflow_provider_trifacta.api.pace import backoff
from airflow_provider_trifacta.api.runs.finished import FinishedRun
from airflow_provider_trifacta.api.runs.kind import KindName
from airflow_provider_trifacta.api.runs.run_lists import ListedRun
from airflow_provider_trifacta.api.statuses import as_documented, is_final, is_running
from airflow_provider_trifacta.api.text import is_line

#: Seconds that each reading reaches back before the newest change of the reading before the last: rows may appear
#: late, and in another order than that of their moments.
OVERLAP = 600.0
#: Seconds that the first reading reaches back before the beginning, to know the runs that are under way.
LOOK_BACK = 86_400.0
#: Runs that changed in the last seconds before the beginning are read: the list may be wrong about them.
_RECENT = 3600.0
#: The longest time, in seconds, that a reading reaches back.
LONGEST_CATCH_UP = 7 * 86_400.0
#: Seconds after which a run is read that is shown as running, if nothing about it has changed: the list may never
#: show its end.
_LONGEST_SILENCE = 300.0
#: Seconds after which a run that is shown as ended, and could not be read or had not, is read again: at first.
_FIRST_RETRY = 30.0
#: The same at most, in both cases.
_LAST_RETRY = 900.0
#: Seconds after which a run that cannot be read is given up.
_PATIENCE = 86_400.0
#: Maximum numbers of runs that are remembered: reported ones, those that need not be, those that may have to be.
_MOST_REPORTED = 2000
_MOST_CLOSED = 5000
_MOST_OPEN = 500
#: Maximum number of runs that are read after one reading of the list beside those that it shows as ended.
_MOST_SILENT = 10
#: Maximum number of characters of an id; those of plan runs need not be numbers.
_LONGEST_ID = 100
#: Later than any moment, and a number in JSON.
_NEVER = 2.0**36
_VERSION = 1


@dataclass(frozen=True)
class Wanted:
    """Which runs are reported.

    :param kind: their kind.
    :param subject_id: the recipe, flow or plan.
    :param statuses: how they ended.
    :param run_by: the user who started them; None for any.
    :param ran_from: what started them; None for anything.
    """

    kind: KindName
    subject_id: str
    statuses: frozenset[str]
    run_by: str | None = None
    ran_from: str | None = None

    def key_of(self, row: ListedRun) -> str | None:
        """Return the id of the run that a row is about; None if it is about none of this kind."""
        key = row.flow_run_id if self.kind == "flow_run" else row.id
        return key if key is not None and is_line(key, _LONGEST_ID) else None

    def may_be(self, row: ListedRun, *, trusts_plans: bool) -> bool:
        """Return whether a row may be about one of them, as far as it tells.

        Which flow a flow run runs is in no row, and what a plan run refers to need not be its plan.
        """
        has_ended = row.status is not None and is_final(row.status)
        if self.kind != "flow_run":
            same = same_id(row.subject_id, self.subject_id)
            if same is False and (self.kind == "job_group" or trusts_plans):
                return False
            # One that is running is shown again when it ends; then it is worth reading.
            if same is not True and row.status is not None and not has_ended:
                return False
            if has_ended and not self._has_status(str(row.status)):
                return False
        return self._may_be_of(row.creator_id, row.source)

    def missing(self, run: FinishedRun) -> str | None:
        """Return what must be known of a run and is not, for users; None if it is known."""
        if run.subject_id is None:
            return "what it ran"
        if self.run_by is not None and same_id(run.creator_id, self.run_by) is None:
            return "who started it (run_by)"
        if self.ran_from is not None and run.source is None:
            return "what started it (ran_from)"
        return None

    def is_met_by(self, run: FinishedRun) -> bool:
        """Return whether a run that was read is one of them."""
        return (
            same_id(run.subject_id, self.subject_id) is True
            and run.result in self.statuses
            and self.missing(run) is None
            and self._may_be_of(run.creator_id, run.source)
        )

    def _has_status(self, status: str) -> bool:
        return as_documented(status) in self.statuses

    def _may_be_of(self, creator_id: str | None, source: str | None) -> bool:
        if self.run_by is not None and same_id(creator_id, self.run_by) is False:
            return False
        return self.ran_from is None or source is None or source.lower() == self.ran_from


@dataclass(slots=True)
class OpenRun:
    """A run that may have to be reported.

    :param row: the row of it that was shown last; None after a restart.
    :param read_again: when to read it, on the monotonic clock.
    :param statuses: what its rows last showed, by row: a flow run has several.
    :param changed: when it last changed, as far as its rows tell.
    :param reads: how many times it was read without an end.
    :param failing_since: since when it cannot be read, likewise.
    :param not_before: when it must have ended to be reported, if it has ended when it is read for the first time.
    """

    row: ListedRun | None
    read_again: float
    statuses: dict[str, str | None] = field(default_factory=dict)
    changed: float | None = None
    reads: int = 0
    failing_since: float | None = None
    not_before: float | None = None

    @property
    def is_shown_as_ended(self) -> bool:
        """Whether each row shows a final status."""
        return all(status is not None and is_final(status) for status in self.statuses.values())

    @property
    def seems_ended(self) -> bool:
        """Whether no row shows that it is running."""
        return bool(self.statuses) and not any(
            status is not None and is_running(status) for status in self.statuses.values()
        )


class Cursor:
    """How far a list has been followed for the runs that are wanted.

    :param began: when it began to be followed, on our clock; what ended before is not reported.
    """

    def __init__(self, wanted: Wanted, began: float) -> None:
        self.wanted = wanted
        #: The list must be read since this moment.
        self.since = began - LOOK_BACK
        self.open: dict[str, OpenRun] = {}
        #: Whether what plan runs refer to as their plan is known to be it, and not a snapshot of it.
        self.trusts_plans = False
        self._began: float | None = began
        self._reported: dict[str, None] = {}
        self._closed: dict[str, None] = {}
        self._newest: float | None = None

    # -------------------------------------------------------------------------------------------- reading the list

    def see(self, row: ListedRun, now: float) -> None:
        """Take a row of the list."""
        key = self.wanted.key_of(row)
        if key is None or key in self._reported or key in self._closed:
            return
        run = self.open.get(key)
        if not self.wanted.may_be(row, trusts_plans=self.trusts_plans):
            # It ended otherwise. Of a flow run, other job groups may be wanted.
            if run is not None and self.wanted.kind != "flow_run":
                del self.open[key]
            return
        if run is None:
            run = self.open[key] = OpenRun(row, now)
        changed = max(row.updated_at or 0.0, run.changed or 0.0)
        if run.statuses.get(row.id, "") != row.status or run.changed != changed:
            run.statuses[row.id] = row.status
            run.changed = changed
            run.reads = 0
            run.read_again = now if run.seems_ended else now + _LONGEST_SILENCE
        run.row = row

    def covered(self, newest: float | None, ahead: float | None) -> None:
        """Note that the list has been read since :attr:`since` to its end.

        A row may have been passed over if others disappeared meanwhile, so each change is read at least twice.

        :param newest: the latest change that is possible and was shown; None if there was none.
        :param ahead: seconds by which the server's clock is ahead of ours. If that is unknown (None), all that has
            ended when the list is read for the first time is taken to have ended before.
        """
        if self._began is not None:
            self._close_what_ended_before(_NEVER if ahead is None else self._began + ahead, newest)
            self._began = None
        if self._newest is not None:
            self.since = max(self.since, self._newest - OVERLAP)
        self._newest = self._newest if newest is None else newest

    def _close_what_ended_before(self, began: float, newest: float | None) -> None:
        """Close the runs that ended before it began. Those of the last hour are read: the list may be wrong."""
        recent = min(began, newest or 0.0) - _RECENT
        for key, run in list(self.open.items()):
            if not run.seems_ended or (run.changed or 0.0) >= began:
                continue
            if run.is_shown_as_ended and (run.changed or 0.0) < recent:
                self.report(key)
            else:
                run.not_before = began

    def skip_to(self, moment: float) -> bool:
        """Give up changes before a moment; return whether there were any to give up."""
        if self.since >= moment:
            return False
        self.since = moment
        return True

    # ---------------------------------------------------------------------------------------------- reading runs

    def due(self, now: float) -> list[str]:
        """Return the runs that are to be read now, those that ended first before others."""
        if not self.is_ready:
            return []
        waiting = [(key, run) for key, run in self.open.items() if run.read_again <= now]
        ended = sorted((run.changed or 0.0, key) for key, run in waiting if run.seems_ended)
        silent = [key for key, run in waiting if not run.seems_ended]
        return [key for _, key in ended] + silent[:_MOST_SILENT]

    def report(self, key: str) -> None:
        """Note that a run is reported, or was over before the cursor began: also after a restart."""
        self.open.pop(key, None)
        self._reported[key] = None
        _shorten(self._reported, _MOST_REPORTED)

    def close(self, key: str) -> None:
        """Note that a run need not be reported."""
        self.open.pop(key, None)
        self._closed[key] = None
        _shorten(self._closed, _MOST_CLOSED)

    def still_running(self, key: str, now: float) -> None:
        """Note that a run was read and has not ended."""
        run = self.open.get(key)
        if run is not None:
            run.failing_since = run.not_before = None
            self._postpone(run, now)

    def ended_before(self, run: FinishedRun) -> bool:
        """Return whether a run that was read ended before the cursor began."""
        open_run = self.open.get(run.id)
        if open_run is None or open_run.not_before is None:
            return False
        return run.ended is None or run.ended.timestamp() < open_run.not_before

    def failed(self, key: str, now: float) -> bool:
        """Note that a run could not be read; return whether it is given up."""
        run = self.open.get(key)
        if run is None:
            return False
        if run.failing_since is None:
            run.failing_since = now
        elif now - run.failing_since > _PATIENCE:
            self.close(key)
            return True
        self._postpone(run, now)
        return False

    def _postpone(self, run: OpenRun, now: float) -> None:
        first = _FIRST_RETRY if run.seems_ended else _LONGEST_SILENCE
        run.reads += 1
        run.read_again = now + backoff(first, _LAST_RETRY, run.reads)

    def drop_oldest(self) -> int:
        """Drop what is too much to remember; return the number of runs that are given up."""
        return _shorten(self.open, _MOST_OPEN)

    # -------------------------------------------------------------------------------------------------- storing

    @property
    def is_ready(self) -> bool:
        """Whether it is known which runs ended before it began."""
        return self._began is None

    def plain(self) -> dict[str, Any]:
        """Return it as values that Airflow can store."""
        return {
            "version": _VERSION,
            "since": self.since,
            "reported": list(self._reported),
            "open": {key: [self._part_of(run), run.not_before] for key, run in self.open.items()},
        }

    def _part_of(self, run: OpenRun) -> str | None:
        """Return the job group by which a flow run is known; None for other kinds."""
        return run.row.id if run.row is not None and self.wanted.kind == "flow_run" else None

    @classmethod
    def read(cls, wanted: Wanted, value: Any, now: float) -> Cursor | None:
        """Return the cursor that was stored; None if there is none that can be used."""
        if not isinstance(value, Mapping) or value.get("version") != _VERSION:
            return None
        since, reported, runs = value.get("since"), value.get("reported"), value.get("open")
        if isinstance(since, bool) or not isinstance(since, (int, float)) or not 0 <= since < 2**33:
            return None
        if not isinstance(reported, list) or not isinstance(runs, Mapping):
            return None
        cursor = cls(wanted, 0.0)
        cursor.since = float(since)
        cursor._began = None
        cursor._reported = dict.fromkeys(str(key) for key in reported)
        for key, remembered in runs.items():
            part, not_before = (
                remembered if isinstance(remembered, list) and len(remembered) == 2 else (None, None)
            )
            row = ListedRun(part, None, None, None) if isinstance(part, str) else None
            cursor.open[str(key)] = OpenRun(
                row, now, not_before=not_before if isinstance(not_before, float) else None
            )
        return cursor


def _shorten(runs: dict[str, Any], most: int) -> int:
    """Remove the first ones of too many; return their number."""
    surplus = max(0, len(runs) - most)
    for key in list(runs)[:surplus]:
        del runs[key]
    return surplus
