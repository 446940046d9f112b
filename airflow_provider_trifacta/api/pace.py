"""How often something may happen, and how long to wait after failures: pure functions."""

from __future__ import annotations

#: More failures than that make no difference, and floats end somewhere.
_MOST_DOUBLINGS = 32


def backoff(first: float, longest: float, failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: twice as long after each, from ``first`` on."""
    return min(first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), longest)


class Pace:
    """Lets a number of events per second through, and a few more at the beginning.

    :param per_second: events per second.
    :param burst: how many may happen at once after a rest.
    """

    def __init__(self, per_second: float, *, burst: int = 1) -> None:
        self._interval = 1 / per_second
        self._ahead = (burst - 1) * self._interval
        self._next = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next event may happen, 0 if it may now.

        :param now: seconds on any monotonic clock.
        """
        return max(0.0, self._next - self._ahead - now)

    def reserve(self, now: float) -> float:
        """Plan the next event; return the seconds until it may happen."""
        wait = self.wait(now)
        self._next = max(self._next, now) + self._interval
        return wait

    def allows(self, now: float) -> bool:
        """Plan the next event and return True if it may happen now, otherwise return False."""
        if self.wait(now) > 0:
            return False
        self.reserve(now)
        return True
