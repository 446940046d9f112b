"""Plans and plan runs."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.emulator.handlers.base import Call, Handlers, handles
from airflow_provider_trifacta.emulator.selection import listed, matching, with_selection
from airflow_provider_trifacta.emulator.state import Row, shown


@handles("listPlans", "countPlans")
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


@handles("readFull")
def _read_full(self: Handlers, call: Call) -> Any:
    plan = self.state.get("plans", call.id)
    return with_selection(self.state, "plans", plan, call.query) | {
        "latestPlanSnapshotRun": _latest_run(self, plan)
    }


@handles("runPlan")
def _run_plan(self: Handlers, call: Call) -> Any:
    plan = self.state.get("plans", call.id)
    flows = self.state.tables["flows"]
    if any(flows[str(node["flow"]["id"])].get("_deleted") for node in plan["planNodes"]["data"]):
        # Sent with a success code although nothing runs (api/README.md, section 5).
        return {"validationStatus": "MissingFlowReferences", "planSnapshotRunId": None}

    def start() -> Any:
        run = self.runs.start_plan_run(plan, call.person, (call.body or {}).get("planNodeOverrides") or [])
        return {"validationStatus": "Valid", "planSnapshotRunId": run["id"]}

    return self.once(call, start)


@handles("planRunParameters")
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


@handles("listPlanSnapshotRuns")
def _list_plan_snapshot_runs(self: Handlers, call: Call) -> Any:
    query = {name: value for name, value in call.query.items() if name != "ranfrom"}
    return listed(self.state, "planSnapshotRuns", _plan_runs(self, call), query)


@handles("countPlanSnapshotRuns")
def _count_plan_snapshot_runs(self: Handlers, call: Call) -> Any:
    query = {name: value for name, value in call.query.items() if name != "ranfrom"}
    return {"count": len(matching("planSnapshotRuns", _plan_runs(self, call), query))}


@handles("getPlanSnapshotRun")
def _get_plan_snapshot_run(self: Handlers, call: Call) -> Any:
    run = self.runs.look_at_plan_run(self.state.get("planSnapshotRuns", call.id), poll=True)
    return with_selection(self.state, "planSnapshotRuns", run, call.query)


@handles("cancelPlanSnapshotRun")
def _cancel_plan_snapshot_run(self: Handlers, call: Call) -> Any:
    run = self.state.get("planSnapshotRuns", call.id)
    for identity in run["_flowRuns"]:
        for job_group in self.runs.job_groups_of(self.state.get("flowRuns", identity)):
            self.runs.cancel(job_group, call.person)
    return shown(self.runs.look_at_plan_run(run))
