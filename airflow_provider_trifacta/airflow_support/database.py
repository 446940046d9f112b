"""Whether tasks and triggers may use Airflow's database: on Airflow 2 they may, on Airflow 3 they must not."""

from __future__ import annotations

from importlib.util import find_spec


def tasks_use_the_database() -> bool:
    """Return whether tasks of this Airflow use the database, as in versions without the Task SDK."""
    return find_spec("airflow.sdk") is None
