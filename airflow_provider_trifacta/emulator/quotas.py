"""Rate limits: requests per user and per workspace, in windows of one minute."""

from __future__ import annotations

import math

from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.emulator.contract import Operation
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.state import WORKSPACE

_WINDOW = 60


class Quotas:
    """Counts the calls of the operations that have a quota.

    :param enforced: whether calls over the quota are refused; they are counted in any case.
    """

    def __init__(self, clock: Clock, *, enforced: bool = True) -> None:
        self._clock = clock
        self.enforced = enforced
        self._counts: dict[tuple[str, str, int, int], int] = {}

    def admit(self, operation: Operation, person: int) -> dict[str, str]:
        """Count a call and return the headers that report how many are left.

        :raises Problem: 429; as in the vendor's sample, it has only the headers of the quota that was reached.
        """
        if operation.quota is None:
            return {}
        window = int(self._clock.now() // _WINDOW)
        self._counts = {key: count for key, count in self._counts.items() if key[3] == window}
        limits = (("user", person, operation.quota.user), ("workspace", WORKSPACE, operation.quota.workspace))
        used = {kind: self._counts.get((operation.id, kind, who, window), 0) for kind, who, _ in limits}
        for kind, _, limit in limits:
            if self.enforced and used[kind] >= limit:
                raise refusal(operation.id, kind, limit, window_ends=(window + 1) * _WINDOW, now=self._clock.now())
        headers: dict[str, str] = {}
        for kind, who, limit in limits:
            self._counts[operation.id, kind, who, window] = used[kind] + 1
            headers |= _headers(kind, limit, max(0, limit - used[kind] - 1), (window + 1) * _WINDOW)
        return headers


def refusal(
    operation: str, kind: str, limit: int, *, window_ends: float, now: float, with_headers: bool = True
) -> Problem:
    """Return the answer to a call over the quota."""
    seconds = max(1, math.ceil(window_ends - now))
    headers = {**_headers(kind, limit, 0, window_ends), "x-retry-after": str(seconds)} if with_headers else {}
    return Problem(
        429,
        "TooManyRequestsException",
        "Too Many Requests",
        f'API quota reached for "{operation}". Wait {seconds} seconds before making a new request. '
        f"(Max. {limit} requests allowed per minute per {kind}.)",
        headers,
    )


def _headers(kind: str, limit: int, remaining: int, window_ends: float) -> dict[str, str]:
    return {
        f"x-rate-limit-{kind}-limit": str(limit),
        f"x-rate-limit-{kind}-remaining": str(remaining),
        f"x-rate-limit-{kind}-reset": str(int(window_ends * 1000)),
    }
