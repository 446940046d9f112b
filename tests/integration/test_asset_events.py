"""What a task tells Airflow of its run and of what it wrote: events of assets, which other DAGs start from."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kinds import FLOW_RUNS, JOB_GROUPS, KINDS, Kind
from support import Answer, FakeTaskInstance, ScriptedServer, json_answer, run_deferred

from airflow_provider_trifacta.airflow_support.compat import Asset, AssetAlias
from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import TrifactaConfigurationError
from airflow_provider_trifacta.operators.flow import TrifactaRunFlowOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor

try:
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.context import OutletEventAccessors
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.utils.context import OutletEventAccessors

Connect = Callable[..., None]
Task = Callable[..., tuple[Any, list["Event"]]]

#: A recipe that writes a file and a table.
PUBLISHES = 10
FILE = "s3://example-bucket/orders/out_10.csv"
TABLE = "postgres://db.example.com:5432/analytics/analytics/orders"
ALIAS = "sales/task"
REPORT = "s3://example-bucket/report"

#: An asset event as Airflow stores it: URI, extra, the alias that it came through.
Event = tuple[str, dict[str, Any], str | None]

on_airflow_3 = pytest.mark.skipif(tasks_use_the_database(), reason="assets of Airflow 3")


def _events(context: dict[str, Any], outlets: list[Any]) -> list[Event]:
    """Return the events that this Airflow stores when the task succeeds.

    Like Airflow, this sends them as JSON, and hashes or sorts what came through an alias.
    """
    events: list[Event] = []
    accessors = context["outlet_events"]
    for outlet in outlets:
        accessor = accessors[outlet]
        if isinstance(outlet, AssetAlias):
            added = getattr(accessor, "asset_alias_events", None) or getattr(accessor, "dataset_alias_events", [])
            for event in added:
                uri = event["dest_dataset_uri"] if isinstance(event, dict) else event.dest_asset_key.uri
                extra = event["extra"] if isinstance(event, dict) else event.extra
                assert frozenset(extra.items())
                events.append((uri, extra, outlet.name))
        else:
            events.append((outlet.uri, accessor.extra, None))
    assert json.loads(json.dumps(events).encode()) == [list(event) for event in events]
    return events


@pytest.fixture(scope="session")
def store_alias() -> Iterator[Callable[[str], None]]:
    """Store an alias as the DAG processor does, where tasks look for it: in the database of Airflow 2."""
    if not tasks_use_the_database():
        yield lambda name: None
        return
    from airflow import settings
    from airflow.models.dataset import DatasetAliasModel
    from airflow.utils.session import create_session

    DatasetAliasModel.__table__.create(settings.engine, checkfirst=True)

    def store(name: str) -> None:
        with create_session() as session:
            if not session.query(DatasetAliasModel).filter(DatasetAliasModel.name == name).count():
                session.add(DatasetAliasModel(name=name))

    yield store
    DatasetAliasModel.__table__.drop(settings.engine)


@pytest.fixture(params=[False, True], ids=["sync", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Gives the warnings of tasks; Airflow 3 logs past the standard library."""
    return lambda: [r.getMessage() for r in caplog.records if r.name == "task" and r.levelname == "WARNING"]


@pytest.fixture
def task(deferrable: bool, store_alias: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Task:
    """Run a task of a DAG, and return what it returned and the events that Airflow then stores."""

    def run(operator: Any = TrifactaRunJobGroupOperator, **arguments: Any) -> tuple[Any, list[Event]]:
        monkeypatch.setattr(operator, "log", logging.getLogger("task"))
        with DAG("sales", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)):
            built = operator(**{"task_id": "task", "poll_interval": 0.02, "deferrable": deferrable, **arguments})
        for outlet in built.outlets:
            if isinstance(outlet, AssetAlias):
                store_alias(outlet.name)
        context = {"ti": FakeTaskInstance(), "outlet_events": OutletEventAccessors()}
        returned = run_deferred(built, context)
        return returned, _events(context, built.outlets)

    return run


@pytest.fixture
def server(emulator: Emulator, connect: Connect) -> Emulator:
    connect(emulator)
    emulator.change_settings(pace="polls=1")
    emulator.state.get("wrangledDatasets", PUBLISHES)["_behaviour"] = "complete"
    return emulator


