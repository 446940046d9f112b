"""What an editor and a type checker see of the package."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import textwrap
import typing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

import airflow_provider_trifacta
from airflow_provider_trifacta.api import answers, operations
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.access_token import (
    TrifactaRefreshOAuthTokenOperator,
    TrifactaRotateApiAccessTokenOperator,
)
from airflow_provider_trifacta.operators.flow import (
    TrifactaCopyFlowOperator,
    TrifactaDeleteFlowOperator,
    TrifactaRunFlowOperator,
)
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator
from airflow_provider_trifacta.sensors.flow import TrifactaFlowRunSensor
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
from airflow_provider_trifacta.sensors.plan import TrifactaPlanRunSensor

DAG = """
    from __future__ import annotations

    from datetime import datetime, timedelta

    from airflow import DAG
    from airflow_provider_trifacta.api.statuses import RunStatus
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.operators.access_token import (
        TrifactaRefreshOAuthTokenOperator,
        TrifactaRotateApiAccessTokenOperator,
    )
    from airflow_provider_trifacta.operators.flow import (
        TrifactaCopyFlowOperator,
        TrifactaDeleteFlowOperator,
        TrifactaRunFlowOperator,
    )
    from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
    from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator
    from airflow_provider_trifacta.sensors.flow import TrifactaFlowRunSensor
    from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
    from airflow_provider_trifacta.sensors.plan import TrifactaPlanRunSensor


    def report() -> list[str]:
        hook = TrifactaHook("mine")
        files = [file["uri"] for file in hook.get_job_group_outputs(90210)["files"]]
        running = hook.list_job_library(status=RunStatus.IN_PROGRESS.value, ranfrom="api")
        return files + [job_group["createdAt"] for job_group in running]


    with DAG(dag_id="mine", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
        start = TrifactaRunJobGroupOperator(
            task_id="start",
            wrangled_dataset_id=7,
            run_parameters={"region": "emea", "limit": 5},
            overrides={"profiler": True},
            wait_for_completion=False,
        )
        wait = TrifactaJobGroupSensor(task_id="wait", job_group_id="{{ ti.xcom_pull('start') }}", deferrable=True)
        rotate = TrifactaRotateApiAccessTokenOperator(
            task_id="rotate", lifetime_seconds=86400, keep_previous_for=timedelta(hours=6)
        )
        refresh = TrifactaRefreshOAuthTokenOperator(task_id="refresh", take_over_after=timedelta(seconds=30))
        start >> wait >> rotate >> refresh
        copy = TrifactaCopyFlowOperator(task_id="copy", flow_id=301, name="copy {{ run_id }}", description="mine")
        run = TrifactaRunFlowOperator(
            task_id="run",
            flow_id="{{ ti.xcom_pull('copy') }}",
            wrangled_dataset_ids=[7, "8"],
            run_parameters={"region": "emea", "limit": 5},
            overrides={"Orders clean": {"profiler": True}},
            outputs_json_path="/data/outputs.json",
            wait_for_completion=True,
        )
        ran = TrifactaFlowRunSensor(task_id="ran", flow_run_id="{{ ti.xcom_pull('run') }}", mode="reschedule")
        delete = TrifactaDeleteFlowOperator(task_id="delete", flow_id="{{ ti.xcom_pull('copy') }}")
        copy >> run >> ran >> delete
        plan = TrifactaRunPlanOperator(
            task_id="plan", plan_id=88, run_parameters={"flow-1": {"limit": 5, "full": True}}, deferrable=True
        )
        planned = TrifactaPlanRunSensor(task_id="planned", plan_snapshot_run_id="{{ ti.xcom_pull('plan') }}")
        plan >> planned
        many = TrifactaRunJobGroupOperator.partial(task_id="many").expand(wrangled_dataset_id=[7, 8])
"""

MISTAKES = """
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
    from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator

    hook = TrifactaHook()
    number: int = hook.get_job_group_status(90210)
    hook.list_job_library(ranfrom="api", filter_type="exakt")
    hook.get_job_group_outputs(90210)["filez"]
    TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, deferrable="yes")
    TrifactaRunPlanOperator(task_id="plan", plan_id=88, run_parameters={"region": "emea"})
"""


ROOT = Path(airflow_provider_trifacta.__file__).parents[1]
#: The code on these pages, which is for Airflow 3.3 and later.
SHOWN = [
    code
    for page in ("retries", "callbacks", "taskflow", "map")
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL)
    if Version(version("apache-airflow")) >= Version("3.3")
]


def _mypy(folder: Path, *sources: str) -> list[str]:
    """Check several files at once, since most of the time is for what they import."""
    files = [folder / f"dag_{number}.py" for number in range(len(sources))]
    for file, source in zip(files, sources, strict=True):
        file.write_text(textwrap.dedent(source))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports=silent",
            "--cache-dir",
            folder / "cache",
            *files,
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"MYPYPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert not done.stderr
    return [line.partition(": error: ")[2] for line in done.stdout.splitlines() if ": error: " in line]


def test_a_dag_that_uses_everything_and_what_the_pages_show_pass_strict_checks(tmp_path: Path) -> None:
    assert _mypy(tmp_path, DAG, *SHOWN) == []


def test_mistakes_are_found(tmp_path: Path) -> None:
    found = "\n".join(_mypy(tmp_path, MISTAKES))
    for said in (
        'has type "str", variable has type "int"',
        "filter_type",
        '"filez" is not a valid TypedDict key',
        "deferrable",
        'Dict entry 0 has incompatible type "str": "str"',
    ):
        assert said in found


@pytest.mark.parametrize(
    "cls",
    [
        TrifactaRunJobGroupOperator,
        TrifactaJobGroupSensor,
        TrifactaRunFlowOperator,
        TrifactaFlowRunSensor,
        TrifactaCopyFlowOperator,
        TrifactaDeleteFlowOperator,
        TrifactaRunPlanOperator,
        TrifactaPlanRunSensor,
        TrifactaRotateApiAccessTokenOperator,
        TrifactaRefreshOAuthTokenOperator,
        TrifactaHook,
    ],
)
def test_every_argument_has_a_type_and_is_explained(cls: Any) -> None:
    parameters = inspect.signature(cls.__init__).parameters
    for name, parameter in parameters.items():
        if name not in ("self", "kwargs"):
            assert parameter.annotation is not inspect.Parameter.empty
            assert parameter.annotation != "Any"
            assert f":param {name}:" in cls.__doc__ or name == "clock"


def test_operations_explain_themselves_as_methods_too() -> None:
    hook = TrifactaHook()
    for name in ("run_job_group", "get_job_group_status", "list_job_library"):
        method = getattr(hook, name)
        assert method.__doc__ == getattr(operations, name).__doc__
        assert inspect.signature(method) == inspect.signature(getattr(operations, name))


@pytest.mark.parametrize(
    ("typed", "schema"),
    [
        (answers.Job, "Job"),
        (answers.JobGroup, "JobGroup"),
        (answers.StartedJobGroup, "RunJobResult"),
        (answers.CanceledJobGroup, "JobGroupCancelInformation"),
        (answers.StartedFlowRun, "RunFlowResult"),
        (answers.FlowRun, "FlowRun"),
        (answers.Flow, "Flow"),
        (answers.StartedPlanRun, "RunPlanResponse"),
        (answers.PlanSnapshotRun, "PlanSnapshotRun"),
        (answers.Plan, "Plan"),
        (answers.OutputFile, "OutputFile"),
        (answers.Table, "IoTable"),
        (answers.JobGroupOutputs, "JobGroupOutputs"),
        (answers.Publication, "Publication"),
        (answers.ApiAccessToken, "ApiAccessToken"),
        (answers.CreatedApiAccessToken, "ApiAccessTokenCreateResponse"),
        (answers.Person, "Person"),
    ],
)
def test_typed_answers_have_the_keys_of_the_contract(typed: Any, schema: str) -> None:
    contract = Path(airflow_provider_trifacta.__file__).parent / "emulator" / "openapi.json"
    properties = json.loads(contract.read_text())["components"]["schemas"][schema]["properties"]
    assert set(typing.get_type_hints(typed)) <= set(properties)


@pytest.mark.parametrize(("literal", "schema"), [(answers.RanFrom, "RanFrom"), (answers.RanFor, "RanFor")])
def test_closed_sets_are_those_of_the_contract(literal: Any, schema: str) -> None:
    contract = Path(airflow_provider_trifacta.__file__).parent / "emulator" / "openapi.json"
    assert (
        list(typing.get_args(literal)) == json.loads(contract.read_text())["components"]["schemas"][schema]["enum"]
    )
