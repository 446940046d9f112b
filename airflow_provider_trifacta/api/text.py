"""Sanitizes text from the wire for logs, errors, events, XComs and links.

An unsuitable character is replaced, never removed: removing one could turn an invalid value into a meaningful
one that the API never sent.
"""

from __future__ import annotations

import re

#: Maximum length of a line that is shown to a user, in characters.
MAX_LINE = 2000

# Half a surrogate pair cannot be encoded as UTF-8, PostgreSQL cannot store NUL, and other control characters do
# not belong in text.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# The same for a single line. The last ranges change the direction in which a terminal shows the text after them.
_UNFIT_IN_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z])| (?=\[request id )")


def clean(text: str) -> str:
    """Return text that can be encoded and stored, keeping line breaks and tabs."""
    return text if text.isprintable() else _UNFIT.sub("\ufffd", text)


def line(text: str, limit: int = MAX_LINE) -> str:
    """Return text as one line of bounded length."""
    text = _UNFIT_IN_LINE.sub("\ufffd", " ".join(text.split()))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def is_line(text: str, limit: int) -> bool:
    """Return whether text can be shown unchanged on one line."""
    return len(text) <= limit and not _UNFIT_IN_LINE.search(text)


def sentences_of(text: str) -> list[str]:
    """Split a string into sentences; a request id at the end counts as one."""
    return _BETWEEN_SENTENCES.split(text)


def sentence(text: str) -> str:
    """Return text with a full stop, unless it already ends like a sentence."""
    return text if text.endswith((".", "!", "?", "]")) else f"{text}."
