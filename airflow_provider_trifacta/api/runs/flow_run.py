"""Flow runs as a kind of run: several job groups, all of which must succeed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_trifacta.api.application import Application
from airflow_provider_trifacta.api.error_answers import says_gone, says_no_such_route
from airflow_provider_trifacta.api.errors import TrifactaAnswerNotUnderstood, TrifactaApiError, TrifactaBadRequest
from airflow_provider_trifacta.api.ids import id_of
from airflow_provider_trifacta.api.messages import Id, JsonObject
from airflow_provider_trifacta.api.operations import (
    cancel_job_group,
    get_flow_run,
    get_flow_run_job_groups,
    get_flow_run_status,
    get_job_group_status,
)
from airflow_provider_trifacta.api.paging import read_all
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.descriptions import named
from airflow_provider_trifacta.api.runs.job_group_rows import JobGroupRow, read_row, recipe_of
from airflow_provider_trifacta.api.runs.kind import (
    Diagnosis,
    FailedJob,
    KindName,
    RunDescription,
    RunKind,
    RunRef,
    Summary,
)
from airflow_provider_trifacta.api.runs.reports import explain_failure, read_last_change
from airflow_provider_trifacta.api.runs.result import RunResult
from airflow_provider_trifacta.api.statuses import RunStatus, is_bad_end, is_canceled, is_final, is_success

#: Maximum number of job groups whose failed jobs are looked up.
_MOST_DIAGNOSED = 20
_NOTHING_STARTED = (
    "It started no job group, since no recipe of the flow has an output that could be run. Starting it again "
    "will not help: add an output to a recipe of the flow, or check wrangled_dataset_ids."
)
#: Maximum number of pages, of a hundred job groups each: a longer list is assumed never to end.
_MOST_PAGES = 200
#: Maximum number of ids in one sentence.
_MOST_LISTED = 20


class _FlowRuns:
    """Implements :class:`RunKind` for flow runs: the runs of several recipes of a flow.

    The list of job groups may be incomplete when a flow run begins, and how their statuses determine that of the
    flow run is not documented (api/README.md, section 9). So a flow run counts as ``Complete`` only if its own
    status is ``Complete``, and that of every job group named in the list or in the answer to its start.
    """

    name: KindName = "flow_run"
    noun = "flow run"
    start_operation = "run_flow"

    def status(self, run: RunRef, *, budget: float | None = None) -> Procedure[str]:
        """Read ``getFlowRunStatus``, and once it is final, ``getFlowRunJobGroups``."""
        own: str | None = None
        try:
            own = yield get_flow_run_status(run.id).within(budget)
        except TrifactaApiError as error:
            # An answer that is not from the API, such as a proxy's page, does not show which routes exist.
            if error.name is None or not says_no_such_route(error):
                raise
        if own is not None and not is_final(own):
            return own
        statuses = yield from self._statuses(run, budget)
        return combined(own, statuses.values())

    def last_change(self, run: RunRef) -> Procedure[float | None]:
        """Read ``updatedAt`` of ``getFlowRun``."""
        return (yield from read_last_change(get_flow_run(run.id)))

    def progress(self, run: RunRef) -> Procedure[str]:
        """Read ``getFlowRunJobGroups``."""
        rows = yield from self._rows(run, 0)
        if not rows:
            return ""
        done = sum(row.status is not None and is_final(row.status) for row in rows)
        failed = sum(row.status is not None and is_bad_end(row.status) for row in rows)
        progress = f"{done} of {len(rows)} job groups done"
        return f"{progress}, {failed} of them failed or canceled" if failed else progress

    def diagnose(self, run: RunRef) -> Procedure[Diagnosis]:
        """Read ``getFlowRunJobGroups``, and ``getJobsForJobGroup`` of those that failed."""
        statuses = yield from self._statuses(run, None)
        if not statuses:
            if is_canceled((yield get_flow_run_status(run.id))):
                return Diagnosis(remarks=("It had not started any job group yet.",))
            return Diagnosis(remarks=(_NOTHING_STARTED,), permanent=True)
        names = yield from self._recipes(run)
        bad = [identity for identity, status in statuses.items() if is_bad_end(status)]
        jobs: list[FailedJob] = []
        remarks: list[str] = []
        for job_group_id in bad[:_MOST_DIAGNOSED]:
            name = f"Job group {job_group_id}{names.get(job_group_id, '')}"
            found = yield from _failed_jobs(job_group_id)
            jobs += [replace(job, of=name) for job in found]
            if not found:
                remarks.append(f"{name} is {statuses[job_group_id]}: the API gives no reason.")
        if len(bad) > _MOST_DIAGNOSED:
            remarks.append(f"{len(bad) - _MOST_DIAGNOSED} more job groups failed or were canceled.")
        if not bad:
            remarks.append("All its job groups are Complete, but the flow run itself is not.")
        complete = [identity for identity, status in statuses.items() if is_success(status)]
        if complete and bad:
            remarks.append(f"Complete: {_listed(complete)}.")
        return Diagnosis(tuple(jobs), tuple(remarks))

    def started_nothing(self, run: RunRef) -> Procedure[bool]:
        """Read ``getFlowRunJobGroups``, and ``getFlowRunStatus`` when there are none."""
        if (yield from self._statuses(run, None)):
            return False
        return not is_canceled((yield get_flow_run_status(run.id)))

    def cancel(self, run: RunRef, *, budget: float | None = None) -> Procedure[str | None]:
        """Call ``cancelJobGroup`` for every active job group: there is no route to cancel a flow run."""
        left = [(yield from _cancel_all(run.parts, budget)), (yield from self._cancel_others(run, budget))]
        return "; ".join(filter(None, left)) or None

    def cancel_side_by_side(self, run: RunRef, most: int) -> list[Procedure[str | None]]:
        """Return steps that each cancel some of the known job groups, and one for those that appeared later."""
        size = max(1, -(-len(run.parts) // most))
        chunks = [run.parts[start : start + size] for start in range(0, len(run.parts), size)]
        return [*(_cancel_all(chunk, None) for chunk in chunks), self._cancel_others(run, None)]

    def describe(self, run: RunRef, *, budget: float) -> Procedure[RunDescription]:
        """Read ``getFlowRun`` with its flow."""
        try:
            flow_run: JsonObject = yield get_flow_run(run.id, embed="flow").within(budget)
        except TrifactaBadRequest:
            flow_run = yield get_flow_run(run.id).within(budget)
        flow = flow_run.get("flow") or {}
        flow_id = id_of(flow.get("id")) or run.subject_id
        subject = None if flow_id is None else named("flow", flow_id, flow.get("name"))
        return RunDescription(subject=subject, flow_id=flow_id)

    def job_groups(self, run: RunRef, *, budget: float | None = None) -> Procedure[tuple[Id, ...]]:
        """Read ``getFlowRunJobGroups``."""
        rows = yield from self._rows(run, budget, every=True)
        return tuple(dict.fromkeys([*run.parts, *(row.id for row in rows)]))

    def result(self, run: RunRef, *, budget: float | None = None) -> Procedure[RunResult]:
        """Return its job groups, but not what they wrote."""
        job_groups = yield from self.job_groups(run, budget=budget)
        return RunResult(job_groups, unread=job_groups)

    def summary(self, result: RunResult) -> Summary:
        """Return its job groups."""
        return Summary(f"It consists of {_listed(result.job_groups)}.") if result.job_groups else Summary()

    def page(self, application: Application, run: RunRef) -> str:
        """Return the URL of its flow's page: flow runs have no page of their own."""
        if run.subject_id is not None:
            return application.flow_url(run.subject_id)
        return application.job_group_url(run.parts[0]) if run.parts else application.jobs_url()

    # -------------------------------------------------------------------------------------------------- job groups

    def _rows(self, run: RunRef, budget: float | None, *, every: bool = False) -> Procedure[list[JobGroupRow]]:
        """Read the list of job groups, excluding those of other flow runs."""
        return [row for row, _ in (yield from self._read(run, budget, every=every))]

    def _read(
        self, run: RunRef, budget: float | None, *, every: bool = False, **selection: Any
    ) -> Procedure[list[tuple[JobGroupRow, Any]]]:
        """Read the list of job groups.

        :param every: whether a job group without a usable id is an error; otherwise it is skipped.
        """
        # Rows are left as the server writes them: read_row reads every spelling.
        listing = get_flow_run_job_groups(run.id, **selection).as_written(_MOST_PAGES)
        found: list[tuple[JobGroupRow, Any]] = []
        for item in (yield from read_all(listing, budget=budget)):
            row = read_row(item)
            if row is None and every and isinstance(item, Mapping) and "status" in _names(item):
                raise TrifactaAnswerNotUnderstood(
                    method="GET",
                    path=listing.request.path,
                    message="expected job groups with an id, got one without",
                )
            if row is not None and str(row.flow_run_id or run.id) == str(run.id):
                found.append((row, item))
        return found

    def _cancel_others(self, run: RunRef, budget: float | None) -> Procedure[str | None]:
        """Cancel the active job groups that are in the list but not in the answer to the start."""
        try:
            rows = yield from self._rows(run, budget)
        except TrifactaApiError as error:
            if not run.parts:
                raise
            return f"other job groups may still be running, since they could not be listed ({error})"
        if not rows and not run.parts:
            return "it had no job group to cancel yet, and any that starts later will keep running"
        active = [row.id for row in rows if row.status is None or not is_final(row.status)]
        return (yield from _cancel_all([one for one in active if one not in run.parts], budget))

    def _statuses(self, run: RunRef, budget: float | None) -> Procedure[dict[int, str]]:
        """Read the status of every job group, both in the list and in the answer to the start.

        :raises TrifactaAnswerNotUnderstood: the list has a job group that cannot be identified.
        """
        known: dict[int, str | None] = dict.fromkeys(run.parts)
        known.update({row.id: row.status for row in (yield from self._rows(run, budget, every=True))})
        statuses: dict[int, str] = {}
        for job_group_id, status in known.items():
            statuses[job_group_id] = status or (yield from _status_of_one(job_group_id, budget))
        return statuses

    def _recipes(self, run: RunRef) -> Procedure[dict[int, str]]:
        """Read the names of the job groups' recipes from the list, for users."""
        try:
            found = yield from self._read(run, 0, embed="wrangledDataset")
        except TrifactaApiError:
            return {}
        names: dict[int, str] = {}
        for row, item in found:
            recipe = recipe_of(item)
            recipe_id, name = id_of(recipe.get("id")) or id_of(row.recipe_id), recipe.get("name")
            if recipe_id is not None:
                names[row.id] = f" ({named('recipe', recipe_id, name)})"
        return names


