"""Sends single requests with the requests library, on one session.

It adds two limits that requests lacks: a time in which the whole answer must arrive, not only the time between two
bytes, and a maximum size.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from airflow_provider_trifacta.api.bodies import CHUNK, BodyError, BodyReader
from airflow_provider_trifacta.api.error_answers import no_answer, without_body
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaError,
    TrifactaTransportError,
)
from airflow_provider_trifacta.api.exchange import Transfer, is_saved
from airflow_provider_trifacta.api.messages import MAX_DOWNLOAD, Answer, answer_headers
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.tls import handshake_failure

#: Bytes of a file that must arrive within the read timeout.
_PROGRESS = 16 * 1024


class RequestsTransport:
    """Sends requests to one server. Not to be shared between threads.

    :param settings: the server and how to talk to it. The environment is read once and otherwise ignored:
        evaluating it for every request costs more than the request, and a .netrc would replace the token.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._connect_timeout = settings.connect_timeout
        self._session = _Session()
        self._session.trust_env = False
        self._verify = settings.verify_to_use()
        # The token identifies the caller. A cookie might identify another user, or the previous token.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("https://", _Adapter())
        self._session.mount("http://", _Adapter())
        proxy = settings.proxy_to_use()
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def transfer(self, step: Transfer) -> Answer:
        """Send a request once and return its answer.

        :raises TrifactaTransportError: no answer arrived in time.
        :raises TrifactaAnswerNotUnderstood: the answer cannot be read.
        """
        with _deadline(step.seconds) as deadline:
            try:
                return self._transfer(step, deadline)
            except TrifactaError:
                raise
            except Exception as error:
                failure = _failure_of(step, error)
        raise failure  # outside the except block, so that it does not carry the library's error as its context

    def _transfer(self, step: Transfer, deadline: _Deadline) -> Answer:
        request = step.request
        prepared = requests.PreparedRequest()
        prepared.prepare(request.method, step.url, headers=step.headers, data=request.encoded_body)
        # Not Session.request: merging the session's settings takes as long as the rest of the call.
        with self._session.send(
            prepared,
            timeout=(self._connect_timeout, step.seconds),
            allow_redirects=False,
            stream=True,
            verify=self._verify,
            cert=None,
            proxies=self._proxies,
        ) as response:
            status, headers = response.status_code, answer_headers(response.headers)
            if status < 200:
                # The connection has already been returned to the pool.
                self._session.close()
                return Answer(request, status, headers, b"", step.redactor)
            pieces: list[bytes] = []
            saved = step.save is not None and is_saved(status, headers)
            take = step.save() if saved and step.save else pieces.append
            try:
                body = BodyReader(headers, MAX_DOWNLOAD if saved else request.max_bytes)
                for data in response.raw.stream(CHUNK, decode_content=False):
                    for piece in body.feed(data):
                        take(piece)
                        if saved:
                            deadline.count(len(piece))
                body.finish()
            except TrifactaError:
                raise
            except BodyError as error:
                response.close()
                problem: BodyError | TrifactaTransportError = error
            except Exception as error:
                problem = _no_answer(step, error, status)
            else:
                return Answer(request, status, headers, b"".join(pieces), step.redactor)
        return without_body(Answer(request, status, headers, b"", step.redactor), problem)


def _failure_of(step: Transfer, error: Exception) -> TrifactaApiError | TrifactaConfigurationError:
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
        return TrifactaConfigurationError(step.redactor.redact(f"The request cannot be sent: {error}"))
    return _no_answer(step, error)


def _no_answer(step: Transfer, error: Exception, status: int | None = None) -> TrifactaTransportError:
    cause = _root_cause(error)
    return no_answer(
        step.request,
        _failure(error, cause),
        _words(cause),
        sent=not _never_sent(error, cause),
        redactor=step.redactor,
        status=status,
    )


def _words(cause: BaseException) -> str:
    """Return the library's message; of errors that may quote parts of an invalid answer, only the class name."""
    name = type(cause).__name__
    spoken = (OSError, urllib3.exceptions.NewConnectionError, urllib3.exceptions.TimeoutError)
    return f"{name}: {cause}" if isinstance(cause, spoken) else name


