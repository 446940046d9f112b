"""The source of a job group, as far as lists report it: the value of ``ranfrom``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from airflow_provider_trifacta.api.ids import same_id
from airflow_provider_trifacta.api.operations import list_job_library
from airflow_provider_trifacta.api.paging import Listing, read_all
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.job_group_rows import JobGroupRow, read_row

#: Values documented or observed to mean that something other than the API started a job group.
OTHER_SOURCES = frozenset({"ui", "schedule", "cli"})
#: Maximum number of pages, of a hundred job groups each, that a search reads before it gives up.
_MOST_PAGES = 50
#: Number of job groups that are read to learn which source the server reports for the API.
_EXAMPLES = 10
#: Maximum number of characters quoted from an unknown value.
_EXCERPT = 40


def as_written(listing: Listing[Any]) -> Listing[Any]:
    """Return a list whose rows are left as the server writes them: ``read_row`` reads every spelling."""
    return replace(listing, row=Any, max_pages=_MOST_PAGES)


def not_from_the_api(source: str | None) -> str:
    """Return the doubt about a job group for which the list reports another source."""
    return f"the list says that {str(source)[:_EXCERPT]!r} started it, not the API"


def server_says_api(
    listed: Iterable[JobGroupRow], person_id: str | None, *, of_flow_runs: bool = False
) -> Procedure[bool]:
    """Return whether the server reports the source ``api`` for a job group of this user.

    :param listed: the known job groups of this user; if none of them shows it, earlier ones are read.
    :param of_flow_runs: whether to consider only those that are part of a flow run, or only the others: their
        sources may follow different rules.
    """

    def shows_it(row: JobGroupRow) -> bool:
        comparable = (row.flow_run_id is not None) is of_flow_runs and same_id(
            row.creator_id, person_id
        ) is not False
        return comparable and row.source is not None and row.source.lower() == "api"

    if any(map(shows_it, listed)):
        return True
    listing = list_job_library(
        ranfrom="api", run_by="currentUser", sort="-createdAt", limit=_EXAMPLES, page_size=_EXAMPLES
    )
    examples = yield from read_all(as_written(listing))
    return any(shows_it(row) for row in map(read_row, examples) if row is not None)
