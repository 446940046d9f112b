"""Reads how long the server asks to wait."""

from __future__ import annotations

import math
from collections.abc import Mapping

from airflow_provider_trifacta.api.timestamps import http_date


def server_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds the server asks to wait, None when it does not specify any.

    ``x-retry-after`` is the documented header; proxies send the standard ``Retry-After`` (seconds or a date).
    Without either, the reset times are used, which are in seconds or milliseconds whatever the documentation says.

    :param headers: the answer's headers, names in lower case.
    :param now: seconds since the epoch; the answer's own ``Date`` takes precedence, since clocks differ.
    """
    date = http_date(headers.get("date"))
    if date is not None:
        now = date
    for name in ("x-retry-after", "retry-after"):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _number(value)
        if seconds is not None:
            return max(0.0, seconds)
        until = http_date(value)
        if until is not None:
            return max(0.0, until - now)
    waits = []
    for quota in ("user", "workspace"):
        reset = _number(headers.get(f"x-rate-limit-{quota}-reset"))
        remaining = _number(headers.get(f"x-rate-limit-{quota}-remaining"))
        if reset is not None and (remaining is None or remaining <= 0):
            waits.append(max(0.0, epoch_seconds(reset) - now))
    return max(waits, default=None)


def epoch_seconds(value: float) -> float:
    """Convert an epoch to seconds. Values from 1e12 on are milliseconds: as seconds, 1e12 is the year 33658."""
    return value / 1000 if value >= 1e12 else value


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
