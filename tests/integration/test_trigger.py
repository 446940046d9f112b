from __future__ import annotations

import asyncio
import gc
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.triggers.base import BaseTrigger
from kinds import KINDS, Kind
from simulated_airflow import SimulatedTask
from support import Answer, ScriptedServer, SomeOf, copy_of, drain

from airflow_provider_trifacta.airflow_support import task_state
from airflow_provider_trifacta.airflow_support.task_state import is_still_deferred
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.exceptions import TrifactaApiError, TrifactaRunTimeout, TrifactaWaitFailed
from airflow_provider_trifacta.hooks import trifacta as hook_module
from airflow_provider_trifacta.triggers import run as run_trigger
from airflow_provider_trifacta.triggers.flow import TrifactaFlowRunTrigger
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger
from airflow_provider_trifacta.triggers.plan import TrifactaPlanRunTrigger
from airflow_provider_trifacta.triggers.run import RunEvent, RunTrigger

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


@pytest.mark.parametrize(
    ("trigger", "path", "run"),
    [
        (
            TrifactaJobGroupTrigger,
            "airflow_provider_trifacta.triggers.job_group.TrifactaJobGroupTrigger",
            {"job_group_id": 90210},
        ),
        (
            TrifactaFlowRunTrigger,
            "airflow_provider_trifacta.triggers.flow.TrifactaFlowRunTrigger",
            {"flow_run_id": 90210, "flow_id": "302", "job_group_ids": [90211, 90212]},
        ),
        (
            TrifactaPlanRunTrigger,
            "airflow_provider_trifacta.triggers.plan.TrifactaPlanRunTrigger",
            {"plan_snapshot_run_id": "run-1", "plan_id": "89"},
        ),
    ],
)
def test_arguments_survive_serialization(trigger: type[RunTrigger], path: str, run: dict[str, Any]) -> None:
    arguments = {
        **run,
        "trifacta_conn_id": "mine",
        "poll_interval": 7.5,
        "unknown_status_timeout": 60.0,
        "deadline": 1_700_000_000.0,
        "retry_budget": 5.0,
        "cancel_on_kill": True,
        "cancel_at_deadline": True,
        "began": 1_600_000_000.0,
    }
    assert trigger(**arguments).serialize() == (path, arguments)
    assert copy_of(trigger(**arguments)).serialize() == (path, arguments)
    assert trigger(**run, invented_later=True).serialize()[1]["cancel_on_kill"] is False
    assert trigger().serialize()[0] == path  # each argument has a default: an older version may not have stored it


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
    monkeypatch.setattr(run_trigger, "is_still_deferred", _deferred(False))
    asyncio.run(TrifactaJobGroupTrigger(running, cancel_on_kill=True).on_kill())
    assert len(emulator.calls("cancelJobGroup")) == 1
    assert emulator.job_groups[0]["status"] == "Canceled"


@pytest.mark.parametrize(("still_deferred", "cancel_on_kill"), [(True, True), (False, False)])
def test_a_trigger_that_moves_or_must_not_does_not_cancel(
    emulator: Emulator, running: int, monkeypatch: pytest.MonkeyPatch, still_deferred: bool, cancel_on_kill: bool
) -> None:
    monkeypatch.setattr(run_trigger, "is_still_deferred", _deferred(still_deferred))
    asyncio.run(TrifactaJobGroupTrigger(running, cancel_on_kill=cancel_on_kill).on_kill())
    assert emulator.calls("cancelJobGroup") == []


