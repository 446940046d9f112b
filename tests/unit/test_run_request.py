from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.run_request import run_job_group_body


def test_the_wire_shape() -> None:
    body = run_job_group_body(
        4711,
        run_parameters={"region": "emea", "year": 2024, "full": True, "share": 0.5},
        overrides={"execution": "photon", "writesettings": [{"path": "s3://b/x.csv"}]},
        reference_date=datetime(2024, 3, 1, 7, tzinfo=timezone(timedelta(hours=1))),
        request_body_extra={"forceCacheUpdate": True},
    )
    assert body == {
        "wrangledDataset": {"id": 4711},
        "runParameters": {
            "referenceDate": "2024-03-01T06:00:00.000Z",
            "overrides": {
                "data": [
                    {"key": "region", "value": "emea"},
                    {"key": "year", "value": "2024"},
                    {"key": "full", "value": "true"},
                    {"key": "share", "value": "0.5"},
                ]
            },
        },
        "overrides": {"execution": "photon", "writesettings": [{"path": "s3://b/x.csv"}]},
        "forceCacheUpdate": True,
    }


def test_what_is_not_given_is_not_sent() -> None:
    assert run_job_group_body("7") == {"wrangledDataset": {"id": "7"}}
    assert run_job_group_body(7, run_parameters={}) == {"wrangledDataset": {"id": 7}}


@pytest.mark.parametrize(
    "value",
    ["2024-03-01T06:00:00Z", "2024-03-01T06:00:00+00:00", "2024-03-01 06:00", datetime(2024, 3, 1, 6, tzinfo=UTC)],
)
def test_reference_dates(value: Any) -> None:
    assert run_job_group_body(7, reference_date=value)["runParameters"] == {
        "referenceDate": "2024-03-01T06:00:00.000Z"
    }


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"wrangled_dataset_id": None}, "wrangled_dataset_id"),
        ({"wrangled_dataset_id": ""}, "wrangled_dataset_id: is empty"),
        ({"wrangled_dataset_id": "  "}, "wrangled_dataset_id: is empty"),
        ({"wrangled_dataset_id": "None"}, "wrangled_dataset_id.*template"),
        ({"wrangled_dataset_id": True}, "wrangled_dataset_id"),
        ({"wrangled_dataset_id": 7.0}, "wrangled_dataset_id"),
        ({"wrangled_dataset_id": [7]}, "wrangled_dataset_id"),
        ({"wrangled_dataset_id": {"id": 7}}, "wrangled_dataset_id"),
        ({"wrangled_dataset_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, "wrangled_dataset_id.*ULID"),
        ({"run_parameters": [("a", 1)]}, "run_parameters"),
        ({"run_parameters": "a=1"}, "run_parameters"),
        ({"run_parameters": {"a": None}}, "run_parameters.*'a'"),
        ({"run_parameters": {"a": {"b": 1}}}, "run_parameters.*'a'"),
        ({"run_parameters": {1: "a"}}, "run_parameters"),
        ({"run_parameters": {"": "a"}}, "run_parameters"),
        ({"overrides": [1]}, "overrides"),
        ({"overrides": "photon"}, "overrides"),
        ({"reference_date": "yesterday"}, "reference_date"),
        ({"reference_date": 5}, "reference_date"),
        ({"request_body_extra": [1]}, "request_body_extra"),
        ({"request_body_extra": {"wrangledDataset": {"id": 8}}}, "request_body_extra.*wrangled_dataset_id"),
        ({"overrides": {}, "request_body_extra": {"overrides": {}}}, "request_body_extra.*overrides"),
        (
            {"run_parameters": {"a": 1}, "request_body_extra": {"runParameters": {}}},
            "request_body_extra.*run_parameters",
        ),
    ],
    ids=repr,
)
def test_bad_input_names_the_argument(arguments: dict[str, Any], names: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=names):
        run_job_group_body(**{"wrangled_dataset_id": 7, **arguments})
