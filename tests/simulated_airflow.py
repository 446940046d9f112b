"""One task instance, run as Airflow runs it: tries, deferrals, retries, clears, and processes that are killed.

Time is the emulator's, and nothing sleeps. Whatever a process does that others can see is an *event*: a request
that leaves, an answer that arrives, a note or an XCom that is kept. A process can be killed at any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

from kinds import JOB_GROUPS, Kind
from support import EmulatorClock, TaskDeferred, copy_of, drain

from airflow_provider_trifacta.airflow_support.compat import AirflowFailException
from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.exchange import Transfer
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.run import RunOperator
from airflow_provider_trifacta.triggers.run import RunTrigger
from airflow_provider_trifacta.triggers.start_slot import StartSlotTrigger

#: A request that reads how a run is.
_POLL = re.compile(r"/status$|/planSnapshotRuns/[^/]+$")


class Killed(BaseException):
    """The process was killed with -9."""


class Process:
    """Counts the events of a process, and kills it at one of them.

    :param kill_at: the number of the event, from 1; None lets it live.
    :param kill_waiting: kill it when it begins to wait.
    """

    def __init__(self, kill_at: int | None = None, *, kill_waiting: bool = False) -> None:
        self.events: list[str] = []
        self._kill_at = kill_at
        self._kill_waiting = kill_waiting

    def event(self, name: str) -> None:
        self.events.append(name)
        if len(self.events) == self._kill_at:
            raise Killed(name)
        if self._kill_waiting and _POLL.search(name):
            self.waits()

    def waits(self) -> None:
        if self._kill_waiting:
            raise Killed("waiting")


class _TaskState:
    """Airflow's task state store: survives retries and, in 3.3, clears."""

    def __init__(self, process: Process, kept: dict[str, str]) -> None:
        self._process = process
        self._kept = kept

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._kept[key]) if key in self._kept else default

    def set(self, key: str, value: Any) -> None:
        self._process.event("before the note")
        self._kept[key] = json.dumps(value)
        self._process.event("after the note")


class _TaskInstance:
    dag_id, task_id, run_id = "dag", "task", "scheduled__2024-03-01"

    def __init__(self, task: SimulatedTask, process: Process) -> None:
        self._task = task
        self._process = process
        self.try_number = task.try_number
        self.max_tries = task.max_tries
        self.start_date = task.try_started
        self.map_index = task.map_index

    def xcom_push(self, key: str, value: Any) -> None:
        self._process.event(f"before the XCom {key}")
        self._task.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        own = self._task.xcoms.get(key)
        if self.map_index < 0 or map_indexes is not None:
            return own
        return [*self._task.siblings, *([own] if own is not None else [])]


