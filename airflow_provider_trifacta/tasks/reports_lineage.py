"""What operators and sensors have for OpenLineage, which calls it only where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_trifacta.tasks.outcome import AwaitedRun


class ReportsLineage:
    """Reports what the run of a task read and wrote to OpenLineage.

    A subclass sets :attr:`_reported`.
    """

    #: The run that the task has, None as long as it has none.
    _reported: AwaitedRun | None = None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the lineage of a task that succeeded, an ``OperatorLineage``; called by OpenLineage.

        Reads what the run read (``getJobGroupInputs``). Never fails.
        """
        return self._lineage()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return the lineage of a task that failed, like :meth:`get_openlineage_facets_on_complete`."""
        return self._lineage()

    def _lineage(self) -> Any:
        from airflow.providers.openlineage.extractors import OperatorLineage

        from airflow_provider_trifacta.api.decoration import decoration

        run = self._reported
        lineage: OperatorLineage[Any, Any] = OperatorLineage()
        if run is not None:
            with decoration(f"The lineage of {run} could not be reported", run.log):
                from airflow_provider_trifacta.tasks.lineage import lineage_of

                lineage = lineage_of(run)
        return lineage
