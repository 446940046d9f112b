"""The credentials of an Airflow connection: API access tokens and OAuth 2.0 access tokens, as they are stored."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import socket
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from airflow_provider_trifacta.airflow_support.cancellation import keep_message_of_cancel
from airflow_provider_trifacta.api.credentials import StaticToken
from airflow_provider_trifacta.api.procedures import Pause, drive, drive_async
from airflow_provider_trifacta.exceptions import TrifactaTokenNotRefreshed
from airflow_provider_trifacta.tokens.access_tokens import AccessTokenProcedure, ReadPair, await_access_token

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.credentials import Credential
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.tokens.oauth_connection import OAuthConnection
    from airflow_provider_trifacta.tokens.oauth_pair import OAuthPair

#: Seconds until a refused API access token is read again.
_SECOND_LOOK = 3.0
#: Age in seconds from which on a task reads the access token again before it sends it. This saves a refusal, and
#: keeps the one that a signal handler has to use fresh.
_OLD = 60.0


#: The refreshes in progress in an event loop, by connection.
_refreshes: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Future[None]]] = WeakKeyDictionary()


class StoredToken:
    """The API access token in the store of an Airflow connection, for the synchronous client."""

    def __init__(self, hook: TrifactaHook, value: str) -> None:
        self._hook = hook
        self._value = value

    def token(self) -> str:
        """Return the token."""
        return self._value

    def reread(self, patience: float) -> str:
        """Read the token again."""
        found = self._hook.read_token()
        if found == self._value:
            # The token may be about to be replaced, so read it once more shortly afterwards.
            self._hook.sleep(_SECOND_LOOK)
            found = self._hook.read_token()
        self._value = found
        return found

    def detached(self) -> StaticToken:
        """Return the token as it is now."""
        return StaticToken(self._value)


class AsyncStoredToken:
    """The API access token in the store of an Airflow connection, for the asynchronous client."""

    def __init__(self, hook: TrifactaHook, value: str) -> None:
        self._hook = hook
        self._value = value

    async def token(self) -> str:
        """Return the token."""
        return self._value

    async def reread(self, patience: float) -> str:
        """Read the token again."""
        found = await self._hook.async_read_token()
        if found == self._value:
            await self._hook.clock.async_sleep(_SECOND_LOOK)
            found = await self._hook.async_read_token()
        self._value = found
        return found


class _OAuthToken:
    """What both clients do with the access token of an OAuth connection."""

    def __init__(self, hook: TrifactaHook, oauth: OAuthConnection) -> None:
        self._hook = hook
        self._oauth = oauth
        self._pair: OAuthPair | None = None
        self._read_at = 0.0

    @property
    def ends_at(self) -> datetime | None:
        """When the refresh token expires, None when that is not known."""
        return None if self._pair is None else self._pair.ends_at(self._oauth.oauth.refresh_token_days)

    @property
    def _value(self) -> str | None:
        return None if self._pair is None else self._pair.access_token

    def _awaiting(self, refused: str | None, patience: float) -> AccessTokenProcedure:
        return await_access_token(
            refused,
            patience=patience,
            on_demand=self._oauth.oauth.refresh_on_demand,
            conn_id=self._oauth.conn_id,
            where=self._oauth.where,
            clock=self._hook.clock,
            random_number=random.random,
            log=self._hook.log,
        )

    def _keep(self, pair: OAuthPair) -> str:
        self._pair, self._read_at = pair, self._hook.clock.monotonic()
        return pair.access_token or ""

    def _read(self) -> OAuthPair:
        return self._oauth.read().pair

    def _refresh(self, seen: OAuthPair) -> None:
        self._oauth.refresh(by=_this_process(), clock=self._hook.clock, log=self._hook.log, seen=seen)


class OAuthToken(_OAuthToken):
    """The access token of an OAuth connection, for the synchronous client."""

    def token(self) -> str:
        """Return the token, waiting for the first one as long as the retry budget allows."""
        if self._value is None:
            return self.reread(self._hook.retries.budget)
        if self._hook.clock.monotonic() - self._read_at > _OLD:
            self._read_again()
        return self._value or ""

    def _read_again(self) -> None:
        try:
            pair = self._read()
        except Exception as error:
            self._read_at = self._hook.clock.monotonic()
            self._hook.log.debug("The access token could not be read again: %s", error)
            return
        if pair.access_token is not None:
            self._keep(pair)

    def reread(self, patience: float) -> str:
        """Wait for another access token than the one that was refused.

        :raises TrifactaTokenNotRefreshed: there was none in time.
        """
        return self._keep(drive(self._awaiting(self._value, patience), self._take))

    def detached(self) -> Credential:
        """Return a credential that calls nothing of Airflow."""
        return _DetachedOAuthToken(self._oauth, self._value or "")

    def _take(self, step: Any) -> Any:
        if isinstance(step, Pause):
            return self._hook.sleep(step.seconds)
        return self._read() if isinstance(step, ReadPair) else self._refresh(step.seen)


class AsyncOAuthToken(_OAuthToken):
    """The access token of an OAuth connection, for the asynchronous client."""

    async def token(self) -> str:
        """Return the token, waiting for the first one as long as the retry budget allows."""
        return self._value or await self.reread(self._hook.retries.budget)

    async def reread(self, patience: float) -> str:
        """Wait for another access token than the one that was refused.

        :raises TrifactaTokenNotRefreshed: there was none in time.
        """
        return self._keep(await drive_async(self._awaiting(self._value, patience), self._take))

    async def _take(self, step: Any) -> Any:
        if isinstance(step, Pause):
            return await self._hook.clock.async_sleep(step.seconds)
        if isinstance(step, ReadPair):
            return await keep_message_of_cancel(sync_to_async(self._read)())
        return await self._refresh_once(step.seen)

    async def _refresh_once(self, seen: OAuthPair) -> None:
        """Refresh, or wait for what another trigger of this loop has begun: each takes a thread for a minute.

        The event loop has few threads, and looks up host names in them.
        """
        under_way = _refreshes.setdefault(asyncio.get_running_loop(), {})
        conn_id = self._oauth.conn_id
        if conn_id not in under_way:
            # Not in the thread that all reads share.
            refresh = asyncio.ensure_future(sync_to_async(self._refresh, thread_sensitive=False)(seen))
            refresh.add_done_callback(functools.partial(_forget, under_way, conn_id))
            under_way[conn_id] = refresh
        # A trigger that is canceled does not end it: it may hold a new pair.
        await asyncio.shield(under_way[conn_id])


class _DetachedOAuthToken:
    """The access token of an OAuth connection in a signal handler."""

    def __init__(self, oauth: OAuthConnection, value: str) -> None:
        self._oauth = oauth
        self._value = value

    def token(self) -> str:
        return self._value

    def reread(self, patience: float) -> str:
        found = None
        if self._oauth.is_readable_without_airflow:
            found = self._oauth.read(mask=False).pair.access_token
            reason = "no other is stored"
        else:
            reason = f"{self._oauth.where} cannot be read now: Airflow must not be called while it kills a task"
        if found is None or found == self._value:
            raise TrifactaTokenNotRefreshed(
                method="", path="", message=f"the access token has expired, and {reason}"
            )
        self._value = found
        return found

    def detached(self) -> _DetachedOAuthToken:
        return self


def _forget(under_way: dict[str, asyncio.Future[None]], conn_id: str, refresh: asyncio.Future[None]) -> None:
    del under_way[conn_id]
    if not refresh.cancelled():
        refresh.exception()  # Otherwise asyncio logs it, if nobody waits any more.


def _this_process() -> str:
    """Return what a refresh on demand is done by, for users."""
    names = [os.environ.get(f"AIRFLOW_CTX_{name}") for name in ("DAG_ID", "TASK_ID", "DAG_RUN_ID")]
    if all(names):
        return f"{names[0]}.{names[1]} {names[2]}"
    return f"process {os.getpid()} on {socket.gethostname()}"
