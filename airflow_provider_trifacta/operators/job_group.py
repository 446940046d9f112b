"""Running a recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_trifacta.airflow_support.compat import conf
from airflow_provider_trifacta.links import LINKS
from airflow_provider_trifacta.operators.output_assets import EmitsOutputAssets

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context, ObjectStoragePath
    from airflow_provider_trifacta.api.runs.kind import Launch, RunKind, RunRef
    from airflow_provider_trifacta.tasks.outcome import OwnRun
    from airflow_provider_trifacta.tasks.results import ResultPaths
    from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaRunJobGroupOperator(EmitsOutputAssets):
    """Run a recipe (``runJobGroup``), and wait until its job group ends.

    The task succeeds only when the job group is ``Complete``. It returns the id of the job group, an int, in every
    mode.

    An attempt never starts two job groups, whatever fails: each is submitted with an ``x-execution-id`` that is
    reused when the request or the task is retried. A retry continues the job group of the previous try, and starts
    a new one only when that one is ``Failed``, ``Canceled`` or gone; a clear by a user always starts a new one.
    A request that the server refuses permanently fails the task without retries.

    :param wrangled_dataset_id: the recipe, which the API calls a wrangled dataset: the number after ``recipe=``
        in the URL of its flow, or that URL (templated).
    :param run_parameters: parameter names to values, e.g. ``{"region": "emea"}`` (templated).
    :param overrides: settings of the output for this run: ``execution``, ``profiler``, ``writesettings``. The
        server does not check them: a bad path shows as a failed job (templated).
    :param reference_date: what "now" means in date-time parameters; a datetime or an ISO 8601 string (templated).
    :param request_body_extra: further members of the request, e.g. ``{"forceCacheUpdate": True}`` (templated).
    :param wait_for_completion: whether to wait until the job group ends.
    :param deferrable: whether to wait in the triggerer, without holding a worker.
    :param poll_interval: seconds between two polls of a long job; the first ones come sooner.
    :param unknown_status_timeout: seconds to keep waiting while the status is an unknown value.
    :param retry_budget: seconds for which a failing call is retried; None uses the connection's.
    :param cancel_on_kill: whether the job group is canceled when the task is killed, cleared or marked while it
        waits.
    :param durable: whether a retry continues the job group of the previous try; otherwise it starts a new one.
    :param profile_pdf_path: where to save the profile as PDF: a path on this machine, or one in a storage that
        Airflow knows, e.g. ``s3://aws_default@bucket/{{ ds }}.pdf`` (templated).
    :param profile_json_path: where to save the profile as JSON, likewise (templated).
    :param outputs_json_path: where to save the list of files and tables that were written (templated).
    :param profile_required: whether the task fails when there is no profile to save because the job group ran
        without profiling. Otherwise this is only logged.
    :param emit_output_assets: whether each file and table that was written gets an asset event, through the asset
        aliases in ``outlets`` or, if there are none, one named ``<dag_id>/<task_id>``.
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
    item_arguments: ClassVar[Mapping[str, str]] = {
        "wrangled_dataset_id": "recipe",
        "run_parameters": "",
        "overrides": "",
        "reference_date": "as of",
    }
    operator_extra_links = LINKS

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
        emit_output_assets: bool = False,
        trifacta_conn_id: str = "trifacta_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            unknown_status_timeout=unknown_status_timeout,
            retry_budget=retry_budget,
            cancel_on_kill=cancel_on_kill,
            durable=durable,
            results={
                "profile_pdf_path": profile_pdf_path,
                "profile_json_path": profile_json_path,
                "outputs_json_path": outputs_json_path,
            },
            emit_output_assets=emit_output_assets,
            trifacta_conn_id=trifacta_conn_id,
            **kwargs,
        )
        self.wrangled_dataset_id = wrangled_dataset_id
        self.run_parameters = run_parameters
        self.overrides = overrides
        self.reference_date = reference_date
        self.request_body_extra = request_body_extra
        self.profile_pdf_path = profile_pdf_path
        self.profile_json_path = profile_json_path
        self.outputs_json_path = outputs_json_path
        self.profile_required = profile_required

    def execute_complete(
        self, context: Context, event: Any = None, continued: bool = False, job_group_id: int | None = None
    ) -> int:
        """Resume after the trigger: succeed, or fail with the reason.

        :param continued: whether an earlier try had started the job group.
        :param job_group_id: the job group that the task was deferred for; None takes it from the XCom.
        """
        own = None if job_group_id is None else self._ref(job_group_id)
        job_group: int = self._complete(context, event, own, continued=continued)
        return job_group

    def _kind(self) -> RunKind:
        from airflow_provider_trifacta.api.runs.job_group import JOB_GROUPS

        return JOB_GROUPS

    def _launch(self) -> Launch:
        from airflow_provider_trifacta.api.runs.job_group_launch import JobGroupLaunch

        return JobGroupLaunch(
            self.wrangled_dataset_id,
            run_parameters=self.run_parameters,
            overrides=self.overrides,
            reference_date=self.reference_date,
            request_body_extra=self.request_body_extra,
        )

    def _trigger(self, run: RunRef, **arguments: Any) -> RunTrigger:
        from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

        return TrifactaJobGroupTrigger(run.id, **arguments)

    def _ref(self, run_id: Any) -> RunRef:
        from airflow_provider_trifacta.api.runs.kind import RunRef

        return RunRef(int(run_id))

    def _check_results(self) -> None:
        self._result_paths()

    def _save_results(self, run: OwnRun) -> None:
        from airflow_provider_trifacta.tasks.results import save_results

        save_results(run, self._result_paths(), profile_required=self.profile_required)

    def _result_paths(self) -> ResultPaths:
        from airflow_provider_trifacta.tasks.results import ResultPaths

        return ResultPaths.check(
            profile_pdf_path=self.profile_pdf_path,
            profile_json_path=self.profile_json_path,
            outputs_json_path=self.outputs_json_path,
        )
