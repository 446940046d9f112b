"""Parses incoming JSON so that everything that is accepted can be written again."""

from __future__ import annotations

import json
from typing import Any


def decoded(raw: bytes) -> Any:
    """Return a decoded body.

    :raises ValueError: not JSON, nested too deeply, or contains numbers or strings that JSON cannot represent.
    """
    try:
        value = json.loads(raw)
        # Half a surrogate pair is not valid in a string; NaN and 1e999 are not valid numbers.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value
