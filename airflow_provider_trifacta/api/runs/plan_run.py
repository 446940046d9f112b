"""Plan runs as a kind of run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_trifacta.api.answers import Plan, PlanSnapshotRun
from airflow_provider_trifacta.api.application import Application
from airflow_provider_trifacta.api.error_answers import says_gone
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaForbidden,
    TrifactaGone,
    TrifactaNotFound,
)
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.operations import (
    cancel_plan_snapshot_run,
    get_flow,
    get_plan_snapshot_run,
    list_job_library,
    list_plans,
    read_full,
)
from airflow_provider_trifacta.api.paging import PageReader, read_all
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.descriptions import describe_job_group, named
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
from airflow_provider_trifacta.api.statuses import is_bad_end, status_word
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: Maximum number of failed job groups of a plan run that are looked up.
_MOST_DIAGNOSED = 20
#: Maximum number of failed nodes that are named.
_MOST_NAMED = 20
#: Maximum number of pages, of a hundred plans each, that are searched for the plan of a run.
_MOST_PAGES = 50
_LONGEST_NAME = 200


class _PlanRuns:
    """Implements :class:`RunKind` for plan runs."""

    name: KindName = "plan_snapshot_run"
    noun = "plan run"
    start_operation = "run_plan"

    def status(self, run: RunRef, *, budget: float | None = None) -> Procedure[str]:
        """Read ``getPlanSnapshotRun``.

        Users who did not start a plan run may not be allowed to read it (api/README.md, section 5). In that case,
        the latest run of the plan is read, and used only if it is this run.

        :raises TrifactaAnswerNotUnderstood: the answer is about another run.
        """
        try:
            answer: PlanSnapshotRun = yield get_plan_snapshot_run(run.id).within(budget)
        except (TrifactaForbidden, TrifactaNotFound) as error:
            latest = None if run.subject_id is None else (yield from _latest_run(run, budget))
            if latest is None or str(latest["id"]) != str(run.id):
                error.hint = _why_unseen(run, latest)
                raise
            answer = latest
        return _status_of(answer, run)

    def last_change(self, run: RunRef) -> Procedure[float | None]:
        """Read ``updatedAt`` of ``getPlanSnapshotRun``."""
        return (yield from read_last_change(get_plan_snapshot_run(run.id)))

    def progress(self, run: RunRef) -> Procedure[str]:
        """Return an empty string: the API reports no progress of plan runs."""
        return ""
        yield

    def diagnose(self, run: RunRef) -> Procedure[Diagnosis]:
        """Read ``readFull``, and from ``listJobLibrary`` the job groups of plans that failed during the run.

        Neither is documented to name the failed nodes of a run. If a server adds the status of the nodes to the
        run, it is used. The failed job groups of the plan's flows are reported too.
        """
        plan_run: Any = {}
        plan: Any = {}
        with contextlib.suppress(TrifactaApiError):
            plan_run = yield get_plan_snapshot_run(run.id)
        plan_id = run.subject_id or _plan_id(plan_run)
        if plan_id is not None:
            with contextlib.suppress(TrifactaApiError):
                plan = yield read_full(plan_id)
        remarks = [f"Node {node} {status}." for node, status in _failed_nodes(plan_run)]
        jobs: list[FailedJob] = []
        with contextlib.suppress(TrifactaApiError):
            jobs, more = yield from _failed_in_library(plan_run, plan)
            remarks += more
        remarks = [*dict.fromkeys(remarks)]
        if len(remarks) > _MOST_NAMED:
            remarks = [*remarks[:_MOST_NAMED], f"And {len(remarks) - _MOST_NAMED} more nodes."]
        return Diagnosis(tuple(jobs), tuple(remarks))

    def started_nothing(self, run: RunRef) -> Procedure[bool]:
        """Return False: a plan run always runs something."""
        return False
        yield

    def cancel(self, run: RunRef, *, budget: float | None = None) -> Procedure[str | None]:
        """Call ``cancelPlanSnapshotRun``."""
        answer = yield cancel_plan_snapshot_run(run.id).within(budget)
        if isinstance(answer, Mapping) and answer.get("failedToCancelSomeJobs") is True:
            return "some of its jobs could not be canceled (failedToCancelSomeJobs)"
        return None

    def cancel_side_by_side(self, run: RunRef, most: int) -> list[Procedure[str | None]]:
        """Return one step: it has no parts to cancel individually."""
        return [self.cancel(run)]

    def describe(self, run: RunRef, *, budget: float) -> Procedure[RunDescription]:
        """Read ``readFull``, or ``getPlanSnapshotRun`` if the plan is unknown."""
        if run.subject_id is None:
            plan_run: PlanSnapshotRun = yield get_plan_snapshot_run(run.id).within(budget)
            plan_id = _plan_id(plan_run)
            return RunDescription(named("plan", plan_id, None) if plan_id is not None else None, plan_id=plan_id)
        plan: Plan = yield read_full(run.subject_id).within(budget)
        return RunDescription(named("plan", run.subject_id, plan.get("name")), plan_id=run.subject_id)

    def job_groups(self, run: RunRef, *, budget: float | None = None) -> Procedure[tuple[Id, ...]]:
        """Return none.

        No route leads from a plan run to its job groups. Those of its flows that ``listJobLibrary`` has for the
        time of the run may be of another one: good enough for a hint after a failure, not for what was written.
        """
        return ()
        yield

    def result(self, run: RunRef, *, budget: float | None = None) -> Procedure[RunResult]:
        """Return an unknown result, since its job groups are not known."""
        return RunResult()
        yield

    def summary(self, result: RunResult) -> Summary:
        """Return an empty summary."""
        return Summary()

    def page(self, application: Application, run: RunRef) -> str:
        """Return the URL of its plan's page, or of the list of plans if the plan is unknown."""
        return application.plans_url() if run.subject_id is None else application.plan_url(run.subject_id)


