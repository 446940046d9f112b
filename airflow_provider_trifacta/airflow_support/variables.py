"""Reads a Variable, and distinguishes one that cannot be read from one that does not exist.

Airflow queries one secrets backend after the other, its database or API server last, and ignores failures: if none
could answer, it reports that the Variable does not exist. So a Variable that Airflow does not find is looked up
again, in a way that shows failures.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.airflow_support.compat import Variable, conf, is_airflow_3_0
from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database


def read_variable(name: str) -> str | None:
    """Return the value of a Variable, None if no place that Airflow queries has it.

    :raises Exception: it could not be read, and may exist.
    """
    value = _variables().get(name, None)
    if value is not None:
        return str(value)
    for backend in _secrets_backends():
        if _has(backend, name):
            raise LookupError("it exists, but Airflow returned no value")
    return None


def why_written_variables_are_logged() -> str | None:
    """Return why Airflow would log the value of a Variable that a task sets, unmasked; None if it would not.

    On Airflow 3, the process that runs a task logs each of its requests at level DEBUG, unmasked.
    """
    if tasks_use_the_database():
        return None
    if is_airflow_3_0():
        return "Airflow 3.0 logs the Variables that tasks set, at any log level (3.1 no longer does)"
    levels = f"{conf.get('logging', 'logging_level')} {conf.get('logging', 'namespace_levels', fallback='')}"
    if "DEBUG" in levels.upper():
        return (
            "at log level DEBUG ([logging] logging_level, namespace_levels), Airflow logs the Variables that "
            "tasks set"
        )
    return None


def _variables() -> Any:
    """Return the class that reads Variables in this process."""
    if not _reads_the_database():
        return Variable
    from airflow.models.variable import Variable as Row

    return Row


def _reads_the_database() -> bool:
    """Return whether this process reads Variables from Airflow's database.

    All processes of Airflow 2 do. So do the servers of Airflow 3.0, which test connections: its SDK reads
    Variables only in tasks and triggers, which have a supervisor. Later versions detect where they run.
    """
    if tasks_use_the_database():
        return True
    if not is_airflow_3_0():
        return False
    from airflow.sdk.execution_time import task_runner

    return not hasattr(task_runner, "SUPERVISOR_COMMS")


def _secrets_backends() -> list[Any]:
    """Return the backends that Airflow queries for Variables in this process."""
    if _reads_the_database():
        from airflow.configuration import ensure_secrets_loaded

        return list(ensure_secrets_loaded())
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    return list(ensure_secrets_backend_loaded())


def _has(backend: Any, name: str) -> bool:
    """Return whether a secrets backend has a Variable.

    :raises Exception: this cannot be determined.
    """
    # Airflow's own two backends need another query: one swallows errors, the other cannot distinguish a value that
    # it cannot decrypt from a missing one.
    kind = type(backend).__name__
    if kind == "ExecutionAPISecretsBackend":
        return _is_on_api_server(name)
    if kind == "MetastoreBackend":
        return _is_in_database(name)
    try:
        return backend.get_variable(key=name) is not None
    except NotImplementedError:
        return False  # It holds only connections.


def _is_on_api_server(name: str) -> bool:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    # The API server also reports "not found" when its database failed, but listing the names then fails. Airflow
    # 3.3 and later can list them.
    if hasattr(Variable, "keys") and name in Variable.keys(name):
        return True
    answer = SUPERVISOR_COMMS.send(GetVariable(key=name))
    if not isinstance(answer, ErrorResponse):
        return True
    if answer.error is not ErrorType.VARIABLE_NOT_FOUND:
        raise AirflowRuntimeError(answer)
    return False


def _is_in_database(name: str) -> bool:
    from airflow.models.variable import Variable as Row
    from airflow.utils.session import create_session

    with create_session() as session:
        return session.query(Row.key).filter(Row.key == name).first() is not None
