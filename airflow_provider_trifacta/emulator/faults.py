"""Faults to order: what goes wrong, at which call of which operation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

#: Seconds that a delay or a refusal may take: a day.
_LONGEST = 86400

Kind = Literal["status", "rate_limit", "reset", "cut", "html", "delay", "refuse", "expire_token", "delete_token"]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    :param operation: the operation id it happens at, e.g. ``runJobGroup``; ``*`` means any.
    :param kind: ``status`` answers with a status, ``rate_limit`` with 429, ``reset`` resets the connection,
        ``cut`` stops in the middle of the body, ``html`` answers with a proxy's page, ``delay`` answers late,
        ``refuse`` refuses connections for ``seconds`` before this call, ``expire_token`` and ``delete_token``
        end the token of the call before it is checked.
    :param call: at which call since the fault was ordered, from 1; None means at every call.
    :param times: at how many calls in a row; ignored when ``call`` is None.
    :param after: whether the work is done first, so that the answer is lost, not the request.
    :param status: the status of ``status`` and ``html``.
    :param headers: further headers of ``status`` and ``html``; for ``rate_limit``, they replace the usual ones.
    :param seconds: how long ``delay`` and ``refuse`` take.
    """

    operation: str
    kind: Kind
    call: int | None = 1
    times: int = 1
    after: bool = False
    status: int = 503
    headers: Mapping[str, str] | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in get_args(Kind):
            raise ValueError(f"kind: {self.kind!r} is unknown, use one of {', '.join(get_args(Kind))}")
        if not isinstance(self.operation, str):
            raise ValueError("operation: must be the id of an operation")
        if self.call is not None and not _counts(self.call):
            raise ValueError("call: must be an integer from 1")
        if not _counts(self.times):
            raise ValueError("times: must be an integer from 1")
        if not isinstance(self.after, bool):
            raise ValueError("after: must be true or false")
        if not _counts(self.status) or not 200 <= self.status <= 599:
            raise ValueError("status: must be from 200 to 599")
        if isinstance(self.seconds, bool) or not 0 <= self.seconds <= _LONGEST:
            raise ValueError(f"seconds: must be from 0 to {_LONGEST}")
        if self.headers is not None and not all(_is_header(*pair) for pair in dict(self.headers).items()):
            raise ValueError("headers: must be names and values that can be sent")
        if self.kind == "refuse" and self.call is None:
            raise ValueError("call: refuse needs the number of the call before which it begins")

    @classmethod
    def from_json(cls, value: Any) -> Fault:
        """Read a fault from the body of a control request.

        :raises ValueError: reports what is wrong.
        """
        known = {f.name for f in fields(cls)}
        if not isinstance(value, dict) or not {"operation", "kind"} <= set(value) <= known:
            raise ValueError(f"a fault needs operation and kind, and may have {', '.join(sorted(known))}")
        return cls(**value)

    def as_json(self) -> dict[str, Any]:
        """Return the fault as a control request would order it."""
        return asdict(self)


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_header(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) is not None
        and re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) is not None
    )


@dataclass
class Faults:
    """The ordered faults, and how often their operations were called since."""

    _ordered: list[tuple[Fault, list[int]]] = field(default_factory=list)

    def order(self, fault: Fault) -> None:
        """Order a fault."""
        self._ordered.append((fault, [0]))

    def clear(self) -> None:
        """Forget all faults."""
        self._ordered.clear()

    def all(self) -> list[Fault]:
        """Return the ordered faults."""
        return [fault for fault, _ in self._ordered]

    def at_call(self, operation: str) -> list[Fault]:
        """Count a call and return the faults at it."""
        due = []
        for fault, calls in self._matching(operation):
            calls[0] += 1
            if fault.kind != "refuse" and (
                fault.call is None or fault.call <= calls[0] < fault.call + fault.times
            ):
                due.append(fault)
        return due

    def refusal_before_next(self, operation: str | None = None) -> float | None:
        """Return how long to refuse connections before the next call, None for not at all.

        :param operation: the operation that was just called; None right after ordering.
        """
        for fault, calls in self._ordered:
            if (
                fault.kind == "refuse"
                and fault.call == calls[0] + 1
                and (operation is None or fault.operation in (operation, "*"))
            ):
                calls[0] += 1  # counted now: the refused call will not be seen
                return fault.seconds
        return None

    def _matching(self, operation: str) -> list[tuple[Fault, list[int]]]:
        return [pair for pair in self._ordered if pair[0].operation in (operation, "*")]
