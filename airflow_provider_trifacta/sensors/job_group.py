"""Waiting for a job group that something else started."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.argument_names import SuggestsArgumentNames
from airflow_provider_trifacta.airflow_support.compat import AirflowSensorTimeout, BaseSensorOperator, conf
from airflow_provider_trifacta.api.arguments import check_seconds
from airflow_provider_trifacta.api.errors import TrifactaError
from airflow_provider_trifacta.links import LINKS

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.api.waiting import UnknownStatusPatience
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

#: How much later than the trigger's own deadline Airflow itself ends a deferral that no triggerer looks after.
_BACKSTOP = timedelta(minutes=10)


class TrifactaJobGroupSensor(SuggestsArgumentNames, BaseSensorOperator):
    """Wait until a job group ends (``getJobGroupStatus``).

    Succeeds only when it is ``Complete``. When it ends otherwise, the sensor fails without retries, or is skipped
    with ``soft_fail=True``: looking again would not change it. It never cancels: the job group is not its own.

    :param job_group_id: the job group, e.g. the output of the task that started it, or the URL of its page
        (templated).
    :param deferrable: whether to wait in the triggerer; else ``mode`` says how (``poke`` or ``reschedule``).
    :param poke_interval: seconds between two looks.
    :param timeout: seconds after which the sensor gives up, in every mode.
    :param unknown_status_timeout: seconds for which a status word that nobody knows is waited through.
    :param retry_budget: seconds for which a look is repeated; None takes the connection's.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    template_fields: Sequence[str] = ("job_group_id", "trifacta_conn_id")
    operator_extra_links = LINKS
    ui_color = "#f3f0dc"

    def __init__(
        self,
        *,
        job_group_id: int | str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        unknown_status_timeout: float = 600.0,
        retry_budget: float | None = None,
        trifacta_conn_id: str = "trifacta_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.deferrable = deferrable
        check_seconds("poke_interval", self.poke_interval)
        self.unknown_status_timeout = check_seconds("unknown_status_timeout", unknown_status_timeout)
        self.retry_budget = (
            None if retry_budget is None else check_seconds("retry_budget", retry_budget, zero=True)
        )
        self.trifacta_conn_id = trifacta_conn_id
        self._last_status: str | None = None
        self._patience: UnknownStatusPatience | None = None

    def execute(self, context: Context) -> Any:
        """Look at once; then wait in the triggerer, or as ``mode`` says."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack

        log_without_stack(TrifactaError)
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            self._defer(context)
        return None

    def poke(self, context: Context) -> bool:
        """Look once.

        :raises TrifactaAwaitedJobGroupFailed: the job group ended, but is not ``Complete``.
        """
        from airflow_provider_trifacta.api.arguments import check_id
        from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK
        from airflow_provider_trifacta.api.statuses import is_final, is_known
        from airflow_provider_trifacta.api.waiting import UnknownStatusPatience

        self.job_group_id = job_group_id = check_id("job_group_id", self.job_group_id)
        hook = self._hook
        status = self._status(hook, job_group_id, context)
        if status is None:
            return False
        if self._last_status is None:
            self._announce(hook, status, context)
        if status != self._last_status:
            self.log.info("Job group %s is %s", job_group_id, status)
            self._last_status = status
        if is_final(status):
            self._conclude(hook, status)
            return True
        if self._patience is None:
            self._patience = UnknownStatusPatience(self.unknown_status_timeout)
        # In mode "reschedule" every look is a new process, which knows only what the server remembers.
        since = None if is_known(status) else self._changed_at(hook)
        if self._patience.is_over(status, SYSTEM_CLOCK.time(), since=since):
            self._fail_as_unknown(hook, status)
        return False

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """Go on after the trigger: succeed, or fail with the reason."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.api.arguments import check_id
        from airflow_provider_trifacta.tasks.outcome import link_of, wait_failed
        from airflow_provider_trifacta.triggers.job_group import WaitEvent

        log_without_stack(TrifactaError)
        self.job_group_id = check_id("job_group_id", self.job_group_id)
        ended = WaitEvent.read(event, self.job_group_id)
        if str(ended.job_group_id) != str(self.job_group_id):
            # Of another trigger: SQLite gives the id of one that was deleted to the next.
            self.log.warning(
                "Told of job group %s, going on to wait for %s", ended.job_group_id, self.job_group_id
            )
            self._defer(context)
        if ended.outcome == "final" and ended.status is not None:
            self._conclude(self._hook, ended.status)
        elif ended.outcome == "unknown":
            self._fail_as_unknown(self._hook, ended.status)
        elif ended.outcome == "deadline":
            link = link_of(self._hook, self.job_group_id)
            raise AirflowSensorTimeout(
                f"Job group {self.job_group_id} did not end within the timeout of {self.timeout} s; its last "
                f"status was {ended.status}. It goes on, since it is not this task's. See {link}"
            )
        else:
            raise wait_failed(self._hook, self.job_group_id, ended.message or "the trigger gave no reason")

    # ----------------------------------------------------------------------------------------------------- steps

    @functools.cached_property
    def _hook(self) -> TrifactaHook:
        from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

        return TrifactaHook(self.trifacta_conn_id, retry_budget=self.retry_budget)

    def _status(self, hook: TrifactaHook, job_group_id: int | str, context: Context) -> str | None:
        """Return the status; None when it could not be read before the timeout, which is for Airflow to notice."""
        from airflow_provider_trifacta.api.errors import TrifactaApiError
        from airflow_provider_trifacta.api.operations import get_job_group_status
        from airflow_provider_trifacta.api.retries import may_repeat

        now = hook.clock.time()
        started = context["ti"].start_date
        left = max(0.0, (started.timestamp() if started else now) + self.timeout - now)
        try:
            return hook.send(get_job_group_status(job_group_id).within(left))
        except TrifactaApiError as error:
            if left > hook.client.settings.retries.budget or not may_repeat(idempotent=True, error=error):
                raise
            self.log.warning("Job group %s could not be polled before the timeout: %s", job_group_id, error)
            return None

    def _announce(self, hook: TrifactaHook, status: str, context: Context) -> None:
        from airflow_provider_trifacta.api.statuses import is_final
        from airflow_provider_trifacta.tasks.announce import announce, push_job_group_link

        # Airflow 3 counts; Airflow 2 does not say here, and the names then come at the end.
        first_poke = context.get("task_reschedule_count") == 0
        if self.reschedule and not first_poke and not is_final(status):
            # Airflow forgets the buttons at every look, and asking for the names would double what a look costs.
            push_job_group_link(hook, self.job_group_id, context, self.log)
        else:
            announce(hook, self.job_group_id, context, self.log, "Waiting for")

    def _changed_at(self, hook: TrifactaHook) -> float | None:
        """Return when the job group changed last, in seconds since the epoch."""
        from airflow_provider_trifacta.api.decoration import decoration
        from airflow_provider_trifacta.api.operations import get_job_group
        from airflow_provider_trifacta.api.timestamps import timestamp_of

        self.log.warning("Job group %s has a status that is not known: %r", self.job_group_id, self._last_status)
        changed = None
        with decoration(f"When job group {self.job_group_id} changed last could not be read", self.log):
            changed = timestamp_of(hook.send(get_job_group(self.job_group_id).within(0)).get("updatedAt"))
        return changed.timestamp() if changed else None

    def _conclude(self, hook: TrifactaHook, status: str) -> None:
        from airflow_provider_trifacta.exceptions import TrifactaAwaitedJobGroupFailed, TrifactaJobGroupError
        from airflow_provider_trifacta.tasks.outcome import conclude

        try:
            conclude(hook, self.job_group_id, status, self.log, own=False)
        except TrifactaJobGroupError as error:
            raise TrifactaAwaitedJobGroupFailed(
                str(error),
                job_group_id=error.job_group_id,
                status=error.status,
                link=error.link,
                failed_jobs=error.failed_jobs,
            ) from None

    def _fail_as_unknown(self, hook: TrifactaHook, status: str | None) -> None:
        from airflow_provider_trifacta.exceptions import TrifactaAwaitedJobGroupFailed
        from airflow_provider_trifacta.tasks.outcome import status_unknown

        error = status_unknown(hook, self.job_group_id, status, own=False)
        raise TrifactaAwaitedJobGroupFailed(
            str(error), job_group_id=self.job_group_id, status=status, link=error.link
        )

    def _defer(self, context: Context) -> None:
        from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK
        from airflow_provider_trifacta.tasks.announce import announce_deferral
        from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

        started = context["ti"].start_date
        began = started.timestamp() if started else SYSTEM_CLOCK.time()
        deadline = began + self.timeout
        announce_deferral(self.job_group_id, self.log, poll_interval=self.poke_interval, deadline=deadline)
        self.defer(
            trigger=TrifactaJobGroupTrigger(
                job_group_id=self.job_group_id,
                trifacta_conn_id=self.trifacta_conn_id,
                poll_interval=self.poke_interval,
                unknown_status_timeout=self.unknown_status_timeout,
                deadline=deadline,
                retry_budget=self.retry_budget,
            ),
            method_name="execute_complete",
            # Only for when no triggerer is there to keep the deadline.
            timeout=timedelta(seconds=self.timeout) + _BACKSTOP,
        )
