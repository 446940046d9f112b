"""What thousands of waits cost two triggerers, and what happens to them when one is lost.

``DISTRIBUTED_WAITS=10000`` waits for more. The tasks are deferred by writing to the database what Airflow writes
when a task defers: to start thousands of them takes workers on a small machine most of an hour.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import runs_server
from airflow_instance import AirflowInstance, wait_for
from batch import Batch
from databases import PostgresDatabase
from distribution import TRIGGERERS

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.distributed

WAITS = int(os.environ["DISTRIBUTED_WAITS"])
POLL_INTERVAL = 30
#: Seconds for which costs are counted.
COUNTED = 120
#: How many runs end meanwhile, and how many while a triggerer is lost.
ENDING = 10


class Server:
    """The server of the runs, see :mod:`runs_server`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def requests(self) -> Counter[str]:
        """Return how many requests of each kind there have been since the last time."""
        with urllib.request.urlopen(f"{self._url}/counted", timeout=30) as answer:
            return Counter(json.loads(answer.read())["requests"])

    def end(self, runs: list[int]) -> None:
        """Let runs end."""
        body = json.dumps([str(run) for run in runs]).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self._url}/end", body, method="POST"), timeout=30).close()


class Waits:
    """A run of ``wait_many``, whose tasks wait for the runs of a server."""

    def __init__(self, airflow: AirflowInstance, emulator: Emulator) -> None:
        self._airflow = airflow
        self._ended = 0
        airflow.api("POST", "/api/v2/pools", {"name": "held_back", "slots": 0})
        airflow.trigger("wait_many", "many")
        wait_for(lambda: self.states()["scheduled"] == WAITS, "not all tasks are scheduled", seconds=300)
        self._deferral = self._deferral_of_a_task(emulator)

    def states(self) -> Counter[str]:
        """Return how many tasks are in each state."""
        return self._count("select state from task_instance where run_id = 'many'")

    def held(self) -> Counter[str]:
        """Return how many of them each triggerer has."""
        return self._count(
            "select job.hostname from task_instance ti join trigger on trigger.id = ti.trigger_id "
            "join job on job.id = triggerer_id where ti.run_id = 'many'"
        )

    def _count(self, query: str) -> Counter[str]:
        return Counter(str(value) for (value,) in self._airflow.rows(query))

    def _deferral_of_a_task(self, emulator: Emulator) -> tuple[object, ...]:
        """Let a task defer, and return what Airflow writes: its trigger, and how it is resumed."""
        emulator.change_settings(pace="seconds=100000")
        try:
            batch = Batch(self._airflow, emulator, "like-this", deferred=1)
            batch.wait_until_all_wait()
            (deferral,) = self._airflow.rows(
                "select classpath, kwargs, next_method, next_kwargs "
                "from task_instance ti join trigger on trigger.id = ti.trigger_id where ti.run_id = 'like-this'"
            )
        finally:
            emulator.change_settings(pace="seconds=2")
        batch.assert_one_complete_job_group_each()
        return deferral

    def defer(self) -> None:
        """Defer all of them, each for a run of its own, as a task that is deferred at this moment."""
        classpath, arguments, method, resumed_with = self._deferral
        tasks = self._airflow.rows(
            "select id from task_instance where run_id = 'many' order by task_id, map_index"
        )
        now = time.time()
        deferrals = []
        for number, (task,) in enumerate(tasks, start=1):
            changed = {
                "job_group_id": number,
                "trifacta_conn_id": "trifacta_many",
                "poll_interval": POLL_INTERVAL,
                "began": now - 3600 * (WAITS - number) / WAITS,
            }
            trigger = json.dumps(_with(json.loads(str(arguments)), changed))
            deferrals.append((classpath, trigger, method, json.dumps(_with(resumed_with, changed)), task))
        database = self._airflow.database
        assert isinstance(database, PostgresDatabase)
        database.change(
            "with created as "
            "(insert into trigger (classpath, kwargs, created_date) values (?, ?, now()) returning id) "
            "update task_instance set state = 'deferred', trigger_id = (select id from created), next_method = ?, "
            "next_kwargs = ?, start_date = now(), try_number = 1 where id = ?",
            deferrals,
        )

    def seconds_until_fired(self, number: int) -> float:
        """Wait until the triggers of some more runs, which have just ended, have fired."""
        began = time.monotonic()
        self._ended += number
        wait_for(
            lambda: self.states()["deferred"] == WAITS - self._ended, "an end is not seen", seconds=300, every=0.5
        )
        return time.monotonic() - began


def _with(values: Any, changed: dict[str, Any]) -> Any:
    """Return values with others for some names, however Airflow has wrapped them."""
    if not isinstance(values, dict):
        return values
    return {name: changed.get(name, _with(value, changed)) for name, value in values.items()}


