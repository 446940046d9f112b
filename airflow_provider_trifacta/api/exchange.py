"""One call of the API from beginning to end: token, redirects, token replacement, retries, fallback.

Both clients drive the same procedure. It yields the steps to be done and decides everything else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.error_answers import no_answer, raise_for_status, redirect_of, says_gone
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaApiError,
    TrifactaError,
    TrifactaGone,
    TrifactaNotFound,
    TrifactaRateLimited,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.api.messages import Answer, Operation, Request
from airflow_provider_trifacta.api.procedures import Pause
from airflow_provider_trifacta.api.rate_limits import QuotaBoard
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.timestamps import moment_after, spoken

T = TypeVar("T")
Save = Callable[[], Callable[[bytes], Any]]
log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
#: Maximum number of times in a row that a token may be replaced during a call.
MAX_TOKEN_CHANGES = 5
#: Seconds that an attempt may take even if less is left of the budget.
_SHORTEST_ATTEMPT = 5.0


@dataclass(frozen=True)
class Transfer:
    """Send a request once and return its answer.

    :param seconds: time in which the answer must be complete, or, if it is saved, in which each piece must arrive.
    :param redactor: knows the secrets that no error may quote.
    :param save: called when an answer that is to be saved begins; returns the function that takes the pieces of
        its body. Without it, the answer holds its body.
    """

    request: Request
    url: str
    headers: dict[str, str]
    seconds: float
    redactor: Redactor
    save: Save | None = None


def is_saved(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether an answer is to be saved to a file: a proxy's page is not."""
    return status == 200 and "text/html" not in headers.get("content-type", "")


@dataclass(frozen=True)
class Token:
    """Return the token to send.

    :param refused: the token that the server refused: another one is read from where it is kept. None for the
        current one.
    :param patience: maximum seconds to wait for another token.
    """

    refused: str | None = field(default=None, repr=False)
    patience: float = 0.0


Exchange = Generator[Transfer | Token | Pause, Any, T]


