"""Rate limits: requests per user and per workspace, in windows of one minute unless a test sets others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
        self._window = _WINDOW
        self._limits: dict[str, tuple[int, int]] = {}
        self._counts: dict[tuple[str, str, int, int], int] = {}

    def replace_limits(self, limits: Mapping[str, Any] | None, window: int | None) -> None:
        """Replace limits by others; None leaves them unchanged.

        :param limits: the limits per user and per workspace, by operation id.
        :param window: seconds of a window.
        :raises ValueError: one is not a positive integer.
        """
        pairs = {} if limits is None else limits
        for operation, pair in pairs.items():
            if not (isinstance(pair, Sequence) and len(pair) == 2 and all(map(_is_positive, pair))):
                raise ValueError(f"quotas: {operation}: must be two positive integers, per user and per workspace")
        if window is not None and not _is_positive(window):
            raise ValueError("quota_window: must be a positive number of whole seconds")
        if limits is not None:
            self._limits = {operation: (pair[0], pair[1]) for operation, pair in limits.items()}
        self._window = self._window if window is None else window

    def admit(self, operation: Operation, person: int) -> dict[str, str]:
        """Count a call and return the headers that report how many are left.

        :raises Problem: 429; as in the vendor's sample, it has only the headers of the quota that was reached.
        """
        if operation.quota is None:
            return {}
        window = int(self._clock.now() // self._window)
        ends = (window + 1) * self._window
        of_user, of_workspace = self._limits.get(operation.id, (operation.quota.user, operation.quota.workspace))
        self._counts = {key: count for key, count in self._counts.items() if key[3] == window}
        limits = (("user", person, of_user), ("workspace", WORKSPACE, of_workspace))
        used = {kind: self._counts.get((operation.id, kind, who, window), 0) for kind, who, _ in limits}
        for kind, _, limit in limits:
            if self.enforced and used[kind] >= limit:
                raise refusal(operation.id, kind, limit, window_ends=ends, now=self._clock.now())
        headers: dict[str, str] = {}
        for kind, who, limit in limits:
            self._counts[operation.id, kind, who, window] = used[kind] + 1
            headers |= _headers(kind, limit, max(0, limit - used[kind] - 1), ends)
        return headers


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


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
