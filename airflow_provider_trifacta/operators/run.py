"""The life cycle of a run in a task: start or find it, announce it, wait, cancel, conclude."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from airflow_provider_trifacta.airflow_support.argument_names import SuggestsArgumentNames
from airflow_provider_trifacta.airflow_support.compat import BaseOperator
from airflow_provider_trifacta.airflow_support.mapped_names import NamesMappedItems
from airflow_provider_trifacta.api.arguments import check_retry_budget, check_seconds
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError, TrifactaTaskKilled
from airflow_provider_trifacta.tasks.reports_assets import ReportsAssets
from airflow_provider_trifacta.tasks.reports_lineage import ReportsLineage

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow_provider_trifacta.airflow_support.compat import Context, ObjectStoragePath
    from airflow_provider_trifacta.api.client import TrifactaClient
    from airflow_provider_trifacta.api.messages import Id
    from airflow_provider_trifacta.api.procedures import Procedure
    from airflow_provider_trifacta.api.runs.kind import Launch, RunKind, RunRef
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.tasks.attempts import CurrentRun, RunAttempts
    from airflow_provider_trifacta.tasks.outcome import OwnRun
    from airflow_provider_trifacta.tasks.start_slots import StartPostponed, StartSlots
    from airflow_provider_trifacta.triggers.run import RunTrigger

    ResultPath = str | os.PathLike[str] | ObjectStoragePath | None

T = TypeVar("T")

# Modules that read connections and send requests are imported only when a task runs, since DAG files are parsed
# far more often.

#: Seconds within which ``on_kill`` must finish. Airflow 3 kills the process five seconds after asking it to stop.
_KILL_SECONDS = 3.0
#: Seconds for which a deferrable task polls its run before it defers: a shorter run ends sooner like this.
_SHORT_RUN_SECONDS = 3.0
#: How many parts of a run are canceled in parallel.
_CANCELED_AT_ONCE = 8
_CANCELED = "was canceled"
_QUOTA_HINT = (
    "The quota is used up: waiting for it in the worker. With deferrable=True, the task would not hold it"
)
_KILLED = "The task was killed while it was starting"


class RunOperator(ReportsAssets, ReportsLineage, SuggestsArgumentNames, NamesMappedItems, BaseOperator):
    """Starts a run exactly once, and waits until it ends.

    A subclass specifies what is started (``_launch``, ``_kind``, ``_trigger``, ``item_arguments``). It is resumed
    through its ``execute_complete``, which takes the run that it was deferred for.

    :param wait_for_completion: whether to wait until the run ends.
    :param deferrable: whether to wait in the triggerer, without holding a worker.
    :param poll_interval: seconds between two polls of a long run; the first ones come sooner.
    :param unknown_status_timeout: seconds to keep waiting while the status is an unknown value.
    :param retry_budget: seconds for which a failing call is retried; None uses the connection's.
    :param cancel_on_kill: whether the run is canceled when the task is killed, cleared or marked while it waits.
    :param durable: whether a retry continues the run of the previous try; otherwise it starts a new one.
    :param results: where results are saved, by argument; this happens only after the run has ended.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    ui_color = "#e4f1e7"

    def __init__(
        self,
        *,
        wait_for_completion: bool,
        deferrable: bool,
        poll_interval: float,
        unknown_status_timeout: float,
        retry_budget: float | None,
        cancel_on_kill: bool,
        durable: bool,
        results: Mapping[str, ResultPath],
        trifacta_conn_id: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = check_seconds("poll_interval", poll_interval)
        self.unknown_status_timeout = check_seconds("unknown_status_timeout", unknown_status_timeout)
        self.retry_budget = check_retry_budget(retry_budget)
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        if not wait_for_completion:
            for name, path in results.items():
                if path is not None:
                    raise TrifactaConfigurationError(
                        f"{name}: requires wait_for_completion=True, since there is nothing to save before the "
                        "run has ended"
                    )
        self.trifacta_conn_id = trifacta_conn_id
        self._own: RunRef | None = None
        self._client: TrifactaClient | None = None
        self._killed = False
        self._starting = False
        self._canceled: Id | None = None

    # --------------------------------------------------------------------------------- what differs between kinds

    def _kind(self) -> RunKind:
        raise NotImplementedError

    def _launch(self) -> Launch:
        """Return what to start.

        :raises TrifactaConfigurationError: names the argument that cannot be used.
        """
        raise NotImplementedError

    def _trigger(self, run: RunRef, **arguments: Any) -> RunTrigger:
        """Return the trigger that waits for a run."""
        raise NotImplementedError

    def _resumed_with(self, run: RunRef) -> dict[str, Any]:
        """Return the arguments of ``execute_complete`` that name the run."""
        return {f"{self._kind().name}_id": run.id}

    def _check_results(self) -> None:
        """Check whether results can be saved at the given paths.

        :raises TrifactaConfigurationError: names the argument that cannot be used.
        """

    def _save_results(self, run: OwnRun) -> None:
        """Save the results of a run that is ``Complete``."""

    def _ref(self, run_id: Any) -> RunRef:
        """Return the run for an id that Airflow stored."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------------- life cycle

    def execute(self, context: Context) -> Any:
        """Start the run, or continue the one that an earlier try started, and wait as specified."""
        return self._start_and_wait(context)

    def execute_start(self, context: Context, event: Any = None, waiting_since: float | None = None) -> Any:
        """Resume when the quota admits the start: start the run, and wait as specified.

        :param waiting_since: when the task began to wait for that, in seconds since the epoch.
        """
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.tasks.outcome import not_started_in_time

        if event == {"outcome": "deadline", "waiting_since": waiting_since}:
            log_without_stack()
            raise not_started_in_time(self._launch(), self.execution_timeout)
        # An event of another trigger (SQLite reuses the id of a deleted one) is as good: the server decides.
        behind = event.get("behind") if isinstance(event, Mapping) else None
        return self._start_and_wait(
            context,
            waiting_since=waiting_since,
            behind=behind if isinstance(behind, int) and behind >= 0 else None,
        )

    def _start_and_wait(
        self, context: Context, *, waiting_since: float | None = None, behind: int | None = None
    ) -> Any:
        """Start the run, or continue an earlier try's, and wait as specified.

        :param waiting_since: when the task began to wait for the slot that it has; None if it has none.
        :param behind: how many others still wait for one; None when that is not known.
        """
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.api.statuses import is_canceled
        from airflow_provider_trifacta.tasks.start_slots import StartPostponed, StartSlots

        log_without_stack()
        # Built before the connection is read, so that an invalid argument is reported first.
        launch = self._launch()
        self._check_results()
        self._starting = True
        hook = self._hook()
        self._client = hook.client
        slots = None
        if self.deferrable and self.wait_for_completion:
            slots = StartSlots(hook, launch, self.log, has_slot=waiting_since is not None, behind=behind)
        attempts = self._attempts(hook, launch, context, slots)
        while True:
            try:
                current = self._begin(attempts, hook.client)
            except StartPostponed as postponed:
                if slots is None:
                    raise
                self._wait_for_slot(slots, postponed, context, waiting_since)
            run = self._run(hook, current.run)
            self._announce(run, context, continued=current.continued)
            hook.warn_before_token_expires()
            self._end_if_killed(hook.client, current.run)
            if not self.wait_for_completion:
                self._report_assets(run, context, None)
                return current.run.id
            status: str | None = None
            if not self.deferrable:
                status = self._wait(run)
            elif waiting_since is None:  # otherwise, others wait for the quota and soon need this worker
                status = self._poll_briefly(run)
            if status is None:
                self._end_if_killed(hook.client, current.run)
                self._defer(run, context, continued=current.continued)
            if current.continued and is_canceled(status) and not self._killed:
                self._log_canceled_earlier(run)
                continue
            self._conclude(run, status)
            self._save_results(run)
            self._report_assets(run, context, status)
            return current.run.id

    def _complete(self, context: Context, event: Any, own: RunRef | None, *, continued: bool) -> Any:
        """Resume after the trigger: succeed, or fail with the reason.

        :param own: the run that the task was deferred for; None takes it from the XCom.
        :param continued: whether an earlier try had started it.
        """
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.api.statuses import is_canceled
        from airflow_provider_trifacta.exceptions import TrifactaWaitFailed
        from airflow_provider_trifacta.triggers.run import RunEvent

        log_without_stack()
        hook = self._hook()
        own = self._pushed(context) if own is None else own
        ended = RunEvent.read(event, self._kind().name, None if own is None else own.id)
        if own is None and not isinstance(ended.run_id, (int, str)):
            raise TrifactaWaitFailed(
                f"It is not known which {self._kind().noun} the task waited for: "
                f"{ended.message or 'the trigger did not specify it'}"
            )
        run = self._run(hook, self._ref(ended.run_id) if own is None else own)
        if own is not None and str(ended.run_id) != str(own.id):
            # From another trigger: SQLite reuses the id of a deleted one.
            self.log.warning(
                "Received an event for %s %s; continuing to wait for %s", run.kind.noun, ended.run_id, run
            )
            self._defer(run, context, continued=continued)
        if ended.outcome == "final" and ended.status is not None:
            if continued and is_canceled(ended.status):
                self._log_canceled_earlier(run)
                return self.execute(context)
            run.conclude(ended.status)
            self._save_results(run)
            self._report_assets(run, context, ended.status)
            return run.ref.id
        if ended.outcome == "unknown":
            raise run.status_unknown(ended.status)
        if ended.outcome == "deadline":
            # The trigger has canceled the run, or reports why it could not.
            canceled = self._cancel(run) if ended.message else "it was canceled"
            raise run.deadline_passed(ended.status, self.execution_timeout, canceled)
        raise run.wait_failed(ended.message or "the trigger gave no reason") from ended.cause()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral. If Airflow itself ended the deferral, at the backstop, cancel the run."""
        # Airflow 2.11 has no error class for this, but gives the same reason.
        failure = (next_kwargs or {}).get("error") if next_method == "__fail__" else None
        if failure is not None and "timeout" in str(failure).lower():
            own = self._pushed(context)
            if own is not None:
                run = self._run(self._hook(), own)
                self.log.error(
                    "The execution_timeout passed while no triggerer was watching %s; %s", run, self._cancel(run)
                )
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the run, within three seconds and without calling Airflow.

        This may run in a signal handler, interrupting a call in the main thread, so it uses its own clients and
        threads.
        """
        # During a start there may be nothing to cancel yet: the run is then canceled when the answer arrives. A
        # plain attribute, since the interrupted thread may hold any lock.
        self._killed = True
        if self.cancel_on_kill and self._own is not None and self._client is not None:
            self._cancel_for_kill(self._client, self._own)

    # ----------------------------------------------------------------------------------------------------- steps

    def _hook(self) -> TrifactaHook:
        from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

        return TrifactaHook(
            self.trifacta_conn_id, retry_budget=self.retry_budget, interrupt=self._go_on_unless_killed
        )

    def _run(self, hook: TrifactaHook, ref: RunRef) -> OwnRun:
        from airflow_provider_trifacta.tasks.outcome import OwnRun

        run = self._reported = OwnRun(hook, self._kind(), ref, self.log)
        return run

    def _begin(self, attempts: RunAttempts, client: TrifactaClient) -> CurrentRun:
        """Start a run, or find an earlier try's, unless the task is killed meanwhile.

        :raises TrifactaTaskKilled: the task was killed. A run that was started is canceled if ``cancel_on_kill``
            is set.
        """
        self._starting = True
        current = attempts.begin()
        self._starting = False
        self._end_if_killed(client, current.run)
        return current

    def _end_if_killed(self, client: TrifactaClient, run: RunRef) -> None:
        """End the task if it was killed: the kill has canceled the run, or did not know of it yet."""
        if self._killed and self.cancel_on_kill:
            from airflow_provider_trifacta.api.runs.kind import name_of
            from airflow_provider_trifacta.api.text import sentence
            from airflow_provider_trifacta.tasks.outcome import OwnRun

            said = _CANCELED if self._canceled == run.id else self._cancel_for_kill(client, run)
            raise TrifactaTaskKilled(f"{_KILLED}: {name_of(self._kind(), run)} {sentence(said)} {OwnRun.again}")

    def _go_on_unless_killed(self) -> None:
        """Interrupt a start once the task is killed. A wait continues, to see how the run ends."""
        if self._killed and self._starting:
            raise TrifactaTaskKilled(f"{_KILLED}: nothing more was started. A retry of the task starts it")

    def _attempts(
        self, hook: TrifactaHook, launch: Launch, context: Context, slots: StartSlots | None
    ) -> RunAttempts:
        from airflow_provider_trifacta.tasks.attempts import RunAttempts
        from airflow_provider_trifacta.tasks.notes import NoNotes, notes_of
        from airflow_provider_trifacta.tasks.series import series_of, single_try

        now = hook.clock.time()
        if self.durable:
            series = series_of(context, retries=self.retries or 0, work=launch.subject, now=now)
        else:
            series = single_try(now)

        def known(run: RunRef) -> None:
            self._own = run

        return RunAttempts(
            hook,
            launch,
            series,
            notes_of(context) if self.durable else NoNotes(),
            siblings=lambda: self._runs_of_siblings(context),
            on_known=known,
            cancel_superseded=self.cancel_on_kill,
            log=self.log,
            slots=slots,
            quota_hint=_QUOTA_HINT if self.wait_for_completion and not self.deferrable else None,
        )

    def _runs_of_siblings(self, context: Context) -> set[str]:
        """Return the runs of the other items of a mapped task, which often run the same thing."""
        ti = context["ti"]
        if not isinstance(ti.map_index, int) or ti.map_index < 0:
            return set()
        kind = self._kind()
        try:
            pushed = ti.xcom_pull(task_ids=self.task_id, key=f"{kind.name}_id")
        except Exception as error:
            self.log.warning("The %ss of the other mapped tasks could not be read: %s", kind.noun, error)
            return set()
        values = [pushed] if isinstance(pushed, (int, str)) else pushed or []
        own = None if self._own is None else self._own.id
        return {str(value) for value in values if value is not None} - {str(own)}

    def _log_canceled_earlier(self, run: OwnRun) -> None:
        # Killing a try cancels its run, which takes a while. This must not fail the next try.
        self.log.warning("%s of an earlier try was canceled: starting a new one", run.title)

    def _announce(self, run: OwnRun, context: Context, *, continued: bool) -> None:
        from airflow_provider_trifacta.api.decoration import decoration
        from airflow_provider_trifacta.tasks.announce import announce

        with decoration(f"{run.title} could not be stored as an XCom", self.log):
            context["ti"].xcom_push(key=f"{run.kind.name}_id", value=run.ref.id)
        announce(run, context, "Waiting for" if continued else "Started")

    def _pushed(self, context: Context) -> RunRef | None:
        """Return the run that the task has pushed, None if there is none."""
        ti = context["ti"]
        value = ti.xcom_pull(task_ids=self.task_id, key=f"{self._kind().name}_id", map_indexes=ti.map_index)
        return None if value is None else self._ref(value)

    def _poll_briefly(self, run: OwnRun) -> str | None:
        """Return the final status of a run that ends sooner than a deferral would take, else None."""
        from airflow_provider_trifacta.airflow_support.deferrals import min_deferral
        from airflow_provider_trifacta.api.runs.waiting import poll_briefly

        seconds = min(_SHORT_RUN_SECONDS, min_deferral(self.log))
        procedure = poll_briefly(run.kind, run.ref, seconds=seconds, clock=run.hook.clock)
        return self._until_timeout(run, procedure)

    def _wait(self, run: OwnRun) -> str:
        """Wait here, and return the final status."""
        from airflow_provider_trifacta.api.errors import TrifactaApiError
        from airflow_provider_trifacta.api.runs.waiting import wait_for_run

        procedure = wait_for_run(
            run.kind,
            run.ref,
            poll_interval=self.poll_interval,
            unknown_status_timeout=self.unknown_status_timeout,
            clock=run.hook.clock,
            random_number=random.random,
            log=self.log,
        )
        try:
            ending = self._until_timeout(run, procedure)
        except TrifactaApiError as error:
            raise run.wait_failed(str(error)) from error
        if ending.kind == "unknown":
            raise run.status_unknown(ending.status)
        return ending.status

    def _conclude(self, run: OwnRun, status: str) -> None:
        """Return if a final status is a success.

        :raises TrifactaRunError: it is not. If the run was canceled by a kill of the task, that is its cause.
        """
        from airflow_provider_trifacta.exceptions import TrifactaRunFailed

        try:
            run.conclude(status)
        except TrifactaRunFailed as error:
            if self._killed and self.cancel_on_kill:
                raise error from TrifactaTaskKilled(f"The task was killed while it waited for {run}")
            raise

    def _until_timeout(self, run: OwnRun, procedure: Procedure[T]) -> T:
        """Run a procedure; when ``execution_timeout`` passes meanwhile, cancel the run.

        :raises TrifactaRunTimeout: it passed.
        """
        from airflow_provider_trifacta.airflow_support.compat import AirflowTaskTimeout

        try:
            return run.hook.run(procedure)
        except AirflowTaskTimeout:
            canceled = f"it {self._cancel_at_once(run.hook.client, run.ref)}"
            raise run.deadline_passed(None, self.execution_timeout, canceled) from None

    def _deadline(self, context: Context) -> float | None:
        """Return when the ``execution_timeout`` ends the task, in seconds since the epoch."""
        started = context["ti"].start_date
        deadline = self.execution_timeout and started and (started + self.execution_timeout).timestamp()
        return deadline or None

    def _backstop(self) -> timedelta | None:
        """Return when Airflow itself ends a deferral: only if no triggerer is running to enforce the deadline."""
        from airflow_provider_trifacta.triggers.run import BACKSTOP

        return self.execution_timeout + BACKSTOP if self.execution_timeout else None

    def _wait_for_slot(
        self, slots: StartSlots, postponed: StartPostponed, context: Context, waiting_since: float | None
    ) -> NoReturn:
        """Defer until the quota admits the start. Nothing has been submitted.

        :param waiting_since: when the task began to wait, if it waits again: it keeps its place.
        """
        from airflow_provider_trifacta.triggers.start_slot import StartSlotTrigger

        self._go_on_unless_killed()
        since = slots.hook.clock.time() if waiting_since is None else waiting_since
        self.log.info(
            "Nothing was submitted: %s. Waiting in the triggerer until the quota admits the start",
            postponed.reason,
        )
        self.defer(
            trigger=StartSlotTrigger(
                trifacta_conn_id=self.trifacta_conn_id,
                operation=slots.operation,
                waiting_since=since,
                deadline=self._deadline(context),
                began=slots.hook.clock.time(),
                seen=None if postponed.seen is None else postponed.seen.plain(),
                refused=postponed.refused,
                had_slot=waiting_since is not None,
                starts_per_minute=slots.starts_per_minute,
            ),
            method_name="execute_start",
            kwargs={"waiting_since": since},
            timeout=self._backstop(),
        )

    def _defer(self, run: OwnRun, context: Context, *, continued: bool) -> NoReturn:
        from airflow_provider_trifacta.tasks.announce import announce_deferral

        deadline = self._deadline(context)
        announce_deferral(
            run,
            poll_interval=self.poll_interval,
            deadline=deadline,
            afterwards=", then it is canceled",
        )
        self.defer(
            trigger=self._trigger(
                run.ref,
                trifacta_conn_id=self.trifacta_conn_id,
                poll_interval=self.poll_interval,
                unknown_status_timeout=self.unknown_status_timeout,
                deadline=deadline,
                retry_budget=self.retry_budget,
                cancel_on_kill=self.cancel_on_kill,
                cancel_at_deadline=True,
                began=run.hook.clock.time(),
            ),
            method_name="execute_complete",
            kwargs={"continued": continued, **self._resumed_with(run.ref)},
            timeout=self._backstop(),
        )

    # -------------------------------------------------------------------------------------------------- canceling

    def _cancel(self, run: OwnRun) -> str:
        """Cancel a run and return what came of it."""
        from airflow_provider_trifacta.api.errors import TrifactaApiError

        try:
            left = run.hook.run(run.kind.cancel(run.ref))
        except TrifactaApiError as error:
            return f"it could not be canceled and may still be running ({error})"
        return f"it was canceled, but {left}" if left else "it was canceled"

    def _cancel_for_kill(self, client: TrifactaClient, run: RunRef) -> str:
        from airflow_provider_trifacta.api.runs.kind import name_of

        said = self._cancel_at_once(client, run)
        if said == _CANCELED:
            self._canceled = run.id
        self.log.info("Task killed: %s %s", name_of(self._kind(), run), said)
        return said

    def _cancel_at_once(self, client: TrifactaClient, run: RunRef) -> str:
        """Cancel a run within three seconds, whatever is being interrupted; return what came of it."""
        steps = self._kind().cancel_side_by_side(run, _CANCELED_AT_ONCE)
        left: list[str | None] = []
        failures: list[Exception] = []

        def cancel(step: Procedure[str | None]) -> None:
            try:
                with client.detached(budget=_KILL_SECONDS / 2, timeout=_KILL_SECONDS / 2) as detached:
                    left.append(detached.run(step))
            except Exception as error:
                failures.append(error)

        threads = [
            threading.Thread(target=cancel, args=(step,), name="trifacta-cancel", daemon=True) for step in steps
        ]
        for thread in threads:
            thread.start()
        until = time.monotonic() + _KILL_SECONDS - 0.2
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if failures:
            return f"could not be canceled and may still be running: {failures[0]}"
        if len(left) < len(steps):
            return "was asked to cancel, but the server did not answer in time"
        remarks = [remark for remark in left if remark]
        return f"{_CANCELED}, but {'; '.join(remarks)}" if remarks else _CANCELED
