"""Stops a run: cancels it, and waits for it to end."""

from __future__ import annotations

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.runs.kind import RunKind, RunRef
from airflow_provider_trifacta.api.statuses import is_final

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


def stop_run(kind: RunKind, run: RunRef, *, patience: float, clock: Clock) -> Procedure[str]:
    """Cancel a run and wait until it has ended. Return its last status, which may not be final.

    :param patience: maximum seconds to wait.
    :raises TrifactaApiError: it could not be canceled, or its status could not be read.
    """
    yield from kind.cancel(run)
    until = clock.monotonic() + patience
    pause = _FIRST_PAUSE
    status = yield from kind.status(run)
    while not is_final(status) and clock.monotonic() < until:
        yield Pause(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        status = yield from kind.status(run)
    return status