def test_on_kill_after_the_event_does_nothing(
    emulator: Emulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(emulator)
    monkeypatch.setattr(run_trigger, "is_still_deferred", _deferred(False))
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
    monkeypatch.setattr(run_trigger, "is_still_deferred", _deferred(False))
    monkeypatch.setattr(run_trigger, "_KILL_TIMEOUT", 0.5)
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
    ti = _task_instance("task", map_index)
    assert asyncio.run(is_still_deferred(SimpleNamespace(task_instance=ti), "job_group_id", 5)) is expected


def _task_instance(task_id: str, map_index: int = -1) -> SimpleNamespace:
    return SimpleNamespace(dag_id="dag", task_id=task_id, run_id="run", map_index=map_index)


class States:
    """Airflow's answers about the states of tasks.

    :param ended: the tasks that have ended, by name. All others are deferred.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ended: str) -> None:
        self.ended = set(ended)
        self.reads: list[tuple[list[str], int | None]] = []
        self.reached, self.gate = threading.Event(), threading.Event()
        monkeypatch.setattr(task_state, "_read_states", self._read)
        monkeypatch.setattr(task_state.XCom, "get_value", lambda **_: 5)

    def _read(self, group: Any, task_ids: list[str], map_index: int | None) -> dict[str, str]:
        self.reads.append((task_ids, map_index))
        names = [*task_ids, *(f"{task_id}_{index}" for task_id in task_ids for index in range(1000))]
        states = {name: "failed" if name in self.ended else "deferred" for name in names}
        self.reached.set()
        self.gate.wait(10)
        return states


async def _ask(task_id: str, map_index: int = -1) -> bool:
    trigger: Any = SimpleNamespace(task_instance=_task_instance(task_id, map_index))
    return await is_still_deferred(trigger, "job_group_id", 5)


@pytest.mark.parametrize("mapped", [True, False])
def test_the_states_of_many_tasks_that_a_user_ended_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    """Airflow answers a triggerer a few times a second, and gives a kill half a minute."""
    tasks = [("task", index) for index in range(500)] if mapped else [(f"t{index}", -1) for index in range(500)]
    names = [f"{task}_{index}" if mapped else task for task, index in tasks]
    states = States(monkeypatch, *names[1:])
    states.gate.set()

    async def ask_all() -> list[bool]:
        return await asyncio.gather(*(_ask(*task) for task in tasks))

    assert asyncio.run(ask_all()) == [True] + [False] * 499
    assert len(states.reads) <= 2


def test_who_asks_about_one_item_reads_only_that(monkeypatch: pytest.MonkeyPatch) -> None:
    states = States(monkeypatch, "task_7")
    states.gate.set()
    assert not asyncio.run(_ask("task", 7))
    assert states.reads == [(["task"], 7)]


def test_a_state_is_read_after_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that is under way may not have seen what the user did last."""
    states = States(monkeypatch)

    async def ask_twice() -> tuple[bool, bool]:
        first = asyncio.create_task(_ask("task", 1))
        await _until(states.reached.is_set)
        states.ended.add("task_2")
        second = asyncio.create_task(_ask("task", 2))
        await asyncio.sleep(0.01)
        states.gate.set()
        return await first, await second

    assert asyncio.run(ask_twice()) == (True, False)
    assert len(states.reads) == 2


def test_who_is_stopped_does_not_end_the_read_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    states = States(monkeypatch, "task_2")

    async def ask_and_stop() -> bool:
        first, second = (asyncio.create_task(_ask("task", index)) for index in (1, 2))
        await _until(states.reached.is_set)
        first.cancel()
        await asyncio.wait([first])
        states.gate.set()
        deferred = await second
        assert task_state._readers[asyncio.get_running_loop()] == {}
        return deferred

    assert not asyncio.run(ask_and_stop())


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

    # Airflow logs a trigger that blocks for 0.2 s. Two cores are shared with the server and other tests, hence
    # the margin, and further tries: what blocks does so in each.
    assert any(asyncio.run(measure()) < 1.0 for _ in range(3))


# ---------------------------------------------------------------------------------------- of every kind of run


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def timed(connect: Connect) -> Iterator[Emulator]:
    """A server whose time is passed in."""
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1.8e9)) as running:
        running.change_settings(pace="seconds=100")
        connect(running)
        yield running


FAULTS: dict[str, dict[str, Any]] = {
    "403": {"kind": "status", "status": 403},
    "500": {"kind": "status", "status": 500},
    "429": {"kind": "rate_limit", "seconds": 40},
    "reset": {"kind": "reset"},
    "html": {"kind": "html", "status": 200},
}


