"""Checks, from within a trigger, whether its task is still waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from airflow_provider_trifacta.airflow_support.compat import XCom
from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

T = TypeVar("T")

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
    ti: Any = trigger.task_instance
    if await _state_of(ti) != _DEFERRED:
        return False
    pushed = await _in_a_thread(lambda: XCom.get_value(ti_key=ti, key=xcom_key))
    return pushed is None or str(pushed) == str(run_id)


@dataclass(frozen=True)
class _Group:
    """Tasks whose states can be read together: those of a DAG run, or the items of a mapped task.

    :param mapped: the mapped task; None for tasks that are not mapped.
    """

    dag_id: str
    run_id: str
    mapped: str | None


class _GroupReader:
    """Reads the states of a group, once for all that ask at the same time.

    When a user ends a DAG run, each of its waits asks, and a triggerer answers only a few such questions a second.
    """

    def __init__(self, group: _Group) -> None:
        self._group = group
        self._asked: set[tuple[str, int]] = set()
        self._next: asyncio.Task[dict[str, Any]] | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a read."""
        return self._next is None and not self._one_at_a_time.locked()

    async def state(self, task_id: str, map_index: int) -> str | None:
        """Return the state of a task, read after this was called."""
        self._asked.add((task_id, map_index))
        if self._next is None:
            self._next = asyncio.create_task(self._read())
            # Its error is not lost if nobody waits any more.
            self._next.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Who waits no longer does not end it for the others.
        states = await asyncio.shield(self._next)
        state = states.get(_name(task_id, map_index))
        return None if state is None else str(getattr(state, "value", state))

    async def _read(self) -> dict[str, Any]:
        async with self._one_at_a_time:
            # Who asks from now on may have to see a later change.
            asked, self._asked, self._next = self._asked, set(), None
            tasks, indexes = {task for task, _ in asked}, {index for _, index in asked}
            map_index = indexes.pop() if len(indexes) == 1 else None
            return await _in_a_thread(lambda: _read_states(self._group, sorted(tasks), map_index))


_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Group, _GroupReader]] = WeakKeyDictionary()


async def _state_of(ti: Any) -> str | None:
    readers = _readers.setdefault(asyncio.get_running_loop(), {})
    group = _Group(ti.dag_id, ti.run_id, None if ti.map_index < 0 else ti.task_id)
    reader = readers.setdefault(group, _GroupReader(group))
    try:
        return await reader.state(ti.task_id, ti.map_index)
    finally:
        if reader.is_idle:
            readers.pop(group, None)


def _name(task_id: str, map_index: int) -> str:
    """Return the name that Airflow gives a task in such an answer."""
    return task_id if map_index < 0 else f"{task_id}_{map_index}"


def _read_states(group: _Group, task_ids: list[str], map_index: int | None) -> dict[str, Any]:
    """Return the states of tasks by name.

    :param map_index: only this one; None reads all items of the mapped tasks.
    """
    if tasks_use_the_database():
        return _read_states_from_database(group, task_ids, map_index)
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=group.dag_id, task_ids=task_ids, run_ids=[group.run_id], map_index=map_index
    )
    of_run: dict[str, Any] = states.get(group.run_id, {})
    return of_run


def _read_states_from_database(group: _Group, task_ids: list[str], map_index: int | None) -> dict[str, Any]:
    """Read the states on Airflow 2, where triggers may use the database."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state).filter(
            TaskInstance.dag_id == group.dag_id,
            TaskInstance.run_id == group.run_id,
            TaskInstance.task_id.in_(task_ids),
        )
        if map_index is not None:
            rows = rows.filter(TaskInstance.map_index == map_index)
        return {_name(task_id, index): state for task_id, index, state in rows}


def _in_a_thread(call: Callable[[], T]) -> Coroutine[Any, Any, T]:
    return sync_to_async(call, thread_sensitive=False, executor=_THREADS)()
