"""Checks, from within a trigger, whether its task is still waiting for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from airflow_provider_trifacta.airflow_support.compat import XCom
from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

_DEFERRED = "deferred"
#: Our own threads: in the pool that all triggers share, a slow call delays the others.
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="trifacta-task-state")


async def is_still_deferred(trigger: BaseTrigger, xcom_key: str, run_id: int | str) -> bool:
    """Return whether the task of a trigger is still deferred, and for this run.

    A trigger is stopped when a user ends its task, but also when its triggerer stops or hands it over. Only the
    state of the task distinguishes these cases. A task that was cleared may be deferred again by now, for the run
    of its new attempt, which it has pushed as an XCom.

    :param xcom_key: the key under which the task pushes its run.
    """
    ask = sync_to_async(_is_still_deferred, thread_sensitive=False, executor=_THREADS)
    return await ask(trigger.task_instance, xcom_key, run_id)


def _is_still_deferred(ti: Any, xcom_key: str, run_id: int | str) -> bool:
    if _read_state(ti) != _DEFERRED:
        return False
    pushed = XCom.get_value(ti_key=ti, key=xcom_key)
    return pushed is None or str(pushed) == str(run_id)


def _read_state(ti: Any) -> str | None:
    if tasks_use_the_database():
        return _read_state_from_database(ti)
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    # A suffix distinguishes the items of a mapped task.
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    return _word(states.get(ti.run_id, {}).get(name))


def _read_state_from_database(ti: Any) -> str | None:
    """Read the state on Airflow 2, where triggers may use the database."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        state = (
            session.query(TaskInstance.state)
            .filter(
                TaskInstance.dag_id == ti.dag_id,
                TaskInstance.task_id == ti.task_id,
                TaskInstance.run_id == ti.run_id,
                TaskInstance.map_index == ti.map_index,
            )
            .scalar()
        )
    return _word(state)


def _word(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
