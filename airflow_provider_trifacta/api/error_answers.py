"""What answers that are not a success mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaBadRequest,
    TrifactaDuplicateExecution,
    TrifactaFeatureDisabled,
    TrifactaForbidden,
    TrifactaGone,
    TrifactaNotFound,
    TrifactaRateLimited,
    TrifactaServerError,
    TrifactaUnauthorized,
    TrifactaUnsupportedMediaType,
)
from airflow_provider_trifacta.api.messages import Answer, excerpt
from airflow_provider_trifacta.api.rate_limits import server_wait

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


def error_class(status: int, *, name: str | None, path: str) -> type[TrifactaApiError]:
    """Return the error class for an answer that is not a success."""
    # The routes of access tokens are documented. Where they "do not exist", an administrator has not
    # enabled them (api/README.md, section 1).
    if status == 404 and name == "RouteNotFoundException" and path.startswith("/v4/apiAccessTokens"):
        return TrifactaFeatureDisabled
    if status >= 500:
        return TrifactaServerError
    return _BY_STATUS.get(status, TrifactaApiError)


def is_permanent_refusal(error: TrifactaApiError) -> bool:
    """Return whether the same request would be refused again, whenever it is sent."""
    return isinstance(error, (TrifactaBadRequest, TrifactaNotFound, TrifactaGone, TrifactaUnsupportedMediaType))


def says_gone(error: TrifactaApiError) -> bool:
    """Return whether an answer says that the object asked for does not exist (any more).

    A 404 of a proxy or for a missing route says nothing about the object. What does not exist is also reported as
    400 (api/README.md, section 7).
    """
    if isinstance(error, TrifactaGone):
        return True
    if error.name is None or error.name == "RouteNotFoundException":
        return False
    return isinstance(error, TrifactaNotFound) or (error.status == 400 and "NotFound" in error.name)


def says_not_profiled(error: BaseException | None) -> bool:
    """Return whether an answer says that a job group has no profile because it ran without profiling.

    That is a 400 with this name (observed), not a 404 (api/README.md, section 7).
    """
    return isinstance(error, TrifactaBadRequest) and "ProfilingDataNotFound" in (error.name or "")


def redirect_of(answer: Answer, url: str) -> str | None:
    """Return the URL to read instead, None when the answer is no redirect.

    Only a GET follows, and only within the same origin: a redirect never takes the token to another host,
    and never turns a POST into a GET.

    :param url: the URL that was asked.
    :raises TrifactaAnswerNotUnderstood: the redirect leads elsewhere.
    """
    if answer.status not in (301, 302, 303, 307, 308):
        return None
    target = urljoin(url, answer.headers.get("location", ""))
    if answer.request.method == "GET" and _origin(target) == _origin(url) and target != url:
        return target
    where = urlsplit(target)
    raise TrifactaAnswerNotUnderstood(
        method=answer.request.method,
        path=answer.request.path,
        status=answer.status,
        message=(
            f"the server redirects to {where.scheme}://{where.netloc}{where.path}, which is not followed. "
            "If that is the right server, put it in the host of the Airflow connection"
        ),
        request_id=answer.request_id,
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def raise_for_status(answer: Answer, *, now: float, secret: str) -> None:
    """Raise the typed error unless the answer is a success.

    :param now: seconds since the epoch, to read dates in headers with.
    :param secret: the token that was sent; taken out of texts that quote it.
    """
    if 200 <= answer.status < 300:
        return
    name, message, details = _envelope(answer.body)
    scrub = _scrubber(secret)
    raise error_class(answer.status, name=name, path=answer.request.path)(
        method=answer.request.method,
        path=answer.request.path,
        status=answer.status,
        name=name,
        message=scrub(message or _without_envelope(answer)),
        details=scrub(details),
        request_id=answer.request_id,
        retry_after=server_wait(answer.headers, now),
    )


def _envelope(body: bytes) -> tuple[str | None, str | None, Any]:
    """Return name, message and details of an error answer, as far as it has them."""
    try:
        value = json.loads(body)
    except ValueError:
        return None, None, None
    if not isinstance(value, dict):
        return None, None, None
    exception = value.get("exception")
    if isinstance(exception, dict):
        return _text(exception.get("name")), _text(exception.get("message")), exception.get("details")
    # The "/svc-*" services and the token endpoint speak differently (api/README.md, section 1).
    return (
        _text(value.get("kind") or value.get("error")),
        _text(value.get("message") or value.get("error_description")),
        value.get("errors"),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _without_envelope(answer: Answer) -> str:
    if answer.status == 304:
        return "this x-execution-id already started something"
    return excerpt(answer.body) or "no body"


def _scrubber(secret: str) -> Callable[[Any], Any]:
    def scrub(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(secret, "***") if secret else value
        if isinstance(value, dict):
            return {key: scrub(item) for key, item in value.items()}
        if isinstance(value, list):
            return [scrub(item) for item in value]
        return value

    return scrub
