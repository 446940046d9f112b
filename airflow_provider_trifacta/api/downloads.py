"""Results that come as files: wait until the server has them, and make sure that they are what was asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.api.errors import TrifactaAnswerNotUnderstood, TrifactaApiError
from airflow_provider_trifacta.api.messages import Operation

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.client import TrifactaClient
    from airflow_provider_trifacta.api.clock import Clock

log = logging.getLogger(__name__)

#: The signature of a PDF stands within its first bytes, not always at their beginning.
_PDF_HEAD = 1024
#: Accepted, and no content: the server has no result yet.
_NOT_READY = (202, 204)
#: Seconds between two looks, doubled each time.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True)
class Content:
    """What a file should hold.

    :param name: as a person says it, e.g. ``a PDF``.
    :param is_in: whether a file holds it.
    """

    name: str
    is_in: Callable[[Path], bool]


def _is_pdf(file: Path) -> bool:
    with file.open("rb") as opened:
        return b"%PDF-" in opened.read(_PDF_HEAD)


def _is_json_object(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_bytes()), dict)
    except (ValueError, RecursionError):
        return False


PDF = Content("a PDF", _is_pdf)
JSON_OBJECT = Content("a JSON object", _is_json_object)


def download_when_ready(
    client: TrifactaClient, operation: Operation[Any], file: Path, *, content: Content, clock: Clock
) -> None:
    """Download the answer to an operation, within the retry budget of the client.

    An answer of another kind is outlived like a lost one, and one that the server has not got yet is waited for.

    :param file: where to put it. When this raises, there may be something else in it.
    :raises TrifactaAnswerNotUnderstood: what comes is not what was asked for.
    :raises TrifactaApiError: it was refused, or was not ready in time.
    """
    budget = client.settings.retries.budget
    end = clock.monotonic() + budget
    pause = _FIRST_PAUSE
    while True:
        try:
            client.download(operation.within(max(0.0, end - clock.monotonic())), file)
            _check(operation, file, content)
            return
        except TrifactaAnswerNotUnderstood as error:
            if not _may_change(error) or clock.monotonic() + pause > end:
                raise _final(error, budget) from error
            log.warning("%s %s: asking again in %.0f s. Reason: %s", error.method, error.path, pause, error)
        clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _check(operation: Operation[Any], file: Path, content: Content) -> None:
    if content.is_in(file):
        return
    # Not quoted: nobody knows what it is.
    raise TrifactaAnswerNotUnderstood(
        method=operation.request.method,
        path=operation.request.path,
        status=200,
        message=f"expected {content.name}, got {_kind(file)}",
    )


def _kind(file: Path) -> str:
    with file.open("rb") as opened:
        head = opened.read(_PDF_HEAD).lstrip()
    if not head:
        return "an empty answer"
    kind = {b"<": "a page", b"{": "JSON", b"[": "JSON", b"%": "a PDF"}.get(head[:1], "something else")
    return f"{file.stat().st_size} bytes of {kind}"


def _may_change(error: TrifactaApiError) -> bool:
    """Return whether to ask again: unlike a success that cannot be used, a redirect to elsewhere is final."""
    return error.status is not None and 200 <= error.status < 300


def _final(error: TrifactaApiError, budget: float) -> TrifactaApiError:
    if error.status not in _NOT_READY:
        return error
    not_ready = TrifactaApiError(
        method=error.method,
        path=error.path,
        status=error.status,
        message=f"not ready within the retry budget of {budget:g} s",
        request_id=error.request_id,
    )
    not_ready.hint = "The server is still at it: try again later, or raise the retry budget."
    return not_ready
