"""Requests and answers as plain values, independent of how they are sent."""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NoReturn, TypeVar
from urllib.parse import quote, urlencode

from airflow_provider_trifacta.api.bodies import ACCEPT_ENCODING
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaConfigurationError,
)
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.text import clean, line

T = TypeVar("T")
JsonObject = dict[str, Any]
Id = int | str

IDEMPOTENT_METHODS = frozenset({"GET", "DELETE"})
#: Maximum size in bytes of an answer kept in memory, decompressed. A page of 100 job groups has some 100,000.
MAX_ANSWER = 16 * 1024 * 1024
#: Maximum size in bytes of an answer saved to a file.
MAX_DOWNLOAD = 4 * 1024 * 1024 * 1024
#: Maximum number of characters of an answer that an error quotes.
_EXCERPT = 300
_DEEPEST = 64
#: Maximum number of values in an answer: each takes a hundred bytes of memory, however small it is on the wire.
_MOST_VALUES = 500_000
_NO_JSON = object()
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True)
class Request:
    """One call of the API.

    :param method: HTTP method.
    :param path: route below the base URL, its parameters percent-encoded.
    :param query: names and values; None values are omitted, booleans become ``true`` and ``false``.
    :param body: the JSON body.
    :param form: the fields of a form body, as OAuth 2.0 wants it; not together with ``body``.
    :param headers: additional headers.
    :param accept: requested media type.
    :param repeatable: whether sending it twice has the same effect as sending it once; None decides by the
        method.
    :param max_bytes: maximum size of an answer that is kept in memory, decompressed.
    :param confidential: whether the answer may contain a secret that is not known yet; it is never quoted.
    :raises TrifactaConfigurationError: names the part that cannot be sent.
    """

    method: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = None
    accept: str = "application/json"
    repeatable: bool | None = None
    max_bytes: int = MAX_ANSWER
    confidential: bool = False
    #: The bytes of the body, None when there is none.
    encoded_body: bytes | None = field(default=None, init=False, repr=False, compare=False)
    _query_string: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.body is not None:
            object.__setattr__(self, "encoded_body", _encoded(self.body))
        elif self.form is not None:
            object.__setattr__(self, "encoded_body", urlencode(self.form).encode())
        if self.query:
            object.__setattr__(self, "_query_string", _query_string(self.query))
        if self.headers:
            for name, value in self.headers.items():
                check_header(name, value)

    @property
    def idempotent(self) -> bool:
        """Whether the request may be sent again if its answer was lost."""
        return self.method in IDEMPOTENT_METHODS if self.repeatable is None else self.repeatable

    def url(self, base_url: str) -> str:
        """Return the full URL. A path prefix of the base URL is kept."""
        return f"{base_url}{self.path}{self._query_string}"

    def all_headers(self, token: str, user_agent: str) -> dict[str, str]:
        """Return the headers to send.

        :raises TrifactaConfigurationError: the token cannot be sent in a header.
        """
        check_header("token", token)
        headers = {
            "Accept": self.accept,
            "Accept-Encoding": ACCEPT_ENCODING,
            "Authorization": f"Bearer {token}",
            "User-Agent": user_agent,
            **(self.headers or {}),
        }
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        return headers


def check_header(name: str, value: object) -> None:
    """Check that a value can be sent in a header. It is never quoted: it may be a secret.

    :raises TrifactaConfigurationError: it is not a string of printable ASCII characters.
    """
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise TrifactaConfigurationError(
            f"{name}: cannot be sent in a header; use printable ASCII characters, without line breaks"
        )


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(body, allow_nan=False)
        if r"\ud" in text:  # may be half a surrogate pair
            json.dumps(body, ensure_ascii=False).encode()
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TrifactaConfigurationError(
            f"{_unsendable(body) or 'request body'}: cannot be sent as JSON ({error})"
        ) from None


def _unsendable(value: Any, path: str = "", depth: int = 0) -> str | None:
    """Return the path of the first value that JSON cannot represent, e.g. ``overrides/writesettings/path``."""
    if depth > _DEEPEST:
        return path
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if _is_array(value) else None
    if items is not None:
        for name, item in items:
            found = _unsendable(item, f"{path}/{name}" if path else str(name), depth + 1)
            if found:
                return found
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return path
    if isinstance(value, str) and clean(value) != value:
        return path
    return None if value is None or isinstance(value, (str, int, float)) else path


