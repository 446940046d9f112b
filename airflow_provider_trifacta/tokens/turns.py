"""Whose turn it is to refresh a pair: two refreshes with one refresh token would kill it.

A store that can compare before it writes decides by that. Any other, such as an Airflow Variable on Airflow 3, is
guarded by a claim in a second Variable (Fischer's lock): whoever still reads its own id after a delay that is
longer than a write has the turn. No clocks of different machines are compared: a turn of somebody else that has
not changed for a while is taken over, and whoever holds a turn gives up long before that.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypedDict, Unpack

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.exceptions import TrifactaRefreshError
from airflow_provider_trifacta.tokens.oauth_pair import OAuthPair

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.clock import Clock
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.token_stores import ComparingTokenStore, TokenStore

#: Seconds between two reads while somebody else has the turn.
_WATCH_INTERVAL = 1.0
#: Minimum delay in seconds between writing a claim and reading it back.
_SHORTEST_DELAY = 2.0
#: The delay must outlast the writes of others: this many times the duration of our own.
_WRITES_PER_DELAY = 4
#: How many times a comparing store may refuse a write although what it holds has not changed.
_MOST_REFUSALS = 5


class NotOurTurnError(Exception):
    """Somebody else stored another pair, or refreshes now: there is nothing left to do."""


@dataclass(frozen=True)
class Stored:
    """What a store holds: the text and what it means."""

    text: str
    pair: OAuthPair


class TurnArguments(TypedDict):
    """The arguments that every :class:`Turn` has."""

    read: Callable[[], Stored]
    take_over_after: float
    deadline: float
    clock: Clock
    log: Log


class Turn(ABC):
    """The exclusive right to refresh the pair in a store.

    :param read: reads the pair.
    :param take_over_after: seconds after which a turn that does not change may be taken over.
    :param deadline: when the keeper ends, on the monotonic clock.
    """

    def __init__(
        self, read: Callable[[], Stored], *, take_over_after: float, deadline: float, clock: Clock, log: Log
    ) -> None:
        self._read = read
        self._take_over_after = take_over_after
        self._deadline = deadline
        self._clock = clock
        self._log = log
        self._confirmed_at: float | None = None

    @abstractmethod
    def take(self, start: Stored) -> Stored:
        """Wait for the turn; return what is stored then.

        :param start: what was stored when the refresh began.
        :raises NotOurTurnError: somebody else replaced the refresh token meanwhile.
        :raises TrifactaRefreshError: it could not be had within the time of the keeper.
        """

    @abstractmethod
    def write(self, seen: Stored, pair: OAuthPair) -> Stored:
        """Replace what is stored, and read it back.

        :param seen: what was stored before.
        :raises NotOurTurnError: something else is stored meanwhile.
        :raises TrifactaRefreshError: the store does not return what was written.
        """

    @abstractmethod
    def extend(self, seen: Stored) -> Stored:
        """Keep the turn for another request to the token endpoint.

        :raises NotOurTurnError: it was lost.
        """

    @abstractmethod
    def is_still_ours(self) -> bool:
        """Return whether nobody can have taken over yet."""

    @abstractmethod
    def give_back(self, spent: OAuthPair | None = None, stored: OAuthPair | None = None) -> None:
        """End the turn, whatever happened.

        :param spent: the pair that was refreshed, None if none was.
        :param stored: the pair that took its place.
        """

    def check(self) -> None:
        """Check that the turn is certain to be ours for long enough to send a request.

        :raises TrifactaRefreshError: it is not.
        """
        held = self.held_for()
        if held > self._take_over_after / 4:
            raise TrifactaRefreshError(
                f"{held:.1f} s have passed since the turn of this task was confirmed, and another task may take "
                f"over after {self._take_over_after:.0f} s, so this one gives up. Airflow or the machine is slow"
            )

    def held_for(self) -> float:
        """Return the seconds since the turn was confirmed, infinity if it never was."""
        return math.inf if self._confirmed_at is None else self._clock.monotonic() - self._confirmed_at

    def outlasts(self, seconds: float) -> bool:
        """Return whether nobody can take over during a pause."""
        return self.held_for() + seconds <= self._take_over_after * 3 / 4

    def _what_is_announced(self) -> str | None:
        """Return what identifies the refresh in progress, None if there is none."""
        stored = self._read()
        return None if stored.pair.refreshing is None else stored.text

    def _watch(self, start: Stored, what_they_hold: Callable[[], str | None], who: object) -> str | None:
        """Wait until the turn of somebody else ends, or has not changed for long enough.

        :param what_they_hold: returns what identifies the turn and its progress, None if it ended.
        :param who: whoever has the turn, for users.
        :return: what has not changed, None if the turn ended. Only this may be taken over: another task may just
            have done so.
        """
        held, since = what_they_hold(), self._clock.monotonic()
        self._log.info("Another task refreshes the pair: %s. Waiting until it is done", who)
        while held is not None:
            if not self._read().pair.has_tokens_of(start.pair):
                raise NotOurTurnError
            now = self._clock.monotonic()
            if now - since >= self._take_over_after:
                self._log.warning("It has made no progress for %.0f s: taking over", now - since)
                return held
            if now + _WATCH_INTERVAL > self._deadline:
                raise TrifactaRefreshError(
                    f"another task still refreshes the pair: {who}. If that is not a task of this Airflow, give "
                    "each Airflow a pair of its own"
                )
            self._clock.sleep(_WATCH_INTERVAL)
            found = what_they_hold()
            if found != held:
                held, since = found, self._clock.monotonic()
        return None


@dataclass(frozen=True)
class _Claim:
    """What the claim Variable holds, with a copy of the last pair that was stored under it.

    The copy repairs what a task destroys that was suspended within a write, for longer than ``take_over_after``:
    its write puts an older pair in place of the newer one.

    :param text: as it is stored.
    :param holder: who has claimed it, None if it is free.
    :param spent: the fingerprint of the refresh token that the copied pair took the place of.
    :param pair: the copied pair, as it is stored.
    """

    text: str
    holder: str | None = None
    spent: str | None = None
    pair: str | None = None

    @classmethod
    def read(cls, text: str | None) -> _Claim:
        try:
            value = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            value = {}
        if not isinstance(value, dict):
            value = {}
        holder, spent, pair = (value.get(name) for name in ("by", "spent", "pair"))
        return cls(
            text or "",
            str(holder) if holder else None,
            spent if isinstance(spent, str) else None,
            pair if isinstance(pair, str) else None,
        )

    def newer_than(self, stored: Stored) -> OAuthPair | None:
        """Return the copied pair if it took the place of the one that is stored, None otherwise."""
        if self.pair is None or self.spent != _fingerprint(stored.pair.refresh_token):
            return None
        try:
            pair = OAuthPair.read(self.pair)
        except TrifactaConfigurationError:
            return None
        return None if pair.refresh_token == stored.pair.refresh_token else pair


class ClaimedTurn(Turn):
    """A turn that is claimed in a store of its own.

    :param store: where the pair is kept.
    :param claim: where the claim is kept.
    :param by: which task this is, for others.
    :param turn: the arguments of :class:`Turn`.
    """

    def __init__(self, store: TokenStore, claim: ClaimStore, by: str, **turn: Unpack[TurnArguments]) -> None:
        super().__init__(**turn)
        self._store = store
        self._claim = claim
        self._by = by
        self._ours = ""
        self._copy: dict[str, str | None] = {}

    def take(self, start: Stored) -> Stored:
        """Wait for the turn; return what is stored then."""
        while True:
            found = _Claim.read(self._claim.read())
            held = found.holder is not None and found.text != self._ours
            if held:
                stuck = self._watch(start, self._what_they_hold, found.holder)
                found = _Claim.read(self._claim.read())
                if found.holder is not None and found.text != stuck:
                    continue
            if not self._put(found):
                if self._clock.monotonic() >= self._deadline:
                    raise TrifactaRefreshError(
                        f"the claim in Variable {self._claim.name!r} is not what was written there: other tasks "
                        "compete for it, or something takes precedence over the Variable, such as an environment "
                        "variable"
                    )
                continue
            stored = self._read()
            under_way = stored.pair.refreshing
            if under_way is None or held:
                break
            # Whoever freed the claim, or was suspended before it wrote its own, may have left this, and whoever
            # announced it may have sent the refresh token.
            stuck = self._watch(start, self._what_is_announced, f"a refresh {under_way}")
            # Meanwhile the claim has not changed either, so others may be about to take it over.
            if self._claim.read() == self._ours and self._put(found):
                stored = self._read()
                if stored.pair.refreshing is None or stored.text == stuck:
                    break
        newer = found.newer_than(stored)
        if newer is not None:
            self._log.warning("An older pair was stored over a newer one. Going on with the newer one")
            return Stored(stored.text, newer)
        if not stored.pair.has_tokens_of(start.pair):
            raise NotOurTurnError
        return stored

    def _what_they_hold(self) -> str | None:
        found = _Claim.read(self._claim.read())
        return None if found.holder is None else found.text

    def _put(self, found: _Claim) -> bool:
        """Write a claim, wait, and return whether it is still there."""
        self._copy = {"spent": found.spent, "pair": found.pair}
        self._ours = self._claimed()
        began = self._clock.monotonic()
        self._claim.write(self._ours)
        took = self._clock.monotonic() - began
        self._clock.sleep(max(_SHORTEST_DELAY, _WRITES_PER_DELAY * took))
        confirming = self._clock.monotonic()
        if self._claim.read() != self._ours:
            return False
        # Others watch it from the moment it was written.
        slow = confirming - began > self._take_over_after / 4
        self._confirmed_at = began if slow else confirming
        return True

    def write(self, seen: Stored, pair: OAuthPair) -> Stored:
        """Replace what is stored, and read it back."""
        text = pair.stored()
        self._store.write(text)
        found = self._read()
        if found.text == text:
            return found
        if found.text == seen.text:
            raise TrifactaRefreshError(
                "what was written is not what is read: something takes precedence over the Variable, such as a "
                "secrets backend. Remove it there"
            )
        raise NotOurTurnError

    def extend(self, seen: Stored) -> Stored:
        """Keep the turn for another request to the token endpoint."""
        if not self.is_still_ours():
            raise NotOurTurnError
        renewed = self._claimed()
        writing = self._clock.monotonic()
        self._claim.write(renewed)
        self._ours = renewed
        if self._claim.read() != renewed:
            raise NotOurTurnError
        self._confirmed_at = writing
        return seen

    def is_still_ours(self) -> bool:
        """Return whether nobody can have taken over yet."""
        return self.outlasts(0) and self._claim.read() == self._ours

    def give_back(self, spent: OAuthPair | None = None, stored: OAuthPair | None = None) -> None:
        """Free the claim, unless somebody else may have taken it over."""
        if not self.is_still_ours():
            return  # It is, or may be, somebody else's turn. Unchanged, the claim is taken over.
        if spent is not None and stored is not None:
            self._copy = {"spent": _fingerprint(spent.refresh_token), "pair": stored.stored()}
        self._claim.write(json.dumps({"by": None, **self._copy}))

    def _claimed(self) -> str:
        return json.dumps({"id": str(uuid.uuid4()), "by": self._by, **self._copy})


class ComparedTurn(Turn):
    """A turn in a store that compares before it writes: the announcement in the pair itself is the claim.

    :param store: where the pair is kept.
    :param turn: the arguments of :class:`Turn`.
    """

    def __init__(self, store: ComparingTokenStore, **turn: Unpack[TurnArguments]) -> None:
        super().__init__(**turn)
        self._store = store
        self._refusals = 0

    def take(self, start: Stored) -> Stored:
        """Wait for the turn; return what is stored then."""
        stuck: str | None = None
        while True:
            stored = self._read()
            if not stored.pair.has_tokens_of(start.pair):
                raise NotOurTurnError
            if stored.pair.refreshing is None or stored.text == stuck:
                break
            stuck = self._watch(start, self._what_is_announced, f"a refresh {stored.pair.refreshing}")
        self._confirmed_at = self._clock.monotonic()
        return stored

    def write(self, seen: Stored, pair: OAuthPair) -> Stored:
        """Replace what is stored, and read it back."""
        text = pair.stored()
        writing = self._clock.monotonic()
        if not self._store.compare_and_write(seen.text, text):
            self._refusals += 1
            if self._read().text == seen.text and self._refusals >= _MOST_REFUSALS:
                raise TrifactaRefreshError(
                    "the store refuses every write, although what it holds has not changed: check its "
                    "compare_and_write"
                )
            raise NotOurTurnError
        self._confirmed_at = writing
        found = self._read()
        if found.text != text:
            raise TrifactaRefreshError(
                "what was written is not what is read: check that the store reads what it writes"
            )
        return found

    def extend(self, seen: Stored) -> Stored:
        """Keep the turn for another request to the token endpoint."""
        attempt = seen.pair.refreshing
        if attempt is None:
            raise NotOurTurnError
        # Whoever watches sees the progress by the time.
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return self.write(seen, seen.pair.announcing(replace(attempt, at=now)))

    def is_still_ours(self) -> bool:
        """Return True: the store refuses a write if somebody has taken over."""
        return True

    def give_back(self, spent: OAuthPair | None = None, stored: OAuthPair | None = None) -> None:
        """Do nothing: the turn ended with the last write."""


class ClaimStore(Protocol):
    """Keeps the claim.

    :ivar name: the Variable that holds it, for users.
    """

    name: str

    def read(self) -> str | None:
        """Return the claim, None if there has never been one.

        :raises Exception: it cannot be read.
        """
        ...

    def write(self, text: str) -> None:
        """Replace the claim."""
        ...


def _fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:32]
