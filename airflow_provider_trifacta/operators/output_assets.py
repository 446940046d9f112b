"""Operators that emit an asset event for each file and table that their run writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.operators.run import RunOperator

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.tasks.outcome import AwaitedRun


class EmitsOutputAssets(RunOperator):
    """Starts a run of which the API reports what it wrote.

    Airflow accepts events for assets that are known only at run time through an asset alias in the task's outlets:
    those that the user gave, or one named ``<dag_id>/<task_id>``. Neither id contains a slash, so no two tasks
    have the same.

    :param emit_output_assets: whether each file and table gets an event.
    """

    def __init__(self, *, emit_output_assets: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(emit_output_assets, bool):
            raise TrifactaConfigurationError(
                f"emit_output_assets: {emit_output_assets!r} is neither True nor False"
            )
        self.emit_output_assets = emit_output_assets
        if not emit_output_assets:
            return
        if not self.wait_for_completion:
            raise TrifactaConfigurationError(
                "emit_output_assets: requires wait_for_completion=True, since it is not known what is written "
                "before the run has ended"
            )
        dag = self.dag if self.has_dag() else None  # type: ignore[no-untyped-call]
        self.outlets = _with_alias(self.outlets, dag, self.task_id)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Return the operator with these arguments, to be mapped over other arguments (see Airflow's ``partial``).

        Airflow takes the outlets of a mapped task from here, so this is where it learns of the alias.
        """
        partial = super().partial(**kwargs)
        arguments = partial.kwargs
        defaults: dict[str, Any] = {}
        for level in (arguments["dag"], arguments["task_group"]):
            defaults |= level.default_args if level else {}
        defaults |= kwargs.get("default_args") or {}
        if kwargs.get("emit_output_assets", defaults.get("emit_output_assets")):
            arguments["outlets"] = _with_alias(arguments.get("outlets"), arguments["dag"], arguments["task_id"])
        return partial

    def _report_assets(self, run: AwaitedRun, context: Context, status: str | None) -> None:
        super()._report_assets(run, context, status)
        if not self.emit_output_assets or status is None:
            return
        from airflow_provider_trifacta.api.decoration import decoration

        with decoration(f"What {run} wrote gets no asset events", self.log):
            from airflow_provider_trifacta.tasks.asset_events import emit_outputs

            emit_outputs(run, self.outlets, context, status)


def _with_alias(outlets: Any, dag: Any, task_id: str) -> list[Any]:
    """Return the outlets of a task, with an asset alias among them.

    :raises TrifactaConfigurationError: there is nothing to name an alias after.
    """
    from airflow_provider_trifacta.airflow_support.compat import AssetAlias

    # A list of its own: Airflow 2 gives all tasks the same one if it comes from default_args.
    given = list(outlets) if isinstance(outlets, Iterable) else [outlets] if outlets else []
    if any(isinstance(outlet, AssetAlias) for outlet in given):
        return given
    if dag is None:
        raise TrifactaConfigurationError(
            "emit_output_assets: requires a task that is created in a DAG, after which its asset alias is named, "
            "or an AssetAlias in outlets"
        )
    return [*given, AssetAlias(f"{dag.dag_id}/{task_id}")]
