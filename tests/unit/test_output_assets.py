"""Which asset alias a task with ``emit_output_assets`` has, when its DAG file is parsed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_trifacta.airflow_support.compat import Asset, AssetAlias
from airflow_provider_trifacta.operators.flow import TrifactaRunFlowOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator
from airflow_provider_trifacta.operators.run import RunOperator

try:
    from airflow.sdk import DAG, TaskGroup
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.utils.task_group import TaskGroup


@pytest.fixture
def dag() -> Any:
    return DAG("sales", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC))


def _aliases(task: Any) -> list[str]:
    return [outlet.name for outlet in task.outlets if isinstance(outlet, AssetAlias)]


def _unmapped(task: Any) -> Any:
    return task.unmap({"wrangled_dataset_id": 7})


def test_it_is_named_after_dag_and_task(dag: Any) -> None:
    with dag:
        recipe = TrifactaRunJobGroupOperator(task_id="recipe", wrangled_dataset_id=7, emit_output_assets=True)
        with TaskGroup("group"):
            flow = TrifactaRunFlowOperator(task_id="flow", flow_id=301, emit_output_assets=True)
    given = TrifactaRunJobGroupOperator(
        task_id="given", wrangled_dataset_id=7, emit_output_assets=True, dag=dag, outlets=Asset("s3://b/report")
    )
    assert _aliases(recipe) == ["sales/recipe"]
    assert _aliases(flow) == ["sales/group.flow"]
    assert _aliases(given) == ["sales/given"]
    assert given.outlets[0] == Asset("s3://b/report")


def test_a_mapped_task_has_it_before_it_is_expanded(dag: Any) -> None:
    outlets = [Asset("s3://b/report")]
    with dag, TaskGroup("group"):
        mapped = TrifactaRunJobGroupOperator.partial(
            task_id="recipe", emit_output_assets=True, outlets=outlets
        ).expand(wrangled_dataset_id=[7, 8])
    assert _aliases(mapped) == ["sales/group.recipe"]
    assert outlets == [Asset("s3://b/report")]
    item = _unmapped(mapped)
    assert _aliases(item) == ["sales/group.recipe"]
    assert item.emit_output_assets is True


def test_airflow_stores_it(dag: Any) -> None:
    pytest.importorskip("airflow.serialization.definitions")  # on Airflow 2, this asks the database
    from airflow.serialization.serialized_objects import DagSerialization

    with dag:
        TrifactaRunJobGroupOperator(task_id="one", wrangled_dataset_id=7, emit_output_assets=True)
        TrifactaRunJobGroupOperator.partial(task_id="many", emit_output_assets=True).expand(
            wrangled_dataset_id=[7, 8]
        )
    one, many = (task["__var"] for task in DagSerialization.to_dict(dag)["dag"]["tasks"])
    for task_id, stored in (("one", one), ("many", many["partial_kwargs"])):
        assert stored["outlets"] == [
            {"__type": "asset_alias", "__var": {"name": f"sales/{task_id}", "group": "asset"}}
        ]


@pytest.mark.parametrize("where", ["dag", "group", "task"])
def test_it_may_be_in_default_args(where: str) -> None:
    defaults = {"emit_output_assets": True, "outlets": [Asset("s3://b/report")]}

    def of(level: str) -> dict[str, Any]:
        return {"default_args": defaults} if where == level else {}

    with (
        DAG("sales", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC), **of("dag")),
        TaskGroup("group", **of("group")),
    ):
        one = TrifactaRunJobGroupOperator(task_id="one", wrangled_dataset_id=7, **of("task"))
        many = TrifactaRunJobGroupOperator.partial(task_id="many", **of("task")).expand(wrangled_dataset_id=[7])
        plan = TrifactaRunPlanOperator(task_id="plan", plan_id=88, **of("task"))
        plans = TrifactaRunPlanOperator.partial(task_id="plans", **of("task")).expand(plan_id=[88])
        off: Any = {"emit_output_assets": False, **of("task")}
        no_event = TrifactaRunJobGroupOperator(task_id="off", wrangled_dataset_id=7, **off)
        no_events = TrifactaRunJobGroupOperator.partial(task_id="offs", **off).expand(wrangled_dataset_id=[7])
    assert _aliases(one) == ["sales/group.one"]
    assert _aliases(many) == ["sales/group.many"]
    assert len(many.outlets) == len(one.outlets) == 2
    assert [_aliases(task) for task in (plan, plans, no_event, no_events)] == [[], [], [], []]
    assert defaults["outlets"] == [Asset("s3://b/report")]


@pytest.mark.parametrize("operator", [TrifactaRunJobGroupOperator, TrifactaRunFlowOperator])
def test_without_the_argument_there_is_none(dag: Any, operator: type[RunOperator]) -> None:
    argument: Any = {"wrangled_dataset_id": 7} if operator is TrifactaRunJobGroupOperator else {"flow_id": 301}
    with dag:
        assert operator(task_id="task", **argument).outlets == []


def test_an_alias_of_the_user_takes_its_place(dag: Any) -> None:
    with dag:
        one = TrifactaRunJobGroupOperator(
            task_id="one", wrangled_dataset_id=7, emit_output_assets=True, outlets=[AssetAlias("orders")]
        )
        many = TrifactaRunJobGroupOperator.partial(
            task_id="many", emit_output_assets=True, outlets=AssetAlias("orders")
        ).expand(wrangled_dataset_id=[7])
    assert _aliases(one) == _aliases(many) == ["orders"]
    assert _aliases(_unmapped(many)) == ["orders"]


def test_names_tell_tasks_apart() -> None:
    """With a dot between the ids, task ``b.c`` of DAG ``a`` would be task ``c`` of DAG ``a.b``."""
    names = []
    for dag_id, group_id in (("a", "b"), ("a.b", None)):
        with DAG(dag_id, schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            group: Any = TaskGroup(group_id) if group_id else dag.task_group
            task = TrifactaRunJobGroupOperator(
                task_id="c", wrangled_dataset_id=7, emit_output_assets=True, task_group=group
            )
            names += _aliases(task)
    assert names == ["a/b.c", "a.b/c"]
