from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger
from support import drain

from airflow_provider_trifacta.airflow_support import task_state
from airflow_provider_trifacta.airflow_support.task_state import is_still_deferred
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.triggers import job_group
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

Connect = Callable[..., None]


@pytest.fixture
def running(emulator: Emulator, connect: Connect) -> int:
    connect(emulator)
    row = emulator.app.runs.start_job_group(
        emulator.state.get("wrangledDatasets", 9), 17, overrides={}, run_parameters={}
    )
    return int(row["id"])


def _deferred(answer: bool) -> Any:
    async def is_still_deferred(*_: Any) -> bool:
        return answer

    return is_still_deferred


def test_arguments_survive_serialization() -> None:
    arguments = {
        "job_group_id": 90210,
        "trifacta_conn_id": "mine",
        "poll_interval": 7.5,
        "unknown_status_timeout": 60.0,
        "deadline": 1_700_000_000.0,
        "retry_budget": 5.0,
        "cancel_on_kill": True,
        "cancel_at_deadline": True,
        "began": 1_600_000_000.0,
    }
    path, serialized = TrifactaJobGroupTrigger(**arguments).serialize()
    assert path == "airflow_provider_trifacta.triggers.job_group.TrifactaJobGroupTrigger"
    assert serialized == arguments


def test_what_version_0_1_0_stored_still_loads() -> None:
    stored = {
        "job_group_id": 90210,
        "trifacta_conn_id": "trifacta_default",
        "poll_interval": 30.0,
        "unknown_status_timeout": 600.0,
        "deadline": None,
        "retry_budget": None,
        "cancel_on_kill": True,
        "cancel_at_deadline": True,
    }
    assert TrifactaJobGroupTrigger(**stored).serialize()[1] == {**stored, "began": None}
    assert TrifactaJobGroupTrigger(job_group_id=1).serialize()[1]["cancel_on_kill"] is False


def test_what_a_newer_version_stored_loads_too() -> None:
    assert TrifactaJobGroupTrigger(job_group_id=1, invented_later=True).job_group_id == 1


def test_a_restarted_trigger_only_reads(emulator: Emulator, running: int) -> None:
    async def restart() -> None:
        for _ in range(3):
            task = asyncio.create_task(
                drain(TrifactaJobGroupTrigger(running, poll_interval=0.05, cancel_on_kill=True).run())
            )
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    if not hasattr(BaseTrigger, "on_kill"):
        pytest.skip("before Airflow 3.3 the state of the task is asked for")
    asyncio.run(restart())
    assert {entry.method for entry in emulator.journal} == {"GET"}


def test_a_person_who_ends_the_task_cancels(
    emulator: Emulator, running: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_group, "is_still_deferred", _deferred(False))
    asyncio.run(TrifactaJobGroupTrigger(running, cancel_on_kill=True).on_kill())
    assert len(emulator.calls("cancelJobGroup")) == 1
    assert emulator.job_groups[0]["status"] == "Canceled"


@pytest.mark.parametrize(("still_deferred", "cancel_on_kill"), [(True, True), (False, False)])
def test_a_trigger_that_moves_or_must_not_does_not_cancel(
    emulator: Emulator, running: int, monkeypatch: pytest.MonkeyPatch, still_deferred: bool, cancel_on_kill: bool
) -> None:
    monkeypatch.setattr(job_group, "is_still_deferred", _deferred(still_deferred))
    asyncio.run(TrifactaJobGroupTrigger(running, cancel_on_kill=cancel_on_kill).on_kill())
    assert emulator.calls("cancelJobGroup") == []


def test_on_kill_after_the_event_does_nothing(
    emulator: Emulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(emulator)
    monkeypatch.setattr(job_group, "is_still_deferred", _deferred(False))
    row = emulator.app.runs.start_job_group(
        emulator.state.get("wrangledDatasets", 7), 17, overrides={}, run_parameters={}
    )
    trigger = TrifactaJobGroupTrigger(row["id"], cancel_on_kill=True)

    async def finish() -> list[Any]:
        events = await drain(trigger.run())
        await trigger.on_kill()
        return events

    (event,) = asyncio.run(finish())
    assert event.payload["status"] == "Complete"
    assert emulator.calls("cancelJobGroup") == []


@pytest.mark.parametrize("fault", [404, 409, 500])
def test_a_cancel_that_fails_never_raises(
    emulator: Emulator, running: int, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    monkeypatch.setattr(job_group, "is_still_deferred", _deferred(False))
    monkeypatch.setattr(job_group, "_LAST_CALL_TIMEOUT", 0.5)
    emulator.order("cancelJobGroup", "status", status=fault, call=None)
    asyncio.run(TrifactaJobGroupTrigger(running, cancel_on_kill=True).on_kill())


@pytest.mark.parametrize(
    ("map_index", "states", "pushed", "expected"),
    [
        (-1, {"task": "deferred"}, 5, True),
        (-1, {"task": "deferred"}, None, True),
        # Cleared, and deferred again already: the new attempt waits for a job group of its own.
        (-1, {"task": "deferred"}, 6, False),
        (-1, {"task": "failed"}, 5, False),
        (-1, {"task": None}, 5, False),
        (2, {"task_2": "deferred"}, 5, True),
        (2, {"task": "deferred", "task_2": "success"}, 5, False),
        (-1, {}, 5, False),
    ],
)
def test_the_state_of_the_task_is_read(
    monkeypatch: pytest.MonkeyPatch, map_index: int, states: dict[str, Any], pushed: int | None, expected: bool
) -> None:
    runner = pytest.importorskip("airflow.sdk.execution_time.task_runner")
    monkeypatch.setattr(runner.RuntimeTaskInstance, "get_task_states", staticmethod(lambda **_: {"run": states}))
    monkeypatch.setattr(task_state.XCom, "get_value", lambda **_: pushed)
    ti = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=map_index)
    assert asyncio.run(is_still_deferred(SimpleNamespace(task_instance=ti), 5)) is expected  # type: ignore[arg-type]


def test_a_wait_survives_the_rotation_of_its_token(emulator: Emulator, running: int, connect: Connect) -> None:
    async def rotate() -> list[Any]:
        waiting = asyncio.create_task(
            drain(TrifactaJobGroupTrigger(running, poll_interval=0.05, retry_budget=0).run())
        )
        await asyncio.sleep(0.3)
        connect(emulator, token=emulator.add_token())
        emulator.delete_token(emulator.token)
        await asyncio.sleep(0.3)
        emulator.app.runs.cancel(emulator.state.get("jobGroups", running), 17)
        return await waiting

    (event,) = asyncio.run(rotate())
    assert event.payload["status"] == "Canceled"


def test_many_waits_do_not_hold_up_the_loop(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    recipe = emulator.state.get("wrangledDatasets", 9)
    rows = [emulator.app.runs.start_job_group(recipe, 17, overrides={}, run_parameters={}) for _ in range(100)]

    async def measure() -> float:
        tasks = [
            asyncio.create_task(drain(TrifactaJobGroupTrigger(row["id"], poll_interval=5).run())) for row in rows
        ]
        worst = 0.0
        for _ in range(150):
            began = time.monotonic()
            await asyncio.sleep(0.01)
            worst = max(worst, time.monotonic() - began - 0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return worst

    # Airflow logs a trigger that blocks for 0.2 s. Two cores are shared with the server here, hence the margin.
    assert asyncio.run(measure()) < 1.0
