"""Watchers of runs that somebody else started: each run that ends is reported once, whatever lists show.

Clocks are a hundred times as fast as the machine's: what takes minutes takes seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest
from support import FastClock, ScriptedServer, copy_of, json_answer

from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.operations import run_flow, run_job_group, run_plan
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.runs import run_lists
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.triggers import finished_runs, watch

if version("apache-airflow").startswith("2."):
    pytest.skip("Airflow 2 has no triggers that start DAGs", allow_module_level=True)

from airflow.triggers.base import BaseEventTrigger

from airflow_provider_trifacta.triggers.events import TrifactaRunFinishedTrigger

Start = Callable[..., ScriptedServer]
Connect = Callable[..., None]
Reply = tuple[int, dict[str, str], bytes]

DAY = 86_400.0


# ------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "recipe_id, flow_id, plan_id: one of them is needed"),
        ({"recipe_id": 7, "plan_id": 88}, "only one of them can be given, not recipe_id and plan_id"),
        ({"recipe_id": True}, "recipe_id: expected an id"),
        ({"recipe_id": ""}, "recipe_id: is empty"),
        ({"flow_id": "None"}, "flow_id: is 'None'"),
        ({"flow_id": 3.5}, "flow_id: expected an id"),
        ({"plan_id": "nightly"}, "plan_id: 'nightly' is not a plan id"),
        ({"recipe_id": 7, "statuses": "Complete"}, "statuses: 'Complete' is not a list"),
        ({"recipe_id": 7, "statuses": ["Done"]}, "statuses: 'Done' is not a final status"),
        ({"recipe_id": 7, "statuses": ["InProgress"]}, "statuses: 'InProgress' is not a final status"),
        ({"recipe_id": 7, "statuses": [["Complete"]]}, "statuses: "),
        ({"recipe_id": 7, "statuses": []}, "statuses: is empty"),
        ({"recipe_id": 7, "statuses": 5}, "statuses: 5 is not a list"),
        ({"recipe_id": 7, "run_by": "ann@example.com"}, "run_by: 'ann@example.com' is an e-mail address"),
        ({"recipe_id": 7, "run_by": True}, "run_by: True is not the id of a user"),
        ({"recipe_id": 7, "run_by": " "}, "run_by: ' ' is not the id of a user"),
        ({"recipe_id": 7, "ran_from": "UI"}, "ran_from: 'UI' is none of ui, schedule, api"),
        ({"recipe_id": 7, "ran_from": ["ui"]}, "ran_from: "),
        ({"recipe_id": 7, "poll_interval": 0}, "poll_interval: 0 is not a positive number"),
        ({"recipe_id": 7, "trifacta_conn_id": None}, "trifacta_conn_id: None is not the id of a connection"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=re.escape(message)):
        TrifactaRunFinishedTrigger(**arguments)


def test_equal_watchers_are_one_for_airflow() -> None:
    def identity(trigger: TrifactaRunFinishedTrigger) -> Any:
        return BaseEventTrigger.hash(*trigger.serialize())

    one = TrifactaRunFinishedTrigger(recipe_id=7, statuses=("Failed", "Complete"), run_by=17)
    page = "https://example.com/flows/301?recipe=7"
    for other in (
        TrifactaRunFinishedTrigger(recipe_id="7", statuses=["Complete", "Failed"], run_by="17"),
        TrifactaRunFinishedTrigger(recipe_id=page, statuses={"Complete", "Failed"}, run_by=17),
        copy_of(one),
    ):
        assert identity(other) == identity(one)
    assert identity(TrifactaRunFinishedTrigger(recipe_id=8, statuses=("Failed", "Complete"))) != identity(one)


def test_the_file_of_a_dag_needs_no_client() -> None:
    code = (
        "import sys; from airflow_provider_trifacta.triggers.events import TrifactaRunFinishedTrigger as T; "
        "T(recipe_id=7); print([m for m in sys.modules if m.startswith(('aiohttp', 'airflow_provider_trifacta.h', "
        "'airflow_provider_trifacta.triggers.w', 'airflow_provider_trifacta.api.operations'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# ------------------------------------------------------------------------------------------------------ triggerer


class Store:
    """The state of an asset, as Airflow 3.3 gives it to a trigger."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.writes = 0
        self.fails = False

    async def aget(self, key: str, default: Any = None) -> Any:
        await self._use()
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        await self._use()
        self.values[key] = json.dumps(value)
        assert len(self.values[key].encode()) < 65_536
        self.writes += 1

    async def _use(self) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise RuntimeError("the API server does not answer")


