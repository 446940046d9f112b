"""Waiting for a plan run in the triggerer."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.api.runs.kind import RunRef
from airflow_provider_trifacta.api.runs.plan_run import PLAN_RUNS
from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaPlanRunTrigger(RunTrigger):
    """Waits until a plan run ends, and never starts one.

    :param plan_snapshot_run_id: the plan run.
    :param plan_id: the plan; None when unknown.
    :param options: see :class:`~airflow_provider_trifacta.triggers.run.RunTrigger`.
    """

    def __init__(
        self, plan_snapshot_run_id: int | str = "", *, plan_id: int | str | None = None, **options: Any
    ) -> None:
        super().__init__(PLAN_RUNS, RunRef(plan_snapshot_run_id, subject_id=plan_id), **options)

    def _names_of_run(self) -> dict[str, Any]:
        return {"plan_snapshot_run_id": self.ref.id, "plan_id": self.ref.subject_id}
