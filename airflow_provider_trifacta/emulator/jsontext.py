"""JSON as it arrives, read so that whatever is taken can be written again."""

from __future__ import annotations

import json
from typing import Any


def decoded(raw: bytes) -> Any:
    """Return a decoded body.

    :raises ValueError: not JSON, nested too deep, or it holds numbers or text that JSON cannot hold.
    """
    try:
        value = json.loads(raw)
        # Half a surrogate pair is no text, NaN and 1e999 are no numbers.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value
