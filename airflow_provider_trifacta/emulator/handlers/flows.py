"""Flows and flow runs."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.emulator.contract import is_true
from airflow_provider_trifacta.emulator.flow_contents import contents_of, insert_flow
from airflow_provider_trifacta.emulator.handlers.base import Call, Handlers, handles
from airflow_provider_trifacta.emulator.selection import listed, matching, with_selection
from airflow_provider_trifacta.emulator.state import shown


@handles("listFlows", "countFlows")
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


@handles("copyFlow")
def _copy_flow(self: Handlers, call: Call) -> Any:
    flow = self.state.get("flows", call.id)
    name = call.body.get("name") or f"Copy of {flow['name']}"
    description = call.body.get("description", flow["description"])
    return shown(insert_flow(self.state, contents_of(self.state, flow), call.person, name, description))


@handles("runFlow")
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


@handles("getFlowInputs")
def _get_flow_inputs(self: Handlers, call: Call) -> Any:
    flow = self.state.get("flows", call.id)
    ids = [
        row["_source"]["importedDataset"]["id"]
        for row in self.state.rows("wrangledDatasets")
        if row["flow"]["id"] == flow["id"] and "importedDataset" in row["_source"]
    ]
    return {"data": [shown(self.state.get("importedDatasets", identity, deleted=True)) for identity in ids]}


@handles("getFlowOutputs")
def _get_flow_outputs(self: Handlers, call: Call) -> Any:
    flow = self.state.get("flows", call.id)
    recipes = {row["id"] for row in self.state.rows("wrangledDatasets") if row["flow"]["id"] == flow["id"]}
    outputs = [row for row in self.state.rows("outputObjects") if row["flownode"]["id"] in recipes]
    return {"data": [shown(row) for row in outputs]}


@handles("validateFlow")
def _validate_flow(self: Handlers, call: Call) -> Any:
    self.state.get("flows", call.id)
    return {"data": []}


@handles("getFlowRunStatus")
def _get_flow_run_status(self: Handlers, call: Call) -> Any:
    return self.runs.flow_run_status(self.state.get("flowRuns", call.id))


@handles("getFlowRunJobGroups")
def _get_flow_run_job_groups(self: Handlers, call: Call) -> Any:
    job_groups = self.runs.job_groups_of(self.state.get("flowRuns", call.id))
    for job_group in job_groups:
        self.runs.look(job_group)
    rows = [with_selection(self.state, "jobGroups", row, call.query) for row in job_groups]
    return {"data": [self.writing.listed(row) for row in rows]}
