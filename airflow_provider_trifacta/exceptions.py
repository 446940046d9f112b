"""Errors that a DAG author may catch.

API errors are shown as a tree in :mod:`airflow_provider_trifacta.api.errors`. Errors of runs::

    TrifactaError
    ├── TrifactaRunError                     a run did not end well (also an AirflowException)
    │   ├── TrifactaRunFailed                Failed, or not everything in it is Complete
    │   │   └── TrifactaRunCanceled          Canceled
    │   ├── TrifactaRunTimeout               the deadline of the task passed; the run was canceled
    │   ├── TrifactaRunStatusUnknown         its status stayed an unknown value
    │   ├── TrifactaRunEmpty                 there was nothing to run; not retried
    │   └── TrifactaAwaitedRunFailed         raised by sensors; not retried, since the end of a run is final
    ├── TrifactaWaitFailed                   its status could not be read for the retry budget
    ├── TrifactaResultsNotSaved              it is Complete, but a requested result could not be saved
    │   └── TrifactaProfileMissing           it ran without profiling; not retried
    ├── TrifactaRotationError                no token was rotated, or leftovers not revoked; the stored one works
    ├── TrifactaRefreshError                 an OAuth 2.0 token pair was not refreshed; the next run tries again
    │   ├── TrifactaRefreshRefused           the token endpoint refuses the connection's settings; not retried
    │   └── TrifactaOAuthPairLost            its refresh token no longer works: generate a new pair; not retried
    ├── TrifactaTokenUnreadable              the token could not be read where it is kept (a TrifactaApiError)
    │   └── TrifactaTokenNotRefreshed        the access token of an OAuth connection was not replaced in time
    ├── TrifactaFlowCopyUnknown              a flow may or may not have been copied; not retried
    ├── TrifactaSubmitOutcomeUnknown         it may or may not have been started; nothing else was
    ├── TrifactaTaskKilled                   the task was killed during the start; it was canceled, or not started
    └── TrifactaSubmitRefused                the server will never start it; not retried (also a TrifactaApiError)

Job groups have their own subclasses of these: ``TrifactaJobGroupFailed``, ``TrifactaJobGroupCanceled``,
``TrifactaJobGroupTimeout``, ``TrifactaJobGroupStatusUnknown`` and ``TrifactaAwaitedJobGroupFailed``; their base is
``TrifactaJobGroupError``.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_trifacta.airflow_support.compat import AirflowException, AirflowFailException
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaBadRequest,
    TrifactaConfigurationError,
    TrifactaDuplicateExecution,
    TrifactaError,
    TrifactaFeatureDisabled,
    TrifactaForbidden,
    TrifactaGone,
    TrifactaNotFound,
    TrifactaRateLimited,
    TrifactaRunRefused,
    TrifactaServerError,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTaskKilled,
    TrifactaTransportError,
    TrifactaUnauthorized,
    TrifactaUnsupportedMediaType,
)
from airflow_provider_trifacta.api.runs.kind import FailedJob, RefusalHints
from airflow_provider_trifacta.api.text import line

__all__ = [
    "TrifactaAnswerNotUnderstood",
    "TrifactaApiError",
    "TrifactaAwaitedJobGroupFailed",
    "TrifactaAwaitedRunFailed",
    "TrifactaBadRequest",
    "TrifactaConfigurationError",
    "TrifactaDuplicateExecution",
    "TrifactaError",
    "TrifactaFeatureDisabled",
    "TrifactaFlowCopyUnknown",
    "TrifactaForbidden",
    "TrifactaGone",
    "TrifactaJobGroupCanceled",
    "TrifactaJobGroupError",
    "TrifactaJobGroupFailed",
    "TrifactaJobGroupStatusUnknown",
    "TrifactaJobGroupTimeout",
    "TrifactaNotFound",
    "TrifactaOAuthPairLost",
    "TrifactaProfileMissing",
    "TrifactaRateLimited",
    "TrifactaRefreshError",
    "TrifactaRefreshRefused",
    "TrifactaResultsNotSaved",
    "TrifactaRotationError",
    "TrifactaRunCanceled",
    "TrifactaRunEmpty",
    "TrifactaRunError",
    "TrifactaRunFailed",
    "TrifactaRunRefused",
    "TrifactaRunStatusUnknown",
    "TrifactaRunTimeout",
    "TrifactaServerError",
    "TrifactaSubmitOutcomeUnknown",
    "TrifactaSubmitRefused",
    "TrifactaTaskKilled",
    "TrifactaTokenNotRefreshed",
    "TrifactaTokenUnreadable",
    "TrifactaTransportError",
    "TrifactaUnauthorized",
    "TrifactaUnsupportedMediaType",
    "TrifactaWaitFailed",
]


class TrifactaRunError(TrifactaError, AirflowException):
    """A run did not end well.

    :param run_id: the run.
    :param status: its last status value, None when it was not read.
    :param link: its page in the application.
    :param failed_jobs: the jobs in it that failed, as far as the API reports them.
    """

    def __init__(
        self,
        message: str,
        *,
        run_id: int | str | None = None,
        status: str | None = None,
        link: str | None = None,
        failed_jobs: Sequence[FailedJob] = (),
    ) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.status = status
        self.link = link
        self.failed_jobs = tuple(failed_jobs)


class TrifactaRunFailed(TrifactaRunError):
    """A run ended as ``Failed``, or not everything in it is ``Complete``."""


class TrifactaRunCanceled(TrifactaRunFailed):
    """A run was canceled."""


class TrifactaRunTimeout(TrifactaRunError):
    """The deadline of the task passed before the run ended; it was canceled."""


class TrifactaRunStatusUnknown(TrifactaRunError):
    """The status of a run stayed an unknown value."""


class TrifactaRunEmpty(TrifactaRunError, AirflowFailException):
    """A run had nothing to do. The task is not retried, since another run would have nothing to do either."""


class TrifactaAwaitedRunFailed(TrifactaRunError, AirflowFailException):
    """A run that a sensor waits for did not end well. Polling it again would not change that."""


class TrifactaJobGroupError(TrifactaRunError):
    """A job group did not end well."""

    @property
    def job_group_id(self) -> int | str | None:
        """The job group."""
        return self.run_id


class TrifactaJobGroupFailed(TrifactaJobGroupError, TrifactaRunFailed):
    """A job group ended as ``Failed``."""


class TrifactaJobGroupCanceled(TrifactaJobGroupFailed, TrifactaRunCanceled):
    """A job group was canceled."""


class TrifactaJobGroupTimeout(TrifactaJobGroupError, TrifactaRunTimeout):
    """The deadline of the task passed before the job group ended."""


class TrifactaJobGroupStatusUnknown(TrifactaJobGroupError, TrifactaRunStatusUnknown):
    """The status of a job group stayed an unknown value."""


class TrifactaAwaitedJobGroupFailed(TrifactaJobGroupError, TrifactaAwaitedRunFailed):
    """A job group that a sensor waits for did not end well. Polling it again would not change that."""


class TrifactaWaitFailed(TrifactaError):
    """The status of a job group could not be read for the whole retry budget. It may still be running."""


class TrifactaResultsNotSaved(TrifactaError):
    """A job group is ``Complete``, but a requested result could not be saved."""


class TrifactaProfileMissing(TrifactaResultsNotSaved, AirflowFailException):
    """A profile was required, and the job group ran without profiling. No retry would change that."""


class TrifactaFlowCopyUnknown(TrifactaError, AirflowFailException):
    """A flow may or may not have been copied. The task is not retried, since that could copy it twice.

    :param candidates: flows that could be the copy.
    """

    def __init__(self, message: str, *, candidates: Sequence[int | str] = ()) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


class TrifactaRotationError(TrifactaError):
    """A token was not rotated, or leftover tokens could not be revoked. The stored token works."""


class TrifactaRefreshError(TrifactaError):
    """The OAuth 2.0 token pair of a connection was not refreshed. A later refresh may succeed."""


class TrifactaRefreshRefused(TrifactaRefreshError, AirflowFailException):
    """The token endpoint refuses what the connection specifies. The task is not retried: it would again."""


class TrifactaOAuthPairLost(TrifactaRefreshError, AirflowFailException):
    """The refresh token of a connection no longer works. A user has to generate a new pair."""


#: How many characters of the cause are quoted when a token could not be read.
_LONGEST_CAUSE = 300


class TrifactaTokenUnreadable(TrifactaApiError):
    """The API access token could not be read from where it is kept, for the whole retry budget.

    It is an API error, so code that tolerates failed calls tolerates it too. Method and path are empty, since no
    call could be made. It is not a ``TrifactaConfigurationError``: nothing is known to be wrong with the
    connection, and a retry of the task may well succeed.
    """

    hint = (
        "No other token was used instead, since it may have been revoked long ago. Check Airflow's API server, "
        "its database, and the secrets backend if there is one; a retry of the task reads the token again."
    )

    @classmethod
    def because_of(cls, conn_id: str, where: str, cause: Exception) -> TrifactaTokenUnreadable:
        """Return the error for a token that could not be read.

        :param where: where it is kept.
        """
        reason = line(f"{type(cause).__name__}: {cause}", _LONGEST_CAUSE)
        message = f"Airflow connection {conn_id!r}: the token could not be read from {where} ({reason})"
        return cls(method="", path="", message=message)

    @classmethod
    def missing(cls, conn_id: str, name: str) -> TrifactaTokenUnreadable:
        """Return the error for an OAuth connection whose Variable Airflow does not find.

        :param name: the Variable.
        """
        error = cls(
            method="",
            path="",
            message=f"Airflow connection {conn_id!r}: Variable {name!r} does not exist, or could not be read",
        )
        error.hint = (
            "Check the extra token_variable. If the Variable does not exist, create it. Paste the refresh token "
            "from the page 'OAuth 2.0 API Tokens' of the application into it."
        )
        return error

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}"


class TrifactaTokenNotRefreshed(TrifactaTokenUnreadable):
    """The access token of an OAuth connection is missing or was refused, and was not replaced in time."""

    hint = (
        "Check that the DAG with TrifactaRefreshOAuthTokenOperator is not paused and succeeds. The log of its "
        "last run says what is wrong."
    )


_NOT_RETRIED = "Nothing was started, and the task is not retried: it would be refused again."


class TrifactaSubmitRefused(TrifactaApiError, AirflowFailException):
    """The server refused the request (400, 403, 404, 410, 415): nothing was started."""

    @classmethod
    def because_of(cls, error: TrifactaApiError, hints: RefusalHints) -> TrifactaSubmitRefused:
        """Return the refusal for an API error.

        :param hints: what a user can do about it.
        """
        refusal = cls(
            method=error.method,
            path=error.path,
            status=error.status,
            name=error.name,
            message=error.message,
            details=error.details,
            request_id=error.request_id,
        )
        advice = hints.invalid
        if isinstance(error, (TrifactaNotFound, TrifactaGone)):
            advice = hints.missing
        elif isinstance(error, TrifactaForbidden):
            advice = error.hint
        refusal.hint = f"{advice} {_NOT_RETRIED}"
        return refusal
