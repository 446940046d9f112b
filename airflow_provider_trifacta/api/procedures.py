"""Sequences of calls that both clients can run: what to send and when to pause.

A procedure is a generator. It yields an :class:`~airflow_provider_trifacta.api.messages.Operation` and is given
its result (or its error is thrown in), or a :class:`Pause`. The ``run`` of a client drives it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_trifacta.api.messages import Operation

T = TypeVar("T")


@dataclass(frozen=True)
class Pause:
    """Wait before going on.

    :param seconds: for how long.
    """

    seconds: float


Procedure = Generator[Operation[Any] | Pause, Any, T]


def drive(procedure: Generator[Any, Any, T], take: Callable[[Any], Any]) -> T:
    """Run a procedure and return its result.

    :param take: does one step and returns its result. What it raises is raised in the procedure.
    """
    try:
        step = next(procedure)
        while True:
            try:
                result = take(step)
            except Exception as error:
                step = procedure.throw(error)
            else:
                step = procedure.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


async def drive_async(procedure: Generator[Any, Any, T], take: Callable[[Any], Awaitable[Any]]) -> T:
    """Run a procedure and return its result, for steps that are awaited."""
    try:
        step = next(procedure)
        while True:
            try:
                result = await take(step)
            except Exception as error:
                step = procedure.throw(error)
            else:
                step = procedure.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