class Triggerer:
    """Runs triggers as Airflow's triggerer does, until it ends."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, store: Store | None = None, **arguments: Any) -> list[dict[str, Any]]:
        """Run a watcher; return the payloads of its events, more of which come later."""
        trigger = copy_of(TrifactaRunFinishedTrigger(**arguments))
        if store is not None:
            trigger.asset_state_store = store
        payloads: list[dict[str, Any]] = []
        self._tasks.append(asyncio.create_task(self._run(trigger, payloads)))
        return payloads

    async def _run(self, trigger: TrifactaRunFinishedTrigger, payloads: list[dict[str, Any]]) -> None:
        async for event in trigger.run():
            payloads.append(json.loads(json.dumps(event.payload)))

    def is_alive(self) -> bool:
        return not any(task.done() for task in self._tasks)

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


@contextlib.asynccontextmanager
async def triggerer() -> AsyncIterator[Triggerer]:
    running = Triggerer()
    try:
        yield running
        assert running.is_alive()
    finally:
        await running.kill()
        # What is cancelled at an event is ended by the event loop.
        await until(lambda: not any(watch._watches.get(asyncio.get_running_loop(), {}).values()))


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition holds, for so many seconds of the machine's clock."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.01)


@pytest.fixture
def fast() -> Iterator[FastClock]:
    clock = FastClock()
    with mock.patch.dict(TrifactaHook.__init__.__kwdefaults__, clock=clock):
        yield clock


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "airflow_provider_trifacta.triggers")


# --------------------------------------------------------------------------------------------------- the emulator


@pytest.fixture
def server(fast: FastClock, connect: Connect) -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False, pace="seconds=30", clock=Clock(fast.time)) as emulator:
        connect(emulator)
        yield emulator


def somebody_runs(server: Emulator, operation: Operation[Any], token: str | None = None) -> Any:
    settings = ClientSettings(server.url, retries=RetryPolicy(budget=10))
    with TrifactaClient(settings, token or server.token) as client:
        return client.send(operation)


def run_recipe(server: Emulator, recipe: int = 7, *, token: str | None = None, source: str = "ui") -> int:
    operation = run_job_group(recipe, request_body_extra={"ranfrom": source})
    return int(somebody_runs(server, operation, token)["id"])


async def in_thread(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **options)


def lists_read(server: Emulator) -> int:
    return len(server.calls("listJobLibrary"))


async def readings(server: Emulator, count: int) -> None:
    """Wait until the list has been read so many times more."""
    before = lists_read(server)
    await until(lambda: lists_read(server) >= before + count)


def test_a_job_group_is_reported_when_it_ends(server: Emulator) -> None:
    async def scenario() -> None:
        before = await in_thread(run_recipe, server)
        server.clock.advance(60)
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            failures = airflow.watch(recipe_id=8, statuses=["Failed", "Canceled"])
            await readings(server, 2)
            one = await in_thread(run_recipe, server)
            await in_thread(run_recipe, server, 8)
            await readings(server, 1)
            two = await in_thread(run_recipe, server)
            await until(lambda: len(events) == 2 and failures)
            await readings(server, 3)
            assert [event["id"] for event in events] == [one, two]
            assert before not in (one, two)
            (row,) = [row for row in server.job_groups if row["id"] == one]
            assert events[0] == {
                "kind": "job_group",
                "id": one,
                "status": "Complete",
                "recipe": 7,
                "flow": 301,
                "plan": None,
                "started": row["createdAt"].replace("Z", "+00:00"),
                "ended": row["updatedAt"].replace("Z", "+00:00"),
                "link": f"{server.url}/jobs/{one}",
                "outputs": len(row["_files"]),
            }
            assert [(event["recipe"], event["status"], event["outputs"]) for event in failures] == [
                (8, "Failed", None)
            ]

    asyncio.run(scenario())


def test_a_flow_run_is_one_event_and_a_recipe_of_the_flow_is_none(server: Emulator) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(flow_id=302)
            failures = airflow.watch(flow_id=304, statuses=["Failed"])
            await readings(server, 2)
            started = await in_thread(somebody_runs, server, run_flow(302))
            broken = await in_thread(somebody_runs, server, run_flow(304))
            await in_thread(run_recipe, server, 21)
            await until(lambda: events and failures)
            await readings(server, 4)
            assert [event["id"] for event in events] == [started["flowRunId"]]
            assert [event["id"] for event in failures] == [broken["flowRunId"]]
            assert {event["status"] for event in events + failures} == {"Complete", "Failed"}
            assert (events[0]["kind"], events[0]["flow"], events[0]["recipe"]) == ("flow_run", 302, None)
            assert events[0]["outputs"] is None
            assert events[0]["link"] == f"{server.url}/flows/302"
            assert events[0]["started"] < events[0]["ended"]
            # Each flow run is read once, however long it stays in the list.
            assert len(server.calls("getFlowRun")) <= 4

    asyncio.run(scenario())


def test_a_plan_run_is_reported_when_it_ends(server: Emulator) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(plan_id=89)
            failures = airflow.watch(plan_id=90, statuses=["Failed"])
            await until(lambda: len(server.calls("listPlanSnapshotRuns")) >= 2)
            started = await in_thread(somebody_runs, server, run_plan(89))
            broken = await in_thread(somebody_runs, server, run_plan(90))
            await until(lambda: events and failures)
            before = len(server.calls("listPlanSnapshotRuns"))
            await until(lambda: len(server.calls("listPlanSnapshotRuns")) >= before + 3)
            assert [event["id"] for event in events] == [started["planSnapshotRunId"]]
            assert [event["id"] for event in failures] == [broken["planSnapshotRunId"]]
            assert (events[0]["kind"], events[0]["plan"]) == ("plan_snapshot_run", 89)
            assert events[0]["link"] == f"{server.url}/plans/89"
            assert not server.calls("listJobLibrary")

    asyncio.run(scenario())


@pytest.mark.parametrize("library_recipes", [True, False])
@pytest.mark.parametrize("null_references", ["null", "absent"])
def test_who_started_it_and_from_where(server: Emulator, library_recipes: bool, null_references: str) -> None:
    server.change_settings(library_recipes=library_recipes, null_references=null_references)
    ann, token = server.add_person("ann@example.com")

    async def scenario() -> None:
        async with triggerer() as airflow:
            by_ann = airflow.watch(recipe_id=7, run_by=ann)
            from_ui = airflow.watch(recipe_id=7, ran_from="ui")
            from_schedule = airflow.watch(recipe_id=7, ran_from="schedule", run_by=17)
            flows = airflow.watch(flow_id=302, run_by=ann)
            await readings(server, 2)
            hers = await in_thread(run_recipe, server, token=token, source="api")
            ours = await in_thread(run_recipe, server, source="ui")
            await in_thread(run_recipe, server, 21, source="ui")
            scheduled = await in_thread(run_recipe, server, source="schedule")
            her_flow = await in_thread(somebody_runs, server, run_flow(302), token)
            await in_thread(somebody_runs, server, run_flow(302))
            await until(lambda: by_ann and from_ui and from_schedule and flows)
            await readings(server, 4)
            assert [event["id"] for event in by_ann] == [hers]
            assert [event["id"] for event in from_ui] == [ours]
            assert [event["id"] for event in from_schedule] == [scheduled]
            assert [event["id"] for event in flows] == [her_flow["flowRunId"]]

    asyncio.run(scenario())


def test_fifty_watchers_read_one_list(server: Emulator, fast: FastClock) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            began = fast.monotonic()
            watchers = [airflow.watch(recipe_id=7, poll_interval=60 + number) for number in range(25)]
            watchers += [airflow.watch(recipe_id=21, poll_interval=60 + number) for number in range(25)]
            await readings(server, 2)
            ids = {recipe: await in_thread(run_recipe, server, recipe) for recipe in (7, 21)}
            await until(lambda: all(watchers))
            await readings(server, 2)
            assert [[event["id"] for event in events] for events in watchers] == [[ids[7]]] * 25 + [[ids[21]]] * 25
            # Every 60 s, and once or twice more while the watchers came.
            assert lists_read(server) <= (fast.monotonic() - began) / 60 + 3
            # Each run was read once for all: itself, and what it wrote.
            assert len(server.calls("getJobGroup")) == len(server.calls("getJobGroupOutputs")) == 2

    asyncio.run(scenario())


# ------------------------------------------------------------------------------------------------------- restarts


def test_a_restart_neither_loses_nor_doubles_an_event(server: Emulator) -> None:
    async def life(store: Store, already: int, started: list[int]) -> list[dict[str, Any]]:
        async with triggerer() as airflow:
            events = airflow.watch(store, recipe_id=7)
            await until(lambda: already + len(events) == len(started))
            await readings(server, 2)
            started.append(await in_thread(run_recipe, server))
            await until(lambda: already + len(events) == len(started))
            writes = store.writes
            await until(lambda: store.writes > writes)
            # This one ends while no triggerer is running.
            started.append(await in_thread(run_recipe, server))
            return events

    async def scenario() -> None:
        store, started = Store(), list[int]()
        events: list[dict[str, Any]] = []
        for number in range(4):
            events += await life(store, len(events), started)
            server.clock.advance(300 * 10**number)
        events += await life(store, len(events), started)
        assert [event["id"] for event in events] == started[:-1]

    asyncio.run(scenario())


def test_an_event_that_may_not_have_left_the_triggerer_is_sent_again(server: Emulator) -> None:
    async def scenario() -> None:
        store = Store()
        async with triggerer() as airflow:
            events = airflow.watch(store, recipe_id=7)
            await until(lambda: store.writes)
            one = await in_thread(run_recipe, server)
            await until(lambda: events)
            assert store.writes == 1
        async with triggerer() as airflow:
            again = airflow.watch(store, recipe_id=7)
            await until(lambda: again)
            assert [event["id"] for event in events + again] == [one, one]
            await until(lambda: store.writes == 2)

    asyncio.run(scenario())


def test_without_a_store_it_begins_when_it_starts(server: Emulator) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            await readings(server, 2)
            one = await in_thread(run_recipe, server)
            await until(lambda: events)
        await in_thread(run_recipe, server)
        server.clock.advance(45)
        async with triggerer() as airflow:
            later = airflow.watch(recipe_id=7)
            await readings(server, 3)
            three = await in_thread(run_recipe, server)
            await until(lambda: later)
            await readings(server, 3)
            assert [event["id"] for event in events + later] == [one, three]

    asyncio.run(scenario())


def test_a_run_that_was_running_when_the_watcher_began(server: Emulator) -> None:
    async def scenario() -> None:
        server.change_settings(pace="seconds=7200")
        one = await in_thread(run_recipe, server)
        server.clock.advance(7000)
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            await until(lambda: events)
            await readings(server, 3)
            assert [event["id"] for event in events] == [one]

    asyncio.run(scenario())


def test_a_store_that_fails(server: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = Store()
        async with triggerer() as airflow:
            events = airflow.watch(store, recipe_id=7)
            await until(lambda: store.writes)
            store.fails = True
            one = await in_thread(run_recipe, server)
            await until(lambda: "could not store what it reported" in caplog.text)
            store.fails = False
            await until(lambda: store.writes == 2)
        store.fails = True
        two = await in_thread(run_recipe, server)
        server.clock.advance(60)
        async with triggerer() as airflow:
            later = airflow.watch(store, recipe_id=7)
            await until(lambda: "tries again in 15 s; what ends meanwhile is reported then" in caplog.text)
            assert not later
            store.fails = False
            await until(lambda: later)
            await readings(server, 3)
            assert [event["id"] for event in events + later] == [one, two]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "stored",
    [
        "nonsense",
        {"version": 99},
        {"version": 1, "since": "now", "reported": [], "open": {}},
        {"version": 1, "since": True, "reported": [], "open": {}},
        {"version": 1, "since": float("inf"), "reported": [], "open": {}},
        {"version": 1, "since": 1.0, "reported": {}, "open": {}},
        {"version": 1, "since": 1.0, "reported": [], "open": []},
    ],
)
def test_what_was_stored_cannot_be_read(server: Emulator, stored: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Store):
        async def aget(self, key: str, default: Any = None) -> Any:
            return stored

    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(Odd(), recipe_id=7)
            await readings(server, 2)
            one = await in_thread(run_recipe, server)
            await until(lambda: events)
            assert [event["id"] for event in events] == [one]
        assert "what was stored cannot be read" in caplog.text

    asyncio.run(scenario())


def test_two_assets_with_the_same_watcher(server: Emulator) -> None:
    class Stores:
        """As Airflow's: it refuses to work unless an asset is chosen."""

        def __init__(self) -> None:
            self._by_name = {"one": Store(), "two": Store()}
            self._by_uri: dict[str, Store] = {}

        async def aget(self, key: str) -> Any:
            raise ValueError("specify which")

    async def scenario() -> None:
        stores = Stores()
        async with triggerer() as airflow:
            events = airflow.watch(stores, recipe_id=7)  # type: ignore[arg-type]
            await until(lambda: stores._by_name["two"].writes)
            one = await in_thread(run_recipe, server)
            await until(lambda: stores._by_name["two"].writes == 2)
        stores._by_name["one"] = Store()  # a new asset has the same watcher
        async with triggerer() as airflow:
            later = airflow.watch(stores, recipe_id=7)  # type: ignore[arg-type]
            two = await in_thread(run_recipe, server)
            await until(lambda: later)
            assert [event["id"] for event in events + later] == [one, two]

    asyncio.run(scenario())


