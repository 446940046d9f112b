"""Many waits at once, on servers whose lists are right, wrong, late or absent.

Clocks are up to a hundred times as fast as the machine's: what takes minutes takes seconds.
"""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest
from support import FastClock, ScriptedServer, drain, json_answer

from airflow_provider_trifacta.api.runs import run_lists
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.triggers import watch
from airflow_provider_trifacta.triggers.flow import TrifactaFlowRunTrigger
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger
from airflow_provider_trifacta.triggers.plan import TrifactaPlanRunTrigger
from airflow_provider_trifacta.triggers.run import RunTrigger

Start = Callable[..., ScriptedServer]
Connect = Callable[..., None]
Reply = tuple[int, dict[str, str], bytes]

LIST_LOG = "airflow_provider_trifacta.triggers.list_poll"


@dataclass
class Run:
    """A run of the server; all moments are its own.

    :param ends: when it ends, and with which status.
    """

    id: int
    created: float
    ends: float
    end: str = "Complete"

    def status(self, now: float) -> str:
        if now >= self.ends:
            return self.end
        return "InProgress" if now >= self.created + 3 else "Created"

    def updated(self, now: float) -> float:
        if now >= self.ends:
            return self.ends
        return self.created + 3 if now >= self.created + 3 else self.created


def _timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Server:
    """A server with runs, whose list can be wrong in many ways. Statuses that are read directly are right.

    :param ahead: seconds by which its clock is ahead of ours.
    :param lag: how old what its lists show is, in seconds.
    :param page: the most rows that a page has.
    :param dated: whether its answers have the time of its clock.
    :param rows: changes the rows that a list is to show.
    :param shows: changes what is shown of a row.
    :param answer: answers instead of a list.
    """

    def __init__(
        self,
        clock: FastClock,
        *,
        ahead: float = 0.0,
        lag: float = 0.0,
        page: int = 1000,
        dated: bool = True,
        shows: Callable[[Run, dict[str, Any]], Any] = lambda _, row: row,
        answer: Callable[[int], Reply] | None = None,
        filters: bool = True,
        kind: str = "job_group",
    ) -> None:
        self.clock = clock
        self.runs: dict[int, Run] = {}
        self.kind = kind
        self._ahead, self._lag, self._page, self._dated = ahead, lag, page, dated
        self._shows, self._answer, self._filters = shows, answer, filters

    def now(self) -> float:
        return self.clock.time() + self._ahead

    def add(self, count: int, *, began: float, first_end: float = 20.0, last_end: float = 150.0) -> None:
        """Add runs that began so many seconds ago, and end within so many seconds."""
        now = self.now()
        for number in range(count):
            ends = first_end + (last_end - first_end) * number / max(1, count - 1)
            end = ("Complete", "Failed", "Canceled")[number % 3]
            self.runs[number + 1] = Run(number + 1, now - began, now + ends, end)

    def __call__(self, path: str) -> Reply:
        status, headers, body = self._reply(path)
        if self._dated:
            headers = {**headers, "date": email.utils.formatdate(self.now(), usegmt=True)}
        else:
            headers = {**headers, "date": "none"}
        return status, headers, body

    def _reply(self, path: str) -> Reply:
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/v4/people/current":
            return json_answer({"id": 17})
        if url.path in ("/v4/jobLibrary", "/v4/planSnapshotRuns"):
            return self._list(query) if self._answer is None else self._answer(int(query["offset"]))
        found = re.fullmatch(r"/v4/(jobGroups|flowRuns|planSnapshotRuns)/(\d+)(/\w+)?", url.path)
        assert found is not None, path
        run = self.runs[int(found[2])]
        status = run.status(self.now())
        if found[1] == "planSnapshotRuns":
            return json_answer({"id": run.id, "status": status})
        if found[3] == "/jobGroups":
            return json_answer({"data": [{"id": part, "status": status} for part in _parts(run)], "count": 2})
        return json_answer({"data": []} if found[3] == "/jobs" else status)

    def _list(self, query: dict[str, str]) -> Reply:
        now = self.now() - self._lag
        since = int(query["dateFilter[updatedAt][gte]"]) / 1000 if self._filters else 0.0
        rows = []
        for run in sorted(self.runs.values(), key=lambda run: run.updated(now), reverse=True):
            row = {
                "id": run.id,
                "status": run.status(now),
                "createdAt": _timestamp(run.created),
                "updatedAt": _timestamp(run.updated(now)),
            }
            for part in _parts(run) if self.kind == "flow_run" else [run.id]:
                shown = self._shows(run, {**row, "id": part, "flowRun": {"id": run.id}})
                if shown is not None and (
                    not isinstance(shown, dict) or str(shown.get("updatedAt")) >= _timestamp(since)
                ):
                    rows.append(shown)
        offset, limit = int(query["offset"]), min(int(query["limit"]), self._page)
        return json_answer({"data": rows[offset : offset + limit], "count": len(rows)})


