"""Waiting for a run that something else started."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.argument_names import SuggestsArgumentNames
from airflow_provider_trifacta.airflow_support.compat import AirflowSensorTimeout, BaseSensorOperator
from airflow_provider_trifacta.airflow_support.mapped_names import NamesMappedItems
from airflow_provider_trifacta.api.arguments import check_retry_budget, check_seconds
from airflow_provider_trifacta.tasks.reports_assets import ReportsAssets
from airflow_provider_trifacta.tasks.reports_lineage import ReportsLineage

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.api.runs.kind import RunKind
    from airflow_provider_trifacta.api.runs.waiting import Wait
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.tasks.outcome import AwaitedRun
    from airflow_provider_trifacta.triggers.run import RunTrigger


class RunSensor(ReportsAssets, ReportsLineage, SuggestsArgumentNames, NamesMappedItems, BaseSensorOperator):
    """Waits until a run ends, whoever started it.

    A subclass has an argument that names the run, :attr:`id_argument`, and ``item_arguments``.

    :param deferrable: whether to wait in the triggerer; else ``mode`` specifies how (``poke`` or ``reschedule``).
    :param unknown_status_timeout: seconds to keep waiting while the status is an unknown value.
    :param retry_budget: seconds for which a failing poll is retried; None uses the connection's.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    #: The argument that names the run.
    id_argument: str
    ui_color = "#f3f0dc"

    def __init__(
        self,
        *,
        deferrable: bool,
        unknown_status_timeout: float,
        retry_budget: float | None,
        trifacta_conn_id: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        check_seconds("poke_interval", self.poke_interval)
        self.unknown_status_timeout = check_seconds("unknown_status_timeout", unknown_status_timeout)
        self.retry_budget = check_retry_budget(retry_budget)
        self.trifacta_conn_id = trifacta_conn_id
        self._wait: Wait | None = None

    def execute(self, context: Context) -> Any:
        """Poll immediately; then wait in the triggerer, or as ``mode`` specifies."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack

        log_without_stack()
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            self._defer(context)
        return None

    def poke(self, context: Context) -> bool:
        """Poll once.

        :raises TrifactaRunError: the run ended, but is not ``Complete``. Airflow does not retry the task.
        """
        from airflow_provider_trifacta.api.runs.waiting import Wait
        from airflow_provider_trifacta.api.statuses import is_known

        run = self._run()
        status = self._status(run, context)
        if status is None:
            return False
        if self._wait is None:
            self._announce(run, status, context)
            self._wait = Wait(run.kind, run.ref, unknown_status_timeout=self.unknown_status_timeout, log=self.log)
        # In mode "reschedule" every poll is a new process, which knows only what the server reports.
        unchanged_since = None if is_known(status) else self._last_change(run)
        ending = self._wait.observe(status, run.hook.clock.time(), unchanged_since=unchanged_since)
        if ending is None:
            return False
        if ending.kind == "unknown":
            raise run.status_unknown(status)
        run.conclude(status)
        self._report_assets(run, context, status)
        return True

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """Resume after the trigger: succeed, or fail with the reason."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.triggers.run import RunEvent

        log_without_stack()
        run = self._run()
        ended = RunEvent.read(event, run.kind.name, run.ref.id)
        if str(ended.run_id) != str(run.ref.id):
            # From another trigger: SQLite reuses the id of a deleted one.
            self.log.warning(
                "Received an event for %s %s; continuing to wait for %s", run.kind.noun, ended.run_id, run
            )
            self._defer(context)
        if ended.outcome == "final" and ended.status is not None:
            run.conclude(ended.status)
            self._report_assets(run, context, ended.status)
        elif ended.outcome == "unknown":
            raise run.status_unknown(ended.status)
        elif ended.outcome == "deadline":
            raise AirflowSensorTimeout(
                f"{run.title} did not end within the timeout of {self.timeout} s; its last status was "
                f"{ended.status}. It keeps running, since this task did not start it. See {run.link}"
            )
        else:
            raise run.wait_failed(ended.message or "the trigger gave no reason") from ended.cause()

    # -------------------------------------------------------------------------------- what differs between kinds

    def _kind(self) -> RunKind:
        raise NotImplementedError

    def _trigger(self, **arguments: Any) -> RunTrigger:
        """Return the trigger that waits for the run."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------------------------- steps

    @functools.cached_property
    def _hook(self) -> TrifactaHook:
        from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

        return TrifactaHook(self.trifacta_conn_id, retry_budget=self.retry_budget)

    def _run(self) -> AwaitedRun:
        """Return the run, after checking the argument that names it."""
        from airflow_provider_trifacta.api.arguments import check_id
        from airflow_provider_trifacta.api.runs.kind import RunRef
        from airflow_provider_trifacta.tasks.outcome import AwaitedRun

        run_id = check_id(self.id_argument, getattr(self, self.id_argument))
        setattr(self, self.id_argument, run_id)
        run = self._reported = AwaitedRun(self._hook, self._kind(), RunRef(run_id), self.log)
        return run

    def _status(self, run: AwaitedRun, context: Context) -> str | None:
        """Return the status; None if it could not be read before the timeout, which Airflow then enforces."""
        from airflow_provider_trifacta.api.errors import TrifactaApiError
        from airflow_provider_trifacta.api.retries import may_repeat

        hook = run.hook
        now = hook.clock.time()
        started = context["ti"].start_date
        left = max(0.0, (started.timestamp() if started else now) + self.timeout - now)
        try:
            return hook.run(run.kind.status(run.ref, budget=left))
        except TrifactaApiError as error:
            if left > hook.client.settings.retries.budget or not may_repeat(idempotent=True, error=error):
                raise
            self.log.warning("%s could not be polled before the timeout: %s", run.title, error)
            return None

    def _announce(self, run: AwaitedRun, status: str, context: Context) -> None:
        from airflow_provider_trifacta.api.statuses import is_final
        from airflow_provider_trifacta.tasks.announce import announce, push_run_link

        # Airflow 3 counts reschedules; Airflow 2 gives no count here, so names are logged only at the end.
        first_poke = context.get("task_reschedule_count") == 0
        if self.reschedule and not first_poke and not is_final(status):
            # Airflow clears the buttons at every poll, and reading the names would double the cost of a poll.
            push_run_link(run, context)
        else:
            announce(run, context, "Waiting for")

    def _last_change(self, run: AwaitedRun) -> float | None:
        """Return when the run last changed, in seconds since the epoch."""
        from airflow_provider_trifacta.api.decoration import decoration

        changed = None
        with decoration(f"The last change of {run} could not be read", self.log):
            changed = run.hook.run(run.kind.last_change(run.ref))
        return changed

    def _defer(self, context: Context) -> None:
        from airflow_provider_trifacta.tasks.announce import announce_deferral
        from airflow_provider_trifacta.triggers.run import BACKSTOP

        run = self._run()
        started = context["ti"].start_date
        began = started.timestamp() if started else run.hook.clock.time()
        deadline = began + self.timeout
        announce_deferral(run, poll_interval=self.poke_interval, deadline=deadline)
        self.defer(
            trigger=self._trigger(
                trifacta_conn_id=self.trifacta_conn_id,
                poll_interval=self.poke_interval,
                unknown_status_timeout=self.unknown_status_timeout,
                deadline=deadline,
                retry_budget=self.retry_budget,
                began=run.hook.clock.time(),
            ),
            method_name="execute_complete",
            # Takes effect only when no triggerer is running to enforce the deadline.
            timeout=timedelta(seconds=self.timeout) + BACKSTOP,
        )
