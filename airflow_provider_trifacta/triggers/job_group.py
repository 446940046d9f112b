"""Waiting for a job group in the triggerer."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_trifacta.airflow_support.cancellation import outlive_cancellation
from airflow_provider_trifacta.airflow_support.task_state import is_still_deferred
from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.errors import TrifactaError
from airflow_provider_trifacta.api.operations import cancel_job_group, get_job_group_status
from airflow_provider_trifacta.api.statuses import is_final
from airflow_provider_trifacta.api.waiting import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_UNKNOWN_STATUS_TIMEOUT,
    wait_for_job_group,
)
from airflow_provider_trifacta.connection import DEFAULT_CONN_ID
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

#: Seconds that the last look at the deadline, and cancelling then, may each take.
_LAST_CALL_TIMEOUT = 12.0
#: Seconds for all that is done when the task was ended. Airflow gives ``on_kill`` thirty.
_KILL_TIMEOUT = 25.0

Outcome = Literal["final", "unknown", "deadline", "error"]


@dataclass(frozen=True)
class WaitEvent:
    """What the trigger tells the task.

    :param job_group_id: the job group waited for.
    :param outcome: it reached a ``final`` status; its status stayed ``unknown``; the ``deadline`` passed; or an
        ``error`` ended the wait.
    :param status: its last status word, None when none was read.
    :param message: what went wrong; at the deadline, why the job group could not be canceled.
    """

    job_group_id: int | str
    outcome: Outcome
    status: str | None = None
    message: str | None = None

    @classmethod
    def read(cls, event: Any, job_group_id: Any = None) -> WaitEvent:
        """Read the event a task is resumed with. Whatever cannot be read is an error, never a success."""
        if not isinstance(event, dict) or event.get("outcome") not in ("final", "unknown", "deadline", "error"):
            return cls(job_group_id, "error", message=f"the trigger gave no usable event: {event!r}")
        status, message = event.get("status"), event.get("message")
        return cls(
            event.get("job_group_id", job_group_id),
            event["outcome"],
            None if status is None else str(status),
            None if message is None else str(message),
        )


class TrifactaJobGroupTrigger(BaseTrigger):
    """Waits until a job group ends, and never starts one.

    All arguments are plain values, and none is a secret: Airflow keeps them in its database. Each has a default,
    so that what an older version stored still loads; what a newer one adds is ignored with a warning.

    :param job_group_id: the job group.
    :param trifacta_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param unknown_status_timeout: seconds for which a status word that nobody knows is waited through.
    :param deadline: seconds since the epoch at which the wait ends; None waits for as long as it takes. Absolute,
        so that a restart of the triggerer does not extend it.
    :param retry_budget: seconds for which a look is repeated; None takes the connection's.
    :param cancel_on_kill: whether the job group is canceled when a person ends the deferred task.
    :param cancel_at_deadline: whether the job group is canceled when the deadline passes. Here and not only in the
        task, since Airflow 2.11 ends a task that is resumed after its deadline before it can do anything.
    :param began: when the wait began, seconds since the epoch, for the log; None is when the trigger starts.
    """

    def __init__(
        self,
        job_group_id: int | str = "",
        trifacta_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        unknown_status_timeout: float = DEFAULT_UNKNOWN_STATUS_TIMEOUT,
        deadline: float | None = None,
        retry_budget: float | None = None,
        cancel_on_kill: bool = False,
        cancel_at_deadline: bool = False,
        began: float | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.job_group_id = job_group_id
        self.trifacta_conn_id = trifacta_conn_id
        self.poll_interval = poll_interval
        self.unknown_status_timeout = unknown_status_timeout
        self.deadline = deadline
        self.retry_budget = retry_budget
        self.cancel_on_kill = cancel_on_kill
        self.cancel_at_deadline = cancel_at_deadline
        self.began = began
        self._ended = False
        self._page: str | None = None
        if unknown:
            self.log.warning("Arguments of another version of the provider are ignored: %s", sorted(unknown))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            "airflow_provider_trifacta.triggers.job_group.TrifactaJobGroupTrigger",
            {
                "job_group_id": self.job_group_id,
                "trifacta_conn_id": self.trifacta_conn_id,
                "poll_interval": self.poll_interval,
                "unknown_status_timeout": self.unknown_status_timeout,
                "deadline": self.deadline,
                "retry_budget": self.retry_budget,
                "cancel_on_kill": self.cancel_on_kill,
                "cancel_at_deadline": self.cancel_at_deadline,
                "began": self.began,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then say how it ended. Nothing is awaited after the event: the task may be stopped by then."""
        try:
            event = await self._wait()
        except asyncio.CancelledError:
            # Airflow before 3.3 has no on_kill: stopping and a person's act look the same here.
            if not hasattr(BaseTrigger, "on_kill"):
                await self.on_kill()
            raise
        except TrifactaError as error:
            event = WaitEvent(self.job_group_id, "error", message=str(error))
        except Exception as error:
            self.log.exception("The wait for job group %s ended unexpectedly", self.job_group_id)
            event = WaitEvent(self.job_group_id, "error", message=f"{type(error).__name__}: {error}")
        self._ended = True
        yield TriggerEvent(asdict(event))  # type: ignore[no-untyped-call,unused-ignore]

    async def _wait(self) -> WaitEvent:
        hook = self._hook
        procedure = wait_for_job_group(
            self.job_group_id,
            poll_interval=self.poll_interval,
            unknown_status_timeout=self.unknown_status_timeout,
            began=self.began,
            clock=hook.clock,
            random_number=random.random,
            log=self.log,
        )
        remaining = None if self.deadline is None else self.deadline - hook.clock.time()
        try:
            async with asyncio.timeout(remaining), self._client() as client:
                ending = await client.run(procedure)
        except TimeoutError:
            return await self._look_at_deadline()
        return WaitEvent(self.job_group_id, ending.kind, ending.status)

    async def _look_at_deadline(self) -> WaitEvent:
        """Look once more: the job group may have ended while no triggerer was there to see it."""
        status = None
        try:
            async with asyncio.timeout(_LAST_CALL_TIMEOUT), self._client() as client:
                status = await client.send(get_job_group_status(self.job_group_id).within(_LAST_CALL_TIMEOUT))
        except (TrifactaError, TimeoutError) as error:
            self.log.warning("The last look at job group %s failed: %s", self.job_group_id, error)
        if status is not None and is_final(status):
            return WaitEvent(self.job_group_id, "final", status)
        message = await self._cancel_at_deadline() if self.cancel_at_deadline else None
        return WaitEvent(self.job_group_id, "deadline", status, message)

    async def _cancel_at_deadline(self) -> str | None:
        """Cancel the job group; return why that failed."""
        try:
            async with asyncio.timeout(_LAST_CALL_TIMEOUT):
                await self._cancel(_LAST_CALL_TIMEOUT)
        except (TrifactaError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    async def on_kill(self) -> None:
        """Cancel the job group, if a person ended the task. Called by Airflow 3.3 and later.

        Airflow also calls it when another triggerer took over after a late heartbeat, and may call it after the
        event, so the state of the task decides. While it runs Airflow cancels it, again and again.
        """
        if self.cancel_on_kill and not self._ended:
            await outlive_cancellation(self._kill())

    async def _kill(self) -> None:
        """Cancel the job group unless its task still waits; log what became of it."""
        step = "the state of its task could not be read"
        try:
            async with asyncio.timeout(_KILL_TIMEOUT):
                if await is_still_deferred(self, self.job_group_id):
                    self.log.info("The task still waits for job group %s: it goes on elsewhere", self.job_group_id)
                    return
                step = "it could not be canceled"
                await self._cancel(_KILL_TIMEOUT)
        except asyncio.CancelledError:
            self._log_left_running(f"{step}, since the triggerer stops")
            raise
        except TimeoutError:
            self._log_left_running(f"{step} within {_KILL_TIMEOUT:.0f} s")
        except Exception as error:
            self._log_left_running(f"{step} ({type(error).__name__}: {error})")
        else:
            self.log.info("Job group %s was canceled, since its task was ended", self.job_group_id)

    async def _cancel(self, budget: float) -> None:
        async with self._client() as client:
            await client.send(cancel_job_group(self.job_group_id).within(budget))

    def _log_left_running(self, reason: str) -> None:
        where = self._page or f"the server of connection {self.trifacta_conn_id!r}"
        self.log.error(
            "Job group %s was not canceled and may still be running: %s. See %s", self.job_group_id, reason, where
        )

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncTrifactaClient]:
        async with self._hook.async_client() as client:
            self._page = client.settings.application.job_group_url(self.job_group_id)
            yield client

    @functools.cached_property
    def _hook(self) -> TrifactaHook:
        """The hook: it keeps settings and token, so that nothing is read anew when the task is ended."""
        return TrifactaHook(self.trifacta_conn_id, retry_budget=self.retry_budget)
