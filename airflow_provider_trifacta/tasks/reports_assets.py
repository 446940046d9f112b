"""What operators and sensors have for the asset events of their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.tasks.outcome import AwaitedRun


class ReportsAssets:
    """Describes the run of a task in the events of the assets in its outlets."""

    outlets: list[Any]

    def _report_assets(self, run: AwaitedRun, context: Context, status: str | None) -> None:
        """Describe a run in the asset events of the task. Never fails.

        :param status: its final status; None if the task does not wait for it.
        """
        if not self.outlets:
            return
        from airflow_provider_trifacta.api.decoration import decoration

        with decoration(f"{run.title} is missing in the asset events of the task", run.log):
            from airflow_provider_trifacta.tasks.asset_events import describe_outlets

            describe_outlets(run, self.outlets, context, status)
