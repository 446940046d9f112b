"""Running plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_trifacta.airflow_support.compat import conf
from airflow_provider_trifacta.links import TrifactaPlanLink
from airflow_provider_trifacta.operators.run import RunOperator

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.api.runs.kind import Launch, RunKind, RunRef
    from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaRunPlanOperator(RunOperator):
    """Run a plan (``runPlan``), and wait until its run ends.

    The task succeeds only when the run is ``Complete``. It returns the id of the plan snapshot run as the server
    reported it, in every mode. A plan that is invalid because one of its flows is missing fails the task without
    retries.

    An attempt never starts two runs, whatever fails: each is submitted with an ``x-execution-id`` that is reused
    when the request or the task is retried. A retry continues the run of the previous try, and starts a new one
    only when that one is ``Failed``, ``Canceled`` or gone; a clear by a user always starts a new one.

    :param plan_id: the plan: the number after ``/plans/`` in the URL of its page, or that URL (templated).
    :param run_parameters: parameter names to values, by the handle of the node of the plan, e.g.
        ``{"flow-1": {"region": "emea"}}`` (templated).
    :param request_body_extra: further members of the request (templated).
    :param wait_for_completion: whether to wait until the run ends.
    :param deferrable: whether to wait in the triggerer, without holding a worker.
    :param poll_interval: seconds between two polls of a long run; the first ones come sooner.
    :param unknown_status_timeout: seconds to keep waiting while the status is an unknown value.
    :param retry_budget: seconds for which a failing call is retried; None uses the connection's.
    :param cancel_on_kill: whether the run is canceled when the task is killed, cleared or marked while it waits.
    :param durable: whether a retry continues the run of the previous try; otherwise it starts a new one.
    :param trifacta_conn_id: the Airflow connection (templated). Its user must be allowed to read the run;
        this may be only the user who started it.
    """

    template_fields: Sequence[str] = ("plan_id", "run_parameters", "request_body_extra", "trifacta_conn_id")
    template_fields_renderers = {"run_parameters": "json", "request_body_extra": "json"}  # noqa: RUF012
    item_arguments: ClassVar[Mapping[str, str]] = {"plan_id": "plan", "run_parameters": ""}
    operator_extra_links = (TrifactaPlanLink(),)

    def __init__(
        self,
        *,
        plan_id: int | str,
        run_parameters: Mapping[str, Mapping[str, str | int | float | bool]] | None = None,
        request_body_extra: Mapping[str, Any] | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30.0,
        unknown_status_timeout: float = 600.0,
        retry_budget: float | None = None,
        cancel_on_kill: bool = True,
        durable: bool = True,
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
            results={},
            trifacta_conn_id=trifacta_conn_id,
            **kwargs,
        )
        self.plan_id = plan_id
        self.run_parameters = run_parameters
        self.request_body_extra = request_body_extra

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        continued: bool = False,
        plan_snapshot_run_id: int | str | None = None,
    ) -> int | str:
        """Resume after the trigger: succeed, or fail with the reason.

        :param continued: whether an earlier try had started the run.
        :param plan_snapshot_run_id: the run that the task was deferred for; None takes it from the XCom.
        """
        own = None if plan_snapshot_run_id is None else self._ref(plan_snapshot_run_id)
        plan_run: int | str = self._complete(context, event, own, continued=continued)
        return plan_run

    def _kind(self) -> RunKind:
        from airflow_provider_trifacta.api.runs.plan_run import PLAN_RUNS

        return PLAN_RUNS

    def _launch(self) -> Launch:
        from airflow_provider_trifacta.api.runs.plan_launch import PlanLaunch

        return PlanLaunch(
            self.plan_id, run_parameters=self.run_parameters, request_body_extra=self.request_body_extra
        )

    def _trigger(self, run: RunRef, **arguments: Any) -> RunTrigger:
        from airflow_provider_trifacta.triggers.plan import TrifactaPlanRunTrigger

        return TrifactaPlanRunTrigger(plan_snapshot_run_id=run.id, plan_id=run.subject_id, **arguments)

    def _ref(self, run_id: Any) -> RunRef:
        from airflow_provider_trifacta.api.arguments import check_id
        from airflow_provider_trifacta.api.runs.kind import RunRef

        return RunRef(run_id, subject_id=check_id("plan_id", self.plan_id))
