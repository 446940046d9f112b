"""The token endpoint of OAuth 2.0. It belongs to an identity provider, not to the API and its contract."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from airflow_provider_trifacta.emulator import forms
from airflow_provider_trifacta.emulator.contract import Operation
from airflow_provider_trifacta.emulator.oauth_tokens import SCOPE, OAuthPair, OAuthTokens

#: What the URL of the authorization server ends in.
ISSUER_PATH = "/as"
TOKEN = Operation(
    id="oauthToken",
    method="POST",
    path=f"{ISSUER_PATH}/token",
    success=200,
    produces="application/json",
    consumes=forms.MEDIA_TYPE,
)
_HEADERS = {"cache-control": "no-store", "pragma": "no-cache"}
#: Seconds that an access token can be told to live: a year.
_LONGEST = 365 * 86400


@dataclass(frozen=True)
class OAuthSettings:
    """How the token endpoint behaves.

    :param oauth_access_seconds: how long access tokens live from now on.
    :param oauth_expires_in: how answers write that: ``number``, ``text`` or ``missing``.
    :param oauth_returns_refresh_token: whether each refresh replaces the refresh token; else it works on.
    :param oauth_revoke_family_on_reuse: whether a spent refresh token that is sent again ends all tokens that
        descend from the same pair.
    :param oauth_revoke_previous_access_token: whether a refresh ends the access tokens before.
    :param oauth_only: whether the API refuses API access tokens, and has no routes for them.
    :raises ValueError: a value is none of these.
    """

    oauth_access_seconds: float = 300
    oauth_expires_in: str = "number"
    oauth_returns_refresh_token: bool = True
    oauth_revoke_family_on_reuse: bool = True
    oauth_revoke_previous_access_token: bool = False
    oauth_only: bool = False

    def __post_init__(self) -> None:
        seconds = self.oauth_access_seconds
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _LONGEST:
            raise ValueError(f"oauth_access_seconds: not a number of seconds above 0, up to {_LONGEST}")
        if self.oauth_expires_in not in ("number", "text", "missing"):
            raise ValueError(f"oauth_expires_in: {self.oauth_expires_in!r} is none of number, text, missing")
        for name in (
            "oauth_returns_refresh_token",
            "oauth_revoke_family_on_reuse",
            "oauth_revoke_previous_access_token",
            "oauth_only",
        ):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: neither true nor false")


class OAuth:
    """Answers at the token endpoint, and generates pairs."""

    def __init__(self, tokens: OAuthTokens) -> None:
        self.tokens = tokens
        self.settings = OAuthSettings()

    def generate(self, person: int, days: int) -> OAuthPair:
        """Begin a family; see :meth:`OAuthTokens.generate`."""
        return self.tokens.generate(person, days=days, access_seconds=self.settings.oauth_access_seconds)

    def end_token_of(self, raw: bytes, content_type: str, *, expire: bool) -> None:
        """End the refresh token of a request, as expired or, with its family, as revoked."""
        with contextlib.suppress(ValueError):
            self.tokens.end(forms.fields(raw, content_type).get("refresh_token", ""), expire=expire)

    def answer(self, raw: bytes, content_type: str) -> Response:
        """Answer a request to the token endpoint."""
        try:
            form = forms.fields(raw, content_type)
        except ValueError as error:
            return refusal(400, "invalid_request", str(error))
        if "grant_type" not in form:
            return refusal(400, "invalid_request", "grant_type is missing")
        if form["grant_type"] != "refresh_token":
            return refusal(400, "unsupported_grant_type", "the only grant_type is refresh_token")
        for name in ("refresh_token", "client_id"):
            if name not in form:
                return refusal(400, "invalid_request", f"{name} is missing")
        if form["client_id"] != self.tokens.client_id:
            return refusal(401, "invalid_client", "there is no such client")
        settings = self.settings
        pair = self.tokens.refresh(
            form["refresh_token"],
            access_seconds=settings.oauth_access_seconds,
            rotate=settings.oauth_returns_refresh_token,
            revoke_on_reuse=settings.oauth_revoke_family_on_reuse,
            revoke_previous=settings.oauth_revoke_previous_access_token,
        )
        if pair is None:
            return refusal(400, "invalid_grant", "the refresh token is unknown, used, expired or revoked")
        body: dict[str, Any] = {"access_token": pair.access_token, "token_type": "Bearer", "scope": SCOPE}
        if settings.oauth_returns_refresh_token:
            body["refresh_token"] = pair.refresh_token
        seconds = math.floor(settings.oauth_access_seconds)
        if settings.oauth_expires_in != "missing":
            body["expires_in"] = seconds if settings.oauth_expires_in == "number" else str(seconds)
        return JSONResponse(body, headers=_HEADERS)


def refusal(status: int, error: str, description: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error answer of the token endpoint."""
    return JSONResponse(
        {"error": error, "error_description": description}, status, {**_HEADERS, **(headers or {})}
    )


def ordered(status: int, headers: Mapping[str, str]) -> JSONResponse:
    """Return the error answer for an ordered fault."""
    names = {429: "temporarily_unavailable", 503: "temporarily_unavailable"}
    error = names.get(status, "server_error" if status >= 500 else "invalid_request")
    return refusal(status, error, f"Injected fault: {status}", headers)
