"""Errors of the REST API.

::

    TrifactaError
    ├── TrifactaConfigurationError      the connection or an argument cannot be used (also a ValueError)
    ├── TrifactaSubmitOutcomeUnknown    a run may or may not have been started
    ├── TrifactaTaskKilled              the task was killed during a start, which was abandoned
    └── TrifactaApiError                a call failed; carries method, path, status, request id, ...
        ├── TrifactaBadRequest          400
        ├── TrifactaUnauthorized        401
        ├── TrifactaForbidden           403
        ├── TrifactaNotFound            404
        │   └── TrifactaFeatureDisabled 404, the feature behind the route is disabled
        ├── TrifactaGone                410
        ├── TrifactaUnsupportedMediaType 415
        ├── TrifactaRateLimited         429
        ├── TrifactaServerError         5xx
        ├── TrifactaDuplicateExecution  304, the x-execution-id already started something
        ├── TrifactaAnswerNotUnderstood HTML from a proxy, truncated JSON, a redirect to another server
        └── TrifactaTransportError      no answer at all
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.text import sentences_of


class TrifactaError(Exception):
    """Base class of all errors that this package raises on purpose."""

    #: Whether it has already been logged.
    logged = False

    def log_once(self, log: Log, sentences: Sequence[str] | None = None) -> None:
        """Log the error in lines that fit on a screen, unless it has already been logged.

        :param sentences: the lines; None splits the error's text into sentences.
        """
        if not self.logged:
            self.logged = True
            for said in sentences or sentences_of(str(self)):
                log.error("%s", said)


class TrifactaConfigurationError(TrifactaError, ValueError):
    """A connection field or an argument cannot be used; nothing was sent."""


class TrifactaTaskKilled(TrifactaError):
    """The task was killed before it had a run to wait for: nothing else was started.

    Retriable: a machine that shuts down also kills its tasks, and their retries then start the run. If the task
    already waited for its run, this is the cause (``__cause__``) of the ``TrifactaRunFailed`` that it fails with.
    """


class TrifactaSubmitOutcomeUnknown(TrifactaError):
    """A run may or may not have been started; nothing else was.

    The next try of the task searches again, with the same execution id.

    :param what: what was to be run, e.g. ``recipe 4711``.
    :param execution_id: the ``x-execution-id`` it was submitted with.
    :param since: the earliest time at which it was submitted.
    :param reason: what happened.
    :param candidates: ids of the runs that may be it.
    """

    def __init__(
        self,
        *,
        what: str,
        execution_id: str,
        since: datetime,
        reason: str,
        candidates: Sequence[int | str] = (),
    ) -> None:
        super().__init__(what, execution_id, since, reason, candidates)
        self.what = what
        self.execution_id = execution_id
        self.since = since
        self.reason = reason
        self.candidates = tuple(candidates)

    def __str__(self) -> str:
        candidates = ", ".join(str(identity) for identity in self.candidates)
        return (
            f"It is not known whether a run of {self.what} was started: {self.reason.rstrip('.')}. "
            "Nothing else was started. "
            + (f"It may be one of: {candidates}. " if candidates else "")
            + f"Check the job history of {self.what} since {self.since:%Y-%m-%d %H:%M:%S} UTC "
            f"(execution id {self.execution_id}). A retry of the task searches again and starts nothing twice; "
            "to start a new one regardless, clear the task"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


class TrifactaApiError(TrifactaError):
    """A call to the API failed.

    :param method: HTTP method.
    :param path: path below the base URL, e.g. ``/v4/jobGroups``.
    :param status: HTTP status, None when there was no answer.
    :param name: the API's name for the error, e.g. ``ValidationFailed``.
    :param message: the API's own message, or ours if it gives none.
    :param details: the API's details; a string in every sample, but any JSON value is possible.
    :param request_id: ``x-trifacta-request-id`` of the answer; support asks for it.
    :param retry_after: seconds the server asks to wait, None when it does not specify any.
    """

    #: What a user can do about it; appended to the message.
    hint = ""

    def __init__(
        self,
        *,
        method: str,
        path: str,
        status: int | None = None,
        name: str | None = None,
        message: str | None = None,
        details: Any = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.method = method
        self.path = path
        self.status = status
        self.name = name
        self.message = message
        self.details = details
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self._said(self.hint)

    def without_hint(self) -> str:
        """Return the message without the hint."""
        return self._said("")

    def _said(self, hint: str) -> str:
        parts = [f"{self.method} {self.path}"]
        if self.status is not None:
            parts.append(f"{self.status} {self.name or ''}".rstrip())
        if self.message:
            parts.append(self.message)
        text = ": ".join(parts)
        if self.details not in (None, "", self.message):
            details = self.details if isinstance(self.details, str) else json.dumps(self.details)
            text += f" ({details})"
        if hint:
            text += f" {hint}" if text.endswith((".", "!", "?")) else f". {hint}"
        if self.request_id:
            text += f" [request id {self.request_id}]"
        return text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments: without this, an error could not cross a process boundary.
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(cls: type[TrifactaError], attributes: Mapping[str, Any]) -> TrifactaError:
    error = cls.__new__(cls)
    error.__dict__.update(attributes)
    return error


class TrifactaBadRequest(TrifactaApiError):
    """400: malformed, invalid values, or an object that does not exist."""


class TrifactaUnauthorized(TrifactaApiError):
    """401: the token is missing, expired, revoked or unknown to this server."""

    hint = (
        "The token was not accepted: check the password of the Airflow connection "
        "(an API access token of this server, not expired, not revoked)."
    )

    def explain(self, token: str, kept_in: str | None, *, oauth: bool = False) -> None:
        """Add what is known about the refused token to the hint. The token itself is not quoted.

        :param kept_in: where a user finds it; None means the password of the connection.
        :param oauth: whether it is the access token of an OAuth 2.0 pair.
        """
        if oauth:
            self.hint = (
                f"The access token in {kept_in} was not accepted. Check that the DAG with "
                "TrifactaRefreshOAuthTokenOperator succeeds, and that the pair was generated for this server and "
                "workspace and is enabled on the page 'OAuth 2.0 API Tokens'."
            )
            return
        if kept_in is not None:
            self.hint = self.hint.replace("the password of the Airflow connection", kept_in)
        if _is_jwt(token):
            self.hint += (
                " It is a JWT, such as Alteryx One issues: for that edition, set oauth_client_id and "
                "oauth_token_url in the extra of the connection, and keep the OAuth 2.0 token pair in a Variable."
            )


def _is_jwt(token: str) -> bool:
    parts = token.split(".")
    if len(parts) != 3 or not all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for part in parts):
        return False
    try:
        header = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


class TrifactaForbidden(TrifactaApiError):
    """403: the token's user is not allowed to do this."""

    hint = (
        "The user of the token may not do this: check the user's permissions, that the token belongs to the "
        "right workspace, and that the edition includes this part of the API."
    )


