"""Deciding by cause whether a failed task is retried, and when. Needs Airflow 3.3 or later."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

try:
    from airflow.sdk import RetryAction, RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "TrifactaRetryPolicy needs Airflow 3.3 or later, the first version with retry policies; this is Airflow "
        f"{version('apache-airflow')}. For a DAG that several versions run, import it in a try block, and give "
        "retry_policy to tasks only where that succeeds"
    ) from error

from airflow_provider_trifacta.api.errors import (
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTaskKilled,
)
from airflow_provider_trifacta.api.text import line, sentence

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.api.runs.kind import FailedJob
    from airflow_provider_trifacta.exceptions import TrifactaRunFailed

# Modules that only a decision needs are imported when one is made, since DAG files are parsed far more often.

#: Airflow stores 500 characters of a reason.
_LONGEST_REASON = 500
_LONGEST_QUOTE = 300
#: The statuses with which a server asks for patience.
_LATER = (429, 503)
#: The calls that start something. Sent again after a lost answer, they could start it a second time.
_STARTS = (
    "POST /v4/jobGroups",
    "POST /v4/flows/{id}/run",
    "POST /v4/flows/{id}/copy",
    "POST /v4/plans/{id}/run",
)


@dataclass(frozen=True, kw_only=True)
class FailedJobRule:
    """Describes failed jobs that may succeed when they are run again. A job has to match all that is given.

    :param type: the type of the job as the error shows it, e.g. ``publish``, or several; upper and lower case are
        the same.
    :param message: a regular expression to search the API's message for. A job whose message the API does not
        report does not match.
    :raises TrifactaConfigurationError: neither is given, or one cannot be used.
    """

    type: str | Collection[str] | None = None
    message: str | re.Pattern[str] | None = None
    _types: frozenset[str] | None = field(default=None, init=False, repr=False, compare=False)
    _pattern: re.Pattern[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.type is None and self.message is None:
            raise TrifactaConfigurationError(
                "FailedJobRule: give type, message, or both; retry_failed_jobs=True retries whatever failed"
            )
        if self.type is not None:
            object.__setattr__(self, "_types", _checked_types(self.type))
        if self.message is not None:
            object.__setattr__(self, "_pattern", _checked_pattern(self.message))

    def matches(self, job: FailedJob) -> bool:
        """Return whether a failed job is one that this rule describes."""
        if self._types is not None and job.type.casefold() not in self._types:
            return False
        return self._pattern is None or (job.message is not None and bool(self._pattern.search(job.message)))


class TrifactaRetryPolicy(RetryPolicy):
    """Decides by cause whether a failed task is retried, for operators, sensors and tasks that use the hook.

    The decision is the same in every mode, and its reason is in the log of the task. It is made within the
    ``retries`` of the task, which Airflow counts.

    - Refused for good (400, 403, 404, 410, 415): not retried. A missing route, or an answer that is not the API's,
      is not such a refusal.
    - 429 and 503: retried after what the server asks to wait, in place of the ``retry_delay`` of the task.
    - A run that failed: by ``retry_failed_jobs``. One that a user canceled: not retried. One that was canceled
      because its task was killed: retried.
    - It is not known whether a run was started, or it may still be running: retried if the next try continues with
      it, as the operators do, unless they have ``durable=False``. A new execution id could start a second one.
    - Everything else, errors of other packages among them: by ``otherwise``, else as without a policy.

    Airflow asks no policy about an ``AirflowFailException``, nor when the ``timeout`` of a sensor has passed: such
    a task is never retried. That includes refused starts, runs with nothing to run, and the bad end of a run that
    a sensor waits for.

    :param retry_failed_jobs: whether a run that failed is retried: True leaves it to ``otherwise`` or Airflow;
        False never does; with rules, it is retried if each of its failed jobs matches one of them. If the API does
        not report which jobs failed, rules decide nothing.
    :param longest_wait: the longest wait that a server can ask for.
    :param otherwise: decides about whatever this policy has no reason to decide about.
    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """

    def __init__(
        self,
        *,
        retry_failed_jobs: bool | Iterable[FailedJobRule] = True,
        longest_wait: timedelta = timedelta(hours=1),
        otherwise: RetryPolicy | None = None,
    ) -> None:
        self.retry_failed_jobs = _checked_rules(retry_failed_jobs)
        if not isinstance(longest_wait, timedelta) or longest_wait <= timedelta(0):
            raise TrifactaConfigurationError(f"longest_wait: {longest_wait!r} is not a positive timedelta")
        if otherwise is not None and not isinstance(otherwise, RetryPolicy):
            raise TrifactaConfigurationError(f"otherwise: {otherwise!r} is not a retry policy of Airflow")
        self.longest_wait = longest_wait
        self.otherwise = otherwise

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about one failure. Never raises: a fault in here or in ``otherwise`` leaves it to Airflow."""
        try:
            decision = self._decide(exception, context)
            if decision is None and self.otherwise is not None:
                decision = self.otherwise.evaluate(
                    exception=exception, try_number=try_number, max_tries=max_tries, context=context
                )
        except Exception as error:
            fault = line(f"{type(error).__name__}: {error}", _LONGEST_QUOTE)
            reason = f"{type(self).__name__} could not decide, so the retries of the task apply: {fault}"
            return RetryDecision(RetryAction.DEFAULT, reason=reason)
        return decision or RetryDecision.default()

    def _decide(self, error: BaseException, context: Context | None) -> RetryDecision | None:
        """Return the decision, None if there is no reason for one."""
        from airflow_provider_trifacta.exceptions import (
            TrifactaResultsNotSaved,
            TrifactaRunFailed,
            TrifactaRunStatusUnknown,
            TrifactaWaitFailed,
        )

        if isinstance(error, TrifactaSubmitOutcomeUnknown):
            return self._about_unknown_start(error, context)
        if isinstance(error, TrifactaTaskKilled):
            return _retry("The task was killed while it started; a retry starts its run")
        if isinstance(error, TrifactaRunFailed):
            return self._about_failed_run(error)
        if isinstance(error, TrifactaWaitFailed | TrifactaRunStatusUnknown) and _continues(context) is False:
            return _fail("The run may still be running, and with durable=False a retry would start another one")
        if isinstance(error, TrifactaWaitFailed | TrifactaResultsNotSaved):
            return self._about_call(error.__cause__)
        if isinstance(error, TrifactaApiError) and _may_have_started_something(error):
            return _fail(
                "It may have started something, and a retry would start it again, with another execution id: "
                f"{_quoted(error)}"
            )
        return self._about_call(error)

    def _about_unknown_start(
        self, error: TrifactaSubmitOutcomeUnknown, context: Context | None
    ) -> RetryDecision | None:
        unknown = f"It is not known whether {line(error.what, _LONGEST_QUOTE)} was started"
        if not _continues(context):
            return _fail(f"{unknown}. A retry has another execution id, so it could start a second run")
        return self._wait_of(error.__cause__) or _retry(
            f"{unknown}. A retry has the same execution id, and searches for it first"
        )

    def _about_failed_run(self, error: TrifactaRunFailed) -> RetryDecision | None:
        from airflow_provider_trifacta.exceptions import TrifactaRunCanceled

        if isinstance(error.__cause__, TrifactaTaskKilled):
            return _retry("Its run was canceled because the task was killed; a retry starts another one")
        if isinstance(error, TrifactaRunCanceled):
            return _fail(
                "Its run was canceled by a user, and a retry would start another one. Clear the task for that"
            )
        if self.retry_failed_jobs is True:
            return None
        if self.retry_failed_jobs is False:
            return _fail(f"retry_failed_jobs is False: {_quoted(error)}")
        jobs = _causes(error)
        others = [job for job in jobs if not any(rule.matches(job) for rule in self.retry_failed_jobs)]
        if others:
            return _fail(f"No rule of retry_failed_jobs matches this: {_quoted(others[0])}")
        if jobs:
            return _retry(f"A rule of retry_failed_jobs matches this: {_quoted(jobs[0])}")
        return None

    def _about_call(self, error: BaseException | None) -> RetryDecision | None:
        from airflow_provider_trifacta.api.error_answers import is_permanent_refusal

        if isinstance(error, TrifactaApiError) and is_permanent_refusal(error):
            return _fail(f"Another try would be refused again: {_quoted(error)}")
        return self._wait_of(error)

    def _wait_of(self, error: BaseException | None) -> RetryDecision | None:
        """Return the decision to wait as long as the server asks, None if it is not the server that asks."""
        if not isinstance(error, TrifactaApiError) or error.status not in _LATER:
            return None
        asked = error.retry_after
        if not isinstance(asked, int | float) or math.isnan(asked):
            return _retry(f"The server asks to try again later ({error.status}), but not when")
        longest = self.longest_wait.total_seconds()
        seconds = min(max(asked, 0.0), longest)
        instead = "" if seconds >= asked else f", less than the {asked:.0f} s that the server asks for"
        return _retry(
            f"Waiting {seconds:.0f} s{instead or ', as the server asks'} ({error.status})",
            delay=timedelta(seconds=seconds),
        )


