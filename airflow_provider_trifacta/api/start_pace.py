"""When the next start may be sent: keeps to a quota, spreads the starts over its window, adapts to refusals.

Nothing here waits: moments are passed in, all in seconds since the epoch on this machine's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow_provider_trifacta.api.rate_limits import Quota
from airflow_provider_trifacta.api.retries import RetryPolicy

#: Seconds of the windows of the API's quotas (api/README.md, section 3). No header reports it.
_WINDOW = 60.0
_SHORTEST_WINDOW = 5.0
#: The longest wait that a server can request.
_LONGEST_WAIT = RetryPolicy.max_server_wait
#: Starts per minute as long as nothing is known: about the documented quotas.
_USUAL_RATE = 30.0
#: Seconds until a new pace lets out the first start: after a restart of a triggerer, whoever has waited longest
#: may be the last to arrive.
_SETTLING = 2.0
#: Seconds to wait after a refusal that does not specify any, doubled with each further one.
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 60.0
#: Part of its rate that a pace gives up when a whole window is refused, and gains with each window that is not.
#: A quota that several share is divided among them by this.
_DECREASE = 0.5
_INCREASE = 0.05
_SMALLEST_SHARE = 0.02
#: A line that has not moved for this many seconds more than its starts take is taken to have been given up: its
#: tasks were killed, or go on elsewhere.
_PATIENCE_WITH_THE_LINE = 60.0


@dataclass(frozen=True)
class SeenQuota:
    """A quota that was seen to be used up, and the line of those who wait for it.

    :param until: when starts are admitted again; None when the server did not report it.
    :param limit: starts per window; None when it was not reported.
    :param resets_at: when the window ends on the server's clock, in seconds since the epoch.
    :param ends_at: the same on this machine's clock.
    :param used: starts that the server had admitted in that window.
    :param window: seconds of a window; None as long as that was not seen.
    :param waiting: how many stand in line, as far as is known.
    :param moved_at: when someone last joined or left the line; None as long as there was none.
    """

    until: float | None = None
    limit: int | None = None
    resets_at: float | None = None
    ends_at: float | None = None
    used: int = 0
    window: float | None = None
    waiting: int = 0
    moved_at: float | None = None

    @classmethod
    def read(cls, values: Any) -> SeenQuota:
        """Read what :meth:`plain` returned, perhaps in another version. Values that make no sense are left out."""
        values = values if isinstance(values, Mapping) else {}
        limit, window = _positive(values.get("limit")), _positive(values.get("window"))
        return cls(
            until=_positive(values.get("until")),
            limit=None if limit is None else max(1, int(limit)),
            resets_at=_positive(values.get("resets_at")),
            ends_at=_positive(values.get("ends_at")),
            used=int(_positive(values.get("used")) or 0),
            window=None if window is None else max(_SHORTEST_WINDOW, min(window, _LONGEST_WAIT)),
            waiting=int(_positive(values.get("waiting")) or 0),
            moved_at=_positive(values.get("moved_at")),
        )

    @classmethod
    def refused(cls, retry_after: float | None, quotas: Iterable[Quota], now: float) -> SeenQuota:
        """Return what a refusal reports.

        :param retry_after: seconds that the server asks to wait.
        :param quotas: the quotas of the route, as they were last reported.
        """
        used_up = cls.used_up(quotas, now) or cls()
        if retry_after is None:
            return used_up
        wait = min(retry_after, _LONGEST_WAIT)
        return replace(used_up, until=now + wait, window=wait if wait > _WINDOW else None)

    @classmethod
    def used_up(cls, quotas: Iterable[Quota], now: float) -> SeenQuota | None:
        """Return the quota that is used up and reset last, None if something is left of all."""
        seen = cls.reported(quotas, now)
        return seen if seen is not None and seen.used == seen.limit else None

    @classmethod
    def reported(cls, quotas: Iterable[Quota], now: float) -> SeenQuota | None:
        """Return the quota of which least is left, None if none is reported.

        :param quotas: the quotas of the route, as they were last reported.
        """
        # Starts are admitted once the last of those that are used up has been reset.
        quota = min(quotas, key=lambda quota: (quota.remaining, -(quota.resets_at or 0.0)), default=None)
        if quota is None:
            return None
        left = quota.seconds_left(now)
        ends_at = None if left is None else now + min(left, _LONGEST_WAIT)
        return cls(
            until=ends_at if quota.remaining == 0 else None,
            limit=quota.limit,
            resets_at=quota.resets_at,
            ends_at=ends_at,
            used=quota.limit - quota.remaining,
        )

    def is_used_up(self, now: float) -> bool:
        """Return whether a start would be refused now, as far as is known."""
        # A later moment means that a clock was set back meanwhile.
        return self.until is not None and now < self.until <= now + _LONGEST_WAIT

    def is_waited_for(self, now: float) -> bool:
        """Return whether others probably stand in line: who comes now goes to its end."""
        if self.waiting == 0 or self.moved_at is None:
            return False
        unmoved = now - max(self.moved_at, self.until or 0.0)
        return -_LONGEST_WAIT <= unmoved < self.waiting * self.interval + _PATIENCE_WITH_THE_LINE

    def has_overdue_start(self, now: float) -> bool:
        """Return whether a start of this window is overdue: those in line are late, so that it may be lost.

        As long as nobody knows how long a window is, its first start is: the answer shows it.
        """
        if self.limit is None or self.ends_at is None:
            return False
        began, used = self._window_at(now)
        return used < min(self.limit, int((now - began) / self.interval) + (self.window is None))

    def started(self, now: float) -> SeenQuota:
        """Return this with one more start in this window, of which the server has not reported yet."""
        began, used = self._window_at(now)
        return replace(self, ends_at=began + (self.window or _WINDOW), used=used + 1)

    def _window_at(self, now: float) -> tuple[float, int]:
        """Return when the window of a moment began, and how many starts it has admitted as far as is known."""
        window = self.window or _WINDOW
        ends_at = now if self.ends_at is None else self.ends_at
        if now < ends_at:
            return ends_at - window, self.used
        return now - (now - ends_at) % window, 0

    def joined(self, now: float) -> SeenQuota:
        """Return this with one more in line."""
        return replace(self, waiting=1 + (self.waiting if self.is_waited_for(now) else 0), moved_at=now)

    def left(self, behind: int, now: float) -> SeenQuota:
        """Return this after one has left the line.

        :param behind: how many still stand in it.
        """
        return replace(self, waiting=behind, moved_at=now)

    @property
    def interval(self) -> float:
        """Seconds between two starts that are spread over the window."""
        return 60 / _USUAL_RATE if self.limit is None else (self.window or _WINDOW) / self.limit

    def after(self, previous: SeenQuota | None) -> SeenQuota:
        """Return this with what an earlier one adds: two ends of windows show how long a window is."""
        if previous is None:
            return self
        windows = [window for window in (self.window, previous.window) if window is not None]
        if self.resets_at is not None and previous.resets_at is not None:
            between = abs(self.resets_at - previous.resets_at)
            if between >= _SHORTEST_WINDOW:
                # There may have been others in between, but none longer than documented.
                windows.append(min(between, _WINDOW))
        latest = previous if self.resets_at is None else self
        same_window = self.resets_at is None or self.resets_at == previous.resets_at
        return replace(
            self,
            limit=previous.limit if self.limit is None else self.limit,
            resets_at=latest.resets_at,
            ends_at=latest.ends_at,
            # The answers of two starts may arrive in reverse order.
            used=max(self.used, previous.used) if same_window else self.used,
            window=min(windows, default=None),
            waiting=previous.waiting if self.moved_at is None else self.waiting,
            moved_at=previous.moved_at if self.moved_at is None else self.moved_at,
        )

    def plain(self) -> dict[str, Any]:
        """Return the values, which can be stored as JSON."""
        return asdict(self)


def _positive(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 < value < math.inf else None


class StartPace:
    """The pace of one queue of starts.

    :param now: when the queue began.
    """

    def __init__(self, now: float) -> None:
        self._held_until = now + _SETTLING
        self._last = 0.0
        self._share = 1.0
        self._rate: float | None = None
        self._seen: SeenQuota | None = None
        self._pause = _FIRST_PAUSE
        self._paused_until = 0.0

    @property
    def due(self) -> float:
        """The moment before which no start is let out."""
        return max(self._held_until, self._last + self.interval)

    @property
    def interval(self) -> float:
        """Seconds between two starts."""
        full = (self._seen or SeenQuota()).interval if self._rate is None else 60 / self._rate
        return full / self._share

    def limit_to(self, starts_per_minute: float | None) -> None:
        """Keep to a rate that a user specified; None keeps to what the server reports."""
        self._rate = starts_per_minute

    def learn(self, seen: SeenQuota, now: float, *, refused: bool, had_slot: bool) -> None:
        """Learn what a task knows of the quota: nothing is let out before it is reset.

        :param refused: whether the server has just refused a start.
        :param had_slot: whether this pace had let that start out: then it was too fast.
        """
        self._seen = seen.after(self._seen)
        if seen.until is not None:
            self._hold(seen.until, now)
        elif refused and now >= self._paused_until:
            recently = now - self._paused_until < 2 * _WINDOW
            self._pause = min(2 * self._pause, _LONGEST_PAUSE) if recently else _FIRST_PAUSE
            self._paused_until = now + self._pause
            self._hold(self._paused_until, now)
        if refused and had_slot:
            self._share = max(_SMALLEST_SHARE, self._share * (1 - _DECREASE / self._per_window()))

    def let_out(self, now: float) -> None:
        """Note that a start was let out."""
        self._last = now
        self._share = min(1.0, self._share + _INCREASE / self._per_window())

    def _hold(self, until: float, now: float) -> None:
        self._held_until = max(self._held_until, min(until, now + _LONGEST_WAIT))

    def _per_window(self) -> float:
        """Return how many starts a window admits, as far as is known."""
        seen = self._seen
        if seen is not None and seen.limit is not None:
            return seen.limit
        return max(1.0, (self._rate or _USUAL_RATE) * _WINDOW / 60)
