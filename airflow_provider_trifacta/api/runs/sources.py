"""The source of a job group, as far as lists report it: the value of ``ranfrom``."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_trifacta.api.ids import same_id
from airflow_provider_trifacta.api.operations import list_job_library
from airflow_provider_trifacta.api.paging import read_all
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.job_group_rows import JobGroupRow, read_row

#: Values documented or observed to mean that something other than the API started a job group.
OTHER_SOURCES = frozenset({"ui", "schedule", "cli"})
#: Maximum number of pages, of a hundred runs each, that a search reads before it gives up.
MOST_PAGES = 50
#: Number of job groups that are read to learn which source the server reports for the API.
_EXAMPLES = 10
#: Maximum number of characters quoted from an unknown value.
_EXCERPT = 40


def read_library(since: float) -> Procedure[list[JobGroupRow | None]]:
    """Read the job groups that this user started since then; None for each that has no id that can be read.

    We do not rely on the server to filter. We do not filter by the source ``api``: a server that uses another
    value for it would hide them.

    :param since: seconds since the epoch.
    """
    listing = list_job_library(run_by="currentUser", date_filter={"createdAt": {"gte": int(since * 1000)}})
    return [read_row(row) for row in (yield from read_all(listing.as_written(MOST_PAGES)))]


def not_from_the_api(source: str | None) -> str:
    """Return the doubt about a job group for which the list reports another source."""
    return f"the list reports {str(source)[:_EXCERPT]!r} as its source, not the API"


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
    examples = yield from read_all(listing.as_written(MOST_PAGES))
    return any(shows_it(row) for row in map(read_row, examples) if row is not None)
