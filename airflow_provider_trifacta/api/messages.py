"""Requests and answers as plain values: what goes over the wire, without sending it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaConfigurationError,
    error_class,
)
from airflow_provider_trifacta.api.retries import server_wait

T = TypeVar("T")
JsonObject = dict[str, Any]
Id = int | str

IDEMPOTENT_METHODS = frozenset({"GET", "DELETE"})
MAX_REDIRECTS = 5
#: How often in a row a token may turn out to have been replaced while it was being used.
MAX_REPLACED_TOKENS = 5
#: How much of an answer that is not JSON goes into an error.
_EXCERPT = 300


@dataclass(frozen=True)
class Request:
    """One call of the API.

    :param method: HTTP method.
    :param path: route below the base URL, its parameters percent-encoded.
    :param query: names and values; None values are left out, booleans become ``true`` and ``false``.
    :param body: the JSON body.
    :param headers: further headers.
    :param accept: media type asked for.
    :param repeatable: whether sending it twice has the effect of sending it once; decided by the method
        when None.
    """

    method: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    accept: str = "application/json"
    repeatable: bool | None = None

    @property
    def idempotent(self) -> bool:
        """Whether the request may be sent again when its answer was lost."""
        return self.method in IDEMPOTENT_METHODS if self.repeatable is None else self.repeatable

    def url(self, base_url: str) -> str:
        """Return the whole URL. A path prefix of the base URL is kept."""
        url = base_url + self.path
        pairs = [(name, _query_value(value)) for name, value in (self.query or {}).items() if value is not None]
        return f"{url}?{urlencode(pairs, quote_via=quote)}" if pairs else url

    def all_headers(self, token: str, user_agent: str) -> dict[str, str]:
        """Return the headers to send."""
        headers = {
            "Accept": self.accept,
            "Authorization": f"Bearer {token}",
            "User-Agent": user_agent,
            **(self.headers or {}),
        }
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def encoded_body(self) -> bytes | None:
        """Return the bytes of the JSON body, None when there is none."""
        return None if self.body is None else json.dumps(self.body).encode()


def _query_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def path_segment(value: Id, name: str = "id") -> str:
    """Return an id as one percent-encoded segment of a path.

    :raises TrifactaConfigurationError: not an id, or one that would name another route.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TrifactaConfigurationError(f"{name}: {value!r} is neither an integer nor a text")
    text = str(value).strip()
    # Dots cannot be protected by percent-encoding: HTTP libraries undo it and walk up the path.
    if text in ("", ".", ".."):
        raise TrifactaConfigurationError(f"{name}: {value!r} is not an id")
    return quote(text, safe="")


