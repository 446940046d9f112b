"""Refreshes the OAuth 2.0 token pair of a connection: the stored pair works, or an error says what happened.

The order makes it safe to be killed or suspended at any point::

    read the pair -> take the turn -> announce the refresh in the stored pair, and read that back
    send the refresh token            at most three times, and only while the turn is certainly ours
    store the new pair, read it back  for up to 15 minutes: the old one is dead

Only a task that dies between the answer and the store loses the pair: no client can prevent that, since the
refresh token dies when it is used. The announcement then says when that was, and which task it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.compat import mask_secret
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaError,
    TrifactaTransportError,
)
from airflow_provider_trifacta.api.retries import may_have_been_carried_out
from airflow_provider_trifacta.api.text import line, sentence
from airflow_provider_trifacta.connection import name_of
from airflow_provider_trifacta.exceptions import (
    TrifactaOAuthPairLost,
    TrifactaRefreshError,
    TrifactaRefreshRefused,
)
from airflow_provider_trifacta.tokens.oauth_pair import OAuthPair, RefreshAttempt
from airflow_provider_trifacta.tokens.turns import NotOurTurnError, Stored, Turn

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.clock import Clock
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.api.redaction import Redactor
    from airflow_provider_trifacta.api.token_endpoint import FreshTokens, TokenEndpoint

#: Seconds after which a refresh ends, unless it holds a pair that it could not store yet.
LONGEST_REFRESH = 110.0
#: How often the same refresh token is sent.
_MOST_REQUESTS = 3
#: Seconds between two requests, if the endpoint does not ask for more; and the most that it may ask for.
_PAUSE, _LONGEST_PAUSE = 1.0, 20.0
#: Seconds for which a new pair is stored again and again, and the longest pause between two attempts.
_STORING, _LONGEST_STORE_PAUSE = 900.0, 15.0
#: Where users generate a pair.
PAGE = "the page 'OAuth 2.0 API Tokens' of the application"


@dataclass(frozen=True)
class RefreshResult:
    """What a refresh did. Contains no token.

    :param refreshed: False if another task replaced the pair meanwhile.
    :param expires_at: when the stored access token expires.
    :param refresh_token_ends_at: when the stored refresh token expires, None when that is not known.
    """

    refreshed: bool
    expires_at: datetime | None
    refresh_token_ends_at: datetime | None

    def as_xcom(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "refreshed": self.refreshed,
            "expires_at": self.expires_at and self.expires_at.isoformat(),
            "refresh_token_ends_at": self.refresh_token_ends_at and self.refresh_token_ends_at.isoformat(),
        }


class OAuthRefresh:
    """Refreshes one pair once.

    :param turn: decides whose turn it is.
    :param read: reads and masks what is stored.
    :param endpoint: issues new pairs.
    :param conn_id: the Airflow connection, for users.
    :param where: where its pair is kept, for users.
    :param by: which task this is, for users.
    :param take_over_after: seconds after which a task that makes no progress may be replaced.
    :param days: lifetime of the refresh token in days, None when it is not known.
    :param deadline: when to end, on the monotonic clock.
    :param redactor: knows the tokens that were read; errors of a store may quote them.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        read: Callable[[], Stored],
        endpoint: TokenEndpoint,
        conn_id: str,
        where: str,
        by: str,
        take_over_after: float,
        days: float | None,
        deadline: float,
        clock: Clock,
        log: Log,
        redactor: Redactor,
    ) -> None:
        self._turn = turn
        self._read = read
        self._endpoint = endpoint
        self._where = where
        self._named = f"{name_of(conn_id)}{where}: "
        self._by = by
        self._take_over_after = take_over_after
        self._days = days
        self._deadline = deadline
        self._clock = clock
        self._log = log
        self._redactor = redactor
        self._maybe_spent = False

    def run(self, seen: OAuthPair | None = None) -> RefreshResult:
        """Refresh the pair, or see that another task has replaced it.

        :param seen: the pair to refresh; None refreshes what is stored.
        :raises TrifactaOAuthPairLost: the refresh token no longer works; a user has to generate a pair.
        :raises TrifactaRefreshRefused: the token endpoint refuses the request as it is configured.
        :raises TrifactaRefreshError: the pair was not refreshed; the next run tries again.
        :raises TrifactaTokenUnreadable: the pair could not be read.
        """
        start = self._read()
        if seen is not None and not start.pair.has_tokens_of(seen):
            return self._result(start.pair, refreshed=False)
        while True:
            try:
                return self._refresh(start)
            except NotOurTurnError:
                found = self._read()
            except (TrifactaOAuthPairLost, TrifactaRefreshRefused) as error:
                raise type(error)(f"{self._named}{sentence(str(error))}") from error
            except TrifactaRefreshError as error:
                raise self._not_refreshed(error) from error
            if not found.pair.has_tokens_of(start.pair):
                self._log.info("Another pair has been stored meanwhile: nothing left to do")
                return self._result(found.pair, refreshed=False)
            if self._clock.monotonic() >= self._deadline:
                raise self._not_refreshed(TrifactaRefreshError("other tasks refresh the pair all the time"))

    def _not_refreshed(self, error: TrifactaRefreshError) -> TrifactaRefreshError:
        """Return the error with what it means for the refresh token."""
        outcome = "Nothing was spent: the next run tries again"
        if self._maybe_spent:
            outcome = "Whether the refresh token was spent is not known: the next run finds out"
        return TrifactaRefreshError(f"{self._named}{sentence(str(error))} {outcome}")

    def _refresh(self, start: Stored) -> RefreshResult:
        spent: OAuthPair | None = None
        stored: OAuthPair | None = None
        try:
            seen = self._take_turn(start)
            announced = self._announce(seen)
            fresh = self._request(announced)
            for token in (fresh.access_token, fresh.refresh_token):
                if token is not None:
                    mask_secret(token)
                    self._redactor.add(token)
            stored = self._store(announced, announced.pair.refreshed(fresh, now=self._now()))
            spent = announced.pair
        finally:
            self._give_back(spent, stored)
        if fresh.unusable:
            self._log.warning(
                "%s issued a refresh token that cannot be used, so the old one is kept. If that no longer works, "
                "the next refresh fails with invalid_grant",
                self._endpoint.url,
            )
        if stored.access_token is None:
            self._log.warning(
                "%s issued no access token that can be sent, only a refresh token", self._endpoint.url
            )
        else:
            self._log.info(
                "The token pair was refreshed. The access token is valid until %s", _time(stored.expires_at)
            )
        return self._result(stored, refreshed=True)

    def _give_back(self, spent: OAuthPair | None, stored: OAuthPair | None) -> None:
        try:
            self._turn.give_back(spent, stored)
        except Exception as error:
            self._log.warning(
                "The claim could not be freed, so the next refresh waits for it: %s", self._quoted(error)
            )

    def _take_turn(self, start: Stored) -> Stored:
        with self._store_failing():
            return self._turn.take(start)

    def _announce(self, seen: Stored) -> Stored:
        self._turn.check()
        attempt = RefreshAttempt(str(uuid.uuid4()), self._now(), self._by)
        with self._store_failing():
            return self._turn.write(seen, seen.pair.announcing(attempt))

    # ------------------------------------------------------------------------------------------ the token endpoint

    def _request(self, announced: Stored) -> FreshTokens:
        """Send the refresh token until there is an answer."""
        for number in range(1, _MOST_REQUESTS + 1):
            self._check_turn(announced)
            left = self._deadline - self._clock.monotonic()
            try:
                return self._endpoint.refresh(
                    announced.pair.refresh_token, seconds=min(self._take_over_after / 2, max(left, 1.0))
                )
            except TrifactaApiError as error:
                failure = error
            except TrifactaError:  # nothing was sent: a proxy in the environment cannot be used
                self._withdraw(announced, spent=self._maybe_spent)
                raise
            if failure.name == "invalid_grant" and failure.status is not None and failure.status < 500:
                self._end_refused_grant(announced, failure)
            may_pass = _may_pass(failure)
            self._maybe_spent = self._maybe_spent or (may_pass and may_have_been_carried_out(failure))
            pause = min(_LONGEST_PAUSE, max(_PAUSE, failure.retry_after or 0.0))
            left = self._deadline - self._clock.monotonic() - pause
            last = number == _MOST_REQUESTS or left <= _PAUSE or not self._turn.outlasts(pause)
            if not may_pass or last:
                self._withdraw(announced, spent=self._maybe_spent)
                raise self._failed(failure)
            self._log.warning("The same refresh token is sent again in %.1f s. %s", pause, failure.without_hint())
            self._clock.sleep(pause)
            with self._store_failing(f"{self._endpoint.url} did not answer with a pair ({failure}). Then "):
                found = self._read()
                if found.text != announced.text:
                    raise NotOurTurnError
                announced = self._turn.extend(found)
        raise AssertionError("the last request returns or raises")

    def _check_turn(self, announced: Stored) -> None:
        """Check that the turn is certain to be ours; else take the announcement back."""
        try:
            self._turn.check()
        except TrifactaRefreshError:
            self._withdraw(announced, spent=self._maybe_spent)
            raise

    def _end_refused_grant(self, announced: Stored, failure: TrifactaApiError) -> None:
        """End a refresh whose refresh token does not work.

        :raises NotOurTurnError: another one is stored meanwhile.
        :raises TrifactaOAuthPairLost: it is still the same.
        :raises TrifactaRefreshError: this task was suspended, and used a refresh token that had been replaced.
        """
        with self._store_failing(f"{self._endpoint.url} refuses the refresh token ({failure.name}). Then "):
            found = self._read()
        if found.pair.refresh_token != announced.pair.refresh_token:
            suspended = self._turn.held_for()
            if suspended > self._take_over_after:
                self._maybe_spent = True
                raise TrifactaRefreshError(
                    f"this task was suspended for about {suspended:.0f} s, and then sent a refresh token that "
                    "another task had replaced. If the next refresh fails with invalid_grant, the server has "
                    f"revoked the pair because of that: generate a new one on {PAGE} then"
                )
            raise NotOurTurnError
        earlier = announced.pair.unresolved or (announced.pair.refreshing if self._maybe_spent else None)
        # What was refused was not answered with a pair: only a request before it can have spent the token.
        self._withdraw(announced, spent=self._maybe_spent)
        reason = "It was used before, has expired, or was revoked"
        if announced.pair.access_token is None and earlier is None:
            reason = "It was used before, has expired, was revoked, or is not a refresh token but an access token"
        if earlier is not None:
            reason = f"A refresh {earlier} was answered and never stored, or {reason[0].lower()}{reason[1:]}"
        raise TrifactaOAuthPairLost(
            f"the refresh token is refused ({failure.name}). {reason}. {self._paste}. Waiting tasks then go on"
        )

    @property
    def _paste(self) -> str:
        """What a user has to do once the pair is lost."""
        return f"Generate a new pair on {PAGE}. Paste its refresh token into {self._where}"

    def _withdraw(self, announced: Stored, *, spent: bool) -> None:
        """Take the announcement back, so that the next refresh does not wait for this one."""
        try:
            if self._turn.is_still_ours() and self._read().text == announced.text:
                self._turn.write(announced, announced.pair.withdrawn(spent=spent))
        except Exception as error:
            self._log.warning("The announcement of the refresh could not be taken back: %s", self._quoted(error))

    def _failed(self, failure: TrifactaApiError) -> TrifactaRefreshError:
        """Return the error for a request that was not answered with a pair."""
        said = f"{failure.status} {failure.name or ''}".strip()
        if _may_pass(failure):
            return TrifactaRefreshError(
                f"the token endpoint {self._endpoint.url} did not answer with a pair. {failure}"
            )
        if failure.name in ("invalid_client", "unauthorized_client"):
            return TrifactaRefreshRefused(
                f"the client id is not known to the token endpoint ({said}). Check the extra oauth_client_id: "
                f"copy the client id from {PAGE}"
            )
        if failure.name is None or failure.status in (404, 405):
            return TrifactaRefreshRefused(
                f"there is no token endpoint at {self._endpoint.url} ({said}). Check the extra oauth_token_url: "
                f"copy the token endpoint from {PAGE}"
            )
        return TrifactaRefreshRefused(
            f"the token endpoint refuses the request ({said}: {failure.message or 'no message'})"
        )

    # ---------------------------------------------------------------------------------------------------- storing

    def _store(self, announced: Stored, pair: OAuthPair) -> OAuthPair:
        """Store a new pair: nothing else has it.

        :return: what is stored afterwards: a pair that a user pasted meanwhile stays.
        """
        until = self._clock.monotonic() + _STORING
        pause = _PAUSE
        while True:
            try:
                found = self._read()
                if found.text == pair.stored():
                    return pair
                if found.pair.refresh_token == pair.refresh_token != announced.pair.refresh_token:
                    return pair  # and another task refreshes it already
                if found.pair.refresh_token != announced.pair.refresh_token:
                    self._log.warning(
                        "Another refresh token was stored meanwhile: it stays, the new pair is dropped"
                    )
                    raise NotOurTurnError
                return self._turn.write(found, pair).pair
            except NotOurTurnError:
                if self._is_replaced(announced, pair):
                    raise
            except Exception as error:
                problem = self._quoted(error)
                if self._clock.monotonic() + pause > until:
                    raise TrifactaOAuthPairLost(
                        f"the pair was refreshed, but could not be stored for {_STORING / 60:.0f} minutes, and is "
                        f"lost ({problem}). {self._paste}"
                    ) from self._cause(error)
                self._log.warning("The new pair could not be stored, trying again in %.0f s: %s", pause, problem)
            self._clock.sleep(pause)
            pause = min(_LONGEST_STORE_PAUSE, pause * 2)

    def _is_replaced(self, announced: Stored, pair: OAuthPair) -> bool:
        """Return whether the stored refresh token is neither the one that was spent nor the new one."""
        try:
            found = self._read().pair.refresh_token
        except Exception:
            return False
        return found not in (announced.pair.refresh_token, pair.refresh_token)

    # ----------------------------------------------------------------------------------------- errors of the store

    @contextmanager
    def _store_failing(self, before: str = "") -> Iterator[None]:
        """Turn whatever a store raises in the block into an error of the refresh.

        :param before: what happened before the block.
        """
        try:
            yield
        except (NotOurTurnError, TrifactaConfigurationError, TrifactaRefreshError):
            raise
        except Exception as error:
            if isinstance(error, TrifactaError) and not before:
                raise
            reason = f"the store failed ({self._quoted(error)}): check Airflow, or the store"
            raise TrifactaRefreshError(before + reason) from self._cause(error)

    def _quoted(self, error: Exception) -> str:
        """Return an error of a store without the tokens that it may quote."""
        return line(self._redactor.redact(f"{type(error).__name__}: {error}"), 500)

    def _cause(self, error: Exception) -> Exception | None:
        """Return an error of a store as the cause of another, unless it quotes a token."""
        return error if self._redactor.redact(str(error)) == str(error) else None

    def _result(self, pair: OAuthPair, *, refreshed: bool) -> RefreshResult:
        return RefreshResult(refreshed, pair.expires_at, pair.ends_at(self._days))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def _may_pass(failure: TrifactaApiError) -> bool:
    """Return whether the same request may be answered with a pair later."""
    if isinstance(failure, TrifactaAnswerNotUnderstood):
        passes = failure.name in (None, "server_error", "temporarily_unavailable")
        return passes and failure.status is not None and 200 <= failure.status < 300
    return (
        isinstance(failure, TrifactaTransportError) or failure.status == 429 or may_have_been_carried_out(failure)
    )


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown time"
