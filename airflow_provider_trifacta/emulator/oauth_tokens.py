"""OAuth 2.0 API tokens: pairs, what descends from them, and when each of them ends."""

from __future__ import annotations

import base64
import json
import math
import secrets
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from airflow_provider_trifacta.emulator.clock import timestamp
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.state import Row, State

#: The only scope that there is.
SCOPE = "openid"
LONGEST_DAYS = 365
_DAY = 86400


@dataclass(frozen=True)
class OAuthPair:
    """What the page shows once, when a pair is generated."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


class OAuthTokens:
    """The tokens of a state, in families: a generated pair and everything that descends from it.

    Tokens that no longer work are kept: a spent one that is sent again has to be recognized.

    :param issuer: returns the URL of the authorization server, which access tokens name.
    """

    def __init__(self, state: State, issuer: Callable[[], str]) -> None:
        self._state = state
        self._issuer = issuer
        self._families = state.tables.setdefault("oauthFamilies", {})
        self._tokens = state.tables.setdefault("oauthTokens", {})
        clients = state.tables.setdefault("oauthClients", {})
        if not clients:
            clients[str(uuid.uuid4())] = {}
            state.save()
        self.client_id = next(iter(clients))

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self._issuer()}/token"

    def values(self) -> Iterator[str]:
        """Yield the value of every token there has been."""
        yield from list(self._tokens)

    def generate(self, person: int, *, days: int, access_seconds: float) -> OAuthPair:
        """Begin a family.

        :param days: how long its refresh tokens work, from 1 to 365.
        :raises ValueError: another number of days.
        """
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= LONGEST_DAYS:
            raise ValueError(f"refresh_token_days: not a whole number from 1 to {LONGEST_DAYS}")
        now = self._state.clock.now()
        family = str(uuid.uuid4())
        self._families[family] = {
            "id": family,
            "person": person,
            "createdAt": timestamp(now),
            "ends": now + days * _DAY,
            "ended": None,
        }
        pair = OAuthPair(self._new_access_token(family, access_seconds), self._new_refresh_token(family))
        self._state.save()
        return pair

    def refresh(
        self, value: str, *, access_seconds: float, rotate: bool, revoke_on_reuse: bool, revoke_previous: bool
    ) -> OAuthPair | None:
        """Spend a refresh token. Return what it buys; None if it does not work.

        :param rotate: whether there is a new refresh token; without, the old one goes on.
        :param revoke_on_reuse: whether a spent token that is sent again ends its family.
        :param revoke_previous: whether the access tokens before end now, not in their own time.
        """
        token = self._tokens.get(value)
        if token is None or token["kind"] != "refresh":
            return None
        family = self._families[token["family"]]
        if token["ended"] and revoke_on_reuse and not family["ended"]:
            family["ended"] = "reuse"
            self._state.save()
        if not self.refresh_token_works(value):
            return None
        if revoke_previous:
            for other in self._tokens.values():
                if other["family"] == family["id"] and other["kind"] == "access":
                    other["ended"] = True
        token["ended"] = rotate
        pair = OAuthPair(
            self._new_access_token(family["id"], access_seconds),
            self._new_refresh_token(family["id"]) if rotate else value,
        )
        self._state.save()
        return pair

    def refresh_token_works(self, value: str) -> bool:
        """Return whether this is a refresh token that is not spent, expired or revoked."""
        return self._works("refresh", value)

    def access_token_works(self, value: str) -> bool:
        """Return whether this is an access token that is not expired or revoked."""
        return self._works("access", value)

    def person_of(self, value: str) -> int | None:
        """Return the user of an access token, None if it is not one of these tokens.

        :raises Problem: 401, it no longer works.
        """
        token = self._tokens.get(value)
        if token is None or token["kind"] != "access":
            return None
        family = self._families[token["family"]]
        if token["ends"] <= self._state.clock.now():
            raise Problem.unauthorized("The access token has expired")
        if not self.access_token_works(value):
            raise Problem.unauthorized("The access token was revoked")
        person: int = family["person"]
        return person

    def end(self, value: str, *, expire: bool) -> None:
        """End one token, as expired or as revoked; an unknown one changes nothing.

        A refresh token is revoked with its family: on its own, it would look like a spent one.
        """
        token = self._tokens.get(value)
        if token is None:
            return
        if expire:
            token["ends"] = self._state.clock.now() - 1
        elif token["kind"] == "refresh":
            self.disable(token["family"])
        else:
            token["ended"] = True
        self._state.save()

    def family_of(self, value: str) -> str:
        """Return the id of the family of a token.

        :raises ValueError: there is no such token.
        """
        if value not in self._tokens:
            raise ValueError("not an OAuth token of this server")
        family: str = self._tokens[value]["family"]
        return family

    def disable(self, family: str) -> None:
        """End a family for its user.

        :raises ValueError: there is no such family.
        """
        if family not in self._families:
            raise ValueError("no such pair")
        if not self._families[family]["ended"]:
            self._families[family]["ended"] = "user"
            self._state.save()

    def families(self) -> list[Row]:
        """Return the families, latest first, each with its ``status``."""
        return [{**family, "status": self._status(family)} for family in list(self._families.values())[::-1]]

    def _status(self, family: Row) -> str:
        if family["ended"]:
            return {"user": "Disabled by User", "reuse": "Revoked: a spent token was sent"}[family["ended"]]
        return "Expired" if family["ends"] <= self._state.clock.now() else "Enabled"

    def _works(self, kind: str, value: str) -> bool:
        token = self._tokens.get(value)
        if token is None or token["kind"] != kind or token["ended"]:
            return False
        return token["ends"] > self._state.clock.now() and not self._families[token["family"]]["ended"]

    def _new_refresh_token(self, family: str) -> str:
        """Return a value in which nothing can be read, so that no client depends on what it looks like."""
        # Not with a hyphen in front: "airflow variables set" would take that for an option.
        value = f"rt{secrets.token_urlsafe(46)}"
        self._add(value, family, "refresh", self._families[family]["ends"])
        return value

    def _new_access_token(self, family: str, seconds: float) -> str:
        now = self._state.clock.now()
        payload = {
            "client_id": self.client_id,
            "iss": self._issuer(),
            "iat": math.floor(now),
            "exp": math.floor(now + seconds),
            "jti": str(uuid.uuid4()),
            "sub": str(self._families[family]["person"]),
            "scope": SCOPE,
        }
        header = {"alg": "RS256", "typ": "JWT"}
        parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, payload)]
        # Nobody can check the signature, so it is none.
        value = ".".join(_base64url(part) for part in (*parts, secrets.token_bytes(32)))
        self._add(value, family, "access", now + seconds)
        return value

    def _add(self, value: str, family: str, kind: str, ends: float) -> None:
        self._tokens[value] = {"family": family, "kind": kind, "ends": ends, "ended": False}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