def _is_array(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _query_string(query: Mapping[str, Any]) -> str:
    pairs = [(name, _query_value(name, value)) for name, value in query.items() if value is not None]
    try:
        return f"?{urlencode(pairs, quote_via=quote)}" if pairs else ""
    except UnicodeEncodeError:
        raise TrifactaConfigurationError("query: contains characters that cannot be encoded as UTF-8") from None


def _query_value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise TrifactaConfigurationError(f"{name}: {value!r} is not a string, a number or a boolean")


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    :param headers: names in lower case.
    :param redactor: knows the secrets that must not be quoted from the answer.
    """

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes
    redactor: Redactor = field(default_factory=Redactor, repr=False)

    @property
    def request_id(self) -> str | None:
        """``x-trifacta-request-id``: support asks for it."""
        value = self.headers.get("x-trifacta-request-id")
        return None if value is None else self.line(value, 200)

    def json(self) -> Any:
        """Return the decoded body. Its strings can be encoded as UTF-8 and hold no token; its numbers are finite.

        :raises TrifactaAnswerNotUnderstood: it is not JSON, or is nested too deeply.
        """
        value = self._json()
        if value is _NO_JSON:
            raise self.not_understood("expected JSON")
        return value

    def _json(self) -> Any:
        # Errors are not raised here: the decoder's error, as their context, would carry the whole body.
        body = self.body
        if len(body) > _MOST_VALUES and sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
            return _NO_JSON
        try:
            return _cleaned(_DECODER.decode(body.removeprefix(BOM_UTF8).decode("utf-8", "replace")), self.redactor)
        except (ValueError, RecursionError):
            return _NO_JSON

    def line(self, text: str, limit: int | None = None) -> str:
        """Return a string from the answer as a line for users, without secrets and of bounded length."""
        return line(self.redactor.redact(text), *(() if limit is None else (limit,)))

    def excerpt(self) -> str:
        """Return the beginning of the body, for an error."""
        if self.request.confidential:
            return "(not shown: it may contain a token)"
        value = self._json()
        if value is _NO_JSON:
            return self.line(self.body.decode("utf-8", "replace"), _EXCERPT)
        return self.line(json.dumps(self.redactor.redact_value(value)), _EXCERPT)

    def not_understood(self, expected: str) -> TrifactaAnswerNotUnderstood:
        """Return the error for an answer that is not as documented."""
        kind = self.line(self.headers.get("content-type", "no content type"), 100)
        return self.unusable(f"{expected}, got {len(self.body)} bytes of {kind}: {self.excerpt()!r}")

    def unusable(self, problem: str) -> TrifactaAnswerNotUnderstood:
        """Return the error for an answer that cannot be read."""
        return TrifactaAnswerNotUnderstood(
            method=self.request.method,
            path=self.redactor.redact(self.request.path),
            status=self.status,
            message=problem,
            request_id=self.request_id,
        )


def answer_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of an answer, with lower-case names and values that can be encoded as UTF-8."""
    return {clean(name).lower(): clean(value) for name, value in headers.items()}


def _cleaned(value: Any, redactor: Redactor, depth: int = 0) -> Any:
    if isinstance(value, str):
        return redactor.redact_tokens(clean(value))
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {
            redactor.redact_tokens(clean(name)): _cleaned(item, redactor, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_cleaned(item, redactor, depth + 1) for item in value]
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant, strict=False)


@dataclass(frozen=True)
class Operation(Generic[T]):
    """One call and how to decode its answer; a client sends it.

    :param request: the request to send.
    :param decode: turns a successful answer into the result.
    :param fallback: returns the operation to send after this error, or None.
    :param budget: maximum seconds to repeat it for, if its answer is not worth the client's whole retry
        budget.
    :param secret_of: returns the secret in a result, which is redacted from then on.
    :param waits_for_quota: whether it is repeated after a refusal by a quota (429).
    :param quota_hint: what is logged before the first such repetition.
    """

    request: Request
    decode: Callable[[Answer], T]
    fallback: Callable[[TrifactaApiError], Operation[T] | None] | None = None
    budget: float | None = None
    secret_of: Callable[[T], str] | None = None
    waits_for_quota: bool = True
    quota_hint: str | None = None

    def within(self, budget: float | None) -> Operation[T]:
        """Return the same operation with a retry budget.

        :param budget: maximum seconds to repeat it for; None uses the client's.
        """
        return self if budget == self.budget else replace(self, budget=budget)
