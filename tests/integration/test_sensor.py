from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kinds import JOB_GROUPS, KINDS, Kind
from support import AirflowRescheduleException, FakeTaskInstance, TaskDeferred, run_deferred

from airflow_provider_trifacta.airflow_support.compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaAwaitedJobGroupFailed,
    TrifactaAwaitedRunFailed,
    TrifactaConfigurationError,
    TrifactaForbidden,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
from airflow_provider_trifacta.sensors.run import RunSensor

Connect = Callable[..., None]


def _sensor(run_id: Any, *, kind: Kind = JOB_GROUPS, **arguments: Any) -> RunSensor:
    defaults = {"task_id": "task", "poke_interval": 0.05, "timeout": 30}
    return kind.sensor(**{**defaults, kind.xcom: run_id, **arguments})


def _start(emulator: Emulator, recipe: int) -> int:
    person = 17
    row = emulator.app.runs.start_job_group(
        emulator.state.get("wrangledDatasets", recipe), person, overrides={}, run_parameters={}
    )
    return int(row["id"])


@pytest.fixture(params=["poke", "reschedule", "deferred"])
def run(request: pytest.FixtureRequest, context: dict[str, Any]) -> Any:
    """Run a sensor to its end, in each mode."""
    if request.param == "reschedule":
        pytest.importorskip("airflow.sdk", reason="Airflow 2 looks for the last look in its database")

    def execute(*arguments: Any, **options: Any) -> Any:
        if request.param == "deferred":
            return run_deferred(_sensor(*arguments, deferrable=True, **options), context)
        if request.param == "poke":
            return _sensor(*arguments, **options).execute(context)
        context["ti"].get_first_reschedule_date = lambda _: context["ti"].start_date
        while True:
            try:  # every look is a process of its own
                return _sensor(*arguments, mode="reschedule", **options).execute(context)
            except AirflowRescheduleException:
                time.sleep(0.02)

    return execute


