"""The kinds of runs, for tests that hold for all of them: what starts one, and what the emulator knows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.operators.flow import TrifactaRunFlowOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator
from airflow_provider_trifacta.operators.run import RunOperator
from airflow_provider_trifacta.sensors.flow import TrifactaFlowRunSensor
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
from airflow_provider_trifacta.sensors.plan import TrifactaPlanRunSensor
from airflow_provider_trifacta.sensors.run import RunSensor

Row = dict[str, Any]

PERSON = 17
#: Where the emulator keeps runs, and what they consist of.
TABLES = ("jobGroups", "jobs", "flowRuns", "planSnapshotRuns")
FINAL = ("Complete", "Failed", "Canceled")


@dataclass(frozen=True, eq=False, repr=False)
class Kind:
    """A kind of run.

    :param operator: what starts one.
    :param arguments: with which arguments.
    :param sensor: what waits for one.
    :param recipes: the recipes that it runs, all of which complete.
    :param table: where the emulator keeps the runs.
    :param path: where a start is sent to.
    :param poll_path: where its status is read.
    :param xcom: the XCom with its id.
    :param submit: the operation that starts one.
    :param search: the one that finds it in a list.
    :param poll: the one that reads its status.
    :param details: one that is read beside it.
    :param cancel_call: the one that cancels it, or each part of it.
    :param start_row: starts one in the emulator, for a user.
    :param status_of: brings one to where it is now, and returns its status.
    :param job_groups_of: returns the job groups that it consists of.
    """

    name: str
    operator: type[RunOperator]
    arguments: Mapping[str, Any]
    sensor: type[RunSensor]
    recipes: tuple[int, ...]
    table: str
    path: str
    poll_path: str
    xcom: str
    submit: str
    search: str
    poll: str
    details: str
    cancel_call: str
    start_row: Callable[[Emulator, int], Row]
    status_of: Callable[[Emulator, Row], str]
    job_groups_of: Callable[[Emulator, Row], Iterable[Row]]

    def __repr__(self) -> str:
        return self.name

    @property
    def noun(self) -> str:
        """What a run is called."""
        return self.name.replace("_", " ")

    @property
    def before_submit(self) -> str:
        """What a process does before a start."""
        return f"before POST {self.path}"

    def operation_of(self, role: str) -> str:
        """Return the operation for what it is called here: ``submit``, ``search``, ``poll``, ``details``."""
        return {
            "submit": self.submit,
            "search": self.search,
            "poll": self.poll,
            "details": self.details,
        }.get(role, role)

    def rows(self, emulator: Emulator) -> list[Row]:
        """Return the runs, in the order in which they were started."""
        return list(emulator.state.rows(self.table))

    def ids(self, emulator: Emulator) -> list[Any]:
        """Return the ids of the runs."""
        return [row["id"] for row in self.rows(emulator)]

    def statuses(self, emulator: Emulator) -> list[str]:
        """Return the status of each run, where it is now."""
        return [self.status_of(emulator, row) for row in self.rows(emulator)]

    def start(self, emulator: Emulator, person: int = PERSON) -> Any:
        """Start a run that is not the task's, and return its id."""
        return self.start_row(emulator, person)["id"]

    def cancel(self, emulator: Emulator, run_id: Any = None) -> None:
        """Cancel a run as a user does; all of them without an id."""
        for row in self.rows(emulator):
            if run_id in (None, row["id"]):
                for job_group in self.job_groups_of(emulator, row):
                    emulator.app.runs.cancel(job_group, PERSON)

    def end(self, emulator: Emulator, status: str) -> None:
        """Let all runs end, with a status."""
        for row in self.rows(emulator):
            for job_group in self.job_groups_of(emulator, row):
                job_group["status"] = status

    def behave(self, emulator: Emulator, behaviour: str = "complete") -> None:
        """Decide how the recipes go: all complete, or the last one does otherwise."""
        for recipe in self.recipes:
            emulator.state.get("wrangledDatasets", recipe)["_behaviour"] = "complete"
        emulator.state.get("wrangledDatasets", self.recipes[-1])["_behaviour"] = behaviour


