"""The asynchronous client, on one kept ``aiohttp.ClientSession``: for triggers."""

from __future__ import annotations

import functools
import random
import ssl
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from tenacity import AsyncRetrying
from yarl import URL

from airflow_provider_trifacta.api.bound_operations import BoundOperations
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK, Clock
from airflow_provider_trifacta.api.credentials import AsyncCredential, AsyncStaticToken
from airflow_provider_trifacta.api.error_answers import raise_for_status, redirect_of
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaApiError,
    TrifactaTransportError,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.api.messages import MAX_REDIRECTS, MAX_REPLACED_TOKENS, Answer, Operation, Request
from airflow_provider_trifacta.api.paging import Deduplicator, Listing
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.retries import Repeater
from airflow_provider_trifacta.api.settings import ClientSettings

T = TypeVar("T")


class AsyncTrifactaClient(BoundOperations):
    """Talks to one server with one credential, asynchronously.

    Use it as an asynchronous context manager, within one event loop.

    :param settings: the server and how to talk to it.
    :param credential: gives the token; a text is taken as one that never changes.
    :param clock: time; tests pass their own.
    :param random_number: gives numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        settings: ClientSettings,
        credential: AsyncCredential | str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random_number: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._credential = AsyncStaticToken(credential) if isinstance(credential, str) else credential
        self._clock = clock
        self._random = random_number
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AsyncTrifactaClient:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_tls(self.settings.verify_to_use())),
            proxy=self.settings.proxy_to_use(),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=self.settings.connect_timeout,
                sock_connect=self.settings.connect_timeout,
                sock_read=self.settings.read_timeout,
            ),
        )
        # aiohttp repeats reads and deletions by itself when a kept connection turns out dead. What is repeated
        # is decided, counted and logged in one place here; there is no public switch.
        self._session._retry_connection = False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, operation: Operation[T]) -> T:
        """Send an operation and return its result; repeat it as the retry policy says.

        :raises TrifactaApiError: the last error, as itself.
        """
        request = operation.request
        started = self._clock.monotonic()
        try:
            return operation.decode(await self._exchange(request))
        except TrifactaApiError as error:
            failure = error
        repeater = Repeater(
            self.settings.retries.within(operation.budget),
            request,
            started=started,
            first_failure=failure,
            clock=self._clock,
            random_number=self._random,
        )

        async def attempt_again() -> T:
            repeater.count()
            return operation.decode(await self._exchange(request))

        retrying = AsyncRetrying(sleep=self._clock.async_sleep, **repeater.tenacity_options)
        try:
            result: T = await retrying(attempt_again)
            return result
        except TrifactaApiError as error:
            if repeater.already_deleted(error):
                return operation.decode(Answer(request, 204, {}, b""))
            alternative = operation.instead(error) if operation.instead else None
            if alternative is None:
                raise
            return await self.send(alternative)

    async def iterate(self, listing: Listing[T]) -> AsyncIterator[T]:
        """Give every object of a list, page by page."""
        unseen = Deduplicator(listing.limit)
        offset: int | None = 0
        while offset is not None and not unseen.enough:
            page = await self.send(listing.page(offset))
            for item in unseen.of(page.items):
                yield item
            offset = page.next_offset

    async def run(self, procedure: Procedure[T]) -> T:
        """Carry out a procedure and return its result."""
        step: Operation[Any] | Pause
        try:
            step = next(procedure)
            while True:
                if isinstance(step, Pause):
                    await self._clock.async_sleep(step.seconds)
                    step = next(procedure)
                    continue
                try:
                    result = await self.send(step)
                except TrifactaApiError as error:
                    step = procedure.throw(error)
                else:
                    step = procedure.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _exchange(self, request: Request) -> Answer:
        """Send a request once, and again while the server refuses a token that has been replaced since."""
        token = await self._credential.token()
        for _ in range(MAX_REPLACED_TOKENS):
            try:
                return await self._transfer(request, token)
            except TrifactaUnauthorized:
                replaced = await self._credential.reread()
                if replaced == token:
                    raise
                token = replaced
        return await self._transfer(request, token)

    async def _transfer(self, request: Request, token: str) -> Answer:
        """Send a request once with this token."""
        if self._session is None:
            raise RuntimeError("use the client as an asynchronous context manager: async with client: ...")
        url = request.url(self.settings.base_url)
        headers = request.all_headers(token, self.settings.user_agent)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                async with self._session.request(
                    request.method,
                    URL(url, encoded=True),
                    headers=headers,
                    data=request.encoded_body(),
                    allow_redirects=False,
                ) as response:
                    answer = Answer(
                        request,
                        response.status,
                        {name.lower(): value for name, value in response.headers.items()},
                        await response.read(),
                    )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _transport_error(request, error) from error
            target = redirect_of(answer, url)
            if target is None:
                raise_for_status(answer, now=self._clock.time(), secret=token)
                return answer
            url = target
        raise answer.not_understood(f"expected an end after {MAX_REDIRECTS} redirects")


@functools.cache  # reading a bundle takes tens of milliseconds, in which the triggerer's loop stands still
def _tls(verify: bool | str) -> bool | ssl.SSLContext:
    if verify is False:
        return False
    # The bundle that requests uses, so that both clients trust the same servers.
    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH if verify is True else verify)


def _transport_error(request: Request, error: Exception) -> TrifactaTransportError:
    failure = {
        aiohttp.ClientConnectorDNSError: TransportFailure.NO_SUCH_HOST,
        aiohttp.ClientConnectorError: TransportFailure.NOT_CONNECTED,
        aiohttp.ConnectionTimeoutError: TransportFailure.CONNECT_TIMEOUT,
        aiohttp.SocketTimeoutError: TransportFailure.READ_TIMEOUT,
        aiohttp.ClientConnectorCertificateError: TransportFailure.TLS,
        aiohttp.ClientConnectorSSLError: TransportFailure.TLS,
        aiohttp.ClientProxyConnectionError: TransportFailure.PROXY,
        aiohttp.ClientHttpProxyError: TransportFailure.PROXY,
    }.get(type(error), TransportFailure.LOST)
    return TrifactaTransportError(
        method=request.method,
        path=request.path,
        failure=failure,
        cause=error,
        # Name, connection, TLS and proxy tunnel come before the first byte of a request.
        sent=not isinstance(
            error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
        ),
    )
