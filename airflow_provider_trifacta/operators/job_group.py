"""Running a recipe."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_trifacta.airflow_support.argument_names import SuggestsArgumentNames
from airflow_provider_trifacta.airflow_support.compat import BaseOperator, conf
from airflow_provider_trifacta.api.arguments import check_seconds
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError, TrifactaError
from airflow_provider_trifacta.links import LINKS

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context, ObjectStoragePath
    from airflow_provider_trifacta.api.client import TrifactaClient
    from airflow_provider_trifacta.api.job_group_launch import JobGroupLaunch
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.tasks.attempts import Begun, JobGroupAttempts
    from airflow_provider_trifacta.tasks.results import ResultPaths

# Everything that reads connections and sends requests is imported when a task runs: DAG files are parsed far
# more often.

#: Seconds in which ``on_kill`` must be done. Airflow 3 kills the process five seconds after asking.
_KILL_SECONDS = 3.0
#: How much later than the trigger's own deadline Airflow itself ends a deferral that no triggerer looks after.
_BACKSTOP = timedelta(minutes=10)


class TrifactaRunJobGroupOperator(SuggestsArgumentNames, BaseOperator):
    """Run a recipe (``runJobGroup``), and wait until its job group ends.

    The task succeeds only when the job group is ``Complete``. It returns the id of the job group, an int, in every
    mode.

    An attempt never has two job groups, whatever breaks: each is submitted with an ``x-execution-id`` that a
    repeat and a retry of the task say again. A retry goes on with the job group of the try before it, and starts
    a new one only when that one is ``Failed``, ``Canceled`` or gone; a clear by a person always starts a new one.
    A request that the server refuses for good fails the task without retries.

    :param wrangled_dataset_id: the recipe, which the API calls a wrangled dataset: the number after ``recipe=``
        in the URL of its flow, or that URL (templated).
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
    :param durable: whether a retry goes on with the job group of the try before it. Without, it starts a new one.
    :param profile_pdf_path: where to bring the profile as PDF: a path on this machine, or one in a storage that
        Airflow knows, e.g. ``s3://aws_default@bucket/{{ ds }}.pdf`` (templated).
    :param profile_json_path: where to bring the profile as JSON, likewise (templated).
    :param outputs_json_path: where to bring the list of files and tables that were written (templated).
    :param profile_required: whether the task fails when there is no profile to bring, since the job group ran
        without profiling. Otherwise the log says so.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    template_fields: Sequence[str] = (
        "wrangled_dataset_id",
        "run_parameters",
        "overrides",
        "reference_date",
        "request_body_extra",
        "profile_pdf_path",
        "profile_json_path",
        "outputs_json_path",
        "trifacta_conn_id",
    )
    template_fields_renderers = {  # noqa: RUF012
        "run_parameters": "json",
        "overrides": "json",
        "request_body_extra": "json",
    }
    operator_extra_links = LINKS
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
        durable: bool = True,
        profile_pdf_path: str | os.PathLike[str] | ObjectStoragePath | None = None,
        profile_json_path: str | os.PathLike[str] | ObjectStoragePath | None = None,
        outputs_json_path: str | os.PathLike[str] | ObjectStoragePath | None = None,
        profile_required: bool = False,
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
        self.durable = durable
        self.profile_pdf_path = profile_pdf_path
        self.profile_json_path = profile_json_path
        self.outputs_json_path = outputs_json_path
        self.profile_required = profile_required
        if not wait_for_completion:
            for name in ("profile_pdf_path", "profile_json_path", "outputs_json_path"):
                if getattr(self, name) is not None:
                    raise TrifactaConfigurationError(
                        f"{name}: there is nothing to bring before the job group has ended: use it with "
                        "wait_for_completion=True"
                    )
        self.trifacta_conn_id = trifacta_conn_id
        self.job_group_id: int | None = None
        self._client: TrifactaClient | None = None
        self._killed = False

    def execute(self, context: Context) -> int:
        """Start the recipe, or go on with what an earlier try started, and wait as asked for."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.api.job_group_launch import JobGroupLaunch
        from airflow_provider_trifacta.api.statuses import is_canceled

        log_without_stack(TrifactaError)
        # The request is made before the connection is read: an argument that cannot be used comes first.
        launch = JobGroupLaunch(
            self.wrangled_dataset_id,
            run_parameters=self.run_parameters,
            overrides=self.overrides,
            reference_date=self.reference_date,
            request_body_extra=self.request_body_extra,
        )
        self._result_paths()
        hook = self._hook()
        self._client = hook.client
        attempts = self._attempts(hook, launch, context)
        while True:
            begun = attempts.begin()
            self._announce(hook, begun, context)
            hook.warn_before_token_expires()
            if self._killed and self.cancel_on_kill:
                self.log.info("The task was killed during the submit; %s", self._cancel(hook, begun.job_group_id))
            if not self.wait_for_completion:
                return begun.job_group_id
            if self.deferrable:
                self._defer(hook, begun, context)
            status = self._wait(hook, begun.job_group_id)
            if begun.continued and is_canceled(status):
                self._log_canceled_earlier(begun.job_group_id)
                continue
            self._conclude(hook, begun.job_group_id, status)
            return begun.job_group_id

    def execute_complete(
        self, context: Context, event: Any = None, continued: bool = False, job_group_id: int | None = None
    ) -> int:
        """Go on after the trigger: succeed, or fail with the reason.

        :param continued: whether an earlier try had started the job group.
        :param job_group_id: the job group that the task was deferred for; without it, the XCom tells.
        """
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.api.statuses import is_canceled
        from airflow_provider_trifacta.tasks.attempts import Begun
        from airflow_provider_trifacta.tasks.outcome import deadline_passed, status_unknown, wait_failed
        from airflow_provider_trifacta.triggers.job_group import WaitEvent

        log_without_stack(TrifactaError)
        hook = self._hook()
        own = self._pushed_job_group_id(context) if job_group_id is None else job_group_id
        ended = WaitEvent.read(event, own)
        if own is not None and str(ended.job_group_id) != str(own):
            # Of another trigger: SQLite gives the id of one that was deleted to the next.
            self.log.warning("Told of job group %s, going on to wait for %s", ended.job_group_id, own)
            self._defer(hook, Begun(own, continued), context)
        if ended.outcome == "final" and ended.status is not None:
            if continued and is_canceled(ended.status):
                self._log_canceled_earlier(ended.job_group_id)
                return self.execute(context)
            self._conclude(hook, ended.job_group_id, ended.status)
            return int(ended.job_group_id)
        if ended.outcome == "unknown":
            raise status_unknown(hook, ended.job_group_id, ended.status)
        if ended.outcome == "deadline":
            # The trigger has canceled it, or says why it could not.
            canceled = self._cancel(hook, ended.job_group_id) if ended.message else "it was canceled"
            raise deadline_passed(hook, ended.job_group_id, ended.status, self.execution_timeout, canceled)
        raise wait_failed(hook, ended.job_group_id, ended.message or "the trigger gave no reason")

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
                    self._cancel(self._hook(), job_group_id),
                )
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the job group, within three seconds and without asking Airflow for anything.

        This may run in a signal handler, in the middle of a call of the main thread: hence a client and a thread
        of its own.
        """
        # During a submit there is nothing to cancel yet; it is when the answer comes.
        self._killed = True
        if self.cancel_on_kill and self.job_group_id is not None and self._client is not None:
            said = self._cancel_at_once(self._client, self.job_group_id)
            self.log.info("Task killed: job group %s %s", self.job_group_id, said)

    # ----------------------------------------------------------------------------------------------------- steps

    @staticmethod
    def _cancel_at_once(client: TrifactaClient, job_group_id: int) -> str:
        """Cancel a job group within three seconds, in the middle of whatever else happens; say how that went."""
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
        return outcome[0] if outcome else "was asked to cancel, without an answer in time"

    def _hook(self) -> TrifactaHook:
        from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

        return TrifactaHook(self.trifacta_conn_id, retry_budget=self.retry_budget)

    def _result_paths(self) -> ResultPaths:
        from airflow_provider_trifacta.tasks.results import ResultPaths

        return ResultPaths.check(
            profile_pdf_path=self.profile_pdf_path,
            profile_json_path=self.profile_json_path,
            outputs_json_path=self.outputs_json_path,
        )

    def _conclude(self, hook: TrifactaHook, job_group_id: int | str, status: str) -> None:
        """Succeed and bring the results, or fail with the reason."""
        from airflow_provider_trifacta.tasks.outcome import conclude
        from airflow_provider_trifacta.tasks.results import save_results

        conclude(hook, job_group_id, status, self.log)
        save_results(
            hook, job_group_id, self._result_paths(), profile_required=self.profile_required, log=self.log
        )

    def _attempts(self, hook: TrifactaHook, launch: JobGroupLaunch, context: Context) -> JobGroupAttempts:
        from airflow_provider_trifacta.tasks.attempts import JobGroupAttempts
        from airflow_provider_trifacta.tasks.notes import NoNotes, notes_of
        from airflow_provider_trifacta.tasks.series import series_of, single_try

        now = hook.clock.time()
        if self.durable:
            series = series_of(context, retries=self.retries or 0, work=launch.what, now=now)
        else:
            series = single_try(now)

        def known(job_group_id: int) -> None:
            self.job_group_id = job_group_id

        return JobGroupAttempts(
            hook,
            launch,
            series,
            notes_of(context) if self.durable else NoNotes(),
            siblings=lambda: self._job_groups_of_siblings(context),
            on_known=known,
            cancel_superseded=self.cancel_on_kill,
            log=self.log,
        )

    def _job_groups_of_siblings(self, context: Context) -> set[str]:
        """Return the job groups of the other items of a mapped task: they often run the same recipe."""
        ti = context["ti"]
        if not isinstance(ti.map_index, int) or ti.map_index < 0:
            return set()
        try:
            pushed = ti.xcom_pull(task_ids=self.task_id, key="job_group_id")
        except Exception as error:
            self.log.warning("The job groups of the other mapped tasks could not be read: %s", error)
            return set()
        values = [pushed] if isinstance(pushed, (int, str)) else pushed or []
        return {str(value) for value in values if value is not None} - {str(self.job_group_id)}

    def _log_canceled_earlier(self, job_group_id: int | str) -> None:
        # Killing a try cancels its job group, which takes a while: that is no verdict on the try after it.
        self.log.warning("Job group %s of an earlier try was canceled: starting a new one", job_group_id)

    def _announce(self, hook: TrifactaHook, begun: Begun, context: Context) -> None:
        from airflow_provider_trifacta.api.decoration import decoration
        from airflow_provider_trifacta.tasks.announce import announce

        with decoration(f"Job group {begun.job_group_id} could not be stored as an XCom", self.log):
            context["ti"].xcom_push(key="job_group_id", value=begun.job_group_id)
        announce(hook, begun.job_group_id, context, self.log, "Waiting for" if begun.continued else "Started")

    def _pushed_job_group_id(self, context: Context) -> int | None:
        ti = context["ti"]
        value = ti.xcom_pull(task_ids=self.task_id, key="job_group_id", map_indexes=ti.map_index)
        return int(value) if value is not None else None

    def _wait(self, hook: TrifactaHook, job_group_id: int) -> str:
        """Wait here, and return the final status."""
        from airflow_provider_trifacta.airflow_support.compat import AirflowTaskTimeout
        from airflow_provider_trifacta.api.errors import TrifactaApiError
        from airflow_provider_trifacta.api.waiting import wait_for_job_group
        from airflow_provider_trifacta.tasks.outcome import deadline_passed, status_unknown, wait_failed

        procedure = wait_for_job_group(
            job_group_id,
            poll_interval=self.poll_interval,
            unknown_status_timeout=self.unknown_status_timeout,
            clock=hook.clock,
            random_number=random.random,
            log=self.log,
        )
        try:
            ending = hook.run(procedure)
        except TrifactaApiError as error:
            raise wait_failed(hook, job_group_id, str(error)) from error
        except AirflowTaskTimeout:
            canceled = f"it {self._cancel_at_once(hook.client, job_group_id)}"
            raise deadline_passed(hook, job_group_id, None, self.execution_timeout, canceled) from None
        if ending.kind == "unknown":
            raise status_unknown(hook, job_group_id, ending.status)
        return ending.status

    def _defer(self, hook: TrifactaHook, begun: Begun, context: Context) -> NoReturn:
        from airflow_provider_trifacta.tasks.announce import announce_deferral
        from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

        started = context["ti"].start_date
        deadline = self.execution_timeout and started and (started + self.execution_timeout).timestamp()
        announce_deferral(
            begun.job_group_id,
            self.log,
            poll_interval=self.poll_interval,
            deadline=deadline or None,
            afterwards=", then it is canceled",
        )
        self.defer(
            trigger=TrifactaJobGroupTrigger(
                job_group_id=begun.job_group_id,
                trifacta_conn_id=self.trifacta_conn_id,
                poll_interval=self.poll_interval,
                unknown_status_timeout=self.unknown_status_timeout,
                deadline=deadline or None,
                retry_budget=self.retry_budget,
                cancel_on_kill=self.cancel_on_kill,
                cancel_at_deadline=True,
                began=hook.clock.time(),
            ),
            method_name="execute_complete",
            kwargs={"continued": begun.continued, "job_group_id": begun.job_group_id},
            # Only for when no triggerer is there to keep the deadline.
            timeout=self.execution_timeout + _BACKSTOP if self.execution_timeout else None,
        )

    def _cancel(self, hook: TrifactaHook, job_group_id: int | str) -> str:
        """Cancel a job group and say how that went."""
        from airflow_provider_trifacta.api.errors import TrifactaApiError

        try:
            hook.cancel_job_group(job_group_id)
        except TrifactaApiError as error:
            return f"it could not be canceled and may still be running ({error})"
        return "it was canceled"
