"""Finds out which of the user's API access tokens a client uses, and when it expires.

The API lists tokens by id, without their values, and does not report which one a call used. A token's value is
opaque, but if it contains an id from the list, that identifies it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from airflow_provider_trifacta.api.messages import JsonObject
from airflow_provider_trifacta.api.operations import get_current_person, list_api_access_tokens
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.text import is_line
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: How many times we check which tokens were just used, and the seconds between checks.
_ROUNDS = 3
_BETWEEN_ROUNDS = 1.0
#: Maximum length of a valid id, in characters.
_LONGEST_ID = 200


@dataclass(frozen=True)
class AccessToken:
    """A token as the API describes it.

    :param expires_at: None when it never expires.
    """

    id: str
    description: str
    created_at: datetime | None
    expires_at: datetime | None
    last_used: datetime | None

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> AccessToken:
        """Read a ``tokenInfo``."""
        return cls(
            id=str(info["tokenId"]),
            description=str(info.get("description") or ""),
            created_at=timestamp_of(info.get("createdAt")),
            expires_at=timestamp_of(info.get("expiredAt")),
            last_used=timestamp_of(info.get("lastUsed")),
        )


@dataclass(frozen=True)
class CurrentToken:
    """The token that the client uses.

    :param known_by: how it was identified: its value contains its id (``name``), it is the ``only`` one, or it was
        used whenever we used ours (``use``). The last is probable, not certain.
    """

    token: AccessToken
    known_by: Literal["name", "only", "use"]


def list_tokens(*, budget: float | None = None) -> Procedure[list[AccessToken]]:
    """List the tokens of the user (``listApiAccessTokens``).

    :param budget: maximum seconds to repeat the call for; None uses the client's.
    """
    operation = list_api_access_tokens()
    infos: list[JsonObject] = yield operation if budget is None else operation.within(budget)
    return [AccessToken.read(info) for info in infos if info["tokenId"] and is_line(info["tokenId"], _LONGEST_ID)]


def current_of(value: str, tokens: Sequence[AccessToken]) -> CurrentToken | None:
    """Return which of the user's tokens has this value, None when unknown."""
    by_id = {token.id: token for token in tokens}
    named = _texts_in(value) & by_id.keys()
    if len(named) == 1:
        return CurrentToken(by_id[named.pop()], "name")
    return CurrentToken(tokens[0], "only") if len(tokens) == 1 else None


def find_current_token(value: str) -> Procedure[CurrentToken | None]:
    """Find the token whose value the client uses (``listApiAccessTokens``, ``getCurrentPerson``).

    If nothing else identifies it, we observe for a few seconds which tokens are used.
    """
    tokens = yield from list_tokens()
    current = current_of(value, tokens)
    if current is not None:
        return current
    by_id = {token.id: token for token in tokens}
    candidates = set(by_id)
    for _ in range(_ROUNDS):
        yield Pause(_BETWEEN_ROUNDS)
        yield get_current_person()
        now = yield from list_tokens()
        candidates &= set(_used_since(by_id, now))
        by_id = {token.id: token for token in now}
    return CurrentToken(by_id[candidates.pop()], "use") if len(candidates) == 1 else None


def _used_since(before: dict[str, AccessToken], now: Collection[AccessToken]) -> Iterator[str]:
    for token in now:
        earlier = before[token.id].last_used if token.id in before else None
        if token.last_used is not None and (earlier is None or token.last_used > earlier):
            yield token.id


def _texts_in(value: str) -> set[str]:
    """Return the strings in a value that is base64-encoded JSON or a JWT; none when it is neither."""
    texts: set[str] = set()
    for part in value.split("."):
        padded = part + "=" * (-len(part) % 4)
        try:
            texts |= set(_leaves(json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))))
        except (ValueError, RecursionError):
            continue
    return texts


def _leaves(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for item in content.values():
            yield from _leaves(item)
    elif isinstance(content, str):
        yield content