def _root_cause(error: BaseException) -> BaseException:
    """Return the innermost error inside the wrappers of requests and urllib3."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error


def _never_sent(error: Exception, cause: BaseException) -> bool:
    """Return whether the request was provably never sent: DNS, connection, TLS or proxy tunnel failed."""
    if _handshaking() or isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    return isinstance(
        cause,
        (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            ConnectionRefusedError,
        ),
    )


def _failure(error: Exception, cause: BaseException) -> TransportFailure:
    if isinstance(cause, (urllib3.exceptions.NameResolutionError, socket.gaierror)):
        return TransportFailure.NO_SUCH_HOST
    if isinstance(error, requests.ConnectTimeout):
        return TransportFailure.CONNECT_TIMEOUT
    if _handshaking() and isinstance(error, requests.exceptions.ReadTimeout):
        return TransportFailure.CONNECT_TIMEOUT
    if _handshaking() and type(error) is requests.exceptions.SSLError:
        return handshake_failure(cause)
    if isinstance(cause, (TimeoutError, urllib3.exceptions.ReadTimeoutError)):
        return TransportFailure.READ_TIMEOUT
    if type(error) is requests.ConnectionError and _never_sent(error, cause):
        return TransportFailure.NOT_CONNECTED
    return {
        requests.ReadTimeout: TransportFailure.READ_TIMEOUT,
        requests.exceptions.ProxyError: TransportFailure.PROXY,
    }.get(type(error), TransportFailure.LOST)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- deadlines


class _Deadline:
    """The moment at which a transfer must be over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Restart the time."""
        self._until = time.monotonic() + self._seconds
        self._missing = _PROGRESS

    def count(self, size: int) -> None:
        """Restart the time whenever enough of a file has arrived."""
        self._missing -= size
        if self._missing <= 0:
            self.renew()

    def left(self) -> float:
        """Return the seconds that are left.

        :raises TimeoutError: no time is left.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        return left


#: The deadline of each thread's current transfer.
_present = threading.local()


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[_Deadline]:
    """Limit the time of this thread's reads."""
    _present.deadline = _Deadline(seconds)
    _present.handshaking = False
    try:
        yield _present.deadline
    finally:
        _present.deadline = None


def _handshaking() -> bool:
    """Return whether this thread's current transfer is still connecting, including TLS."""
    return getattr(_present, "handshaking", False)


def _is_of_others(record: logging.LogRecord) -> bool:
    """Let through a log line of urllib3 only outside our transfers: it quotes headers and URLs unredacted."""
    return getattr(_present, "deadline", None) is None


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_is_of_others)


class _TimedReader(io.RawIOBase):
    """Reads from a socket until the deadline of the current transfer."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        deadline: _Deadline | None = getattr(_present, "deadline", None)
        if deadline is not None:
            self._socket.settimeout(deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """The socket that ``http.client`` reads an answer from."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._connection))


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Socket(sock), *args, **kwargs)  # type: ignore[arg-type]


def _check_in_time(connection: urllib3.connection.HTTPConnection) -> None:
    """Check that the request may still be sent: whoever sends it counts on its time.

    :raises ConnectTimeoutError: its time is over; nothing was sent.
    """
    deadline: _Deadline | None = getattr(_present, "deadline", None)
    try:
        if deadline is not None:
            deadline.left()
    except TimeoutError:
        connection.close()
        raise urllib3.exceptions.ConnectTimeoutError("connecting took too long") from None


class _Named:
    """Appears in error messages with host and port; before urllib3 2.7, it would show a memory address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{type(self).__name__}(host={self.host!r}, port={self.port!r})"


# Named like the classes that they replace: these names also appear in error messages.


class HTTPConnection(_Named, urllib3.connection.HTTPConnection):
    """A connection whose answers are read within the deadline of a transfer."""

    response_class = _Response

    def connect(self) -> None:
        """Connect, in time: looking up a name, and trying one address after the other, know no deadline."""
        super().connect()
        _check_in_time(self)


class HTTPSConnection(_Named, urllib3.connection.HTTPSConnection):
    """The same, with TLS."""

    response_class = _Response

    def connect(self) -> None:
        """Connect, and record if that fails: then nothing was sent."""
        deadline: _Deadline | None = getattr(_present, "deadline", None)
        # TLS inside a proxy's TLS applies the timeout to each piece of the handshake, not to the whole.
        watch = threading.Timer(deadline.left(), self._give_up) if deadline is not None else None
        _present.handshaking = True
        if watch is not None:
            watch.daemon = True
            watch.start()
        try:
            super().connect()
        finally:
            if watch is not None:
                watch.cancel()
        _check_in_time(self)
        _present.handshaking = False

    def _give_up(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


class HTTPConnectionPool(urllib3.HTTPConnectionPool):
    """A pool of such connections."""

    ConnectionCls = HTTPConnection


class HTTPSConnectionPool(urllib3.HTTPSConnectionPool):
    """A pool of such connections, with TLS."""

    ConnectionCls = HTTPSConnection


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: redirects are handled elsewhere, and requests fails on malformed ones."""


class _Adapter(HTTPAdapter):
    _pools = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}  # noqa: RUF012

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager
