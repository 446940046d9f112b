from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_trifacta.api.application import Application, check_application_url
from airflow_provider_trifacta.api.errors import (
    TrifactaBadRequest,
    TrifactaConfigurationError,
)
from airflow_provider_trifacta.api.runs.descriptions import describe_job_group
from airflow_provider_trifacta.api.timestamps import spoken


@pytest.mark.parametrize(
    ("application", "job_group", "flow", "recipe"),
    [
        (
            Application.beside("https://trifacta.example.com:3005"),
            "https://trifacta.example.com:3005/jobs/90210",
            "https://trifacta.example.com:3005/flows/301",
            "https://trifacta.example.com:3005/flows/301?recipe=7",
        ),
        (
            Application.beside("https://gateway.example.com/designer"),
            "https://gateway.example.com/designer/jobs/90210",
            "https://gateway.example.com/designer/flows/301",
            "https://gateway.example.com/designer/flows/301?recipe=7",
        ),
        (
            Application.beside("https://api.clouddataprep.com"),
            "https://clouddataprep.com/jobs/90210",
            "https://clouddataprep.com/flows/301",
            "https://clouddataprep.com/flows/301?recipe=7",
        ),
        (
            Application.beside("https://api.clouddataprep.com:443"),
            "https://clouddataprep.com/jobs/90210",
            "https://clouddataprep.com/flows/301",
            "https://clouddataprep.com/flows/301?recipe=7",
        ),
        (
            Application("https://clouddataprep.com/?projectId=mine"),
            "https://clouddataprep.com/jobs/90210?projectId=mine",
            "https://clouddataprep.com/flows/301?projectId=mine",
            "https://clouddataprep.com/flows/301?recipe=7&projectId=mine",
        ),
    ],
)
def test_pages(application: Application, job_group: str, flow: str, recipe: str) -> None:
    assert application.job_group_url(90210) == job_group
    assert application.flow_url("301") == flow
    assert application.recipe_url(301, 7) == recipe


def test_ids_cannot_leave_their_place() -> None:
    assert Application("https://a").flow_url("1/../2?x#y") == "https://a/flows/1%2F..%2F2%3Fx%23y"


@pytest.mark.parametrize("url", ["", "clouddataprep.com", "ftp://a", "https://", "https://u@a", "https://a#b", 7])
def test_an_address_that_cannot_be_used(url: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match="extra application_url"):
        check_application_url("extra application_url", url)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (725, "12 min 5 s"), (3600, "1 h"), (12_000, "3 h 20 min")],
)
def test_durations_in_words(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


JOB_GROUP = {"createdAt": "2024-03-01T06:00:01.000Z", "updatedAt": "2024-03-01T06:00:32.000Z"}
FLOW = {"id": 301, "name": "Orders nightly"}


@pytest.mark.parametrize(
    ("answer", "said", "seconds"),
    [
        (
            {**JOB_GROUP, "wrangledDataset": {"id": 7, "name": "Orders clean", "flow": FLOW}},
            'recipe "Orders clean" (7) of flow "Orders nightly" (301)',
            31,
        ),
        ({**JOB_GROUP, "wrangleddataset": {"id": 7, "flow": {"id": 301}}}, "recipe 7 of flow 301", 31),
        ({"wrangledDataset": {"id": 7}}, "recipe 7", None),
        ({"wrangledDataset": None, "createdAt": 5, "updatedAt": "soon"}, None, None),
    ],
)
def test_what_a_job_group_is(answer: Any, said: str | None, seconds: float | None) -> None:
    description = _described([answer])
    assert description.subject == said
    assert description.seconds == seconds


def test_a_release_that_does_not_know_the_longer_association() -> None:
    refused = TrifactaBadRequest(method="GET", path="/", status=400)
    answer = {"wrangledDataset": {"id": 7, "name": "Orders clean", "flow": {"id": 301}}}
    assert _described([refused, answer]).subject == 'recipe "Orders clean" (7) of flow 301'


def _described(answers: list[Any]) -> Any:
    flow = describe_job_group(90210, budget=0)
    try:
        next(flow)
        for answer in answers:
            flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except StopIteration as end:
        return end.value
    raise AssertionError("it asks for more")
