"""Requests and answers as plain values: what goes over the wire, without sending it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
)

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
            message=f"{expected}, got {len(self.body)} bytes of {kind}: {excerpt(self.body)!r}",
            request_id=self.request_id,
        )


def excerpt(body: bytes) -> str:
    """Return the beginning of a body, for an error."""
    text = " ".join(body[: 4 * _EXCERPT].decode("utf-8", "replace").split())
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."


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