def _fail(reason: str) -> RetryDecision:
    return RetryDecision.fail(line(sentence(reason), _LONGEST_REASON))


def _retry(reason: str, *, delay: timedelta | None = None) -> RetryDecision:
    return RetryDecision.retry(delay, line(sentence(reason), _LONGEST_REASON))


def _quoted(cause: object) -> str:
    """Return an error or a failed job in one line, without what a user could do about it."""
    return line(cause.without_hint() if isinstance(cause, TrifactaApiError) else str(cause), _LONGEST_QUOTE)


def _causes(error: TrifactaRunFailed) -> list[FailedJob]:
    """Return the jobs because of which a run failed: when one fails, those after it are canceled."""
    from airflow_provider_trifacta.api.statuses import is_canceled

    return [job for job in error.failed_jobs if not is_canceled(job.status)] or list(error.failed_jobs)


def _continues(context: Context | None) -> bool | None:
    """Return whether the next try of a task continues with the run of this one; None if it starts no runs."""
    from airflow_provider_trifacta.operators.run import RunOperator

    task = None if context is None else context.get("task")
    return task.durable if isinstance(task, RunOperator) else None


def _may_have_started_something(error: TrifactaApiError) -> bool:
    from airflow_provider_trifacta.api.rate_limits import route_of
    from airflow_provider_trifacta.api.retries import may_have_been_carried_out

    return route_of(error.method, error.path) in _STARTS and may_have_been_carried_out(error)


