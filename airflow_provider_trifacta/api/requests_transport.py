"""Sends single requests with requests, on one kept session.

What requests leaves open is closed here: there is a time in which an answer must be complete, not only one between
two bytes of it, and a size that it must not exceed.
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

#: Bytes of a file that have to arrive within the time in which another answer must be complete.
_PROGRESS = 16 * 1024


class RequestsTransport:
    """Sends requests to one server. Not to be shared between threads.

    :param settings: the server and how to talk to it. The environment is asked once, and trusted for nothing else:
        looked up at every request it costs more than the request, and a .netrc in it would replace the token.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._connect_timeout = settings.connect_timeout
        self._session = _Session()
        self._session.trust_env = False
        self._verify = settings.verify_to_use()
        # The token says who calls. A cookie might say it is somebody else, or the previous token.
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

        :raises TrifactaTransportError: there was none in time.
        :raises TrifactaAnswerNotUnderstood: there was one that cannot be read.
        """
        with _deadline(step.seconds) as deadline:
            try:
                return self._transfer(step, deadline)
            except TrifactaError:
                raise
            except Exception as error:
                failure = _failure_of(step, error)
        raise failure  # not where it would carry the library's own words with it

    def _transfer(self, step: Transfer, deadline: _Deadline) -> Answer:
        request = step.request
        prepared = requests.PreparedRequest()
        prepared.prepare(request.method, step.url, headers=step.headers, data=request.encoded_body)
        # Not Session.request: merging what the session has into a request takes as long as the rest of it.
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
                # The connection is back among the kept ones already.
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
    """Return what the library says. Errors over odd answers quote them in parts: of those only the name."""
    name = type(cause).__name__
    spoken = (OSError, urllib3.exceptions.NewConnectionError, urllib3.exceptions.TimeoutError)
    return f"{name}: {cause}" if isinstance(cause, spoken) else name


def _root_cause(error: BaseException) -> BaseException:
    """Return what is at the bottom of requests' and urllib3's wrappers."""
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
    """Return whether the request provably never left: no name, no connection, no TLS, no tunnel."""
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
        """Begin again."""
        self._until = time.monotonic() + self._seconds
        self._missing = _PROGRESS

    def count(self, size: int) -> None:
        """Begin again each time that enough of a file has arrived for it to end some day."""
        self._missing -= size
        if self._missing <= 0:
            self.renew()

    def left(self) -> float:
        """Return the seconds that are left.

        :raises TimeoutError: none.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        return left


#: The deadline of the present transfer of each thread.
_present = threading.local()


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[_Deadline]:
    """Bound the time of what this thread reads."""
    _present.deadline = _Deadline(seconds)
    _present.handshaking = False
    try:
        yield _present.deadline
    finally:
        _present.deadline = None


def _handshaking() -> bool:
    """Return whether the present transfer of this thread has not got past connecting with TLS."""
    return getattr(_present, "handshaking", False)


def _is_of_others(record: logging.LogRecord) -> bool:
    """Return whether a line of urllib3 is not about a transfer of ours: it quotes headers and URLs as they are."""
    return getattr(_present, "deadline", None) is None


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_is_of_others)


class _TimedReader(io.RawIOBase):
    """Reads from a socket for no longer than the present transfer may take."""

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
    """What ``http.client`` reads an answer from."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._connection))


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Socket(sock), *args, **kwargs)  # type: ignore[arg-type]


class _Named:
    """Appears in error messages with host and port. Before urllib3 2.7, it would with its address in memory."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{type(self).__name__}(host={self.host!r}, port={self.port!r})"


# By the names of those that they stand for: they appear in error messages, too.


class HTTPConnection(_Named, urllib3.connection.HTTPConnection):
    """A connection whose answers are read within the time of a transfer."""

    response_class = _Response


class HTTPSConnection(_Named, urllib3.connection.HTTPSConnection):
    """The same with TLS."""

    response_class = _Response

    def connect(self) -> None:
        """Connect, and leave a note when that fails: nothing was sent then."""
        deadline: _Deadline | None = getattr(_present, "deadline", None)
        # TLS within the TLS of a proxy times each piece of its handshake, not the whole.
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
        _present.handshaking = False

    def _give_up(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


class HTTPConnectionPool(urllib3.HTTPConnectionPool):
    """Keeps such connections."""

    ConnectionCls = HTTPConnection


class HTTPSConnectionPool(urllib3.HTTPSConnectionPool):
    """Keeps such connections with TLS."""

    ConnectionCls = HTTPSConnection


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say nothing: where a redirect leads is decided elsewhere, and requests fails over odd ones."""


class _Adapter(HTTPAdapter):
    _pools = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}  # noqa: RUF012

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager
