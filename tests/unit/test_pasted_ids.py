from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_trifacta.api.arguments import check_id
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.runs.job_group_launch import JobGroupLaunch


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/flows/301?recipe=4711",
        "https://example.com/trifacta/flows/301?recipe=4711&tab=data#step-3",
        "http://example.com:3005/flows/301?projectId=mine&recipe=4711",
        "https://example.com/#/flows/301?recipe=4711",
        "example.com/flows/301?recipe=4711",
        "  https://example.com/flows/301?recipe=4711  ",
    ],
)
def test_the_url_of_a_recipe_is_understood(url: str) -> None:
    assert check_id("wrangled_dataset_id", url) == "4711"
    assert JobGroupLaunch(url).subject == JobGroupLaunch(4711).subject == "recipe 4711"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/jobs/90210",
        "https://example.com/trifacta/jobs/90210/?tab=overview#x",
        "https://example.com/jobs/90210?projectId=7",
    ],
)
def test_the_url_of_a_job_group_is_understood(url: str) -> None:
    assert check_id("job_group_id", url) == "90210"


@pytest.mark.parametrize("value", [7, "7", " 7 ", 2**63 - 1, str(2**63 - 1)])
def test_a_plain_id_stays_as_it_is(value: Any) -> None:
    assert check_id("wrangled_dataset_id", value) == (value.strip() if isinstance(value, str) else value)


@pytest.mark.parametrize(
    "value",
    [
        "seven", "0", 0, -1, "-1", "007", "7.0", "1_000", "\u0667", 2**63, str(2**63), "recipe=7",
        "https://example.com/flows/301", "https://example.com/flows/301?recipe=", "https://example.com/jobs/7",
        "https://example.com/flows/301?recipe=7&recipe=8", "https://example.com/?recipe=0",
        "https://example.com/?norecipe=7",
    ],
)  # fmt: skip
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match=r"wrangled_dataset_id: .* is not a recipe id"):
        check_id("wrangled_dataset_id", value)
