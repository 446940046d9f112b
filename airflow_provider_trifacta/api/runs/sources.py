"""What started a job group, as far as lists tell: the value of ``ranfrom``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from airflow_provider_trifacta.api.ids import same_id
from airflow_provider_trifacta.api.operations import list_job_library
from airflow_provider_trifacta.api.paging import Listing, read_all
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.job_group_rows import JobGroupRow, read_row

#: Values that are documented, or were seen, to mean that somebody else started a job group.
OTHER_SOURCES = frozenset({"ui", "schedule", "cli"})
#: Pages of a hundred job groups of this user, started since then, after which a search is given up.
_MOST_PAGES = 50
#: Job groups that are read to learn what the server calls those that the API started.
_EXAMPLES = 10
#: Characters of a value that nobody knows.
_EXCERPT = 40


def as_written(listing: Listing[Any]) -> Listing[Any]:
    """Return a list whose rows are given as the server writes them: ``read_row`` reads every spelling."""
    return replace(listing, row=Any, max_pages=_MOST_PAGES)


def not_from_the_api(source: str | None) -> str:
    """Return the doubt about a job group that is said to have another source."""
    return f"the list says that {str(source)[:_EXCERPT]!r} started it, not the API"


def server_says_api(
    listed: Iterable[JobGroupRow], person_id: str | None, *, of_flow_runs: bool = False
) -> Procedure[bool]:
    """Return whether the server calls the source of a job group that this user started by the API ``api``.

    :param listed: the job groups of this user that are known; when none of them shows it, earlier ones are read.
    :param of_flow_runs: whether those that are part of a flow run are meant: another rule may label them.
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
