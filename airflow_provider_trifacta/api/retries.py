"""Which requests may be repeated, and when: a pure function for both clients."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaDuplicateExecution,
    TrifactaRateLimited,
    TrifactaServerError,
    TrifactaTransportError,
)

#: Request Timeout and Too Early: a gateway gave up on the request, or wants it to be sent again.
_TOO_EARLY = (408, 425)
#: If the API has never answered, a retry does not fix an untrusted certificate or a server without TLS.
_WRONGLY_CONFIGURED = (TransportFailure.TLS, TransportFailure.PLAIN_HTTP)


@dataclass(frozen=True)
class RetryPolicy:
    """How long calls are repeated. All values are seconds.

    :param budget: wall-clock time from the first attempt to the last; 0 never repeats.
    :param initial_wait: the exponential part of the first wait.
    :param max_wait: maximum of the exponential part.
    :param max_server_wait: the longest wait that a server can request. Quotas are per minute, so a longer
        one is a server error (a reset time in another unit, a wrong clock).
    """

    budget: float = 900.0
    initial_wait: float = 1.0
    max_wait: float = 60.0
    max_server_wait: float = 300.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.budget) and self.budget >= 0):
            raise ValueError("budget must be a non-negative number of seconds")

    def within(self, budget: float | None) -> RetryPolicy:
        """Return the same policy with at most this budget, in seconds."""
        return self if budget is None or budget >= self.budget else replace(self, budget=budget)

    def wait(
        self,
        *,
        idempotent: bool,
        error: BaseException,
        attempt: int,
        elapsed: float,
        jitter: float,
        reached: bool = False,
    ) -> float | None:
        """Return the seconds to wait before a request is sent again; None means not to repeat it.

        :param idempotent: whether sending the request twice has the same effect as sending it once.
        :param error: the error of the attempt, with the status, the requested wait and the kind of failure.
        :param attempt: how many times the request has been sent, from 1.
        :param elapsed: seconds since the first attempt.
        :param jitter: a random number in [0, 1).
        :param reached: whether the API has answered before.
        """
        if not may_repeat(idempotent=idempotent, error=error, reached=reached):
            return None
        exponential = min(self.max_wait, self.initial_wait * 2 ** min(attempt - 1, 32))
        asked = getattr(error, "retry_after", None)
        # Never earlier than requested, plus a random share of the exponential wait ("full jitter"), so that many
        # clients refused in the same second do not all return in the same second.
        wait: float = jitter * exponential
        if asked is not None:
            wait += min(asked, self.max_server_wait)
        return wait if elapsed + wait <= self.budget else None


def may_repeat(*, idempotent: bool, error: BaseException, reached: bool = False) -> bool:
    """Return whether a request that ended like this may be sent again.

    :param reached: whether the API has answered before. If so, an answer that is not from the API comes from
        something in between and is temporary; if not, the base URL is wrong.

    A request refused by a quota (429) did nothing, and neither did one that never reached the server: both may
    always be repeated. Any other request may have been carried out, so only idempotent ones are repeated: after a
    lost answer, and after an unexpected 304.
    """
    if isinstance(error, TrifactaRateLimited):
        return True
    if isinstance(error, TrifactaTransportError) and error.failure in _WRONGLY_CONFIGURED and not reached:
        return False
    if isinstance(error, TrifactaTransportError) and not error.sent:
        return True
    return (
        idempotent
        and isinstance(error, TrifactaApiError)
        and (
            may_have_been_carried_out(error)
            or isinstance(error, TrifactaDuplicateExecution)
            or (reached and _is_of_something_in_between(error))
        )
    )


def _is_of_something_in_between(error: TrifactaApiError) -> bool:
    """Return whether a redirect or a refusal does not come from the API, whose refusals have a name."""
    return error.status is not None and error.status >= 300 and error.name is None


def may_have_been_carried_out(error: TrifactaApiError) -> bool:
    """Return whether a request that ended like this may have taken effect: only its answer may be lost."""
    if isinstance(error, TrifactaTransportError):
        return error.sent
    if isinstance(error, TrifactaAnswerNotUnderstood):
        # A truncated success, or a proxy's page in its place. A redirect did nothing.
        return error.status is not None and 200 <= error.status < 300
    return isinstance(error, TrifactaServerError) or error.status in _TOO_EARLY
