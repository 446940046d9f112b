"""Replacing the token of a connection so that at every instant the stored one works.

The order is what makes it safe to be killed anywhere::

    can the store be written?  who are we, and which token is this?
    create -> prove -> store            within a minute, or it is given up
    read back, prove -> revoke

Nothing is revoked before another token is stored and proven. Tokens that a rotation of this connection made carry
a mark in their description. Of these at most two live after a rotation: the stored one, and the one before or,
where a person made that, the newest other. The rest was superseded earlier, or is left over from rotations that
were killed. One that is younger than a rotation can take may be about to be stored by another rotation at this
moment: nobody revokes it before it is older.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf, mask_secret

from airflow_provider_trifacta.api.access_tokens import AccessToken, CurrentToken, find_current_token, list_tokens
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.errors import TrifactaApiError, TrifactaError, TrifactaUnauthorized
from airflow_provider_trifacta.api.identity import Me, who_am_i
from airflow_provider_trifacta.api.operations import (
    create_api_access_token,
    delete_api_access_token,
    get_current_person,
)
from airflow_provider_trifacta.api.retries import may_have_been_carried_out
from airflow_provider_trifacta.exceptions import TrifactaRotationError

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.token_stores import TokenStore

#: Seconds from asking for a token to storing it. A rotation that takes longer gives up.
_LONGEST_ROTATION = 60.0
#: Seconds after which a token that is not stored will not be: the above, and what storing may take.
_ABANDONED_AFTER = 90.0
#: Settings of Airflow that differ between installations that share a user. Only their hash leaves.
_IDENTIFYING_SETTINGS = (
    ("core", "fernet_key"),
    ("api", "base_url"),
    ("core", "execution_api_server_url"),
)


@dataclass(frozen=True)
class RotationResult:
    """What a rotation did. Holds ids, never a value.

    :param rotated: False when the present token lives long enough.
    :param token_id: the stored token, None when the API does not let it be told.
    :param expires_at: when it ends, None for never or unknown.
    :param previous_token_id: the token stored before.
    :param revoked: the tokens that were revoked.
    """

    rotated: bool
    token_id: str | None
    expires_at: datetime | None
    previous_token_id: str | None
    revoked: tuple[str, ...]

    def as_xcom(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "rotated": self.rotated,
            "token_id": self.token_id,
            "expires_at": self.expires_at and self.expires_at.isoformat(),
            "previous_token_id": self.previous_token_id,
            "revoked": list(self.revoked),
        }


class TokenRotation:
    """Rotates the token of one connection.

    :param hook: talks to the server with the stored token.
    :param store: where the token is kept.
    :param lifetime: of the new token in seconds; -1 for one that never expires.
    :param description: of the new token, for people.
    :param keep_previous_for: how long the superseded token stays valid.
    :param revoke_others: whether a superseded token is revoked that no rotation made.
    """

    def __init__(
        self,
        hook: TrifactaHook,
        store: TokenStore,
        *,
        lifetime: int,
        description: str,
        keep_previous_for: timedelta,
        revoke_others: bool,
        log: Log,
    ) -> None:
        self._hook = hook
        self._clock = hook.clock
        self._store = store
        self._lifetime = lifetime
        self._description = description
        self._keep = keep_previous_for
        self._revoke_others = revoke_others
        self._log = log
        self._mark = _Mark.of(hook.trifacta_conn_id, hook.client.settings.base_url)

    def run(self, *, rotate_when_remaining: timedelta | None) -> RotationResult:
        """Rotate, unless the present token lives longer than ``rotate_when_remaining``.

        :raises TrifactaRotationError: says what to do.
        :raises TrifactaApiError: the API refused; nothing was changed.
        """
        reason = self._store.why_not_writable()
        if reason:
            raise TrifactaRotationError(
                f"The token of connection {self._hook.trifacta_conn_id!r} cannot be replaced where it is kept, so "
                f"none was created: {reason}"
            )
        me = self._hook.run(who_am_i(self._clock))
        old = self._hook.read_token()
        present = self._hook.run(find_current_token(old))
        if present is None:
            self._log.warning("The API does not let it be told which of the user's tokens is the stored one")
        elif rotate_when_remaining is not None and self._lives_longer(present.token, me, rotate_when_remaining):
            return self._nothing_to_do(present, me)
        new, value = self._create(present, me)
        if not self._keep_new(new, value, old, me):
            return RotationResult(False, None, None, present.token.id if present else None, (new.id,))
        revoked = self._tidy(new, value, present, me)
        return RotationResult(True, new.id, new.expires_at, present.token.id if present else None, revoked)

    # --------------------------------------------------------------------------------------------------- the steps

    def _lives_longer(self, token: AccessToken, me: Me, than: timedelta) -> bool:
        return token.expires_at is None or token.expires_at - self._server_time(me) > than

    def _nothing_to_do(self, present: CurrentToken, me: Me) -> RotationResult:
        token = present.token
        expires = f"{token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "never"
        self._log.info("Token %s expires %s: nothing to do", token.id, expires)
        revoked: tuple[str, ...] = ()
        if present.known_by != "use":
            revoked = self._revoke(self._past_their_time(token, me))
        return RotationResult(False, token.id, token.expires_at, None, revoked)

    def _create(self, present: CurrentToken | None, me: Me) -> tuple[AccessToken, str]:
        """Create a token and prove that it works. It is revoked again when it does not."""
        self._asked_at = self._clock.monotonic()
        description = self._mark.on(self._description, present.token.id if present else None)
        try:
            answer = self._hook.send(create_api_access_token(self._lifetime, description=description))
        except TrifactaApiError as error:
            if may_have_been_carried_out(error):
                self._log.warning("If a token was created, it is left over; a later rotation revokes it")
            raise
        value, info = answer.get("tokenValue"), answer.get("tokenInfo")
        if isinstance(value, str) and value:
            mask_secret(value)
        if not (isinstance(value, str) and value and isinstance(info, dict) and info.get("tokenId")):
            raise TrifactaRotationError(
                "The API answered the creation of a token without its value or its id, so it was not stored; the "
                "token before still works"
            )
        new = AccessToken.read(info)
        self._log.info("Created token %s", new.id)
        try:
            self._prove(value, me)
        except TrifactaError as error:
            self._revoke_unstored(new)
            raise TrifactaRotationError(
                f"The new token {new.id} could not be proven to work, so it was not stored; the token before "
                f"still works: {error}"
            ) from error
        return new, value

    def _prove(self, value: str, me: Me) -> None:
        """Make a call with a token.

        :raises TrifactaError: it does not work, or belongs to somebody else.
        """
        with TrifactaClient(self._hook.client.settings, value, clock=self._clock) as client:
            person = client.send(get_current_person().within(_LONGEST_ROTATION / 2)).get("id")
        if me.id is not None and str(person) != me.id:
            raise TrifactaRotationError(f"The new token belongs to user {person}, the stored one to {me.id}")

    def _keep_new(self, new: AccessToken, value: str, old: str, me: Me) -> bool:
        """Store the new token. Return False when another rotation has stored one meanwhile, which stays."""
        if self._hook.read_token() != old:
            self._revoke_unstored(new)
            self._log.warning(
                "Another rotation stored a token meanwhile, which stays; token %s was revoked", new.id
            )
            return False
        if self._clock.monotonic() - self._asked_at > _LONGEST_ROTATION:
            self._revoke_unstored(new)
            raise TrifactaRotationError(
                f"Creating and proving token {new.id} took longer than {_LONGEST_ROTATION:.0f} s, after which "
                "another rotation may take it for left over, so it was not stored; the token before still works"
            )
        self._write(new, value)
        if self._proven(stored := self._hook.read_token(), me) or (
            # Another rotation may have come and gone since it was read.
            (stored := self._hook.read_token()) != value and self._proven(stored, me)
        ):
            if stored == value:
                self._log.info("Stored token %s and read it back", new.id)
            else:
                self._log.warning("Another rotation stored a token after token %s. It works", new.id)
            return True
        if self._proven(old, me):
            self._store.write(old)
            outcome = "The token of before is stored again"
        else:
            outcome = "The token of before does not work either: store one that a person made"
        raise TrifactaRotationError(
            f"Token {new.id} was stored, and the store gives one that does not work. {outcome}"
        )

    def _proven(self, value: str, me: Me) -> bool:
        try:
            self._prove(value, me)
        except TrifactaUnauthorized:
            return False
        return True

    def _write(self, new: AccessToken, value: str) -> None:
        try:
            self._store.write(value)
        except Exception as error:
            # It may be stored all the same, now or a little later: it is left alive.
            if self._hook.read_token() != value:
                raise TrifactaRotationError(
                    f"Token {new.id} could not be stored; the token before still works: {error}"
                ) from error

    def _tidy(self, new: AccessToken, value: str, present: CurrentToken | None, me: Me) -> tuple[str, ...]:
        """Revoke what is superseded and past its time, and what killed rotations left."""
        previous = present.token if present and present.token.id != new.id else None
        superseded = [previous] if previous and not self._keep and self._may_revoke(previous, present) else []
        spared = {new.id, *([previous.id] if previous else [])}
        others = [token for token in self._hook.run(list_tokens()) if token.id not in spared]
        others = sorted(filter(self._mark.is_on, others), key=_created)
        if others and (superseded or previous is None or not self._mark.is_on(previous)):
            # A place is left: for what may be another rotation's, or the token of a moment ago.
            at_least = max(self._keep, timedelta(seconds=_ABANDONED_AFTER))
            if self._server_time(me) - _created(others[-1]) < at_least:
                del others[-1]
        self._wait_until_abandoned(others, me)
        if self._hook.read_token() != value:
            self._log.info("Another rotation came after this one. What is left over is for it to revoke")
            return ()
        return self._revoke([*others, *superseded])

    def _past_their_time(self, stored: AccessToken, me: Me) -> list[AccessToken]:
        """Return the tokens that a rotation earlier than this moment superseded or left over."""
        now = self._server_time(me)
        superseded = self._mark.predecessor_of(stored)
        kept = stored.created_at is not None and now - stored.created_at < self._keep
        found = []
        for token in self._hook.run(list_tokens()):
            if token.id == stored.id:
                continue
            if token.id == superseded:
                if not kept and (self._mark.is_on(token) or self._revoke_others):
                    found.append(token)
            elif self._mark.is_on(token) and self._is_abandoned(token, now):
                found.append(token)
        return found

    # ---------------------------------------------------------------------------------------------------- revoking

    def _may_revoke(self, token: AccessToken, present: CurrentToken | None) -> bool:
        """Return whether the token that was stored may be revoked, once it is superseded."""
        certain = present is not None and present.known_by != "use"
        return self._mark.is_on(token) or (self._revoke_others and certain)

    def _is_abandoned(self, token: AccessToken, now: datetime) -> bool:
        return token.created_at is None or (now - token.created_at).total_seconds() > _ABANDONED_AFTER

    def _wait_until_abandoned(self, tokens: list[AccessToken], me: Me) -> None:
        """Wait until none of the tokens can be about to be stored by another rotation."""
        now = self._server_time(me)
        waits = [
            _ABANDONED_AFTER - (now - token.created_at).total_seconds()
            for token in tokens
            if not self._is_abandoned(token, now) and token.created_at is not None
        ]
        if waits:
            wait = max(waits) + 1.0
            self._log.info("Waiting %.0f s: a rotation that made a token just now may still be at it", wait)
            self._clock.sleep(wait)

    def _revoke(self, tokens: list[AccessToken]) -> tuple[str, ...]:
        """Revoke tokens, as many as the API lets us.

        :raises TrifactaRotationError: some could not be revoked.
        """
        revoked, failures = [], []
        for token in tokens:
            try:
                self._hook.send(delete_api_access_token(token.id))
            except TrifactaApiError as error:
                if error.status not in (404, 410):
                    failures.append(f"{token.id} ({error})")
                    continue
            revoked.append(token.id)
        if revoked:
            self._log.info("Revoked %s", ", ".join(revoked))
        if failures:
            raise TrifactaRotationError(
                "The stored token works, but these are superseded or left over and could not be revoked: "
                + "; ".join(failures)
                + ". The next rotation tries again"
            )
        return tuple(revoked)

    def _revoke_unstored(self, new: AccessToken) -> None:
        try:
            self._hook.send(delete_api_access_token(new.id).within(_LONGEST_ROTATION / 2))
        except TrifactaError as error:
            self._log.warning("Token %s, which was not stored, could not be revoked: %s", new.id, error)

    def _server_time(self, me: Me) -> datetime:
        return datetime.fromtimestamp(self._clock.time() + me.clock_offset, UTC)


def _created(token: AccessToken) -> datetime:
    return token.created_at or datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Mark:
    """What tells the tokens of a connection's rotation apart from all others.

    :param key: a hash of what makes the connection and its Airflow unique. Where that changes, the tokens of
        before are no longer taken for ours: they stay until they expire.
    """

    key: str

    @classmethod
    def of(cls, conn_id: str, base_url: str) -> _Mark:
        parts = [conn_id, base_url, *(conf.get(*name, fallback="") or "" for name in _IDENTIFYING_SETTINGS)]
        return cls(hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16])

    def on(self, description: str, predecessor: str | None) -> str:
        """Return a description with the mark."""
        return f"{description} [airflow-provider-trifacta {self.key} after {predecessor or '-'}]"

    def is_on(self, token: AccessToken) -> bool:
        return f"[airflow-provider-trifacta {self.key} " in token.description

    def predecessor_of(self, token: AccessToken) -> str | None:
        """Return the id of the token that this one superseded, None when it is not said."""
        found = re.search(rf"\[airflow-provider-trifacta {self.key} after (\S+)\]", token.description)
        return found[1] if found and found[1] != "-" else None
