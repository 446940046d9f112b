"""A credential for calls that run side by side."""

from __future__ import annotations

import asyncio

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.credentials import AsyncCredential


class SharedCredential:
    """Rereads a token once, however many calls were refused with it.

    :param credential: provides the token. It knows nothing of other calls.
    """

    def __init__(self, credential: AsyncCredential, clock: Clock) -> None:
        self._credential = credential
        self._clock = clock
        self._rereading: asyncio.Task[str] | None = None

    async def token(self) -> str:
        """Return the token to send."""
        return await self._credential.token()

    async def other_than(self, refused: str, patience: float) -> str:
        """Return another token than the one that was refused; the same one if there is no other.

        :param patience: maximum seconds to wait for another one.
        """
        until = self._clock.monotonic() + patience
        while True:
            current = await self._credential.token()
            if current != refused:
                # Another call has reread it meanwhile.
                return current
            under_way = self._rereading
            if under_way is None:
                # In a task of its own: a call that is canceled does not end it for the others.
                return await asyncio.shield(self._reread(until - self._clock.monotonic()))
            try:
                return await asyncio.shield(under_way)
            except Exception:
                # The other call's patience is over, ours may not be.
                if self._clock.monotonic() >= until:
                    raise

    def _reread(self, patience: float) -> asyncio.Task[str]:
        reread = asyncio.ensure_future(self._credential.reread(max(0.0, patience)))
        self._rereading = reread
        reread.add_done_callback(self._forget)
        return reread

    def _forget(self, reread: asyncio.Task[str]) -> None:
        self._rereading = None
        if not reread.cancelled():
            reread.exception()  # Otherwise asyncio logs it, if nobody waits any more.

    def close(self) -> None:
        """Stop rereading: no call is left that waits for it."""
        if self._rereading is not None:
            self._rereading.cancel()
