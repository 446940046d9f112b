from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version
from typing import Any

import pytest
from packaging.version import Version

from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor

CLASSES: list[tuple[Any, dict[str, Any]]] = [
    (TrifactaRunJobGroupOperator, {"wrangled_dataset_id": 7}),
    (TrifactaJobGroupSensor, {"job_group_id": 90210}),
    (TrifactaRotateApiAccessTokenOperator, {"lifetime_seconds": 86400}),
]


@pytest.mark.parametrize(("operator", "required"), CLASSES)
@pytest.mark.parametrize(
    ("written", "meant"),
    [("trifacta_con_id", "trifacta_conn_id"), ("retrys", "retries"), ("execution_timout", "execution_timeout")],
)
def test_a_misspelt_argument_is_refused_with_the_right_name(
    operator: Any, required: dict[str, Any], written: str, meant: str
) -> None:
    said = f"{operator.__name__} has no argument '{written}': did you mean '{meant}'"
    with pytest.raises(TypeError, match=said):
        operator(task_id="task", **required, **{written: 1})
    with pytest.raises(TypeError, match=said):
        operator.partial(task_id="task", **{written: 1})


@pytest.mark.parametrize(
    ("written", "meant"),
    [("runparameters", "run_parameters"), ("poll_intervall", "poll_interval"), ("deferable", "deferrable")],
)
def test_arguments_of_ones_own_are_suggested_too(written: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"did you mean '{meant}'"):
        TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, **{written: 1})


def test_an_argument_of_a_later_airflow_is_not_taken_for_a_misspelt_one() -> None:
    if Version(version("apache-airflow")) >= Version("3.3"):
        assert TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, retry_policy=None)
        return
    for make in (TrifactaRunJobGroupOperator, TrifactaRunJobGroupOperator.partial):
        with pytest.raises(TypeError, match=r"no argument 'retry_policy': it needs Airflow 3\.3 or later"):
            make(task_id="task", wrangled_dataset_id=7, retry_policy=None)


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(
        Exception, match=r"missing keyword argument .wrangled_dataset_id"
    ):  # a TypeError on Airflow 3
        TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset=7)  # type: ignore[call-arg]


def test_what_resembles_nothing_is_refused_by_airflow() -> None:
    with pytest.raises(Exception, match="xyzzy"):
        TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, xyzzy=1)


def test_arguments_of_a_subclass_are_its_own_business() -> None:
    class Mine(TrifactaRunJobGroupOperator):
        def __init__(self, *, retry: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.retry = retry

    assert Mine(task_id="task", wrangled_dataset_id=7, retry="yes", retries=2).retries == 2


def test_airflows_own_arguments_pass() -> None:
    operator = TrifactaRunJobGroupOperator(
        task_id="task",
        wrangled_dataset_id=7,
        execution_timeout=timedelta(hours=1),
        retry_exponential_backoff=True,
        default_args={"depends_on_past": True, "not_an_argument": 1},
    )
    assert operator.depends_on_past


@pytest.mark.parametrize("written", ["recipe_id", "recipe", "dataset_id", "flow_id", "job_id"])
def test_another_word_for_the_recipe_is_told_the_right_one(written: str) -> None:
    with pytest.raises(TypeError, match="did you mean 'wrangled_dataset_id'"):
        TrifactaRunJobGroupOperator.partial(task_id="task", **{written: 7})


@pytest.mark.parametrize("written", ["job_id", "job", "job_group"])
def test_another_word_for_the_job_group_is_told_the_right_one(written: str) -> None:
    with pytest.raises(TypeError, match="did you mean 'job_group_id'"):
        TrifactaJobGroupSensor.partial(task_id="task", **{written: 7})
