"""A deferrable task whose start the quota does not admit: it waits in the triggerer, and starts one run."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from kinds import JOB_GROUPS, KINDS, PERSON, Kind
from kinds import empty as empty_server
from simulated_airflow import Process, SimulatedTask
from support import TaskDeferred

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.exceptions import (
    TrifactaJobGroupTimeout,
    TrifactaRunTimeout,
    TrifactaTaskKilled,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.operators.run import RunOperator
from airflow_provider_trifacta.tasks import quota_file
from airflow_provider_trifacta.triggers.start_slot import StartSlotTrigger

Connect = Callable[..., None]


@pytest.fixture(scope="module")
def _server() -> Iterator[Emulator]:
    with Emulator(clock=Clock(lambda: 1.8e9)) as running:
        yield running


@pytest.fixture
def emulator(_server: Emulator, connect: Connect) -> Iterator[Emulator]:
    empty_server(_server, enforce_quotas=True)
    connect(_server)
    yield _server
    _server.change_settings(quotas={}, quota_window=60)


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Kind]:
    kind: Kind = request.param
    yield kind
    kind.behave(emulator)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    for cls in (RunOperator, StartSlotTrigger):
        monkeypatch.setattr(cls, "log", logging.getLogger("task"))
    caplog.set_level("INFO")
    return lambda: [record.getMessage() for record in caplog.records]


def use_up(emulator: Emulator, kind: Kind, limit: int = 1) -> None:
    """Use up the quota of a window that has just begun."""
    emulator.change_settings(quotas={kind.submit: [limit, limit]})
    emulator.clock.advance(60 - emulator.clock.now() % 60)
    for _ in range(limit):
        emulator.app.quotas.admit(emulator.app.contract.operations[kind.submit], PERSON)


def statuses_of_submits(emulator: Emulator, kind: Kind) -> list[int | None]:
    return [entry.status for entry in emulator.calls(kind.submit)]


def note_of(task: SimulatedTask) -> dict[str, Any]:
    assert task._store is not None
    (note,) = task._store.values()
    value: dict[str, Any] = json.loads(note)
    return value


def test_a_refused_start_waits_in_the_triggerer(emulator: Emulator, kind: Kind, logged: Any) -> None:
    use_up(emulator, kind)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)
    before = emulator.clock.now()
    with mock.patch(
        "airflow_provider_trifacta.api.client.sleep_unless", side_effect=AssertionError("in the worker")
    ):
        task.run_try()
    assert (task.state, task.error) == ("success", None)
    assert statuses_of_submits(emulator, kind) == [429, 201]
    refused, started = emulator.calls(kind.submit)
    assert refused.execution_id == started.execution_id
    assert started.at - before == pytest.approx(60, abs=1)
    assert kind.statuses(emulator) == ["Complete"]
    assert any(line.startswith("Nothing was submitted: the server refused it (429)") for line in logged())


def test_what_a_task_learned_saves_the_next_one_a_refusal(emulator: Emulator, kind: Kind) -> None:
    use_up(emulator, kind)
    began = emulator.clock.now()
    for _ in range(2):
        task = SimulatedTask(emulator, kind=kind, deferrable=True)
        task.run_try()
        assert task.state == "success", task.error
        emulator.clock.advance(began + 1 - emulator.clock.now())  # the other one started at the same time
    assert statuses_of_submits(emulator, kind) == [429, 201, 201]


def test_who_comes_while_others_wait_goes_behind_them(emulator: Emulator, kind: Kind, logged: Any) -> None:
    """Unless those in line are late, so that a start which the quota admits would be lost."""
    use_up(emulator, kind, limit=2)
    began = emulator.clock.now()

    def come_at(seconds: float) -> str:
        emulator.clock.advance(began + seconds - emulator.clock.now())
        before = len(kind.rows(emulator))
        SimulatedTask(emulator, kind=kind, deferrable=True).run_try(Process(kill_waiting=True))
        return "starts" if len(kind.rows(emulator)) > before else "waits"

    assert come_at(1) == "waits"
    assert come_at(61) == "starts"  # so that it is known how long a window is
    assert [come_at(seconds) for seconds in (62, 95, 121, 149)] == ["waits"] * 4
    assert come_at(151) == "starts"  # one of two should have been started in the first half of the window
    assert come_at(152) == "waits"
    assert statuses_of_submits(emulator, kind) == [429, 201, 201]
    assert any(line.startswith("Nothing was submitted: others already wait for the quota") for line in logged())


def test_a_line_that_was_given_up_holds_nobody_for_long(emulator: Emulator, kind: Kind) -> None:
    use_up(emulator, kind)
    SimulatedTask(emulator, kind=kind, deferrable=True).run_try(Process(kill_waiting=True))  # and never again
    emulator.clock.advance(200)
    with mock.patch.object(StartSlotTrigger, "__init__", side_effect=AssertionError("no slot is needed")):
        task = SimulatedTask(emulator, kind=kind, deferrable=True)
        task.run_try()
    assert task.state == "success", task.error


def test_the_last_who_leaves_the_line_ends_it(emulator: Emulator, kind: Kind) -> None:
    use_up(emulator, kind)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)
    task.run_try()
    assert task.state == "success", task.error
    emulator.change_settings(enforce_quotas=False)
    with mock.patch.object(StartSlotTrigger, "__init__", side_effect=AssertionError("no slot is needed")):
        task = SimulatedTask(emulator, kind=kind, deferrable=True)
        task.run_try()
    assert task.state == "success", task.error


def test_the_length_of_a_window_is_learned_from_answers(emulator: Emulator) -> None:
    emulator.change_settings(quotas={"runJobGroup": [2, 2]}, quota_window=20)
    emulator.order("runJobGroup", "rate_limit")
    for _ in range(2):
        task = SimulatedTask(emulator, deferrable=True)
        task.run_try()
        emulator.clock.advance(20)
        assert task.state == "success", task.error
    (file,) = quota_file.folder().glob("*.json")
    assert json.loads(file.read_text())["window"] == 20


def test_the_note_says_that_nothing_was_sent(emulator: Emulator, kind: Kind) -> None:
    use_up(emulator, kind)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)
    task.run_try(Process(kill_waiting=True))
    assert note_of(task)["sent"] is False
    task.run_to_the_end()
    assert task.state == "success", task.error
    assert "sent" not in note_of(task)
    assert len(kind.rows(emulator)) == 1
    # The retry has nothing to look for, and the same execution id.
    assert emulator.calls(kind.search) == []
    assert len({entry.execution_id for entry in emulator.calls(kind.submit)}) == 1


def test_a_clear_while_waiting(emulator: Emulator, kind: Kind, logged: Any) -> None:
    use_up(emulator, kind)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)
    task.run_try(Process(kill_waiting=True))
    task.clear()
    task.run_to_the_end()
    assert task.state == "success", task.error
    assert len(kind.rows(emulator)) == 1
    assert not any("Before the task was cleared" in line for line in logged())


def test_nothing_is_sent_while_the_note_says_so(emulator: Emulator, kind: Kind) -> None:
    """As when Airflow has given up a try that still runs, and refuses its notes."""
    use_up(emulator, kind)
    emulator.change_settings(honour_execution_id=False)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)

    class GivenUp(Process):
        def event(self, name: str) -> None:
            super().event(name)
            # Sent, refused and not sent have been noted.
            if name == "before the note" and self.events.count(name) == 3:
                raise RuntimeError("Task instance not found")

    task.run_try(GivenUp())
    assert isinstance(task.error, TrifactaWaitFailed)
    assert str(task.error).startswith("Nothing was submitted, because the note that says so could not be replaced")
    task.run_to_the_end()
    assert (task.state, len(kind.rows(emulator))) == ("success", 1)


def test_an_old_try_does_not_undo_what_a_later_one_noted(emulator: Emulator, kind: Kind) -> None:
    use_up(emulator, kind)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)

    class Overtaken(Process):
        """Airflow gives up the try during its submit, and starts the next one in the next window."""

        def event(self, name: str) -> None:
            super().event(name)
            if name == f"after POST {kind.path}" and not self.overtaken:
                self.overtaken = True
                task.clock.sleep(90)
                task.run_try()

        overtaken = False

    task.run_try(Overtaken())
    assert task.state == "success", task.error
    assert note_of(task)["job_group_id"] == kind.ids(emulator)[0]
    assert len(kind.rows(emulator)) == 1


@pytest.mark.parametrize("store", [True, False])
def test_a_kill_at_every_event_leaves_one_run(emulator: Emulator, connect: Connect, store: bool) -> None:
    kind = JOB_GROUPS
    at = 0
    while True:
        at += 1
        empty_server(emulator, enforce_quotas=True)
        shutil.rmtree(quota_file.folder(), ignore_errors=True)
        use_up(emulator, kind)
        task = SimulatedTask(emulator, kind=kind, deferrable=True, store=store)
        process = task.run_try(Process(kill_at=at))
        task.run_to_the_end()
        assert (task.state, kind.statuses(emulator)) == ("success", ["Complete"]), (at, process.events, task.error)
        if len(process.events) < at:
            break
    assert at > 10


def test_a_lost_answer_after_the_slot(emulator: Emulator, kind: Kind) -> None:
    use_up(emulator, kind)
    emulator.order(kind.submit, "reset", after=True, call=2)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)
    task.run_try()
    assert task.state == "success", task.error
    assert len(kind.rows(emulator)) == 1
    assert "sent" not in note_of(task)


def test_the_deadline(emulator: Emulator, kind: Kind) -> None:
    use_up(emulator, kind)
    task = SimulatedTask(emulator, kind=kind, deferrable=True, retries=0, execution_timeout=timedelta(seconds=30))
    task.run_try()
    assert task.state == "failed"
    assert isinstance(task.error, TrifactaJobGroupTimeout if kind is JOB_GROUPS else TrifactaRunTimeout)
    assert "was not started within the execution_timeout of 0:00:30: the quota was used up" in str(task.error)
    assert "Nothing was submitted, so there is nothing to cancel" in str(task.error)
    assert statuses_of_submits(emulator, kind) == [429]


@pytest.mark.parametrize("extra", [20, "20", {"run_job_group": 20}, '{"run_job_group": 20}'], ids=repr)
def test_a_rate_in_the_connection(emulator: Emulator, connect: Connect, extra: Any) -> None:
    connect(emulator, max_starts_per_minute=extra)
    task = SimulatedTask(emulator, deferrable=True)
    before = emulator.clock.now()
    with mock.patch.object(
        StartSlotTrigger, "__init__", autospec=True, side_effect=StartSlotTrigger.__init__
    ) as made:
        task.run_try()
    assert task.state == "success", task.error
    assert made.call_args.kwargs["starts_per_minute"] == 20
    (started,) = emulator.calls("runJobGroup")
    assert started.at - before == pytest.approx(2, abs=1)


def test_a_rate_of_another_operation(emulator: Emulator, connect: Connect) -> None:
    connect(emulator, max_starts_per_minute={"run_flow": 20})
    with mock.patch.object(StartSlotTrigger, "__init__", side_effect=AssertionError("no slot is needed")):
        task = SimulatedTask(emulator, deferrable=True)
        task.run_try()
    assert task.state == "success", task.error


def test_a_refusal_that_does_not_say_how_long(emulator: Emulator, kind: Kind) -> None:
    emulator.order(kind.submit, "rate_limit", headers={}, times=3)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)
    task.run_try()
    assert task.state == "success", task.error
    submits = emulator.calls(kind.submit)
    assert [entry.status for entry in submits] == [429, 429, 429, 201]
    pauses = [later.at - earlier.at for earlier, later in itertools.pairwise(submits)]
    assert all(4 <= pause <= 61 for pause in pauses), pauses


@pytest.mark.parametrize("value", ["-1", "nan", "1e400", "soon", "9" * 40])
def test_headers_that_make_no_sense(emulator: Emulator, value: str) -> None:
    names = ("limit", "remaining", "reset")
    headers = {f"x-rate-limit-user-{name}": value for name in names} | {"x-retry-after": value}
    emulator.order("runJobGroup", "rate_limit", headers=headers)
    task = SimulatedTask(emulator, deferrable=True)
    task.run_try()
    assert task.state == "success", task.error
    first, second = emulator.calls("runJobGroup")
    assert 0 <= second.at - first.at <= 301


def test_without_deferring_the_task_waits_in_the_worker(emulator: Emulator, kind: Kind, logged: Any) -> None:
    use_up(emulator, kind)
    task = SimulatedTask(emulator, kind=kind, deferrable=False)
    task.run_try()
    assert task.state == "success", task.error
    assert [line for line in logged() if "deferrable=True" in line] == [
        "The quota is used up: waiting for it in the worker. With deferrable=True, the task would not hold it"
    ]


def test_after_a_lost_answer_it_waits_in_the_worker(emulator: Emulator, kind: Kind, logged: Any) -> None:
    emulator.order(kind.submit, "reset")  # before the server has seen it
    emulator.order(kind.submit, "rate_limit", call=2)
    task = SimulatedTask(emulator, kind=kind, deferrable=True)
    task.run_try()
    assert task.state == "success", task.error
    assert statuses_of_submits(emulator, kind) == [None, 429, 201]
    assert not any("deferrable=True" in line or "Nothing was submitted" in line for line in logged())


def test_an_event_of_another_trigger_starts_nothing_twice(emulator: Emulator, context: dict[str, Any]) -> None:
    emulator.change_settings(quotas={"runJobGroup": [1, 1]})
    task = SimulatedTask(emulator, deferrable=True)
    operator = task.operator()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute_start(task.context(Process()), event={"outcome": "deadline", "job_group_id": 1})
    assert deferred.value.method_name == "execute_complete"
    assert len(emulator.job_groups) == 1


def test_a_kill_before_the_deferral(emulator: Emulator) -> None:
    use_up(emulator, JOB_GROUPS)
    task = SimulatedTask(emulator, deferrable=True)

    class KilledAtTheNote(Process):
        def event(self, name: str) -> None:
            super().event(name)
            if "note" in name and emulator.calls("runJobGroup"):
                task.sigterm()

    task.run_try(KilledAtTheNote())
    assert isinstance(task.error, TrifactaTaskKilled)
    assert statuses_of_submits(emulator, JOB_GROUPS) == [429]
