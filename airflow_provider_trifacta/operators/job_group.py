"""Running a recipe."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_trifacta.api.settings import check_seconds
from airflow_provider_trifacta.links import TrifactaJobGroupLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_trifacta.api.client import TrifactaClient
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

# Everything that reads connections and sends requests is imported when a task runs: DAG files are parsed far
# more often.

#: Seconds in which ``on_kill`` must be done. Airflow 3 kills the process five seconds after asking.
_KILL_SECONDS = 3.0
#: How much later than the trigger's own deadline Airflow itself ends a deferral that no triggerer looks after.
_BACKSTOP = timedelta(minutes=10)


class TrifactaRunJobGroupOperator(BaseOperator):
    """Run a recipe (``runJobGroup``), and wait until its job group ends.

    The task succeeds only when the job group is ``Complete``. It returns the id of the job group, an int, in every
    mode. When the answer to the submit is lost, the task fails without a retry: the job may have been started.

    :param wrangled_dataset_id: the recipe: the number after ``recipe=`` in the URL of its flow (templated).
    :param run_parameters: parameter names to values, e.g. ``{"region": "emea"}`` (templated).
    :param overrides: settings of the output for this run: ``execution``, ``profiler``, ``writesettings``. The
        server does not check them: a bad path shows as a failed job (templated).
    :param reference_date: what "now" means in date-time parameters; a datetime or an ISO 8601 text (templated).
    :param request_body_extra: further members of the request, e.g. ``{"forceCacheUpdate": True}`` (templated).
    :param wait_for_completion: whether to wait until the job group ends.
    :param deferrable: whether to wait in the triggerer, without holding a worker.
    :param poll_interval: seconds between two looks at a long job; the first looks come sooner.
    :param unknown_status_timeout: seconds for which a status word that nobody knows is waited through.
    :param retry_budget: seconds for which a call is repeated; None takes the connection's.
    :param cancel_on_kill: whether the job group is canceled when the task is killed, cleared or marked while it
        waits.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    template_fields: Sequence[str] = (
        "wrangled_dataset_id",
        "run_parameters",
        "overrides",
        "reference_date",
        "request_body_extra",
        "trifacta_conn_id",
    )
    template_fields_renderers = {  # noqa: RUF012
        "run_parameters": "json",
        "overrides": "json",
        "request_body_extra": "json",
    }
    operator_extra_links = (TrifactaJobGroupLink(),)
    ui_color = "#e4f1e7"

    def __init__(
        self,
        *,
        wrangled_dataset_id: int | str,
        run_parameters: Mapping[str, str | int | float | bool] | None = None,
        overrides: Mapping[str, Any] | None = None,
        reference_date: datetime | str | None = None,
        request_body_extra: Mapping[str, Any] | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30.0,
        unknown_status_timeout: float = 600.0,
        retry_budget: float | None = None,
        cancel_on_kill: bool = True,
        trifacta_conn_id: str = "trifacta_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wrangled_dataset_id = wrangled_dataset_id
        self.run_parameters = run_parameters
        self.overrides = overrides
        self.reference_date = reference_date
        self.request_body_extra = request_body_extra
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = check_seconds("poll_interval", poll_interval)
        self.unknown_status_timeout = check_seconds("unknown_status_timeout", unknown_status_timeout)
        self.retry_budget = (
            None if retry_budget is None else check_seconds("retry_budget", retry_budget, zero=True)
        )
        self.cancel_on_kill = cancel_on_kill
        self.trifacta_conn_id = trifacta_conn_id
        self.job_group_id: int | None = None
        self._client: TrifactaClient | None = None

    def execute(self, context: Context) -> int:
        """Start the recipe and wait as asked for."""
        from airflow_provider_trifacta.api.operations import run_job_group

        # The request is made before the connection is read: an argument that cannot be used comes first.
        operation = run_job_group(
            self.wrangled_dataset_id,
            run_parameters=self.run_parameters,
            overrides=self.overrides,
            reference_date=self.reference_date,
            request_body_extra=self._checked_extra(),
        )
        hook = self._hook()
        self._client = hook.client
        self.job_group_id = job_group_id = self._submit(hook, operation)
        self._announce(hook, job_group_id, context)
        if not self.wait_for_completion:
            return job_group_id
        if self.deferrable:
            self._defer(job_group_id, context)
        self._wait(hook, job_group_id)
        return job_group_id

    def execute_complete(self, context: Context, event: Any = None) -> int:
        """Go on after the trigger: succeed, or fail with the reason."""
        from airflow_provider_trifacta.exceptions import TrifactaJobGroupTimeout
        from airflow_provider_trifacta.job_group_outcome import conclude, link_of, status_unknown, wait_failed
        from airflow_provider_trifacta.triggers.job_group import WaitEvent

        ended = WaitEvent.read(event, self._pushed_job_group_id(context))
        hook = self._hook()
        if ended.outcome == "final" and ended.status is not None:
            conclude(hook, ended.job_group_id, ended.status, self.log)
            return int(ended.job_group_id)
        if ended.outcome == "unknown":
            raise status_unknown(hook, ended.job_group_id, ended.status)
        if ended.outcome == "deadline":
            # The trigger has canceled it, or says why it could not.
            canceled = (
                self._cancel_after_deadline(hook, ended.job_group_id) if ended.message else "it was canceled"
            )
            link = link_of(hook, ended.job_group_id)
            raise TrifactaJobGroupTimeout(
                f"Job group {ended.job_group_id} did not end within the execution_timeout of "
                f"{self.execution_timeout}; {canceled}. See {link}",
                job_group_id=ended.job_group_id,
                status=ended.status,
                link=link,
            )
        raise wait_failed(ended.job_group_id, ended.message or "the trigger gave no reason")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral. Cancels the job group if Airflow ended the deferral itself, at the backstop."""
        # Airflow 2.11 has no error class of its own for this, but the same word in the reason.
        failure = (next_kwargs or {}).get("error") if next_method == "__fail__" else None
        if failure is not None and "timeout" in str(failure).lower():
            job_group_id = self._pushed_job_group_id(context)
            if job_group_id is not None:
                self.log.error(
                    "The execution_timeout passed while no triggerer watched job group %s; %s",
                    job_group_id,
                    self._cancel_after_deadline(self._hook(), job_group_id),
                )
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the job group, within three seconds and without asking Airflow for anything.

        This may run in a signal handler, in the middle of a call of the main thread: hence a client and a thread
        of its own.
        """
        job_group_id, client = self.job_group_id, self._client
        if not self.cancel_on_kill or job_group_id is None or client is None:
            return
        detached = client.detached(budget=_KILL_SECONDS / 2, timeout=_KILL_SECONDS / 2)
        outcome: list[str] = []

        def cancel() -> None:
            try:
                detached.cancel_job_group(job_group_id)
                outcome.append("was canceled")
            except Exception as error:
                outcome.append(f"could not be canceled and may still be running: {error}")

        thread = threading.Thread(target=cancel, name="trifacta-cancel", daemon=True)
        thread.start()
        thread.join(_KILL_SECONDS - 0.2)
        said = outcome[0] if outcome else "was asked to cancel, without an answer in time"
        self.log.info("Task killed: job group %s %s", job_group_id, said)

    # ----------------------------------------------------------------------------------------------------- steps

    def _hook(self) -> TrifactaHook:
        from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

        return TrifactaHook(self.trifacta_conn_id, retry_budget=self.retry_budget)

    def _checked_extra(self) -> Mapping[str, Any] | None:
        from airflow_provider_trifacta.api.errors import TrifactaConfigurationError

        extra = self.request_body_extra
        if isinstance(extra, Mapping) and extra.get("testMode"):
            raise TrifactaConfigurationError(
                "request_body_extra: testMode starts nothing, so there is nothing to wait for. "
                "Use TrifactaHook.run_job_group to check a request"
            )
        return extra

    def _submit(self, hook: TrifactaHook, operation: Any) -> int:
        from airflow_provider_trifacta.api.errors import TrifactaApiError
        from airflow_provider_trifacta.api.retries import may_have_been_carried_out
        from airflow_provider_trifacta.exceptions import TrifactaSubmitOutcomeUnknown

        try:
            answer = hook.send(operation)
            return int(answer["id"])
        except TrifactaApiError as error:
            if not may_have_been_carried_out(error):
                raise
            reason: Exception = error
        except (KeyError, TypeError, ValueError) as error:
            reason = error
        raise TrifactaSubmitOutcomeUnknown(
            f"The answer to the start of recipe {self.wrangled_dataset_id} was lost or cannot be read, so a job "
            "group may or may not be running. The task is not retried, since that might start a second one: look "
            f"at the job history of the recipe, then clear the task or mark it. Reason: {reason}"
        ) from reason

    def _announce(self, hook: TrifactaHook, job_group_id: int, context: Context) -> None:
        from airflow_provider_trifacta.job_group_outcome import link_of

        url = link_of(hook, job_group_id)
        self.log.info("Started job group %s of recipe %s: %s", job_group_id, self.wrangled_dataset_id, url)
        try:
            context["ti"].xcom_push(key="job_group_id", value=job_group_id)
            TrifactaJobGroupLink().push(context, url)
        except Exception as error:
            # The job runs. Failing now would lose it for the sake of a button.
            self.log.warning("The link of job group %s could not be stored: %s", job_group_id, error)

    def _pushed_job_group_id(self, context: Context) -> int | None:
        ti = context["ti"]
        value = ti.xcom_pull(task_ids=self.task_id, key="job_group_id", map_indexes=ti.map_index)
        return int(value) if value is not None else None

    def _wait(self, hook: TrifactaHook, job_group_id: int) -> None:
        from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK
        from airflow_provider_trifacta.api.errors import TrifactaApiError
        from airflow_provider_trifacta.api.waiting import wait_for_job_group
        from airflow_provider_trifacta.job_group_outcome import conclude, status_unknown, wait_failed

        flow = wait_for_job_group(
            job_group_id,
            poll_interval=self.poll_interval,
            unknown_status_timeout=self.unknown_status_timeout,
            clock=SYSTEM_CLOCK,
            random_number=random.random,
            log=self.log,
        )
        try:
            ending = hook.run(flow)
        except TrifactaApiError as error:
            raise wait_failed(job_group_id, str(error)) from error
        if ending.kind == "unknown":
            raise status_unknown(hook, job_group_id, ending.status)
        conclude(hook, job_group_id, ending.status, self.log)

    def _defer(self, job_group_id: int, context: Context) -> None:
        from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

        started = context["ti"].start_date
        deadline = self.execution_timeout and started and (started + self.execution_timeout).timestamp()
        self.defer(
            trigger=TrifactaJobGroupTrigger(
                job_group_id=job_group_id,
                trifacta_conn_id=self.trifacta_conn_id,
                poll_interval=self.poll_interval,
                unknown_status_timeout=self.unknown_status_timeout,
                deadline=deadline or None,
                retry_budget=self.retry_budget,
                cancel_on_kill=self.cancel_on_kill,
                cancel_at_deadline=True,
            ),
            method_name="execute_complete",
            # Only for when no triggerer is there to keep the deadline.
            timeout=self.execution_timeout + _BACKSTOP if self.execution_timeout else None,
        )

    def _cancel_after_deadline(self, hook: TrifactaHook, job_group_id: int | str) -> str:
        """Cancel a job group and say how that went."""
        from airflow_provider_trifacta.api.errors import TrifactaApiError

        try:
            hook.cancel_job_group(job_group_id)
        except TrifactaApiError as error:
            return f"it could not be canceled and may still be running ({error})"
        return "it was canceled"