def test_waits_for_complete(run: Any, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=4")
    run(_start(emulator, 7))
    assert emulator.calls("cancelJobGroup") == []
    # The emulator ends it after four reads of its status; what tells the names of recipe and flow is one, too.
    assert 4 <= len(emulator.calls("getJobGroupStatus")) <= 5


@pytest.mark.parametrize("recipe", [8, 10])
def test_a_failed_job_group_fails_without_a_retry(
    run: Any, emulator: Emulator, connect: Connect, recipe: int
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=2")
    with pytest.raises(TrifactaAwaitedJobGroupFailed, match="failed: ") as caught:
        run(_start(emulator, recipe))
    assert isinstance(caught.value, AirflowFailException)


def test_soft_fail_skips_in_every_mode(run: Any, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=2")
    with pytest.raises(AirflowSkipException):
        run(_start(emulator, 8), soft_fail=True)


def test_the_timeout_holds_in_every_mode(run: Any, emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    with pytest.raises(AirflowSensorTimeout):
        run(_start(emulator, 9), timeout=0.3)
    assert emulator.calls("cancelJobGroup") == []


@pytest.mark.parametrize("kind", KINDS[1:], ids=str)
def test_every_kind_is_waited_for_until_complete(
    run: Any, emulator: Emulator, connect: Connect, kind: Kind
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=4")
    run(kind.start(emulator), kind=kind)
    assert kind.statuses(emulator) == ["Complete"]
    assert len(emulator.calls(kind.poll)) >= 4
    assert {entry.method for entry in emulator.journal} == {"GET"}


@pytest.mark.parametrize("kind", KINDS[1:], ids=str)
def test_every_kind_that_failed_fails_without_a_retry(
    run: Any, emulator: Emulator, connect: Connect, kind: Kind
) -> None:
    connect(emulator)
    kind.behave(emulator, "fail-wrangle")
    emulator.change_settings(pace="polls=2")
    with pytest.raises(TrifactaAwaitedRunFailed, match="Column 'order_date' not found") as caught:
        run(kind.start(emulator), kind=kind)
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("kind", KINDS[1:], ids=str)
def test_the_timeout_of_every_kind_cancels_nothing(
    run: Any, emulator: Emulator, connect: Connect, kind: Kind
) -> None:
    connect(emulator)
    kind.behave(emulator, "endless")
    with pytest.raises(AirflowSensorTimeout):
        run(kind.start(emulator), kind=kind, timeout=0.3)
    assert {entry.method for entry in emulator.journal} == {"GET"}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_event_of_another_run_is_not_ours(
    context: dict[str, Any], emulator: Emulator, connect: Connect, kind: Kind
) -> None:
    connect(emulator)
    run_id = kind.start(emulator)
    event = {kind.xcom: 1, "outcome": "final", "status": "Complete"}
    with pytest.raises(TaskDeferred) as again:
        _sensor(run_id, kind=kind, deferrable=True).execute_complete(context, event)
    assert again.value.trigger.serialize()[1][kind.xcom] == run_id


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_error_of_the_api_is_the_cause_in_the_triggerer_too(
    context: dict[str, Any], emulator: Emulator, connect: Connect, kind: Kind
) -> None:
    connect(emulator)
    kind.behave(emulator, "endless")
    sensor = _sensor(kind.start(emulator), kind=kind, deferrable=True, retry_budget=0)
    for operation in (kind.poll, "listPlans"):
        emulator.order(operation, "status", status=403, call=2, times=1000)
    with pytest.raises(TrifactaWaitFailed) as caught:
        run_deferred(sensor, context)
    assert isinstance(caught.value.__cause__, TrifactaForbidden)
    assert caught.value.__cause__.status == 403


@pytest.mark.parametrize("body", [b'"undefined"', b"null", b'"complete"', b"{}"])
def test_only_complete_is_green(run: Any, scripted: Any, connect: Connect, body: bytes) -> None:
    began = datetime.now(UTC).isoformat()

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/status"):
            return 200, {}, body
        return 200, {}, f'{{"id": 5, "updatedAt": "{began}"}}'.encode()

    connect(scripted(answer).url)
    with pytest.raises(TrifactaAwaitedJobGroupFailed, match="kept the unknown status"):
        run(5, unknown_status_timeout=0.3)


def test_the_buttons_lead_to_job_group_flow_and_recipe(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=3")
    identity = _start(emulator, 7)
    run(identity)
    assert context["ti"].xcoms == {
        "_link_TrifactaJobGroupLink": f"{emulator.url}/jobs/{identity}",
        "_link_TrifactaFlowLink": f"{emulator.url}/flows/301",
        "_link_TrifactaRecipeLink": f"{emulator.url}/flows/301?recipe=7",
    }


def test_a_finished_job_group_is_not_waited_for_in_the_triggerer(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    assert _sensor(_start(emulator, 7), deferrable=True).execute(context) is None
    assert len(emulator.calls("getJobGroupStatus")) == 1


def test_the_deadline_is_counted_from_the_start_of_the_task(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    started = datetime.now(UTC) - timedelta(seconds=20)
    with pytest.raises(TaskDeferred) as deferral:
        _sensor(_start(emulator, 9), deferrable=True, timeout=60).execute({"ti": FakeTaskInstance(started)})
    assert deferral.value.trigger.deadline == pytest.approx(started.timestamp() + 60)


@pytest.mark.parametrize("bad", ["", "None", None, 1.5, True])
def test_a_job_group_id_that_is_none(
    context: dict[str, Any], emulator: Emulator, connect: Connect, bad: Any
) -> None:
    connect(emulator)
    with pytest.raises(TrifactaConfigurationError, match="job_group_id"):
        _sensor(bad).execute(context)
    assert emulator.journal == []


@pytest.mark.parametrize("bad", [0, -1])
def test_intervals_are_checked(bad: float) -> None:
    with pytest.raises(Exception, match="poke_interval"):  # Airflow 2.11 checks some itself
        _sensor(5, poke_interval=bad)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    monkeypatch.setattr(TrifactaJobGroupSensor, "log", logging.getLogger("task"))
    caplog.set_level("INFO", logger="task")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "task"]


def test_the_log_says_that_the_sensor_waits_in_the_triggerer(
    emulator: Emulator, connect: Connect, logged: Callable[[], list[str]]
) -> None:
    connect(emulator)
    context = {"ti": FakeTaskInstance(datetime(2024, 3, 1, 6, 0, tzinfo=UTC))}
    identity = _start(emulator, 9)
    with pytest.raises(TaskDeferred):
        _sensor(identity, deferrable=True, poke_interval=0.5, timeout=3600).execute(context)
    assert logged()[-1] == (
        f"Waiting for job group {identity} in the triggerer, polling every 0.5 s, until 2024-03-01 07:00:00 UTC"
    )


def test_the_first_poke_of_many_processes_says_what_is_waited_for(
    context: dict[str, Any], emulator: Emulator, connect: Connect, logged: Callable[[], list[str]]
) -> None:
    connect(emulator)
    identity = _start(emulator, 9)
    for count in range(3):  # as Airflow 3 counts
        assert not _sensor(identity, mode="reschedule").poke({**context, "task_reschedule_count": count})
        assert len(emulator.calls("getJobGroup")) == 1
        assert context["ti"].xcoms["_link_TrifactaJobGroupLink"]
    announced = [line for line in logged() if line.startswith("Waiting for")]
    names = 'recipe "Orders endless" (9) of flow "Orders nightly" (301)'
    assert announced == [f"Waiting for job group {identity}, {names}: {emulator.url}/jobs/{identity}"]


def test_a_pasted_url_is_understood_in_every_mode(
    context: dict[str, Any], emulator: Emulator, connect: Callable[..., None]
) -> None:
    connect(emulator)
    identity = TrifactaHook().run_job_group(7)["id"]
    for deferrable in (False, True):
        emulator.change_settings(pace="polls=2")
        sensor = TrifactaJobGroupSensor(
            task_id="wait",
            job_group_id=f"{emulator.url}/jobs/{identity}?tab=x",
            poke_interval=0.05,
            deferrable=deferrable,
        )
        run_deferred(sensor, context)
        assert sensor.job_group_id == str(identity)
        identity = TrifactaHook().run_job_group(7)["id"]
