"""Waiting for a plan run that something else started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_trifacta.airflow_support.compat import conf
from airflow_provider_trifacta.links import TrifactaPlanLink
from airflow_provider_trifacta.sensors.run import RunSensor

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.runs.kind import RunKind
    from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaPlanRunSensor(RunSensor):
    """Wait until a plan run ends (``getPlanSnapshotRun``).

    Succeeds only when the plan run is ``Complete``. If it ends otherwise, the sensor fails without retries, or is
    skipped with ``soft_fail=True``: polling again would not change it. The sensor never cancels the plan run,
    which it did not start.

    :param plan_snapshot_run_id: the plan run, e.g. the output of the task that started it (templated). Only the
        user who started it may be allowed to read it.
    :param deferrable: whether to wait in the triggerer; else ``mode`` specifies how (``poke`` or ``reschedule``).
    :param poke_interval: seconds between two polls.
    :param timeout: seconds after which the sensor gives up, in every mode.
    :param unknown_status_timeout: seconds to keep waiting while the status is an unknown value.
    :param retry_budget: seconds for which a failing poll is retried; None uses the connection's.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    template_fields: Sequence[str] = ("plan_snapshot_run_id", "trifacta_conn_id")
    operator_extra_links = (TrifactaPlanLink(),)
    item_arguments: ClassVar[Mapping[str, str]] = {"plan_snapshot_run_id": "plan run"}
    id_argument = "plan_snapshot_run_id"

    def __init__(
        self,
        *,
        plan_snapshot_run_id: int | str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        unknown_status_timeout: float = 600.0,
        retry_budget: float | None = None,
        trifacta_conn_id: str = "trifacta_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            deferrable=deferrable,
            unknown_status_timeout=unknown_status_timeout,
            retry_budget=retry_budget,
            trifacta_conn_id=trifacta_conn_id,
            **kwargs,
        )
        self.plan_snapshot_run_id = plan_snapshot_run_id

    def _kind(self) -> RunKind:
        from airflow_provider_trifacta.api.runs.plan_run import PLAN_RUNS

        return PLAN_RUNS

    def _trigger(self, **arguments: Any) -> RunTrigger:
        from airflow_provider_trifacta.triggers.plan import TrifactaPlanRunTrigger

        return TrifactaPlanRunTrigger(self.plan_snapshot_run_id, **arguments)
