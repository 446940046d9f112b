"""A run that has ended, as it was read: what an event reports of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_trifacta.api.error_answers import says_gone
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaBadRequest,
    TrifactaForbidden,
    TrifactaNotFound,
)
from airflow_provider_trifacta.api.ids import id_of
from airflow_provider_trifacta.api.messages import Id, JsonObject
from airflow_provider_trifacta.api.operations import (
    get_flow_run,
    get_job_group,
    get_job_group_status,
    get_plan_snapshot_run,
)
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.flow_run import FLOW_RUNS
from airflow_provider_trifacta.api.runs.job_group import JOB_GROUPS
from airflow_provider_trifacta.api.runs.job_group_rows import read_row, recipe_of, reference_of, source_of
from airflow_provider_trifacta.api.runs.kind import KindName, RunRef
from airflow_provider_trifacta.api.runs.plan_run import PLAN_RUNS
from airflow_provider_trifacta.api.runs.run_lists import ListedRun
from airflow_provider_trifacta.api.statuses import as_documented, is_final, is_success, status_word
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: Maximum seconds to repeat a call for: a run that cannot be read is read again later.
READ_BUDGET = 20.0
#: Maximum number of characters of an id or of a source.
_LONGEST_WORD = 100
_FLOW = ("flow", "flowid")
#: How flows of recipes are embedded. The first is documented, but the path through it is not; unknown ones are
#: answered with 400.
_WITH_FLOW = (["wrangledDataset.flow"], ["wrangledDataset"], None)


@dataclass(frozen=True)
class FinishedRun:
    """A run as it was read directly. What the API does not report is None; ids are strings.

    :param status: its status value; it may not have ended after all.
    :param creator_id: the user who started it.
    :param source: what started it: ``ui``, ``schedule``, ``api``, or another value.
    """

    kind: KindName
    id: str
    status: str
    recipe_id: str | None = None
    flow_id: str | None = None
    plan_id: str | None = None
    creator_id: str | None = None
    source: str | None = None
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its status is final."""
        return is_final(self.status)

    @property
    def result(self) -> str:
        """Its status value in the spelling of the API."""
        return as_documented(self.status)

    @property
    def subject_id(self) -> str | None:
        """What it ran: the recipe, flow or plan."""
        return {"job_group": self.recipe_id, "flow_run": self.flow_id, "plan_snapshot_run": self.plan_id}[
            self.kind
        ]

    @property
    def ref(self) -> RunRef:
        """Identifies it."""
        return RunRef(plain_id(self.id) or self.id, subject_id=plain_id(self.flow_id or self.plan_id))

    def payload(self, link: str, outputs: int | None) -> dict[str, Any]:
        """Return what an event reports: plain values that Airflow can store.

        :param link: its page in the application.
        :param outputs: how many files and tables it wrote.
        """
        return {
            "kind": self.kind,
            "id": plain_id(self.id),
            "status": self.result,
            "recipe": plain_id(self.recipe_id),
            "flow": plain_id(self.flow_id),
            "plan": plain_id(self.plan_id),
            "started": _written(self.started),
            "ended": _written(self.ended),
            "link": link,
            "outputs": outputs,
        }