# --------------------------------------------------------------------------------------------- lists of all sorts


@dataclass
class Run:
    """A run of recipe 7, of a flow run, or of a plan; all moments are those of the server."""

    id: Any
    created: float
    ends: float
    end: str = "Complete"
    shown: dict[str, Any] = field(default_factory=dict)

    def status(self, now: float) -> str:
        return self.end if now >= self.ends else "InProgress"


@dataclass
class Library:
    """A server whose lists can be wrong in many ways. What is read directly is right.

    :param ahead: seconds by which its clock is ahead of ours.
    :param lag: how old what its list shows is, in seconds.
    :param page: the most rows that a page has.
    :param shows: changes the rows that a list is to show.
    :param list_reply: answers instead of a page; is given its offset.
    :param run_reply: answers instead of a run.
    """

    clock: FastClock
    ahead: float = 0.0
    lag: float = 0.0
    page: int = 1000
    is_dated: bool = True
    filters: bool = True
    sorts: bool = True
    moves: bool = True
    shows: Callable[[dict[str, Any]], Any] = lambda row: row
    list_reply: Callable[[int], Reply | None] = lambda _: None
    run_reply: Callable[[str], Reply | None] = lambda _: None
    plans: Callable[[], list[Any]] = list
    runs: list[Run] = field(default_factory=list)
    pages: int = 0
    reads: int = 0

    def now(self) -> float:
        return self.clock.time() + self.ahead

    def add(self, *, lasts: float = 30.0, ago: float = 0.0, end: str = "Complete", **shown: Any) -> int:
        """Start a run; return its id."""
        identity = len(self.runs) + 1
        began = self.now() - ago
        self.runs.append(Run(identity, began, began + lasts, end, shown))
        return identity

    def __call__(self, path: str) -> Reply:
        status, headers, body = self._reply(path)
        date = email.utils.formatdate(self.now(), usegmt=True) if self.is_dated else "none"
        return status, {**headers, "date": date}, body

    def _reply(self, path: str) -> Reply:
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/v4/people/current":
            return json_answer({"id": 17})
        if url.path == "/v4/plans":
            return json_answer({"data": self.plans(), "count": len(self.plans())})
        if url.path in ("/v4/jobLibrary", "/v4/planSnapshotRuns"):
            self.pages += 1
            return self.list_reply(int(query["offset"])) or self._list(query)
        if url.path.endswith("/outputs"):
            return json_answer({"files": [], "tables": []})
        self.reads += 1
        identity = url.path.split("/")[3]
        reply = self.run_reply(identity)
        if reply is not None:
            return reply
        (run,) = [run for run in self.runs if str(run.id) == identity]
        return json_answer(self._row(run, self.now()))

    def _row(self, run: Run, now: float) -> dict[str, Any]:
        return {
            "id": run.id,
            "status": run.status(now),
            "createdAt": _timestamp(run.created),
            "updatedAt": _timestamp(run.ends if now >= run.ends and self.moves else run.created),
            "wrangledDataset": {"id": 7},
            "creator": {"id": 17},
            "ranfrom": "ui",
            "flowRun": None,
            **run.shown,
        }

    def _list(self, query: dict[str, str]) -> Reply:
        now = self.now() - self.lag
        since = int(query["dateFilter[updatedAt][gte]"]) / 1000 if self.filters else 0.0
        rows = [self._row(run, now) for run in self.runs if run.created <= now]
        rows = [row for row in rows if row["updatedAt"] >= _timestamp(since)]
        if self.sorts:
            rows.sort(key=lambda row: str(row["updatedAt"]), reverse=True)
        shown = [new for row in rows if (new := self.shows(row)) is not None]
        offset, limit = int(query["offset"]), min(int(query["limit"]), self.page)
        return json_answer({"data": shown[offset : offset + limit], "count": len(shown)})