def test_a_typed_error_survives_the_deferral(timed: Emulator, kind: Kind) -> None:
    for fault in FAULTS.values():
        causes = []
        for deferrable in (False, True):
            timed.clear_faults()
            for operation in (kind.poll, "listPlans"):
                timed.order(operation, call=None, **fault)
            task = SimulatedTask(timed, kind=kind, deferrable=deferrable, retry_budget=0)
            task.run_try()
            assert isinstance(task.error, TrifactaWaitFailed), fault
            cause = task.error.__cause__
            assert isinstance(cause, TrifactaApiError), fault
            causes.append(cause)
        sync, deferred = causes
        assert type(deferred) is type(sync)
        assert (deferred.status, deferred.name, deferred.method) == (sync.status, sync.name, sync.method)
        assert (deferred.retry_after is None) is (sync.retry_after is None)
        assert deferred.retry_after == pytest.approx(sync.retry_after, abs=2)
        assert re.sub(r"\d+", "N", deferred.hint) == re.sub(r"\d+", "N", sync.hint)
        if fault["kind"] == "rate_limit":
            assert deferred.retry_after


def test_an_event_with_odd_details_can_be_encoded() -> None:
    msgspec = pytest.importorskip("msgspec")
    details = {"number": 10**30, "text": "\ud800", "list": [None, 1.5]}
    error = TrifactaApiError(method="GET", path="/v4/flowRuns/5/status", status=409, details=details)
    event = msgspec.msgpack.decode(msgspec.msgpack.encode(RunEvent.failed(5, error).plain("flow_run")))
    cause = RunEvent.read(event, "flow_run").cause()
    assert cause is not None
    assert (cause.status, cause.details) == (409, details)


@pytest.mark.parametrize(
    "error",
    [{}, {"type": "Exception"}, {"type": "TrifactaTransportError"}, {"type": "TrifactaGone", "status": "x"}, []],
)
def test_an_event_with_an_error_that_cannot_be_read(error: Any) -> None:
    event = {"flow_run_id": 5, "outcome": "error", "message": "why", "error": error}
    read = RunEvent.read(event, "flow_run")
    assert (read.message, read.outcome) == ("why", "error")
    assert read.cause() is None or isinstance(read.cause(), TrifactaApiError)


def test_a_deferred_task_waits_on_after_an_event_of_another_run(timed: Emulator, kind: Kind) -> None:
    foreign = kind.start(timed)

    class Confused(SimulatedTask):
        events = 0

        def _event_of(self, trigger: RunTrigger) -> Any:
            self.events += 1
            if self.events == 1:
                return {kind.xcom: foreign, "outcome": "final", "status": "Complete"}
            return super()._event_of(trigger)

    task = Confused(timed, kind=kind, deferrable=True)
    task.run_try()
    assert (task.state, task.events) == ("success", 2), task.error
    assert task.returned == kind.ids(timed)[1]


@pytest.mark.parametrize(
    "event", [None, {}, "Complete", {"outcome": "final"}, {"outcome": "final", "status": None}]
)
def test_an_event_that_says_nothing_is_no_success(timed: Emulator, kind: Kind, event: Any) -> None:
    class Empty(SimulatedTask):
        def _event_of(self, trigger: RunTrigger) -> Any:
            return event

    task = Empty(timed, kind=kind, deferrable=True)
    task.run_try()
    assert isinstance(task.error, TrifactaWaitFailed)


def test_the_deadline_cancels_in_the_triggerer(timed: Emulator, kind: Kind) -> None:
    kind.behave(timed, "endless")

    class Late(SimulatedTask):
        def _event_of(self, trigger: RunTrigger) -> Any:
            self.clock.sleep(60)
            return super()._event_of(trigger)

    task = Late(timed, kind=kind, deferrable=True, execution_timeout=timedelta(seconds=50))
    task.run_try()
    timed.clock.advance(20)
    assert kind.statuses(timed) == ["Canceled"]
    assert isinstance(task.error, TrifactaRunTimeout)
    assert "it was canceled" in str(task.error)


