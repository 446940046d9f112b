"""What OpenLineage is told of a run."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from kinds import FLOW_RUNS, JOB_GROUPS, KINDS, PLAN_RUNS, Kind
from support import Answer, FakeTaskInstance, ScriptedServer, json_answer, run_deferred

from airflow_provider_trifacta import __version__
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import TrifactaResultsNotSaved, TrifactaRunError, TrifactaSubmitRefused
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.operators.run import RunOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
from airflow_provider_trifacta.sensors.run import RunSensor
from airflow_provider_trifacta.tasks import outcome

pytest.importorskip("airflow.providers.openlineage", reason="OpenLineage is not installed: extra openlineage")

Connect = Callable[..., None]
Row = dict[str, Any]
Name = tuple[str, str]

BUCKET = "s3://example-bucket"
#: The keys of a job group's calls that only lineage needs, and that more than lineage needs.
INPUTS, OUTPUTS = "getJobGroupInputs", "getJobGroupOutputs"


@dataclass
class Told:
    """What OpenLineage was told."""

    inputs: list[Name]
    outputs: list[Name]
    facet: Row
    sql: str | None


@dataclass
class Mode:
    """Whether an operator or a sensor waits, and where."""

    sensor: bool
    deferrable: bool

    def run(self, kind: Kind, emulator: Emulator, **arguments: Any) -> Any:
        """Run a task to its end, and return the operator; its error is its ``failed_with``."""
        if self.sensor:
            options = {f"{kind.name.replace('plan', 'plan_snapshot')}_id": kind.start(emulator)}
            options |= {"poke_interval": 0.02, "timeout": 30}
            task: Any = kind.sensor(task_id="task", deferrable=self.deferrable, **options)
        else:
            options = {**kind.arguments, "poll_interval": 0.02, **arguments}
            task = kind.operator(task_id="task", deferrable=self.deferrable, **options)
        task.failed_with = None
        try:
            run_deferred(task, {"ti": FakeTaskInstance()})
        except TrifactaRunError as error:
            task.failed_with = error
        return task


@pytest.fixture(
    params=[Mode(False, False), Mode(False, True), Mode(True, False), Mode(True, True)],
    ids=["operator-sync", "operator-deferred", "sensor-sync", "sensor-deferred"],
)
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


@pytest.fixture(params=KINDS, ids=repr)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def emulator(emulator: Emulator, connect: Connect) -> Emulator:
    emulator.change_settings(pace="at-once")
    connect(emulator)
    return emulator


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Gives the warnings of operators and sensors; Airflow 3 logs past the standard library."""
    log = logging.getLogger("task")
    for cls in (RunOperator, RunSensor):
        monkeypatch.setattr(cls, "log", log)
    return lambda: [r.getMessage() for r in caplog.records if r.name == "task" and r.levelname == "WARNING"]


def told(task: Any) -> Told:
    """Return what a task tells OpenLineage, as it is sent."""
    from openlineage.client.serde import Serde

    method = task.get_openlineage_facets_on_complete
    if getattr(task, "failed_with", None) is not None:
        method = task.get_openlineage_facets_on_failure
    found = json.loads(Serde.to_json(method(FakeTaskInstance())))
    names = [[(one["namespace"], one["name"]) for one in found[key]] for key in ("inputs", "outputs")]
    assert set(found["job_facets"]) <= {"sql"}
    sql = found["job_facets"].get("sql", {}).get("query")
    return Told(*names, found["run_facets"].get("trifacta_run"), sql)


def counts(**given: int) -> Row:
    return {"sent": 0, "leftOut": 0, "withoutName": 0, "jobGroupsNotRead": 0} | given


def raw(*recipes: int) -> list[Name]:
    return [(BUCKET, f"raw/orders_{recipe}.csv") for recipe in recipes]


def out(*recipes: int) -> list[Name]:
    return [(BUCKET, f"orders/out_{recipe}.csv") for recipe in recipes]


# --------------------------------------------------------------------------------------------------- runs that end