def _parts(run: Run) -> list[int]:
    """Return the job groups of a flow run."""
    return [run.id * 10 + 100_000, run.id * 10 + 100_001]


@pytest.fixture
def fast() -> Iterator[FastClock]:
    clock = FastClock()
    with mock.patch.dict(TrifactaHook.__init__.__kwdefaults__, clock=clock):
        yield clock


TRIGGERS: dict[str, type[RunTrigger]] = {
    "job_group": TrifactaJobGroupTrigger,
    "flow_run": TrifactaFlowRunTrigger,
    "plan_run": TrifactaPlanRunTrigger,
}


def _trigger(server: Server, run: Run, **arguments: Any) -> RunTrigger:
    return TRIGGERS[server.kind](
        run.id, **{"poll_interval": 30.0, "began": run.created - server._ahead, **arguments}
    )


@dataclass
class Seen:
    """The end of a run as its task was told, and how many seconds after it ended."""

    status: str | None
    after: float


async def _wait_for(server: Server, run: Run, **arguments: Any) -> Seen:
    (event,) = [event async for event in _trigger(server, run, **arguments).run()]
    assert event.payload["outcome"] == "final", event.payload
    return Seen(event.payload["status"], server.now() - run.ends)


def _wait_for_all(server: Server, **arguments: Any) -> dict[int, Seen]:
    """Wait for all runs in one event loop, which has nothing left to do afterwards."""

    async def wait() -> dict[int, Seen]:
        async with asyncio.timeout(60):
            seen = await asyncio.gather(*(_wait_for(server, run, **arguments) for run in server.runs.values()))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return dict(zip(server.runs, seen, strict=True))

    return asyncio.run(wait())


def _assert_right(server: Server, seen: dict[int, Seen]) -> None:
    assert {identity: one.status for identity, one in seen.items()} == {
        identity: run.end for identity, run in server.runs.items()
    }
    assert min(one.after for one in seen.values()) >= 0


def _no_date(run: Run, row: dict[str, Any]) -> Any:
    return {name: value for name, value in row.items() if name != "updatedAt"}


def _garbage(run: Run, row: dict[str, Any]) -> Any:
    odd: list[Any] = [
        None,
        "row",
        {**row, "id": "x"},
        {**row, "status": {"status": "Complete"}},
        {**row, "status": None},
        {**row, "updatedAt": 5},
        {**row, "updatedAt": "9999-12-31T23:59:59.999Z"},
        {**row, "status": "Complete\n"},
        {**row, "flowRun": "null"},
        [row],
        row,
    ]
    return odd[run.id % len(odd)]


def _endless(offset: int) -> Reply:
    moment = _timestamp(time.time() + 86400)
    rows = [
        {"id": 10**6 + offset + number, "status": "InProgress", "createdAt": moment, "updatedAt": moment}
        for number in range(100)
    ]
    return json_answer({"data": rows})


#: How a list may be, and what the log must say of it.
LISTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "good": ({}, None),
    "ignores the filter": ({"filters": False}, "ignores the filter"),
    "403": ({"answer": lambda _: json_answer({"exception": {"name": "AccessControlException"}}, 403)}, "403"),
    "404": ({"answer": lambda _: json_answer({"exception": {"name": "RouteNotFoundException"}}, 404)}, "404"),
    "500": ({"answer": lambda _: json_answer({}, 500)}, "500"),
    "hides others": ({"shows": lambda run, row: row if run.id % 2 else None}, None),
    "hides all": ({"shows": lambda run, row: None}, None),
    "updatedAt never moves": ({"shows": lambda _, row: {**row, "updatedAt": row["createdAt"]}}, "not reliable"),
    "never shows an end": ({"shows": lambda _, row: {**row, "status": "InProgress"}}, "does not show it"),
    "invents ends": ({"shows": lambda _, row: {**row, "status": "Complete"}}, None),
    "lags": ({"lag": 20.0}, None),
    "lags long": ({"lag": 400.0, "last_end": 300.0}, "does not show it"),
    "clock ahead": ({"ahead": 420.0}, None),
    "clock behind": ({"ahead": -420.0}, None),
    "clock ahead, no date": ({"ahead": 420.0, "dated": False}, None),
    "clock behind, no date": ({"ahead": -420.0, "dated": False}, None),
    "short pages": ({"page": 25}, None),
    "garbage rows": ({"shows": _garbage}, None),
    "no dates": ({"shows": _no_date}, "no updatedAt"),
    "no list": ({"answer": lambda _: json_answer("Complete")}, "cannot be read"),
    "html": ({"answer": lambda _: (200, {"content-type": "text/html"}, b"<h1>Sign in</h1>")}, "cannot be read"),
    "never ends": ({"answer": _endless}, "has not ended"),
}


