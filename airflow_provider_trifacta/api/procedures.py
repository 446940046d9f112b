"""Sequences of calls that both clients can run: what to send and when to pause.

A procedure is a generator. It yields an :class:`~airflow_provider_trifacta.api.messages.Operation` and receives
its result (or its error is thrown in), or yields a :class:`Pause`. A client's ``run`` drives it.
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

    :param seconds: how long.
    """

    seconds: float


Procedure = Generator[Operation[Any] | Pause, Any, T]


def drive(procedure: Generator[Any, Any, T], take: Callable[[Any], Any]) -> T:
    """Run a procedure and return its result.

    :param take: does one step and returns its result. An exception from it is raised inside the procedure.
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
    """Run a procedure with awaitable steps and return its result."""
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