def _timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture
def library(fast: FastClock, scripted: Start, connect: Connect) -> Library:
    library = Library(fast)
    connect(scripted(library).url)
    return library


def ids_of(events: list[dict[str, Any]]) -> list[Any]:
    return [event["id"] for event in events]


async def polls(library: Library, count: int) -> None:
    before = library.pages
    await until(lambda: library.pages >= before + count)


LISTS: dict[str, dict[str, Any]] = {
    "right": {},
    "late": {"lag": 300.0},
    "clock is ahead": {"ahead": 7200.0},
    "clock is behind": {"ahead": -7200.0},
    "clock is ahead and unknown": {"ahead": 7200.0, "is_dated": False},
    "small pages": {"page": 2},
    "no filter": {"filters": False},
    "no order": {"sorts": False},
    "no filter, no order": {"filters": False, "sorts": False},
    "updatedAt never moves": {"moves": False},
    "no updatedAt": {"shows": lambda row: {**row, "updatedAt": None}},
    "updatedAt in the future": {"shows": lambda row: {**row, "updatedAt": "9999-12-31T23:59:59Z"}},
    "only statuses": {"shows": lambda row: {"id": row["id"], "status": row["status"]}},
    "no statuses": {"shows": lambda row: {"id": str(row["id"]), "updatedAt": row["updatedAt"]}},
    "all complete": {"shows": lambda row: {**row, "status": "Complete"}},
    "odd statuses": {"shows": lambda row: {**row, "status": {"is": "Complete"}}},
    "no running ones": {"shows": lambda row: None if row["status"] == "InProgress" else row},
}


