from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.errors import (
    TrifactaApiError,
    TrifactaBadRequest,
    TrifactaDuplicateExecution,
    TrifactaNotFound,
    TrifactaRateLimited,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.api.messages import Operation, Request
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.emulator.contract import contract

SERVED = re.compile(
    r"/v4/(jobGroups|jobLibrary|jobs|apiAccessTokens|people|flows|flowRuns|plans|planSnapshotRuns"
    r"|wrangledDatasets|importedDatasets|outputObjects|writeSettings|open-api-spec)\b"
)


def _client(emulator: Emulator, token: str | None = None) -> TrifactaClient:
    return TrifactaClient(ClientSettings(emulator.url, retries=RetryPolicy(budget=0)), token or emulator.token)


@pytest.fixture
def client(emulator: Emulator) -> TrifactaClient:
    return _client(emulator)


# -------------------------------------------------------------------------------------------------- the contract

schema = schemathesis.openapi.from_dict(contract().document)


@pytest.fixture(scope="module")
def contract_server() -> Any:
    with Emulator(enforce_quotas=False) as running, _client(running) as client:
        for recipe in (7, 8, 9, 10):
            client.run_job_group(recipe)
        client.run_action("flows", 301, "run")
        client.run_action("plans", 88, "run")
        yield running


@schema.include(path_regex=SERVED.pattern).parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_those_of_the_contract(case: schemathesis.Case, contract_server: Emulator) -> None:
    response = case.call(
        base_url=contract_server.url, headers={"Authorization": f"Bearer {contract_server.token}"}
    )
    checks = schemathesis.checks
    case.validate_response(
        response,
        checks=[
            checks.CHECKS.get_one(name)
            for name in (
                "not_a_server_error",
                "status_code_conformance",
                "content_type_conformance",
                "response_headers_conformance",
                "response_schema_conformance",
            )
        ],
    )


def test_every_operation_of_these_resources_is_served(emulator: Emulator) -> None:
    operations = contract().operations.values()
    missing = [op.id for op in operations if SERVED.match(op.path) and not emulator.app.handlers.serves(op)]
    assert missing == []


# --------------------------------------------------------------------------------------------------------- quirks


def test_lists_are_cut_at_25_and_counted_only_when_asked(emulator: Emulator, client: TrifactaClient) -> None:
    for _ in range(30):
        client.run_job_group(7)
    read = Operation(Request("GET", "/v4/jobLibrary"), lambda answer: answer.json())
    assert len(client.send(read)["data"]) == 25
    assert "count" not in client.send(read)
    counted = Operation(Request("GET", "/v4/jobLibrary", {"includeCount": True}), lambda answer: answer.json())
    assert client.send(counted)["count"] == 30


def test_an_execution_id_starts_one_thing(emulator: Emulator, client: TrifactaClient) -> None:
    client.run_job_group(7, execution_id="a")
    with pytest.raises(TrifactaDuplicateExecution):
        client.run_job_group(7, execution_id="a")
    client.run_action("flows", 301, "run", execution_id="f")
    with pytest.raises(TrifactaDuplicateExecution):
        client.run_action("flows", 301, "run", execution_id="f")
    client.run_action("plans", 88, "run", execution_id="p")
    with pytest.raises(TrifactaDuplicateExecution):
        client.run_action("plans", 88, "run", execution_id="p")
    emulator.change_settings(honour_execution_id=False)
    client.run_job_group(7, execution_id="a")
    assert emulator.calls("runJobGroup")[-1].execution_id == "a"


def test_cancelling_what_has_ended_does_nothing(client: TrifactaClient) -> None:
    identity = client.run_job_group(7)["id"]
    client.cancel_job_group(identity)
    assert client.get_job_group_status(identity) == "Complete"


def test_cancelling_takes_a_while(emulator: Emulator, client: TrifactaClient) -> None:
    emulator.change_settings(pace="polls=4")
    identity = client.run_job_group(9)["id"]
    client.get_job_group_status(identity)
    client.cancel_job_group(identity)
    assert [client.get_job_group_status(identity) for _ in range(2)] == ["InProgress", "Canceled"]


def test_profiles_of_what_was_not_profiled(client: TrifactaClient) -> None:
    identity = client.run_job_group(11)["id"]
    with pytest.raises(TrifactaBadRequest) as caught:
        client.get_profiling_information_for_job_group(identity)
    assert caught.value.name == "ProfilingDataNotFoundException"


def test_quotas_per_user_and_per_workspace() -> None:
    with Emulator() as emulator:
        _, second = emulator.add_person("second@example.com")
        _, third = emulator.add_person("third@example.com")
        # Within one window, whatever the time is.
        emulator.clock.advance(60 - emulator.clock.now() % 60)
        for token in (None, second):
            client = _client(emulator, token)
            for _ in range(30):
                client.run_job_group(7)
            with pytest.raises(TrifactaRateLimited, match="30 requests allowed per minute per user") as caught:
                client.run_job_group(7)
            assert 0 < (caught.value.retry_after or 0) <= 60
        with pytest.raises(TrifactaRateLimited, match="60 requests allowed per minute per workspace"):
            _client(emulator, third).run_job_group(7)
        emulator.clock.advance(60)
        _client(emulator, third).run_job_group(7)


def test_wrong_media_types(emulator: Emulator) -> None:
    def post(headers: dict[str, str]) -> int:
        request = urllib.request.Request(
            f"{emulator.url}/v4/flows",
            b"{}",
            {"Authorization": f"Bearer {emulator.token}", "Content-Type": "application/json", **headers},
        )
        try:
            return int(urllib.request.urlopen(request).status)
        except urllib.error.HTTPError as error:
            return error.code

    assert post({}) == 201
    assert post({"Content-Type": "text/plain"}) == 415
    assert post({"Accept": "text/html"}) == 415


def test_missing_routes(client: TrifactaClient) -> None:
    for resource in ("nothing", "flows/301/run"):
        request = Request("GET", f"/v4/{resource}")
        with pytest.raises(TrifactaNotFound) as caught:
            client.send(Operation(request, lambda answer: answer.json()))
        assert caught.value.name == "RouteNotFoundException"


def test_build_and_run_from_nothing(client: TrifactaClient) -> None:
    dataset = client.create_resource(
        "importedDatasets", {"name": "raw", "uri": "s3://b/raw.csv", "detectStructure": True}
    )
    flow = client.create_resource("flows", {"name": "from nothing"})
    recipe = client.create_resource(
        "wrangledDatasets",
        {"name": "clean", "importedDataset": {"id": dataset["id"]}, "flow": {"id": flow["id"]}},
    )
    with pytest.raises(TrifactaBadRequest, match="no output object"):
        client.run_job_group(recipe["id"])
    output = {
        "execution": "photon",
        "profiler": True,
        "isAdhoc": True,
        "flowNodeId": recipe["id"],
        "writeSettings": [{"path": "s3://b/out.csv", "action": "create", "format": "csv"}],
    }
    client.create_resource("outputObjects", output)
    with pytest.raises(TrifactaBadRequest, match="already has an output object"):
        client.create_resource("outputObjects", output)
    identity = client.run_job_group(recipe["id"])["id"]
    assert client.get_job_group_outputs(identity)["files"][0]["uri"] == "s3://b/out.csv"
    package = client.send(Operation(Request("GET", f"/v4/flows/{flow['id']}/package"), lambda answer: answer.body))
    assert package.startswith(b"PK")


def test_a_bad_path_shows_as_a_failed_job(client: TrifactaClient) -> None:
    identity = client.run_job_group(7, overrides={"writesettings": [{"path": "nowhere"}]})["id"]
    assert client.get_job_group_status(identity) == "Failed"


def test_a_flow_run_is_as_bad_as_its_worst_job_group(emulator: Emulator, client: TrifactaClient) -> None:
    run = client.run_action("flows", 301, "run", {"wrangledDatasetIds": [7, 8]})
    read = Request("GET", f"/v4/flowRuns/{run['flowRunId']}/status")
    assert client.send(Operation(read, lambda answer: answer.json())) == "Failed"


# -------------------------------------------------------------------------------------------- time, faults, state


@pytest.mark.parametrize(
    ("recipe", "statuses"),
    [
        (7, ["Created", "InProgress", "InProgress", "InProgress", "Complete"]),
        (8, ["Created", "InProgress", "InProgress", "InProgress", "Failed"]),
        (9, ["Created", "InProgress", "InProgress", "InProgress", "InProgress"]),
        (11, ["Created", "Pending", "InProgress", "InProgress", "Complete"]),
    ],
)
def test_runs_progress_by_polls(
    emulator: Emulator, client: TrifactaClient, recipe: int, statuses: list[str]
) -> None:
    emulator.change_settings(pace="polls=4")
    identity = client.run_job_group(recipe)["id"]
    assert [client.get_job_group_status(identity) for _ in range(5)] == statuses


def test_runs_progress_by_seconds(emulator: Emulator, client: TrifactaClient) -> None:
    emulator.change_settings(pace="seconds=100")
    job_group = client.get_job_group(client.run_job_group(11)["id"])
    statuses = []
    for _ in range(6):
        statuses.append(client.get_job_group_status(job_group["id"]))
        emulator.clock.advance(25)
    assert statuses == ["Created", "Pending", "InProgress", "InProgress", "Complete", "Complete"]
    jobs = client.get_jobs_for_job_group(job_group["id"])
    assert {job["percentComplete"] for job in jobs} == {100}


def test_a_run_is_looked_at_in_the_moment_it_begins() -> None:
    # Written to the millisecond, this moment is 0.0000003 s later than it is.
    with Emulator(pace="seconds=100", clock=Clock(lambda: 1800000000.0009997)) as running:
        client = _client(running)
        assert client.get_job_group_status(client.run_job_group(7)["id"]) == "Created"


def test_job_groups_are_written_as_ordered(emulator: Emulator, client: TrifactaClient) -> None:
    identity = client.run_job_group(7)["id"]
    (documented,) = client.list_resource("jobLibrary")
    assert (documented["id"], documented["ranfrom"], documented["flowrun"]) == (identity, "api", None)
    emulator.change_settings(field_names="camel", null_references="null-id", ids="string")
    (row,) = client.list_resource("jobLibrary")
    assert (row["id"], row["ranFrom"], row["flowRun"]) == (str(identity), "api", {"id": None})
    assert row["wrangledDataset"] == {"id": "7"}
    assert client.get_resource("jobGroups", identity)["flowRun"] == {"id": None}
    emulator.change_settings(field_names="lower", null_references="absent", references="id-field", ids="number")
    (row,) = client.list_resource("jobGroups")
    assert (row["wrangleddatasetid"], row["creatorid"], row["createdat"]) == (7, 17, documented["createdAt"])
    assert not any(name.startswith("flowrun") for name in row)
    assert (
        client.get_resource("jobGroups", identity, embed="wrangledDataset")["wrangleddataset"]["name"]
        == "Orders clean"
    )
    emulator.change_settings(field_names="documented", references="id", library_recipes=False)
    (row,) = client.list_resource("jobLibrary")
    assert row["creator"] == 17
    assert "wrangledDataset" not in row
    assert client.get_resource("jobGroups", identity)["wrangledDataset"] == 7


def test_the_source_of_a_job_group_has_the_word_that_was_ordered(
    emulator: Emulator, client: TrifactaClient
) -> None:
    for word in ("api", "rest", "null"):
        emulator.change_settings(source_word=word)
        client.run_job_group(7)
    client.run_job_group(7, request_body_extra={"ranfrom": "schedule"})
    assert [row["ranfrom"] for row in client.list_job_library()] == ["api", "rest", None, "schedule"]
    assert len(list(client.list_job_library(ranfrom="api"))) == 1


@pytest.mark.parametrize("setting", ["null_references", "references", "field_names", "ids"])
def test_a_way_to_write_that_is_not_known(emulator: Emulator, setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting}: 'odd' is not one of"):
        emulator.change_settings(**{setting: "odd"})


@pytest.mark.parametrize("pace", ["", "polls", "polls=0", "seconds=-1", "hours=3", "seconds=nan"])
def test_a_pace_that_cannot_be_read(emulator: Emulator, pace: str) -> None:
    with pytest.raises(ValueError, match="pace"):
        emulator.change_settings(pace=pace)


def _control(emulator: Emulator, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        f"{emulator.url}/emulator/{path}",
        json.dumps(body).encode() if body is not None else None,
        {"Authorization": f"Bearer {emulator.token}"},
        method=method,
    )
    with urllib.request.urlopen(request) as response:
        content = response.read()
    return json.loads(content) if content else None


def test_faults_and_settings_over_the_control_route(emulator: Emulator, client: TrifactaClient) -> None:
    _control(
        emulator, "POST", "faults", {"operation": "getCurrentPerson", "kind": "status", "status": 500, "call": 2}
    )
    assert client.get_current_person()["id"] == 17
    with pytest.raises(TrifactaApiError, match="500"):
        client.get_current_person()
    assert client.get_current_person()["id"] == 17
    assert len(_control(emulator, "GET", "faults")["data"]) == 1
    _control(emulator, "DELETE", "faults")
    assert _control(emulator, "GET", "faults")["data"] == []
    _control(emulator, "PATCH", "settings", {"pace": "polls=2"})
    assert client.get_job_group_status(client.run_job_group(7)["id"]) == "Created"
    journal = _control(emulator, "GET", "journal")["data"]
    assert [entry["operation"] for entry in journal][-2:] == ["runJobGroup", "getJobGroupStatus"]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _control(emulator, "POST", "faults", {"operation": "x", "kind": "nonsense"})


@pytest.mark.parametrize("kind", ["expire_token", "delete_token"])
def test_a_token_may_end(emulator: Emulator, client: TrifactaClient, kind: str) -> None:
    emulator.order("getCurrentPerson", kind)
    with pytest.raises(TrifactaUnauthorized):
        client.get_current_person()
    assert _client(emulator, emulator.add_token()).get_current_person()["id"] == 17


def test_tokens_expire(emulator: Emulator) -> None:
    client = _client(emulator, emulator.add_token(lifetime_seconds=60))
    assert client.get_current_person()["id"] == 17
    emulator.clock.advance(61)
    with pytest.raises(TrifactaUnauthorized):
        client.get_current_person()


def test_the_state_may_be_kept_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with Emulator(file=file) as emulator:
        identity = _client(emulator).run_job_group(7)["id"]
        token = emulator.token
    with Emulator(file=file) as emulator:
        assert emulator.token == token
        assert _client(emulator).get_job_group_status(identity) == "Complete"


# ----------------------------------------------------------------------------------------------------- ways to use


def test_the_command_line() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "airflow_provider_trifacta.emulator",
            "--port",
            "0",
            "--pace",
            "at-once",
            "--token",
            "eyJx",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        assert process.stdout.readline().split()[1] == "eyJx"
        with TrifactaClient(ClientSettings(url), "eyJx") as client:
            assert client.get_job_group_status(client.run_job_group(7)["id"]) == "Complete"
    finally:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=10) == 0


def test_the_fixture_sets_a_connection(trifacta_emulator: Emulator) -> None:
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

    assert TrifactaHook().get_current_person()["email"] == "emulator@example.com"
    assert len(trifacta_emulator.journal) == 1


def test_it_imports_nothing_of_the_rest() -> None:
    folder = Path(__file__).parents[2] / "airflow_provider_trifacta"
    emulator = folder / "emulator"
    for file in emulator.rglob("*.py"):
        assert not re.search(r"airflow_provider_trifacta\.(?!emulator)\w", file.read_text()), file
    for file in set(folder.rglob("*.py")) - set(emulator.rglob("*.py")):
        assert "airflow_provider_trifacta.emulator" not in file.read_text(), file
    for file in (folder / "api").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) airflow(\.| )", file.read_text(), re.MULTILINE), file
