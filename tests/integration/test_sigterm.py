"""SIGTERM in the middle of a start: nothing more is submitted, and what was started is canceled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kinds import FLOW_RUNS, JOB_GROUPS, KINDS, PLAN_RUNS, Kind, empty
from simulated_airflow import Process, SimulatedTask
from support import EmulatorClock, SomeOf

from airflow_provider_trifacta import token_stores
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.exceptions import (
    TrifactaRunCanceled,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTaskKilled,
)


@pytest.fixture(scope="module")
def _server() -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1.8e9)) as running:
        yield running


@pytest.fixture
def emulator(_server: Emulator, connect: Callable[..., None]) -> Emulator:
    empty(_server)
    connect(_server)
    return _server


class Sigterm(Process):
    """A process that is told to end at one of its events, or in the middle of a wait.

    :param at: the number of the event, or of the sleep.
    """

    def __init__(self, task: SimulatedTask, at: int | str, *, sleeping: bool = False) -> None:
        super().__init__()
        self.killed_at: float | None = None
        self.events_before = 0
        self._task = task
        self._at = at
        self._sleeping = sleeping
        self._sleeps = 0
        process = self

        class ClockOfTheTask(EmulatorClock):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                process.sleeps()

        task.clock = ClockOfTheTask(task.emulator)

    def event(self, name: str) -> None:
        super().event(name)
        if not self._sleeping and self._at in (len(self.events), name):
            self._kill()

    def sleeps(self) -> None:
        self._sleeps += 1
        if self._sleeping and self._sleeps == self._at:
            self._kill()

    def _kill(self) -> None:
        if self.killed_at is None and self._task.sigterm():
            self.killed_at = self._task.clock.time()
            self.events_before = len(self.events)

    @property
    def submits_afterwards(self) -> int:
        return self.events[self.events_before :].count(self._task.kind.before_submit)


FAULTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "503": [{"kind": "status", "status": 503, "call": None}],
    "503-though-started": [{"kind": "status", "status": 503, "after": True, "call": None}],
    "lost": [{"kind": "reset", "after": True}],
    "lost-once": [{"kind": "reset"}],
    # Not for ever: a deferred task waits for the quota for as long as it takes.
    "429": [{"kind": "rate_limit", "times": 4}],
    "304": [{"kind": "status", "status": 503, "after": True}],
}


#: Every fault for job groups; for the other kinds, those after which something is searched for.
CASES = [
    *((JOB_GROUPS, name) for name in FAULTS),
    *((kind, name) for kind in (FLOW_RUNS, PLAN_RUNS) for name in ("none", "503-though-started", "lost")),
]


def order(emulator: Emulator, kind: Kind, name: str) -> None:
    if name == "304":
        emulator.change_settings(library_lag=30)
    for fault in FAULTS[name]:
        emulator.order(kind.submit, **fault)


@pytest.fixture(params=[False, True], ids=["sync", "deferred"])
def make_task(request: pytest.FixtureRequest, emulator: Emulator) -> Callable[..., SimulatedTask]:
    def make(**options: Any) -> SimulatedTask:
        return SimulatedTask(emulator, **{"deferrable": request.param, **options})

    return make


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def statuses(emulator: Emulator, kind: Kind) -> list[str]:
    """Return the statuses, once those that were asked to cancel have."""
    emulator.clock.advance(20)
    return kind.statuses(emulator)


def assert_ended(task: SimulatedTask, process: Sigterm, where: str) -> None:
    assert process.submits_afterwards == 0, where
    took = task.clock.time() - (process.killed_at or 0)
    if isinstance(task.error, TrifactaSubmitOutcomeUnknown):
        assert task.kind.ids(task.emulator) == [] or "304" in where  # no list shows it yet
    else:
        assert {*statuses(task.emulator, task.kind)} <= {"Canceled", "Complete"}, where
    if task.state != "success":
        assert task.state == "up_for_retry", where  # a machine that shuts down kills its tasks too
        assert took < 60, where


@pytest.mark.parametrize(("kind", "fault"), CASES, ids=str)
def test_at_any_event(
    make_task: Callable[..., SimulatedTask], emulator: Emulator, some_of: SomeOf, kind: Kind, fault: str
) -> None:
    for number in some_of(range(1, 1000)):
        empty(emulator)
        order(emulator, kind, fault)
        task = make_task(kind=kind, retry_budget=20)
        process = Sigterm(task, number)
        task.run_try(process)
        if process.killed_at is None:
            break
        assert_ended(task, process, f"{fault} at {number}: {process.events[process.events_before - 1]}")
    assert number > 4


@pytest.mark.parametrize(("kind", "fault"), [case for case in CASES if case[1] != "none"], ids=str)
def test_in_any_pause(
    make_task: Callable[..., SimulatedTask], emulator: Emulator, some_of: SomeOf, kind: Kind, fault: str
) -> None:
    for number in some_of(range(1, 12)):
        empty(emulator)
        order(emulator, kind, fault)
        task = make_task(kind=kind, retry_budget=600)
        process = Sigterm(task, number, sleeping=True)
        task.run_try(process)
        if process.killed_at is not None:
            assert_ended(task, process, f"{fault} in sleep {number}")


@pytest.mark.parametrize(
    ("fault", "deferrable"),
    [("503", False), ("503", True), ("429", False)],  # a deferrable task waits for the quota in the triggerer
)
def test_a_pause_of_minutes_ends_at_once(emulator: Emulator, kind: Kind, fault: str, deferrable: bool) -> None:
    order(emulator, kind, fault)
    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable)
    process = Sigterm(task, 40, sleeping=True)
    task.run_try(process)
    assert process.killed_at is not None
    # The rest of a second of the pause, and two looks for what may have been started.
    assert task.clock.time() - process.killed_at <= 3
    assert isinstance(task.error, TrifactaTaskKilled | TrifactaSubmitOutcomeUnknown)
    assert "killed" in str(task.error)


def test_before_anything_was_sent(make_task: Callable[..., SimulatedTask], emulator: Emulator, kind: Kind) -> None:
    task = make_task(kind=kind)
    process = Sigterm(task, "before the note")
    task.run_try(process)
    assert isinstance(task.error, TrifactaTaskKilled)
    assert emulator.calls(kind.submit) == []
    task.run_to_the_end()
    assert (task.state, len(kind.ids(emulator))) == ("success", 1)


def test_while_the_token_cannot_be_read(
    make_task: Callable[..., SimulatedTask],
    emulator: Emulator,
    connect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(name: str) -> None:
        raise ConnectionError("the API server of Airflow gives no answer")

    connect(emulator, token_variable="trifacta_token")
    monkeypatch.setattr(token_stores, "read_variable", unreadable)
    task = make_task()
    process = Sigterm(task, 3, sleeping=True)
    task.run_try(process)
    assert process.killed_at is not None
    assert isinstance(task.error, TrifactaTaskKilled)
    assert task.clock.time() - process.killed_at <= 1
    assert emulator.calls("runJobGroup") == []


def test_while_a_refused_token_is_looked_for_again(
    make_task: Callable[..., SimulatedTask], emulator: Emulator
) -> None:
    emulator.order("runJobGroup", "status", status=401, call=None)
    task = make_task()
    process = Sigterm(task, 1, sleeping=True)
    task.run_try(process)
    assert isinstance(task.error, TrifactaTaskKilled)
    assert len(emulator.calls("runJobGroup")) == 1


def test_what_is_found_after_a_lost_answer_is_canceled(
    make_task: Callable[..., SimulatedTask], emulator: Emulator, kind: Kind
) -> None:
    order(emulator, kind, "lost")
    task = make_task(kind=kind)
    task.run_try(Sigterm(task, kind.before_submit))
    assert statuses(emulator, kind) == ["Canceled"]
    (run_id,) = kind.ids(emulator)
    assert isinstance(task.error, TrifactaTaskKilled)
    assert str(run_id) in str(task.error)
    task.run_to_the_end()
    assert (task.state, len(kind.ids(emulator))) == ("success", 2)


@pytest.mark.parametrize("status", ["Complete", "Failed", "InProgress"])
def test_while_it_is_asked_how_an_earlier_one_ended(
    make_task: Callable[..., SimulatedTask], emulator: Emulator, kind: Kind, status: str
) -> None:
    task = make_task(kind=kind)
    task.run_try(Process(kill_waiting=True))
    (run_id,) = kind.ids(emulator)
    if status != "InProgress":
        kind.end(emulator, status)
    task.run_try(Sigterm(task, f"before GET {kind.poll_path.format(run_id)}"))
    assert len(emulator.calls(kind.submit)) == 1
    assert statuses(emulator, kind) == ["Canceled" if status == "InProgress" else status]
    assert task.state == "up_for_retry"


def test_one_of_an_earlier_try_that_the_kill_canceled_is_not_replaced(emulator: Emulator, kind: Kind) -> None:
    task = SimulatedTask(emulator, kind=kind, deferrable=False)
    task.run_try(Process(kill_waiting=True))
    process = Sigterm(task, 6, sleeping=True)
    task.run_try(process)
    assert len(emulator.calls(kind.submit)) == 1
    assert isinstance(task.error, TrifactaRunCanceled)
    assert isinstance(task.error.__cause__, TrifactaTaskKilled)


def test_a_job_that_is_left_alone_is_waited_for(emulator: Emulator, kind: Kind) -> None:
    task = SimulatedTask(emulator, kind=kind, deferrable=False, cancel_on_kill=False)
    task.run_try(Sigterm(task, kind.before_submit))
    assert (task.state, kind.statuses(emulator)) == ("success", ["Complete"])


def test_nobody_waits_and_the_task_is_killed(emulator: Emulator, kind: Kind) -> None:
    for point in (kind.before_submit, f"before the XCom {kind.xcom}", "before GET /v4/apiAccessTokens"):
        empty(emulator)
        task = SimulatedTask(emulator, kind=kind, deferrable=False, wait_for_completion=False)
        task.run_try(Sigterm(task, point))
        assert statuses(emulator, kind) == ["Canceled"], point
        assert task.state == "up_for_retry", point
        assert len(emulator.calls(kind.cancel_call)) == (2 if kind is FLOW_RUNS else 1)


@pytest.mark.parametrize("named", [True, False], ids=["named-by-the-start", "adopted"])
def test_a_kill_cancels_every_job_group_of_a_flow_run(emulator: Emulator, named: bool) -> None:
    if not named:
        order(emulator, FLOW_RUNS, "lost")
    task = SimulatedTask(emulator, kind=FLOW_RUNS, deferrable=False)
    during: list[str] = []

    class Watched(Sigterm):
        def _kill(self) -> None:
            before = len(emulator.journal)
            super()._kill()
            during.extend(entry.operation for entry in emulator.journal[before:])

    began = time.monotonic()
    emulator.order("cancelJobGroup", "delay", seconds=0.4, call=None)
    task.run_try(Watched(task, 6, sleeping=True))
    assert time.monotonic() - began < 3
    # Job groups that came after the start are in no answer to it, so the list is read beside the first cancels.
    assert "getFlowRunJobGroups" in during
    assert during.count("cancelJobGroup") == 2
    assert {row["status"] for row in emulator.job_groups} == {"Canceled"}
    assert isinstance(task.error, TrifactaRunCanceled)


_PROCESS = """
    import signal, sys
    sys.path.insert(0, {tests!r})
    import conftest
    from simulated_airflow import let_operators_run_in_this_thread
    from support import FakeTaskInstance
    from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

    operator = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, retries=3)
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    let_operators_run_in_this_thread()
    operator.execute({{"ti": FakeTaskInstance()}})
"""


def test_a_real_process_ends_within_a_second_or_two(connect: Callable[..., None]) -> None:
    with Emulator(enforce_quotas=False) as emulator:
        connect(emulator)
        emulator.order("runJobGroup", "rate_limit", call=None, seconds=60)
        code = textwrap.dedent(_PROCESS).format(tests=os.path.dirname(os.path.dirname(__file__)))
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 60
        while not emulator.calls("runJobGroup"):
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGTERM)
        began = time.monotonic()
        _, said = process.communicate(timeout=20)
        assert time.monotonic() - began < 4, said
        assert "TrifactaTaskKilled" in said
        assert len(emulator.calls("runJobGroup")) == 1
