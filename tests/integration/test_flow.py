from __future__ import annotations

import copy as copying
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support import EmulatorClock, FakeTaskInstance, ScriptedServer, json_answer, run_deferred

from airflow_provider_trifacta.airflow_support.compat import AirflowFailException
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaApiError,
    TrifactaAwaitedRunFailed,
    TrifactaConfigurationError,
    TrifactaFlowCopyUnknown,
    TrifactaRunCanceled,
    TrifactaRunEmpty,
    TrifactaRunFailed,
    TrifactaSubmitRefused,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.flow import (
    TrifactaCopyFlowOperator,
    TrifactaDeleteFlowOperator,
    TrifactaRunFlowOperator,
)
from airflow_provider_trifacta.sensors.flow import TrifactaFlowRunSensor

Connect = Callable[..., None]
Run = Callable[..., Any]


@pytest.fixture(params=[False, True], ids=["sync", "deferred"])
def run(request: pytest.FixtureRequest) -> Run:
    def execute(context: dict[str, Any] | None = None, **arguments: Any) -> Any:
        options = {"task_id": "task", "flow_id": 302, "poll_interval": 0.02, "deferrable": request.param}
        return run_deferred(
            TrifactaRunFlowOperator(**{**options, **arguments}), context or {"ti": FakeTaskInstance()}
        )

    return execute


def _posts(emulator: Emulator, operation: str = "runFlow") -> int:
    return len(emulator.calls(operation))


# ------------------------------------------------------------------------------------------------------------ runs


