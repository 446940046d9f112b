"""Text from the wire, made fit for logs, errors, events, XComs and links.

A character that cannot stand there is replaced, never removed: removing one could turn a word that the API never
sent into one that means something.
"""

from __future__ import annotations

import re

#: Characters of a line that is shown to a user.
MAX_LINE = 2000

# Half a surrogate pair cannot be encoded as UTF-8, NUL cannot be stored by PostgreSQL, the other controls have no
# place in text.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Of a single line. The last ones change the direction in which a terminal shows what follows.
_UNFIT_IN_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z])| (?=\[request id )")


def clean(text: str) -> str:
    """Return text that can be encoded and stored; line breaks and tabs stay."""
    return text if text.isprintable() else _UNFIT.sub("\ufffd", text)


def line(text: str, limit: int = MAX_LINE) -> str:
    """Return text as one line of bounded length."""
    text = _UNFIT_IN_LINE.sub("\ufffd", " ".join(text.split()))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def is_line(text: str, limit: int) -> bool:
    """Return whether text is fit to be shown as it is."""
    return len(text) <= limit and not _UNFIT_IN_LINE.search(text)


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a string; the request id at the end of some is one."""
    return _BETWEEN_SENTENCES.split(text)


def sentence(text: str) -> str:
    """Return text with a full stop, unless it ends like a sentence."""
    return text if text.endswith((".", "!", "?", "]")) else f"{text}."
