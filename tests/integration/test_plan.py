from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import FakeTaskInstance, ScriptedServer, json_answer, run_deferred

from airflow_provider_trifacta.airflow_support.compat import AirflowFailException
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaAwaitedRunFailed,
    TrifactaConfigurationError,
    TrifactaForbidden,
    TrifactaRunFailed,
    TrifactaSubmitRefused,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator
from airflow_provider_trifacta.sensors.plan import TrifactaPlanRunSensor

Connect = Callable[..., None]
Run = Callable[..., Any]


@pytest.fixture(params=[False, True], ids=["sync", "deferred"])
def run(request: pytest.FixtureRequest) -> Run:
    def execute(context: dict[str, Any] | None = None, **arguments: Any) -> Any:
        options = {"task_id": "task", "plan_id": 89, "poll_interval": 0.02, "deferrable": request.param}
        return run_deferred(
            TrifactaRunPlanOperator(**{**options, **arguments}), context or {"ti": FakeTaskInstance()}
        )

    return execute


def test_returns_the_id_of_a_complete_run(
    run: Run, emulator: Emulator, connect: Connect, context: dict[str, Any]
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=2")
    plan_run = run(context)
    assert emulator.state.get("planSnapshotRuns", plan_run)["status"] == "Complete"
    assert context["ti"].xcoms == {
        "plan_snapshot_run_id": plan_run,
        "_link_TrifactaPlanLink": f"{emulator.url}/plans/89",
    }
    assert len(emulator.calls("runPlan")) == 1


def test_parameters_go_out_by_node(run: Run, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.change_settings(pace="at-once")
    run(run_parameters={"flow-1": {"region": "emea", "full": False, "days": 7}})
    (call,) = emulator.calls("runPlan")
    assert call.body == {
        "planNodeOverrides": [
            {"handle": "flow-1", "overrideKey": key, "value": {"variable": {"value": value}}}
            for key, value in (("region", "emea"), ("full", "false"), ("days", "7"))
        ]
    }


def test_a_failed_run_names_the_node(run: Run, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=1")
    with pytest.raises(TrifactaRunFailed) as caught:
        run(plan_id=90)
    said = str(caught.value)
    assert 'Node "flow-2", job group' in said
    assert "Column 'order_date' not found" in said
    assert said.endswith(f"See {emulator.url}/plans/90")
    assert "flow-1" not in said


def test_a_plan_that_is_not_valid_fails_at_once(run: Run, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.state.tables["flows"]["302"]["_deleted"] = True
    with pytest.raises(TrifactaSubmitRefused, match="MissingFlowReferences") as caught:
        run()
    assert isinstance(caught.value, AirflowFailException)
    assert 'Missing: flow 302 of node "flow-1".' in str(caught.value)
    assert len(emulator.calls("runPlan")) == 1
    assert list(emulator.state.rows("planSnapshotRuns")) == []


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refused_start_is_final(run: Run, emulator: Emulator, connect: Connect, status: int) -> None:
    connect(emulator)
    emulator.order("runPlan", "status", status=status)
    with pytest.raises(TrifactaSubmitRefused) as caught:
        run()
    assert caught.value.status == status
    assert len(emulator.calls("runPlan")) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"plan_id": ""}, "plan_id"),
        ({"plan_id": None}, "plan_id"),
        ({"plan_id": [88]}, "plan_id"),
        ({"plan_id": "01HV8Z6Q3T5K7W9Y1B3D5F7H9J"}, "plan_id.*ULID"),
        ({"run_parameters": {"region": "emea"}}, r"run_parameters\['region'\]"),
        ({"run_parameters": ["flow-1"]}, "run_parameters"),
        ({"run_parameters": {"flow-1": {"region": {}}}}, "region"),
        ({"run_parameters": {1: {}}}, "run_parameters"),
        (
            {"run_parameters": {}, "request_body_extra": {"planNodeOverrides": []}},
            "planNodeOverrides.*run_parameters",
        ),
        ({"request_body_extra": "x"}, "request_body_extra"),
    ],
    ids=repr,
)
def test_bad_input_is_refused_before_anything_is_sent(
    emulator: Emulator, connect: Connect, arguments: dict[str, Any], named: str
) -> None:
    connect(emulator)
    operator = TrifactaRunPlanOperator(**{"task_id": "task", "plan_id": 89, **arguments})
    with pytest.raises(TrifactaConfigurationError, match=named):
        operator.execute({"ti": FakeTaskInstance()})
    assert emulator.journal == []


# ------------------------------------------------------------------------------------ what a server may make of it


