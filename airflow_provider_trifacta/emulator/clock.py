"""Time in the emulator, and how runs progress in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal


class Clock:
    """A clock that can be moved forward.

    :param source: returns seconds since the epoch; if it is constant, the clock only moves through ``advance``.
    """

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._offset = 0.0

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self._source() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._offset += seconds


def timestamp(seconds: float) -> str:
    """Format seconds since the epoch as the API does: ``2024-03-01T06:00:01.120Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(text: str) -> float:
    """Return a timestamp of the API as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True)
class Pace:
    """How time passes for runs.

    :param kind: ``at once``, after N ``polls`` (reads of the run's status), or after N ``seconds``.
    :param amount: how many polls or seconds a run takes.
    """

    kind: Literal["at once", "polls", "seconds"] = "seconds"
    amount: float = 3.0

    @classmethod
    def parse(cls, text: str) -> Pace:
        """Parse ``at-once``, ``polls=3`` or ``seconds=2.5``.

        :raises ValueError: reports what is allowed.
        """
        if not isinstance(text, str):
            raise ValueError("pace: use at-once, polls=N or seconds=N")
        if text == "at-once":
            return cls("at once", 0)
        kind, _, amount = text.partition("=")
        try:
            value = float(amount)
        except ValueError:
            value = -1.0
        if kind in ("polls", "seconds") and 0 < value < float("inf"):
            return cls("polls" if kind == "polls" else "seconds", value)
        raise ValueError(f"{text!r} is not a pace: use at-once, polls=N or seconds=N")

    def progress(self, *, elapsed: float, polls: int) -> float:
        """Return how far a run is, from 0 to 1.

        :param elapsed: seconds since it was created.
        :param polls: how often its status was read before.
        """
        if self.kind == "at once":
            return 1.0
        return min(1.0, (polls if self.kind == "polls" else elapsed) / self.amount)