def test_returns_the_id_of_a_flow_run_of_which_everything_is_complete(
    run: Run, emulator: Emulator, connect: Connect, context: dict[str, Any]
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=2")
    flow_run = run(context)
    assert type(flow_run) is int
    assert {row["flowrun"]["id"] for row in emulator.job_groups} == {flow_run}
    assert [row["status"] for row in emulator.job_groups] == ["Complete", "Complete"]
    assert context["ti"].xcoms == {
        "flow_run_id": flow_run,
        "_link_TrifactaFlowLink": f"{emulator.url}/flows/302",
        "_link_TrifactaJobGroupLink": f"{emulator.url}/jobs",
    }
    assert _posts(emulator) == 1


def test_what_goes_out(run: Run, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.change_settings(pace="at-once")
    run(
        flow_id=f"{emulator.url}/flows/302?recipe=21",
        wrangled_dataset_ids=[21],
        run_parameters={"region": "emea", "full": True, "days": 7},
        overrides={"Customers clean": {"profiler": True}},
        request_body_extra={"ignoreRecipeErrors": True},
    )
    (call,) = emulator.calls("runFlow")
    assert call.body == {
        "wrangledDatasetIds": [21],
        "runParameters": {
            "overrides": {
                "data": [
                    {"key": "region", "value": "emea"},
                    {"key": "full", "value": "true"},
                    {"key": "days", "value": "7"},
                ]
            }
        },
        "overrides": {"Customers clean": {"profiler": True}},
        "ignoreRecipeErrors": True,
    }
    assert [row["wrangledDataset"]["id"] for row in emulator.job_groups] == [21]


def test_one_failed_job_group_fails_the_task(
    run: Run, emulator: Emulator, connect: Connect, context: dict[str, Any]
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=1")
    with pytest.raises(TrifactaRunFailed) as caught:
        run(context, flow_id=304)
    good, bad = (row["id"] for row in emulator.job_groups)
    said = str(caught.value)
    assert f'Job group {bad} (recipe "Returns broken" (32)): wrangle job' in said
    assert "Column 'order_date' not found" in said
    assert f"Complete: job group {good}." in said
    assert said.endswith(f"See {emulator.url}/flows/304")
    assert caught.value.run_id == context["ti"].xcoms["flow_run_id"]
    assert [job.type for job in caught.value.failed_jobs] == ["wrangle"]
    assert not isinstance(caught.value, AirflowFailException)


def test_a_flow_without_outputs_is_never_green(run: Run, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    with pytest.raises(TrifactaRunEmpty, match=r"started no job group.*will not help") as caught:
        run(flow_id=303)
    assert isinstance(caught.value, AirflowFailException)
    assert _posts(emulator) == 1


def test_a_canceled_flow_run(run: Run, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=50")
    started = emulator.app.runs.start_flow_run

    def canceled(*args: Any, **kwargs: Any) -> Any:
        flow_run, job_groups = started(*args, **kwargs)
        for row in job_groups:
            emulator.app.runs.cancel(row, 17)
        return flow_run, job_groups

    emulator.app.runs.start_flow_run = canceled  # type: ignore[method-assign]
    with pytest.raises(TrifactaRunCanceled, match="was canceled, in the application"):
        run()


def test_outputs_of_every_job_group_are_saved(
    run: Run, emulator: Emulator, connect: Connect, tmp_path: Path
) -> None:
    connect(emulator)
    emulator.change_settings(pace="at-once")
    run(outputs_json_path=tmp_path / "outputs.json")
    saved = json.loads((tmp_path / "outputs.json").read_text())
    assert [file["uri"] for file in saved["files"]] == [
        "s3://example-bucket/orders/out_21.csv",
        "s3://example-bucket/orders/out_22.csv",
    ]
    assert saved["tables"] == []


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refused_start_is_final(run: Run, emulator: Emulator, connect: Connect, status: int) -> None:
    connect(emulator)
    emulator.order("runFlow", "status", status=status)
    with pytest.raises(TrifactaSubmitRefused) as caught:
        run()
    assert caught.value.status == status
    assert "Nothing was started" in str(caught.value)
    if status == 404:
        assert "Check flow_id" in str(caught.value)
    assert _posts(emulator) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"flow_id": ""}, "flow_id"),
        ({"flow_id": None}, "flow_id"),
        ({"flow_id": True}, "flow_id"),
        ({"flow_id": "None"}, "flow_id"),
        ({"flow_id": "nightly"}, "flow_id"),
        ({"flow_id": "01HV8Z6Q3T5K7W9Y1B3D5F7H9J"}, "flow_id.*ULID"),
        ({"wrangled_dataset_ids": []}, "wrangled_dataset_ids.*empty"),
        ({"wrangled_dataset_ids": "21"}, "wrangled_dataset_ids"),
        ({"wrangled_dataset_ids": [21, {}]}, "wrangled_dataset_ids"),
        ({"wrangled_dataset_ids": {"a": 1}}, "wrangled_dataset_ids"),
        ({"run_parameters": ["region"]}, "run_parameters"),
        ({"run_parameters": {"region": ["emea"]}}, "run_parameters"),
        ({"run_parameters": {"": "emea"}}, "run_parameters"),
        ({"overrides": []}, "overrides"),
        ({"overrides": {"Orders": "photon"}}, "overrides"),
        ({"overrides": {7: {}}}, "overrides"),
        ({"request_body_extra": []}, "request_body_extra"),
        ({"run_parameters": {}, "request_body_extra": {"runParameters": {}}}, "runParameters.*run_parameters"),
        ({"overrides": {}, "request_body_extra": {"overrides": {}}}, "overrides"),
        (
            {"wrangled_dataset_ids": [21], "request_body_extra": {"wrangledDatasetIds": []}},
            "wrangledDatasetIds.*wrangled_dataset_ids",
        ),
        ({"outputs_json_path": "nowhere://x"}, "outputs_json_path"),
    ],
    ids=repr,
)
def test_bad_input_is_refused_before_anything_is_sent(
    emulator: Emulator, connect: Connect, arguments: dict[str, Any], named: str
) -> None:
    connect(emulator)
    operator = TrifactaRunFlowOperator(**{"task_id": "task", "flow_id": 302, **arguments})
    with pytest.raises(TrifactaConfigurationError, match=named):
        operator.execute({"ti": FakeTaskInstance()})
    assert emulator.journal == []


# ------------------------------------------------------------------------------------ what a server may make of it


class FlowServer:
    """A server of one flow run, 5, that says what a test wants.

    :param own: the status of the flow run, poll by poll; the last one stays.
    :param listed: the rows of its job groups, poll by poll; the last ones stay.
    :param single: the status of job groups that are asked for one by one.
    """

    def __init__(
        self,
        own: list[Any],
        listed: list[list[Any]],
        *,
        single: dict[int, str] | None = None,
        started: Any = (),
        run: Any = None,
    ) -> None:
        self.own, self.listed, self.single = list(own), list(listed), single or {}
        self.started = {"flowRunId": 5, "data": list(started)} if run is None else run

    def __call__(self, path: str) -> tuple[int, dict[str, str], bytes]:
        route = path.partition("?")[0]
        if route.endswith("/run"):
            return json_answer(self.started, 201)
        if route.endswith("/people/current"):
            return json_answer({"id": 17})
        if route == "/v4/flowRuns/5/status":
            own = self._next(self.own)
            return self._missing() if own is None else json_answer(own)
        if route == "/v4/flowRuns/5/jobGroups":
            return json_answer({"data": self._next(self.listed) if "offset=0" in path else []})
        if route.startswith("/v4/jobGroups/") and route.endswith("/status"):
            return json_answer(self.single[int(route.split("/")[3])])
        if route.endswith("/jobs"):
            return json_answer({"data": []})
        if route == "/v4/flowRuns/5":
            return json_answer({"id": 5, "flow": {"id": 302}})
        return json_answer({"data": []})

    @staticmethod
    def _next(values: list[Any]) -> Any:
        return values.pop(0) if len(values) > 1 else values[0]

    @classmethod
    def _missing(cls) -> tuple[int, dict[str, str], bytes]:
        error = {"name": "RouteNotFoundException", "message": "This route does not exist"}
        return json_answer({"exception": error}, 404)


def _row(identity: Any, status: str | None, **fields: Any) -> dict[str, Any]:
    return {"id": identity, **({"status": status} if status is not None else {}), **fields}


@pytest.mark.parametrize(
    "server",
    [
        FlowServer(["InProgress", "Complete"], [[_row(1, "Complete"), _row(2, "Complete")]]),
        FlowServer([{"status": "Complete"}], [[_row("1", "Complete")]]),
        FlowServer(["Complete"], [[_row(1, "InProgress")], [_row(1, "Complete")]]),
        FlowServer(["Complete"], [[]], started=[{"id": 1}], single={1: "Complete"}),
        FlowServer(["Complete"], [[_row(1, None)]], single={1: "Complete"}),
        FlowServer([None], [[], [_row(1, "Created")], [_row(1, "Complete")]]),
        FlowServer(["Complete"], [[_row(1, "Complete", flowRun={"id": 5}), _row(9, "Failed", flowrun={"id": 6})]]),
        FlowServer(["Complete"], [[_row(1, "Complete")]], run={"flowRunId": "5", "data": [{"reason": "queued"}]}),
    ],
    ids=[
        "all-complete",
        "status-in-an-object",
        "a-late-job-group",
        "named-by-the-start-only",
        "without-status-in-the-list",
        "no-route-for-the-status",
        "rows-of-another-flow-run",
        "id-as-text",
    ],
)
def test_green(run: Run, scripted: Any, connect: Connect, server: FlowServer) -> None:
    connect(scripted(copying.deepcopy(server)).url)
    assert run() == 5


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (FlowServer(["Complete"], [[_row(1, "Complete"), _row(2, "Failed")]]), "Job group 2 is Failed"),
        (
            FlowServer(["Complete"], [[_row(1, "Complete")]], started=[{"id": 2}], single={2: "Failed"}),
            "Job group 2 is Failed",
        ),
        (FlowServer(["Failed"], [[_row(1, "Complete")]]), "but the flow run itself is not"),
        (FlowServer(["Complete"], [[]]), "started no job group"),
        (FlowServer(["Complete"], [["row", None, {"id": True}]]), "started no job group"),
        (FlowServer(["Canceled"], [[_row(1, "Canceled")]]), "was canceled"),
        (FlowServer([None], [[_row(1, "Failed")]]), "Job group 1 is Failed"),
    ],
    ids=[
        "one-failed",
        "one-failed-that-no-list-shows",
        "the-flow-run-itself",
        "none",
        "rows-that-are-none",
        "canceled",
        "no-route-for-the-status",
    ],
)
def test_red(run: Run, scripted: Any, connect: Connect, server: FlowServer, said: str) -> None:
    running: ScriptedServer = scripted(copying.deepcopy(server))
    connect(running.url)
    with pytest.raises(Exception, match=said):
        run()
    assert len([request for request in running.requests if request.startswith("POST")]) == 1