@pytest.mark.parametrize("case", LISTS)
def test_every_end_is_seen_and_none_is_invented(
    fast: FastClock,
    scripted: Start,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    monkeypatch.setattr(run_lists, "MOST_PAGES", 10)
    options, said = LISTS[case]
    ends = {"last_end": options["last_end"]} if "last_end" in options else {}
    server = Server(fast, **{name: value for name, value in options.items() if name not in ends})
    server.add(30, began=600, **ends)
    running = scripted(server)
    connect(running.url)
    _assert_right(server, _wait_for_all(server))
    warnings = [record.getMessage() for record in caplog.records if record.name == LIST_LOG]
    assert len(warnings) == (said is not None), warnings
    if said is not None:
        assert said in warnings[0]


@pytest.mark.parametrize("kind", TRIGGERS)
def test_good_lists_save_requests(fast: FastClock, scripted: Start, connect: Connect, kind: str) -> None:
    fast.speed = 10.0
    server = Server(fast, kind=kind)
    server.add(40, began=600, first_end=20, last_end=60)
    running = scripted(server)
    connect(running.url)
    seen = _wait_for_all(server, poll_interval=5)
    _assert_right(server, seen)
    polls = [request for request in running.requests if re.search(r"/\d+(/|$)", request)]
    # Read directly, each would be read eight times on average. A flow run is read with two requests at its end.
    assert len(polls) < 40 * 4, len(polls)
    after = sorted(one.after for one in seen.values())
    # `make bench` measures this on an idle machine: within five seconds after the interval.
    assert after[round(len(after) * 0.95)] < 5 + 15


def test_many_changes_at_once_are_told_one_after_the_other(
    fast: FastClock, scripted: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each writes a line. Airflow's triggerer may hang for good when hundreds are written at once."""
    fast.speed = 4.0
    told: list[float] = []
    log = mock.Mock(info=lambda text, *_: told.append(fast.monotonic()) if text == "%s is %s" else None)
    monkeypatch.setattr(RunTrigger, "log", log, raising=False)
    server = Server(fast)
    server.add(800, began=600, first_end=1000, last_end=2000)
    connect(scripted(server).url)

    async def wait() -> None:
        tasks = await _started(_trigger(server, run) for run in server.runs.values())
        async with asyncio.timeout(30):
            while len(told) < 800:  # noqa: ASYNC110 - waits for other tasks
                await asyncio.sleep(0.01)
        await _stop(tasks)

    asyncio.run(wait())
    in_a_second = max(sum(moment <= other < moment + 1 for other in told) for moment in told)
    # Beside those that the list shows, 20 a second are read directly.
    assert in_a_second <= 50 + 20 + 20 + 20
    assert max(told) - min(told) < 30


# --------------------------------------------------------------------------------------------------------- sharing


def _clients() -> int:
    """Return how many watches there are in this event loop."""
    return len(watch._watches.get(asyncio.get_running_loop(), {}))


def _users() -> int:
    """Return how many waits these watches have."""
    return sum(one.users for one in watch._watches.get(asyncio.get_running_loop(), {}).values())


async def _started(triggers: Iterable[RunTrigger]) -> list[asyncio.Task[Any]]:
    """Run triggers, and return their tasks once all of them use a watch."""
    before = _users()
    tasks = [asyncio.create_task(drain(trigger.run())) for trigger in triggers]
    for _ in range(3000):
        if _users() == before + len(tasks):
            return tasks
        await asyncio.sleep(0.01)
    raise TimeoutError("not all of them use a watch")


async def _stop(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert _clients() == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 1),
        ({"conn_id": "other"}, 2),
        ({"token": "of-another-user-1234"}, 2),
        ({"read_timeout": 7}, 2),
    ],
    ids=str,
)
def test_only_the_same_connection_and_settings_share(
    fast: FastClock, scripted: Start, connect: Connect, change: dict[str, Any], expected: int
) -> None:
    server = Server(fast)
    server.add(4, began=600, first_end=10**6, last_end=10**6)
    url = scripted(server).url

    async def share() -> None:
        connect(url)
        tasks = await _started(_trigger(server, server.runs[number]) for number in (1, 2))
        connect(url, **change)
        conn_id = change.get("conn_id", "trifacta_default")
        tasks += await _started(
            _trigger(server, server.runs[number], trifacta_conn_id=conn_id) for number in (3, 4)
        )
        assert _clients() == expected
        await _stop(tasks)

    asyncio.run(share())


