"""Which asset aliases Airflow accepts events for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database


def without_unknown_aliases(aliases: Sequence[Any]) -> list[Any]:
    """Return the aliases whose events cannot fail a task.

    Airflow 2 fails a task that ends with an event for an alias that is not in its database yet, as when a DAG file
    has changed since it was last stored. Airflow 3 stores the alias.
    """
    if not tasks_use_the_database():
        return list(aliases)
    from airflow.models.dataset import DatasetAliasModel  # type: ignore[import-not-found]
    from airflow.utils.session import create_session

    with create_session() as session:
        query = session.query(DatasetAliasModel.name).filter(
            DatasetAliasModel.name.in_([alias.name for alias in aliases])
        )
        known = {name for (name,) in query}
    return [alias for alias in aliases if alias.name in known]
