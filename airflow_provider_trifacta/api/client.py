"""The synchronous client."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

from airflow_provider_trifacta.api.bound_operations import BoundOperations
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK, Clock, Interrupt, sleep_unless
from airflow_provider_trifacta.api.contents import PDF, Content, kind_of
from airflow_provider_trifacta.api.credentials import Credential, StaticToken
from airflow_provider_trifacta.api.errors import TrifactaError
from airflow_provider_trifacta.api.exchange import Exchanger, Token, Transfer, is_saved
from airflow_provider_trifacta.api.messages import Answer, Id, Operation
from airflow_provider_trifacta.api.operations import get_job_group_pdf_results
from airflow_provider_trifacta.api.paging import Listing, PageReader
from airflow_provider_trifacta.api.procedures import Pause, Procedure, drive
from airflow_provider_trifacta.api.rate_limits import Quota
from airflow_provider_trifacta.api.requests_transport import RequestsTransport
from airflow_provider_trifacta.api.settings import ClientSettings

T = TypeVar("T")

#: Accepted and No Content: the server has no result yet.
_NOT_READY = (202, 204)


class TrifactaClient(BoundOperations):
    """Talks to one server with one credential, synchronously. Not to be shared between threads.

    :param settings: the server and how to talk to it.
    :param credential: provides the token; a string is a token that never changes.
    :param clock: the clock; tests pass their own.
    :param random_number: returns numbers in [0, 1), for jitter.
    :param interrupt: called before every step, and at least once a second during a pause; an exception from it
        ends the call.
    """

    def __init__(
        self,
        settings: ClientSettings,
        credential: Credential | str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random_number: Callable[[], float] = random.random,
        interrupt: Interrupt | None = None,
    ) -> None:
        self.settings = settings
        self._credential = StaticToken(credential) if isinstance(credential, str) else credential
        self._clock = clock
        self._random = random_number
        self._interrupt = interrupt
        self._transport = RequestsTransport(settings)
        self._redactor = settings.redactor()
        self._exchanger = Exchanger(settings, self._redactor, clock, random_number)

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
        self._transport.close()

    def with_token(self, token: str) -> TrifactaClient:
        """Return a client with its own connections that sends another token. Both tokens are redacted."""
        client = TrifactaClient(self.settings, token, clock=self._clock, random_number=self._random)
        client._redactor.add(self._credential.token())
        self._redactor.add(token)
        return client

    def detached(self, *, budget: float, timeout: float) -> TrifactaClient:
        """Return an uninterruptible client with its own connections that starts with the current token.

        For signal handlers: they must not call back into Airflow, and may interrupt this client in the middle of a
        request.

        :param budget: maximum seconds to repeat calls for.
        :param timeout: connect and read timeout in seconds.
        """
        settings = replace(
            self.settings,
            connect_timeout=timeout,
            read_timeout=timeout,
            retries=replace(self.settings.retries, budget=budget),
        )
        return TrifactaClient(settings, self._credential.detached(), clock=self._clock, random_number=self._random)

    @property
    def quotas(self) -> dict[str, tuple[Quota, ...]]:
        """The quotas that the server last reported, by route: ``POST /v4/jobGroups``."""
        return self._exchanger.quotas.by_route()

    def send(self, operation: Operation[T]) -> T:
        """Send an operation and return its result, repeating it according to the retry policy.

        :raises TrifactaApiError: the last error, unwrapped.
        """
        return drive(self._exchanger.send(operation), self._take)

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """Yield every object of a list, page by page."""
        reader = PageReader(listing)
        while (operation := reader.next_page()) is not None:
            yield from reader.take(self.send(operation))

    def run(self, procedure: Procedure[T]) -> T:
        """Run a procedure and return its result."""
        return drive(procedure, self._take)

    def get_job_group_pdf_results(self, job_group_id: Id, path: str | os.PathLike[str]) -> Path:
        """Stream the profile of a job group as PDF to a file (``getJobGroupPdfResults``).

        A job group that ran without profiling is answered with 400.

        :param path: where to save the file; its folder must exist.
        :return: the path of the file.
        """
        return self.download(get_job_group_pdf_results(job_group_id), path, content=PDF)

    def download(
        self, operation: Operation[Any], path: str | os.PathLike[str], *, content: Content | None = None
    ) -> Path:
        """Stream the answer to an operation to a file. The file appears only when it is complete.

        A result that is not ready, or not what was requested, is requested again like a lost one, within the
        retry budget.

        :param path: where to save the file; its folder must exist.
        :param content: the expected content; None accepts anything but a page of HTML.
        :return: the path of the file.
        :raises TrifactaAnswerNotUnderstood: the answer was not as expected, or was not ready in time.
        :raises OSError: the file could not be written.
        """
        target = Path(path)
        # Not from tempfile: its files can be read by their owner only.
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with part.open("xb") as file:
                saving = _Saving(file, part, content)
                streamed: Operation[None] = replace(operation, decode=saving.check, secret_of=None)
                drive(self._exchanger.send(streamed, saving.start), self._take)
            os.replace(part, target)
        except _NotWritten as error:
            raise error.reason from None
        finally:
            part.unlink(missing_ok=True)
        return target

    def _take(self, step: Any) -> Any:
        """Do one step of a procedure."""
        if self._interrupt is not None:
            self._interrupt()
        if isinstance(step, Transfer):
            return self._transfer(step)
        if isinstance(step, Token):
            refused = step.refused is not None
            return self._credential.reread(step.patience) if refused else self._credential.token()
        if isinstance(step, Pause):
            return sleep_unless(self._interrupt, self._clock, step.seconds)
        return self.send(step)

    def _transfer(self, step: Transfer) -> Answer:
        """Send a request once."""
        return self._transport.transfer(step)


class _NotWritten(TrifactaError):
    """A piece of an answer could not be written to its file. Asking the server again would not help."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _says_its_length(answer: Answer) -> bool:
    """Return whether a truncated answer would have been noticed."""
    return "content-length" in answer.headers or "chunked" in answer.headers.get("transfer-encoding", "").lower()


class _Saving:
    """Fills a file with the body of an answer."""

    def __init__(self, file: BinaryIO, path: Path, content: Content | None) -> None:
        self._file = file
        self._path = path
        self._content = content

    def start(self) -> Callable[[bytes], None]:
        """Start over: an earlier attempt may have written part of the file."""
        self._file.seek(0)
        self._file.truncate()
        return self._write

    def _write(self, piece: bytes) -> None:
        try:
            self._file.write(piece)
        except OSError as error:
            raise _NotWritten(error) from None

    def check(self, answer: Answer) -> None:
        """Check that the answer was saved and is what was requested."""
        if answer.status in _NOT_READY:
            not_ready = answer.unusable("the result is not ready")
            not_ready.hint = "The server is still working on it: try again later, or raise the retry budget."
            raise not_ready
        if not is_saved(answer.status, answer.headers):
            raise answer.not_understood(f"expected 200 with {answer.request.accept}")
        try:
            self._file.flush()
            as_expected = self._is_as_expected(_says_its_length(answer))
        except OSError as error:
            raise _NotWritten(error) from None
        if self._content is not None and not as_expected:
            raise answer.unusable(f"expected {self._content.name}, got {kind_of(self._path)}")

    def _is_as_expected(self, whole: bool) -> bool:
        content, file = self._content, self._path
        return content is None or (content.is_in(file) and (whole or content.is_whole(file)))