def _requests_until_quiet(server: Server) -> Counter[str]:
    """Wait until there have been requests, and then are only a few; return those until then."""
    total: Counter[str] = Counter()
    while True:
        time.sleep(5)
        latest = server.requests()
        total += latest
        if total and latest.total() <= 10:
            return total


def _memory(airflow: AirflowInstance, name: str) -> int:
    """Return the memory of all processes of a component, in bytes; what several share is divided by them."""
    shares = [
        re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
        for process in airflow.processes(name)
    ]
    return sum(int(share[1]) * 1024 for share in shares if share)


def _open_files(airflow: AirflowInstance, name: str) -> int:
    """Return how many files the process of a component has open that has most of them."""
    return max(len(list(Path(f"/proc/{process}/fd").iterdir())) for process in airflow.processes(name))


def _lag(airflow: AirflowInstance, name: str, since: float) -> str:
    """Return how late the event loop of a triggerer was, from what Airflow's watchdog logs, which sleeps 0.1 s."""
    log = (airflow.home / f"{name}.log").read_text()
    logged = re.findall(r"^(\S+) .*async thread was blocked for ([\d.]+) s", log, re.MULTILINE)
    late = [float(slept) - 0.1 for at, slept in logged if datetime.fromisoformat(at).timestamp() >= since]
    share = len(late) / ((time.time() - since) / 0.1)
    return f"more than 20 ms late in {share:.1%} of the cases, at worst {1000 * max(late, default=0):.0f} ms"


def test_many_waits(airflow: AirflowInstance, emulator: Emulator) -> None:
    waits = Waits(airflow, emulator)
    # Not earlier: its runs are to be no older than the waits for them.
    with runs_server.running(WAITS) as url:
        server = Server(url)
        airflow.set_connection("trifacta_many", conn_type="trifacta", host=url, password="token")
        idle = {name: _memory(airflow, name) for name in TRIGGERERS}
        waits.defer()
        since = time.time()
        wait_for(lambda: waits.held().total() == WAITS, "not all wait in a triggerer", seconds=600)
        held = waits.held()
        print(f"\n{WAITS} waits: {dict(held)} after {time.time() - since:.0f} s")
        at_first = _requests_until_quiet(server)
        print(f"requests at first: {at_first.total()} {dict(at_first)}")
        for name in TRIGGERERS:
            now, before = (value / 1e6 for value in (_memory(airflow, name), idle[name]))
            print(f"{name}: {now:.0f} MB, {before:.0f} MB before; {_open_files(airflow, name)} open files")

        server.requests()
        since = time.time()
        delays = []
        for number in range(1, ENDING + 1):
            server.end([number * WAITS // ENDING - 1])
            delays.append(waits.seconds_until_fired(1))
            time.sleep(max(0.0, since + COUNTED * number / ENDING - time.time()))
        counted = server.requests()
        per_minute = counted.total() / (time.time() - since) * 60
        print(f"requests a minute: {per_minute:.0f}, {dict(counted)}")
        print(f"an end is seen after: {sorted(round(delay) for delay in delays)} s")
        for name in TRIGGERERS:
            print(f"{name}: event loop {_lag(airflow, name, since)}")

        lost = held.most_common(1)[0][0]
        airflow.stop_component(lost, signal.SIGKILL)
        try:
            server.requests()
            server.end([number * WAITS // ENDING for number in range(1, ENDING + 1)])
            since = time.time()
            wait_for(lambda: not waits.held()[lost], "the other does not take over", seconds=300)
            taken_over = time.time() - since
            waits.seconds_until_fired(ENDING)
            caught_up = _requests_until_quiet(server)
            print(
                f"{lost} lost with {held[lost]} waits: the other has them after {taken_over:.0f} s, all ends are "
                f"seen after {time.time() - since:.0f} s, {caught_up.total()} requests, {dict(caught_up)}"
            )
        finally:
            airflow.start_component(lost)
        pool = {"pool": "held_back", "slots": 128, "include_deferred": False}
        airflow.api("PATCH", "/api/v2/pools/held_back?update_mask=slots", pool)
        wait_for(lambda: waits.states()["success"] == 2 * ENDING, "not all tasks have ended", seconds=300)
        assert waits.states() == {"success": 2 * ENDING, "deferred": WAITS - 2 * ENDING}

        server.requests()
        since = time.time()
        airflow.api("PATCH", "/api/v2/dags/wait_many/dagRuns/many", {"state": "failed"})
        canceled = 0

        def all_are_canceled() -> bool:
            nonlocal canceled
            canceled += server.requests()["cancel"]
            return canceled >= WAITS - 2 * ENDING

        wait_for(all_are_canceled, "a run is left running", seconds=120, every=1)
        print(f"the DAG run marked failed: all its runs are canceled after {time.time() - since:.0f} s")
        # Twice the figures for one watch, since there are two.
        assert per_minute <= 120
        assert max(delays) <= 2 * POLL_INTERVAL
        assert caught_up.total() <= WAITS / 2