@pytest.fixture
def wrote(scripted: Callable[[Answer], ScriptedServer], connect: Connect) -> Callable[..., ScriptedServer]:
    """Start a server whose job group is Complete and has given outputs."""

    def start(outputs: Any, status: int = 200) -> ScriptedServer:
        answers: dict[str, Any] = {
            "/v4/jobGroups": {"id": 5},
            "/v4/jobGroups/5/status": "Complete",
            "/v4/jobGroups/5": {"id": 5},
            "/v4/apiAccessTokens": {"data": []},
        }

        def answer(path: str) -> tuple[int, dict[str, str], bytes]:
            if path == "/v4/jobGroups/5/outputs":
                return json_answer(outputs, status)
            return json_answer(answers[path.partition("?")[0]])

        running = scripted(answer)
        connect(running.url, retry_budget=0)
        return running

    return start


# --------------------------------------------------------------------------------------------- events of outlets


def test_the_event_of_an_outlet_tells_of_the_run_and_what_it_wrote(task: Task, server: Emulator) -> None:
    job_group, events = task(wrangled_dataset_id=PUBLISHES, outlets=[Asset(REPORT)])
    table = {"vendor": "postgres", "table": "analytics.analytics.orders", "uri": TABLE}
    extra = {
        "kind": "job_group",
        "id": job_group,
        "status": "Complete",
        "link": f"{server.url}/jobs/{job_group}",
        "outputs_known": True,
        "files": [FILE],
        "file_count": 1,
        "tables": [table],
        "table_count": 1,
    }
    assert events == [(REPORT, extra, None)]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_every_kind_of_run_is_in_the_event(task: Task, server: Emulator, kind: Kind) -> None:
    run_id, ((_, extra, _),) = task(kind.operator, **kind.arguments, outlets=[Asset(REPORT)])
    assert (extra["id"], extra["status"]) == (run_id, "Complete")
    assert extra["kind"] + "_id" == kind.xcom
    assert extra["link"].startswith(server.url)
    if kind.name == "plan_run":  # the API does not report what it wrote
        assert extra["outputs_known"] is False
        assert "files" not in extra
    else:
        assert extra["outputs_known"] is True
        assert extra["file_count"] == len(extra["files"]) == len(kind.recipes)


