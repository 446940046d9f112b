"""The code on the pages about retries, callbacks, mapped tasks and tasks of one's own, run as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from airflow import DAG
from simulated_airflow import let_operators_run_in_this_thread
from support import FakeTaskInstance, ScriptedServer, json_answer, run_deferred

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaApiError,
    TrifactaError,
    TrifactaJobGroupFailed,
    TrifactaRunCanceled,
    TrifactaRunTimeout,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.flow import TrifactaRunFlowOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

DOCS = Path(__file__).parents[2] / "docs"

try:
    import airflow.sdk  # noqa: F401

    IS_AIRFLOW_3 = True
except ImportError:
    IS_AIRFLOW_3 = False


def code(page: str, number: int) -> dict[str, Any]:
    """Run a block of a page, on Airflow 2 with the import that the page has for it, and return its names."""
    text = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)[number]
    if not IS_AIRFLOW_3:
        text = re.sub(r"^from .*# on Airflow 2: (.*)$", r"\1", text, flags=re.MULTILINE)
    names: dict[str, Any] = {"__name__": "dag_file"}
    exec(compile(text, page, "exec"), names)
    return names


def failure(operator: Any) -> TrifactaError:
    let_operators_run_in_this_thread()
    with pytest.raises(TrifactaError) as raised:
        run_deferred(operator, {"ti": FakeTaskInstance()})
    return raised.value


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_a_callback(
    emulator: Emulator,
    connect: Callable[..., None],
    scripted: Callable[..., ScriptedServer],
    monkeypatch: pytest.MonkeyPatch,
    deferrable: bool,
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=1")
    chat = scripted(lambda _: json_answer({}))
    monkeypatch.setenv("AIRFLOW_VAR_CHAT_WEBHOOK", chat.url)
    names = code("callbacks.md", 0)
    options = {"task_id": "orders", "deferrable": deferrable, "poll_interval": 0.01}
    of_recipe = failure(TrifactaRunJobGroupOperator(wrangled_dataset_id=8, **options))
    of_flow = failure(TrifactaRunFlowOperator(flow_id=304, **options))
    refused = failure(TrifactaRunJobGroupOperator(wrangled_dataset_id=4712, **options))
    said = []
    with mock.patch("requests.post", wraps=names["requests"].post) as post:
        for error in (of_recipe, of_flow, refused, "the process was lost", None):
            ti = SimpleNamespace(dag_id="sales", task_id="orders", run_id="of_today")
            names["tell"]({"exception": error, "ti": ti})
            said.append(post.call_args.kwargs["json"]["text"].splitlines())
    assert len(chat.requests) == 5
    assert {text[0] for text in said} == {"sales.orders failed (of_today)"}
    (run,) = [row for row in emulator.job_groups if row["wrangledDataset"]["id"] == 8 and row["flowrun"] is None]
    assert re.fullmatch("- wrangle job [0-9]+ Failed: Column 'order_date' not found in .*", said[0][1])
    assert said[0][2:] == [f"See {emulator.url}/jobs/{run['id']}"]
    assert re.match(r"- Job group [0-9]+ \(recipe .*\): wrangle job [0-9]+ Failed: ", said[1][1])
    assert said[1][-1] == f"See {of_flow.link}"  # type: ignore[attr-defined]
    assert said[2][1].startswith("POST /v4/jobGroups: 404")
    assert said[3:] == [[said[0][0], "the process was lost"], [said[0][0], "None"]]


def test_a_notifier(emulator: Emulator, connect: Callable[..., None]) -> None:
    pytest.importorskip("airflow.providers.smtp.notifications.smtp")
    connect(emulator)
    emulator.change_settings(pace="polls=1")
    recipe = emulator.state.get("wrangledDatasets", 8)
    with mock.patch.dict(recipe, _behaviour="fail-wrangle"):
        error = failure(TrifactaRunJobGroupOperator(task_id="orders", wrangled_dataset_id=8, poll_interval=0.01))
    assert isinstance(error, TrifactaJobGroupFailed)
    mail = code("callbacks.md", 1)["mail"]
    ti = SimpleNamespace(dag_id="sales", task_id="orders")
    with mock.patch.object(type(mail), "notify") as notify:
        mail({"exception": error, "ti": ti, "dag": None})
        assert notify.call_count == 1
        assert mail.subject == "sales.orders failed"
        assert "Column &#39;order_date&#39; not found" in mail.html_content
        assert mail.html_content.count("<li>wrangle job") == 1
        assert f'<a href="{error.link}">' in mail.html_content
        mail = code("callbacks.md", 1)["mail"]
        mail({"exception": "the process was lost", "ti": ti, "dag": None})
        assert mail.html_content == "<p>the process was lost</p><ul></ul>"


def test_tasks_of_ones_own(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=1")
    names = code("taskflow.md", 0)
    run = TrifactaRunJobGroupOperator(task_id="run", wrangled_dataset_id=7, poll_interval=0.01)
    let_operators_run_in_this_thread()
    job_group = run_deferred(run, {"ti": FakeTaskInstance()})
    written = names["files_of"].function(job_group)
    assert written == [file["uri"] for file in TrifactaHook().get_job_group_outputs(job_group)["files"]]
    assert written
    dag = names["orders"]()
    assert set(dag.task_ids) == {"run", "files_of", "load"}
    assert dag.get_task("load").upstream_task_ids == {"files_of"}

    names = code("taskflow.md", 1)
    hook = TrifactaHook()
    for recipe in (8, 8, 10, 7):
        started = hook.run_job_group(recipe)["id"]
        while hook.get_job_group_status(started) not in ("Complete", "Failed"):
            pass
    assert names["failures_by_recipe"].function() == {"8": 2, "10": 1}


def test_retries() -> None:
    pytest.importorskip("airflow_provider_trifacta.retry_policy", reason="Airflow < 3.3", exc_type=ImportError)
    from airflow.sdk import RetryAction

    names = code("retries.md", 0)
    assert names["TrifactaRunJobGroupOperator"]
    policy = code("retries.md", 1)["policy"]
    assert policy.evaluate(TrifactaRunTimeout("late"), 1, 3).action is RetryAction.FAIL
    assert policy.evaluate(ConnectionError("lost"), 1, 3).retry_delay.total_seconds() == 60
    too_many = TrifactaApiError(method="GET", path="/v4/flows", status=429, retry_after=5000.0)
    assert policy.evaluate(too_many, 1, 3).retry_delay.total_seconds() == 900
    mine = code("retries.md", 2)["RetryCanceled"](retry_failed_jobs=False)
    assert mine.evaluate(TrifactaRunCanceled("canceled"), 1, 3).action is RetryAction.RETRY
    assert mine.evaluate(TrifactaRunCanceled("canceled"), 2, 3).action is RetryAction.FAIL
    assert mine.evaluate(TrifactaJobGroupFailed("failed"), 1, 3).action is RetryAction.FAIL


def test_mapped_tasks() -> None:
    for number in (0, 1):
        with DAG("orders", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            code("map.md", number)
        (task,) = dag.tasks
        operator = task.unmap({"wrangled_dataset_id": 4711}) if number else task
        assert task.map_index_template.startswith("{{ task.name_of_item('wrangled_dataset_id', 'run_parameters'")
        assert operator.name_of_item("wrangled_dataset_id", "run_parameters") == "recipe 4711"


def test_a_dag_for_several_versions() -> None:
    by_cause = code("retries.md", 3)["by_cause"]
    operator = TrifactaRunJobGroupOperator(task_id="run", wrangled_dataset_id=7, retries=3, **by_cause)
    assert json.dumps(list(by_cause)) in ("[]", '["retry_policy"]')
    if by_cause:
        assert operator.retry_policy is by_cause["retry_policy"]
