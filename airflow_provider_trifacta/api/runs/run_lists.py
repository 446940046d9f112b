"""The lists that show many runs at once, and what their rows tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_trifacta.api.operations import list_job_library, list_plan_snapshot_runs
from airflow_provider_trifacta.api.paging import Listing
from airflow_provider_trifacta.api.runs.job_group_rows import (
    read_row,
    reference_of,
    source_of,
)
from airflow_provider_trifacta.api.runs.kind import KindName
from airflow_provider_trifacta.api.statuses import status_word
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: The largest page that is known to work. A server that shows fewer runs on a page is asked for more pages.
_PAGE_SIZE = 250
#: Maximum number of pages that are read at a time: 100,000 runs, or 10,000 where a page has 25 rows at most.
MOST_PAGES = 400
#: Maximum seconds to repeat the call for a page.
PAGE_BUDGET = 20.0
#: Seconds by which a row may be older than the filter: it may have been rounded.
FILTER_TOLERANCE = 1.0
#: Newest first: a run that changes while the list is read moves to a page that has been read, and the next time it
#: is on the first one.
_ORDER = "-updatedAt"


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A row of such a list. Missing fields are None.

    :param id: its id, as a string.
    :param status: its status value.
    :param created_at: when it was started, seconds since the epoch on the server's clock.
    :param updated_at: when it last changed, likewise.
    :param flow_run_id: the flow run that it is part of.
    :param subject_id: what it ran: the recipe, or what a plan run refers to as its plan.
    :param creator_id: the user who started it.
    :param source: what started it: ``ui``, ``schedule``, ``api``, or another value.
    """

    id: str
    status: str | None
    created_at: float | None
    updated_at: float | None
    flow_run_id: str | None = None
    subject_id: str | None = None
    creator_id: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class RunList:
    """A list that shows runs.

    :param noun: what it lists, for users.
    :param kind: the kind of its rows.
    :param kinds: the kinds of runs that it tells about.
    :param listing: returns the list of those that changed since a moment in epoch milliseconds.
    :param read: reads a row; None if it has no id.
    """

    noun: str
    kind: KindName
    kinds: frozenset[KindName]
    listing: Callable[[int], Listing[Any]]
    read: Callable[[Any], ListedRun | None]


def _job_groups_since(moment: int) -> Listing[Any]:
    listing = list_job_library(sort=_ORDER, date_filter={"updatedAt": {"gte": moment}}, page_size=_PAGE_SIZE)
    return listing.as_written(MOST_PAGES)


def _job_group(item: Any) -> ListedRun | None:
    row = read_row(item)
    if row is None:
        return None
    return ListedRun(
        str(row.id),
        row.status,
        _epoch(row.created_at),
        _epoch(row.updated_at),
        flow_run_id=None if row.flow_run_id is None else str(row.flow_run_id),
        subject_id=row.recipe_id,
        creator_id=row.creator_id,
        source=row.source,
    )


def _plan_runs_since(moment: int) -> Listing[Any]:
    listing = list_plan_snapshot_runs(
        sort=_ORDER, date_filter={"updatedAt": {"gte": moment}}, page_size=_PAGE_SIZE
    )
    return listing.as_written(MOST_PAGES)


def _plan_run(item: Any) -> ListedRun | None:
    identity = item.get("id") if isinstance(item, Mapping) else None
    if isinstance(identity, bool) or not isinstance(identity, (int, str)):
        return None
    status = status_word(item["status"]) if isinstance(item.get("status"), str) else None
    created, updated = timestamp_of(item.get("createdAt")), timestamp_of(item.get("updatedAt"))
    return ListedRun(
        str(identity),
        status,
        _epoch(created),
        _epoch(updated),
        subject_id=reference_of(item, ("plan", "planid")),
        creator_id=reference_of(item, ("creator", "creatorid")),
        source=source_of(item),
    )


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


#: Job groups, and with them flow runs, which have no list.
JOB_LIBRARY = RunList(
    "job groups", "job_group", frozenset({"job_group", "flow_run"}), _job_groups_since, _job_group
)
PLAN_RUN_LIST = RunList(
    "plan runs", "plan_snapshot_run", frozenset({"plan_snapshot_run"}), _plan_runs_since, _plan_run
)
RUN_LISTS = (JOB_LIBRARY, PLAN_RUN_LIST)