def test_the_event_of_a_sensor_tells_of_the_run_it_waited_for(
    server: Emulator, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_group = JOB_GROUPS.start(server)
    context = {"ti": FakeTaskInstance(), "outlet_events": OutletEventAccessors()}
    asset = Asset(REPORT)
    sensor = TrifactaJobGroupSensor(
        task_id="task", job_group_id=job_group, poke_interval=0.02, deferrable=deferrable, outlets=[asset]
    )
    run_deferred(sensor, context)
    ((_, extra, _),) = _events(context, [asset])
    assert (extra["id"], extra["status"], extra["file_count"]) == (job_group, "Complete", 1)


def test_a_task_that_does_not_wait_tells_which_run_it_started(task: Task, server: Emulator) -> None:
    job_group, ((_, extra, _),) = task(wrangled_dataset_id=7, wait_for_completion=False, outlets=[Asset(REPORT)])
    link = f"{server.url}/jobs/{job_group}"
    assert extra == {"kind": "job_group", "id": job_group, "status": None, "link": link}


def test_what_a_user_puts_into_the_extra_stays(server: Emulator) -> None:
    class Mine(TrifactaRunJobGroupOperator):
        def execute(self, context: Any) -> Any:
            context["outlet_events"][self.outlets[0]].extra["mine"] = 1
            return super().execute(context)

    context = {"ti": FakeTaskInstance(), "outlet_events": OutletEventAccessors()}
    operator = Mine(task_id="task", wrangled_dataset_id=7, poll_interval=0.02, outlets=[Asset(REPORT)])
    run_deferred(operator, context)
    assert {"mine", "kind"} <= set(context["outlet_events"][operator.outlets[0]].extra)


def test_hundreds_of_outputs_are_counted_and_the_first_are_listed(task: Task, wrote: Any) -> None:
    files = [{"uri": f"s3://b/part-{number:05}.csv"} for number in range(700)]
    tables = [{"vendor": "oracle", "relationalPath": ["ä" * 300], "table": "T" * 300} for _ in range(300)]
    wrote({"files": files, "tables": tables})
    _, ((_, extra, _),) = task(wrangled_dataset_id=7, outlets=[Asset(REPORT)])
    assert (extra["file_count"], extra["table_count"]) == (700, 300)
    assert extra["files"] == [f"s3://b/part-{number:05}.csv" for number in range(20)]
    assert 0 < len(extra["tables"]) < 20
    assert len(json.dumps(extra)) < 20_000


# ------------------------------------------------------------------------------------ events of what a run wrote


def test_each_file_and_table_gets_an_event(task: Task, server: Emulator, warnings: Any) -> None:
    job_group, events = task(wrangled_dataset_id=PUBLISHES, emit_output_assets=True)
    run = {
        "kind": "job_group",
        "id": job_group,
        "status": "Complete",
        "link": f"{server.url}/jobs/{job_group}",
    }
    assert events == [
        (FILE, run | {"file": FILE}, ALIAS),
        (TABLE, run | {"vendor": "postgres", "table": "analytics.analytics.orders"}, ALIAS),
    ]
    assert warnings() == []


def test_a_flow_run_emits_what_each_of_its_job_groups_wrote(task: Task, server: Emulator) -> None:
    flow_run, events = task(TrifactaRunFlowOperator, flow_id=302, emit_output_assets=True)
    assert [uri for uri, _, _ in events] == [
        f"s3://example-bucket/orders/out_{recipe}.csv" for recipe in FLOW_RUNS.recipes
    ]
    assert {(extra["kind"], extra["id"], alias) for _, extra, alias in events} == {("flow_run", flow_run, ALIAS)}


def test_events_go_through_the_aliases_that_a_user_gives(task: Task, server: Emulator) -> None:
    outlets = [AssetAlias("orders"), Asset(REPORT), AssetAlias("everything")]
    _, events = task(wrangled_dataset_id=7, emit_output_assets=True, outlets=outlets)
    uri = "s3://example-bucket/orders/out_7.csv"
    assert [(uri, alias) for uri, _, alias in events] == [(uri, "orders"), (REPORT, None), (uri, "everything")]


def _emit_through(outlets: list[Any]) -> dict[str, Any]:
    """Run a recipe in a deferred task; return its context."""
    context = {"ti": FakeTaskInstance(), "outlet_events": OutletEventAccessors()}
    operator = TrifactaRunJobGroupOperator(
        task_id="task", wrangled_dataset_id=7, poll_interval=0.02, emit_output_assets=True, outlets=outlets
    )
    run_deferred(operator, context)
    return context


@on_airflow_3
def test_an_output_that_is_an_outlet_is_that_asset(task: Task, server: Emulator) -> None:
    asset = Asset(name="orders", uri="s3://example-bucket/orders/out_7.csv")
    context = _emit_through([asset, AssetAlias("orders")])
    (event,) = context["outlet_events"][AssetAlias("orders")].asset_alias_events
    assert event.dest_asset_key.name == "orders"


def test_one_output_that_is_listed_twice_gets_one_event(task: Task, wrote: Any) -> None:
    wrote({"files": [{"uri": "s3a://b/x.csv"}, {"uri": "s3://b/x.csv"}], "tables": []})
    _, events = task(wrangled_dataset_id=7, emit_output_assets=True)
    assert [uri for uri, _, _ in events] == ["s3://b/x.csv"]


def test_what_has_no_asset_name_is_logged_once(task: Task, wrote: Any, warnings: Any) -> None:
    nameless = [{"uri": f"/queryResults/part-{number}"} for number in range(7)]
    wrote({"files": [{"uri": "gs://b/x.csv"}, *nameless], "tables": [{"vendor": "filemaker", "table": "orders"}]})
    _, events = task(wrangled_dataset_id=7, emit_output_assets=True)
    assert [uri for uri, _, _ in events] == ["gs://b/x.csv"]
    (line,) = warnings()
    first = ", ".join(f"/queryResults/part-{number}" for number in range(5))
    assert line == f"No asset event for what has no asset name (8): {first} and 3 more"


@pytest.mark.parametrize(("number", "left_out"), [(250, 200), (3000, 2950)])
def test_not_every_one_of_hundreds_gets_an_event(
    task: Task, wrote: Any, warnings: Any, number: int, left_out: int
) -> None:
    wrote({"files": [{"uri": f"s3://b/part-{part}.csv"} for part in range(number)], "tables": []})
    _, events = task(wrangled_dataset_id=7, emit_output_assets=True)
    assert [uri for uri, _, _ in events] == [f"s3://b/part-{part}.csv" for part in range(50)]
    assert warnings() == [f"Job group 5 wrote too much for an event each: {left_out} more get none"]


def test_no_credential_gets_into_an_event_or_the_log(
    task: Task, wrote: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tables = [
        {"vendor": vendor, "databaseConnectString": text, "relationalPath": ["public"], "table": "orders"}
        for vendor, text in (
            ("postgres", "jdbc:postgresql://me:hunter2@db.example.com:5432/crm?user=me&password=hunter2"),
            ("sqlserver", "jdbc:sqlserver://db.example.com;user=me;password={hunter2};databaseName=crm"),
            ("mysql", "jdbc:mysql://me:hunter2@db.example.com/crm"),
            ("oracle", "jdbc:oracle:thin:me/hunter2@db.example.com:1521:crm"),
            ("snowflake", "jdbc:snowflake://acme.snowflakecomputing.com/?user=me&password=hunter2&db=CRM"),
            ("hunter", "jdbc:odd:hunter2"),
        )
    ]
    files = [
        {"uri": uri}
        for uri in (
            "s3://AKIA:hunter2@bucket/x.csv",
            "https://acme.blob.core.windows.net/c/x.csv?sig=hunter2",
            "https://me:hunter2@/odd?sig=hunter2",
            "me:hunter2@nowhere/x?sig=hunter2",
        )
    ]
    wrote({"files": files, "tables": tables})
    with caplog.at_level(logging.INFO):
        _, events = task(
            wrangled_dataset_id=7, emit_output_assets=True, outlets=[Asset(REPORT), AssetAlias(ALIAS)]
        )
    assert {uri for uri, _, _ in events} >= {
        "s3://bucket/x.csv",
        "postgres://db.example.com:5432/crm/public/orders",
    }
    assert "hunter2" not in json.dumps(events)
    logged = [record.getMessage() for record in caplog.records if record.name == "task"]
    about_events = [line for line in logged if "sset event" in line]
    assert len(about_events) == 2
    assert "hunter2" not in " ".join(about_events)


# ------------------------------------------------------------------------------------------- nothing ends a task


@pytest.mark.parametrize(
    ("outputs", "status"),
    [({"files": 7, "tables": []}, 200), ([], 200), (None, 200), ({}, 400), ({}, 500)],
    ids=repr,
)
def test_outputs_that_cannot_be_read_are_missing_alone(
    task: Task, wrote: Any, warnings: Any, outputs: Any, status: int
) -> None:
    running = wrote(outputs, status)
    returned, events = task(
        wrangled_dataset_id=7, emit_output_assets=True, outlets=[Asset(REPORT), AssetAlias(ALIAS)]
    )
    assert returned == 5
    ((_, extra, _),) = events
    assert extra["outputs_known"] is False
    assert "files" not in extra
    summary, events_of_outputs = warnings()
    assert summary.startswith("The summary of job group 5 could not be read: ")
    assert events_of_outputs == "What job group 5 wrote gets no asset events, since it is not known"
    assert len([r for r in running.requests if r.endswith("/outputs")]) == 1


def test_a_part_of_a_flow_run_that_cannot_be_read_is_missing_alone(
    task: Task, server: Emulator, warnings: Any
) -> None:
    server.order("getJobGroupOutputs", "status", status=400)
    flow_run, events = task(
        TrifactaRunFlowOperator,
        flow_id=302,
        emit_output_assets=True,
        outlets=[Asset(REPORT), AssetAlias(ALIAS)],
    )
    (_, extra, _), (uri, _, alias) = events
    assert (extra["outputs_known"], extra["files"]) == (False, [uri])
    assert alias == ALIAS
    (line,) = warnings()
    assert line.startswith(f"What 1 of its 2 job groups of flow run {flow_run} wrote is not known: ")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://b/" + "x" * 2000,
        "airflow://b/x",
        pytest.param("trifacta://h/nonsense/1", marks=on_airflow_3),  # Airflow 2 only warns
        pytest.param("s3://b/" + "x" * 1500, marks=on_airflow_3),
        "s3:///x",
        "dbfs:/x",
        "x" * 100_000,
        "s3://b/\ud800",
        "://",
        "",
    ],
    ids=lambda uri: uri[:20].encode("ascii", "replace").decode(),
)
def test_odd_uris_get_no_event_and_do_not_hide_others(task: Task, wrote: Any, warnings: Any, uri: str) -> None:
    wrote({"files": [{"uri": uri}, {"uri": "s3://b/good.csv"}], "tables": []})
    returned, events = task(
        wrangled_dataset_id=7, emit_output_assets=True, outlets=[Asset(REPORT), AssetAlias(ALIAS)]
    )
    assert returned == 5
    (_, extra, _), (good, _, _) = events
    assert good == "s3://b/good.csv"
    assert extra["file_count"] == 2
    (line,) = warnings()
    assert line.startswith("No asset event for what has no asset name (1): ")
    assert len(line) < 1200


