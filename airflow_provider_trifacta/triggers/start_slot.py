"""Waiting in the triggerer for the moment at which a run may be started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from airflow.triggers.base import TriggerEvent

from airflow_provider_trifacta.airflow_support.deferrals import too_young_for
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK, Clock
from airflow_provider_trifacta.api.start_pace import SeenQuota
from airflow_provider_trifacta.api.timestamps import spoken
from airflow_provider_trifacta.connection import DEFAULT_CONN_ID
from airflow_provider_trifacta.triggers.start_queue import queue_of
from airflow_provider_trifacta.triggers.stored import StoredTrigger


class StartSlotTrigger(StoredTrigger):
    """Waits until the quota admits another start. Never starts anything, and sends no request.

    :param trifacta_conn_id: the Airflow connection; its starts of one operation stand in one queue.
    :param operation: the operation that starts the run, as the method of the hook: ``run_job_group``.
    :param waiting_since: when the task began to wait, in seconds since the epoch: its place in the queue.
    :param began: when the task was deferred, in seconds since the epoch: later than that if it waits again. None
        means when the trigger starts.
    :param deadline: when the wait ends, in seconds since the epoch; None waits for as long as it takes.
    :param seen: what the task knows of the quota, see
        :class:`~airflow_provider_trifacta.api.start_pace.SeenQuota`; None if it knows nothing.
    :param refused: whether the server refused the start.
    :param had_slot: whether this queue had let it out before.
    :param starts_per_minute: the rate that the connection specifies; None keeps to what the server reports.
    """

    clock: ClassVar[Clock] = SYSTEM_CLOCK

    def __init__(
        self,
        *,
        trifacta_conn_id: str = DEFAULT_CONN_ID,
        operation: str = "",
        waiting_since: float = 0.0,
        began: float | None = None,
        deadline: float | None = None,
        seen: dict[str, Any] | None = None,
        refused: bool = False,
        had_slot: bool = False,
        starts_per_minute: float | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        self.trifacta_conn_id = trifacta_conn_id
        self.operation = operation
        self.waiting_since = waiting_since
        self.began = began
        self.deadline = deadline
        self.seen = seen
        self.refused = refused
        self.had_slot = had_slot
        self.starts_per_minute = starts_per_minute

    def _arguments(self) -> dict[str, Any]:
        return {
            "trifacta_conn_id": self.trifacta_conn_id,
            "operation": self.operation,
            "waiting_since": self.waiting_since,
            "began": self.began,
            "deadline": self.deadline,
            "seen": self.seen,
            "refused": self.refused,
            "had_slot": self.had_slot,
            "starts_per_minute": self.starts_per_minute,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then report whether the run may be started. Nothing is awaited after the event."""
        try:
            event = {"outcome": "slot", "behind": await self._wait()}
        except TimeoutError:
            event = {"outcome": "deadline"}
            # Airflow 2.11 ends a task that is resumed after its deadline before it can say this.
            self.log.warning("The execution_timeout passed before the start was due. Nothing was submitted")
        except asyncio.CancelledError:
            # A user ended the task, or the triggerer stops and another one goes on: which does not matter here.
            self.log.info("No longer waiting here. Nothing was submitted, so there is nothing to cancel")
            raise
        yield TriggerEvent({**event, "waiting_since": self.waiting_since})  # type: ignore[no-untyped-call,unused-ignore]

    async def _wait(self) -> int:
        """Wait until the run may be started; return how many others still wait."""
        queue = queue_of((self.trifacta_conn_id, self.operation), self.clock)
        queue.pace.limit_to(self.starts_per_minute)
        if self.seen is not None:
            seen = SeenQuota.read(self.seen)
            queue.pace.learn(seen, self.clock.time(), refused=self.refused, had_slot=self.had_slot)
        with queue.joined():
            # Before it takes a place: the others need not wait for that.
            now = self.clock.time()
            began = now if self.began is None else self.began
            await self.clock.async_sleep(too_young_for(began, now, deadline=self.deadline, log=self.log))
            async with queue.place(self.waiting_since) as place:
                self.log.info(
                    "Waiting for a slot to send %s with connection %r: %d others are ahead, "
                    "and the next is due in %s",
                    self.operation,
                    self.trifacta_conn_id,
                    queue.ahead_of(place),
                    spoken(queue.pace.due - self.clock.time()),
                )
                await queue.slot_for(place, self.deadline)
        return queue.waiting
