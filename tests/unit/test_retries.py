from __future__ import annotations

from email.utils import formatdate

import pytest

from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaBadRequest,
    TrifactaDuplicateExecution,
    TrifactaForbidden,
    TrifactaNotFound,
    TrifactaRateLimited,
    TrifactaServerError,
    TrifactaTransportError,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.api.rate_limits import server_wait
from airflow_provider_trifacta.api.retries import RetryPolicy, may_repeat

NOW = 1_700_000_000.0


def _error(
    cls: type[TrifactaApiError], status: int | None = None, retry_after: float | None = None
) -> TrifactaApiError:
    return cls(method="GET", path="/v4/x", status=status, retry_after=retry_after)


def _lost(*, sent: bool) -> TrifactaTransportError:
    return TrifactaTransportError(
        method="GET", path="/v4/x", failure=TransportFailure.LOST, reason="gone", sent=sent
    )


@pytest.mark.parametrize(
    ("error", "when_idempotent", "when_not"),
    [
        (_lost(sent=False), True, True),
        (_lost(sent=True), True, False),
        (_error(TrifactaRateLimited, 429), True, True),
        (_error(TrifactaServerError, 500), True, False),
        (_error(TrifactaServerError, 502), True, False),
        (_error(TrifactaServerError, 503), True, False),
        (_error(TrifactaServerError, 504), True, False),
        (_error(TrifactaServerError, 501), True, False),
        (_error(TrifactaServerError, 529), True, False),
        (_error(TrifactaApiError, 408), True, False),
        (_error(TrifactaDuplicateExecution, 304), True, False),
        (_error(TrifactaAnswerNotUnderstood, 200), True, False),
        (_error(TrifactaAnswerNotUnderstood, 302), False, False),
        (_error(TrifactaBadRequest, 400), False, False),
        (_error(TrifactaUnauthorized, 401), False, False),
        (_error(TrifactaForbidden, 403), False, False),
        (_error(TrifactaNotFound, 404), False, False),
        (_error(TrifactaApiError, 409), False, False),
        (RuntimeError("a bug"), False, False),
    ],
    ids=repr,
)
def test_what_may_be_repeated(error: Exception, when_idempotent: bool, when_not: bool) -> None:
    assert may_repeat(idempotent=True, error=error) is when_idempotent
    assert may_repeat(idempotent=False, error=error) is when_not


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-retry-after": "57"}, 57),
        ({"x-retry-after": "0.5"}, 0.5),
        ({"x-retry-after": "-3"}, 0),
        ({"x-retry-after": "57", "retry-after": "3"}, 57),
        ({"x-retry-after": "soon", "retry-after": "3"}, 3),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0),
        # The server's own clock decides, when it says what time it has.
        ({"retry-after": formatdate(NOW + 30, usegmt=True), "date": formatdate(NOW + 20, usegmt=True)}, 10),
        ({"x-rate-limit-user-reset": str(int(NOW + 12))}, 12),
        ({"x-rate-limit-user-reset": str(int((NOW + 12) * 1000))}, 12),
        (
            {"x-rate-limit-workspace-reset": str(int((NOW + 40) * 1000)), "x-rate-limit-user-reset": str(NOW + 5)},
            40,
        ),
        ({"x-rate-limit-user-reset": str(NOW + 5), "x-rate-limit-user-remaining": "3"}, None),
        ({"x-retry-after": "nan"}, None),
        ({"x-retry-after": "inf"}, None),
        ({}, None),
    ],
    ids=repr,
)
def test_what_the_server_asks_to_wait(headers: dict[str, str], expected: float | None) -> None:
    assert server_wait(headers, NOW) == (None if expected is None else pytest.approx(expected, abs=0.01))


def test_waits_grow_to_a_cap_and_are_jittered_in_full() -> None:
    policy = RetryPolicy(budget=1e9, initial_wait=1, max_wait=60)

    def waits(jitter: float) -> list[float | None]:
        error = _lost(sent=True)
        return [
            policy.wait(idempotent=True, error=error, attempt=n, elapsed=0, jitter=jitter) for n in range(1, 9)
        ]

    assert waits(1.0) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert waits(0.0) == [0] * 8


def test_never_earlier_than_asked_and_not_all_at_once() -> None:
    policy = RetryPolicy(budget=1e9)
    error = _error(TrifactaRateLimited, 429, retry_after=57)
    waits = [policy.wait(idempotent=False, error=error, attempt=3, elapsed=0, jitter=j / 10) for j in range(10)]
    assert min(w for w in waits if w is not None) == 57
    assert len(set(waits)) == 10


def test_an_absurd_wait_is_capped() -> None:
    error = _error(TrifactaRateLimited, 429, retry_after=1e7)
    assert RetryPolicy().wait(idempotent=True, error=error, attempt=1, elapsed=0, jitter=0) == 300


def test_the_budget_is_wall_clock_time() -> None:
    policy = RetryPolicy(budget=100)
    error = _error(TrifactaRateLimited, 429, retry_after=60)
    assert policy.wait(idempotent=True, error=error, attempt=1, elapsed=40, jitter=0) == 60
    assert policy.wait(idempotent=True, error=error, attempt=2, elapsed=41, jitter=0) is None
    never = RetryPolicy(budget=0)
    assert never.wait(idempotent=True, error=_lost(sent=False), attempt=1, elapsed=0.01, jitter=0) is None


def test_a_smaller_budget_wins() -> None:
    assert RetryPolicy(budget=100).within(10).budget == 10
    assert RetryPolicy(budget=100).within(1000).budget == 100
    assert RetryPolicy(budget=100).within(None).budget == 100


@pytest.mark.parametrize("budget", [-1, float("nan"), float("inf")])
def test_a_budget_is_a_number_of_seconds(budget: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        RetryPolicy(budget=budget)