class Exchanger:
    """Makes the calls of one client.

    :param settings: the server and how to talk to it.
    :param redactor: receives each token that is sent.
    :param reached: whether the API is known to have answered at this URL before.
    """

    def __init__(
        self,
        settings: ClientSettings,
        redactor: Redactor,
        clock: Clock,
        random_number: Callable[[], float],
        *,
        reached: bool = False,
    ) -> None:
        self._settings = settings
        self._redactor = redactor
        self._clock = clock
        self._random = random_number
        self._reached = reached
        self.quotas = QuotaBoard(log)

    def send(self, operation: Operation[T], save: Save | None = None) -> Exchange[T]:
        """Send an operation and return its result, repeating it according to the retry policy.

        :raises TrifactaApiError: the last error, unwrapped.
        """
        started = self._clock.monotonic()
        until = started + self._settings.retries.within(operation.budget).budget
        seconds = self._settings.read_timeout
        if operation.budget is not None:
            seconds = min(seconds, max(operation.budget, _SHORTEST_ATTEMPT))
        try:
            return (yield from self._once(operation, seconds, until, save))
        except TrifactaApiError as error:
            failure = error
        try:
            return (yield from self._again(operation, failure, started, until, save))
        except TrifactaApiError as error:
            alternative = operation.fallback(error) if operation.fallback else None
            if alternative is None:
                raise
        return (yield from self.send(alternative, save))

    def _again(
        self,
        operation: Operation[T],
        first_failure: TrifactaApiError,
        started: float,
        until: float,
        save: Save | None,
    ) -> Exchange[T]:
        """Repeat after a failure. Only here is tenacity worth its cost, which is about that of a call."""
        policy = self._settings.retries.within(operation.budget)
        request = operation.request
        wait: float | None = None
        hint = operation.quota_hint

        def may_repeat(state: RetryCallState) -> bool:
            nonlocal wait, hint
            error = state.outcome.exception() if state.outcome else None
            if error is None:
                return False
            refused = isinstance(error, TrifactaRateLimited)
            if refused and not operation.waits_for_quota:
                return False
            wait = policy.wait(
                idempotent=request.idempotent,
                error=error,
                attempt=state.attempt_number,
                elapsed=self._clock.monotonic() - started,
                jitter=self._random(),
                reached=self._reached,
            )
            if refused and wait is not None and hint:
                log.info("%s", hint)
                hint = None
            return wait is not None

        # Each client sleeps in its own way: here we only record for how long.
        pauses: list[float] = []
        for attempt in Retrying(
            retry=may_repeat,
            wait=lambda _: wait or 0.0,
            sleep=pauses.append,
            before_sleep=self._log_repeat(lambda: wait or 0.0, until - self._clock.monotonic()),
            reraise=True,
        ):
            while pauses:
                yield Pause(pauses.pop())
            with attempt:
                number = attempt.retry_state.attempt_number
                if number == 1:
                    raise first_failure
                left = until - self._clock.monotonic()
                seconds = min(self._settings.read_timeout, max(left, _SHORTEST_ATTEMPT))
                try:
                    return (yield from self._once(operation, seconds, until, save))
                except (TrifactaNotFound, TrifactaGone) as error:
                    if request.method != "DELETE" or not says_gone(error):
                        raise
                    # An earlier attempt was carried out, and its answer was lost.
                    return operation.decode(Answer(request, 204, {}, b""))
        raise AssertionError("tenacity returns or raises")

    def _once(self, operation: Operation[T], seconds: float, until: float, save: Save | None) -> Exchange[T]:
        """Send a request once, and again if the server refuses a token that has been replaced meanwhile.

        :param until: until when to wait for another token, on the monotonic clock.
        """
        token: str = yield Token()
        for change in range(MAX_TOKEN_CHANGES + 1):
            try:
                answer = yield from self._transfer(operation.request, token, seconds, save)
                return self._decoded(operation, answer)
            except TrifactaUnauthorized as error:
                replaced = token
                if change < MAX_TOKEN_CHANGES:
                    replaced = yield Token(token, patience=max(0.0, until - self._clock.monotonic()))
                if replaced == token:
                    error.explain(token, self._settings.token_kept_in, oauth=self._settings.uses_oauth)
                    raise
                token = replaced
        raise AssertionError("the last attempt returns or raises")

    def _transfer(self, request: Request, token: str, seconds: float, save: Save | None) -> Exchange[Answer]:
        """Send a request once with this token, and follow redirects."""
        self._redactor.add_sent(token)
        url = request.url(self._settings.base_url)
        headers = request.all_headers(token, self._settings.user_agent)
        until = self._clock.monotonic() + seconds
        for _ in range(MAX_REDIRECTS + 1):
            answer: Answer = yield Transfer(request, url, headers, seconds, self._redactor, save)
            self.quotas.read(request.method, request.path, answer.headers)
            if answer.status < 200:
                # Data after it does not answer the next call, so the clients close the connection.
                raise no_answer(
                    request,
                    TransportFailure.LOST,
                    f"only the interim answer {answer.status}",
                    sent=True,
                    redactor=self._redactor,
                )
            target = redirect_of(answer, url)
            if target is None:
                raise_for_status(answer, now=self._clock.time())
                return answer
            url, seconds = target, max(0.1, until - self._clock.monotonic())
        raise answer.unusable(f"the server redirects more than {MAX_REDIRECTS} times")

    def _decoded(self, operation: Operation[T], answer: Answer) -> T:
        try:
            result = operation.decode(answer)
        except TrifactaError:
            raise
        except Exception as error:
            # Any error in decoding means that the answer was not understood.
            problem = answer.not_understood(f"expected a different structure ({type(error).__name__})")
        else:
            self._reached = True
            if operation.secret_of is not None:
                self._redactor.add(operation.secret_of(result))
            return result
        raise problem

    def _log_repeat(self, wait: Callable[[], float], left: float) -> Callable[[RetryCallState], None]:
        """Return a function that logs a failure before a retry; the first one with the hint and the deadline.

        Airflow shows only the beginning of a long line, so each part of the first one has a line of its own.

        :param left: seconds for which retries go on.
        """

        def write(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            api_error = error if isinstance(error, TrifactaApiError) else None
            reason = api_error.without_hint() if api_error else str(error)
            failed = f"Attempt {state.attempt_number} failed, next one in {wait():.1f} s"
            if state.attempt_number > 1:
                log.warning("%s: %s", failed, reason)
                return
            log.warning("%s", reason)
            if api_error and api_error.hint:
                log.warning("%s", api_error.hint)
            until = moment_after(self._clock.time(), left)
            log.warning("%s. Trying again for up to %s, until %s", failed, spoken(left), until)

        return write
