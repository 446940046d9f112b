"""What is decided about every kind of failure."""

from __future__ import annotations

import copy
import math
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_trifacta import exceptions
from airflow_provider_trifacta.airflow_support.compat import AirflowException, BaseOperator
from airflow_provider_trifacta.api import operations
from airflow_provider_trifacta.api.errors import TransportFailure, TrifactaApiError
from airflow_provider_trifacta.api.rate_limits import route_of
from airflow_provider_trifacta.api.runs.kind import FailedJob
from airflow_provider_trifacta.exceptions import (
    TrifactaAnswerNotUnderstood,
    TrifactaConfigurationError,
    TrifactaJobGroupCanceled,
    TrifactaJobGroupFailed,
    TrifactaResultsNotSaved,
    TrifactaRunCanceled,
    TrifactaRunError,
    TrifactaRunFailed,
    TrifactaRunRefused,
    TrifactaRunStatusUnknown,
    TrifactaRunTimeout,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTaskKilled,
    TrifactaTokenUnreadable,
    TrifactaTransportError,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor

retry_policy: Any = pytest.importorskip(
    "airflow_provider_trifacta.retry_policy", reason="Airflow before 3.3", exc_type=ImportError
)
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryDecision, RetryPolicy, RetryRule  # noqa: E402

TrifactaRetryPolicy, FailedJobRule = retry_policy.TrifactaRetryPolicy, retry_policy.FailedJobRule

TASKS: dict[str, Any] = {
    "durable": TrifactaRunJobGroupOperator(task_id="durable", wrangled_dataset_id=7),
    "not durable": TrifactaRunJobGroupOperator(task_id="not_durable", wrangled_dataset_id=7, durable=False),
    "sensor": TrifactaJobGroupSensor(task_id="sensor", job_group_id=90210),
    "task of one's own": BaseOperator(task_id="own"),
}
FAIL, RETRY, DEFAULT = RetryAction.FAIL, RetryAction.RETRY, RetryAction.DEFAULT

WRANGLE = FailedJob("90211", "wrangle", "Failed", "Column 'order_date' not found")
PUBLISH = FailedJob("90212", "publish", "Failed", "The table is locked by another session")
SILENT = FailedJob("90213", "publish", "Failed")
CANCELED = FailedJob("90214", "profile", "Canceled")


def api(status: int | None, *, name: str | None = "SomeException", method: str = "GET", **parts: Any) -> Any:
    """Return an API error, of the class that the status has."""
    path = parts.pop("path", "/v4/jobGroups/90210/status")
    cls = next(
        (
            getattr(exceptions, cls)
            for cls, code in {
                "TrifactaBadRequest": 400,
                "TrifactaUnauthorized": 401,
                "TrifactaForbidden": 403,
                "TrifactaNotFound": 404,
                "TrifactaGone": 410,
                "TrifactaUnsupportedMediaType": 415,
                "TrifactaRateLimited": 429,
            }.items()
            if code == status
        ),
        exceptions.TrifactaServerError if status and status >= 500 else TrifactaApiError,
    )
    return cls(method=method, path=path, status=status, name=name, message="Said so", **parts)


def lost(path: str, method: str = "POST", *, sent: bool = True) -> TrifactaTransportError:
    return TrifactaTransportError(
        method=method, path=path, failure=TransportFailure.READ_TIMEOUT, reason="timed out", sent=sent
    )


def unknown(cause: BaseException | None = None) -> TrifactaSubmitOutcomeUnknown:
    error = TrifactaSubmitOutcomeUnknown(
        what="recipe 7", execution_id="5f0c", since=datetime(2024, 3, 1, tzinfo=UTC), reason="the answer was lost"
    )
    error.__cause__ = cause
    return error


def because(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def failed(*jobs: FailedJob, cls: Any = TrifactaJobGroupFailed) -> TrifactaRunError:
    return cls("Job group 90210 failed", run_id=90210, status="Failed", failed_jobs=jobs)


def decide(error: BaseException, task: str | None = "durable", **policy: Any) -> RetryDecision:
    context = None if task is None else {"task": TASKS[task]}
    return TrifactaRetryPolicy(**policy).evaluate(error, 1, 3, context)


EVERY_TASK = [*TASKS, None]


@pytest.mark.parametrize("task", EVERY_TASK)
@pytest.mark.parametrize("wrap", [None, TrifactaWaitFailed, TrifactaResultsNotSaved])
@pytest.mark.parametrize("status", [400, 403, 404, 410, 415])
def test_refused_for_good(status: int, wrap: Any, task: str | None) -> None:
    error = api(status)
    decision = decide(error if wrap is None else because(wrap("It failed"), error), task)
    assert decision.action is FAIL
    if not (wrap is TrifactaWaitFailed and task == "not durable"):  # for another reason
        assert decision.reason == (
            f"Another try would be refused again: GET /v4/jobGroups/90210/status: {status} SomeException: Said so."
        )


@pytest.mark.parametrize(
    "error",
    [
        api(404, name=None),
        api(404, name="RouteNotFoundException"),
        api(405, name=None),
        api(401),
        api(408),
        api(500, retry_after=60.0),
        api(502, name=None),
        api(504),
        lost("/v4/jobGroups/90210/status", "GET"),
        lost("/v4/jobGroups", sent=False),
        lost("/v4/jobGroups/90210/cancel"),
        TrifactaAnswerNotUnderstood(method="GET", path="/v4/jobGroups/90210", status=200, message="HTML"),
        TrifactaTokenUnreadable.because_of("trifacta_default", "Variable 'token'", ConnectionError("no answer")),
        TrifactaConfigurationError("host: missing"),
        TrifactaRunTimeout("It did not end in time", run_id=90210),
        TrifactaRunError("It is still running", run_id=90210),
        because(TrifactaResultsNotSaved("The disk is full"), OSError(28, "No space left on device")),
        AirflowException("of somebody else"),
        because(AirflowException("of somebody else"), api(400)),
        ValueError("of somebody else"),
        SystemExit(1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("task", EVERY_TASK)
def test_no_reason_to_decide(error: BaseException, task: str | None) -> None:
    """Airflow decides, as without a policy, or the policy that a user gave."""
    assert decide(error, task) == RetryDecision.default()
    mine = RetryDecision.retry(timedelta(seconds=7), "mine")

    class Mine(RetryPolicy):
        def evaluate(self, exception: Any, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
            asked.append((exception, try_number, max_tries, context and context["task"]))
            return mine

    asked: list[Any] = []
    assert decide(error, task, otherwise=Mine()) is mine
    assert asked == [(error, 1, 3, TASKS.get(task or ""))]


@pytest.mark.parametrize("wrap", [None, TrifactaWaitFailed, TrifactaResultsNotSaved, unknown])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "seconds", "said"),
    [
        (42.0, 42, "Waiting 42 s, as the server asks"),
        (0.0, 0, "Waiting 0 s, as the server asks"),
        (-5.0, 0, "Waiting 0 s, as the server asks"),
        (3600.0, 3600, "Waiting 3600 s, as the server asks"),
        (86400.0, 3600, "Waiting 3600 s, less than the 86400 s that the server asks for"),
        (1e300, 3600, "Waiting 3600 s, less than"),
        (math.inf, 3600, "Waiting 3600 s, less than the inf s"),
        (math.nan, None, "The server asks to try again later"),
        (None, None, "The server asks to try again later"),
        ("soon", None, "The server asks to try again later"),  # from an event of another version
    ],
)
def test_the_server_asks_to_wait(wrap: Any, status: int, asked: Any, seconds: int | None, said: str) -> None:
    error = api(status, retry_after=asked)
    if wrap is not None:
        error = unknown(error) if wrap is unknown else because(wrap("It failed"), error)
    decision = decide(error)
    assert decision.action is RETRY
    assert decision.retry_delay == (None if seconds is None else timedelta(seconds=seconds))
    assert said in (decision.reason or "")
    assert str(status) in (decision.reason or "")


def test_how_long_a_server_may_ask_to_wait_is_for_a_user_to_say() -> None:
    error = api(429, retry_after=300.0)
    assert decide(error, longest_wait=timedelta(seconds=90)).retry_delay == timedelta(seconds=90)
    assert decide(error, longest_wait=timedelta(days=1)).retry_delay == timedelta(seconds=300)


def test_a_wait_is_not_asked_for_by_a_refusal() -> None:
    assert decide(api(403, retry_after=5.0)).action is FAIL


@pytest.mark.parametrize("cause", [None, api(500), api(403), TrifactaTaskKilled("killed")], ids=repr)
@pytest.mark.parametrize(
    ("task", "action"),
    [
        ("durable", RETRY),
        ("not durable", FAIL),
        ("task of one's own", FAIL),
        ("sensor", FAIL),
        (None, FAIL),
    ],
)
def test_an_unknown_start_is_never_repeated_with_another_execution_id(
    cause: BaseException | None, task: str | None, action: RetryAction
) -> None:
    decision = decide(unknown(cause), task)
    assert (decision.action, decision.retry_delay) == (action, None)
    assert "It is not known whether recipe 7 was started" in (decision.reason or "")
    assert "execution id" in (decision.reason or "")


@pytest.mark.parametrize("status", [429, 503])
def test_an_unknown_start_does_not_wait_with_another_execution_id(status: int) -> None:
    assert decide(unknown(api(status, retry_after=5.0)), "task of one's own").action is FAIL


@pytest.mark.parametrize("path", ["/v4/jobGroups", "/v4/flows/301/run", "/v4/flows/301/copy", "/v4/plans/88/run"])
@pytest.mark.parametrize("task", EVERY_TASK)
def test_a_start_by_hand_that_may_have_succeeded_is_not_repeated(path: str, task: str | None) -> None:
    for error in (
        lost(path),
        api(503, method="POST", path=path, retry_after=5.0),
        TrifactaAnswerNotUnderstood(method="POST", path=path, status=201),
    ):
        decision = decide(error, task)
        assert decision.action is FAIL
        assert "It may have started something" in (decision.reason or "")
    # These have started nothing.
    assert decide(lost(path, sent=False), task).action is DEFAULT
    assert decide(api(429, method="POST", path=path, retry_after=5.0), task).action is RETRY
    assert decide(api(400, method="POST", path=path), task).action is FAIL


def test_the_starts_are_those_of_the_api() -> None:
    made = [
        operations.run_job_group(7),
        operations.run_flow(301),
        operations.copy_flow(301),
        operations.run_plan(88),
    ]
    routes = [route_of(operation.request.method, operation.request.path) for operation in made]
    assert sorted(routes) == sorted(retry_policy._STARTS)
    assert not any(operation.request.idempotent for operation in made)


@pytest.mark.parametrize("error", [TrifactaWaitFailed("Lost sight"), TrifactaRunStatusUnknown("Odd")], ids=repr)
def test_a_run_that_may_still_be_running_gets_no_second_one(error: TrifactaRunError) -> None:
    for task in ("durable", "sensor", "task of one's own", None):
        assert decide(error, task) == RetryDecision.default()
    decision = decide(error, "not durable")
    assert decision.action is FAIL
    assert "may still be running" in (decision.reason or "")


@pytest.mark.parametrize("task", EVERY_TASK)
def test_a_killed_task_is_retried(task: str | None) -> None:
    killed = TrifactaTaskKilled("The task was killed while it was starting")
    assert decide(killed, task).action is RETRY
    for run in (failed(cls=TrifactaJobGroupCanceled), failed(WRANGLE, cls=TrifactaRunFailed)):
        decision = decide(because(run, killed), task, retry_failed_jobs=False)
        assert decision.action is RETRY
        assert "because the task was killed" in (decision.reason or "")


@pytest.mark.parametrize("cls", [TrifactaRunCanceled, TrifactaJobGroupCanceled])
@pytest.mark.parametrize("rules", [True, False, [FailedJobRule(type="profile")]])
def test_what_a_user_canceled_is_not_started_again(cls: Any, rules: Any) -> None:
    decision = decide(failed(CANCELED, cls=cls), retry_failed_jobs=rules)
    assert decision.action is FAIL
    assert "canceled by a user" in (decision.reason or "")


LOCKED = FailedJobRule(message=r"(?i)table IS locked")
ANY_PUBLISH = FailedJobRule(type="publish")
LOCKED_PUBLISH = FailedJobRule(type=["Publish", "filewriter"], message="locked")


@pytest.mark.parametrize("cls", [TrifactaRunFailed, TrifactaJobGroupFailed])
@pytest.mark.parametrize(
    ("rules", "jobs", "action"),
    [
        (True, [WRANGLE], DEFAULT),
        (True, [], DEFAULT),
        (False, [WRANGLE], FAIL),
        (False, [], FAIL),
        ([LOCKED], [PUBLISH], RETRY),
        ([LOCKED], [WRANGLE], FAIL),
        ([LOCKED], [SILENT], FAIL),
        ([ANY_PUBLISH], [PUBLISH, SILENT], RETRY),
        ([ANY_PUBLISH], [WRANGLE], FAIL),
        ([ANY_PUBLISH], [PUBLISH, WRANGLE], FAIL),
        ([ANY_PUBLISH, FailedJobRule(message="order_date")], [PUBLISH, WRANGLE], RETRY),
        ([LOCKED_PUBLISH], [PUBLISH], RETRY),
        ([LOCKED_PUBLISH], [SILENT], FAIL),
        ([FailedJobRule(type="wrangle", message="locked")], [PUBLISH], FAIL),
        # Canceled because another one failed: not a cause.
        ([LOCKED], [PUBLISH, CANCELED], RETRY),
        ([LOCKED], [CANCELED], FAIL),
        ([FailedJobRule(type="profile")], [CANCELED], RETRY),
        # Why it failed is not known.
        ([LOCKED], [], DEFAULT),
        ([FailedJobRule(message=re.compile("LOCKED", re.IGNORECASE))], [PUBLISH], RETRY),
    ],
)
def test_failed_runs_are_retried_by_rule(rules: Any, jobs: list[FailedJob], action: RetryAction, cls: Any) -> None:
    decision = decide(failed(*jobs, cls=cls), retry_failed_jobs=rules)
    assert (decision.action, decision.retry_delay) == (action, None)
    if jobs and action is not DEFAULT and rules is not False:
        assert any(str(job) in (decision.reason or "") for job in jobs)
        assert "retry_failed_jobs" in (decision.reason or "")


def test_failed_runs_may_be_left_to_another_policy() -> None:
    mine = ExceptionRetryPolicy([RetryRule(TrifactaJobGroupFailed, RetryAction.RETRY, timedelta(minutes=9))])
    assert decide(failed(WRANGLE), otherwise=mine).retry_delay == timedelta(minutes=9)
    assert decide(failed(WRANGLE), otherwise=mine, retry_failed_jobs=[LOCKED]).action is FAIL
    assert decide(failed(), otherwise=mine, retry_failed_jobs=[LOCKED]).retry_delay == timedelta(minutes=9)


def test_a_subclass_has_the_first_word() -> None:
    class Mine(TrifactaRetryPolicy):  # type: ignore[misc, valid-type]
        def evaluate(self, exception: Any, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
            if isinstance(exception, TrifactaRunTimeout):
                return RetryDecision.fail("too long")
            decision: RetryDecision = super().evaluate(exception, try_number, max_tries, context)
            return decision

    assert Mine().evaluate(TrifactaRunTimeout("late"), 1, 3).reason == "too long"
    assert Mine().evaluate(api(403), 1, 3).action is FAIL


class _Breaks(RetryPolicy):
    def evaluate(self, exception: Any, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        raise RuntimeError("in\nhere")


class _SaysNothing(_Breaks):
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        return None


def test_it_never_raises() -> None:
    decision = decide(ValueError("mine"), otherwise=_Breaks())
    assert decision.action is DEFAULT
    assert decision.reason == (
        "TrifactaRetryPolicy could not decide, so the retries of the task apply: RuntimeError: in here"
    )
    assert decide(ValueError("mine"), otherwise=_SaysNothing()) == RetryDecision.default()
    odd = failed()
    for jobs in ((None,), ("text",), 7, (SimpleNamespace(type=1, message=2, status=3),)):
        odd.failed_jobs = jobs  # type: ignore[assignment]
        assert decide(odd, retry_failed_jobs=[LOCKED_PUBLISH]).action is DEFAULT
    for context in ({}, {"task": None}, 7):
        decision = TrifactaRetryPolicy().evaluate(unknown(), 1, 3, context)
        assert decision.action in (FAIL, DEFAULT)


def test_reasons_fit_into_a_line_of_airflow() -> None:
    job = FailedJob("1" * 1000, "wrangle", "Failed", "a\nb\x1b[31m" * 1000)
    errors = [
        failed(job),
        api(403, details="x" * 5000),
        api(429, retry_after=10.0**300),
        TrifactaSubmitOutcomeUnknown(
            what="recipe " + "9\n" * 1000, execution_id="5f0c", since=datetime.now(UTC), reason="lost"
        ),
        api(503, method="POST", path="/v4/plans/" + "8" * 1000 + "/run"),
    ]
    for error in errors:
        for task in ("durable", None):
            reason = decide(error, task, retry_failed_jobs=[LOCKED]).reason
            assert reason
            assert len(reason) <= 500
            assert "\n" not in reason
            assert "\x1b" not in reason


def test_a_refusal_within_a_success_is_for_good() -> None:
    assert decide(TrifactaRunRefused(method="POST", path="/v4/plans/88/run", status=201)).action is FAIL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"retry_failed_jobs": "publish"}, "retry_failed_jobs: 'publish' is neither True, False"),
        ({"retry_failed_jobs": ["publish"]}, "nor a list of FailedJobRule"),
        ({"retry_failed_jobs": []}, "nor a list of FailedJobRule"),
        ({"retry_failed_jobs": None}, "retry_failed_jobs: None"),
        ({"retry_failed_jobs": FailedJobRule(type="publish")}, "nor a list of FailedJobRule"),
        ({"longest_wait": 60}, "longest_wait: 60 is not a positive timedelta"),
        ({"longest_wait": timedelta(0)}, "longest_wait"),
        ({"otherwise": "default"}, "otherwise: 'default' is not a retry policy"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=re.escape(said)):
        TrifactaRetryPolicy(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "give type, message, or both"),
        ({"message": "(locked"}, "message: '(locked' is not a regular expression: missing )"),
        ({"message": b"locked"}, "expected a string"),
        ({"message": re.compile(b"locked")}, "expected a string"),
        ({"message": "a{99999999999999999999}"}, "is not a regular expression"),
        ({"type": ""}, "type: '' is neither a job type"),
        ({"type": []}, "type: [] is neither"),
        ({"type": [7]}, "type: [7] is neither"),
        ({"type": 7}, "type: 7 is neither"),
    ],
)
def test_rules_are_checked(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=re.escape(said)):
        FailedJobRule(**arguments)


def test_rules_may_come_from_anywhere() -> None:
    assert decide(failed(PUBLISH), retry_failed_jobs=(rule for rule in (LOCKED,))).action is RETRY


def test_policies_are_copied_with_their_tasks() -> None:
    policy = TrifactaRetryPolicy(retry_failed_jobs=[LOCKED_PUBLISH, LOCKED])
    assert copy.deepcopy(policy).evaluate(failed(PUBLISH), 1, 3).action is RETRY
    assert copy.deepcopy(policy).evaluate(failed(WRANGLE), 1, 3).action is FAIL
