"""A client that a generator made from the contract, against the emulator: written by nobody here."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_trifacta.emulator import Emulator


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("generated")
    contract = resources.files("airflow_provider_trifacta.emulator").joinpath("openapi.json").read_text("utf-8")
    (folder / "openapi.json").write_text(contract)
    (folder / "config.yml").write_text(json.dumps({"post_hooks": [], "package_name_override": "designer_cloud"}))
    subprocess.run(
        [
            *(str(Path(sys.executable).parent / "openapi-python-client"), "generate", "--meta", "none"),
            *("--path", "openapi.json", "--config", "config.yml", "--output-path", "designer_cloud"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    sys.path.insert(0, str(folder))
    yield importlib.import_module("designer_cloud")
    sys.path.remove(str(folder))


def _api(module: str) -> Any:
    return importlib.import_module(f"designer_cloud.api.{module}")


def test_it_runs_a_recipe(package: Any, emulator: Emulator) -> None:
    models = importlib.import_module("designer_cloud.models")
    client = package.AuthenticatedClient(base_url=emulator.url, token=emulator.token)
    request = models.RunJobRequest.from_dict({"wrangledDataset": {"id": 7}})
    started = _api("job_group.run_job_group").sync(client=client, body=request)
    status = _api("job_group.get_job_group_status").sync(started.id, client=client)
    assert status == "Complete"
    jobs = _api("job_group.get_jobs_for_job_group").sync(started.id, client=client)
    assert [job.job_type for job in jobs.data] == ["wrangle", "filewriter", "profile"]
    outputs = _api("job_group.get_job_group_outputs").sync(started.id, client=client)
    assert outputs.files[0].uri == "s3://example-bucket/orders/out_7.csv"
    library = _api("job_group.list_job_library").sync(client=client, limit=10, include_count=True)
    assert library.count == 1
    assert _api("job_group.cancel_job_group").sync(started.id, client=client).jobgroup_id == started.id
    assert _api("person.get_current_person").sync(client=client).email == "emulator@example.com"
    token = _api("api_access_token.create_api_access_token").sync(
        client=client, body=models.ApiAccessTokenCreateRequest(lifetime_seconds=60)
    )
    assert token.token_value.startswith("eyJ")
    missing = _api("job_group.get_job_group").sync_detailed(1, client=client)
    assert missing.status_code == 404
    assert missing.parsed.exception.name == "DataNotFoundException"


def test_it_runs_flows_and_plans(package: Any, emulator: Emulator) -> None:
    models = importlib.import_module("designer_cloud.models")
    client = package.AuthenticatedClient(base_url=emulator.url, token=emulator.token)
    run = _api("flow.run_flow").sync(301, client=client, body=models.FlowRunRequest(wrangled_dataset_ids=[7, 11]))
    assert len(run.data) == 2
    assert _api("flow_run.get_flow_run_status").sync(run.flow_run_id, client=client) == "Complete"
    plan = _api("plan.run_plan").sync(88, client=client, body=models.RunPlanRequest())
    assert plan.validation_status == "Valid"
    snapshot = _api("plan_snapshot_run.get_plan_snapshot_run").sync(plan.plan_snapshot_run_id, client=client)
    assert snapshot.status in ("InProgress", "Failed")