@dataclass(frozen=True)
class Answer:
    """What came back.

    :param headers: names in lower case.
    """

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str | None:
        """``x-trifacta-request-id``: support asks for it."""
        return self.headers.get("x-trifacta-request-id")

    def json(self) -> Any:
        """Return the decoded body.

        :raises TrifactaAnswerNotUnderstood: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise self.not_understood("expected JSON") from None

    def not_understood(self, expected: str) -> TrifactaAnswerNotUnderstood:
        """Return the error for an answer that is not what is documented."""
        kind = self.headers.get("content-type", "no content type")
        return TrifactaAnswerNotUnderstood(
            method=self.request.method,
            path=self.request.path,
            status=self.status,
            message=f"{expected}, got {len(self.body)} bytes of {kind}: {_excerpt(self.body)!r}",
            request_id=self.request_id,
        )

    def raise_for_status(self, *, now: float, secret: str) -> None:
        """Raise the typed error unless the answer is a success.

        :param now: seconds since the epoch, to read dates in headers with.
        :param secret: the token that was sent; taken out of texts that quote it.
        """
        if 200 <= self.status < 300:
            return
        name, message, details = _envelope(self.body)
        scrub = _scrubber(secret)
        raise error_class(self.status, name=name, path=self.request.path)(
            method=self.request.method,
            path=self.request.path,
            status=self.status,
            name=name,
            message=scrub(message or _without_envelope(self)),
            details=scrub(details),
            request_id=self.request_id,
            retry_after=server_wait(self.headers, now),
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
    return _excerpt(answer.body) or "no body"


def _excerpt(body: bytes) -> str:
    text = " ".join(body[: 4 * _EXCERPT].decode("utf-8", "replace").split())
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."


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


@dataclass(frozen=True)
class Operation(Generic[T]):
    """One call and the meaning of its answer; a client sends it.

    :param request: what to send.
    :param decode: turns a successful answer into the result.
    :param instead: what to ask when the call fails like this; None when nothing else helps.
    :param budget: seconds to repeat it for at the most, where its answer is not worth the client's whole retry
        budget.
    """

    request: Request
    decode: Callable[[Answer], T]
    instead: Callable[[TrifactaApiError], Operation[T] | None] | None = None
    budget: float | None = None

    def within(self, budget: float) -> Operation[T]:
        """Return the same operation, repeated for so many seconds at the most."""
        return replace(self, budget=budget)


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list that is read page by page.

    :param request: the first page, without ``limit`` and ``offset``.
    :param limit: how many objects to give at the most; None gives all.
    :param page_size: how many objects to ask for at a time (the API's ``limit``).
    """

    request: Request
    limit: int | None = None
    page_size: int = 100

    def __post_init__(self) -> None:
        if self.limit is not None and (isinstance(self.limit, bool) or self.limit < 0):
            raise TrifactaConfigurationError(f"limit: {self.limit!r} is not a non-negative integer")
        if isinstance(self.page_size, bool) or self.page_size < 1:
            raise TrifactaConfigurationError(f"page_size: {self.page_size!r} is not a positive integer")

    def page(self, offset: int) -> Operation[Page[T]]:
        """Return the call that reads the page at ``offset``."""
        # The count tells the last page from one that the server made shorter than asked for: the largest
        # limit is not documented, and a silently shortened page must not end the list.
        query = {
            **(self.request.query or {}),
            "limit": self.page_size,
            "offset": offset,
            "includeCount": True,
        }
        return Operation(replace(self.request, query=query), lambda answer: self._decode(answer, offset))

    def _decode(self, answer: Answer, offset: int) -> Page[T]:
        value = answer.json()
        items = value.get("data") if isinstance(value, dict) else None
        if not isinstance(items, list):
            raise answer.not_understood('expected a list, {"data": [...]}')
        count = value.get("count")
        seen = offset + len(items)
        if isinstance(count, int) and not isinstance(count, bool):
            last = not items or seen >= count
        else:
            last = len(items) < self.page_size
        return Page(items, None if last else seen)


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list.

    :param items: the objects.
    :param next_offset: where the next page begins, None on the last one.
    """

    items: list[T]
    next_offset: int | None


class Unseen:
    """Passes each object of a list once.

    While pages are read, new objects push the others down: one that was on the last page is then on the next
    one too.
    """

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._seen: set[str] = set()

    @property
    def enough(self) -> bool:
        """Whether the limit is reached."""
        return self._left == 0

    def of(self, items: Iterable[T]) -> Iterable[T]:
        """Give the objects not seen before, up to the limit."""
        for item in items:
            if self.enough:
                return
            identity = item.get("id") if isinstance(item, dict) else None
            if identity is not None:
                if str(identity) in self._seen:
                    continue
                self._seen.add(str(identity))
            if self._left is not None:
                self._left -= 1
            yield item


def timestamp_of(value: Any) -> datetime | None:
    """Return a timestamp of the API, None when it is none. One without a zone is taken as UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def epoch_milliseconds(value: datetime | int) -> int:
    """Return a moment the way date filters want it. A datetime without a zone is taken as UTC."""
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    return value
