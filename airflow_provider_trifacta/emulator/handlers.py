"""What each operation does that is more than reading and writing one object."""

from __future__ import annotations

import copy
import email.parser
import email.policy
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_trifacta.emulator import crud, world
from airflow_provider_trifacta.emulator.clock import epoch
from airflow_provider_trifacta.emulator.contract import Contract, Operation, is_true
from airflow_provider_trifacta.emulator.jsontext import decoded
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.runs import Runs
from airflow_provider_trifacta.emulator.selection import listed, matching, with_selection
from airflow_provider_trifacta.emulator.state import Row, State, shown
from airflow_provider_trifacta.emulator.writing import Writing


@dataclass(frozen=True)
class Call:
    """A request that passed all checks.

    :param person: id of the user of the token.
    :param raw: the body as it came, for what is not JSON.
    """

    operation: Operation
    path: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    person: int
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""

    @property
    def id(self) -> Any:
        """The id in the path."""
        return self.path["id"]


@dataclass(frozen=True)
class Content:
    """An answer that is not JSON."""

    media_type: str
    body: bytes


#: The answer to a repeated ``x-execution-id``: 304, no body.
DUPLICATE = object()

Handler = Callable[["Handlers", Call], Any]
_HANDLERS: dict[str, Handler] = {}


def _handles(*operation_ids: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        for operation_id in operation_ids:
            _HANDLERS[operation_id] = handler
        return handler

    return register


class Handlers:
    """Carries out operations.

    :param honour_execution_id: whether a repeated ``x-execution-id`` is answered 304; older releases do not know
        the header.
    :param library_lag: seconds until the job library shows a new job group.
    :param opaque_tokens: whether the values of new tokens do not name them.
    :param endless_tokens: whether tokens that never expire may be made.
    :param writing: how job groups are written.
    """

    def __init__(self, state: State, runs: Runs, contract: Contract) -> None:
        self.state = state
        self.runs = runs
        self.contract = contract
        self.honour_execution_id = True
        self.library_lag = 0.0
        self.opaque_tokens = False
        self.endless_tokens = True
        self.writing = Writing()

    def serves(self, operation: Operation) -> bool:
        """Return whether there is anything behind an operation."""
        return operation.id in _HANDLERS or (
            operation.resource in crud.RESOURCES and _crud_verb(operation) is not None
        )

    def handle(self, call: Call) -> Any:
        """Carry out a call and return what to answer; None answers without a body.

        :raises Problem: an answer that is not a success.
        """
        handler = _HANDLERS.get(call.operation.id)
        if handler is not None:
            return handler(self, call)
        table, verb = call.operation.resource, _crud_verb(call.operation)
        if verb == "create":
            row = crud.create(self.state, table, crud.of_caller(call.body), call.person)
            return with_selection(self.state, table, row, {})
        if verb == "list":
            return crud.read_list(self.state, table, call.query)
        if verb == "count":
            return crud.count(self.state, table, call.query)
        if verb == "read":
            return crud.read(self.state, table, call.id, call.query)
        if verb == "update":
            return crud.update(self.state, table, call.id, call.body, call.person)
        return crud.delete(self.state, table, call.id)

    def job_group(self, call: Call, *, poll: bool = False) -> Row:
        """Return the job group of a call, where it is now."""
        deleted = is_true(call.query.get("includeDeleted"))
        return self.runs.look(self.state.get("jobGroups", call.id, deleted=deleted), poll=poll)

    def once(self, call: Call, start: Callable[[], Any]) -> Any:
        """Start something, unless the ``x-execution-id`` of the call already started something."""
        execution_id = call.headers.get("x-execution-id")
        if execution_id is None or not self.honour_execution_id:
            return start()
        key = f"{call.person}:{execution_id}"
        if key in self.state.executions:
            return DUPLICATE
        answer = start()
        self.state.executions[key] = call.operation.id
        return answer


def _crud_verb(operation: Operation) -> str | None:
    tail = operation.path.removeprefix(f"/v4/{operation.resource}")
    if tail == "":
        return {"GET": "list", "POST": "create"}.get(operation.method)
    if tail == "/count":
        return "count"
    if tail == "/{id}":
        return {"GET": "read", "PATCH": "update", "PUT": "update", "DELETE": "delete"}.get(operation.method)
    return None


# --------------------------------------------------------------------------------------------------- job groups


@_handles("runJobGroup")
def _run_job_group(self: Handlers, call: Call) -> Any:
    recipe = self.state.get("wrangledDatasets", call.body["wrangledDataset"]["id"])
    if call.body.get("testMode"):
        return {"datasetId": int(recipe["id"]), "datasetName": recipe["name"] or "", "sessionId": "test"}

    def start() -> Any:
        job_group = self.runs.start_job_group(
            recipe,
            call.person,
            overrides=call.body.get("overrides") or {},
            run_parameters=call.body.get("runParameters") or {},
            ranfrom=call.body.get("ranfrom"),
        )
        return self.runs.started(job_group)

    return self.once(call, start)


@_handles("listJobGroups")
def _list_job_groups(self: Handlers, call: Call) -> Any:
    self.runs.look_at_all()
    rows = list(self.state.rows("jobGroups"))
    if "flowNodeId" in call.query:
        rows = [row for row in rows if str(row["wrangledDataset"]["id"]) == str(call.query["flowNodeId"])]
    return _job_groups(self, rows, call.query)


def _job_groups(self: Handlers, rows: list[Row], query: Mapping[str, Any]) -> Any:
    page = listed(self.state, "jobGroups", rows, query)
    return page | {"data": [self.writing.listed(row) for row in page["data"]]}


def _library(self: Handlers, call: Call) -> list[Row]:
    self.runs.look_at_all()
    shown_since = self.state.clock.now() - self.library_lag
    rows = [
        row
        for row in self.state.rows("jobGroups")
        if self.library_lag == 0 or epoch(row["createdAt"]) <= shown_since
    ]
    if call.query.get("runBy") == "currentUser":
        rows = [row for row in rows if row["creator"]["id"] == call.person]
    return rows


@_handles("listJobLibrary")
def _list_job_library(self: Handlers, call: Call) -> Any:
    return _job_groups(self, _library(self, call), call.query)


@_handles("countJobLibrary")
def _count_job_library(self: Handlers, call: Call) -> Any:
    return {"count": len(matching("jobGroups", _library(self, call), call.query))}


@_handles("getJobGroup")
def _get_job_group(self: Handlers, call: Call) -> Any:
    row = with_selection(self.state, "jobGroups", self.job_group(call, poll=True), call.query)
    return self.writing.alone(row)


@_handles("getJobGroupStatus")
def _get_job_group_status(self: Handlers, call: Call) -> Any:
    return self.job_group(call, poll=True)["status"]


@_handles("getJobsForJobGroup")
def _get_jobs_for_job_group(self: Handlers, call: Call) -> Any:
    return {"data": [shown(job) for job in self.runs.jobs_of(self.job_group(call))]}


@_handles("getJobStatus")
def _get_job_status(self: Handlers, call: Call) -> Any:
    job = self.state.get("jobs", call.id)
    self.runs.look(self.state.get("jobGroups", job["jobGroup"]["id"], deleted=True), poll=True)
    return job["status"]


@_handles("getJobGroupInputs")
def _get_job_group_inputs(self: Handlers, call: Call) -> Any:
    job_group = self.job_group(call)
    recipe = self.state.get("wrangledDatasets", job_group["wrangledDataset"]["id"], deleted=True)
    reference = recipe["_source"].get("importedDataset")
    if reference is None:
        return {"data": []}
    dataset = self.state.get("importedDatasets", reference["id"], deleted=True)
    location = dataset.get("storageLocation")
    inputs = [{"uri": location["fullUri"], "fileType": "FILE"}] if location else []
    return {"data": [{"name": dataset["name"], "inputs": inputs}]}


@_handles("getJobGroupOutputs")
def _get_job_group_outputs(self: Handlers, call: Call) -> Any:
    job_group = self.job_group(call)
    if job_group["status"] != "Complete":
        return {"files": [], "tables": []}
    files = [
        {"uri": uri, "fileType": "FILE", "isPrimaryOutput": number == 0}
        for number, uri in enumerate(job_group["_files"])
    ]
    tables = [
        {
            "vendor": publication["targetType"],
            "databaseConnectString": "jdbc:postgresql://db.example.com:5432/analytics",
            "relationalPath": publication["path"],
            "table": publication["tableName"],
            "action": publication["action"],
        }
        for publication in _publications(self, job_group)
    ]
    return {"files": files, "tables": tables}


def _publications(self: Handlers, job_group: Row) -> list[Row]:
    return [self.state.get("publications", identity, deleted=True) for identity in job_group["_publications"]]


@_handles("getPublicationsForJobGroup")
def _get_publications_for_job_group(self: Handlers, call: Call) -> Any:
    return {"data": [shown(row) for row in _publications(self, self.job_group(call))]}


def _profile(self: Handlers, call: Call) -> dict[str, Any]:
    job_group = self.job_group(call)
    if not job_group["profilingEnabled"] or job_group["status"] != "Complete":
        raise Problem(
            400,
            "ProfilingDataNotFoundException",
            "Profiling data not found",
            f"Job group {job_group['id']} does not have profiling data",
        )
    counts = [
        {"key": "VALID", "count": 98},
        {"key": "EMPTY", "count": 1},
        {"key": "INVALID", "count": 1},
    ]
    profile = {
        "columnTypes": {"order_id": ["Integer"], "region": ["String"]},
        "profilerTypeCheckHistograms": {"order_id": counts, "region": counts},
        "profilerValidValueHistograms": {},
        "profilerRules": {},
    }
    return {str(job_group["wrangledDataset"]["id"]): profile}


@_handles("getProfilingInformationForJobGroup")
def _get_profile(self: Handlers, call: Call) -> Any:
    return next(iter(_profile(self, call).values()))


@_handles("getProfilingInformationForJobGroupConsistent")
def _get_profile_results(self: Handlers, call: Call) -> Any:
    return _profile(self, call)


@_handles("getJobGroupPdfResults")
def _get_pdf_results(self: Handlers, call: Call) -> Any:
    _profile(self, call)
    return Content("application/pdf", _pdf(f"Profile of job group {call.id}"))


def _pdf(text: str) -> bytes:
    """Return a PDF of one page with one line of text."""
    stream = f"BT /F1 18 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + trailer


@_handles("cancelJobGroup")
def _cancel_job_group(self: Handlers, call: Call) -> Any:
    job_group = self.state.get("jobGroups", call.id)
    self.runs.cancel(job_group, call.person)
    jobs = [job["id"] for job in self.runs.jobs_of(job_group)]
    return {"jobIds": jobs, "jobgroupId": job_group["id"]}


# ------------------------------------------------------------------------------------------------ access tokens


def _own_token(self: Handlers, call: Call) -> Row:
    token = self.state.get("apiAccessTokens", call.path["tokenId"])
    if token["_person"] != call.person:
        raise Problem.not_found("apiAccessTokens", call.path["tokenId"])
    return token


@_handles("createApiAccessToken")
def _create_api_access_token(self: Handlers, call: Call) -> Any:
    lifetime = call.body["lifetimeSeconds"]
    if lifetime == 0:
        raise Problem.validation("lifetimeSeconds: must be -1 or positive")
    if lifetime == -1 and not self.endless_tokens:
        raise Problem.validation("lifetimeSeconds: tokens without an end are not allowed in this workspace")
    token = world.add_token(
        self.state,
        call.person,
        lifetime_seconds=lifetime,
        description=call.body.get("description"),
        opaque=self.opaque_tokens,
    )
    return {"tokenValue": token["_value"], "tokenInfo": shown(token)}


@_handles("listApiAccessTokens")
def _list_api_access_tokens(self: Handlers, call: Call) -> Any:
    own = [row for row in self.state.rows("apiAccessTokens") if row["_person"] == call.person]
    return {"data": [shown(row) for row in own]}


@_handles("getApiAccessToken")
def _get_api_access_token(self: Handlers, call: Call) -> Any:
    return shown(_own_token(self, call))


@_handles("deleteApiAccessToken")
def _delete_api_access_token(self: Handlers, call: Call) -> Any:
    token = _own_token(self, call)
    del self.state.tables["apiAccessTokens"][token["tokenId"]]


def person_of(state: State, value: str | None) -> tuple[int, Row]:
    """Return the user behind a token, and the token.

    :raises Problem: 401.
    """
    token = next((row for row in state.rows("apiAccessTokens") if row["_value"] == value), None)
    if token is None:
        raise Problem.unauthorized("No valid credentials were sent")
    if token["expiredAt"] is not None and epoch(token["expiredAt"]) <= state.clock.now():
        raise Problem.unauthorized("The access token has expired")
    return token["_person"], token


@_handles("getCurrentPerson")
def _get_current_person(self: Handlers, call: Call) -> Any:
    return with_selection(self.state, "people", self.state.get("people", call.person), call.query)


# -------------------------------------------------------------------------------------------------------- flows


@_handles("listFlows", "countFlows")
def _list_flows(self: Handlers, call: Call) -> Any:
    deleted = is_true(call.query.get("includeDeleted"))
    wanted = call.query.get("flowsFilter", "owned")
    rows = [
        row
        for row in self.state.rows("flows", deleted=deleted)
        if wanted == "all" or (row["creator"]["id"] == call.person) is (wanted == "owned")
    ]
    if "folderId" in call.query:
        rows = [row for row in rows if (row["folder"] or {}).get("id") == call.query["folderId"]]
    if call.operation.id == "countFlows":
        return {"count": len(matching("flows", rows, call.query))}
    return listed(self.state, "flows", rows, call.query)


@_handles("copyFlow")
def _copy_flow(self: Handlers, call: Call) -> Any:
    flow = self.state.get("flows", call.id)
    name = call.body.get("name") or f"Copy of {flow['name']}"
    description = call.body.get("description", flow["description"])
    return shown(_insert_flow(self, _flow_contents(self, flow), call.person, name, description))


def _flow_contents(self: Handlers, flow: Row) -> Row:
    """Return a flow with its recipes, outputs and write settings, as a package holds it."""
    recipes = []
    for recipe in self.state.rows("wrangledDatasets"):
        if recipe["flow"]["id"] != flow["id"]:
            continue
        outputs = [
            {
                **{key: output.get(key) for key in ("name", "execution", "profiler", "isAdhoc")},
                **{
                    table: [
                        {k: v for k, v in shown(row).items() if k not in _OWN_FIELDS}
                        for row in self.state.rows(table)
                        if row["_output"]["id"] == output["id"]
                    ]
                    for table in ("writeSettings", "publications")
                },
            }
            for output in self.state.rows("outputObjects")
            if output["flownode"]["id"] == recipe["id"]
        ]
        recipes.append(
            {
                "name": recipe["name"],
                "source": recipe["_source"],
                "behaviour": recipe["_behaviour"],
                "outputs": outputs,
            }
        )
    return {"name": flow["name"], "description": flow["description"], "recipes": recipes}


_OWN_FIELDS = ("id", "createdAt", "updatedAt", "creator", "updater", "outputobject")


def _insert_flow(self: Handlers, contents: Row, person: int, name: str, description: str | None) -> Row:
    flow = crud.create(self.state, "flows", {"name": name, "description": description}, person)
    for recipe in contents["recipes"]:
        row = crud.create(
            self.state,
            "wrangledDatasets",
            {
                "name": recipe["name"],
                "flow": {"id": flow["id"]},
                "_behaviour": recipe["behaviour"],
                **recipe["source"],
            },
            person,
        )
        for output in recipe["outputs"]:
            crud.create(self.state, "outputObjects", {**output, "flowNodeId": row["id"]}, person)
    return flow


@_handles("runFlow")
def _run_flow(self: Handlers, call: Call) -> Any:
    flow = self.state.get("flows", call.id)
    wanted = {str(identity) for identity in call.body.get("wrangledDatasetIds") or []}
    recipes = [row for row in self.runs.runnable_recipes(flow) if not wanted or str(row["id"]) in wanted]

    def start() -> Any:
        flow_run, job_groups = self.runs.start_flow_run(flow, recipes, call.person, call.body)
        data = [self.runs.started(row) for row in job_groups]
        if call.query.get("runAsync"):
            data = [{"id": item["id"], "reason": item["reason"]} for item in data]
        return {"flowRunId": flow_run["id"], "data": data}

    return self.once(call, start)


@_handles("getFlowInputs")
def _get_flow_inputs(self: Handlers, call: Call) -> Any:
    flow = self.state.get("flows", call.id)
    ids = [
        row["_source"]["importedDataset"]["id"]
        for row in self.state.rows("wrangledDatasets")
        if row["flow"]["id"] == flow["id"] and "importedDataset" in row["_source"]
    ]
    return {"data": [shown(self.state.get("importedDatasets", identity, deleted=True)) for identity in ids]}


@_handles("getFlowOutputs")
def _get_flow_outputs(self: Handlers, call: Call) -> Any:
    flow = self.state.get("flows", call.id)
    recipes = {row["id"] for row in self.state.rows("wrangledDatasets") if row["flow"]["id"] == flow["id"]}
    outputs = [row for row in self.state.rows("outputObjects") if row["flownode"]["id"] in recipes]
    return {"data": [shown(row) for row in outputs]}


@_handles("validateFlow")
def _validate_flow(self: Handlers, call: Call) -> Any:
    self.state.get("flows", call.id)
    return {"data": []}


@_handles("getFlowPackage")
def _get_flow_package(self: Handlers, call: Call) -> Any:
    contents = _flow_contents(self, self.state.get("flows", call.id))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("data", json.dumps(contents))
    return Content(call.operation.produces, buffer.getvalue())


@_handles("getFlowPackageDryRun")
def _get_flow_package_dry_run(self: Handlers, call: Call) -> Any:
    self.state.get("flows", call.id)
    return {}


@_handles("importPackage", "importPackageDryRun")
def _import_package(self: Handlers, call: Call) -> Any:
    contents = _package_of(call)
    if call.operation.id == "importPackageDryRun":
        return {"primaryFlowIds": [], "flows": [{"id": 0, "name": contents["name"]}]}
    before = copy.deepcopy(self.state.tables)
    try:
        flow = _insert_flow(self, contents, call.person, contents["name"], contents["description"])
    except Exception:
        self.state.tables = before
        raise
    return {"primaryFlowIds": [flow["id"]], "flows": [shown(flow)]}


def _package_of(call: Call) -> Row:
    """Read the flow out of an uploaded package."""
    header = f"Content-Type: {call.headers.get('content-type', '')}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(header + call.raw)
    for part in message.iter_parts() if message.is_multipart() else ():
        if part.get_param("name", header="content-disposition") in ("data", "File"):
            try:
                payload = part.get_payload(decode=True)
                with zipfile.ZipFile(io.BytesIO(payload if isinstance(payload, bytes) else b"")) as package:
                    contents: Row = decoded(package.read("data"))
                return contents
            except (zipfile.BadZipFile, KeyError, ValueError):
                raise Problem.validation("data: not a package of this server") from None
    raise Problem.validation("data: the part with the package is missing")


# ------------------------------------------------------------------------------------------- flow and plan runs


@_handles("getFlowRunStatus")
def _get_flow_run_status(self: Handlers, call: Call) -> Any:
    return self.runs.flow_run_status(self.state.get("flowRuns", call.id))


@_handles("getFlowRunJobGroups")
def _get_flow_run_job_groups(self: Handlers, call: Call) -> Any:
    job_groups = self.runs.job_groups_of(self.state.get("flowRuns", call.id))
    for job_group in job_groups:
        self.runs.look(job_group)
    rows = [with_selection(self.state, "jobGroups", row, call.query) for row in job_groups]
    return {"data": [self.writing.listed(row) for row in rows]}


@_handles("listPlans", "countPlans")
def _list_plans(self: Handlers, call: Call) -> Any:
    wanted = call.query.get("ownershipFilter", "owned")
    rows = [
        row
        for row in self.state.rows("plans")
        if wanted == "all" or (row["creator"]["id"] == call.person) is (wanted == "owned")
    ]
    if call.operation.id == "countPlans":
        return {"count": len(matching("plans", rows, call.query))}
    answer = listed(self.state, "plans", rows, call.query)
    for plan in answer["data"]:
        plan["latestPlanSnapshotRun"] = _latest_run(self, plan)
    return answer


def _latest_run(self: Handlers, plan: Row) -> Row | None:
    runs = [row for row in self.state.rows("planSnapshotRuns") if row["plan"]["id"] == plan["id"]]
    return shown(self.runs.look_at_plan_run(runs[-1])) if runs else None


@_handles("readFull")
def _read_full(self: Handlers, call: Call) -> Any:
    plan = self.state.get("plans", call.id)
    return with_selection(self.state, "plans", plan, call.query) | {
        "latestPlanSnapshotRun": _latest_run(self, plan)
    }


@_handles("runPlan")
def _run_plan(self: Handlers, call: Call) -> Any:
    plan = self.state.get("plans", call.id)
    flows = self.state.tables["flows"]
    if any(flows[str(node["flow"]["id"])].get("_deleted") for node in plan["planNodes"]["data"]):
        # Arrives with a success code, and nothing runs (api/README.md, section 5).
        return {"validationStatus": "MissingFlowReferences", "planSnapshotRunId": None}

    def start() -> Any:
        run = self.runs.start_plan_run(plan, call.person)
        return {"validationStatus": "Valid", "planSnapshotRunId": run["id"]}

    return self.once(call, start)


@_handles("planRunParameters")
def _plan_run_parameters(self: Handlers, call: Call) -> Any:
    plan = self.state.get("plans", call.id)
    return {
        "planNodeParameters": [
            {
                "handle": node["name"],
                "planNodeId": node["id"],
                "conflicts": [],
                "flow": shown(self.state.get("flows", node["flow"]["id"], deleted=True)),
            }
            for node in plan["planNodes"]["data"]
        ]
    }


def _plan_runs(self: Handlers, call: Call) -> list[Row]:
    rows = [self.runs.look_at_plan_run(row) for row in self.state.rows("planSnapshotRuns")]
    if call.query.get("runBy") == "currentUser":
        rows = [row for row in rows if row["creator"]["id"] == call.person]
    return rows


@_handles("listPlanSnapshotRuns")
def _list_plan_snapshot_runs(self: Handlers, call: Call) -> Any:
    query = {name: value for name, value in call.query.items() if name != "ranfrom"}
    return listed(self.state, "planSnapshotRuns", _plan_runs(self, call), query)


@_handles("countPlanSnapshotRuns")
def _count_plan_snapshot_runs(self: Handlers, call: Call) -> Any:
    query = {name: value for name, value in call.query.items() if name != "ranfrom"}
    return {"count": len(matching("planSnapshotRuns", _plan_runs(self, call), query))}


@_handles("getPlanSnapshotRun")
def _get_plan_snapshot_run(self: Handlers, call: Call) -> Any:
    run = self.runs.look_at_plan_run(self.state.get("planSnapshotRuns", call.id), poll=True)
    return with_selection(self.state, "planSnapshotRuns", run, call.query)


@_handles("cancelPlanSnapshotRun")
def _cancel_plan_snapshot_run(self: Handlers, call: Call) -> Any:
    run = self.state.get("planSnapshotRuns", call.id)
    for identity in run["_flowRuns"]:
        for job_group in self.runs.job_groups_of(self.state.get("flowRuns", identity)):
            self.runs.cancel(job_group, call.person)
    return shown(self.runs.look_at_plan_run(run))


# ------------------------------------------------------------------------------------------ recipes and datasets


@_handles("getInputDataset")
def _get_input_dataset(self: Handlers, call: Call) -> Any:
    return self.state.get("wrangledDatasets", call.id)["_source"]


@_handles("updateInputDataset")
def _update_input_dataset(self: Handlers, call: Call) -> Any:
    recipe = self.state.get("wrangledDatasets", call.id)
    source = {key: call.body[key] for key in ("importedDataset", "wrangledDataset") if key in call.body}
    for key, reference in source.items():
        self.state.get(f"{key}s", reference["id"])
    recipe["_source"] = source
    self.state.touch(recipe, call.person)
    return shown(recipe)


@_handles("addImportedDatasetToFlow")
def _add_imported_dataset_to_flow(self: Handlers, call: Call) -> Any:
    dataset = self.state.get("importedDatasets", call.id)
    flow = self.state.get("flows", call.body["flow"]["id"])
    body = {
        "name": dataset["name"],
        "flow": {"id": flow["id"]},
        "importedDataset": {"id": dataset["id"]},
        "wrangled": False,
    }
    node = crud.create(self.state, "wrangledDatasets", body, call.person)
    return {key: node[key] for key in ("id", "flow", "recipe", "wrangled")}


@_handles("getOpenApiSpec")
def _get_open_api_spec(self: Handlers, call: Call) -> Any:
    return self.contract.document