def test_a_user_who_ends_a_deferred_task_cancels_all_of_its_run(
    timed: Emulator, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_trigger, "is_still_deferred", _deferred(False))

    class Ended(SimulatedTask):
        def _event_of(self, trigger: RunTrigger) -> Any:
            asyncio.run(copy_of(trigger).on_kill())
            raise RuntimeError("ended")

    Ended(timed, kind=kind, deferrable=True).run_try()
    timed.clock.advance(20)
    assert kind.statuses(timed) == ["Canceled"]
    assert {row["status"] for row in timed.job_groups} == {"Canceled"}


# ------------------------------------------------------------------------- killed, as Airflow's own runner does it


class Triggerer:
    """Airflow's own runner with one trigger in it, and the cancel that it repeats until the trigger has ended."""

    def __init__(self, trigger: TrifactaJobGroupTrigger) -> None:
        self.trigger = trigger
        trigger.trigger_id = 1
        trigger.timeout_after = None  # Airflow 3.0
        trigger.task_instance = SimpleNamespace(
            id=uuid.uuid4(),
            dag_id="dag",
            task_id="task",
            run_id="run",
            try_number=1,
            map_index=-1,
            trigger_timeout=None,
            context_carrier=None,
        )
        self._runner = TriggerRunner()
        self.task: asyncio.Task[None]

    async def start(self) -> None:
        details: dict[str, Any] = {"name": "dag/run/task", "events": 0, "is_watcher": False}
        self._runner.triggers[1] = details  # type: ignore[assignment]
        self.task = details["task"] = asyncio.create_task(self._runner.run_trigger(1, self.trigger))

    async def sync(self) -> None:
        """Do once what the runner does about once a second.

        A cancel that meets the line of the log that Airflow writes before it calls ``on_kill`` is lost.
        """
        self._runner.to_cancel.append(1)
        await self._runner.cancel_triggers()
        await asyncio.sleep(0.1)

    async def sync_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.sync()


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - threads and other tasks make it true
        await asyncio.sleep(0.005)


class Gate:
    """Holds up whoever passes until it is opened."""

    def __init__(self) -> None:
        self.reached = 0
        self._open = threading.Event()

    def pass_through(self) -> None:
        self.reached += 1
        assert self._open.wait(30)

    def open(self) -> None:
        self._open.set()


@dataclass
class Killed:
    """A server with a running job group, and what a person's act meets on its way: both can be held up."""

    state: Gate
    cancel: Gate
    server: ScriptedServer
    said: Callable[[], list[str]]
    task_state: list[str | None]

    def says(self, text: str) -> bool:
        return any(text in line for line in self.said())

    def canceled(self) -> int:
        return self.server.requests.count("POST /v4/jobGroups/5/cancel")

    def looked(self) -> bool:
        return "GET /v4/jobGroups/5/status" in self.server.requests


@pytest.fixture
def killed(
    scripted: Callable[[Answer], ScriptedServer],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Killed]:
    state, cancel = Gate(), Gate()
    task_state_now: list[str | None] = ["failed"]

    def read_states(group: Any, task_ids: list[str], map_index: int | None) -> dict[str, str | None]:
        state.pass_through()
        if task_state_now == ["unreadable"]:
            raise RuntimeError("the database is gone")
        return dict.fromkeys(task_ids, task_state_now[0])

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/cancel"):
            cancel.pass_through()
            return 200, {}, b'{"jobgroupId": 5, "jobIds": []}'
        return 200, {}, b'"InProgress"'

    server = scripted(answer)
    connect(server.url)
    monkeypatch.setattr(task_state, "_read_states", read_states)
    monkeypatch.setattr(task_state.XCom, "get_value", lambda **_: 5)
    monkeypatch.setattr(TrifactaJobGroupTrigger, "log", logging.getLogger("trigger"))
    caplog.set_level("INFO", logger="trigger")
    yield Killed(
        state,
        cancel,
        server,
        lambda: [f"{r.levelname} {r.getMessage()}" for r in caplog.records if r.name == "trigger"],
        task_state_now,
    )
    state.open()
    cancel.open()


