"""Ids in answers: which values are an id, and which are not."""

from __future__ import annotations

import re
from typing import Annotated, Any

_LARGEST = 2**63 - 1
#: The largest id has nineteen digits; ``\d`` would also match non-ASCII digits.
_DIGITS = re.compile(r"[1-9][0-9]{0,18}")
#: Marks a type as an id, for :mod:`airflow_provider_trifacta.api.shapes`.
OBJECT_ID = "id of an object"
ObjectId = Annotated[int, OBJECT_ID]


def id_of(value: Any) -> int | None:
    """Return an id as an integer, None when the value is not an id.

    An id is an integer from 1 to 2^63-1, or a string of its ASCII digits. ``True``, ``7.9``, ``0``, ``-1``,
    ``"1_000"``, ``" 7"`` and ``"007"`` are not: nothing is guessed.
    """
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= _LARGEST else None


def same_id(one: str | None, other: str | None) -> bool | None:
    """Return whether two ids are the same; None when they cannot be compared.

    A number cannot be compared with an id of another form, such as an e-mail address instead of a user's number.
    """
    if one is None or other is None or (id_of(one) is None) is not (id_of(other) is None):
        return None
    return one.lower() == other.lower()