@pytest.mark.parametrize("broken", ["missing", "refuses"])
def test_airflow_may_refuse_every_event(
    server: Emulator, store_alias: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    class Refusing:
        def __getitem__(self, key: Any) -> Any:
            raise TypeError(f"no event\nof {key}")

    monkeypatch.setattr(TrifactaRunJobGroupOperator, "log", logging.getLogger("task"))
    store_alias(ALIAS)
    context: dict[str, Any] = {"ti": FakeTaskInstance()}
    if broken == "refuses":
        context["outlet_events"] = Refusing()
    operator = TrifactaRunJobGroupOperator(
        task_id="task",
        wrangled_dataset_id=7,
        poll_interval=0.02,
        emit_output_assets=True,
        outlets=[Asset(REPORT), AssetAlias(ALIAS)],
    )
    job_group = run_deferred(operator, context)
    assert server.state.get("jobGroups", job_group)["status"] == "Complete"
    of_the_outlet, of_the_outputs = warnings()
    assert of_the_outlet.startswith(f"Job group {job_group} is missing in the event of ")
    assert of_the_outputs.startswith(f"What job group {job_group} wrote gets no asset events: ")
    assert "\n" not in of_the_outlet + of_the_outputs


def test_an_airflow_without_what_events_need_ends_no_task(
    task: Task, server: Emulator, warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "airflow_provider_trifacta.tasks.asset_events", None)
    job_group, events = task(
        wrangled_dataset_id=7, emit_output_assets=True, outlets=[Asset(REPORT), AssetAlias(ALIAS)]
    )
    assert events == [(REPORT, {}, None)]
    assert [line.partition(": ")[0] for line in warnings()] == [
        f"Job group {job_group} is missing in the asset events of the task",
        f"What job group {job_group} wrote gets no asset events",
    ]


@pytest.mark.skipif(not tasks_use_the_database(), reason="Airflow 3 stores an alias that it does not know")
def test_an_alias_that_airflow_2_does_not_know_is_not_used(task: Task, server: Emulator, warnings: Any) -> None:
    """It would fail the task at its very end."""
    outlets = [AssetAlias("unknown")]
    assert _events(_emit_through(outlets), outlets) == []


# ------------------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize("arguments", [{}, {"outlets": [Asset(REPORT)]}, {"emit_output_assets": True}], ids=repr)
def test_events_of_a_job_group_cost_no_request(task: Task, server: Emulator, arguments: Any) -> None:
    task(wrangled_dataset_id=PUBLISHES, **arguments)
    assert len(server.calls("getJobGroupOutputs")) == 1
    expected = {"runJobGroup", "getJobGroupStatus", "getJobGroup", "getJobGroupOutputs", "listApiAccessTokens"}
    assert {entry.operation for entry in server.journal} <= expected


@pytest.mark.parametrize(
    ("arguments", "reads"),
    [
        ({}, 0),
        ({"outputs_json_path": "outputs.json"}, 2),
        ({"outlets": [Asset(REPORT)]}, 2),
        ({"outlets": [Asset(REPORT)], "emit_output_assets": True, "outputs_json_path": "outputs.json"}, 2),
    ],
    ids=repr,
)
def test_outputs_of_a_flow_run_are_read_once_and_only_if_needed(
    task: Task,
    server: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    reads: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    task(TrifactaRunFlowOperator, flow_id=302, **arguments)
    assert len(server.calls("getJobGroupOutputs")) == reads


# ----------------------------------------------------------------------------------------------- wrong arguments


def test_arguments_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(TrifactaConfigurationError, match="emit_output_assets: requires wait_for_completion=True"):
        TrifactaRunJobGroupOperator(
            task_id="task", wrangled_dataset_id=7, emit_output_assets=True, wait_for_completion=False
        )
    with pytest.raises(TrifactaConfigurationError, match="emit_output_assets: 'no' is neither True nor False"):
        TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, emit_output_assets="no")  # type: ignore[arg-type]
    with pytest.raises(TrifactaConfigurationError, match="requires a task that is created in a DAG"):
        TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, emit_output_assets=True)