def combined(own: str | None, job_groups: Iterable[str]) -> str:
    """Return the combined status of a flow run.

    :param own: the flow run's own status value, which is final; None if the server has no route for it.
    :param job_groups: the status values of its job groups.
    """
    statuses = list(job_groups)
    active = [status for status in statuses if not is_final(status)]
    if active:
        return active[0]
    if not statuses:
        # Job groups may still appear until the flow run itself has ended.
        if own is None:
            return RunStatus.IN_PROGRESS.value
        return own if is_bad_end(own) else RunStatus.FAILED.value
    bad = [status for status in statuses if is_bad_end(status)]
    if bad:
        return next((status for status in bad if not is_canceled(status)), bad[0])
    return RunStatus.COMPLETE.value if own is None else own


def _cancel_all(job_group_ids: Iterable[int], budget: float | None) -> Procedure[str | None]:
    """Cancel job groups; return a description of those that could not be canceled, None if all were."""
    failures: dict[int, TrifactaApiError] = {}
    for job_group_id in job_group_ids:
        try:
            yield cancel_job_group(job_group_id).within(budget)
        except TrifactaApiError as error:
            if not says_gone(error):
                failures[job_group_id] = error
    if not failures:
        return None
    why = next(iter(failures.values()))
    return f"{_listed(failures)} could not be canceled ({why})"


def _listed(ids: Collection[Id]) -> str:
    """Return job groups as text for users, shortened if there are many: ``job groups 90210, 90211``."""
    shown = ", ".join(map(str, [*ids][:_MOST_LISTED]))
    more = f" and {len(ids) - _MOST_LISTED} more" if len(ids) > _MOST_LISTED else ""
    return f"job group{'s' if len(ids) > 1 else ''} {shown}{more}"


def _names(item: Mapping[Any, Any]) -> set[str]:
    return {str(name).lower() for name in item}


def _status_of_one(job_group_id: int, budget: float | None) -> Procedure[str]:
    """Read the status of a job group; one that was deleted cannot become Complete."""
    try:
        status: str = yield get_job_group_status(job_group_id).within(budget)
    except TrifactaApiError as error:
        if not says_gone(error):
            raise
        return RunStatus.FAILED.value
    return status


def _failed_jobs(job_group_id: int) -> Procedure[Sequence[FailedJob]]:
    try:
        return (yield from explain_failure(job_group_id))
    except TrifactaApiError:
        return ()


FLOW_RUNS: RunKind = _FlowRuns()