# ------------------------------------------------------------------------------------------------------ the sensor


@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])
def test_the_sensor(emulator: Emulator, connect: Connect, deferrable: bool) -> None:
    connect(emulator)
    emulator.change_settings(pace="at-once")
    options: dict[str, Any] = {"task_id": "task", "poke_interval": 0.02, "timeout": 20, "deferrable": deferrable}
    good, bad = (
        run_deferred(
            TrifactaRunFlowOperator(task_id="start", flow_id=flow, wait_for_completion=False),
            {"ti": FakeTaskInstance()},
        )
        for flow in (302, 304)
    )
    run_deferred(TrifactaFlowRunSensor(flow_run_id=good, **options), {"ti": FakeTaskInstance()})
    with pytest.raises(TrifactaAwaitedRunFailed, match=r"Returns broken.*rerun whatever started it"):
        run_deferred(TrifactaFlowRunSensor(flow_run_id=str(bad), **options), {"ti": FakeTaskInstance()})


# ------------------------------------------------------------------------------------------------- copy and delete


@pytest.fixture
def _emulator_time(emulator: Emulator) -> Iterator[None]:
    with mock.patch.dict(TrifactaHook.__init__.__kwdefaults__, clock=EmulatorClock(emulator)):
        yield


def _copy(**arguments: Any) -> Any:
    operator = TrifactaCopyFlowOperator(**{"task_id": "task", "flow_id": 302, **arguments})
    context = {"ti": FakeTaskInstance()}
    return operator.execute(context), context["ti"].xcoms


