"""What may be repeated, and when: one decision for both clients, driven by tenacity."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaGone,
    TrifactaNotFound,
    TrifactaRateLimited,
    TrifactaServerError,
    TrifactaTransportError,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from airflow_provider_trifacta.api.clock import Clock
    from airflow_provider_trifacta.api.messages import Request

log = logging.getLogger(__name__)

#: 501 and the like say that repeating is pointless.
REPEATABLE_SERVER_ERRORS = frozenset({500, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """How long calls are repeated. All values are seconds.

    :param budget: wall-clock time from the first sending to the last; 0 never repeats.
    :param initial_wait: the exponential part of the first wait.
    :param max_wait: where the exponential part stops growing.
    :param max_server_wait: the longest wait that a server can ask for. Quotas are per minute, so a longer
        one is a fault on its side (a reset time in another unit, a wrong clock).
    """

    budget: float = 900.0
    initial_wait: float = 1.0
    max_wait: float = 60.0
    max_server_wait: float = 300.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.budget) and self.budget >= 0):
            raise ValueError("budget must be a non-negative number of seconds")

    def within(self, budget: float | None) -> RetryPolicy:
        """Return the same policy with a budget of so many seconds at the most."""
        return self if budget is None or budget >= self.budget else replace(self, budget=budget)

    def wait(
        self,
        *,
        idempotent: bool,
        error: BaseException,
        attempt: int,
        elapsed: float,
        jitter: float,
    ) -> float | None:
        """Return the seconds to wait before a request is sent again; None means never again.

        :param idempotent: whether sending the request twice has the effect of sending it once.
        :param error: how the attempt ended; holds status, headers' verdict and kind of failure.
        :param attempt: how often the request was sent so far, from 1.
        :param elapsed: seconds since it was sent first.
        :param jitter: a random number in [0, 1).
        """
        if not may_repeat(idempotent=idempotent, error=error):
            return None
        exponential = min(self.max_wait, self.initial_wait * 2 ** min(attempt - 1, 32))
        asked = getattr(error, "retry_after", None)
        # Never earlier than asked, and on top of it a share of the whole exponential wait ("full
        # jitter"), so that the many who were refused in the same second do not come back in one.
        wait: float = jitter * exponential
        if asked is not None:
            wait += min(asked, self.max_server_wait)
        return wait if elapsed + wait <= self.budget else None


def may_repeat(*, idempotent: bool, error: BaseException) -> bool:
    """Return whether a request that ended like this may be sent again.

    A refusal by quota (429) did nothing, and a request that never reached the server did nothing either:
    both may be repeated whatever they are. Everything else may have been carried out, so only requests
    that do no harm when done twice are repeated.
    """
    if isinstance(error, TrifactaRateLimited):
        return True
    if isinstance(error, TrifactaTransportError) and not error.sent:
        return True
    if isinstance(error, TrifactaServerError) and error.status not in REPEATABLE_SERVER_ERRORS:
        return False
    return idempotent and isinstance(error, TrifactaApiError) and may_have_been_carried_out(error)


def may_have_been_carried_out(error: TrifactaApiError) -> bool:
    """Return whether a request that ended like this may have had its effect: its answer is lost, not its work."""
    if isinstance(error, TrifactaTransportError):
        return error.sent
    if isinstance(error, TrifactaAnswerNotUnderstood):
        # A success that was cut short, or a proxy's page in its place. A redirect did nothing.
        return error.status is not None and 200 <= error.status < 300
    return isinstance(error, TrifactaServerError)


class Repeater:
    """Gives tenacity one policy's decisions about one request, and logs each repeat.

    tenacity costs about as much as a call itself, so only requests whose first sending failed go through it:
    it is told of that failure as its first attempt.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        request: Request,
        *,
        started: float,
        first_failure: TrifactaApiError,
        clock: Clock,
        random_number: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._request = request
        self._started = started
        self._first_failure: TrifactaApiError | None = first_failure
        self._clock = clock
        self._random = random_number
        self._wait = 0.0
        #: How often the request was sent.
        self.sent = 1

    @property
    def tenacity_options(self) -> dict[str, Any]:
        """Keyword arguments that ``Retrying`` and ``AsyncRetrying`` share."""
        return {
            "retry": self._decide,
            "wait": lambda _: self._wait,
            "before_sleep": self._log,
            "reraise": True,
        }

    def count(self) -> None:
        """Count a sending. The first one has happened: it fails again as it did."""
        failure, self._first_failure = self._first_failure, None
        if failure is not None:
            raise failure
        self.sent += 1

    def already_deleted(self, error: TrifactaApiError) -> bool:
        """Return whether a deletion is refused because it was carried out before, and its answer lost."""
        return (
            self._request.method == "DELETE"
            and self.sent > 1
            and isinstance(error, (TrifactaNotFound, TrifactaGone))
        )

    def _decide(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if error is None:
            return False
        wait = self._policy.wait(
            idempotent=self._request.idempotent,
            error=error,
            attempt=state.attempt_number,
            elapsed=self._clock.monotonic() - self._started,
            jitter=self._random(),
        )
        self._wait = wait or 0.0
        return wait is not None

    def _log(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "%s %s: attempt %d failed, next one in %.1f s. Reason: %s",
            self._request.method,
            self._request.path,
            state.attempt_number,
            self._wait,
            error,
        )