@pytest.fixture
def connection_reads(monkeypatch: pytest.MonkeyPatch) -> list[TrifactaHook]:
    """Who reads the connection, which takes a while."""
    reads = []
    read = TrifactaHook._async_connection

    async def read_slowly(hook: TrifactaHook) -> Any:
        reads.append(hook)
        await asyncio.sleep(0.1)
        return await read(hook)

    monkeypatch.setattr(TrifactaHook, "_async_connection", read_slowly)
    return reads


def test_triggers_that_start_together_read_their_connection_once(
    fast: FastClock, scripted: Start, connect: Connect, connection_reads: list[TrifactaHook]
) -> None:
    server = Server(fast)
    server.add(30, began=600)
    connect(scripted(server).url)
    _assert_right(server, _wait_for_all(server))
    assert len(connection_reads) == 1


def test_whoever_began_to_read_the_connection_may_leave(
    fast: FastClock, scripted: Start, connect: Connect, connection_reads: list[TrifactaHook]
) -> None:
    server = Server(fast)
    server.add(3, began=600)
    connect(scripted(server).url)

    async def leave(number: int) -> None:
        waits = [asyncio.create_task(_wait_for(server, run)) for run in server.runs.values()]
        async with asyncio.timeout(30):
            while not connection_reads:  # noqa: ASYNC110 - the triggers make it true
                await asyncio.sleep(0)
            for wait in waits[:number]:
                wait.cancel("a user")
            for wait in waits[:number]:
                with pytest.raises(asyncio.CancelledError, match="a user"):
                    await wait
            await asyncio.gather(*waits[number:])
            while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110
                await asyncio.sleep(0)

    asyncio.run(leave(1))
    assert len(connection_reads) == 1
    connection_reads.clear()
    asyncio.run(leave(3))


def test_a_connection_that_cannot_be_used_is_an_error_for_each(
    connect: Connect, connection_reads: list[TrifactaHook]
) -> None:
    connect("http://")

    async def wait() -> list[Any]:
        triggers = [TrifactaJobGroupTrigger(number, poll_interval=1.0) for number in range(1, 4)]
        return await asyncio.gather(*(drain(trigger.run()) for trigger in triggers))

    events = asyncio.run(asyncio.wait_for(wait(), 30))
    assert ["host" in event.payload["message"] for (event,) in events] == [True] * 3


def test_a_cancel_and_an_error_of_one_disturb_nobody(fast: FastClock, scripted: Start, connect: Connect) -> None:
    server = Server(fast)
    server.add(20, began=600, first_end=60, last_end=120)

    def answer(path: str) -> Reply:
        if path == "/v4/jobGroups/1/status":
            return json_answer({"exception": {"name": "DataNotFoundException"}}, 404)
        return server(path)

    # The list does not show the first one, so it is read.
    server._shows = lambda run, row: None if run.id == 1 else row
    connect(scripted(answer).url)

    async def wait() -> None:
        triggers = [_trigger(server, run) for run in server.runs.values()]
        tasks = await _started(triggers)
        for task in tasks[1:5]:
            task.cancel()
        async with asyncio.timeout(60):
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert ended[0][0].payload["error"]["status"] == 404  # type: ignore[index]
        assert all(isinstance(one, asyncio.CancelledError) for one in ended[1:5])
        statuses = [one[0].payload["status"] for one in ended[5:]]  # type: ignore[index]
        assert statuses == [run.end for run in server.runs.values()][5:]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(wait())
