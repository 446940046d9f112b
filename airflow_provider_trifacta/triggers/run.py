"""Waiting for a run in the triggerer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_trifacta import exceptions
from airflow_provider_trifacta.airflow_support.cancellation import outlive_cancellation
from airflow_provider_trifacta.airflow_support.deferrals import too_young_for
from airflow_provider_trifacta.airflow_support.task_state import is_still_deferred
from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaApiError,
    TrifactaError,
    TrifactaTransportError,
)
from airflow_provider_trifacta.api.runs.kind import KindName, RunKind, RunRef, name_of, title_of
from airflow_provider_trifacta.api.runs.waiting import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_UNKNOWN_STATUS_TIMEOUT,
    Ending,
    Observer,
)
from airflow_provider_trifacta.api.statuses import is_final
from airflow_provider_trifacta.api.timestamps import spoken
from airflow_provider_trifacta.connection import DEFAULT_CONN_ID
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.triggers.stored import StoredTrigger
from airflow_provider_trifacta.triggers.watch import Watch, watching

#: Seconds that the last poll at the deadline and the cancel after it may each take.
_LAST_CALL_TIMEOUT = 12.0
#: Grace period after the trigger's deadline. If no triggerer is running, Airflow's own deferral timeout then ends
#: the task.
BACKSTOP = timedelta(minutes=10)
#: Seconds for everything that is done when a user ended the task. Airflow gives ``on_kill`` thirty.
_KILL_TIMEOUT = 25.0

Outcome = Literal["final", "unknown", "deadline", "error"]

#: The fields of an API error, also of one for a call that had no answer.
_PARTS = ("method", "path", "status", "name", "message", "request_id", "retry_after")
_PARTS_WITHOUT_ANSWER = ("method", "path", "status", "reason", "sent")


@dataclass(frozen=True)
class RunEvent:
    """What the trigger reports to the task.

    :param run_id: the run waited for.
    :param outcome: it reached a ``final`` status; its status stayed ``unknown``; the ``deadline`` passed; or an
        ``error`` ended the wait.
    :param status: its last status value, None when none was read.
    :param message: what went wrong; at the deadline, why the run could not be canceled.
    :param error: the API error that ended the wait: its class and its fields.
    """

    run_id: int | str
    outcome: Outcome
    status: str | None = None
    message: str | None = None
    error: Mapping[str, Any] | None = None

    @classmethod
    def failed(cls, run_id: int | str, error: Exception) -> RunEvent:
        """Return the event for a wait that an error ended."""
        if not isinstance(error, TrifactaError):
            return cls(run_id, "error", message=f"{type(error).__name__}: {error}")
        parts = _parts_of(error) if isinstance(error, TrifactaApiError) else None
        return cls(run_id, "error", message=str(error), error=parts)

    @classmethod
    def read(cls, event: Any, kind: KindName, run_id: Any = None) -> RunEvent:
        """Read the event that a task is resumed with. An unreadable event is an error, never a success."""
        if not isinstance(event, dict) or event.get("outcome") not in ("final", "unknown", "deadline", "error"):
            return cls(run_id, "error", message=f"the trigger sent no usable event: {event!r}")
        status, message, error = event.get("status"), event.get("message"), event.get("error")
        return cls(
            event.get(f"{kind}_id", run_id),
            event["outcome"],
            None if status is None else str(status),
            None if message is None else str(message),
            error if isinstance(error, dict) else None,
        )

    def plain(self, kind: KindName) -> dict[str, Any]:
        """Return the event as Airflow stores it."""
        fields = {"outcome": self.outcome, "status": self.status, "message": self.message}
        return {f"{kind}_id": self.run_id, **fields, **({"error": dict(self.error)} if self.error else {})}

    def cause(self) -> TrifactaApiError | None:
        """Return the error that ended the wait as it was raised in the triggerer; None when that is not known."""
        try:
            return _error_of(self.error or {})
        except (KeyError, TypeError, ValueError):  # written by another version
            return None


def _parts_of(error: TrifactaApiError) -> dict[str, Any]:
    """Return an error as values that Airflow can store."""
    parts: dict[str, Any] = {"type": type(error).__name__, "hint": error.hint}
    if isinstance(error, TrifactaTransportError):
        return (
            parts
            | {name: getattr(error, name) for name in _PARTS_WITHOUT_ANSWER}
            | {"failure": error.failure.name}
        )
    # As a string: a number of more than 64 bits, or half a character, in an event would crash the triggerer.
    return parts | {name: getattr(error, name) for name in _PARTS} | {"details": json.dumps(error.details)}


def _error_of(parts: Mapping[str, Any]) -> TrifactaApiError:
    """Return the error with these fields.

    :raises KeyError, TypeError, ValueError: there is none.
    """
    error_class = getattr(exceptions, str(parts["type"]), None)
    if not (isinstance(error_class, type) and issubclass(error_class, TrifactaApiError)):
        raise ValueError(parts["type"])
    error: TrifactaApiError
    if issubclass(error_class, TrifactaTransportError):
        values = {name: parts[name] for name in _PARTS_WITHOUT_ANSWER}
        error = error_class(**values, failure=TransportFailure[parts["failure"]])
    else:
        error = error_class(**{name: parts[name] for name in _PARTS}, details=json.loads(parts["details"]))
    error.hint = parts["hint"]
    return error


class RunTrigger(StoredTrigger):
    """Waits until a run ends, and never starts one.

    :param kind: what is waited for.
    :param run: the run.
    :param trifacta_conn_id: the Airflow connection.
    :param poll_interval: seconds between two polls.
    :param unknown_status_timeout: seconds to keep waiting while the status is an unknown value.
    :param deadline: when the wait ends, in seconds since the epoch; None waits for as long as it takes. Absolute,
        so that a restart of the triggerer does not extend it.
    :param retry_budget: seconds for which a failing poll is retried; None uses the connection's.
    :param cancel_on_kill: whether the run is canceled when a user ends the deferred task.
    :param cancel_at_deadline: whether the run is canceled when the deadline passes. The trigger does this too,
        since Airflow 2.11 ends a task that is resumed after its deadline before it can do anything.
    :param began: when the task was deferred, in seconds since the epoch; None means when the trigger starts. The
        task is resumed no earlier than ``[trifacta] min_deferral_seconds`` after it.
    """

    def __init__(
        self,
        kind: RunKind,
        run: RunRef,
        *,
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
        super().__init__(**unknown)
        self.kind = kind
        self.ref = run
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
        self._shared_hook: TrifactaHook | None = None

    def _arguments(self) -> dict[str, Any]:
        return {
            **self._names_of_run(),
            "trifacta_conn_id": self.trifacta_conn_id,
            "poll_interval": self.poll_interval,
            "unknown_status_timeout": self.unknown_status_timeout,
            "deadline": self.deadline,
            "retry_budget": self.retry_budget,
            "cancel_on_kill": self.cancel_on_kill,
            "cancel_at_deadline": self.cancel_at_deadline,
            "began": self.began,
        }

    def _names_of_run(self) -> dict[str, Any]:
        """Return the arguments that name the run."""
        return {f"{self.kind.name}_id": self.ref.id}

    @property
    def _name(self) -> str:
        return name_of(self.kind, self.ref)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then report how it ended. Nothing is awaited after the event: the task may be stopped by then."""
        began = self._hook.clock.time() if self.began is None else self.began
        try:
            event = await self._end_of_wait()
            self._ended = event.outcome == "final"  # while a run may still be running, on_kill cancels it
            await self._hold_back(began)
        except asyncio.CancelledError:
            # Airflow before 3.3 has no on_kill: a stop of the triggerer and a user's action look the same here.
            if not hasattr(BaseTrigger, "on_kill"):
                await self.on_kill()
            raise
        self._ended = True
        yield TriggerEvent(event.plain(self.kind.name))  # type: ignore[no-untyped-call,unused-ignore]

    async def _end_of_wait(self) -> RunEvent:
        """Wait, and return how it ended, whatever ended it."""
        try:
            return await self._wait()
        except TrifactaError as error:
            return RunEvent.failed(self.ref.id, error)
        except Exception as error:
            self.log.exception("The wait for %s ended unexpectedly", self._name)
            return RunEvent.failed(self.ref.id, error)

    async def _hold_back(self, began: float) -> None:
        """Wait until the deferral is old enough for its task to be resumed.

        :param began: when the wait began, in seconds since the epoch.
        """
        clock = self._hook.clock
        seconds = too_young_for(began, clock.time(), deadline=self.deadline, log=self.log)
        if seconds > 0:
            self.log.info(
                "The wait for %s is over; the task is resumed in %s, since Airflow may fail a task that is "
                "resumed soon after its deferral",
                self._name,
                spoken(seconds),
            )
            await clock.async_sleep(seconds)

    async def _wait(self) -> RunEvent:
        try:
            async with asyncio.timeout(self._remaining()), watching(self._hook) as watch:
                # All waits of the connection share the hook that the watch was opened with.
                self._shared_hook = watch.hook
                self._page = self.kind.page(watch.client.settings.application, self.ref)
                ending = await self._wait_in(watch)
        except TimeoutError:
            return await self._poll_at_deadline()
        return RunEvent(self.ref.id, ending.kind, ending.status)

    def _remaining(self) -> float | None:
        """Return the seconds until the deadline."""
        return None if self.deadline is None else self.deadline - self._hook.clock.time()

    async def _wait_in(self, watch: Watch) -> Ending:
        observer = Observer(
            self.kind,
            self.ref,
            poll_interval=self.poll_interval,
            unknown_status_timeout=self.unknown_status_timeout,
            began=self.began,
            clock=watch.hook.clock,
            log=self.log,
            may_ask=watch.may_ask_for_progress,
        )
        with watch.subscribe(
            self.kind, self.ref, poll_interval=self.poll_interval, began=self.began
        ) as subscription:
            while True:
                status = await subscription.next_status()
                ending = await watch.client.run(observer.observe(status))
                if ending is not None:
                    return ending

    async def _poll_at_deadline(self) -> RunEvent:
        """Poll once more: the run may have ended while no triggerer was there to see it."""
        status = None
        try:
            async with asyncio.timeout(_LAST_CALL_TIMEOUT), self._client() as client:
                status = await client.run(self.kind.status(self.ref, budget=_LAST_CALL_TIMEOUT))
        except (TrifactaError, TimeoutError) as error:
            self.log.warning("The last poll of %s failed: %s", self._name, error)
        if status is not None and is_final(status):
            return RunEvent(self.ref.id, "final", status)
        message = await self._cancel_at_deadline() if self.cancel_at_deadline else None
        return RunEvent(self.ref.id, "deadline", status, message)

    async def _cancel_at_deadline(self) -> str | None:
        """Cancel the run; return why that failed, or what may still be running."""
        try:
            async with asyncio.timeout(_LAST_CALL_TIMEOUT):
                return await self._cancel(_LAST_CALL_TIMEOUT)
        except (TrifactaError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"

    async def on_kill(self) -> None:
        """Cancel the run if a user ended the task. Called by Airflow 3.3 and later.

        Airflow also calls this when another triggerer took over after a late heartbeat, and may call it after the
        event, so the state of the task decides. Airflow keeps cancelling this coroutine while it runs.
        """
        if self.cancel_on_kill and not self._ended:
            await outlive_cancellation(self._kill())

    async def _kill(self) -> None:
        """Cancel the run unless its task is still waiting; log the outcome."""
        step = "the state of its task could not be read"
        try:
            async with asyncio.timeout(_KILL_TIMEOUT):
                if await is_still_deferred(self, f"{self.kind.name}_id", self.ref.id):
                    self.log.info("The task is still waiting for %s: the wait continues elsewhere", self._name)
                    return
                step = "it could not be canceled"
                left = await self._cancel(_KILL_TIMEOUT)
        except asyncio.CancelledError:
            self._log_left_running(f"{step}, because the triggerer is stopping")
            raise
        except TimeoutError:
            self._log_left_running(f"{step} within {_KILL_TIMEOUT:.0f} s")
        except Exception as error:
            self._log_left_running(f"{step} ({type(error).__name__}: {error})")
        else:
            if left:
                self._log_left_running(left)
                return
            self.log.info("%s was canceled, because its task was ended", title_of(self.kind, self.ref))

    async def _cancel(self, budget: float) -> str | None:
        """Cancel the run; return what may still be running."""
        async with self._client() as client:
            return await client.run(self.kind.cancel(self.ref, budget=budget))

    def _log_left_running(self, reason: str) -> None:
        where = self._page or f"the server of connection {self.trifacta_conn_id!r}"
        self.log.error(
            "%s was not canceled and may still be running: %s. See %s",
            title_of(self.kind, self.ref),
            reason,
            where,
        )

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncTrifactaClient]:
        self._shared_hook = self._hook
        async with self._shared_hook.async_client() as client:
            self._page = self.kind.page(client.settings.application, self.ref)
            yield client

    @property
    def _hook(self) -> TrifactaHook:
        """The hook that has been used. It keeps settings and token, so that nothing is read again at a kill."""
        return self._shared_hook or TrifactaHook(self.trifacta_conn_id, retry_budget=self.retry_budget)
