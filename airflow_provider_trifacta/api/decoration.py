"""What only informs users, and must not decide anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.text import line


@contextmanager
def decoration(missing: str, log: Log) -> Iterator[None]:
    """Go on after whatever goes wrong in the block, with one line in the log.

    What ends a task on purpose is no ``Exception`` and passes: a timeout of Airflow, a cancel, a kill.

    :param missing: what is not there then, with the verb: ``The progress of job group 5 could not be read``.
    """
    try:
        yield
    except Exception as error:
        log.warning("%s: %s", missing, line(f"{type(error).__name__}: {error}"))
