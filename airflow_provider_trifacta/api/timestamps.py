"""Timestamps and durations in the formats of the API, of HTTP headers and of users."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

#: The valid years of a timestamp. Outside them, arithmetic with time zones overflows.
_YEARS = range(1970, 9999)
#: Ten years: later moments may not be valid dates.
_LONGEST_SPAN = 10 * 365 * 86400.0


def timestamp_of(value: Any) -> datetime | None:
    """Parse a timestamp of the API; None when it is not one. Without a time zone, it is UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    if moment.year not in _YEARS:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def epoch_milliseconds(value: datetime | int) -> int:
    """Return a moment in the format of date filters. A datetime without a time zone is UTC."""
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    return value


def http_date(text: str | None) -> float | None:
    """Return the date in a header as seconds since the epoch, None when it is not a date."""
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return moment.timestamp() if moment is not None and moment.year in _YEARS else None


def spoken(seconds: float) -> str:
    """Return a duration in words: ``31 s``, ``12 min 5 s``, ``3 h 20 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def moment_after(now: float, seconds: float) -> str:
    """Return a moment in words: ``2024-03-01 06:00:00 UTC``.

    :param now: seconds since the epoch.
    :param seconds: how much later it is; more than ten years count as ten.
    """
    return f"{datetime.fromtimestamp(now + min(seconds, _LONGEST_SPAN), UTC):%Y-%m-%d %H:%M:%S} UTC"
