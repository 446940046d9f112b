"""Sends single requests with aiohttp, on one session."""

from __future__ import annotations

import asyncio
import functools
import select
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from airflow_provider_trifacta.api.bodies import CHUNK, BodyError, BodyReader
from airflow_provider_trifacta.api.error_answers import no_answer, without_body
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaError,
    TrifactaTransportError,
)
from airflow_provider_trifacta.api.exchange import Transfer
from airflow_provider_trifacta.api.messages import Answer, answer_headers
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.tls import handshake_failure, tls_context

#: Seconds that an unused connection is kept: longer than the usual time between two polls.
_KEEP_ALIVE = 60.0


class AiohttpTransport:
    """Sends requests to one server, within one event loop.

    :param settings: the server and how to talk to it. The environment is read once.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._connect_timeout = settings.connect_timeout
        self._tls = tls_context(settings.verify_to_use())
        self._proxy = settings.proxy_to_use()
        self._session = self._new_session()

    def _new_session(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=_Connector(ssl=self._tls, keepalive_timeout=_KEEP_ALIVE),
            proxy=self._proxy,
            # The token identifies the caller. A cookie might identify another user, or the previous token.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        # By itself, aiohttp repeats reads and deletions when a kept-alive connection turns out to be dead. Here,
        # retries are decided, counted and logged in one place; there is no public switch.
        session._retry_connection = False
        return session

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def transfer(self, step: Transfer) -> Answer:
        """Send a request once and return its answer.

        :raises TrifactaTransportError: no answer arrived in time.
        :raises TrifactaAnswerNotUnderstood: the answer cannot be read.
        """
        try:
            return await self._transfer(step)
        except TrifactaError:
            raise
        except Exception as error:
            failure = _failure_of(step, error)
        raise failure  # outside the except block, so that it does not carry the library's error as its context

    async def _transfer(self, step: Transfer) -> Answer:
        request = step.request
        async with self._session.request(
            request.method,
            URL(step.url, encoded=True),
            headers=step.headers,
            data=request.encoded_body,
            allow_redirects=False,
            timeout=_timeout(self._connect_timeout, step.seconds),
        ) as response:
            status, headers = response.status, answer_headers(response.headers)
            if status < 200:
                # The connection has already been returned to the pool.
                await self._session.close()
                self._session = self._new_session()
                return Answer(request, status, headers, b"", step.redactor)
            pieces: list[bytes] = []
            try:
                body = BodyReader(headers, request.max_bytes)
                while data := await response.content.read(CHUNK):
                    pieces.extend(body.feed(data))
                body.finish()
            except BodyError as error:
                response.close()
                problem: BodyError | TrifactaTransportError = error
            except Exception as error:
                problem = _no_answer(step, error, status)
            else:
                return Answer(request, status, headers, b"".join(pieces), step.redactor)
        return without_body(Answer(request, status, headers, b"", step.redactor), problem)


class _Connector(aiohttp.TCPConnector):
    """Pools connections, but does not reuse one on which unsolicited data has arrived.

    aiohttp would return that data as the answer to the next call.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._polls: WeakKeyDictionary[Any, select.poll] = WeakKeyDictionary()

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        """Return a new connection, or a pooled one on which nothing has arrived since the previous answer."""
        while True:
            connection = await super().connect(*args, **kwargs)
            poll = self._polls.get(connection.protocol)
            if poll is None:
                if connection.transport is not None:
                    self._polls[connection.protocol] = _poll_of(connection.transport)
                return connection
            # Data that the event loop has read already, and data that it has not read yet.
            if connection.protocol is not None and not connection.protocol.should_close and not poll.poll(0):
                return connection
            connection.close()


def _poll_of(transport: asyncio.Transport) -> select.poll:
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLIN)
    return poll


@functools.lru_cache(maxsize=8)
def _timeout(connect: float, read: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=connect + read, connect=connect, sock_connect=connect, sock_read=read)


def _failure_of(step: Transfer, error: Exception) -> TrifactaApiError | TrifactaConfigurationError:
    if isinstance(error, aiohttp.InvalidURL):
        return TrifactaConfigurationError(step.redactor.redact(f"The request cannot be sent: {error}"))
    return _no_answer(step, error)


def _no_answer(step: Transfer, error: Exception, status: int | None = None) -> TrifactaTransportError:
    name = type(error).__name__
    return no_answer(
        step.request,
        _failure(error),
        # Only the class name of errors about an invalid answer, since their messages quote parts of it.
        f"{name}: {error}" if isinstance(error, OSError) and str(error) else name,
        # DNS, connection, TLS and proxy tunnel come before the first byte of a request.
        sent=not isinstance(
            error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
        ),
        redactor=step.redactor,
        status=status,
    )


def _failure(error: Exception) -> TransportFailure:
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return handshake_failure(error.os_error)
    known = {
        aiohttp.ClientConnectorDNSError: TransportFailure.NO_SUCH_HOST,
        aiohttp.ClientConnectorError: TransportFailure.NOT_CONNECTED,
        aiohttp.ConnectionTimeoutError: TransportFailure.CONNECT_TIMEOUT,
        aiohttp.ClientConnectorCertificateError: TransportFailure.TLS,
        aiohttp.ClientProxyConnectionError: TransportFailure.PROXY,
        aiohttp.ClientHttpProxyError: TransportFailure.PROXY,
    }.get(type(error))
    if known is not None:
        return known
    return TransportFailure.READ_TIMEOUT if isinstance(error, TimeoutError) else TransportFailure.LOST
