"""What the items of mapped tasks are called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import DAG

from airflow_provider_trifacta.airflow_support import compat
from airflow_provider_trifacta.operators.flow import (
    TrifactaCopyFlowOperator,
    TrifactaDeleteFlowOperator,
    TrifactaRunFlowOperator,
)
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator
from airflow_provider_trifacta.sensors.flow import TrifactaFlowRunSensor
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
from airflow_provider_trifacta.sensors.plan import TrifactaPlanRunSensor

Recipe: Any = TrifactaRunJobGroupOperator


def dag(**options: Any) -> DAG:
    return DAG("maps", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC), **options)


def name_of(mapped: Any, item: Mapping[str, Any]) -> Any:
    """Return what Airflow shows for an item: it renders the template when the arguments are rendered."""
    operator = mapped.unmap(item)
    template = mapped.map_index_template
    if template is None:
        return None
    context = {"task": operator, "ti": SimpleNamespace(map_index=3)}
    return mapped.dag.get_template_env().from_string(template).render(context)


@pytest.mark.parametrize(
    ("operator", "fixed", "item", "name"),
    [
        (Recipe, {}, {"wrangled_dataset_id": 7}, "recipe 7"),
        (Recipe, {}, {"wrangled_dataset_id": "7"}, "recipe 7"),
        (
            Recipe,
            {},
            {"wrangled_dataset_id": "https://example.com/flows/301?recipe=7&tab=recipe"},
            "recipe 7",
        ),
        (
            Recipe,
            {},
            {"wrangled_dataset_id": 7, "run_parameters": {"region": "emea", "limit": 5, "full": True}},
            "recipe 7, region=emea, limit=5, full=true",
        ),
        (Recipe, {"wrangled_dataset_id": 7}, {"run_parameters": {"region": "emea"}}, "region=emea"),
        (Recipe, {"run_parameters": {"region": "emea"}}, {"wrangled_dataset_id": 7}, "recipe 7"),
        (
            Recipe,
            {"wrangled_dataset_id": 7},
            {"overrides": {"profiler": True, "writesettings": [{"path": "s3://bucket/ä"}]}},
            'profiler=true, writesettings=[{"path": "s3://bucket/ä"}]',
        ),
        (
            Recipe,
            {"wrangled_dataset_id": 7},
            {"reference_date": datetime(2024, 3, 1, tzinfo=UTC)},
            "as of 2024-03-01 00:00:00+00:00",
        ),
        # Nothing that is shown tells them apart.
        (Recipe, {"wrangled_dataset_id": 7}, {"profile_pdf_path": "/data/7.pdf"}, "#3"),
        (Recipe, {"wrangled_dataset_id": 7}, {"run_parameters": {}}, "#3"),
        (
            TrifactaRunFlowOperator,
            {},
            {"flow_id": 301, "wrangled_dataset_ids": [7, "8"]},
            "flow 301, recipes 7, 8",
        ),
        (
            TrifactaRunFlowOperator,
            {"flow_id": 301},
            {"overrides": {"Orders clean": {"profiler": True}}},
            'Orders clean={"profiler": true}',
        ),
        (
            TrifactaRunPlanOperator,
            {},
            {"plan_id": 88, "run_parameters": {"flow-1": {"limit": 5}}},
            'plan 88, flow-1={"limit": 5}',
        ),
        (TrifactaCopyFlowOperator, {"flow_id": 301}, {"name": "Copy"}, "named Copy"),
        (TrifactaDeleteFlowOperator, {}, {"flow_id": 301}, "flow 301"),
        (TrifactaJobGroupSensor, {}, {"job_group_id": 90210}, "job group 90210"),
        (TrifactaFlowRunSensor, {}, {"flow_run_id": 12}, "flow run 12"),
        (TrifactaPlanRunSensor, {}, {"plan_snapshot_run_id": "01H"}, "plan run 01H"),
    ],
)
@pytest.mark.parametrize("native", [False, True], ids=["strings", "native-objects"])
def test_names(operator: Any, fixed: dict[str, Any], item: dict[str, Any], name: str, native: bool) -> None:
    with dag(render_template_as_native_obj=native):
        mapped = operator.partial(task_id="run", **fixed).expand_kwargs([item])
    assert name_of(mapped, item) == name


def test_what_a_user_gives_comes_first() -> None:
    item = {"wrangled_dataset_id": 7}
    with dag():
        mine = Recipe.partial(task_id="a", map_index_template="mine {{ task.wrangled_dataset_id }}").expand(
            wrangled_dataset_id=[7]
        )
        none = Recipe.partial(task_id="b", map_index_template=None).expand(wrangled_dataset_id=[7])
        default = Recipe.partial(task_id="c", default_args={"map_index_template": "of the task"}).expand(
            wrangled_dataset_id=[7]
        )
    with dag(default_args={"map_index_template": "of the DAG"}):
        of_dag = Recipe.partial(task_id="d").expand(wrangled_dataset_id=[7])
    names = [name_of(mapped, item) for mapped in (mine, none, default, of_dag)]
    assert names == ["mine 7", None, "of the task", "of the DAG"]


def test_a_template_of_ones_own_can_name_other_arguments() -> None:
    """As in a mapped task group, where Airflow knows no mapped operator."""
    template = "{{ task.name_of_item('trifacta_conn_id', 'poll_interval', 'wrangled_dataset_id', 'nonsense') }}"
    with dag():
        mapped = Recipe.partial(task_id="run", map_index_template=template).expand(wrangled_dataset_id=[7])
    item = {"wrangled_dataset_id": 7, "trifacta_conn_id": "prod", "poll_interval": 5}
    assert name_of(mapped, item) == "trifacta_conn_id prod, poll_interval 5.0, recipe 7"


def test_tasks_that_are_not_mapped_have_no_name() -> None:
    with dag():
        assert Recipe(task_id="run", wrangled_dataset_id=7).map_index_template is None


def test_a_name_is_one_short_line() -> None:
    with dag():
        mapped = Recipe.partial(task_id="run").expand(wrangled_dataset_id=[7])
    item = {"wrangled_dataset_id": 7, "run_parameters": {"text": "a\nb\x1b[31m\u202e" * 100}}
    name = name_of(mapped, item)
    assert name.startswith("recipe 7, text=a b\ufffd[31m\ufffda b")
    assert len(name) == 100


def test_secrets_are_masked_as_airflow_masks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def redact(value: Any, name: str) -> Any:
        asked.append((value, name))
        return {"password": "***"}

    monkeypatch.setattr(compat, "redact", redact, raising=False)
    with dag():
        mapped = Recipe.partial(task_id="run", wrangled_dataset_id=7).expand(run_parameters=[{}])
    operator = mapped.unmap({"run_parameters": {"password": "hunter2"}})
    assert operator.name_of_item("run_parameters") == "password=***"
    assert asked == [({"password": "hunter2"}, "run_parameters")]


class _Odd:
    def __str__(self) -> str:
        raise RuntimeError("no")


ODD: list[Any] = [_Odd(), {"a": _Odd()}, [_Odd()], {_Odd(): 1}, 10**5000, "", None, "None", b"\xff", object()]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_it_never_fails(value: Any) -> None:
    with dag():
        mapped = Recipe.partial(task_id="run").expand(wrangled_dataset_id=[7])
    operator = mapped.unmap({"wrangled_dataset_id": 7})
    for name in ("wrangled_dataset_id", "run_parameters"):
        setattr(operator, name, value)
    assert isinstance(operator.name_of_item("wrangled_dataset_id", "run_parameters"), str)
    operator.__dict__.pop("run_parameters")
    assert isinstance(operator.name_of_item("run_parameters", "never_there"), str)


@pytest.mark.parametrize(
    "cls",
    [
        TrifactaRunJobGroupOperator,
        TrifactaRunFlowOperator,
        TrifactaRunPlanOperator,
        TrifactaCopyFlowOperator,
        TrifactaDeleteFlowOperator,
        TrifactaJobGroupSensor,
        TrifactaFlowRunSensor,
        TrifactaPlanRunSensor,
    ],
    ids=lambda cls: cls.__name__,
)
def test_the_arguments_exist(cls: Any) -> None:
    assert set(cls.item_arguments) <= set(inspect.signature(cls.__init__).parameters)
    assert set(cls.item_arguments) <= set(cls.template_fields)