class SimulatedTask:
    """One task instance.

    :param kind: what it runs.
    :param store: whether Airflow has a task state store.
    :param clear_keeps_store: whether it survives a clear (Airflow 3.3; 3.4 deletes it).
    :param map_index: which item of a mapped task it is; -1 for none.
    :param operator: arguments of the operator.
    """

    def __init__(
        self,
        emulator: Emulator,
        *,
        kind: Kind = JOB_GROUPS,
        deferrable: bool,
        store: bool = True,
        clear_keeps_store: bool = True,
        retries: int = 3,
        map_index: int = -1,
        cancel_on_kill: bool = True,
        **operator: Any,
    ) -> None:
        self.emulator = emulator
        self.kind = kind
        self.clock = EmulatorClock(emulator)
        self.retries = retries
        self.try_number = 0
        self.max_tries = retries
        self.state = "none"
        self.returned: Any = None
        self.error: Exception | None = None
        self.xcoms: dict[str, Any] = {}
        self.map_index = map_index
        #: The runs that other items of the mapped task have pushed.
        self.siblings: list[Any] = []
        self.run_started = self._now()
        self.try_started = self._now()
        self._store: dict[str, str] | None = {} if store else None
        self._clear_keeps_store = clear_keeps_store
        self._deferrable = deferrable
        self._operator: RunOperator | None = None
        self.cancel_on_kill = cancel_on_kill
        self._arguments = {
            **kind.arguments,
            "poll_interval": 30,
            "cancel_on_kill": cancel_on_kill,
            **operator,
        }

    # ------------------------------------------------------------------------------------------- what Airflow does

    def run_try(self, process: Process | None = None, **operator: Any) -> Process:
        """Schedule the task and run it until its process ends or is killed."""
        process = process or Process()
        self.schedule()
        self.work(process, **operator)
        return process

    def schedule(self) -> None:
        self.try_number += 1
        self.xcoms.clear()
        self.try_started = self._now()
        self.state = "running"

    def work(self, process: Process, **operator: Any) -> None:
        """Run the present try; the task is up for retry or failed when the process is killed or fails."""
        try_number = self.try_number
        let_operators_run_in_this_thread()
        try:
            with _watched(process, self.clock):
                returned = self._execute(process, operator)
        except Killed:
            self._end_try(try_number, None)
        except Exception as error:
            self._end_try(try_number, error)
        else:
            if self.try_number == try_number:
                self.state, self.returned, self.error = "success", returned, None

    def run_to_the_end(self) -> None:
        """Let Airflow retry until the task has succeeded or failed."""
        while self.state in ("none", "up_for_retry"):
            self.clock.sleep(300)
            self.run_try()

    def clear(self) -> None:
        """A person clears the task, which does not run."""
        self.max_tries = self.try_number + self.retries
        if not self._clear_keeps_store and self._store is not None:
            self._store = {}
        self.state = "none"

    # --------------------------------------------------------------------------------------------------- its parts

    def operator(self, **arguments: Any) -> RunOperator:
        operator = self.kind.operator(
            task_id="task",
            retries=self.retries,
            deferrable=self._deferrable,
            **{**self._arguments, **arguments},
        )
        self._operator = operator
        return operator

    def sigterm(self) -> bool:
        """Do what Airflow 3 does in the process of the task at SIGTERM; then that goes on where it was.

        :return: whether there is such a process: not while the task is deferred.
        """
        if self._operator is None:
            return False
        self._operator.on_kill()
        return True

    def context(self, process: Process) -> dict[str, Any]:
        context: dict[str, Any] = {
            "ti": _TaskInstance(self, process),
            "dag_run": SimpleNamespace(start_date=self.run_started),
        }
        if self._store is not None:
            context["task_state_store"] = _TaskState(process, self._store)
        return context

    def _execute(self, process: Process, arguments: dict[str, Any]) -> Any:
        context = self.context(process)
        go_on = functools.partial(self.operator(**arguments).execute, context)
        while True:
            try:
                returned = go_on()
            except TaskDeferred as deferral:
                self._operator = None
                process.waits()
                stored = {**(deferral.kwargs or {}), "event": self._event_of(deferral.trigger)}
                go_on = functools.partial(
                    self.operator(**arguments).resume_execution,
                    deferral.method_name,
                    json.loads(json.dumps(stored)),
                    context,
                )
            else:
                process.event("before Airflow hears of it")
                return returned

    def _event_of(self, trigger: RunTrigger | StartSlotTrigger) -> Any:
        """Run a trigger; a triggerer that is killed is followed by another."""
        while True:
            with contextlib.suppress(Killed):
                with ThreadPoolExecutor(1) as triggerer:
                    (event,) = triggerer.submit(asyncio.run, drain(copy_of(trigger).run())).result()
                return event.payload

    def _end_try(self, try_number: int, error: Exception | None) -> None:
        if self.try_number != try_number:
            return  # Airflow does not listen to a try that it gave up.
        self.error = error
        spent = self.try_number > self.max_tries or isinstance(error, AirflowFailException)
        self.state = "failed" if spent else "up_for_retry"

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), UTC)


def let_operators_run_in_this_thread() -> None:
    """Make good for Airflow 2, whose guard against calling ``execute`` by hand knows one thread only."""
    with contextlib.suppress(ImportError):
        from airflow.models.baseoperator import ExecutorSafeguard

        if not hasattr(ExecutorSafeguard._sentinel, "callers"):
            ExecutorSafeguard._sentinel.callers = {}


@contextlib.contextmanager
def _watched(process: Process, clock: EmulatorClock) -> Iterator[None]:
    """Tell a process of each request and answer, and give its hooks the emulator's time."""
    transfer, async_take = TrifactaClient._transfer, AsyncTrifactaClient._take

    def watched(self: Any, step: Transfer) -> Any:
        process.event(f"before {step.request.method} {step.request.path}")
        try:
            return transfer(self, step)
        finally:
            process.event(f"after {step.request.method} {step.request.path}")

    async def async_transfer(self: Any, step: Transfer) -> Any:
        process.event(f"before {step.request.method} {step.request.path}")
        try:
            return await async_take(self, step)
        finally:
            process.event(f"after {step.request.method} {step.request.path}")

    def async_watched(self: Any, step: Any) -> Any:
        return (async_transfer if isinstance(step, Transfer) else async_take)(self, step)

    with (
        mock.patch.object(TrifactaClient, "_transfer", watched),
        mock.patch.object(AsyncTrifactaClient, "_take", async_watched),
        mock.patch.dict(TrifactaHook.__init__.__kwdefaults__, clock=clock),
        mock.patch.object(StartSlotTrigger, "clock", clock),
    ):
        yield