def plain_id(value: str | None) -> Id | None:
    """Return an id as a number if it is one, else as a short line."""
    number = id_of(value)
    return number if number is not None else (None if value is None else line(value, _LONGEST_WORD))


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _moment(epoch: float | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


def read_finished(
    kind: KindName, run_id: str, *, subject_id: str | None, row: ListedRun | None
) -> Procedure[FinishedRun | None]:
    """Read a run that a list shows as ended; None if it does not exist any more.

    :param subject_id: the flow of a flow run, or the plan of a plan run; None if unknown.
    :param row: the last row of it that was shown: what the answers do not tell.
    :raises TrifactaApiError: it could not be read.
    """
    try:
        if kind == "job_group":
            run = yield from _job_group(run_id)
        elif kind == "flow_run":
            run = yield from _flow_run(run_id, subject_id, row)
        else:
            run = yield from _plan_run(run_id, subject_id)
    except TrifactaApiError as error:
        if says_gone(error):
            return None
        raise
    return run if row is None else _completed(run, row)


def _completed(run: FinishedRun, row: ListedRun) -> FinishedRun:
    return replace(
        run,
        recipe_id=run.recipe_id or (row.subject_id if run.kind == "job_group" else None),
        creator_id=run.creator_id or row.creator_id,
        source=run.source or row.source,
        started=run.started or _moment(row.created_at),
        ended=run.ended or _moment(row.updated_at),
    )


def count_outputs(run: FinishedRun) -> Procedure[int | None]:
    """Count the files and tables that a job group wrote (``getJobGroupOutputs``).

    None for other kinds, since that would take a call for each of their job groups, and unless it is ``Complete``.
    """
    if run.kind != "job_group" or not is_success(run.status):
        return None
    result = yield from JOB_GROUPS.result(run.ref)
    return len(result.files) + len(result.tables)


def find_flow(flow_run_id: str, job_group_id: str | None) -> Procedure[str | None]:
    """Find out which flow a flow run runs (``getFlowRun``, ``getJobGroup``); None if the answers do not tell.

    :param job_group_id: a job group of it, which is read if the flow run does not tell.
    """
    try:
        flow_run: JsonObject = yield get_flow_run(flow_run_id, embed="flow").within(READ_BUDGET)
    except TrifactaBadRequest:
        flow_run = yield get_flow_run(flow_run_id).within(READ_BUDGET)
    flow_id = reference_of(flow_run, _FLOW)
    if flow_id is None and job_group_id is not None:
        flow_id = reference_of(recipe_of((yield from _read_job_group(job_group_id))), _FLOW)
    return flow_id


def _read_job_group(job_group_id: str) -> Procedure[JsonObject]:
    """Read ``getJobGroup``, with recipe and flow where the server embeds them."""
    *embedding, alone = _WITH_FLOW
    for association in embedding:
        try:
            answer: JsonObject = yield get_job_group(job_group_id, embed=association).within(READ_BUDGET)
        except TrifactaBadRequest:
            continue
        return answer
    answer = yield get_job_group(job_group_id, embed=alone).within(READ_BUDGET)
    return answer


def _job_group(job_group_id: str) -> Procedure[FinishedRun]:
    answer = yield from _read_job_group(job_group_id)
    row = read_row(answer)
    if row is None or str(row.id) != job_group_id:
        raise TrifactaAnswerNotUnderstood(
            method="GET",
            path=f"/v4/jobGroups/{job_group_id}",
            message=line(f"expected job group {job_group_id}, got {answer.get('id')!r}", 300),
        )
    status = row.status or (yield get_job_group_status(job_group_id).within(READ_BUDGET))
    recipe = recipe_of(answer)
    return FinishedRun(
        "job_group",
        job_group_id,
        status,
        recipe_id=row.recipe_id,
        flow_id=reference_of(recipe, _FLOW),
        creator_id=row.creator_id,
        source=row.source,
        started=row.created_at,
        ended=row.updated_at,
    )


def _flow_run(run_id: str, flow_id: str | None, row: ListedRun | None) -> Procedure[FinishedRun]:
    job_group_id = None if row is None else row.id
    parts = (number,) if (number := id_of(job_group_id)) is not None else ()
    status = yield from FLOW_RUNS.status(RunRef(run_id, parts, flow_id), budget=READ_BUDGET)
    if not is_final(status):
        return FinishedRun("flow_run", run_id, status, flow_id=flow_id)
    flow_run: JsonObject = yield get_flow_run(run_id).within(READ_BUDGET)
    # A flow run has no creator and no source. Its job groups have, but not all lists tell.
    part = None
    if row is not None and (row.creator_id is None or row.source is None):
        part = read_row((yield from _read_job_group(row.id)))
    moments = [timestamp_of(flow_run.get("updatedAt")), _moment(row.updated_at if row else None)]
    return FinishedRun(
        "flow_run",
        run_id,
        status,
        flow_id=flow_id,
        creator_id=part.creator_id if part else None,
        source=part.source if part else None,
        started=timestamp_of(flow_run.get("createdAt")),
        ended=max(filter(None, moments), default=None),
    )


def _plan_run(run_id: str, plan_id: str | None) -> Procedure[FinishedRun]:
    answer: Mapping[str, Any] = {}
    try:
        answer = yield get_plan_snapshot_run(run_id).within(READ_BUDGET)
    except (TrifactaForbidden, TrifactaNotFound):
        # Only who started it may read it; then its plan may tell (api/README.md, section 5).
        status = yield from PLAN_RUNS.status(RunRef(run_id, subject_id=plan_id), budget=READ_BUDGET)
    else:
        if str(answer["id"]) != run_id:
            raise TrifactaAnswerNotUnderstood(
                method="GET",
                path=f"/v4/planSnapshotRuns/{run_id}",
                message=line(f"expected plan run {run_id}, got {answer['id']!r}", 300),
            )
        status = status_word(answer.get("status"))
    return FinishedRun(
        "plan_snapshot_run",
        run_id,
        status,
        plan_id=plan_id,
        creator_id=reference_of(answer, ("creator", "creatorid")),
        source=source_of(answer) or ("schedule" if answer.get("scheduleHistoryId") else None),
        started=timestamp_of(answer.get("startedAt")) or timestamp_of(answer.get("createdAt")),
        ended=timestamp_of(answer.get("finishedAt")) or timestamp_of(answer.get("updatedAt")),
    )
