"""Identifies the piece of work that a try belongs to.

A *series* is the work that one task instance has to do: Airflow's retries continue it, a user's clear begins a new
one. Each job group that it starts is an *attempt*, numbered from 1. Its ``x-execution-id`` is computed from the
series and the number, so later tries can derive it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

#: Must never change: another namespace would give running series other execution ids.
_NAMESPACE = uuid.UUID("5f0c2c2e-61b1-5b7e-9a35-0d6c1f6a7f2b")
#: Maximum age of a series at the current try, in seconds, if Airflow does not report when it began.
_LONGEST_SERIES = 86400.0


@dataclass(frozen=True)
class Series:
    """The work that one task instance has to do, as seen by the current try.

    :param key: identifies the series among all Airflow installations that use the same server.
    :param try_number: Airflow's number of the current try.
    :param is_first_try: whether no earlier try belongs to the series.
    :param began: the time, in seconds since the epoch, before which nothing of the series was started.
    :param was_cleared: whether a user cleared the task. If so, runs of the previous series may be newer than
        ``began``.
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

    Two values distinguish clears: ``max_tries``, which Airflow raises at each clear and never at a retry (only a
    task that is cleared while it runs keeps it, see below), and the start time of the DAG run, which changes when
    a finished run is cleared. The start time has microseconds, so that a run that was deleted and created again,
    or another Airflow with the same DAGs, has other series. ``retries`` of the task only determines which try is
    the first, since a DAG file can change it between two tries.

    A clear of a running task looks like a retry on Airflow 2.11. Its ``on_kill`` has canceled the job group, so
    the next try does what a retry does after a canceled one: it starts the next attempt.

    :param context: Airflow's context of the task.
    :param retries: how often Airflow retries the task.
    :param work: what is run. If the DAG file names another recipe, another series begins.
    :param now: seconds since the epoch.
    """
    ti = context.get("ti")
    names = [getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id")]
    try_number = _int(getattr(ti, "try_number", None), 1)
    if not all(isinstance(name, str) for name in names):
        return single_try(now)
    max_tries = _int(getattr(ti, "max_tries", None), retries)
    # A clear sets max_tries to the tries so far plus retries. If that does not add up, the DAG file has changed.
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
    """Return a series that ends with the current try."""
    return Series(uuid.uuid4(), 1, is_first_try=True, began=now, was_cleared=False)


def _int(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