@pytest.mark.parametrize("name", LISTS)
def test_each_run_is_reported_once(library: Library, name: str) -> None:
    for setting, value in LISTS[name].items():
        setattr(library, setting, value)

    async def scenario() -> None:
        for ago in (90_000, 5000, 700, 500):
            library.add(ago=ago)
        before = library.add(ago=400, lasts=500)
        # Longer than the list is read back, where its rows never show an end as a change.
        longest = 900 if name == "updatedAt never moves" else 200
        async with triggerer() as airflow:
            events = airflow.watch(Store(), recipe_id=7, poll_interval=20)
            await polls(library, 3)
            started = [before]
            for lasts in (10, 100, 100, longest, 20):
                started.append(library.add(lasts=lasts))
                library.add(lasts=lasts, wrangledDataset={"id": 8})
                library.add(lasts=lasts, end="Failed")
                await polls(library, 1)
            await until(lambda: len(events) >= len(started))
            await polls(library, 4)
            assert sorted(ids_of(events)) == sorted(started)
            assert {event["status"] for event in events} == {"Complete"}

    asyncio.run(scenario())


def test_what_ends_at_the_same_moment(library: Library) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            await polls(library, 2)
            ends = library.now() + 100
            library.page = 4
            for number in range(1, 12):
                library.runs.append(Run(number, ends - 50, ends))
            await until(lambda: len(events) >= 11)
            await polls(library, 9)
            assert sorted(ids_of(events)) == list(range(1, 12))

    asyncio.run(scenario())


