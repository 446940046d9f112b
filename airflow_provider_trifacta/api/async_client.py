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
from airflow_provider_trifacta.api.gate import Gate
from airflow_provider_trifacta.api.messages import Answer, Operation
from airflow_provider_trifacta.api.paging import Listing, PageReader
from airflow_provider_trifacta.api.procedures import Pause, Procedure, drive_async
from airflow_provider_trifacta.api.rate_limits import Quota
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.shared_credential import SharedCredential

T = TypeVar("T")


class AsyncTrifactaClient(BoundOperations):
    """Talks to one server with one credential, asynchronously.

    Use it as an asynchronous context manager, within one event loop. Its calls may run side by side.

    :param settings: the server and how to talk to it.
    :param credential: provides the token; a string is a token that never changes.
    :param clock: the clock; tests pass their own.
    :param random_number: returns numbers in [0, 1), for jitter.
    :param reached: whether the API is known to have answered at this URL before. If so, an answer that is not from
        the API is retried instead of being blamed on a wrong base URL.
    :param gate: paces the requests; None sends each at once.
    """

    def __init__(
        self,
        settings: ClientSettings,
        credential: AsyncCredential | str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random_number: Callable[[], float] = random.random,
        reached: bool = False,
        gate: Gate | None = None,
    ) -> None:
        self.settings = settings
        self._credential = SharedCredential(
            AsyncStaticToken(credential) if isinstance(credential, str) else credential, clock
        )
        self._clock = clock
        self._gate = gate
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
        self._credential.close()
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
            return self._transfer(step)
        if isinstance(step, Token):
            if step.refused is None:
                return self._credential.token()
            return self._credential.other_than(step.refused, step.patience)
        if isinstance(step, Pause):
            return self._clock.async_sleep(step.seconds)
        return self.send(step)

    async def _transfer(self, step: Transfer) -> Answer:
        """Send a request once."""
        if self._transport is None:
            raise RuntimeError("use the client as an asynchronous context manager: async with client: ...")
        if self._gate is None:
            return await self._transport.transfer(step)
        async with self._gate.passage():
            return await self._transport.transfer(step)
