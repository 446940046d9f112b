from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from airflow_provider_trifacta.tasks.series import Series, series_of

BEGAN = datetime(2024, 3, 1, 6, 0, 0, 123456, UTC)


def series(*, retries: int = 2, work: str = "recipe 7", began: datetime | None = BEGAN, **ti: Any) -> Series:
    fields = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1, "max_tries": 2}
    context = {"ti": SimpleNamespace(**{**fields, **ti}), "dag_run": SimpleNamespace(start_date=began)}
    return series_of(context, retries=retries, work=work, now=2e9)


def test_the_tries_of_a_series_agree_on_the_execution_ids() -> None:
    first, second = series(), series(try_number=2)
    assert first.execution_id(1) == second.execution_id(1)
    assert first.execution_id(1) != first.execution_id(2)
    assert (first.is_first_try, second.is_first_try) == (True, False)
    assert first.began == BEGAN.timestamp()


def test_execution_ids_do_not_change_with_the_version() -> None:
    assert series().execution_id(1) == "0842af51-5573-561d-b726-a370c2459d7e"


@pytest.mark.parametrize(
    "other",
    [
        {"dag_id": "e"},
        {"run_id": "s"},
        {"task_id": "u"},
        {"map_index": 0},
        {"max_tries": 3, "try_number": 2},
        {"work": "recipe 8"},
        {"began": BEGAN + timedelta(microseconds=1)},
    ],
    ids=repr,
)
def test_other_work_is_another_series(other: dict[str, Any]) -> None:
    assert series(**other).key != series().key


@pytest.mark.parametrize(
    ("try_number", "max_tries", "first", "cleared"),
    [
        (1, 2, True, False),
        (3, 2, False, False),
        (4, 5, True, True),  # cleared after three tries
        (5, 5, False, True),
        (2, 3, True, True),  # cleared after one
        (1, 9, True, False),  # the DAG file had more retries when the run was made
        (2, 9, False, False),
        (2, 0, False, False),  # or fewer
    ],
)
def test_which_try_is_the_first(try_number: int, max_tries: int, first: bool, cleared: bool) -> None:
    found = series(try_number=try_number, max_tries=max_tries)
    assert (found.is_first_try, found.was_cleared) == (first, cleared)


def test_a_changed_number_of_retries_is_the_same_series() -> None:
    assert series(retries=5, try_number=2).key == series(try_number=1).key


def test_without_a_start_of_the_run_a_series_is_a_day_long() -> None:
    assert series(began=None).began == 2e9 - 86400


@pytest.mark.parametrize("context", [{}, {"ti": MagicMock()}], ids=["nothing", "a mock"])
def test_outside_airflow_each_try_is_for_itself(context: dict[str, Any]) -> None:
    one, other = (series_of(context, retries=2, work="recipe 7", now=1.0) for _ in range(2))
    assert one.is_first_try
    assert one.key != other.key
