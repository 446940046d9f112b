"""What may be repeated, and when: one pure decision for both clients."""

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

#: Request Timeout and Too Early: a gateway gave up on the request, or wants it again.
_TOO_EARLY = (408, 425)
#: Where the API has never answered, no repeat heals a certificate that is not trusted, or a server without TLS.
_WRONGLY_CONFIGURED = (TransportFailure.TLS, TransportFailure.PLAIN_HTTP)


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
        """Return the same policy with a budget that is not larger than this, in seconds."""
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
        """Return the seconds to wait before a request is sent again; None means never again.

        :param idempotent: whether sending the request twice has the effect of sending it once.
        :param error: how the attempt ended; holds status, headers' verdict and kind of failure.
        :param attempt: how often the request was sent so far, from 1.
        :param elapsed: seconds since it was sent first.
        :param jitter: a random number in [0, 1).
        :param reached: whether the API has answered before.
        """
        if not may_repeat(idempotent=idempotent, error=error, reached=reached):
            return None
        exponential = min(self.max_wait, self.initial_wait * 2 ** min(attempt - 1, 32))
        asked = getattr(error, "retry_after", None)
        # Never earlier than asked, and on top of it a share of the whole exponential wait ("full
        # jitter"), so that the many who were refused in the same second do not come back in one.
        wait: float = jitter * exponential
        if asked is not None:
            wait += min(asked, self.max_server_wait)
        return wait if elapsed + wait <= self.budget else None


def may_repeat(*, idempotent: bool, error: BaseException, reached: bool = False) -> bool:
    """Return whether a request that ended like this may be sent again.

    :param reached: whether the API has answered before. From then on, what is no answer of the API is that of
        something in between, and passes; before, it is a wrong base URL.

    A refusal by quota (429) did nothing, and a request that never reached the server did nothing either:
    both may be repeated whatever they are. Everything else may have been carried out, so only requests
    that do no harm when done twice are repeated: after a lost answer, and after a 304 that makes no sense.
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
    """Return whether a redirect or a refusal is not the API's: its refusals have a name."""
    return error.status is not None and error.status >= 300 and error.name is None


def may_have_been_carried_out(error: TrifactaApiError) -> bool:
    """Return whether a request that ended like this may have had its effect: its answer is lost, not its work."""
    if isinstance(error, TrifactaTransportError):
        return error.sent
    if isinstance(error, TrifactaAnswerNotUnderstood):
        # A success that was cut short, or a proxy's page in its place. A redirect did nothing.
        return error.status is not None and 200 <= error.status < 300
    return isinstance(error, TrifactaServerError) or error.status in _TOO_EARLY
