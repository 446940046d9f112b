"""Errors that a DAG author may catch.

Those of the API are drawn as a tree in :mod:`airflow_provider_trifacta.api.errors`. Those of job groups::

    TrifactaError
    ├── TrifactaJobGroupError                a job group did not end well (also an AirflowException)
    │   ├── TrifactaJobGroupFailed           Failed
    │   │   └── TrifactaJobGroupCanceled     Canceled
    │   ├── TrifactaJobGroupTimeout          the deadline of the task passed; the job group was canceled
    │   ├── TrifactaJobGroupStatusUnknown    its status stayed a word that nobody knows
    │   └── TrifactaAwaitedJobGroupFailed    a sensor's: not retried, since the end of a job group is final
    ├── TrifactaWaitFailed                   its status could not be read for the retry budget
    ├── TrifactaResultsNotSaved              it is Complete, but a result asked for could not be saved
    │   └── TrifactaProfileMissing           it ran without profiling; not retried
    ├── TrifactaRotationError                no token was rotated, or left-overs not revoked; the stored one works
    ├── TrifactaTokenUnreadable              the token could not be read where it is kept (a TrifactaApiError)
    ├── TrifactaSubmitOutcomeUnknown         it may or may not have been started; nothing more was
    └── TrifactaSubmitRefused                the server will never start it; not retried (also a TrifactaApiError)
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
    TrifactaServerError,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTransportError,
    TrifactaUnauthorized,
    TrifactaUnsupportedMediaType,
)
from airflow_provider_trifacta.api.reports import FailedJob
from airflow_provider_trifacta.api.text import line

__all__ = [
    "TrifactaAnswerNotUnderstood",
    "TrifactaApiError",
    "TrifactaAwaitedJobGroupFailed",
    "TrifactaBadRequest",
    "TrifactaConfigurationError",
    "TrifactaDuplicateExecution",
    "TrifactaError",
    "TrifactaFeatureDisabled",
    "TrifactaForbidden",
    "TrifactaGone",
    "TrifactaJobGroupCanceled",
    "TrifactaJobGroupError",
    "TrifactaJobGroupFailed",
    "TrifactaJobGroupStatusUnknown",
    "TrifactaJobGroupTimeout",
    "TrifactaNotFound",
    "TrifactaProfileMissing",
    "TrifactaRateLimited",
    "TrifactaResultsNotSaved",
    "TrifactaRotationError",
    "TrifactaServerError",
    "TrifactaSubmitOutcomeUnknown",
    "TrifactaSubmitRefused",
    "TrifactaTokenUnreadable",
    "TrifactaTransportError",
    "TrifactaUnauthorized",
    "TrifactaUnsupportedMediaType",
    "TrifactaWaitFailed",
]


class TrifactaJobGroupError(TrifactaError, AirflowException):
    """A job group did not end well.

    :param job_group_id: the job group.
    :param status: its last status word, None when it was not read.
    :param link: its page in the application.
    :param failed_jobs: the jobs in it that failed, as far as the API tells.
    """

    def __init__(
        self,
        message: str,
        *,
        job_group_id: int | str | None = None,
        status: str | None = None,
        link: str | None = None,
        failed_jobs: Sequence[FailedJob] = (),
    ) -> None:
        super().__init__(message)
        self.job_group_id = job_group_id
        self.status = status
        self.link = link
        self.failed_jobs = tuple(failed_jobs)


class TrifactaJobGroupFailed(TrifactaJobGroupError):
    """A job group ended as ``Failed``."""


class TrifactaJobGroupCanceled(TrifactaJobGroupFailed):
    """A job group was stopped by somebody."""


class TrifactaJobGroupTimeout(TrifactaJobGroupError):
    """The deadline of the task passed before the job group ended."""


class TrifactaJobGroupStatusUnknown(TrifactaJobGroupError):
    """The status of a job group stayed a word that nobody knows."""


class TrifactaAwaitedJobGroupFailed(TrifactaJobGroupError, AirflowFailException):
    """A job group that a sensor waits for did not end well. Looking again would not change that."""


class TrifactaWaitFailed(TrifactaError):
    """The status of a job group could not be read for the whole retry budget. It may still be running."""


class TrifactaResultsNotSaved(TrifactaError):
    """A job group is ``Complete``, but a result that was asked for could not be saved."""


class TrifactaProfileMissing(TrifactaResultsNotSaved, AirflowFailException):
    """A profile was required, and the job group ran without profiling. No retry would change that."""


class TrifactaRotationError(TrifactaError):
    """A token was not rotated, or what is left of earlier ones could not be revoked. The stored token works."""


#: Characters of what went wrong in reading a token that are quoted.
_LONGEST_CAUSE = 300


class TrifactaTokenUnreadable(TrifactaApiError):
    """The API access token could not be read from where it is kept, for the whole retry budget.

    Whoever outlives calls that fail outlives this, so it is an error of the API: one without method and path,
    since no call could be made. Nothing is known to be wrong with the connection, so it is no
    ``TrifactaConfigurationError``, and a retry of the task may well succeed.
    """

    hint = (
        "Nothing else was used in its place, since that may have been revoked long ago. Check Airflow's API "
        "server, its database, and the secrets backend if there is one; a retry of the task reads it again."
    )

    @classmethod
    def because_of(cls, conn_id: str, where: str, cause: Exception) -> TrifactaTokenUnreadable:
        """Return the error for a token that could not be read.

        :param where: the place it is kept in.
        """
        reason = line(f"{type(cause).__name__}: {cause}", _LONGEST_CAUSE)
        message = f"Airflow connection {conn_id!r}: the API access token could not be read from {where} ({reason})"
        return cls(method="", path="", message=message)

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}"


_CHECK_THE_RECIPE = (
    "Check wrangled_dataset_id: it is the number after recipe= in the URL of the flow, in the workspace of the "
    "token."
)
_CHECK_THE_ARGUMENTS = "Check the arguments of the task, and that the recipe has an output."
_NOT_RETRIED = "Nothing was started, and the task is not retried: it would be refused again."


class TrifactaSubmitRefused(TrifactaApiError, AirflowFailException):
    """The server refuses the request as it is (400, 404, 410, 415): nothing was started, and never will be."""

    @classmethod
    def because_of(cls, error: TrifactaApiError) -> TrifactaSubmitRefused:
        """Return the refusal that an error of the API is."""
        refusal = cls(
            method=error.method,
            path=error.path,
            status=error.status,
            name=error.name,
            message=error.message,
            details=error.details,
            request_id=error.request_id,
        )
        missing = isinstance(error, (TrifactaNotFound, TrifactaGone))
        refusal.hint = f"{_CHECK_THE_RECIPE if missing else _CHECK_THE_ARGUMENTS} {_NOT_RETRIED}"
        return refusal