def test_a_copy(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    copy, xcoms = _copy(name="Customers test", description="for tests", copy_datasources=True)
    flow = emulator.state.get("flows", copy)
    assert (flow["name"], flow["description"]) == ("Customers test", "for tests")
    assert xcoms == {"_link_TrifactaFlowLink": f"{emulator.url}/flows/{copy}"}
    (call,) = emulator.calls("copyFlow")
    assert call.body == {"name": "Customers test", "description": "for tests", "copyDatasources": True}


def test_what_is_not_specified_is_left_to_the_server(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    copy, _ = _copy()
    assert emulator.state.get("flows", copy)["name"] == "Copy of Customers weekly"
    (call,) = emulator.calls("copyFlow")
    assert call.body == {"copyDatasources": False}


def _flows(emulator: Emulator, name: str) -> list[Any]:
    return [row["id"] for row in emulator.state.rows("flows") if row["name"] == name]


@pytest.mark.usefixtures("_emulator_time")
@pytest.mark.parametrize(
    "fault", [{"kind": "reset"}, {"kind": "status", "status": 502}, {"kind": "html"}], ids=str
)
def test_a_copy_whose_answer_is_lost_is_found_by_its_name(
    emulator: Emulator, connect: Connect, fault: dict[str, Any]
) -> None:
    connect(emulator)
    earlier, _ = _copy(name="Customers test")
    emulator.clock.advance(60)
    emulator.order("copyFlow", after=True, **fault)
    copy, _ = _copy(name="Customers test")
    assert _flows(emulator, "Customers test") == [earlier, copy]


@pytest.mark.usefixtures("_emulator_time")
def test_a_copy_whose_answer_is_lost_is_not_made_twice(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.order("copyFlow", "reset", after=True)
    with pytest.raises(TrifactaFlowCopyUnknown, match="specify a name") as caught:
        _copy()
    assert isinstance(caught.value, AirflowFailException)
    assert len(emulator.calls("copyFlow")) == 1


def test_a_copy_that_is_refused(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    with pytest.raises(TrifactaApiError) as caught:
        _copy(flow_id=999)
    assert caught.value.status in (400, 404)
    assert len(emulator.calls("copyFlow")) == 1


@pytest.mark.parametrize(
    "arguments", [{"name": ""}, {"name": 7}, {"description": 7}, {"flow_id": "x"}, {"flow_id": None}], ids=repr
)
def test_a_copy_that_cannot_be_requested(emulator: Emulator, connect: Connect, arguments: dict[str, Any]) -> None:
    connect(emulator)
    with pytest.raises(TrifactaConfigurationError, match=next(iter(arguments))):
        _copy(**arguments)
    assert emulator.journal == []


def _delete(flow_id: Any) -> None:
    TrifactaDeleteFlowOperator(task_id="task", flow_id=flow_id).execute({"ti": FakeTaskInstance()})


def test_deleting_what_is_gone_is_a_success(
    emulator: Emulator, connect: Connect, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    connect(emulator)
    _delete(303)
    assert (
        "deletedAt" in emulator.state.tables["flows"]["303"] or "_deleted" in emulator.state.tables["flows"]["303"]
    )
    _delete(303)
    assert "does not exist" in caplog.text + capsys.readouterr().out


@pytest.mark.parametrize("status", [404, 410])
def test_gone_is_what_the_api_says(emulator: Emulator, connect: Connect, status: int) -> None:
    connect(emulator)
    emulator.order("deleteFlow", "status", status=status)
    _delete(302)


@pytest.mark.parametrize("kind", ["route", "html"])
def test_a_route_that_does_not_exist_is_an_error(scripted: Any, connect: Connect, kind: str) -> None:
    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if kind == "html":
            return 404, {"content-type": "text/html"}, b"<h1>Not found</h1>"
        error = {"name": "RouteNotFoundException", "message": "This route does not exist"}
        return json_answer({"exception": error}, 404)

    connect(scripted(answer).url)
    with pytest.raises(TrifactaApiError):
        _delete(302)
