"""Waiting for a flow run that something else started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_trifacta.airflow_support.compat import conf
from airflow_provider_trifacta.links import TrifactaFlowLink
from airflow_provider_trifacta.sensors.run import RunSensor

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.runs.kind import RunKind
    from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaFlowRunSensor(RunSensor):
    """Wait until a flow run ends (``getFlowRunStatus``, ``getFlowRunJobGroups``).

    Succeeds only when the flow run and all its job groups are ``Complete``. If it ends otherwise, the sensor fails
    without retries, or is skipped with ``soft_fail=True``: polling again would not change it. The sensor never
    cancels the flow run, which it did not start.

    :param flow_run_id: the flow run, e.g. the output of the task that started it (templated).
    :param deferrable: whether to wait in the triggerer; else ``mode`` specifies how (``poke`` or ``reschedule``).
    :param poke_interval: seconds between two polls.
    :param timeout: seconds after which the sensor gives up, in every mode.
    :param unknown_status_timeout: seconds to keep waiting while the status is an unknown value.
    :param retry_budget: seconds for which a failing poll is retried; None uses the connection's.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    template_fields: Sequence[str] = ("flow_run_id", "trifacta_conn_id")
    operator_extra_links = (TrifactaFlowLink(),)
    item_arguments: ClassVar[Mapping[str, str]] = {"flow_run_id": "flow run"}
    id_argument = "flow_run_id"

    def __init__(
        self,
        *,
        flow_run_id: int | str,
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
        self.flow_run_id = flow_run_id

    def _kind(self) -> RunKind:
        from airflow_provider_trifacta.api.runs.flow_run import FLOW_RUNS

        return FLOW_RUNS

    def _trigger(self, **arguments: Any) -> RunTrigger:
        from airflow_provider_trifacta.triggers.flow import TrifactaFlowRunTrigger

        return TrifactaFlowRunTrigger(self.flow_run_id, **arguments)
