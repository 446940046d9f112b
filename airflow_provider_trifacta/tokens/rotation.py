"""Replaces the token of a connection, so that the stored token works at every moment.

This order makes it safe to be killed at any point::

    can the store be written?  who are we, and which token is this?
    create -> prove -> store            within a minute, or it is given up
    read back, prove -> revoke

Nothing is revoked before another token is stored and proven. Tokens that a rotation of this connection created
carry a mark in their description. At most two of them survive a rotation: the stored token and its predecessor or,
if a user created the predecessor, the newest other marked token. The rest was superseded earlier, or left over by
killed rotations. A token younger than the maximum duration of a rotation may be about to be stored by a concurrent
rotation, so it is not revoked until it is older.

A token that a user created has no mark. Once it is superseded, the marks of our tokens name it until it is
revoked, however many rotations that takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.compat import mask_secret
from airflow_provider_trifacta.api.access_tokens import AccessToken, CurrentToken, find_current_token, list_tokens
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaError,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.api.identity import Me, who_am_i
from airflow_provider_trifacta.api.operations import (
    create_api_access_token,
    delete_api_access_token,
    get_current_person,
)
from airflow_provider_trifacta.api.retries import may_have_been_carried_out
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.exceptions import TrifactaRotationError
from airflow_provider_trifacta.tokens.marks import Mark, later

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.token_stores import TokenStore

#: Maximum seconds from requesting a token to storing it. A rotation that takes longer gives up.
_LONGEST_ROTATION = 60.0
#: Age in seconds after which a token will no longer be stored: the above, plus the time that storing may take.
_ABANDONED_AFTER = 90.0


@dataclass(frozen=True)
class RotationResult:
    """What a rotation did. Contains ids, never a token value.

    :param rotated: False if the current token is valid for long enough.
    :param token_id: the stored token, None if the API does not reveal which one it is.
    :param expires_at: when it expires, None for never or unknown.
    :param previous_token_id: the token stored before.
    :param revoked: the tokens that were revoked.
    """

    rotated: bool
    token_id: str | None
    expires_at: datetime | None
    previous_token_id: str | None
    revoked: tuple[str, ...]

    def as_xcom(self) -> dict[str, Any]:
        """Return the result as plain values."""
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
    :param lifetime: lifetime of the new token in seconds; -1 for one that never expires.
    :param description: description of the new token, for users.
    :param keep_previous_for: how long the superseded token stays valid.
    :param revoke_others: whether a superseded token is revoked even if no rotation created it.
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
        self._mark = Mark.of(hook.trifacta_conn_id, hook.client.settings.base_url)

    def run(self, *, rotate_when_remaining: timedelta | None) -> RotationResult:
        """Rotate, unless the current token is valid for longer than ``rotate_when_remaining``.

        :raises TrifactaRotationError: says what to do.
        :raises TrifactaApiError: the API refused; nothing was changed.
        """
        reason = self._store.why_not_writable()
        if reason:
            raise TrifactaRotationError(
                f"The token of connection {self._hook.trifacta_conn_id!r} cannot be replaced in its store, so "
                f"none was created: {reason}"
            )
        me = self._hook.run(who_am_i(self._clock))
        old = self._hook.read_token()
        present = self._hook.run(find_current_token(old))
        if present is None:
            self._log.warning("The API does not reveal which of the user's tokens is the stored one")
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
            revoked = self._revoke(self._left_over(token, me))
        return RotationResult(False, token.id, token.expires_at, None, revoked)

    def _create(self, present: CurrentToken | None, me: Me) -> tuple[AccessToken, str]:
        """Create a token and prove that it works; revoke it if it does not."""
        description = self._marked(present, me)
        self._asked_at = self._clock.monotonic()
        try:
            answer = self._hook.send(create_api_access_token(self._lifetime, description=description))
        except TrifactaApiError as error:
            if may_have_been_carried_out(error):
                self._log.warning("If a token was created anyway, a later rotation revokes it")
            if isinstance(error, TrifactaAnswerNotUnderstood):
                raise TrifactaRotationError(
                    "The API returned no usable value or id for the new token, so it was not stored; the previous "
                    f"token still works: {error}"
                ) from error
            raise
        value = answer["tokenValue"]
        mask_secret(value)
        new = replace(AccessToken.read(answer["tokenInfo"]), description=description)
        self._log.info("Created token %s", new.id)
        try:
            self._prove(value, me)
        except TrifactaError as error:
            self._revoke_unstored(new)
            raise TrifactaRotationError(
                f"The new token {new.id} could not be verified, so it was not stored; the previous token still "
                f"works: {error}"
            ) from error
        return new, value

    def _marked(self, present: CurrentToken | None, me: Me) -> str:
        """Return the description of the new token: it names what it supersedes and what is still to be revoked."""
        tokens = self._hook.run(list_tokens())
        before = present.token if present else None
        kept = self._superseded(before, tokens)
        living = {token.id for token in tokens if not self._mark.is_on(token)}
        kept = {name: until for name, until in kept.items() if name in living}
        # A token that a user created is revoked only if it certainly was the stored one.
        predecessor = (
            before if present and (present.known_by != "use" or self._mark.is_on(present.token)) else None
        )
        if predecessor is not None:
            kept = {predecessor.id: later(self._server_time(me), self._keep), **kept}
        description = self._mark.on(self._description, predecessor.id if predecessor else None, kept)
        forgotten = [name for name in kept if name not in description]
        if forgotten:
            self._log.warning(
                "No later rotation will revoke %s: shorten description, to leave room for their ids",
                ", ".join(forgotten),
            )
        return description

    def _prove(self, value: str, me: Me) -> None:
        """Make a call with a token.

        :raises TrifactaError: it does not work, or belongs to somebody else.
        """
        with self._hook.client.with_token(value) as client:
            person = client.send(get_current_person().within(_LONGEST_ROTATION / 2)).get("id")
        if me.id is not None and str(person) != me.id:
            raise TrifactaRotationError(
                f"The new token belongs to user {line(str(person), 100)}, the stored one to {line(me.id, 100)}"
            )

    def _keep_new(self, new: AccessToken, value: str, old: str, me: Me) -> bool:
        """Store the new token. Return False if another rotation stored one meanwhile; that one stays."""
        try:
            still_old = self._hook.read_token() == old
        except Exception:
            self._revoke_unstored(new)
            raise
        if not still_old:
            self._revoke_unstored(new)
            self._log.warning(
                "Another rotation has stored a token meanwhile, which is kept; token %s was revoked", new.id
            )
            return False
        if self._clock.monotonic() - self._asked_at > _LONGEST_ROTATION:
            self._revoke_unstored(new)
            raise TrifactaRotationError(
                f"Creating and verifying token {new.id} took longer than {_LONGEST_ROTATION:.0f} s, after which "
                "another rotation may revoke it, so it was not stored; the previous token still works"
            )
        self._write(new, value)
        if self._proven(stored := self._hook.read_token(), me) or (
            # Another rotation may have run since it was read.
            (stored := self._hook.read_token()) != value and self._proven(stored, me)
        ):
            if stored == value:
                self._log.info("Stored token %s and read it back", new.id)
            else:
                self._log.warning("Another rotation has already replaced token %s. The new one works", new.id)
            return True
        if self._proven(old, me):
            self._store.write(old)
            outcome = "The previous token was restored"
        else:
            outcome = "The previous token does not work either: create one in the application and store it"
        raise TrifactaRotationError(
            f"Token {new.id} was stored, but the store returns one that does not work. {outcome}"
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
            # The token may have been stored anyway, or be stored a little later, so it is not revoked.
            if self._hook.read_token() != value:
                raise TrifactaRotationError(
                    f"Token {new.id} could not be stored; the previous token still works: {error}"
                ) from error

    def _tidy(self, new: AccessToken, value: str, present: CurrentToken | None, me: Me) -> tuple[str, ...]:
        """Revoke superseded tokens that are no longer kept, and tokens left over from killed rotations."""
        previous = present.token if present and present.token.id != new.id else None
        tokens = self._hook.run(list_tokens())
        superseded = self._past_their_time(new, tokens, me)
        spared = {new.id, *([previous.id] if previous else [])}
        others = [token for token in tokens if self._mark.is_on(token) and token.id not in spared]
        others.sort(key=_created)
        gone = {token.id for token in superseded}
        if others and (previous is None or previous.id in gone or not self._mark.is_on(previous)):
            # One more may stay: it may be another rotation's, or have been the stored one just now.
            at_least = max(self._keep, timedelta(seconds=_ABANDONED_AFTER))
            if self._server_time(me) - _created(others[-1]) < at_least:
                del others[-1]
        self._wait_until_abandoned(others, me)
        if self._hook.read_token() != value:
            self._log.info("Another rotation has run since, and revokes the leftover tokens")
            return ()
        return self._revoke([*others, *superseded])

    def _left_over(self, stored: AccessToken, me: Me) -> list[AccessToken]:
        """Return the tokens that earlier rotations superseded or left over."""
        now = self._server_time(me)
        tokens = self._hook.run(list_tokens())
        superseded = self._past_their_time(stored, tokens, me)
        spared = {stored.id, self._mark.predecessor_of(stored)}
        others = [token for token in tokens if self._mark.is_on(token) and token.id not in spared]
        return [*(token for token in others if self._is_abandoned(token, now)), *superseded]

    # ---------------------------------------------------------------------------------------------------- revoking

    def _past_their_time(self, stored: AccessToken, tokens: list[AccessToken], me: Me) -> list[AccessToken]:
        """Return the superseded tokens that are no longer kept: the previous one, and those that users created."""
        now = self._server_time(me)
        kept = self._superseded(stored, tokens)
        over = [token for token in tokens if token.id in kept and kept[token.id] <= now]
        before = self._mark.predecessor_of(stored)
        return [
            token for token in over if (token.id == before if self._mark.is_on(token) else self._revoke_others)
        ]

    def _superseded(self, stored: AccessToken | None, tokens: list[AccessToken]) -> dict[str, datetime]:
        """Return, by id, when each superseded token may be revoked, as far as the marks specify it.

        The stored token's mark takes precedence, then those of its predecessors, then those of other tokens that
        were once stored, since a user may have replaced ours. The marks of tokens left over from killed rotations
        are ignored, since those superseded nothing.
        """
        by_id = {token.id: token for token in tokens}
        once_stored = sorted(filter(self._was_stored, tokens), key=_created, reverse=True)
        kept: dict[str, datetime] = {}
        seen: set[str] = set()
        for begin in (stored, *once_stored):
            token = begin
            while token is not None and token.id not in seen:
                seen.add(token.id)
                for name, until in self._mark.kept_by(token, keep=self._keep).items():
                    kept.setdefault(name, until)
                token = by_id.get(self._mark.predecessor_of(token) or "")
        if stored is not None:
            kept.pop(stored.id, None)
        return kept

    def _was_stored(self, token: AccessToken) -> bool:
        """Return whether one of our tokens is known to have been stored: it was used too late for a proof."""
        created, used = token.created_at, token.last_used
        known = created is not None and used is not None and (used - created).total_seconds() > _ABANDONED_AFTER
        return known and self._mark.is_on(token)

    def _is_abandoned(self, token: AccessToken, now: datetime) -> bool:
        return token.created_at is None or (now - token.created_at).total_seconds() > _ABANDONED_AFTER

    def _wait_until_abandoned(self, tokens: list[AccessToken], me: Me) -> None:
        """Wait until no other rotation can be about to store one of the tokens."""
        now = self._server_time(me)
        waits = [
            _ABANDONED_AFTER - (now - token.created_at).total_seconds()
            for token in tokens
            if not self._is_abandoned(token, now) and token.created_at is not None
        ]
        if waits:
            wait = max(waits) + 1.0
            self._log.info("Waiting %.0f s: a rotation that has just created a token may still be running", wait)
            self._clock.sleep(wait)

    def _revoke(self, tokens: list[AccessToken]) -> tuple[str, ...]:
        """Revoke tokens, as many as the API allows.

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
                "The stored token works, but these superseded or leftover tokens could not be revoked: "
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
