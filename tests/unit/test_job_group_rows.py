from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_trifacta.api.runs.job_group_rows import JobGroupRow, read_row, recipe_of

MOMENT = "2024-03-01T06:00:01.120Z"
READ = datetime(2024, 3, 1, 6, 0, 1, 120000, UTC)
FULL = JobGroupRow(90210, "Failed", "api", "4711", "17", READ, 3301, reference_date=READ)


@pytest.mark.parametrize(
    "row",
    [
        {
            "id": 90210, "status": "Failed", "ranfrom": "api", "wrangledDataset": {"id": 4711},
            "creator": {"id": 17}, "createdAt": MOMENT, "flowrun": {"id": 3301},
            "runParameterReferenceDate": MOMENT,
        },
        {
            "id": "90210", "status": "Failed", "ranFrom": "api", "wrangleddataset": {"id": "4711"}, "creator": 17,
            "createdat": MOMENT, "flowRun": {"id": "3301"}, "runparameterreferencedate": MOMENT,
        },
        {
            "id": 90210, "status": "Failed", "ran_from": "api", "wrangled_dataset_id": 4711, "creatorId": "17",
            "created_at": MOMENT, "flow_run_id": 3301, "run_parameter_reference_date": MOMENT,
        },
        {
            "id": 90210, "status": "Failed", "ranfrom": None, "ranFrom": "api", "wrangledDataset": {},
            "flowNodeId": 4711, "creator": {"id": None}, "creatorid": 17, "createdAt": MOMENT,
            "flowrun": {"id": None}, "flowRunId": 3301, "runParameterReferenceDate": MOMENT,
        },
    ],
)  # fmt: skip
def test_a_row_is_read_however_it_is_spelled(row: dict[str, Any]) -> None:
    assert read_row(row) == FULL


@pytest.mark.parametrize(
    "nothing", [None, {}, {"id": None}, {"id": ""}, {"id": 0}, "", 0, [], False, "null", {"a": 1}]
)
@pytest.mark.parametrize("name", ["flowrun", "flowRun", "flowRunId", "flowrunid"])
def test_a_reference_to_nothing(name: str, nothing: Any) -> None:
    assert read_row({"id": 1, name: nothing}) == JobGroupRow(1)


@pytest.mark.parametrize("row", [None, 7, "7", [], {}, {"id": None}, {"id": True}, {"id": 7.9}, {"id": "1_000"}])
def test_a_row_without_an_id_is_none(row: Any) -> None:
    assert read_row(row) is None


@pytest.mark.parametrize("odd", [7, 7.5, True, [], ["api"], {"a": "b"}, "", "   ", 10**400])
def test_what_cannot_be_read_is_not_said(odd: Any) -> None:
    row = dict.fromkeys(["status", "ranfrom", "creator", "createdAt", "flowrun", "runParameterReferenceDate"], odd)
    read = read_row({"id": 1, **row})
    assert read is not None
    assert (read.status, read.source, read.created_at, read.reference_date) == (None, None, None, None)


def test_a_row_is_completed_but_keeps_what_it_says() -> None:
    row = JobGroupRow(90210, "Complete", None, None, "18")
    assert row.completed_by(FULL) == JobGroupRow(
        90210, "Complete", "api", "4711", "18", READ, 3301, reference_date=READ
    )
    assert JobGroupRow(90210).completed_by(FULL).status is None


def test_an_embedded_recipe_is_found_however_it_is_spelled() -> None:
    assert recipe_of({"wrangleddataset": {"id": 7, "name": "Orders"}})["name"] == "Orders"
    assert recipe_of({"wrangledDataset": {}, "wrangled_dataset": {"id": 7}})["id"] == 7
    assert recipe_of({"wrangledDataset": 7}) == {}