class TrifactaNotFound(TrifactaApiError):
    """404: no such object or no such route."""

    hint = "Check the id, and that the token belongs to the same workspace."


class TrifactaFeatureDisabled(TrifactaNotFound):
    """404 on a documented route: the feature behind it is disabled in this installation."""

    hint = "API access tokens are disabled in this installation: an administrator has to enable them."


class TrifactaGone(TrifactaApiError):
    """410: the object has been deleted."""

    hint = "It was deleted in the application."


class TrifactaUnsupportedMediaType(TrifactaApiError):
    """415: wrong ``Accept`` or ``Content-Type``."""


class TrifactaRateLimited(TrifactaApiError):
    """429: a quota was reached and the retry budget is used up."""

    hint = "The quota is per user and per workspace; spread the calls out, or raise the retry budget."


class TrifactaServerError(TrifactaApiError):
    """5xx: a server error."""

    hint = (
        "The server, or a gateway in front of it, failed: try again later. If that does not help, give support "
        "the request id."
    )


class TrifactaRunRefused(TrifactaApiError):
    """A start that was answered with a success but does not run: the plan is not valid.

    :param run_id: the run that the answer names nevertheless, None when it names none.
    :param explain: returns a procedure that finds the reason, as a sentence; None if there is no way to find out.
    """

    def __init__(
        self, *, run_id: int | str | None = None, explain: Callable[[], Any] | None = None, **parts: Any
    ) -> None:
        super().__init__(**parts)
        self.run_id = run_id
        self.explain = explain


class TrifactaDuplicateExecution(TrifactaApiError):
    """304: this ``x-execution-id`` already started something; the answer does not name it."""


class TrifactaAnswerNotUnderstood(TrifactaApiError):
    """The answer is not what the API documents: HTML from a proxy, truncated JSON, a redirect elsewhere."""

    hint = (
        "The API does not answer like this: check the base URL of the Airflow connection (without /v4 at the end) "
        "and anything in between, such as a proxy or a login page."
    )


class TransportFailure(Enum):
    """Why there was no answer; the values are shown to users."""

    NO_SUCH_HOST = "the host name cannot be resolved"
    NOT_CONNECTED = "no connection"
    CONNECT_TIMEOUT = "no connection within the connect timeout"
    TLS = "TLS failed"
    PLAIN_HTTP = "the server does not speak https on this port"
    PROXY = "the proxy could not be reached, or refused the connection"
    READ_TIMEOUT = "not complete within the read timeout"
    LOST = "connection failed or was lost"


_CHECK_THE_WAY = (
    "Check the base URL of the Airflow connection, and that this machine can reach it; if that takes a proxy, set "
    "proxy in the extra."
)
_TRANSPORT_HINTS = {
    TransportFailure.NO_SUCH_HOST: _CHECK_THE_WAY,
    TransportFailure.NOT_CONNECTED: _CHECK_THE_WAY,
    TransportFailure.CONNECT_TIMEOUT: _CHECK_THE_WAY,
    TransportFailure.TLS: (
        "Check that the server speaks https at the base URL of the Airflow connection; if its certificate is "
        "signed by your own certificate authority, set ca_bundle in the extra."
    ),
    TransportFailure.PLAIN_HTTP: (
        "If it speaks plain http, write http:// in front of the host in the Airflow connection (without a scheme, "
        "https is assumed); otherwise check the port."
    ),
    TransportFailure.PROXY: "Check proxy in the extra of the Airflow connection, or the proxy in the environment.",
    TransportFailure.READ_TIMEOUT: (
        "The server is slow or stuck. To wait longer, raise read_timeout in the extra of the Airflow connection."
    ),
    TransportFailure.LOST: "The server, or something in between, closed the connection: try again later.",
}


class TrifactaTransportError(TrifactaApiError):
    """There was no answer.

    :param failure: the cause.
    :param reason: the HTTP library's message.
    :param sent: False when the request provably never reached the server (host not found, connection
        refused, no TLS handshake); True when it may have.
    :param status: the answer's status, if it began to arrive but did not arrive completely.
    """

    def __init__(
        self,
        *,
        method: str,
        path: str,
        failure: TransportFailure,
        reason: str,
        sent: bool,
        status: int | None = None,
    ) -> None:
        message = f"no {'' if status is None else 'complete '}answer: {failure.value} ({reason})"
        super().__init__(method=method, path=path, status=status, message=message)
        self.failure = failure
        self.reason = reason
        self.hint = _TRANSPORT_HINTS[failure]
        self.sent = sent