def _trigger(**arguments: Any) -> TrifactaJobGroupTrigger:
    trigger = TrifactaJobGroupTrigger(5, **{"poll_interval": 0.01, "cancel_on_kill": True, **arguments})
    trigger.task_instance = _task_instance("task")
    return trigger


@pytest.mark.parametrize("slow", ["state", "cancel", "both"])
def test_a_kill_outlives_that_airflow_cancels_it_again_and_again(killed: Killed, slow: str) -> None:
    if slow == "state":
        killed.cancel.open()
    if slow == "cancel":
        killed.state.open()

    async def kill() -> None:
        triggerer = Triggerer(_trigger())
        await triggerer.start()
        await _until(killed.looked)
        await triggerer.sync()
        for gate, reached in ((killed.state, lambda: killed.state.reached), (killed.cancel, killed.canceled)):
            await _until(reached)
            for _ in range(20):
                await triggerer.sync()
            gate.open()
        await triggerer.sync_until(triggerer.task.done)
        assert triggerer.task.cancelled()
        await _until(lambda: killed.says("was canceled"))

    asyncio.run(asyncio.wait_for(kill(), 30))
    assert killed.canceled() == 1
    assert killed.said()[-1] == "INFO Job group 5 was canceled, because its task was ended"


def test_a_kill_asks_airflow_for_the_state_and_the_server_once(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the wait has used, on_kill does not read again."""
    killed.state.open()
    killed.cancel.open()

    async def kill() -> None:
        triggerer = Triggerer(_trigger())
        await triggerer.start()
        await _until(killed.looked)
        monkeypatch.delenv("AIRFLOW_CONN_TRIFACTA_DEFAULT")
        killed.server.requests.clear()
        await triggerer.sync_until(lambda: killed.canceled() > 0)
        await _until(lambda: killed.says("was canceled"))

    asyncio.run(asyncio.wait_for(kill(), 30))
    assert killed.state.reached == 1
    assert [request for request in killed.server.requests if "/status" not in request] == [
        "POST /v4/jobGroups/5/cancel"
    ]


def test_a_user_who_ends_the_task_while_the_token_is_read(killed: Killed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a take-over, when thousands of triggers read it one after the other."""
    killed.state.open()
    killed.cancel.open()
    reading = Gate()
    read_token = hook_module.read_token

    def read_slowly(*args: Any, **kwargs: Any) -> str:
        reading.pass_through()
        return read_token(*args, **kwargs)

    monkeypatch.setattr(hook_module, "read_token", read_slowly)

    async def kill() -> None:
        triggerer = Triggerer(_trigger())
        await triggerer.start()
        await _until(lambda: reading.reached > 0)
        await triggerer.sync()
        reading.open()
        await triggerer.sync_until(triggerer.task.done)
        await _until(lambda: killed.says("was canceled"))

    asyncio.run(asyncio.wait_for(kill(), 10))
    assert killed.canceled() == 1


def test_a_cancel_keeps_its_message_wherever_it_meets_the_trigger(running: int, some_of: SomeOf) -> None:
    """By it, Airflow knows that a user has ended the task."""

    async def message_after(steps: int) -> tuple[object, ...]:
        task = asyncio.create_task(drain(TrifactaJobGroupTrigger(running, poll_interval=0.05).run()))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        return cancelled.value.args

    assert [steps for steps in some_of(range(1, 120)) if asyncio.run(message_after(steps)) != ("why",)] == []


def test_a_wait_that_goes_on_elsewhere_is_not_canceled_however_often_this_one_is(killed: Killed) -> None:
    killed.task_state[:] = ["deferred"]
    killed.cancel.open()

    async def hand_over() -> None:
        triggerer = Triggerer(_trigger())
        await triggerer.start()
        await _until(killed.looked)
        await triggerer.sync()
        await _until(lambda: killed.state.reached > 0)
        for _ in range(20):
            await triggerer.sync()
        killed.state.open()
        await _until(lambda: killed.says("continues elsewhere"))

    asyncio.run(asyncio.wait_for(hand_over(), 30))
    assert killed.canceled() == 0


def test_a_triggerer_that_stops_cancels_nothing_and_says_nothing(killed: Killed) -> None:
    killed.task_state[:] = ["deferred"]
    killed.state.open()
    killed.cancel.open()

    async def stop() -> None:
        await Triggerer(_trigger()).start()
        await _until(killed.looked)

    asyncio.run(asyncio.wait_for(stop(), 30))
    assert killed.canceled() == 0
    assert not killed.says("ERROR")


@pytest.mark.parametrize("held_up", ["state", "cancel"])
def test_a_kill_ends_when_the_triggerer_stops_and_says_what_runs_on(killed: Killed, held_up: str) -> None:
    if held_up == "cancel":
        killed.state.open()

    async def stop() -> None:
        triggerer = Triggerer(_trigger())
        await triggerer.start()
        await _until(killed.looked)
        await triggerer.sync()
        await _until(lambda: killed.state.reached > 0 if held_up == "state" else killed.canceled() > 0)
        for _ in range(5):
            await triggerer.sync()
        # The end of asyncio.run cancels all that is left, once, and waits for it.

    began = time.monotonic()
    asyncio.run(stop())
    assert time.monotonic() - began < 10
    (line,) = [line for line in killed.said() if line.startswith("ERROR")]
    step = {"state": "the state of its task could not be read", "cancel": "it could not be canceled"}[held_up]
    assert line == (
        f"ERROR Job group 5 was not canceled and may still be running: {step}, because the triggerer is stopping. "
        f"See {killed.server.url}/jobs/5"
    )


@pytest.mark.parametrize("held_up", ["state", "cancel"])
def test_a_kill_is_bounded_as_a_whole(killed: Killed, monkeypatch: pytest.MonkeyPatch, held_up: str) -> None:
    monkeypatch.setattr(run_trigger, "_KILL_TIMEOUT", 0.3)
    if held_up == "cancel":
        killed.state.open()

    async def kill() -> None:
        triggerer = Triggerer(_trigger())
        await triggerer.start()
        await _until(killed.looked)
        await triggerer.sync()
        await _until(lambda: killed.state.reached > 0)
        await triggerer.sync_until(lambda: killed.says("ERROR"))
        await triggerer.sync_until(triggerer.task.done)
        assert triggerer.task.cancelled()

    asyncio.run(asyncio.wait_for(kill(), 30))
    (line,) = [line for line in killed.said() if line.startswith("ERROR")]
    assert re.search(r"may still be running: .* within 0 s\. See http://\S+/jobs/5$", line)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("unreadable", r"the state of its task could not be read \(RuntimeError: the database is gone\)"),
        ("failed", r"it could not be canceled \(TrifactaApiError: .*409.*\)"),
    ],
)
def test_a_job_group_that_is_left_running_is_said_in_one_line(
    emulator: Emulator, running: int, killed: Killed, connect: Connect, state: str, reason: str
) -> None:
    connect(emulator)
    killed.state.open()
    killed.task_state[:] = [state]
    emulator.order("cancelJobGroup", "status", status=409, call=None)
    trigger = TrifactaJobGroupTrigger(running, cancel_on_kill=True)
    trigger.task_instance = _task_instance("task")
    asyncio.run(trigger.on_kill())
    (line,) = killed.said()
    where = (
        f"{emulator.url}/jobs/{running}" if state == "failed" else "the server of connection 'trifacta_default'"
    )
    assert re.fullmatch(
        rf"ERROR Job group {running} was not canceled and may still be running: {reason}\. See {re.escape(where)}",
        line,
    )


def test_the_work_of_a_kill_goes_on_when_airflow_has_stopped_waiting_for_it(killed: Killed) -> None:
    """As with Python 3.11, whose wait_for leaves at the second cancel."""

    async def kill() -> None:
        waiting = asyncio.create_task(_trigger().on_kill())
        await _until(lambda: killed.state.reached > 0)
        waiting.cancel()
        await asyncio.sleep(0)
        del waiting
        gc.collect()
        killed.state.open()
        killed.cancel.open()
        await _until(lambda: killed.says("was canceled"))

    asyncio.run(asyncio.wait_for(kill(), 30))
    assert killed.canceled() == 1