def test_a_complete_run(mode: Mode, kind: Kind, emulator: Emulator) -> None:
    said = told(mode.run(kind, emulator))
    job_groups = [str(row["id"]) for row in emulator.job_groups]
    recipes = () if kind is PLAN_RUNS else kind.recipes
    assert said.inputs == raw(*recipes)
    assert said.outputs == out(*recipes)
    assert said.facet["inputs"] == said.facet["outputs"] == counts(sent=len(recipes))
    # No route leads from a plan run to its job groups.
    assert said.facet["jobGroupIds"] == ([] if kind is PLAN_RUNS else job_groups)
    assert said.facet["jobGroups"] == len(recipes)
    (run,) = kind.ids(emulator)
    assert said.facet["id"] == str(run)
    assert said.facet["kind"] == kind.name.replace("plan", "plan_snapshot")
    assert said.facet["status"] == "Complete"
    assert said.facet["link"].startswith(emulator.url)
    assert said.facet["providerVersion"] == __version__
    assert said.facet["failedJobs"] == []
    assert said.sql is None


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        (
            JOB_GROUPS,
            {
                "recipeId": "7",
                "flowId": "301",
                "subject": 'recipe "Orders clean" (7) of flow "Orders nightly" (301)',
            },
        ),
        (FLOW_RUNS, {"flowId": "302", "subject": 'flow "Customers weekly" (302)'}),
        (PLAN_RUNS, {"planId": "89"}),
    ],
    ids=repr,
)
def test_the_source_of_a_run(mode: Mode, kind: Kind, emulator: Emulator, about: Row) -> None:
    facet = told(mode.run(kind, emulator)).facet
    assert {key: facet.get(key) for key in about} == about
    assert {key for key in ("recipeId", "flowId", "planId") if facet.get(key)} == set(about) - {"subject"}


def test_a_failed_run(mode: Mode, kind: Kind, emulator: Emulator) -> None:
    kind.behave(emulator, "fail-wrangle")
    task = mode.run(kind, emulator)
    assert task.failed_with is not None
    said = told(task)
    recipes = () if kind is PLAN_RUNS else kind.recipes
    assert said.inputs == raw(*recipes)
    assert said.outputs == []
    assert said.facet["status"] == "Failed"
    assert said.facet["jobGroups"] == len(recipes)
    (job,) = said.facet["failedJobs"]
    assert (job["type"], job["status"]) == ("wrangle", "Failed")
    assert "not found" in job["message"]
    # Airflow itself sends the message of the error.
    assert job["message"] in str(task.failed_with)


def test_a_complete_run_whose_results_could_not_be_saved_has_written(emulator: Emulator, tmp_path: Path) -> None:
    emulator.order("getJobGroupPdfResults", "status", status=403)
    task = TrifactaRunJobGroupOperator(
        task_id="task", wrangled_dataset_id=7, profile_pdf_path=tmp_path / "profile.pdf"
    )
    with pytest.raises(TrifactaResultsNotSaved):
        task.execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
    assert told(task).outputs == out(7)


def test_a_task_that_does_not_wait_reports_its_run(emulator: Emulator) -> None:
    task = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, wait_for_completion=False)
    run = task.execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
    said = told(task)
    assert (said.inputs, said.outputs) == (raw(7), [])
    assert (said.facet["id"], said.facet.get("status")) == (str(run), None)


def test_a_task_whose_start_was_refused_has_no_run(emulator: Emulator) -> None:
    task = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=4711)
    with pytest.raises(TrifactaSubmitRefused):
        task.execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
    said = told(task)
    assert (said.inputs, said.outputs, said.facet) == ([], [], None)


# ------------------------------------------------------------------------------------------------------------ cost


def test_the_outputs_are_read_once_and_the_inputs_for_lineage_alone(
    mode: Mode, kind: Kind, emulator: Emulator
) -> None:
    task = mode.run(kind, emulator)
    assert len(emulator.calls(OUTPUTS)) == (1 if kind is JOB_GROUPS else 0)
    assert emulator.calls(INPUTS) == []
    before = len(emulator.app.journal)
    told(task)
    job_groups = 0 if kind is PLAN_RUNS else len(kind.recipes)
    assert len(emulator.calls(INPUTS)) == job_groups
    assert len(emulator.calls(OUTPUTS)) == job_groups
    reads = job_groups if kind is JOB_GROUPS else 2 * job_groups
    assert len(emulator.app.journal) - before == reads
    assert told(task).outputs == out(*kind.recipes) if job_groups else True
    assert len(emulator.calls(OUTPUTS)) == job_groups


def test_saved_outputs_are_those_that_were_read(mode: Mode, emulator: Emulator, tmp_path: Path) -> None:
    if mode.sensor:
        pytest.skip("a sensor saves nothing")
    for kind, reads in ((JOB_GROUPS, 1), (FLOW_RUNS, 2)):
        emulator.app.journal.clear()
        mode.run(kind, emulator, outputs_json_path=tmp_path / f"{kind}.json")
        assert len(emulator.calls(OUTPUTS)) == reads
        saved = json.loads((tmp_path / f"{kind}.json").read_text())
        assert [file["uri"] for file in saved["files"]] == [f"{BUCKET}/{name}" for _, name in out(*kind.recipes)]


