"""Which try of which piece of work this is.

A *series* is what one task instance owes: Airflow's retries continue it, a user's clear begins a new one. Each
job group that it starts is an *attempt*, numbered from 1, with an ``x-execution-id`` that follows from the series
and the number: whoever comes later knows it without being told.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

#: Fixed for ever: another one would give running series other execution ids.
_NAMESPACE = uuid.UUID("5f0c2c2e-61b1-5b7e-9a35-0d6c1f6a7f2b")
#: Seconds before the present try at which its series began at the earliest, where Airflow does not say more.
_LONGEST_SERIES = 86400.0


@dataclass(frozen=True)
class Series:
    """What one task instance owes, as the present try sees it.

    :param key: tells series apart, on every Airflow that uses the same server.
    :param try_number: Airflow's number of the present try.
    :param is_first_try: whether no earlier try belongs to the series.
    :param began: seconds since the epoch before which nothing of it was started.
    :param was_cleared: whether a user cleared the task: then the time since ``began`` may hold runs of the
        series before this one.
    """

    key: uuid.UUID
    try_number: int
    is_first_try: bool
    began: float
    was_cleared: bool

    def execution_id(self, attempt: int) -> str:
        """Return the ``x-execution-id`` of an attempt."""
        return str(uuid.uuid5(self.key, str(attempt)))


def series_of(context: Mapping[str, Any], *, retries: int, work: str, now: float) -> Series:
    """Return the series that a task works on.

    Two facts tell clears apart: ``max_tries``, which Airflow raises at each clear and never at a retry (only a
    task that is cleared while it runs keeps it, see below), and when the DAG run started, which changes when a
    finished run is cleared. The latter is a moment to the microsecond, so that a run that was deleted and made
    again, or another Airflow with the same DAGs, has other series. ``retries`` of the task only says which try is
    the first, since a DAG file can change it between two tries.

    A clear of a running task looks like a retry on Airflow 2.11. Its ``on_kill`` has canceled the job group, so
    the next try does what a retry does after a canceled one: it starts the next attempt.

    :param context: Airflow's context of the task.
    :param retries: how often Airflow retries the task.
    :param work: what is run. A DAG file that says another recipe begins another series.
    :param now: seconds since the epoch.
    """
    ti = context.get("ti")
    names = [getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id")]
    try_number = _int(getattr(ti, "try_number", None), 1)
    if not all(isinstance(name, str) for name in names):
        return single_try(now)
    max_tries = _int(getattr(ti, "max_tries", None), retries)
    # A clear sets max_tries to the tries so far plus retries. Where that does not add up, the DAG file changed.
    tries_before = max_tries - retries
    if not 0 < tries_before < try_number:
        tries_before = 0
    run_started = getattr(context.get("dag_run"), "start_date", None)
    if not isinstance(run_started, datetime):
        run_started = None
    identity = [*names, run_started and run_started.isoformat(), _int(getattr(ti, "map_index", None), -1)]
    return Series(
        key=uuid.uuid5(_NAMESPACE, json.dumps([*identity, max_tries, work])),
        try_number=try_number,
        is_first_try=try_number <= tries_before + 1,
        began=run_started.timestamp() if run_started else now - _LONGEST_SERIES,
        was_cleared=tries_before > 0,
    )


def single_try(now: float) -> Series:
    """Return a series that ends with the present try."""
    return Series(uuid.uuid4(), 1, is_first_try=True, began=now, was_cleared=False)


def _int(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
