"""Google's Dataprep hook against the emulator, unchanged; and that its defects are not ours."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tenacity
from support import EmulatorClock

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

FOLDER = os.environ.get("GOOGLE_PROVIDER", "")


@pytest.fixture
def dataprep(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    if not FOLDER:
        pytest.skip("GOOGLE_PROVIDER does not name the folder of the package (make test does)")
    pytest.importorskip(
        "airflow.providers.common.compat.sdk",
        reason="this Airflow's constraints are too old for Google's provider",
    )
    # By its file, so that Airflow does not meet a provider without its dependencies.
    file = Path(FOLDER) / "airflow/providers/google/cloud/hooks/dataprep.py"
    spec = importlib.util.spec_from_file_location("google_dataprep_hook", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("run_job_group", "get_jobs_for_job_group"):
        monkeypatch.setattr(getattr(module.GoogleDataprepHook, name).retry, "sleep", lambda _: None)
    extra = {"token": emulator.token, "base_url": emulator.url}
    monkeypatch.setenv("AIRFLOW_CONN_DATAPREP", json.dumps({"conn_type": "dataprep", "extra": extra}))
    return module.GoogleDataprepHook("dataprep")


def test_it_works_unchanged(dataprep: Any, emulator: Emulator) -> None:
    identity = dataprep.run_job_group({"wrangledDataset": {"id": 7}})["id"]
    assert dataprep.get_job_group_status(job_group_id=identity) == "Complete"
    assert len(dataprep.get_jobs_for_job_group(identity)["data"]) == 3
    assert dataprep.get_job_group(identity, "jobs", False)["jobs"]["data"]
    flow = dataprep.create_flow(body_request={"name": "mine"})
    dataset = dataprep.create_imported_dataset(body_request={"name": "raw", "uri": "s3://b/raw.csv"})
    recipe = dataprep.create_wrangled_dataset(
        body_request={
            "name": "clean",
            "importedDataset": {"id": dataset["id"]},
            "flow": {"id": flow["id"]},
        }
    )
    output = dataprep.create_output_object(
        body_request={"execution": "photon", "profiler": False, "flowNodeId": recipe["id"]}
    )
    dataprep.create_write_settings(
        body_request={"path": "s3://b/o.csv", "action": "create", "format": "csv", "outputObjectId": output["id"]}
    )
    run = dataprep.run_flow(flow_id=flow["id"], body_request={})
    assert len(run["data"]) == 1
    assert dataprep.copy_flow(flow_id=flow["id"], name="copy")["name"] == "copy"
    dataprep.delete_imported_dataset(dataset_id=dataset["id"])
    dataprep.delete_flow(flow_id=flow["id"])


@pytest.fixture
def hook(emulator: Emulator, connect: Callable[..., None]) -> TrifactaHook:
    connect(emulator)
    return TrifactaHook(retry_budget=1)


@pytest.mark.parametrize(
    ("fault", "started_there"),
    [
        ({"kind": "reset", "times": 1}, 2),
        ({"kind": "status", "status": 504, "times": 3}, 4),
        ({"kind": "html", "status": 502, "call": None}, 5),
    ],
    ids=["lost-once", "504-three-times", "502-every-time"],
)
def test_a_lost_answer_starts_several_there_and_one_here(
    dataprep: Any, connect: Callable[..., None], emulator: Emulator, fault: dict[str, Any], started_there: int
) -> None:
    emulator.order("runJobGroup", after=True, **fault)
    with contextlib.suppress(tenacity.RetryError):
        dataprep.run_job_group({"wrangledDataset": {"id": 7}})
    assert len(emulator.job_groups) == started_there
    emulator.clear_faults()
    emulator.clock.advance(60)
    connect(emulator)
    emulator.order("runJobGroup", after=True, **fault)
    submission = TrifactaHook(clock=EmulatorClock(emulator)).submit_job_group(7)
    assert len(emulator.job_groups) == started_there + 1
    assert (submission.run_id, submission.outcome) == (emulator.job_groups[-1]["id"], "adopted")


@pytest.mark.parametrize("status", [400, 401])
def test_a_refusal_is_sent_five_times_and_hidden_there(
    dataprep: Any, hook: TrifactaHook, emulator: Emulator, status: int
) -> None:
    emulator.order("runJobGroup", "status", status=status, call=None)
    with pytest.raises(tenacity.RetryError):
        dataprep.run_job_group({"wrangledDataset": {"id": 7}})
    assert len(emulator.calls("runJobGroup")) == 5
    with pytest.raises(Exception, match=rf"{status} \w+: Injected fault: {status}"):
        hook.run_job_group(7)
    assert len(emulator.calls("runJobGroup")) == 6


def test_every_call_is_a_connection_there_and_one_is_kept_here(
    dataprep: Any, hook: TrifactaHook, emulator: Emulator
) -> None:
    identity = hook.run_job_group(7)["id"]
    before = emulator.connections
    for _ in range(10):
        dataprep.get_job_group_status(job_group_id=identity)
    assert emulator.connections == before + 10
    for _ in range(10):
        hook.get_job_group_status(identity)
    assert emulator.connections == before + 10


def test_booleans_are_python_there(dataprep: Any, hook: TrifactaHook, emulator: Emulator) -> None:
    identity = hook.run_job_group(7)["id"]
    dataprep.get_job_group(identity, "jobs", True)
    assert emulator.journal[-1].query["includeDeleted"] == "True"
    hook.get_job_group(identity, include_deleted=True)
    assert emulator.journal[-1].query["includeDeleted"] == "true"


def test_a_path_prefix_is_dropped_there(
    dataprep: Any, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(prefix="/designer") as emulator:
        monkeypatch.setattr(dataprep, "_base_url", emulator.url)
        with pytest.raises(tenacity.RetryError):
            dataprep.get_jobs_for_job_group(1)
        connect(emulator)
        assert TrifactaHook().get_current_person()["id"] == 17
