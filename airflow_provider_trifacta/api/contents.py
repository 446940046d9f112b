"""The expected content of a file downloaded from the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: The signature of a PDF is within its first bytes, not always at the very beginning.
_HEAD = 1024


@dataclass(frozen=True)
class Content:
    """The expected content of a file.

    :param name: for users, e.g. ``a PDF``.
    :param is_in: whether a file has this content.
    :param is_whole: whether the content is complete, as far as can be determined.
    """

    name: str
    is_in: Callable[[Path], bool]
    is_whole: Callable[[Path], bool]


def _is_pdf(file: Path) -> bool:
    return b"%PDF-" in _head(file)


def _is_whole_pdf(file: Path) -> bool:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - _HEAD))
        return b"%%EOF" in opened.read()


def _is_json_object(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_bytes()), dict)
    except (ValueError, RecursionError):
        return False


def kind_of(file: Path) -> str:
    """Describe the content of a file without quoting it."""
    head = _head(file).lstrip()
    if not head:
        return "an empty answer"
    kind = {b"<": "a page", b"{": "JSON", b"[": "JSON", b"%": "a PDF"}.get(head[:1], "something else")
    return f"{file.stat().st_size} bytes of {kind}"


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_HEAD)


PDF = Content("a PDF", _is_pdf, _is_whole_pdf)
JSON_OBJECT = Content("a JSON object", _is_json_object, _is_json_object)