def test_outputs_that_the_summary_could_not_read_are_read_again_to_be_saved(
    emulator: Emulator, connect: Connect, tmp_path: Path
) -> None:
    connect(emulator, retry_budget=0)
    emulator.order(OUTPUTS, "status", status=400)
    target = tmp_path / "outputs.json"
    Mode(False, False).run(JOB_GROUPS, emulator, outputs_json_path=target)
    assert len(json.loads(target.read_text())["files"]) == 1
    emulator.order(OUTPUTS, "status", status=400, times=2)
    task = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, outputs_json_path=target)
    with pytest.raises(TrifactaResultsNotSaved, match="400"):
        task.execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]


def test_airflow_is_asked_for_nothing(
    mode: Mode, kind: Kind, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called in a fork of the task, which shares the connection of the task to Airflow."""
    task = mode.run(kind, emulator)
    monkeypatch.delenv("AIRFLOW_CONN_TRIFACTA_DEFAULT")
    monkeypatch.setattr(type(task), "xcom_pull", None, raising=False)
    said = told(task)
    assert said.facet["link"].startswith(emulator.url)
    assert said.outputs == ([] if kind is PLAN_RUNS else out(*kind.recipes))


def test_a_connection_that_could_not_be_read_is_not_asked_for(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_TRIFACTA_DEFAULT")
    task = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7)
    event = {"job_group_id": 5, "outcome": "final", "status": "Complete"}
    task.execute_complete({"ti": FakeTaskInstance()}, event, job_group_id=5)  # type: ignore[typeddict-item]
    monkeypatch.setattr("airflow_provider_trifacta.hooks.trifacta.TrifactaHook.get_connection", None)
    said = told(task)
    assert (said.inputs, said.outputs) == ([], [])
    assert (said.facet["id"], said.facet["status"], said.facet.get("link")) == ("5", "Complete", None)


# ---------------------------------------------------------------------------------------------- tables and queries


def _add(emulator: Emulator, route: str, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {emulator.token}"}
    answer = requests.post(f"{emulator.url}/v4/{route}", json=body, headers=headers, timeout=10)
    answer.raise_for_status()
    return answer.json()["id"]


def _recipe(emulator: Emulator, source: Row, target: Row | None = None) -> int:
    """Add a recipe that reads a database, and publishes to one or writes a file."""
    dataset = _add(emulator, "importedDatasets", name="source", connectionId=1, **source)
    recipe = _add(emulator, "wrangledDatasets", name="loads", importedDataset={"id": dataset}, flow={"id": 301})
    second = _add(emulator, "wrangledDatasets", name="on it", wrangledDataset={"id": recipe}, flow={"id": 301})
    output = _add(emulator, "outputObjects", execution="photon", profiler=False, isAdhoc=True, flowNodeId=second)
    if target is not None:
        _add(emulator, "publications", outputObjectId=output, **target)
    return int(second)


@pytest.mark.parametrize(
    ("vendor", "path", "namespace", "name"),
    [
        ("bigquery", ["sales"], "bigquery", "example-project.sales.orders"),
        ("databricks", ["sales"], "databricks://adb-1234.5.azuredatabricks.net", "main.sales.orders"),
        ("mysql", [], "mysql://mysql.example.com:3306", "analytics.orders"),
        ("oracle", ["SALES"], "oracle://oracle.example.com:1521", "analytics.SALES.orders"),
        ("postgres", ["public"], "postgres://db.example.com:5432", "analytics.public.orders"),
        ("redshift", ["public"], "redshift://example.us-west-2:5439", "analytics.public.orders"),
        ("snowflake", ["SALES"], "snowflake://example-account", "ANALYTICS.SALES.orders"),
        ("sqldatawarehouse", ["dbo"], "sqlserver://example.sql.azuresynapse.net:1433", "dbo.orders"),
        ("sqlserver", ["dbo"], "mssql://sql.example.com:1433", "analytics.dbo.orders"),
        ("salesforce", ["crm"], "salesforce", "crm.orders"),
    ],
)
def test_tables_of_every_vendor(
    emulator: Emulator, vendor: str, path: list[str], namespace: str, name: str
) -> None:
    recipe = _recipe(
        emulator,
        {"jdbcType": vendor, "jdbcPath": path, "jdbcTable": "orders"},
        {"targetType": vendor, "path": path, "tableName": "orders", "action": "truncateAndLoad"},
    )
    task = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=recipe)
    task.execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
    said = told(task)
    assert said.inputs == said.outputs == [(namespace, name)]


def _queried(emulator: Emulator, query: str, vendor: str = "snowflake") -> Told:
    recipe = _recipe(emulator, {"jdbcType": vendor, "raw": query})
    task = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=recipe)
    task.execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
    return told(task)


def test_the_tables_of_a_query(emulator: Emulator, warnings: Callable[[], list[str]]) -> None:
    query = 'with a as (select * from sales.orders) select * from a join sales."Customers" using (id), nowhere'
    said = _queried(emulator, query)
    account = "snowflake://example-account"
    assert sorted(said.inputs) == [(account, "ANALYTICS.SALES.Customers"), (account, "ANALYTICS.SALES.ORDERS")]
    assert said.sql == query
    # In which schema "nowhere" is, nobody told.
    assert said.facet["inputs"] == counts(sent=2, withoutName=1)
    assert warnings() == []


def test_the_parser_is_stopped(
    emulator: Emulator, warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    began = time.monotonic()
    said = _queried(emulator, "select * from s.t")
    assert time.monotonic() - began < 8
    assert (said.inputs, said.sql) == ([], "select * from s.t")
    (line,) = warnings()
    assert line.endswith("ParserFailed: the parser did not end within 2 s")


def test_a_query_that_takes_the_parser_exponential_time_does_not_hold_up_the_task(emulator: Emulator) -> None:
    """Some versions of it take twice as long for each level."""
    began = time.monotonic()
    assert _queried(emulator, "select " + "case when 1 then " * 24).inputs == []
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("query", "inputs", "warned"),
    [
        ("(" * 20_000, [], None),
        ("selec nonsense", [], None),
        ("select * from " + "x" * 100_001, [], "more than 100,000 characters"),
        ("select * from s.t; drop table s.t", [("snowflake://example-account", "ANALYTICS.S.T")], None),
    ],
    ids=["deep", "nonsense", "long", "two"],
)
def test_a_query_that_cannot_be_parsed_costs_its_tables_alone(
    emulator: Emulator,
    warnings: Callable[[], list[str]],
    query: str,
    inputs: list[Name],
    warned: str | None,
) -> None:
    began = time.monotonic()
    said = _queried(emulator, query)
    assert time.monotonic() - began < 8
    assert said.inputs == inputs
    assert said.sql == (query if len(query) <= 20_000 else None)
    assert said.facet["status"] == "Complete"
    assert len(warnings()) == (0 if warned is None else 1)
    for line in warnings():
        assert line.startswith("The tables in the queries that job group ")
        assert line.endswith(str(warned))


# -------------------------------------------------------------------------------------------- answers that are not


def test_inputs_that_are_refused_are_missing_alone(
    mode: Mode, emulator: Emulator, warnings: Callable[[], list[str]]
) -> None:
    emulator.order(INPUTS, "status", status=400, call=None)
    said = told(mode.run(JOB_GROUPS, emulator))
    assert (said.inputs, said.outputs) == ([], out(7))
    assert said.facet["inputs"] == counts(jobGroupsNotRead=1)
    (line,) = warnings()
    assert line.startswith("What job group ")
    assert "400" in line
    assert len(emulator.calls(INPUTS)) == 1


def test_inputs_of_one_job_group_that_are_refused_do_not_cost_those_of_others(
    mode: Mode, emulator: Emulator, warnings: Callable[[], list[str]]
) -> None:
    emulator.order(INPUTS, "status", status=400)
    said = told(mode.run(FLOW_RUNS, emulator))
    assert (said.inputs, said.outputs) == (raw(22), out(21, 22))
    assert said.facet["inputs"] == counts(sent=1, jobGroupsNotRead=1)
    assert len(warnings()) == 1


def test_a_server_that_fails_is_not_asked_again(
    mode: Mode, emulator: Emulator, warnings: Callable[[], list[str]]
) -> None:
    emulator.order(INPUTS, "status", status=503, call=None)
    said = told(mode.run(FLOW_RUNS, emulator))
    assert said.inputs == []
    assert said.facet["inputs"] == counts(jobGroupsNotRead=2)
    assert len(emulator.calls(INPUTS)) == 1
    assert len(warnings()) == 1


def test_a_server_that_does_not_answer_does_not_hold_up_the_task(
    mode: Mode, emulator: Emulator, warnings: Callable[[], list[str]]
) -> None:
    emulator.order(INPUTS, "delay", seconds=30, call=None)
    task = mode.run(FLOW_RUNS, emulator)
    began = time.monotonic()
    said = told(task)
    assert time.monotonic() - began < 8
    assert (said.inputs, said.outputs) == ([], out(21, 22))
    assert len(warnings()) == 1


def test_of_many_job_groups_the_first_are_read(
    mode: Mode, emulator: Emulator, warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "_MOST_READ", 1)
    monkeypatch.setattr("airflow_provider_trifacta.tasks.lineage._MOST_READ", 1)
    said = told(mode.run(FLOW_RUNS, emulator))
    assert (said.inputs, said.outputs) == (raw(21), out(21))
    assert said.facet["inputs"] == said.facet["outputs"] == counts(sent=1, jobGroupsNotRead=1)
    assert said.facet["jobGroups"] == 2
    assert len(warnings()) == 2
    assert all("only those of 1 job groups are read" in line for line in warnings())


@pytest.fixture
def answering(scripted: Callable[[Answer], ScriptedServer], connect: Connect) -> Callable[..., Any]:
    """Run a task on a server whose job group has these inputs and outputs, and return the task."""

    def run(inputs: Any, outputs: Any = None) -> Any:
        answers: Mapping[str, Any] = {
            "/v4/jobGroups/5/status": "Complete",
            "/v4/jobGroups/5/inputs": inputs,
            "/v4/jobGroups/5/outputs": outputs or {"files": [], "tables": []},
            "/v4/jobGroups/5": {"id": 5},
        }
        server = scripted(lambda path: json_answer(answers[path.partition("?")[0]]))
        connect(server.url, retry_budget=0)
        task = TrifactaJobGroupSensor(task_id="task", job_group_id=5)
        task.execute({"ti": FakeTaskInstance()})  # type: ignore[typeddict-item]
        return task

    return run


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        7,
        [],
        {"data": None},
        {"data": [7]},
        {"data": [{"name": "x"}]},
        {"data": [{"name": "x", "inputs": [7, None, {}, {"uri": 7}, {"vendor": []}, {"query": [7]}]}]},
        {"data": [{"name": "x", "inputs": [{"uri": "\ud800\n"}, {"vendor": "x", "relationalPath": {"a": 1}}]}]},
    ],
    ids=lambda inputs: json.dumps(inputs)[:40],
)
def test_odd_inputs(answering: Callable[..., Any], warnings: Callable[[], list[str]], inputs: Any) -> None:
    said = told(answering(inputs))
    assert said.inputs == []
    assert said.facet["status"] == "Complete"
    assert len(warnings()) <= 1


def test_long_lists_are_cut(answering: Callable[..., Any]) -> None:
    files = [{"uri": f"s3://bucket/{number}"} for number in range(10_000)]
    began = time.process_time()
    said = told(answering({"data": [{"name": "x", "inputs": files}]}, {"files": files[:300], "tables": []}))
    assert time.process_time() - began < 5
    assert said.inputs == [("s3://bucket", str(number)) for number in range(200)]
    assert said.facet["inputs"] == counts(sent=200, leftOut=9800)
    assert said.facet["outputs"] == counts(sent=200, leftOut=100)


def test_one_dataset_is_one_however_often_it_is_read(answering: Callable[..., Any]) -> None:
    file = {"uri": "s3://bucket/x"}
    said = told(answering({"data": [{"name": "a", "inputs": [file, file]}, {"name": "b", "inputs": [file]}]}))
    assert said.inputs == [("s3://bucket", "x")]


def test_credentials_stay_where_they_are(answering: Callable[..., Any], warnings: Callable[[], list[str]]) -> None:
    table = {
        "databaseConnectString": "jdbc:postgresql://u5er:s3cret@db/crm?password=s3cret",
        "vendor": "postgres",
        "relationalPath": ["public"],
        "table": "orders",
        "action": "read",
    }
    broken = table | {"databaseConnectString": "jdbc:postgresql://u5er:1/s3cret@db/crm"}
    task = answering({"data": [{"name": "x", "inputs": [table, broken, {"uri": "ftp://u5er:s3cret@host/x"}]}]})
    from openlineage.client.serde import Serde

    sent = Serde.to_json(task.get_openlineage_facets_on_complete(FakeTaskInstance()))
    assert "postgres://db:5432" in sent
    assert "ftp://host" in sent
    assert "s3cret" not in sent + str(warnings())
    assert "u5er" not in sent + str(warnings())


def test_a_fault_of_lineage_is_one_line(
    emulator: Emulator, warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_trifacta.tasks import lineage

    def broken(*_: Any) -> Any:
        raise RuntimeError("it\nbroke")

    task = Mode(False, False).run(JOB_GROUPS, emulator)
    monkeypatch.setattr(lineage, "name_of_file", broken)
    said = told(task)
    assert (said.inputs, said.outputs, said.facet) == ([], [], None)
    (line,) = warnings()
    assert line.startswith("The lineage of job group ")
    assert line.endswith("could not be reported: RuntimeError: it broke")