def _plan_id(plan_run: Mapping[str, Any]) -> Id | None:
    plan = plan_run.get("plan")
    return plan.get("id") if isinstance(plan, Mapping) else None


def _status_of(answer: PlanSnapshotRun, run: RunRef) -> str:
    """Return the status value of a plan run, after checking that the answer is about this run.

    Its plan is not compared: a run refers to a snapshot rather than to the plan (api/README.md, section 5).
    """
    if str(answer["id"]) != str(run.id):
        raise TrifactaAnswerNotUnderstood(
            method="GET",
            path=f"/v4/planSnapshotRuns/{run.id}",
            message=line(f"expected plan run {run.id}, got plan run {answer['id']}", 300),
        )
    return status_word(answer.get("status"))


def _latest_run(run: RunRef, budget: float | None) -> Procedure[PlanSnapshotRun | None]:
    """Return the latest run of the plan, None if it cannot be read."""
    try:
        reader = PageReader(replace(list_plans(), max_pages=_MOST_PAGES))
        while (operation := reader.next_page()) is not None:
            for plan in reader.take((yield operation.within(budget))):
                if str(plan["id"]) == str(run.subject_id):
                    return plan.get("latestPlanSnapshotRun")
    except (TrifactaForbidden, TrifactaNotFound, TrifactaGone, TrifactaAnswerNotUnderstood):
        pass
    return None


def _why_unseen(run: RunRef, latest: PlanSnapshotRun | None) -> str:
    seen = f", and the latest run of the plan is another one ({line(str(latest['id']), 100)})" if latest else ""
    return (
        f"The user of the token cannot see plan run {run.id}{seen}: only the user who started it may read it. "
        "Check that the connection has the token of that user."
    )


def _failed_nodes(value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the name and the status of every failed node at any level of an answer."""
    if depth > 5:
        return
    if isinstance(value, list):
        for item in value:
            yield from _failed_nodes(item, depth + 1)
    elif isinstance(value, Mapping):
        status, name = value.get("status"), value.get("handle") or value.get("name")
        if depth > 0 and isinstance(status, str) and is_bad_end(status) and isinstance(name, str):
            yield line(name, _LONGEST_NAME), status
        for item in value.values():
            yield from _failed_nodes(item, depth + 1)


def _failed_in_library(plan_run: Any, plan: Any) -> Procedure[tuple[list[FailedJob], list[str]]]:
    """Find the job groups of a plan's flows that failed while the plan ran."""
    started = timestamp_of(plan_run.get("startedAt")) or timestamp_of(plan_run.get("createdAt"))
    if started is None:
        return [], []
    nodes = _nodes_by_flow(plan)
    if not nodes:
        # Without the plan's flows, its job groups cannot be distinguished from those of other plans.
        return [], []
    jobs: list[FailedJob] = []
    remarks: list[str] = []
    listing = list_job_library(
        status="Failed", ranfor="plan", date_filter={"createdAt": {"gte": started}}, limit=_MOST_DIAGNOSED
    )
    for row in (yield from read_all(listing)):
        description = RunDescription()
        with contextlib.suppress(TrifactaApiError):
            description = yield from describe_job_group(row["id"], budget=0)
        node = nodes.get(str(description.flow_id))
        if node is None:
            continue
        found: list[FailedJob] = []
        with contextlib.suppress(TrifactaApiError):
            found = yield from explain_failure(row["id"])
        place = f'Node "{node}", job group {row["id"]}'
        jobs += [replace(job, of=place) for job in found]
        if not found:
            remarks.append(f'Node "{node}" failed: the API gives no reason.')
    return jobs, remarks


def missing_references(plan_id: Id) -> Procedure[str]:
    """Find out which flows of a plan do not exist (``readFull``, ``getFlow``). Empty if none is missing.

    :raises TrifactaApiError: the plan or a flow could not be read.
    """
    plan: Plan = yield read_full(plan_id)
    missing = []
    for flow_id, node in [*_nodes_by_flow(plan).items()][:_MOST_DIAGNOSED]:
        try:
            yield get_flow(flow_id).within(0)
        except TrifactaApiError as error:
            if not says_gone(error):
                raise
            missing.append(f'flow {flow_id} of node "{node}"')
    return f"Missing: {', '.join(missing)}." if missing else ""


def _nodes_by_flow(plan: Any) -> dict[str, str]:
    """Return the names of a plan's nodes by the flow they run, as far as the plan specifies it."""
    nodes = plan.get("planNodes") if isinstance(plan, Mapping) else None
    rows = nodes.get("data") if isinstance(nodes, Mapping) else nodes
    return {
        str(node["flow"]["id"]): line(str(node.get("name")), _LONGEST_NAME)
        for node in (rows if isinstance(rows, list) else ())
        if isinstance(node, Mapping) and isinstance(node.get("flow"), Mapping) and "id" in node["flow"]
    }


PLAN_RUNS: RunKind = _PlanRuns()
