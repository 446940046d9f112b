"""The operations of the API, one function each: the request to send, and how to decode the answer.

A client sends an operation: ``client.send(get_job_group_status(90210))``. The synchronous client, the asynchronous
client and the hook also have each operation as a method: ``client.get_job_group_status(90210)``.
The names are the API's operation ids in snake_case. All raise
:class:`~airflow_provider_trifacta.api.errors.TrifactaConfigurationError` for arguments that cannot be sent, and
the other errors of that module for failed calls.

For resources without functions of their own, use :func:`create_resource`, :func:`get_resource`,
:func:`list_resource`, :func:`update_resource`, :func:`delete_resource` and :func:`run_action`, which take the
API's plural name of the resource (``flows``, ``outputObjects``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, is_typeddict

from airflow_provider_trifacta.api import shapes
from airflow_provider_trifacta.api.answers import (
    ApiAccessToken,
    CanceledJobGroup,
    Count,
    CreatedApiAccessToken,
    Flow,
    FlowRun,
    Job,
    JobGroup,
    JobGroupInput,
    JobGroupOutputs,
    Person,
    Plan,
    PlanSnapshotRun,
    Publication,
    RanFor,
    RanFrom,
    StartedFlowRun,
    StartedJobGroup,
    StartedPlanRun,
)
from airflow_provider_trifacta.api.arguments import check_id, path_segment
from airflow_provider_trifacta.api.credentials import token_in
from airflow_provider_trifacta.api.errors import TrifactaApiError, TrifactaConfigurationError, TrifactaNotFound
from airflow_provider_trifacta.api.messages import Answer, Id, JsonObject, Operation, Request
from airflow_provider_trifacta.api.paging import Listing
from airflow_provider_trifacta.api.run_request import run_flow_body, run_job_group_body, run_plan_body
from airflow_provider_trifacta.api.statuses import status_word
from airflow_provider_trifacta.api.timestamps import epoch_milliseconds

Names = str | Sequence[str] | None
DateFilter = Mapping[str, Mapping[str, datetime | int]] | None
#: Maximum size in bytes of an answer to a poll: a triggerer may wait for thousands at a time.
_MAX_STATUS = 1024 * 1024
FilterType = Literal["fuzzy", "contains", "exact", "exactIgnoreCase"] | None


# ---------------------------------------------------------------------------------------------- decoding answers


def _object(shape: Any = JsonObject) -> Callable[[Answer], Any]:
    """Return a decoder for an object of a type."""

    def decode(answer: Answer) -> Any:
        value = shapes.read(answer.json(), shape)
        if value is None:
            raise answer.not_understood(f"expected {_described(shape)}")
        return value

    return decode


def _rows(shape: Any) -> Callable[[Answer], list[Any]]:
    """Return a decoder for ``{"data": [...]}``, a list of objects of a type."""

    def decode(answer: Answer) -> list[Any]:
        value = answer.json()
        rows = value.get("data") if isinstance(value, dict) else None
        if not isinstance(rows, list):
            raise answer.not_understood('expected a list, {"data": [...]}')
        return shapes.read_rows(rows, shape, answer.request.path)

    return decode


def _described(shape: Any) -> str:
    required = ", ".join(shapes.required(shape)) if is_typeddict(shape) else ""
    return f"an object with {required}" if required else "an object"


def _any(answer: Answer) -> Any:
    return answer.json() if answer.body else None


def _nothing(answer: Answer) -> None:
    return None


def _nothing_or_json(answer: Answer) -> None:
    """Read an answer without content. A page, such as a login page, is not an answer of the API."""
    if answer.body:
        answer.json()


def _count(answer: Answer) -> int:
    count: int = _object(Count)(answer)["count"]
    return count


def _status(answer: Answer) -> str:
    """Read a status value: a bare JSON string, or an object with ``status``.

    Anything else, or a string that cannot be shown unchanged, becomes its JSON text: an unknown value.
    """
    value = answer.json()
    if isinstance(value, dict):
        value = value.get("status")
    word = status_word(value)
    return word if word == value else answer.line(word)


def _new_token(answer: Answer) -> Any:
    token = _object(CreatedApiAccessToken)(answer)
    value, identity = token["tokenValue"], token["tokenInfo"]["tokenId"]
    # The id goes into logs and XComs.
    if token_in(value) is None or not identity or value in identity:
        raise answer.not_understood("expected a tokenValue of printable ASCII characters, and a tokenId")
    return token


# ------------------------------------------------------------------------------------------------------ selection


def _selection(
    *,
    embed: Names = None,
    fields: Names = None,
    include_deleted: bool | None = None,
    sort: str | None = None,
    filter: str | None = None,
    filter_fields: Names = None,
    filter_type: FilterType = None,
    date_filter: DateFilter = None,
) -> dict[str, Any]:
    query: dict[str, Any] = {
        "embed": _joined(embed, ","),
        "fields": _joined(fields, ";"),
        "includeDeleted": include_deleted,
        "sort": sort,
        "filter": filter,
        "filterFields": _joined(filter_fields, ","),
        "filterType": filter_type,
    }
    for field, bounds in (date_filter or {}).items():
        for bound, moment in bounds.items():
            query[f"dateFilter[{field}][{bound}]"] = epoch_milliseconds(moment)
    return query


def _joined(names: Names, separator: str) -> str | None:
    return names if names is None or isinstance(names, str) else separator.join(names)


# --------------------------------------------------------------------------------------------------- job groups


def run_job_group(
    wrangled_dataset_id: Id,
    *,
    run_parameters: Mapping[str, str | int | float | bool] | None = None,
    overrides: Mapping[str, Any] | None = None,
    reference_date: datetime | str | None = None,
    request_body_extra: Mapping[str, Any] | None = None,
    execution_id: str | None = None,
) -> Operation[StartedJobGroup]:
    """Run a recipe (``runJobGroup``). Returns the answer, whose ``id`` is the job group.

    Never sent twice unless the first request provably did nothing.

    :param wrangled_dataset_id: the recipe.
    :param run_parameters: parameter names to values.
    :param overrides: ``execution``, ``profiler``, ``writesettings``; passed through, not checked by the server.
    :param reference_date: the value of "now" in date-time parameters.
    :param request_body_extra: additional members of the body, e.g. ``{"forceCacheUpdate": True}``.
    :param execution_id: ``x-execution-id``; a second request with the same one is answered 304, raised as
        :class:`~airflow_provider_trifacta.api.errors.TrifactaDuplicateExecution`.
    """
    body = run_job_group_body(
        wrangled_dataset_id,
        run_parameters=run_parameters,
        overrides=overrides,
        reference_date=reference_date,
        request_body_extra=request_body_extra,
    )
    request = Request("POST", "/v4/jobGroups", body=body, headers=_execution(execution_id))
    return Operation(request, _object(StartedJobGroup))


def list_job_groups(
    *,
    embed: Names = None,
    fields: Names = None,
    include_deleted: bool | None = None,
    sort: str | None = None,
    filter: str | None = None,
    filter_fields: Names = None,
    filter_type: FilterType = None,
    flow_node_id: Id | None = None,
    ranfor: RanFor | None = None,
    limit: int | None = None,
    page_size: int = 100,
) -> Listing[JobGroup]:
    """List job groups (``listJobGroups``). The API recommends :func:`list_job_library`.

    :param limit: maximum number of objects; None returns all.
    :param page_size: number of objects to request at a time.
    """
    query = _selection(
        embed=embed,
        fields=fields,
        include_deleted=include_deleted,
        sort=sort,
        filter=filter,
        filter_fields=filter_fields,
        filter_type=filter_type,
    )
    query |= {"flowNodeId": flow_node_id, "ranfor": ranfor}
    return Listing(Request("GET", "/v4/jobGroups", query), limit, page_size, JobGroup)


def get_job_group(
    job_group_id: Id, *, embed: Names = None, fields: Names = None, include_deleted: bool | None = None
) -> Operation[JobGroup]:
    """Get a job group (``getJobGroup``).

    :param embed: associations to include, e.g. ``["jobs", "wrangledDataset"]``.
    """
    query = _selection(embed=embed, fields=fields, include_deleted=include_deleted)
    return Operation(Request("GET", _job_group(job_group_id), query), _object(JobGroup))


def get_job_group_status(job_group_id: Id) -> Operation[str]:
    """Get the status value of a job group (``getJobGroupStatus``).

    An unknown value is returned unchanged. If the route does not exist (on-premises 6.0), the status is read from
    the job group itself.
    """

    def without_route(error: TrifactaApiError) -> Operation[str] | None:
        if isinstance(error, TrifactaNotFound) and error.name == "RouteNotFoundException":
            return Operation(Request("GET", _job_group(job_group_id), max_bytes=_MAX_STATUS), _status)
        return None

    request = Request("GET", _job_group(job_group_id, "/status"), max_bytes=_MAX_STATUS)
    return Operation(request, _status, without_route)


def get_jobs_for_job_group(job_group_id: Id) -> Operation[list[Job]]:
    """List the jobs of a job group (``getJobsForJobGroup``)."""
    return Operation(Request("GET", _job_group(job_group_id, "/jobs")), _rows(Job))


def get_job_group_inputs(job_group_id: Id) -> Operation[list[JobGroupInput]]:
    """List the datasets that a job group read (``getJobGroupInputs``). Some job groups are answered with 400."""
    return Operation(Request("GET", _job_group(job_group_id, "/inputs")), _rows(JobGroupInput))


def get_job_group_outputs(job_group_id: Id) -> Operation[JobGroupOutputs]:
    """Get the outputs of a job group, ``{"files": [...], "tables": [...]}`` (``getJobGroupOutputs``)."""
    return Operation(Request("GET", _job_group(job_group_id, "/outputs")), _object(JobGroupOutputs))


def get_profiling_information_for_job_group(job_group_id: Id) -> Operation[JsonObject]:
    """Get the profile, one or a map of several (``getProfilingInformationForJobGroup``).

    Prefer :func:`get_profiling_information_for_job_group_consistent`. A job group that ran without profiling is
    answered with 400.
    """
    return Operation(Request("GET", _job_group(job_group_id, "/profile")), _object())


def get_profiling_information_for_job_group_consistent(job_group_id: Id) -> Operation[JsonObject]:
    """Get the profiles, always as a map (``getProfilingInformationForJobGroupConsistent``).

    A job group that ran without profiling is answered with 400.
    """
    return Operation(Request("GET", _job_group(job_group_id, "/profileResults")), _object())


def get_job_group_pdf_results(job_group_id: Id) -> Operation[bytes]:
    """Get the profile as PDF (``getJobGroupPdfResults``).

    The synchronous client and the hook stream it to a file with ``download``. A job group that ran without
    profiling is answered with 400.
    """
    request = Request("GET", _job_group(job_group_id, "/pdfResults"), accept="application/pdf")
    return Operation(request, lambda answer: answer.body)


def get_publications_for_job_group(job_group_id: Id) -> Operation[list[Publication]]:
    """List the publications of a job group (``getPublicationsForJobGroup``)."""
    return Operation(Request("GET", _job_group(job_group_id, "/publications")), _rows(Publication))


def cancel_job_group(job_group_id: Id) -> Operation[CanceledJobGroup]:
    """Cancel a job group (``cancelJobGroup``). It stops later; poll its status to know when.

    Canceling a finished job group does nothing, so if the answer is lost, the call is repeated like a read.
    """
    request = Request("POST", _job_group(job_group_id, "/cancel"), body={}, repeatable=True)
    return Operation(request, _any)


def _job_group(job_group_id: Id, route: str = "") -> str:
    return f"/v4/jobGroups/{path_segment(job_group_id, 'job_group_id')}{route}"


# -------------------------------------------------------------------------------------------------------- flows


def run_flow(
    flow_id: Id,
    *,
    wrangled_dataset_ids: Sequence[Id] | None = None,
    run_parameters: Mapping[str, str | int | float | bool] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    request_body_extra: Mapping[str, Any] | None = None,
    execution_id: str | None = None,
) -> Operation[StartedFlowRun]:
    """Run the outputs of a flow, a job group each (``runFlow``). Returns the answer, with ``flowRunId``.

    Never sent twice unless the first request provably did nothing.

    :param flow_id: the flow.
    :param wrangled_dataset_ids: the recipes whose outputs to run; None runs all.
    :param run_parameters: parameter names to values.
    :param overrides: settings of outputs by the name of their recipe; passed through, not checked by the server.
    :param request_body_extra: additional members of the body, e.g. ``{"ignoreRecipeErrors": True}``.
    :param execution_id: ``x-execution-id``; a second request with the same one is answered 304, raised as
        :class:`~airflow_provider_trifacta.api.errors.TrifactaDuplicateExecution`.
    """
    body = run_flow_body(
        wrangled_dataset_ids=wrangled_dataset_ids,
        run_parameters=run_parameters,
        overrides=overrides,
        request_body_extra=request_body_extra,
    )
    path = f"/v4/flows/{path_segment(check_id('flow_id', flow_id), 'flow_id')}/run"
    return Operation(Request("POST", path, body=body, headers=_execution(execution_id)), _object(StartedFlowRun))


def get_flow_run(flow_run_id: Id, *, embed: Names = None, fields: Names = None) -> Operation[FlowRun]:
    """Get a flow run (``getFlowRun``). It has no status: see :func:`get_flow_run_status`."""
    query = _selection(embed=embed, fields=fields)
    return Operation(Request("GET", _flow_run(flow_run_id), query), _object(FlowRun))


def get_flow_run_status(flow_run_id: Id) -> Operation[str]:
    """Get the status value of a flow run (``getFlowRunStatus``).

    It does not show whether every job group is ``Complete``: see :func:`get_flow_run_job_groups`.
    """
    return Operation(Request("GET", _flow_run(flow_run_id, "/status"), max_bytes=_MAX_STATUS), _status)


def get_flow_run_job_groups(
    flow_run_id: Id, *, embed: Names = None, fields: Names = None, include_deleted: bool | None = None
) -> Listing[JobGroup]:
    """List the job groups of a flow run (``getFlowRunJobGroups``)."""
    query = _selection(embed=embed, fields=fields, include_deleted=include_deleted)
    return Listing(Request("GET", _flow_run(flow_run_id, "/jobGroups"), query), row=JobGroup)


def get_flow(flow_id: Id, *, embed: Names = None, fields: Names = None) -> Operation[Flow]:
    """Get a flow (``getFlow``)."""
    path = f"/v4/flows/{path_segment(flow_id, 'flow_id')}"
    return Operation(Request("GET", path, _selection(embed=embed, fields=fields)), _object(Flow))


def copy_flow(
    flow_id: Id, *, name: str | None = None, description: str | None = None, copy_datasources: bool = False
) -> Operation[Flow]:
    """Copy a flow (``copyFlow``). Returns the copy.

    Never sent twice unless the first request provably did nothing: it takes no execution id.

    :param name: name of the copy; None leaves it to the server.
    :param copy_datasources: whether to copy its datasets too.
    """
    given = {"name": name, "description": description}
    body: JsonObject = {key: value for key, value in given.items() if value is not None}
    path = f"/v4/flows/{path_segment(flow_id, 'flow_id')}/copy"
    return Operation(Request("POST", path, body={**body, "copyDatasources": copy_datasources}), _object(Flow))


def delete_flow(flow_id: Id) -> Operation[None]:
    """Delete a flow (``deleteFlow``)."""
    return Operation(Request("DELETE", f"/v4/flows/{path_segment(flow_id, 'flow_id')}"), _nothing_or_json)


def _flow_run(flow_run_id: Id, route: str = "") -> str:
    return f"/v4/flowRuns/{path_segment(flow_run_id, 'flow_run_id')}{route}"


# -------------------------------------------------------------------------------------------------------- plans


def run_plan(
    plan_id: Id,
    *,
    run_parameters: Mapping[str, Mapping[str, str | int | float | bool]] | None = None,
    request_body_extra: Mapping[str, Any] | None = None,
    execution_id: str | None = None,
) -> Operation[StartedPlanRun]:
    """Run a plan (``runPlan``). Returns the answer, with ``validationStatus`` and ``planSnapshotRunId``.

    Never sent twice unless the first request provably did nothing.

    :param plan_id: the plan.
    :param run_parameters: parameter names to values, by the handle of the plan node.
    :param request_body_extra: additional members of the body.
    :param execution_id: ``x-execution-id``; a second request with the same one is answered 304, raised as
        :class:`~airflow_provider_trifacta.api.errors.TrifactaDuplicateExecution`.
    """
    body = run_plan_body(run_parameters=run_parameters, request_body_extra=request_body_extra)
    path = f"/v4/plans/{path_segment(check_id('plan_id', plan_id), 'plan_id')}/run"
    return Operation(Request("POST", path, body=body, headers=_execution(execution_id)), _object(StartedPlanRun))


def get_plan_snapshot_run(plan_snapshot_run_id: Id) -> Operation[PlanSnapshotRun]:
    """Get a plan run (``getPlanSnapshotRun``). Users who did not start it may be refused."""
    return Operation(
        Request("GET", _plan_run(plan_snapshot_run_id), max_bytes=_MAX_STATUS), _object(PlanSnapshotRun)
    )


def list_plan_snapshot_runs(
    *,
    status: str | None = None,
    run_by: Literal["all", "currentUser"] | None = None,
    sort: str | None = None,
    date_filter: DateFilter = None,
    limit: int | None = None,
    page_size: int = 100,
) -> Listing[PlanSnapshotRun]:
    """List plan runs (``listPlanSnapshotRuns``).

    :param date_filter: as for :func:`list_job_library`.
    :param limit: maximum number of objects; None returns all.
    :param page_size: number of objects to request at a time.
    """
    query = _selection(sort=sort, date_filter=date_filter) | {"status": status, "runBy": run_by}
    return Listing(Request("GET", "/v4/planSnapshotRuns", query), limit, page_size, PlanSnapshotRun)


def list_plans(
    *,
    ownership_filter: Literal["all", "shared", "owned"] = "all",
    filter: str | None = None,
    limit: int | None = None,
    page_size: int = 100,
) -> Listing[Plan]:
    """List plans, each with its latest run (``listPlans``).

    :param ownership_filter: whose plans; the server's own default is only those of the user.
    :param filter: part of the name.
    :param limit: maximum number of objects; None returns all.
    :param page_size: number of objects to request at a time.
    """
    query = _selection(filter=filter) | {"ownershipFilter": ownership_filter}
    return Listing(Request("GET", "/v4/plans", query), limit, page_size, Plan)


def read_full(plan_id: Id) -> Operation[Plan]:
    """Get a plan with its nodes (``readFull``)."""
    return Operation(Request("GET", f"/v4/plans/{path_segment(plan_id, 'plan_id')}/full"), _object(Plan))


def cancel_plan_snapshot_run(plan_snapshot_run_id: Id) -> Operation[JsonObject]:
    """Cancel a plan run (``cancelPlanSnapshotRun``). It stops later; poll its status to know when.

    Repeated like a read if the answer is lost. If the answer reports ``failedToCancelSomeJobs``, part of the work
    goes on.
    """
    request = Request("POST", _plan_run(plan_snapshot_run_id, "/cancel"), body={}, repeatable=True)
    return Operation(request, _any)


def _plan_run(plan_snapshot_run_id: Id, route: str = "") -> str:
    return f"/v4/planSnapshotRuns/{path_segment(plan_snapshot_run_id, 'plan_snapshot_run_id')}{route}"


def _execution(execution_id: str | None) -> dict[str, str] | None:
    return None if execution_id is None else {"x-execution-id": execution_id}


# -------------------------------------------------------------------------------------------------- job library


def _library_query(
    *,
    status: str | None = None,
    ranfrom: RanFrom | None = None,
    ranfor: RanFor | None = None,
    run_by: Literal["all", "currentUser"] | None = None,
    type: str | None = None,
    fields: Names = None,
    include_deleted: bool | None = None,
    filter: str | None = None,
    filter_type: FilterType = None,
    date_filter: DateFilter = None,
) -> dict[str, Any]:
    query = _selection(
        fields=fields,
        include_deleted=include_deleted,
        filter=filter,
        filter_type=filter_type,
        date_filter=date_filter,
    )
    return query | {"status": status, "ranfrom": ranfrom, "ranfor": ranfor, "runBy": run_by, "type": type}


def list_job_library(
    *,
    status: str | None = None,
    ranfrom: RanFrom | None = None,
    ranfor: RanFor | None = None,
    run_by: Literal["all", "currentUser"] | None = None,
    type: str | None = None,
    fields: Names = None,
    include_deleted: bool | None = None,
    sort: str | None = None,
    filter: str | None = None,
    filter_type: FilterType = None,
    date_filter: DateFilter = None,
    limit: int | None = None,
    page_size: int = 100,
) -> Listing[JobGroup]:
    """List job groups, with filters (``listJobLibrary``).

    :param status: a status value.
    :param ranfrom: what started it.
    :param ranfor: what it was started for.
    :param date_filter: e.g. ``{"createdAt": {"gte": datetime(...)}}``; moments as datetime or epoch
        milliseconds.
    :param limit: maximum number of objects; None returns all.
    :param page_size: number of objects to request at a time.
    """
    query = _library_query(
        status=status,
        ranfrom=ranfrom,
        ranfor=ranfor,
        run_by=run_by,
        type=type,
        fields=fields,
        include_deleted=include_deleted,
        filter=filter,
        filter_type=filter_type,
        date_filter=date_filter,
    )
    return Listing(Request("GET", "/v4/jobLibrary", query | {"sort": sort}), limit, page_size, JobGroup)


def count_job_library(
    *,
    status: str | None = None,
    ranfrom: RanFrom | None = None,
    ranfor: RanFor | None = None,
    run_by: Literal["all", "currentUser"] | None = None,
    type: str | None = None,
    include_deleted: bool | None = None,
    filter: str | None = None,
    filter_type: FilterType = None,
    date_filter: DateFilter = None,
) -> Operation[int]:
    """Count job groups, with the filters of :func:`list_job_library` (``countJobLibrary``)."""
    query = _library_query(
        status=status,
        ranfrom=ranfrom,
        ranfor=ranfor,
        run_by=run_by,
        type=type,
        include_deleted=include_deleted,
        filter=filter,
        filter_type=filter_type,
        date_filter=date_filter,
    )
    return Operation(Request("GET", "/v4/jobLibrary/count", query), _count)


# --------------------------------------------------------------------------------------- jobs, tokens and users -


def get_job_status(job_id: Id) -> Operation[str]:
    """Get the status value of one job of a job group (``getJobStatus``)."""
    path = f"/v4/jobs/{path_segment(job_id, 'job_id')}/status"
    return Operation(Request("GET", path, max_bytes=_MAX_STATUS), _status)


def create_api_access_token(
    lifetime_seconds: int, *, description: str | None = None
) -> Operation[CreatedApiAccessToken]:
    """Create an API access token (``createApiAccessToken``). Only this answer contains its value.

    :param lifetime_seconds: -1 requests a token that never expires, if the installation allows it.
    """
    if isinstance(lifetime_seconds, bool) or not isinstance(lifetime_seconds, int) or lifetime_seconds < -1:
        raise TrifactaConfigurationError(
            f"lifetime_seconds: {lifetime_seconds!r} is neither -1 nor a number of seconds"
        )
    body: JsonObject = {"lifetimeSeconds": lifetime_seconds}
    if description is not None:
        body["description"] = description
    return Operation(
        Request("POST", "/v4/apiAccessTokens", body=body, confidential=True),
        _new_token,
        secret_of=lambda created: created["tokenValue"],
    )


def list_api_access_tokens() -> Operation[list[ApiAccessToken]]:
    """List the API access tokens of the user, without their values (``listApiAccessTokens``)."""
    return Operation(Request("GET", "/v4/apiAccessTokens"), _rows(ApiAccessToken))


def get_api_access_token(token_id: str) -> Operation[ApiAccessToken]:
    """Get one API access token, without its value (``getApiAccessToken``).

    :param token_id: the id of the token, not its value.
    """
    return Operation(
        Request("GET", f"/v4/apiAccessTokens/{path_segment(token_id, 'token_id')}"), _object(ApiAccessToken)
    )


def delete_api_access_token(token_id: str) -> Operation[None]:
    """Revoke an API access token permanently (``deleteApiAccessToken``).

    :param token_id: the id of the token, not its value.
    """
    return Operation(Request("DELETE", f"/v4/apiAccessTokens/{path_segment(token_id, 'token_id')}"), _nothing)


def get_current_person() -> Operation[Person]:
    """Get the user of the token (``getCurrentPerson``): a cheap way to check it."""
    return Operation(Request("GET", "/v4/people/current"), _object(Person))


# ------------------------------------------------------------------------------------------ every other resource


def create_resource(resource: str, body: Mapping[str, Any]) -> Operation[JsonObject]:
    """Create an object: ``POST /v4/{resource}``. Never sent twice unless the first request provably did nothing.

    :param resource: the API's plural name, e.g. ``flows``.
    """
    return Operation(Request("POST", _route(resource), body=body), _object())


def get_resource(
    resource: str,
    resource_id: Id,
    *,
    embed: Names = None,
    fields: Names = None,
    include_deleted: bool | None = None,
) -> Operation[JsonObject]:
    """Get an object: ``GET /v4/{resource}/{id}``."""
    query = _selection(embed=embed, fields=fields, include_deleted=include_deleted)
    return Operation(Request("GET", _route(resource, resource_id), query), _object())


def list_resource(
    resource: str,
    *,
    embed: Names = None,
    fields: Names = None,
    include_deleted: bool | None = None,
    sort: str | None = None,
    filter: str | None = None,
    filter_fields: Names = None,
    filter_type: FilterType = None,
    date_filter: DateFilter = None,
    query: Mapping[str, Any] | None = None,
    limit: int | None = None,
    page_size: int = 100,
) -> Listing[JsonObject]:
    """List objects: ``GET /v4/{resource}``, all pages.

    :param query: additional parameters, e.g. ``{"flowsFilter": "all"}``: lists of flows and plans may otherwise
        show only those that the user owns.
    :param limit: maximum number of objects; None returns all.
    :param page_size: number of objects to request at a time.
    """
    selection = _selection(
        embed=embed,
        fields=fields,
        include_deleted=include_deleted,
        sort=sort,
        filter=filter,
        filter_fields=filter_fields,
        filter_type=filter_type,
        date_filter=date_filter,
    )
    return Listing(Request("GET", _route(resource), selection | dict(query or {})), limit, page_size)


def update_resource(
    resource: str, resource_id: Id, body: Mapping[str, Any], *, method: Literal["PATCH", "PUT"] = "PATCH"
) -> Operation[Any]:
    """Change an object: ``PATCH`` or ``PUT /v4/{resource}/{id}``. Most answers contain only part of it."""
    return Operation(Request(method, _route(resource, resource_id), body=body), _any)


def delete_resource(resource: str, resource_id: Id) -> Operation[None]:
    """Delete an object: ``DELETE /v4/{resource}/{id}``. Deleting an imported dataset may delete its file."""
    return Operation(Request("DELETE", _route(resource, resource_id)), _nothing)


def run_action(
    resource: str,
    resource_id: Id,
    action: str,
    body: Mapping[str, Any] | None = None,
    *,
    method: Literal["GET", "POST", "PUT"] = "POST",
    query: Mapping[str, Any] | None = None,
    execution_id: str | None = None,
) -> Operation[Any]:
    """Call a route of an object: ``{method} /v4/{resource}/{id}/{action}``, e.g. ``copy`` or ``run``.

    :param execution_id: ``x-execution-id``, for the routes that take it.
    """
    request = Request(
        method,
        f"{_route(resource, resource_id)}/{path_segment(action, 'action')}",
        query,
        body=body if body is not None or method == "GET" else {},
        headers=_execution(execution_id),
    )
    return Operation(request, _any)


def _route(resource: str, resource_id: Id | None = None) -> str:
    route = f"/v4/{path_segment(resource, 'resource')}"
    return route if resource_id is None else f"{route}/{path_segment(resource_id, 'resource_id')}"
