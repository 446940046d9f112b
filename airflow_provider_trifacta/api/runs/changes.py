"""Reads what changed in a list of runs since a moment, and reports how far that can be relied on."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_trifacta.api.errors import TrifactaAnswerNotUnderstood
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.paging import Page, PageReader
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.run_lists import FILTER_TOLERANCE, PAGE_BUDGET, ListedRun, RunList

#: Maximum number of pages of a list that neither filters nor sorts.
_MOST_PAGES_UNFILTERED = 20


class Changes:
    """One reading of a list (``listJobLibrary``, ``listPlanSnapshotRuns``).

    Newest first: a run that changes meanwhile moves to a page that has been read, so none is passed over.

    :param since: seconds since the epoch, on the server's clock.
    :param take: receives each row.
    """

    def __init__(self, runs: RunList, since: float, take: Callable[[ListedRun], None]) -> None:
        self.since = since
        #: The latest and the earliest change shown.
        self.newest: float | None = None
        self.oldest: float | None = None
        #: The number of rows, and of pages that have been read.
        self.rows = 0
        self.pages = 0
        #: Whether the list shows earlier changes than it was asked for.
        self.ignores_filter = False
        #: Whether there are more rows, which were not read.
        self.is_cut_off = False
        self._runs = runs
        self._take = take
        self._is_sorted = True
        self._reader = PageReader(runs.listing(max(0, int(since * 1000))))

    def read(self) -> Procedure[None]:
        """Read the list to its end, or as far as is worth it.

        :raises TrifactaApiError: a page could not be read. The rows before it have been taken.
        """
        while (operation := self._next_page()) is not None:
            page: Page[object] = yield operation.within(PAGE_BUDGET)
            items = self._reader.take(page)
            for item in items:
                row = self._runs.read(item)
                if row is not None:
                    self._note(row)
            self.pages += 1
            # Nothing new although there is more: the server ignores the offset.
            self.is_cut_off = not items and page.next_offset is not None

    def _next_page(self) -> Operation[Page[object]] | None:
        if self.ignores_filter and self._is_sorted:
            return None
        try:
            operation = self._reader.next_page()
        except TrifactaAnswerNotUnderstood:
            self.is_cut_off = True
            return None
        if operation is not None and self.ignores_filter and self.pages >= _MOST_PAGES_UNFILTERED:
            self.is_cut_off = True
            return None
        return operation

    def _note(self, row: ListedRun) -> None:
        self.rows += 1
        if row.updated_at is not None:
            if self.oldest is not None and row.updated_at > self.oldest:
                self._is_sorted = False
            self.newest = max(row.updated_at, self.newest or row.updated_at)
            self.oldest = min(row.updated_at, self.oldest or row.updated_at)
            if row.updated_at < self.since - FILTER_TOLERANCE:
                self.ignores_filter = True
                return
        self._take(row)
