"""Whether tasks and triggers may use Airflow's database: on Airflow 2 they do, on Airflow 3 they must not."""

from __future__ import annotations

from importlib.util import find_spec


def tasks_use_the_database() -> bool:
    """Return whether this is an Airflow whose tasks use the database: one without the Task SDK."""
    return find_spec("airflow.sdk") is None
