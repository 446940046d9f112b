"""The errors for answers that are not a success, and for calls without an answer."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from airflow_provider_trifacta.api.bodies import BodyError
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaBadRequest,
    TrifactaDuplicateExecution,
    TrifactaFeatureDisabled,
    TrifactaForbidden,
    TrifactaGone,
    TrifactaNotFound,
    TrifactaRateLimited,
    TrifactaRunRefused,
    TrifactaServerError,
    TrifactaTransportError,
    TrifactaUnauthorized,
    TrifactaUnsupportedMediaType,
)
from airflow_provider_trifacta.api.messages import Answer, Request
from airflow_provider_trifacta.api.rate_limits import server_wait
from airflow_provider_trifacta.api.redaction import Redactor, redact_opaque, redact_userinfo
from airflow_provider_trifacta.api.text import MAX_LINE, line

_BY_STATUS: dict[int, type[TrifactaApiError]] = {
    304: TrifactaDuplicateExecution,
    400: TrifactaBadRequest,
    401: TrifactaUnauthorized,
    403: TrifactaForbidden,
    404: TrifactaNotFound,
    410: TrifactaGone,
    415: TrifactaUnsupportedMediaType,
    429: TrifactaRateLimited,
}
_REDIRECTS = (301, 302, 303, 307, 308)
#: Characters allowed in a URL, including percent signs: all others are encoded before a redirect is followed.
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%~"


def error_class(status: int, *, name: str | None, path: str) -> type[TrifactaApiError]:
    """Return the error class for an answer that is not a success."""
    # The routes of access tokens are documented. If they "do not exist", an administrator has not enabled them
    # (api/README.md, section 1).
    if status == 404 and name == "RouteNotFoundException" and path.startswith("/v4/apiAccessTokens"):
        return TrifactaFeatureDisabled
    if status >= 500:
        return TrifactaServerError
    return _BY_STATUS.get(status, TrifactaApiError)


def is_permanent_refusal(error: TrifactaApiError) -> bool:
    """Return whether the same request would always be refused."""
    refused = isinstance(
        error,
        (
            TrifactaBadRequest,
            TrifactaForbidden,
            TrifactaNotFound,
            TrifactaGone,
            TrifactaUnsupportedMediaType,
            TrifactaRunRefused,
        ),
    )
    return refused and not says_no_such_route(error)


def says_no_such_route(error: TrifactaApiError) -> bool:
    """Return whether the route is missing or the answer is not from the API: it says nothing about an object."""
    return error.status in (404, 405) and error.name in (None, "RouteNotFoundException")


def says_gone(error: TrifactaApiError) -> bool:
    """Return whether an answer reports that the requested object does not exist (any more).

    A 404 or 410 from a proxy, or for a missing route, says nothing about the object. A missing object may also be
    reported as 400 (api/README.md, section 7).
    """
    if error.name is None or says_no_such_route(error):
        return False
    gone = isinstance(error, (TrifactaGone, TrifactaNotFound))
    return gone or (error.status == 400 and "NotFound" in error.name)


def says_not_profiled(error: BaseException | None) -> bool:
    """Return whether an answer reports that a job group has no profile because it ran without profiling.

    This is a 400 with this name (observed), not a 404 (api/README.md, section 7).
    """
    return isinstance(error, TrifactaBadRequest) and "ProfilingDataNotFound" in (error.name or "")


def raise_for_status(answer: Answer, *, now: float) -> None:
    """Raise the typed error unless the answer is a success.

    :param now: seconds since the epoch, for the dates in headers.
    """
    if 200 <= answer.status < 300:
        return
    name, message, details = _envelope(answer)
    error = error_class(answer.status, name=name, path=answer.request.path)(
        method=answer.request.method,
        path=answer.redactor.redact(answer.request.path),
        status=answer.status,
        name=name,
        message=message or _without_envelope(answer),
        details=details,
        request_id=answer.request_id,
        retry_after=server_wait(answer.headers, now),
    )
    if says_no_such_route(error) and not isinstance(error, TrifactaFeatureDisabled):
        error.hint = TrifactaAnswerNotUnderstood.hint
    raise error


def redirect_of(answer: Answer, url: str) -> str | None:
    """Return the URL to read instead, None when the answer is not a redirect.

    Only a GET is redirected, and only within the same origin: a redirect never sends the token to another host,
    and never turns a POST into a GET.

    :param url: the requested URL.
    :raises TrifactaAnswerNotUnderstood: the redirect leads elsewhere, or its target is not a URL.
    """
    if answer.status not in _REDIRECTS:
        return None
    location = answer.headers.get("location", "").strip()
    try:
        target = quote(urljoin(url, location), safe=_URL_CHARACTERS)
        # A user name and password in the target would be sent in place of the token.
        same_origin = _origin(target) == _origin(url) and "@" not in urlsplit(target).netloc
    except ValueError:
        target, same_origin = "", False
    if answer.request.method == "GET" and same_origin and target != url:
        return target
    where = answer.line(redact_userinfo(location.partition("?")[0]), 200)
    raise answer.unusable(
        f"the server redirects to {where or 'itself'}, which is not followed. "
        "If that is the right server, put it in the host of the Airflow connection"
    )


def no_answer(
    request: Request,
    failure: TransportFailure,
    reason: str,
    *,
    sent: bool,
    redactor: Redactor,
    status: int | None = None,
) -> TrifactaTransportError:
    """Return the error for a call without an answer.

    :param reason: the HTTP library's message.
    :param status: the answer's status, if it began to arrive but did not arrive completely.
    """
    return TrifactaTransportError(
        method=request.method,
        path=redactor.redact(request.path),
        failure=failure,
        reason=line(redactor.redact(reason), 500),
        sent=sent,
        status=status,
    )


def without_body(answer: Answer, problem: BodyError | TrifactaTransportError) -> Answer:
    """Return an answer whose body cannot be used: its status is enough, unless it is a success.

    :raises TrifactaApiError: the status is a success.
    """
    if answer.status >= 300:
        return answer
    raise answer.unusable(str(problem)) if isinstance(problem, BodyError) else problem


def _envelope(answer: Answer) -> tuple[str | None, str | None, Any]:
    """Return name, message and details of an error answer, as far as it has them."""
    try:
        value = answer.json()
    except TrifactaAnswerNotUnderstood:
        return None, None, None
    if not isinstance(value, dict):
        return None, None, None
    exception = value.get("exception")
    if isinstance(exception, dict):
        name, message, details = exception.get("name"), exception.get("message"), exception.get("details")
    else:
        # The "/svc-*" services and the token endpoint use another format (api/README.md, section 1).
        name, message = (
            value.get("kind") or value.get("error"),
            value.get("message") or value.get("error_description"),
        )
        details = value.get("errors")
    return _line(answer, name, 200), _line(answer, message), _details(answer, details)


def _line(answer: Answer, value: Any, limit: int = MAX_LINE) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return answer.line(redact_opaque(text) if answer.request.confidential else text, limit)


def _details(answer: Answer, value: Any) -> Any:
    """Return the details unchanged, or the beginning of their text when they are long."""
    if isinstance(value, str) or answer.request.confidential:
        return _line(answer, value)
    value = answer.redactor.redact_value(value)
    text = json.dumps(value)
    return value if len(text) <= MAX_LINE else answer.line(text)


def _without_envelope(answer: Answer) -> str:
    if answer.status == 304 and "x-execution-id" in (answer.request.headers or {}):
        return "this x-execution-id already started something"
    return answer.excerpt() or "no body"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
