"""The launch of a flow run: how to request it, and how to recognize it in a list."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_trifacta.api.answers import StartedFlowRun
from airflow_provider_trifacta.api.arguments import check_id
from airflow_provider_trifacta.api.error_answers import is_permanent_refusal, says_no_such_route
from airflow_provider_trifacta.api.errors import TrifactaApiError
from airflow_provider_trifacta.api.ids import id_of, same_id
from airflow_provider_trifacta.api.messages import Id, JsonObject, Operation
from airflow_provider_trifacta.api.operations import get_resource, run_flow
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.run_request import parameters_by_name
from airflow_provider_trifacta.api.runs.flow_run import FLOW_RUNS
from airflow_provider_trifacta.api.runs.job_group_rows import JobGroupRow, read_row, reference_of
from airflow_provider_trifacta.api.runs.kind import FoundRun, RefusalHints, RunRef, ref_of
from airflow_provider_trifacta.api.runs.sources import (
    OTHER_SOURCES,
    not_from_the_api,
    read_library,
    server_says_api,
)

#: Maximum number of flow runs that are read individually because lists do not specify their flow.
_MOST_LOOKED_UP = 50


class FlowLaunch:
    """The start of a flow (``runFlow``), and the search for it (``listJobLibrary``, ``getFlowRun``).

    No route lists flow runs: they are found through their job groups, and each is read to find its flow. A flow
    run whose flow cannot be read is returned with a *doubt*. So is one with a source other than the API, but only
    until the server shows a flow run of this user with the source ``api``; after that, it is excluded.

    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """

    kind = FLOW_RUNS
    refusal_hints = RefusalHints(
        missing=(
            "Check flow_id and wrangled_dataset_ids: they are the numbers after /flows/ and recipe= in the URL of "
            "the flow, in the workspace of the token."
        ),
        invalid="Check the arguments of the task, and that the flow has an output.",
    )

    def __init__(
        self,
        flow_id: Id,
        *,
        wrangled_dataset_ids: Sequence[Id] | None = None,
        run_parameters: Mapping[str, str | int | float | bool] | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        request_body_extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.subject_id = str(check_id("flow_id", flow_id))
        self._start = functools.partial(
            run_flow,
            self.subject_id,
            wrangled_dataset_ids=wrangled_dataset_ids,
            run_parameters=run_parameters,
            overrides=overrides,
            request_body_extra=request_body_extra,
        )
        body = self._start().request.body or {}
        self.run_parameters = parameters_by_name(body.get("runParameters"))
        self.overrides = body.get("overrides")
        #: The flow of each flow run that was read, None if it could not be read. It does not change.
        self._flow_of: dict[int, str | None] = {}

    @property
    def subject(self) -> str:
        """The object to run, for users."""
        return f"flow {self.subject_id}"

    def start(self, execution_id: str) -> Operation[StartedFlowRun]:
        """Return the call that starts it."""
        return self._start(execution_id=execution_id)

    def started(self, answer: StartedFlowRun) -> RunRef | None:
        """Return the flow run with the job groups that the answer names, None if it names no flow run."""
        flow_run_id = id_of(answer.get("flowRunId"))
        if flow_run_id is None:
            return None
        rows = (read_row(item) for item in answer.get("data") or ())
        # Job groups that are part of another flow run must not be canceled with this one.
        ids = (row.id for row in rows if row is not None and row.flow_run_id in (None, flow_run_id))
        return ref_of(self, flow_run_id, tuple(dict.fromkeys(ids)))

    def find(self, since: float, person_id: str | None) -> Procedure[list[FoundRun]]:
        """Find the flow runs that could be it.

        :raises TrifactaApiError: a call failed, or too many flow runs would have to be read individually.
        """
        listed = [row for row in (yield from read_library(since)) if row is not None]
        rows = [row for row in listed if _may_be(row, since, person_id)]
        if any(map(_names_somebody_else, rows)) and (
            yield from server_says_api(listed, person_id, of_flow_runs=True)
        ):
            rows = [row for row in rows if not _names_somebody_else(row)]
        ids = {row.flow_run_id: row for row in rows if row.flow_run_id is not None}
        new = [flow_run_id for flow_run_id in ids if flow_run_id not in self._flow_of]
        if len(self._flow_of) + len(new) > _MOST_LOOKED_UP:
            raise TrifactaApiError(
                method="GET",
                path="/v4/jobLibrary",
                message=f"{len(ids)} flow runs match; at most {_MOST_LOOKED_UP} are looked up",
            )
        for flow_run_id in new:
            self._flow_of[flow_run_id] = yield from _flow_of(flow_run_id)
        return [
            FoundRun(flow_run_id, None, _doubt(row, same))
            for flow_run_id, row in ids.items()
            if (same := same_id(self._flow_of[flow_run_id], self.subject_id)) is not False
        ]


def _doubt(row: JobGroupRow, same_flow: bool | None) -> str | None:
    if same_flow is None:
        return "the flow it ran cannot be read"
    return not_from_the_api(row.source) if _names_somebody_else(row) else None


def _names_somebody_else(row: JobGroupRow) -> bool:
    return row.source is not None and row.source.lower() in OTHER_SOURCES


def _may_be(row: JobGroupRow, since: float, person_id: str | None) -> bool:
    if row.flow_run_id is None or same_id(row.creator_id, person_id) is False:
        return False
    if row.ran_for is not None and row.ran_for.lower() == "plan":
        return False
    return row.created_at is None or row.created_at.timestamp() >= since


def _flow_of(flow_run_id: int) -> Procedure[str | None]:
    """Return the flow of a flow run; None when it cannot be read."""
    try:
        # Not as a typed flow run, which would drop a flow in another spelling.
        flow_run: JsonObject = yield get_resource("flowRuns", flow_run_id)
    except TrifactaApiError as error:
        if is_permanent_refusal(error) or says_no_such_route(error):
            return None
        raise
    return reference_of(flow_run, ("flow", "flowid"))
