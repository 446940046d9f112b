"""What the retry policy decides about real failures: the same in synchronous and in deferred mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from kinds import JOB_GROUPS, KINDS, PLAN_RUNS, Kind, empty
from simulated_airflow import Process, SimulatedTask, let_operators_run_in_this_thread
from support import EmulatorClock, FakeTaskInstance, run_deferred

from airflow_provider_trifacta import token_stores
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.exceptions import (
    TrifactaApiError,
    TrifactaRunCanceled,
    TrifactaSubmitOutcomeUnknown,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor

retry_policy: Any = pytest.importorskip(
    "airflow_provider_trifacta.retry_policy", reason="Airflow before 3.3", exc_type=ImportError
)
from airflow.sdk import RetryAction, RetryDecision  # noqa: E402

TrifactaRetryPolicy, FailedJobRule = retry_policy.TrifactaRetryPolicy, retry_policy.FailedJobRule
FAIL, RETRY, DEFAULT = RetryAction.FAIL, RetryAction.RETRY, RetryAction.DEFAULT


@pytest.fixture(scope="module")
def _server() -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1.8e9)) as running:
        yield running


@pytest.fixture
def emulator(_server: Emulator, connect: Callable[..., None]) -> Iterator[Emulator]:
    empty(_server)
    connect(_server)
    yield _server
    for kind in KINDS:
        kind.behave(_server)


def decide(task: SimulatedTask, **policy: Any) -> RetryDecision:
    """Return what is decided about the failure of the last try."""
    assert task.error is not None
    decision: RetryDecision = TrifactaRetryPolicy(**policy).evaluate(
        task.error, task.try_number, task.max_tries, {"task": task.operator()}
    )
    return decision


def in_both_modes(arrange: Callable[[], None], emulator: Emulator, kind: Kind, **options: Any) -> SimulatedTask:
    """Fail in both modes; return the deferred task, after a check that the decisions are equal."""
    tasks = []
    for deferrable in (False, True):
        empty(emulator)
        arrange()
        tasks.append(SimulatedTask(emulator, kind=kind, deferrable=deferrable, **options))
        tasks[-1].run_try()
        assert tasks[-1].error is not None
    for rules in (True, False, [FailedJobRule(message="order_date")]):
        synchronous, deferred = (decide(task, retry_failed_jobs=rules) for task in tasks)
        assert (synchronous.action, synchronous.retry_delay) == (deferred.action, deferred.retry_delay)
    assert type(tasks[0].error) is type(tasks[1].error)
    return tasks[1]


@dataclass(frozen=True)
class Fault:
    """What every poll of a run is answered, and what is decided about it."""

    action: RetryAction
    order: dict[str, Any] = field(default_factory=dict)
    delay: float | None = None


FAULTS = {
    "400": Fault(FAIL, {"kind": "status", "status": 400}),
    "401": Fault(DEFAULT, {"kind": "status", "status": 401}),
    "403": Fault(FAIL, {"kind": "status", "status": 403}),
    "404": Fault(FAIL, {"kind": "status", "status": 404}),
    "404-of-a-proxy": Fault(DEFAULT, {"kind": "html", "status": 404}),
    "410": Fault(FAIL, {"kind": "status", "status": 410}),
    "415": Fault(FAIL, {"kind": "status", "status": 415}),
    "429": Fault(RETRY, {"kind": "rate_limit", "headers": {"x-retry-after": "42"}}, 42),
    "429-for-ever": Fault(RETRY, {"kind": "rate_limit", "headers": {"x-retry-after": "1e200"}}, 3600),
    "429-without-a-time": Fault(RETRY, {"kind": "rate_limit", "headers": {"server": "proxy"}}),
    "500": Fault(DEFAULT, {"kind": "status", "status": 500}),
    "502-of-a-proxy": Fault(DEFAULT, {"kind": "html", "status": 502}),
    "503": Fault(RETRY, {"kind": "status", "status": 503, "headers": {"retry-after": "120"}}, 120),
    "503-without-a-time": Fault(RETRY, {"kind": "status", "status": 503}),
    "no-answer": Fault(DEFAULT, {"kind": "reset"}),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", FAULTS)
def test_polls_that_fail(emulator: Emulator, kind: Kind, name: str) -> None:
    if kind is PLAN_RUNS and name[:3] in ("403", "404"):
        pytest.skip("The latest run of the plan is polled instead")
    fault = FAULTS[name]

    def arrange() -> None:
        for operation in {kind.poll, "listJobLibrary", "listPlanSnapshotRuns"}:
            emulator.order(operation, call=None, **fault.order)

    task = in_both_modes(arrange, emulator, kind, retry_budget=5)
    assert isinstance(task.error, TrifactaWaitFailed)
    assert isinstance(task.error.__cause__, TrifactaApiError)
    decision = decide(task)
    assert decision.action is fault.action
    assert decision.retry_delay == (None if fault.delay is None else timedelta(seconds=fault.delay))
    # Unless the next try finds the run again, none may follow.
    not_durable = SimulatedTask(emulator, kind=kind, deferrable=False, durable=False)
    not_durable.error = task.error
    assert decide(not_durable).action is FAIL


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_failed_job_group(emulator: Emulator, kind: Kind) -> None:
    task = in_both_modes(lambda: kind.behave(emulator, "fail-wrangle"), emulator, kind)
    assert decide(task).action is DEFAULT
    assert decide(task, retry_failed_jobs=False).action is FAIL
    assert decide(task, retry_failed_jobs=[FailedJobRule(type="publish")]).action is FAIL
    assert decide(task, retry_failed_jobs=[FailedJobRule(type="wrangle")]).action is RETRY
    decision = decide(task, retry_failed_jobs=[FailedJobRule(message=r"Column '\w+' not found")])
    assert decision.action is RETRY
    assert "Column 'order_date' not found" in (decision.reason or "")


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_that_a_user_cancels(emulator: Emulator, kind: Kind, deferrable: bool) -> None:
    class Canceled(Process):
        def event(self, name: str) -> None:
            super().event(name)
            if name.startswith("after GET") and kind.ids(emulator) and "Canceled" not in kind.statuses(emulator):
                kind.cancel(emulator)

    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable)
    task.run_try(Canceled())
    assert isinstance(task.error, TrifactaRunCanceled)
    assert decide(task).action is FAIL
    assert "canceled by a user" in (decide(task).reason or "")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_that_a_kill_cancels(emulator: Emulator, kind: Kind) -> None:
    """A machine that shuts down kills its tasks, and their runs with them: nobody wanted that."""
    task = SimulatedTask(emulator, kind=kind, deferrable=False)

    class Sigterm(Process):
        sent = False

        def event(self, name: str) -> None:
            super().event(name)
            if not self.sent and len(emulator.calls(kind.poll)) >= 3:
                # First, since what the kill does consists of events, too.
                self.sent = True
                task.sigterm()

    task.run_try(Sigterm())
    assert isinstance(task.error, TrifactaRunCanceled)
    assert "killed while it waited" in str(task.error.__cause__)
    decision = decide(task, retry_failed_jobs=False)
    assert decision.action is RETRY
    assert "because the task was killed" in (decision.reason or "")


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_start_whose_outcome_is_not_known(emulator: Emulator, kind: Kind, deferrable: bool) -> None:
    def lose_it(durable: bool) -> SimulatedTask:
        empty(emulator)
        emulator.order(kind.submit, "reset", after=True)
        emulator.order(kind.search, "status", status=500, call=None)
        task = SimulatedTask(emulator, kind=kind, deferrable=deferrable, durable=durable, retry_budget=5)
        task.run_try()
        assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
        return task

    assert decide(lose_it(durable=False)).action is FAIL
    assert len(kind.ids(emulator)) == 1
    task = lose_it(durable=True)
    assert decide(task).action is RETRY
    emulator.clear_faults()
    task.run_to_the_end()
    assert (task.state, len(kind.ids(emulator))) == ("success", 1)


def test_a_token_that_cannot_be_read(
    emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(name: str) -> None:
        raise ConnectionError("the API server of Airflow gives no answer")

    connect(emulator, token_variable="trifacta_token")
    monkeypatch.setattr(token_stores, "read_variable", unreadable)
    task = in_both_modes(lambda: None, emulator, JOB_GROUPS, retry_budget=5)
    assert decide(task) == RetryDecision.default()


@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])
@pytest.mark.parametrize(("status", "action"), [(404, FAIL), (403, FAIL), (503, RETRY), (500, DEFAULT)])
def test_a_sensor(
    emulator: Emulator, context: dict[str, Any], deferrable: bool, status: int, action: RetryAction
) -> None:
    job_group = JOB_GROUPS.start(emulator)
    # The first poll is the worker's, in both modes.
    for operation in ("getJobGroupStatus", "listJobLibrary"):
        emulator.order(operation, "status", status=status, call=2 if deferrable else 1, times=100)
    sensor = TrifactaJobGroupSensor(
        task_id="wait", job_group_id=job_group, deferrable=deferrable, poke_interval=0.01, retry_budget=0
    )
    let_operators_run_in_this_thread()
    with pytest.raises((TrifactaApiError, TrifactaWaitFailed)) as raised:
        run_deferred(sensor, context)
    assert isinstance(raised.value, TrifactaWaitFailed) == deferrable
    assert TrifactaRetryPolicy().evaluate(raised.value, 1, 3, {"task": sensor}).action is action


def test_a_start_by_hand(emulator: Emulator) -> None:
    """Of a task that uses the hook: it is not known what its next try would send."""
    policy = TrifactaRetryPolicy()
    hook = TrifactaHook(retry_budget=0, clock=EmulatorClock(emulator))
    for arrange, start, action in (
        ({"kind": "reset", "after": True}, hook.run_job_group, FAIL),
        ({"kind": "reset", "after": True}, hook.submit_job_group, FAIL),
        ({"kind": "status", "status": 503}, hook.run_job_group, FAIL),
        ({"kind": "rate_limit", "headers": {"x-retry-after": "7"}}, hook.run_job_group, RETRY),
        ({"kind": "status", "status": 400}, hook.run_job_group, FAIL),
    ):
        empty(emulator)
        emulator.change_settings(library_lag=3600)
        emulator.order("runJobGroup", **arrange)
        with pytest.raises((TrifactaApiError, TrifactaSubmitOutcomeUnknown)) as raised:
            start(7)
        assert policy.evaluate(raised.value, 1, 3, {"ti": FakeTaskInstance()}).action is action, arrange


def test_without_a_policy_nothing_changes(emulator: Emulator) -> None:
    """Airflow knows only whether an error forbids retries; of the errors above, none does."""
    for deferrable in (False, True):
        JOB_GROUPS.behave(emulator, "fail-wrangle")
        task = SimulatedTask(emulator, deferrable=deferrable)
        task.run_try()
        assert task.state == "up_for_retry"