class PlanServer:
    """A server of one plan, 88, that says what a test wants.

    :param run: the answers to reading the run, poll by poll: a status code, or the object; the last one stays.
    :param latest: the latest run of the plan, as the list of plans says it.
    """

    def __init__(self, run: list[Any], *, latest: Any = None, started: Any = None) -> None:
        self.run, self.latest = list(run), latest
        self.started = started or {"validationStatus": "Valid", "planSnapshotRunId": 5}

    def __call__(self, path: str) -> tuple[int, dict[str, str], bytes]:
        route = path.partition("?")[0]
        if route == "/v4/plans/88/run":
            return json_answer(self.started, 201)
        if route == "/v4/people/current":
            return json_answer({"id": 17})
        if route == "/v4/plans":
            plans = [{"id": 1, "latestPlanSnapshotRun": None}, {"id": 88, "latestPlanSnapshotRun": self.latest}]
            return json_answer({"data": plans if "offset=0" in path else []})
        if route == "/v4/planSnapshotRuns/5" or route.startswith("/v4/planSnapshotRuns/run-"):
            run = self.run.pop(0) if len(self.run) > 1 else self.run[0]
            if isinstance(run, int):
                error = {"name": "AccessControlException", "message": "Not permitted"}
                return json_answer({"exception": error}, run)
            return json_answer(run)
        return json_answer({"data": [], "id": 88})


COMPLETE = {"id": 5, "status": "Complete", "plan": {"id": 88}}


@pytest.mark.parametrize(
    "answers",
    [
        [[{"id": 5, "status": "InProgress", "plan": {"id": 88}}, COMPLETE]],
        [[{"id": "5", "status": "Complete"}]],
        [[{**COMPLETE, "plan": {"id": 7001}}]],
        [[403], COMPLETE],
        [[404], COMPLETE],
    ],
    ids=["own-run", "without-plan", "of-a-snapshot", "forbidden", "not-found"],
)
def test_green(run: Run, scripted: Any, connect: Connect, answers: list[Any]) -> None:
    connect(scripted(PlanServer(answers[0], latest=answers[1] if len(answers) > 1 else None)).url)
    assert run(plan_id=88) == 5


@pytest.mark.parametrize("run_id", ["run-5c1e", "5"])
def test_the_id_comes_back_as_the_server_gave_it(run: Run, scripted: Any, connect: Connect, run_id: str) -> None:
    answer = {"validationStatus": "Valid", "planSnapshotRunId": run_id}
    connect(scripted(PlanServer([{**COMPLETE, "id": run_id}], started=answer)).url)
    assert run(plan_id=88) == run_id


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("latest", [None, {**COMPLETE, "id": 6}], ids=["no-run", "another-run"])
def test_a_run_that_cannot_be_seen_is_red(
    run: Run, scripted: Any, connect: Connect, status: int, latest: Any
) -> None:
    connect(scripted(PlanServer([status], latest=latest)).url)
    with pytest.raises(TrifactaWaitFailed, match="cannot see plan run 5") as caught:
        run(plan_id=88, retry_budget=1)
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.status == status  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer",
    [{**COMPLETE, "id": 6}, {"status": "Complete"}],
    ids=["another-run", "without-id"],
)
def test_only_the_complete_of_this_run_is_green(run: Run, scripted: Any, connect: Connect, answer: Any) -> None:
    connect(scripted(PlanServer([answer])).url)
    with pytest.raises(TrifactaWaitFailed):
        run(plan_id=88, retry_budget=1)


def test_an_invalid_plan_that_runs_all_the_same_is_canceled(run: Run, scripted: Any, connect: Connect) -> None:
    answer = {"validationStatus": "MissingFlowReferences", "planSnapshotRunId": 5}
    server: ScriptedServer = scripted(PlanServer([COMPLETE], started=answer))
    connect(server.url)
    with pytest.raises(TrifactaSubmitRefused, match="MissingFlowReferences"):
        run(plan_id=88)
    posts = [request for request in server.requests if request.startswith("POST")]
    assert posts == ["POST /v4/plans/88/run", "POST /v4/planSnapshotRuns/5/cancel"]


@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])
def test_the_sensor(emulator: Emulator, connect: Connect, deferrable: bool) -> None:
    connect(emulator)
    emulator.change_settings(pace="at-once")
    options: dict[str, Any] = {"task_id": "task", "poke_interval": 0.02, "timeout": 20, "deferrable": deferrable}
    good, bad = (
        run_deferred(
            TrifactaRunPlanOperator(task_id="start", plan_id=plan, wait_for_completion=False),
            {"ti": FakeTaskInstance()},
        )
        for plan in (89, 90)
    )
    run_deferred(TrifactaPlanRunSensor(plan_snapshot_run_id=good, **options), {"ti": FakeTaskInstance()})
    with pytest.raises(TrifactaAwaitedRunFailed, match="flow-2"):
        run_deferred(TrifactaPlanRunSensor(plan_snapshot_run_id=bad, **options), {"ti": FakeTaskInstance()})


def test_a_sensor_that_may_not_read_the_run(scripted: Any, connect: Connect) -> None:
    connect(scripted(PlanServer([403])).url)
    sensor = TrifactaPlanRunSensor(task_id="task", plan_snapshot_run_id=5, retry_budget=0, timeout=20)
    with pytest.raises(TrifactaForbidden, match="cannot see plan run 5"):
        sensor.execute({"ti": FakeTaskInstance()})
