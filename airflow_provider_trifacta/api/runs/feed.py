"""What a list of runs tells about the runs that are waited for, and whether it can be relied on.

Nothing is believed that was not earned. The list *vouches* for a run while it shows it, or a part of it, as
running: then its own status need not be read. A final status in the list is only a reason to read that run. A list
that turns out to be wrong raises :class:`UnreliableList`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_trifacta.api.errors import TrifactaAnswerNotUnderstood
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.paging import Page, PageReader
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.kind import KindName
from airflow_provider_trifacta.api.runs.run_lists import FILTER_TOLERANCE, PAGE_BUDGET, ListedRun, RunList
from airflow_provider_trifacta.api.statuses import furthest, is_final, is_running

#: Identifies a run that is waited for; the id as a string.
RunKey = tuple[KindName, str]

#: Seconds that each reading of the list reaches back before the newest change that it has shown: changes may
#: appear in another order than that of their moments.
OVERLAP = 60.0
#: Seconds after a run has ended until the list must show it.
LONGEST_LAG = 60.0
#: Seconds that the first reading reaches back before a wait began: its run was started earlier.
_BEFORE = 120.0
#: A wait that began earlier than this many seconds ago is worth reading the list that far back only together with
#: this many others: its run alone is cheaper to read.
_LONG_AGO = 900.0
_MANY = 20
#: Number of runs that ended without a later ``updatedAt`` after which it is taken not to move at all.
_NEVER_MOVED = 3


class UnreliableList(Exception):
    """The list cannot be relied on. The message is for users."""


@dataclass(slots=True)
class _Watched:
    """A run that is waited for.

    :param rows: what the list last showed of it: a status value for each of its rows.
    """

    began: float
    parts: tuple[str, ...]
    rows: dict[str, str] = field(default_factory=dict)


class Feed:
    """The runs that are waited for, as one list shows them. Moments are on the server's clock.

    :param runs: the list.
    """

    def __init__(self, runs: RunList) -> None:
        self._list = runs
        self._watched: dict[RunKey, _Watched] = {}
        self._of_part: dict[str, RunKey] = {}
        #: Those that no reading of the list has covered yet, and those that the present one will have.
        self._new: dict[RunKey, None] = {}
        self._covering: dict[RunKey, None] = {}
        #: Those that began long ago and that no reading has covered, since there are too few of them.
        self._left_out: dict[RunKey, None] = {}
        #: Rows whose end was read directly while the list showed them as running, and when.
        self._missing: dict[str, float] = {}
        self._overdue = False
        self._since = 0.0
        self._next_since: float | None = None
        self._newest: float | None = None
        self._dated = 0
        self._rows = 0
        self._moves = False
        self._unmoved: set[str] = set()

    # ------------------------------------------------------------------------------------------------- who waits

    def add(self, key: RunKey, *, began: float, parts: Iterable[str] = ()) -> None:
        """Add a run that is waited for.

        :param began: when the wait began, on our clock.
        :param parts: its known job groups.
        """
        watched = _Watched(began, tuple(parts))
        self._watched[key] = watched
        self._of_part.update(dict.fromkeys(watched.parts, key))
        self._new[key] = None

    def remove(self, key: RunKey) -> None:
        """Remove a run that is no longer waited for."""
        watched = self._watched.pop(key)
        for part in watched.parts:
            self._of_part.pop(part, None)
        self._new.pop(key, None)
        self._covering.pop(key, None)
        self._left_out.pop(key, None)

    def is_new(self, key: RunKey) -> bool:
        """Return whether no reading of the list can have shown the run yet."""
        return key in self._new or key in self._covering

    def status(self, key: RunKey) -> str | None:
        """Return the status of a run that the list vouches for; None if it does not, so that it must be read."""
        return None if self._overdue else furthest(self._watched[key].rows.values())

    def ended(self, key: RunKey, now: float) -> None:
        """Note that a direct read saw the end of a run: the list must show it too."""
        for row, status in self._watched[key].rows.items():
            if is_running(status):
                self._missing[row] = now

    # -------------------------------------------------------------------------------------------- reading the list

    def forget(self) -> None:
        """Forget what the list has shown."""
        for watched in self._watched.values():
            watched.rows.clear()
        self._new = dict.fromkeys(self._watched)
        self._left_out.clear()
        self._missing.clear()
        self._overdue = False
        self._next_since = None

    def begin(self, now: float, ahead: float) -> float:
        """Begin to read the list; return the moment since which changes are needed.

        :param ahead: seconds by which the server's clock is ahead of ours.
        """
        began = {key: self._watched[key].began + ahead for key in (*self._left_out, *self._new)}
        old = dict.fromkeys(key for key, moment in began.items() if moment <= now - _LONG_AGO)
        self._left_out = old if len(old) < _MANY else {}
        self._covering = dict.fromkeys(key for key in began if key not in self._left_out)
        self._new = {}
        bounds = [began[key] - _BEFORE for key in self._covering]
        if self._next_since is not None:
            bounds.append(self._next_since)
        self._since = min(bounds, default=now - OVERLAP)
        self._newest = None
        self._rows = self._dated = 0
        return self._since

    def take(self, row: ListedRun | None) -> list[RunKey]:
        """Take a row of the list; return the runs about which it is news.

        :raises UnreliableList: it shows that the filter is ignored.
        """
        self._rows += 1
        if row is None:
            return []
        self._note_moment(row)
        if row.status is None:
            return []
        if not is_running(row.status):
            self._missing.pop(row.id, None)
        return [key for key in self._keys_of(row) if self._is_news(key, row.id, row.status)]

    def _note_moment(self, row: ListedRun) -> None:
        if row.updated_at is None:
            return
        self._dated += 1
        if row.updated_at < self._since - FILTER_TOLERANCE:
            raise UnreliableList("it ignores the filter by updatedAt")
        self._newest = max(row.updated_at, self._newest or row.updated_at)
        if not self._moves and row.status is not None and is_final(row.status) and row.created_at is not None:
            self._moves = row.updated_at > row.created_at
            self._unmoved.add(row.id)

    def _keys_of(self, row: ListedRun) -> list[RunKey]:
        keys: dict[RunKey, None] = {(self._list.kind, row.id): None}
        if row.flow_run_id is not None:
            keys["flow_run", row.flow_run_id] = None
        if row.id in self._of_part:
            keys[self._of_part[row.id]] = None
        return [key for key in keys if key in self._watched]

    def _is_news(self, key: RunKey, row: str, status: str) -> bool:
        self._left_out.pop(key, None)
        rows = self._watched[key].rows
        before = rows.get(row)
        rows[row] = status
        # One that is shown for the first time and runs, as it was read directly, is no news.
        return status != before and (before is not None or not is_running(status))

    def end(self, began: float, now: float) -> None:
        """Note that the list has been read to its end.

        :param began: when its reading began.
        :param now: the present moment, as far as the server's clock is known: later changes are impossible.
        :raises UnreliableList: it lacks what it must have shown.
        """
        self._covering = {}
        if self._rows and not self._dated:
            raise UnreliableList("its rows have no updatedAt that can be read")
        if not self._moves and len(self._unmoved) >= _NEVER_MOVED:
            raise UnreliableList("updatedAt does not change when a run ends")
        newest = self._since if self._newest is None else min(self._newest, now) - OVERLAP
        self._next_since = max(newest, self._next_since or 0.0)
        # What ended after the reading began is on the next one.
        overdue = {row: ended for row, ended in self._missing.items() if ended < began}
        for row, ended in overdue.items():
            if began - ended > LONGEST_LAG:
                raise UnreliableList(
                    f"run {row} ended at least {began - ended:.0f} s ago, and the list does not show it"
                )
        self._overdue = bool(overdue)

    def stop(self) -> None:
        """Note that the list was not read to its end: what it would have shown is needed the next time."""
        self._new = {**self._covering, **self._new}
        self._covering = {}


def read_list(
    runs: RunList, feed: Feed, now: Callable[[], float], ahead: float, news: Callable[[RunKey], None]
) -> Procedure[None]:
    """Read a list once (``listJobLibrary``, ``listPlanSnapshotRuns``).

    :param now: returns the present moment on the server's clock.
    :param ahead: seconds by which it is ahead of ours.
    :param news: receives each run about which there is news.
    :raises UnreliableList: the list cannot be relied on.
    :raises TrifactaApiError: a page could not be read.
    """
    began = now()
    since = feed.begin(began, ahead)
    reader = PageReader(runs.listing(int(since * 1000)))
    try:
        while (operation := _next_page(reader, catches_up=since < began - _LONG_AGO)) is not None:
            for item in reader.take((yield operation.within(PAGE_BUDGET))):
                for key in feed.take(runs.read(item)):
                    news(key)
        feed.end(began, now())
    finally:
        feed.stop()


def _next_page(reader: PageReader[Any], *, catches_up: bool) -> Operation[Page[Any]] | None:
    """Return the call for the next page, None at the end.

    :param catches_up: whether a very long list is no surprise. Newest first, so the runs that it does not show are
        old, and each is read directly.
    :raises UnreliableList: it does not end.
    """
    try:
        return reader.next_page()
    except TrifactaAnswerNotUnderstood as error:
        if catches_up:
            return None
        raise UnreliableList(str(error.message)) from None
