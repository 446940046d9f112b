"""The synchronous client, on one kept ``requests.Session``."""

from __future__ import annotations

import os
import random
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import requests
import urllib3
from tenacity import Retrying

from airflow_provider_trifacta.api.bound_operations import BoundOperations
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK, Clock
from airflow_provider_trifacta.api.credentials import Credential, StaticToken
from airflow_provider_trifacta.api.error_answers import raise_for_status, redirect_of
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaApiError,
    TrifactaTransportError,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.api.messages import (
    MAX_REDIRECTS,
    MAX_REPLACED_TOKENS,
    Answer,
    Id,
    Operation,
    Request,
)
from airflow_provider_trifacta.api.operations import get_job_group_pdf_results
from airflow_provider_trifacta.api.paging import Deduplicator, Listing
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.retries import Repeater
from airflow_provider_trifacta.api.settings import ClientSettings

T = TypeVar("T")
_CHUNK = 64 * 1024


class TrifactaClient(BoundOperations):
    """Talks to one server with one credential, synchronously. Not to be shared between threads.

    :param settings: the server and how to talk to it.
    :param credential: gives the token; a text is taken as one that never changes.
    :param clock: time; tests pass their own.
    :param random_number: gives numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        settings: ClientSettings,
        credential: Credential | str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random_number: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._credential = StaticToken(credential) if isinstance(credential, str) else credential
        self._clock = clock
        self._random = random_number
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = settings.verify_to_use()
        proxy = settings.proxy_to_use()
        if proxy:
            self._session.proxies = {"http": proxy, "https": proxy}

    def __enter__(self) -> TrifactaClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def detached(self, *, budget: float, timeout: float) -> TrifactaClient:
        """Return a client of its own session that asks nobody for a token: it keeps the present one.

        For places where nothing may be asked for, and where this client may be in the middle of a call: signal
        handlers.

        :param budget: seconds to repeat calls for.
        :param timeout: connect and read timeout in seconds.
        """
        settings = replace(
            self.settings,
            connect_timeout=timeout,
            read_timeout=timeout,
            retries=replace(self.settings.retries, budget=budget),
        )
        return TrifactaClient(settings, self._credential.token(), clock=self._clock, random_number=self._random)

    def send(self, operation: Operation[T]) -> T:
        """Send an operation and return its result; repeat it as the retry policy says.

        :raises TrifactaApiError: the last error, as itself.
        """
        return self._send(operation, lambda request: operation.decode(self._exchange(request)))

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """Give every object of a list, page by page."""
        unseen = Deduplicator(listing.limit)
        offset: int | None = 0
        while offset is not None and not unseen.enough:
            page = self.send(listing.page(offset))
            yield from unseen.of(page.items)
            offset = page.next_offset

    def run(self, procedure: Procedure[T]) -> T:
        """Carry out a procedure and return its result."""
        step: Operation[Any] | Pause
        try:
            step = next(procedure)
            while True:
                if isinstance(step, Pause):
                    self._clock.sleep(step.seconds)
                    step = next(procedure)
                    continue
                try:
                    result = self.send(step)
                except TrifactaApiError as error:
                    step = procedure.throw(error)
                else:
                    step = procedure.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    def get_job_group_pdf_results(self, job_group_id: Id, path: str | os.PathLike[str]) -> Path:
        """Stream the profile of a job group as PDF to a file (``getJobGroupPdfResults``).

        A job group that ran without profiling answers 400.

        :param path: where to put the file; its folder must exist.
        :return: the path of the file.
        """
        return self.download(get_job_group_pdf_results(job_group_id), path)

    def download(self, operation: Operation[Any], path: str | os.PathLike[str]) -> Path:
        """Stream the answer to an operation to a file. The file appears when it is complete, never in part.

        :param path: where to put the file; its folder must exist.
        :return: the path of the file.
        """
        target = Path(path)

        def fetch(request: Request) -> Path:
            # Not one of tempfile: those may be read by their owner only.
            part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
            try:
                with part.open("xb") as file:
                    self._exchange(request, file.write)
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
            return target

        streamed: Operation[Path] = replace(operation, decode=lambda answer: target)
        return self._send(streamed, fetch)

    def _send(self, operation: Operation[T], attempt: Callable[[Request], T]) -> T:
        """Drive one operation through the retry policy; ``attempt`` sends its request once."""
        request = operation.request
        started = self._clock.monotonic()
        try:
            return attempt(request)
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

        def attempt_again() -> T:
            repeater.count()
            return attempt(request)

        try:
            return Retrying(sleep=self._clock.sleep, **repeater.tenacity_options)(attempt_again)
        except TrifactaApiError as error:
            if repeater.already_deleted(error):
                return operation.decode(Answer(request, 204, {}, b""))
            alternative = operation.instead(error) if operation.instead else None
            if alternative is None:
                raise
            return self.send(alternative)

    def _exchange(self, request: Request, sink: Callable[[bytes], Any] | None = None) -> Answer:
        """Send a request once, and again while the server refuses a token that has been replaced since."""
        token = self._credential.token()
        for _ in range(MAX_REPLACED_TOKENS):
            try:
                return self._transfer(request, token, sink)
            except TrifactaUnauthorized:
                replaced = self._credential.reread()
                if replaced == token:
                    raise
                token = replaced
        return self._transfer(request, token, sink)

    def _transfer(self, request: Request, token: str, sink: Callable[[bytes], Any] | None) -> Answer:
        """Send a request once with this token.

        :param sink: takes the body of a success in pieces; without it, the answer holds the body.
        """
        url = request.url(self.settings.base_url)
        headers = request.all_headers(token, self.settings.user_agent)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                with self._session.request(
                    request.method,
                    url,
                    headers=headers,
                    data=request.encoded_body(),
                    timeout=(self.settings.connect_timeout, self.settings.read_timeout),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    answer_headers = {name.lower(): value for name, value in response.headers.items()}
                    if sink is not None and response.status_code == 200:
                        if "text/html" in answer_headers.get("content-type", ""):
                            # A proxy's page is not what was asked for.
                            page = Answer(request, response.status_code, answer_headers, response.content)
                            raise page.not_understood(f"expected {request.accept}")
                        for chunk in response.iter_content(_CHUNK):
                            sink(chunk)
                        return Answer(request, response.status_code, answer_headers, b"")
                    answer = Answer(request, response.status_code, answer_headers, response.content)
            except requests.RequestException as error:
                raise _transport_error(request, error) from error
            target = redirect_of(answer, url)
            if target is None:
                raise_for_status(answer, now=self._clock.time(), secret=token)
                return answer
            url = target
        raise answer.not_understood(f"expected an end after {MAX_REDIRECTS} redirects")


def _transport_error(request: Request, error: requests.RequestException) -> TrifactaTransportError:
    cause = _root_cause(error)
    return TrifactaTransportError(
        method=request.method,
        path=request.path,
        failure=_failure(error, cause),
        cause=cause,
        sent=not _never_sent(error, cause),
    )


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


def _never_sent(error: requests.RequestException, cause: BaseException) -> bool:
    """Return whether the request provably never left: no name, no connection, no TLS, no tunnel."""
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    return isinstance(
        cause,
        (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            ssl.SSLCertVerificationError,
            ConnectionRefusedError,
        ),
    )


def _failure(error: requests.RequestException, cause: BaseException) -> TransportFailure:
    if isinstance(cause, (urllib3.exceptions.NameResolutionError, socket.gaierror)):
        return TransportFailure.NO_SUCH_HOST
    if type(error) is requests.ConnectionError and _never_sent(error, cause):
        return TransportFailure.NOT_CONNECTED
    return {
        requests.ConnectTimeout: TransportFailure.CONNECT_TIMEOUT,
        requests.ReadTimeout: TransportFailure.READ_TIMEOUT,
        requests.exceptions.SSLError: TransportFailure.TLS,
        requests.exceptions.ProxyError: TransportFailure.PROXY,
    }.get(type(error), TransportFailure.LOST)
