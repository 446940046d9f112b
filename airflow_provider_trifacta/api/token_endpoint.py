"""The OAuth 2.0 token endpoint: exchanges a refresh token for a new pair (RFC 6749, section 6).

Every exchange may spend the refresh token, so nothing here repeats one.
"""

from __future__ import annotations

import ipaddress
import json
import math
from codecs import BOM_UTF8
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_trifacta.api.bodies import ACCEPT_ENCODING
from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.credentials import token_in
from airflow_provider_trifacta.api.error_answers import no_answer, raise_for_status
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaTransportError,
)
from airflow_provider_trifacta.api.exchange import Transfer
from airflow_provider_trifacta.api.messages import Answer, Request
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.requests_transport import RequestsTransport
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.urls import base_url_from

#: Lifetime of an access token in seconds, if the answer does not specify it.
_DEFAULT_LIFETIME = 300.0
#: Maximum lifetime of an access token that is believed, in seconds: a year.
_LONGEST_LIFETIME = 366 * 86400.0
#: The error codes of RFC 6749. Any other string in their place might be a secret.
_ERROR_CODES = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "server_error",
        "temporarily_unavailable",
    }
)
#: Which setting of the connection an error is about, for users.
_SETTING = "the token endpoint (extra oauth_token_url)"
#: Maximum size of an answer in bytes.
_MAX_ANSWER = 256 * 1024


@dataclass(frozen=True)
class FreshTokens:
    """What the token endpoint issued.

    :param access_token: the new access token; None if the answer held none that can be sent.
    :param refresh_token: the new refresh token; None if the answer held none, so that the old one stays valid.
    :param expires_in: lifetime of the access token in seconds.
    :param unusable: whether the answer held a refresh token that cannot be sent: the old one may be dead.
    """

    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: float
    unusable: bool = False


class TokenEndpoint:
    """Refreshes the pairs of one client id.

    :param url: the endpoint, as :func:`token_url_from` returns it.
    :param client_id: the client id that the pair was generated for.
    :param settings: proxy, certificates and timeouts; its base URL is not used.
    """

    def __init__(self, url: str, client_id: str, settings: ClientSettings, clock: Clock) -> None:
        parts = urlsplit(url)
        self.url = url
        self._path = parts.path
        self._client_id = client_id
        self._settings = replace(settings, base_url=f"{parts.scheme}://{parts.netloc}")
        self._clock = clock

    def refresh(self, refresh_token: str, *, seconds: float) -> FreshTokens:
        """Exchange a refresh token for a new pair, once.

        :param seconds: time in which the answer must be complete.
        :raises TrifactaApiError: no usable answer. Its ``name`` is the OAuth error code, e.g. ``invalid_grant``.
        """
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": self._client_id}
        # No error quotes the answer: it may hold tokens that nobody knows yet.
        request = Request("POST", self._path, form=fields, max_bytes=_MAX_ANSWER, confidential=True)
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": ACCEPT_ENCODING,
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": self._settings.user_agent,
        }
        url = request.url(self._settings.base_url)
        transport = RequestsTransport(replace(self._settings, connect_timeout=min(10.0, seconds)))
        try:
            answer = transport.transfer(Transfer(request, url, headers, seconds, Redactor(refresh_token)))
            _raise_for_status(answer, self._clock.time())
            return _fresh_tokens(answer)
        except TrifactaApiError as error:
            _point_to_the_endpoint(error)
            raise
        finally:
            transport.close()


def token_url_from(value: Any) -> str:
    """Return the URL of a token endpoint, with ``/token`` at its end whether or not it was given.

    :raises TrifactaConfigurationError: not a URL that a refresh token may be sent to.
    """
    try:
        if not isinstance(value, str) or set(value) & set("@?#"):
            raise TrifactaConfigurationError("not a plain URL")
        url = base_url_from(value)
    except TrifactaConfigurationError as error:
        problem = str(error).removeprefix("host: ")
        raise TrifactaConfigurationError(
            f"oauth_token_url: {problem}. Copy the token endpoint from the page 'OAuth 2.0 API Tokens', for "
            "example https://pingauth.alteryxcloud.com/as/token"
        ) from None
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise TrifactaConfigurationError(
            "oauth_token_url: begins with http://, so the refresh token could be read on the way. Use https://"
        )
    return url if parts.path.endswith("/token") else f"{url}/token"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _raise_for_status(answer: Answer, now: float) -> None:
    """Raise the typed error unless the answer is a success; only known OAuth error codes become its name."""
    if answer.status < 200:
        reason = f"only the interim answer {answer.status}"
        raise no_answer(answer.request, TransportFailure.LOST, reason, sent=True, redactor=answer.redactor)
    try:
        raise_for_status(answer, now=now)
    except TrifactaApiError as error:
        error.name = _error_code(_json(answer))
        raise


def _fresh_tokens(answer: Answer) -> FreshTokens:
    value = _json(answer)
    fields = value if isinstance(value, dict) else {}
    access, refresh = token_in(fields.get("access_token")), token_in(fields.get("refresh_token"))
    if access is None and refresh is None:
        error = answer.not_understood("expected an object with access_token")
        error.name = _error_code(value)
        raise error
    unusable = refresh is None and fields.get("refresh_token") not in (None, "")
    return FreshTokens(access, refresh, _lifetime(fields.get("expires_in")), unusable)


def _json(answer: Answer) -> Any:
    """Return the decoded body, None if it is not JSON.

    Unlike ``Answer.json``, it returns the refresh token even if that is the one that was sent, and accepts any
    number: beside it are tokens that nobody else has.
    """
    try:
        text = answer.body.removeprefix(BOM_UTF8).decode("utf-8", "replace")
        return json.loads(text, parse_int=float, strict=False)
    except (ValueError, RecursionError):
        return None


def _error_code(value: Any) -> str | None:
    code = value.get("error") if isinstance(value, dict) else None
    return code if isinstance(code, str) and code in _ERROR_CODES else None


def _lifetime(value: Any) -> float:
    """Return a lifetime in seconds; it may be sent as a string, or not at all."""
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    return seconds if 0 < seconds <= _LONGEST_LIFETIME else _DEFAULT_LIFETIME


def _point_to_the_endpoint(error: TrifactaApiError) -> None:
    """Replace a hint about the base URL, which is not called here."""
    if isinstance(error, TrifactaAnswerNotUnderstood) or (
        isinstance(error, TrifactaTransportError) and error.failure is TransportFailure.PLAIN_HTTP
    ):
        error.hint = f"Check {_SETTING}, and anything in between, such as a proxy or a login page."
    else:
        error.hint = error.hint.replace("the base URL of the Airflow connection", _SETTING)
