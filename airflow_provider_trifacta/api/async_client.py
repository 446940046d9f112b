"""The asynchronous client, for triggers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from airflow_provider_trifacta.api.aiohttp_transport import AiohttpTransport
from airflow_provider_trifacta.api.bound_operations import BoundOperations
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK, Clock
from airflow_provider_trifacta.api.credentials import AsyncCredential, AsyncStaticToken
from airflow_provider_trifacta.api.exchange import Exchanger, Token, Transfer
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.paging import Listing, PageReader
from airflow_provider_trifacta.api.procedures import Pause, Procedure, drive_async
from airflow_provider_trifacta.api.rate_limits import Quota
from airflow_provider_trifacta.api.settings import ClientSettings

T = TypeVar("T")


class AsyncTrifactaClient(BoundOperations):
    """Talks to one server with one credential, asynchronously.

    Use it as an asynchronous context manager, within one event loop.

    :param settings: the server and how to talk to it.
    :param credential: provides the token; a string is a token that never changes.
    :param clock: the clock; tests pass their own.
    :param random_number: returns numbers in [0, 1), for jitter.
    :param reached: whether the API is known to have answered at this URL before. If so, an answer that is not from
        the API is retried instead of being blamed on a wrong base URL.
    """

    def __init__(
        self,
        settings: ClientSettings,
        credential: AsyncCredential | str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random_number: Callable[[], float] = random.random,
        reached: bool = False,
    ) -> None:
        self.settings = settings
        self._credential = AsyncStaticToken(credential) if isinstance(credential, str) else credential
        self._clock = clock
        self._transport: AiohttpTransport | None = None
        self._exchanger = Exchanger(settings, settings.redactor(), clock, random_number, reached=reached)

    async def __aenter__(self) -> AsyncTrifactaClient:
        self._transport = AiohttpTransport(self.settings)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._transport is not None:
            await self._transport.close()
            self._transport = None

    @property
    def quotas(self) -> dict[str, tuple[Quota, ...]]:
        """The quotas that the server last reported, by route: ``POST /v4/jobGroups``."""
        return self._exchanger.quotas.by_route()

    async def send(self, operation: Operation[T]) -> T:
        """Send an operation and return its result, repeating it according to the retry policy.

        :raises TrifactaApiError: the last error, unwrapped.
        """
        return await drive_async(self._exchanger.send(operation), self._take)

    async def iterate(self, listing: Listing[T]) -> AsyncIterator[T]:
        """Yield every object of a list, page by page."""
        reader = PageReader(listing)
        while (operation := reader.next_page()) is not None:
            for item in reader.take(await self.send(operation)):
                yield item

    async def run(self, procedure: Procedure[T]) -> T:
        """Run a procedure and return its result."""
        return await drive_async(procedure, self._take)

    def _take(self, step: Any) -> Awaitable[Any]:
        """Return an awaitable that does one step of a procedure."""
        if isinstance(step, Transfer):
            if self._transport is None:
                raise RuntimeError("use the client as an asynchronous context manager: async with client: ...")
            return self._transport.transfer(step)
        if isinstance(step, Token):
            return self._credential.reread(step.patience) if step.reread else self._credential.token()
        if isinstance(step, Pause):
            return self._clock.async_sleep(step.seconds)
        return self.send(step)
