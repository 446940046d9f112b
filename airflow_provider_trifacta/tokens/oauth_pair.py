"""The stored form of an OAuth 2.0 token pair.

What is stored is either a refresh token as a user pasted it, or one JSON object that a refresh wrote::

    {"access_token": ..., "refresh_token": ..., "expires_at": ..., "refreshed_at": ..., "first_used_at": ...,
     "refreshing": {"id": ..., "at": ..., "by": ...}, "unresolved": {"id": ..., "at": ..., "by": ...}}

The last two are there only while a refresh is in progress, or after one whose result is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_trifacta.api.credentials import token_in
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import timestamp_of
from airflow_provider_trifacta.api.token_endpoint import FreshTokens

#: Maximum length of the name of a task that refreshes, in characters.
_LONGEST_NAME = 500


@dataclass(frozen=True)
class RefreshAttempt:
    """One refresh, as it is announced before the refresh token is sent.

    :param id: a random id.
    :param at: when it began.
    :param by: which task refreshes, for users.
    """

    id: str
    at: datetime
    by: str

    @classmethod
    def read(cls, value: Any) -> RefreshAttempt | None:
        """Return the attempt that a JSON object describes, None if it describes none."""
        if not isinstance(value, Mapping):
            return None
        at = timestamp_of(value.get("at"))
        if at is None or not isinstance(value.get("id"), str):
            return None
        return cls(value["id"], at, line(str(value.get("by") or "an unknown task"), _LONGEST_NAME))

    def plain(self) -> dict[str, str]:
        """Return the attempt as it is stored."""
        return {"id": self.id, "at": self.at.isoformat(), "by": self.by}

    def __str__(self) -> str:
        return f"begun at {self.at:%Y-%m-%d %H:%M:%S} UTC by {self.by}"


@dataclass(frozen=True)
class OAuthPair:
    """A token pair and what is known about it.

    :param refresh_token: the refresh token.
    :param access_token: the access token; None if the refresh token was pasted and has not been used yet.
    :param expires_at: when the access token expires, on the clock of the process that refreshed it.
    :param refreshed_at: when the pair was issued.
    :param first_used_at: when the pasted refresh token, from which this one descends, was used for the first time.
    :param refreshing: the refresh in progress.
    :param unresolved: the earliest refresh with this refresh token whose result was never stored.
    """

    refresh_token: str = field(repr=False)
    access_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    refreshed_at: datetime | None = None
    first_used_at: datetime | None = None
    refreshing: RefreshAttempt | None = None
    unresolved: RefreshAttempt | None = None

    @classmethod
    def read(cls, text: str) -> OAuthPair:
        """Read what is stored.

        :raises TrifactaConfigurationError: it is neither a record of ours nor a refresh token.
        """
        text = text.removeprefix("\ufeff")  # a byte order mark
        record = _json(text)
        if isinstance(record, str):
            text, record = record, None  # pasted with its quotes
        if not isinstance(record, dict):
            return cls(_pasted(text))
        refresh_token, access_token = token_in(record.get("refresh_token")), token_in(record.get("access_token"))
        if refresh_token is None:
            raise TrifactaConfigurationError(
                "holds JSON without a refresh_token. Generate a pair on the page 'OAuth 2.0 API Tokens', and "
                "paste the refresh token alone"
            )
        return cls(
            refresh_token,
            access_token,
            expires_at=timestamp_of(record.get("expires_at")),
            refreshed_at=timestamp_of(record.get("refreshed_at")),
            first_used_at=timestamp_of(record.get("first_used_at")),
            refreshing=RefreshAttempt.read(record.get("refreshing")),
            unresolved=RefreshAttempt.read(record.get("unresolved")),
        )

    def stored(self) -> str:
        """Return the JSON text to store."""
        fields: dict[str, Any] = {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires_at": self.expires_at and self.expires_at.isoformat(),
            "refreshed_at": self.refreshed_at and self.refreshed_at.isoformat(),
            "first_used_at": self.first_used_at and self.first_used_at.isoformat(),
        }
        for name in ("refreshing", "unresolved"):
            attempt: RefreshAttempt | None = getattr(self, name)
            if attempt is not None:
                fields[name] = attempt.plain()
        return json.dumps(fields)

    def announcing(self, attempt: RefreshAttempt) -> OAuthPair:
        """Return the same pair with a refresh in progress. An earlier one that never ended stays known."""
        other = self.refreshing if self.refreshing and self.refreshing.id != attempt.id else None
        return replace(self, refreshing=attempt, unresolved=self.unresolved or other)

    def withdrawn(self, *, spent: bool) -> OAuthPair:
        """Return the same pair after its refresh was given up.

        :param spent: whether the refresh token may have been spent.
        """
        unresolved = self.unresolved or (self.refreshing if spent else None)
        return replace(self, refreshing=None, unresolved=unresolved)

    def has_tokens_of(self, other: OAuthPair) -> bool:
        """Return whether nobody has replaced a token. Some endpoints replace only the access token."""
        return (self.refresh_token, self.access_token) == (other.refresh_token, other.access_token)

    def refreshed(self, fresh: FreshTokens, *, now: datetime) -> OAuthPair:
        """Return the pair that a refresh issued.

        :param now: when the answer arrived.
        """
        return OAuthPair(
            fresh.refresh_token or self.refresh_token,
            fresh.access_token,
            expires_at=now + timedelta(seconds=fresh.expires_in) if fresh.access_token else None,
            refreshed_at=now,
            first_used_at=self.first_used_at or now,
            unresolved=self.refreshing if fresh.unusable else None,
        )

    def ends_at(self, days: float | None) -> datetime | None:
        """Return when the refresh token expires.

        A refresh issues a new refresh token, but is taken not to extend its lifetime (api/README.md, section 2).

        :param days: the lifetime that was chosen when the pair was generated; None if it is not known.
        :return: None also if the refresh token has not been used yet.
        """
        if days is None or self.first_used_at is None:
            return None
        return self.first_used_at + timedelta(days=days)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _pasted(text: str) -> str:
    token = text.strip()
    problem = None
    if not token:
        problem = "is empty"
    elif re.match(r"bearer\s", token, re.IGNORECASE):
        problem = "begins with 'Bearer', which belongs to an access token"
    elif token[0] in '{["' or token in ("null", "true", "false", "None"):
        problem = "holds neither a refresh token nor complete JSON with one"
    elif set(token) == {"*"}:
        problem = "holds asterisks, the mask of a saved secret, not the secret"
    elif token_in(token) is None:
        problem = "holds characters that no token has, such as spaces"
    if problem:
        raise TrifactaConfigurationError(
            f"{problem}. Paste the refresh token from the page 'OAuth 2.0 API Tokens' there, alone"
        )
    return token