def test_pages_that_shift_while_they_are_read(library: Library) -> None:
    library.page = 3
    started: list[int] = []

    def shift(offset: int) -> Reply | None:
        # A run appears between any two pages, as long as there are few.
        if offset and len(started) < 60:
            started.append(library.add(lasts=1))
        return None

    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            await polls(library, 1)
            started.extend(library.add(lasts=1) for _ in range(9))
            library.list_reply = shift
            await until(lambda: len(started) == 60 and len(events) >= 60)
            await polls(library, 30)
            assert sorted(ids_of(events)) == sorted(started)

    asyncio.run(scenario())


def test_a_list_that_does_not_filter_costs_no_more_than_needed(library: Library) -> None:
    library.filters = False
    library.page = 250
    for number in range(5000):
        library.add(ago=100_000 + number, wrangledDataset={"id": 8})

    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            await polls(library, 3)
            before = library.pages
            one = library.add()
            await until(lambda: events)
            assert library.pages - before <= 6  # a page for each reading: it is sorted
            assert ids_of(events) == [one]

    asyncio.run(scenario())


@pytest.mark.parametrize("shown", ["Complete", "InProgress"])
def test_an_event_is_never_invented(library: Library, shown: str) -> None:
    """The list shows an end that no run has, or a run that never ends."""
    library.shows = lambda row: {**row, "status": shown}

    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7, statuses=["Complete", "Failed", "Canceled"])
            await polls(library, 2)
            one = library.add(lasts=700)
            library.add(lasts=1e9)
            await polls(library, 8)
            assert not events
            await until(lambda: events)
            assert library.now() >= library.runs[0].ends
            await polls(library, 5)
            assert ids_of(events) == [one]
            assert library.reads < 40

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "reply",
    [
        json_answer({"exception": {"name": "AccessControlException", "message": "no"}}, 403),
        json_answer({"exception": {"name": "RouteNotFoundException", "message": "no route"}}, 404),
        json_answer({"exception": {"name": "InternalServerError", "message": "oops"}}, 500),
        json_answer({"exception": {"name": "Unauthorized", "message": "who?"}}, 401),
        json_answer({"data": {"odd": 1}}),
        json_answer([1]),
        (200, {"content-type": "text/html"}, b"<html>maintenance</html>"),
        (429, {"x-retry-after": "30"}, b""),
    ],
    ids=lambda reply: f"{reply[0]} {reply[2][:30]!r}",
)
def test_a_list_that_is_refused_is_outlived(
    library: Library, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            library.list_reply = lambda _: reply
            events = airflow.watch(recipe_id=7)
            started = [library.add(ago=-20, lasts=10)]
            await until(lambda: caplog.text.count("could not be read, so runs that end are reported later") >= 4)
            started.append(library.add(lasts=10))
            before, pages = library.now(), library.pages
            await asyncio.sleep(1.5)
            library.list_reply = lambda _: None
            assert library.pages - pages <= 3 + (library.now() - before) / 20  # it is repeated less and less often
            await until(lambda: len(events) == 2)
            await polls(library, 2)
            assert ids_of(events) == started
            assert "can be read again" in caplog.text

    asyncio.run(scenario())


def test_a_run_that_cannot_be_read_is_read_again(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    refused = json_answer({"exception": {"name": "AccessControlException", "message": "no"}}, 403)
    missing = json_answer({"exception": {"name": "DataNotFoundException", "message": "none"}}, 404)
    replies = {"1": refused, "2": missing, "3": json_answer({"id": 1, "status": "Complete"})}
    library.run_reply = replies.get

    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            await polls(library, 2)
            for _ in range(4):
                library.add()
            await until(lambda: events)
            await polls(library, 3)
            assert ids_of(events) == [4]
            assert "job group 1 may have ended, but cannot be read. It is read again later" in caplog.text
            assert "job group 2 does not exist any more: no event" in caplog.text
            assert "expected job group 3, got 1" in caplog.text
            replies.clear()
            await until(lambda: len(events) == 3)
            await polls(library, 3)
            assert sorted(ids_of(events)) == [1, 3, 4]

    asyncio.run(scenario())


def test_hostile_rows_and_runs(library: Library) -> None:
    odd = [
        None,
        5,
        "x" * 10_000,
        [],
        {},
        {"id": True, "status": "Complete"},
        {"id": -1, "status": "Complete"},
        {"id": "1 2", "status": "Complete"},
        {"id": 2**80, "status": "Complete"},
        {"id": "../7", "status": "Complete", "updatedAt": "0001-01-01T00:00:00+23:59"},
        {"id": 900, "status": "Complete\n\x00", "updatedAt": [1], "wrangledDataset": [[]], "flowRun": "\ud800"},
        {"id": 901, "status": None, "createdAt": 5, "updatedAt": "9999-12-31T23:59:59Z", "creator": {"id": {}}},
    ]
    library.run_reply = lambda identity: json_answer({"id": 1}) if int(identity) >= 900 else None

    async def scenario() -> None:
        async with triggerer() as airflow:
            watchers = [
                airflow.watch(Store(), recipe_id=7),
                airflow.watch(Store(), recipe_id=7, run_by=17, ran_from="ui"),
                airflow.watch(Store(), flow_id=302),
                airflow.watch(Store(), plan_id=88),
            ]
            await polls(library, 3)
            one = library.add()
            rows = [library._row(library.runs[0], library.now() + 60)]
            library.list_reply = lambda offset: json_answer({"data": odd + rows if offset == 0 else []})
            await until(lambda: watchers[0] and watchers[1])
            await polls(library, 6)
            assert [ids_of(events) for events in watchers] == [[one], [one], [], []]

    asyncio.run(scenario())


def test_what_the_api_does_not_report_is_said(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7, run_by=17)
            sources = airflow.watch(recipe_id=7, ran_from="ui")
            await polls(library, 2)
            library.add(creator=None)
            library.add(ranfrom=None)
            library.add(wrangledDataset=None)
            await until(lambda: events and sources)
            await polls(library, 3)
            assert (ids_of(events), ids_of(sources)) == ([2], [1])
            reason = "job group 1 ended, and the API does not report who started it (run_by): no event"
            assert caplog.text.count(reason) == 1
            reason = "job group 2 ended, and the API does not report what started it (ran_from): no event"
            assert caplog.text.count(reason) == 1
            # Once for each of the two watchers.
            assert caplog.text.count("job group 3 ended, and the API does not report what it ran: no event") == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("snapshots", [False, True])
def test_plan_runs_that_refer_to_snapshots(library: Library, snapshots: bool) -> None:
    """A snapshot can have the number of another plan."""
    refers_to = {88: 89, 89: 88} if snapshots else {88: 88, 89: 89}
    latest: dict[int, int] = {}
    library.plans = lambda: [
        {"id": plan, "name": "x", "latestPlanSnapshotRun": {"id": run, "status": "Complete"}}
        for plan, run in latest.items()
    ]

    async def scenario() -> None:
        async with triggerer() as airflow:
            watchers = {plan: airflow.watch(plan_id=plan) for plan in (88, 89)}
            await polls(library, 2)
            expected: dict[int, list[int]] = {88: [], 89: []}
            for plan in (88, 89, 88, 89, 89):
                run = library.add(lasts=5, plan={"id": refers_to[plan]})
                latest[plan] = run
                expected[plan].append(run)
                await until(lambda: {plan: ids_of(events) for plan, events in watchers.items()} == expected)
            await polls(library, 3)
            assert {plan: ids_of(events) for plan, events in watchers.items()} == expected

    asyncio.run(scenario())


# ------------------------------------------------------------------------------------------------- long downtimes


async def stored_and_away(library: Library, seconds: float) -> Store:
    """Let a watcher begin, and the server's clock go on without it."""
    store = Store()
    async with triggerer() as airflow:
        airflow.watch(store, recipe_id=7)
        await until(lambda: store.writes)
    library.clock._epoch += seconds
    return store


def test_a_day_without_a_triggerer(library: Library) -> None:
    library.page = 250

    async def scenario() -> None:
        library.add(ago=100)
        store = await stored_and_away(library, DAY)
        started = [
            library.add(ago=number * 10 + 60, wrangledDataset={"id": number % 100}) for number in range(5000)
        ]
        async with triggerer() as airflow:
            events = airflow.watch(store, recipe_id=7)
            await until(lambda: len(events) >= 50)
            await polls(library, 3)
            assert sorted(ids_of(events)) == started[7::100]
            moments = [event["ended"] for event in events]
            assert moments == sorted(moments)
            # 20 pages, twice.
            assert library.pages <= 60

    asyncio.run(scenario())


def test_too_long_a_downtime_is_said(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        library.add(ago=100)
        store = await stored_and_away(library, 30 * DAY)
        library.add(ago=20 * DAY)
        one = library.add(ago=5 * DAY)
        async with triggerer() as airflow:
            events = airflow.watch(store, recipe_id=7)
            await until(lambda: events)
            await polls(library, 2)
            assert ids_of(events) == [one]
            assert "Runs that ended more than 168 h ago are skipped" in caplog.text

    asyncio.run(scenario())


def test_too_long_a_list_is_said(
    library: Library, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lists, "MOST_PAGES", 3)
    library.page = 10

    async def scenario() -> None:
        library.add(ago=100)
        store = await stored_and_away(library, DAY)
        started = [library.add(ago=number * 100 + 60) for number in range(50)]
        async with triggerer() as airflow:
            events = airflow.watch(store, recipe_id=7)
            await until(lambda: len(events) >= 20)
            await polls(library, 8)
            # Those on the pages that were read, however many rows these had.
            assert set(ids_of(events)) == set(started[: len(events)])
            assert len(events) < 50
            assert "(it has too many rows). Runs that ended between" in caplog.text
            latest = library.add(lasts=1)
            await until(lambda: latest in ids_of(events))

    asyncio.run(scenario())


def test_a_page_that_can_never_be_read(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    library.page = 10
    broken = json_answer({"exception": {"name": "InternalServerError", "message": "too deep"}}, 500)
    library.list_reply = lambda offset: broken if offset >= 20 else None

    async def scenario() -> None:
        library.add(ago=100)
        store = await stored_and_away(library, DAY)
        started = [library.add(ago=number * 100 + 60) for number in range(50)]
        async with triggerer() as airflow:
            events = airflow.watch(store, recipe_id=7)
            # What can be read is reported although the rest cannot.
            await until(lambda: len(events) >= 20)
            assert set(ids_of(events)) == set(started[:20])
            latest = library.add(lasts=1)
            await until(lambda: latest in ids_of(events))
            await until(lambda: "(page 3 cannot be read). Runs that ended between" in caplog.text)

    asyncio.run(scenario())


# ----------------------------------------------------------------------------------------- connections and tokens


def test_a_connection_that_is_missing_at_first(
    server: Emulator, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_TRIFACTA_DEFAULT")

    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            await until(lambda: "The watcher of recipe 7 cannot work, and tries again in 30 s" in caplog.text)
            assert "trifacta_default" in caplog.text
            one = await in_thread(run_recipe, server)
            connect(server)
            await until(lambda: events)
            assert ids_of(events) == [one]

    asyncio.run(scenario())


def test_a_connection_that_gets_another_server_or_token(
    server: Emulator, fast: FastClock, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(Store(), recipe_id=7)
            await readings(server, 2)
            with Emulator(enforce_quotas=False, pace="seconds=30", clock=Clock(fast.time)) as other:
                connect(other)
                await until(lambda: lists_read(other) >= 2)
                assert "Connection 'trifacta_default' was changed" in caplog.text
                before = lists_read(server)
                one = await in_thread(run_recipe, other)
                await until(lambda: events)
                assert events[0]["link"] == f"{other.url}/jobs/{one}"
                assert lists_read(server) == before
                connect(server)
                await until(lambda: lists_read(server) > before)
                # Its ids are those of the other server, too; they are not taken for the same runs.
                two = await in_thread(run_recipe, server)
                await until(lambda: len(events) == 2)
                assert two == one

    asyncio.run(scenario())


def test_a_token_that_is_replaced(server: Emulator, connect: Connect) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            events = airflow.watch(recipe_id=7)
            await readings(server, 2)
            _, new = server.add_person("ann@example.com")
            connect(server, token=new)
            for row in list(server.state.rows("apiAccessTokens")):
                if row["_value"] == server.token:
                    row["expiredAt"] = _timestamp(server.clock.now() - 1)
            one = await in_thread(run_recipe, server, token=new)
            await until(lambda: events)
            assert ids_of(events) == [one]

    asyncio.run(scenario())


def test_watchers_outlive_their_feed(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with triggerer() as airflow:
            watchers = [airflow.watch(recipe_id=7) for _ in range(5)]
            await polls(library, 2)
            with mock.patch.object(finished_runs.RunFeed, "_due", side_effect=ZeroDivisionError("a bug")):
                await until(lambda: caplog.text.count("the feed has ended") >= 5)
            one = library.add()
            await until(lambda: all(watchers))
            assert [ids_of(events) for events in watchers] == [[one]] * 5

    asyncio.run(scenario())


def test_the_one_that_reads_for_all_leaves(library: Library) -> None:
    async def scenario() -> None:
        async with triggerer() as leaving, triggerer() as staying:
            leaving.watch(recipe_id=7)
            events = staying.watch(recipe_id=7)
            await polls(library, 2)
            one = library.add()
            await leaving.kill()
            await until(lambda: events)
            assert ids_of(events) == [one]
            await staying.kill()

    asyncio.run(scenario())
