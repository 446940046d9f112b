"""For code that only informs users: its errors must not affect the outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.text import line


@contextmanager
def decoration(missing: str, log: Log) -> Iterator[None]:
    """Log any exception in the block as one line and go on.

    Whatever ends a task on purpose is not an ``Exception`` and passes: an Airflow timeout, a cancel, a kill.

    :param missing: the consequence, as a clause: ``The progress of job group 5 could not be read``.
    """
    try:
        yield
    except Exception as error:
        log.warning("%s: %s", missing, line(f"{type(error).__name__}: {error}"))