def clear_runs(emulator: Emulator) -> None:
    """Forget every run."""
    for table in TABLES:
        emulator.state.tables.get(table, {}).clear()


def empty(emulator: Emulator, **settings: Any) -> None:
    """Leave a server with nothing in it, hours after what other tests did.

    :param settings: beside those that tests change most.
    """
    emulator.clear_faults()
    clear_runs(emulator)
    emulator.app.journal.clear()
    emulator.clock.advance(7200)
    emulator.change_settings(pace="seconds=100", honour_execution_id=True, library_lag=0, **settings)


def _start_job_group(emulator: Emulator, person: int) -> Row:
    recipe = emulator.state.get("wrangledDatasets", 7)
    return emulator.app.runs.start_job_group(recipe, person, overrides={}, run_parameters={})


def _start_flow_run(emulator: Emulator, person: int) -> Row:
    flow = emulator.state.get("flows", 302)
    runs = emulator.app.runs
    return runs.start_flow_run(flow, runs.runnable_recipes(flow), person, {})[0]


def _start_plan_run(emulator: Emulator, person: int) -> Row:
    return emulator.app.runs.start_plan_run(emulator.state.get("plans", 89), person, [])


def _job_groups_of_plan_run(emulator: Emulator, row: Row) -> list[Row]:
    flow_runs = [emulator.state.get("flowRuns", flow_run_id) for flow_run_id in row["_flowRuns"]]
    return [job_group for flow_run in flow_runs for job_group in emulator.app.runs.job_groups_of(flow_run)]


JOB_GROUPS = Kind(
    "job_group",
    TrifactaRunJobGroupOperator,
    {"wrangled_dataset_id": 7},
    TrifactaJobGroupSensor,
    recipes=(7,),
    table="jobGroups",
    path="/v4/jobGroups",
    poll_path="/v4/jobGroups/{}/status",
    xcom="job_group_id",
    submit="runJobGroup",
    search="listJobLibrary",
    poll="getJobGroupStatus",
    details="getJobGroup",
    cancel_call="cancelJobGroup",
    start_row=_start_job_group,
    status_of=lambda emulator, row: emulator.app.runs.look(row)["status"],
    job_groups_of=lambda _, row: [row],
)
FLOW_RUNS = Kind(
    "flow_run",
    TrifactaRunFlowOperator,
    {"flow_id": 302},
    TrifactaFlowRunSensor,
    recipes=(21, 22),
    table="flowRuns",
    path="/v4/flows/302/run",
    poll_path="/v4/flowRuns/{}/status",
    xcom="flow_run_id",
    submit="runFlow",
    search="listJobLibrary",
    poll="getFlowRunStatus",
    details="getFlowRunJobGroups",
    cancel_call="cancelJobGroup",
    start_row=_start_flow_run,
    status_of=lambda emulator, row: emulator.app.runs.flow_run_status(row),
    job_groups_of=lambda emulator, row: emulator.app.runs.job_groups_of(row),
)
PLAN_RUNS = Kind(
    "plan_run",
    TrifactaRunPlanOperator,
    {"plan_id": 89},
    TrifactaPlanRunSensor,
    recipes=(21, 22),
    table="planSnapshotRuns",
    path="/v4/plans/89/run",
    poll_path="/v4/planSnapshotRuns/{}",
    xcom="plan_snapshot_run_id",
    submit="runPlan",
    search="listPlanSnapshotRuns",
    poll="getPlanSnapshotRun",
    details="listPlans",
    cancel_call="cancelPlanSnapshotRun",
    start_row=_start_plan_run,
    status_of=lambda emulator, row: emulator.app.runs.look_at_plan_run(row)["status"],
    job_groups_of=_job_groups_of_plan_run,
)
KINDS = (JOB_GROUPS, FLOW_RUNS, PLAN_RUNS)
