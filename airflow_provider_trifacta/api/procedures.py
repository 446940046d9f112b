"""Sequences of calls that both clients can run: what to send and when to pause.

A procedure is a generator. It yields an :class:`~airflow_provider_trifacta.api.messages.Operation` and is given
its result (or its error is thrown in), or a :class:`Pause`. The ``run`` of a client drives it.
"""

from __future__ import annotations

from collections.abc import Generator
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