def _checked_rules(rules: object) -> bool | tuple[FailedJobRule, ...]:
    if isinstance(rules, bool):
        return rules
    given = tuple(rules) if isinstance(rules, Iterable) and not isinstance(rules, str) else ()
    if not given or not all(isinstance(rule, FailedJobRule) for rule in given):
        raise TrifactaConfigurationError(
            f"retry_failed_jobs: {rules!r} is neither True, False, nor a list of FailedJobRule"
        )
    return given


def _checked_types(types: object) -> frozenset[str]:
    names = [types] if isinstance(types, str) else types
    if not isinstance(names, Collection) or not names or not all(isinstance(name, str) and name for name in names):
        raise TrifactaConfigurationError(
            f"FailedJobRule type: {types!r} is neither a job type such as 'publish' nor several of them"
        )
    return frozenset(name.casefold() for name in names)


def _checked_pattern(message: object) -> re.Pattern[str]:
    if isinstance(message, re.Pattern) and isinstance(message.pattern, str):
        return message
    problem = "expected a string"
    if isinstance(message, str):
        try:
            return re.compile(message)
        except (re.error, OverflowError, RecursionError) as error:
            problem = str(error)
    raise TrifactaConfigurationError(f"FailedJobRule message: {message!r} is not a regular expression: {problem}")
