"""The rate limits that the server reports: how long it asks to wait, and what is left of a quota."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from airflow_provider_trifacta.api.timestamps import http_date

#: Whose calls a quota counts, most often the tighter one first.
SCOPES: tuple[Literal["user", "workspace"], ...] = ("user", "workspace")
#: A quota is nearly used up when at most this share of it is left.
_NEARLY_USED_UP = 0.1
#: Maximum number of routes whose quotas are kept. The API has quotas for ten.
_MOST_ROUTES = 50
#: The year 9999: later moments are not valid dates.
_END_OF_TIME = 253_402_300_799.0


@dataclass(frozen=True)
class Quota:
    """How many calls of one route are allowed per window, as the server last reported it.

    :param scope: whose calls are counted together.
    :param limit: calls per window.
    :param remaining: calls left in the current window.
    :param resets_at: when the window ends, in seconds since the epoch on the server's clock; None when it was not
        reported.
    :param answered_at: when the answer was sent, on the same clock; None when it was not reported.
    """

    scope: Literal["user", "workspace"]
    limit: int
    remaining: int
    resets_at: float | None
    answered_at: float | None = None

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the window ends, None when that was not reported.

        :param now: seconds since the epoch; the answer's own ``Date`` takes precedence, since clocks differ.
        """
        if self.resets_at is None:
            return None
        return max(0.0, self.resets_at - (now if self.answered_at is None else self.answered_at))

    @property
    def is_nearly_used_up(self) -> bool:
        """Whether at most a tenth of the calls is left, or none."""
        return self.remaining <= self.limit * _NEARLY_USED_UP

    def __str__(self) -> str:
        until = ""
        if self.resets_at is not None and 0 <= self.resets_at <= _END_OF_TIME:
            until = f" until {datetime.fromtimestamp(self.resets_at, UTC):%H:%M:%S} UTC"
        return f"{self.remaining} of {self.limit} calls left for this {self.scope}{until}"


def quotas_of(headers: Mapping[str, str]) -> tuple[Quota, ...]:
    """Return the quotas that an answer reports; one whose numbers make no sense is left out.

    :param headers: the answer's headers, names in lower case.
    """
    quotas = []
    for scope in SCOPES:
        limit = _number(headers.get(f"x-rate-limit-{scope}-limit"))
        remaining = _number(headers.get(f"x-rate-limit-{scope}-remaining"))
        if limit is None or remaining is None or not 1 <= limit <= 1e9 or remaining > limit:
            continue
        reset = _number(headers.get(f"x-rate-limit-{scope}-reset"))
        resets_at = None if reset is None else epoch_seconds(reset)
        quotas.append(Quota(scope, int(limit), max(0, int(remaining)), resets_at, http_date(headers.get("date"))))
    return tuple(quotas)


class QuotaBoard:
    """The quotas of one client, by route, as the answers so far reported them.

    :param log: where to warn when a quota is nearly used up, once per window.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._quotas: dict[str, tuple[Quota, ...]] = {}
        self._warned: dict[tuple[str, str], float | None] = {}

    def read(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Read the quotas that an answer reports, whether it is a success or a refusal."""
        if not any(f"x-rate-limit-{scope}-limit" in headers for scope in SCOPES):
            return
        route = route_of(method, path)
        quotas = quotas_of(headers)
        if not quotas or (route not in self._quotas and len(self._quotas) >= _MOST_ROUTES):
            return
        # A refusal reports only the quota that was used up.
        other = [quota for quota in self._quotas.get(route, ()) if all(quota.scope != new.scope for new in quotas)]
        self._quotas[route] = (*quotas, *other)
        for quota in quotas:
            warned = self._warned.get((route, quota.scope), math.nan)
            if quota.is_nearly_used_up and warned != quota.resets_at:
                self._warned[route, quota.scope] = quota.resets_at
                self._log.warning("Quota of %s: %s", route, quota)

    def by_route(self) -> dict[str, tuple[Quota, ...]]:
        """Return the quotas that were last reported, by route: ``POST /v4/flows/{id}/run``."""
        return dict(self._quotas)


def route_of(method: str, path: str) -> str:
    """Return a route with ``{id}`` in place of ids: the API's own segments have no digits, except the first."""
    start, _, rest = path.removeprefix("/").partition("/")
    return f"{method} /{start}/{re.sub(r'[^/]*[0-9%][^/]*', '{id}', rest)}"


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
    for quota in SCOPES:
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
