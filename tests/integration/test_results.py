from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem
from support import run_deferred

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaProfileMissing,
    TrifactaResultsNotSaved,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach  # type: ignore[no-redef]

ARGUMENTS = ("profile_pdf_path", "profile_json_path", "outputs_json_path")


@pytest.fixture
def run(context: dict[str, Any], emulator: Emulator, connect: Callable[..., None]) -> Callable[..., Any]:
    connect(emulator, retry_budget=0)

    def execute(**arguments: Any) -> Any:
        defaults = {"task_id": "task", "wrangled_dataset_id": 7, "poll_interval": 0.05}
        return run_deferred(TrifactaRunJobGroupOperator(**{**defaults, **arguments}), context)

    return execute


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path)
    # Storage in memory stands for S3 and the like: what is written there has no path on this machine.
    attach("memory", fs=MemoryFileSystem())
    return f"memory://{tmp_path.name}"


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if "://" not in path else ObjectStoragePath(path).read_bytes()


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_results_are_brought(run: Any, emulator: Emulator, folder: str, deferrable: bool) -> None:
    names = {name: f"{folder}/results/{name}" for name in ARGUMENTS}
    assert run(deferrable=deferrable, **names) == emulator.job_groups[0]["id"]
    assert _read(names["profile_pdf_path"]).startswith(b"%PDF")
    assert "7" in json.loads(_read(names["profile_json_path"]))
    outputs = json.loads(_read(names["outputs_json_path"]))
    assert outputs["files"][0]["uri"] == "s3://example-bucket/orders/out_7.csv"
    assert outputs["tables"] == []


def test_paths_may_be_objects_and_replace_what_is_there(run: Any, tmp_path: Path) -> None:
    pdf, outputs = tmp_path / "profile.pdf", ObjectStoragePath(f"file://{tmp_path}/outputs.json")
    pdf.write_text("old")
    run(profile_pdf_path=pdf, outputs_json_path=outputs)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert "files" in json.loads((tmp_path / "outputs.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs.json", "profile.pdf"]
    (tmp_path / "usual").touch()
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1, "readable by whoever may read new files"


@pytest.mark.parametrize("name", ["profile_pdf_path", "profile_json_path"])
def test_a_run_without_profiling_says_so(run: Any, emulator: Emulator, tmp_path: Path, name: str) -> None:
    target = tmp_path / "profile"
    assert run(**{name: target, "overrides": {"profiler": False}}) == emulator.job_groups[0]["id"]
    assert not target.exists()
    with pytest.raises(TrifactaProfileMissing, match=r'ran without profiling.*overrides=\{"profiler": True\}'):
        run(**{name: target, "overrides": {"profiler": False}, "profile_required": True})


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("getJobGroupPdfResults", "profile_pdf_path"),
        ("getProfilingInformationForJobGroupConsistent", "profile_json_path"),
        ("getJobGroupOutputs", "outputs_json_path"),
    ],
)
@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "html", "status": 200}])
def test_a_result_that_cannot_be_read_leaves_nothing_behind(
    run: Any, emulator: Emulator, tmp_path: Path, operation: str, name: str, fault: dict[str, Any]
) -> None:
    emulator.order(operation, call=None, **fault)
    with pytest.raises(TrifactaResultsNotSaved, match=r"is Complete, but its .* starts no new job group"):
        run(**{name: tmp_path / "result"})
    assert list(tmp_path.iterdir()) == []
    assert len(emulator.job_groups) == 1


def test_an_answer_that_is_cut_leaves_nothing_behind(run: Any, emulator: Emulator, tmp_path: Path) -> None:
    emulator.order("getJobGroupPdfResults", "cut", call=None)
    with pytest.raises(TrifactaResultsNotSaved):
        run(profile_pdf_path=tmp_path / "profile.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrifactaResultsNotSaved, match=r"could not be brought to .*file/profile\.pdf"):
        run(profile_pdf_path=tmp_path / "file" / "profile.pdf")


@pytest.mark.parametrize("bad", [7, True, " ", "gopher://bucket/x"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_path_that_cannot_be_used_starts_nothing(run: Any, emulator: Emulator, name: str, bad: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match=name):
        run(**{name: bad})
    assert emulator.journal == []


@pytest.mark.parametrize("name", ARGUMENTS)
def test_nothing_can_be_brought_without_waiting(name: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=f"{name}.*wait_for_completion=True"):
        TrifactaRunJobGroupOperator(
            task_id="task", wrangled_dataset_id=7, wait_for_completion=False, **{name: "/tmp/x"}
        )


def test_paths_are_templated() -> None:
    operator = TrifactaRunJobGroupOperator(
        task_id="task", wrangled_dataset_id=7, **dict.fromkeys(ARGUMENTS, "s3://bucket/{{ ds }}")
    )
    operator.render_template_fields({"ds": "2024-03-01"})  # type: ignore[typeddict-item]
    assert {getattr(operator, name) for name in ARGUMENTS} == {"s3://bucket/2024-03-01"}


def test_the_hook_brings_the_pdf_anywhere(emulator: Emulator, run: Any, folder: str) -> None:
    identity = run()
    target = TrifactaHook().get_job_group_pdf_results(identity, f"{folder}/profile.pdf")
    assert str(target).endswith("/profile.pdf")
    assert _read(f"{folder}/profile.pdf").startswith(b"%PDF")
