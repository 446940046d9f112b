"""How a list is followed: random runs, lists that lag and break off, restarts at any moment."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from support import sequences

from airflow_provider_trifacta.api.runs.cursor import LOOK_BACK, Cursor, Wanted
from airflow_provider_trifacta.api.runs.finished import FinishedRun
from airflow_provider_trifacta.api.runs.kind import KindName
from airflow_provider_trifacta.api.runs.run_lists import ListedRun

COUNT, SEED = sequences()
#: The longest time after which a change appears in the list; less than the overlap of two readings.
LAG = 500.0
BEGAN = 1_700_000_000.0


@dataclass
class Run:
    """A run with parts, each of which is a row; a job group or plan run has one."""

    id: str
    begins: float
    ends: list[float]
    result: str

    def has_ended(self, now: float) -> bool:
        return now >= max(self.ends)


@dataclass
class World:
    """A server, and what a watcher of it does, one step at a time."""

    kind: KindName
    chance: random.Random
    now: float = BEGAN
    runs: list[Run] = field(default_factory=list)
    appears: dict[tuple[str, float], float] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    unstored: Counter[str] = field(default_factory=Counter)
    may_be_doubled: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.wanted = Wanted(self.kind, "7", frozenset({"Complete", "Failed"}))
        self.cursor = Cursor(self.wanted, self.now)
        self.stored: str | None = None

    def start_runs(self) -> None:
        for _ in range(self.chance.randrange(4)):
            begins = self.now - self.chance.choice([0, 0, 0, 5])
            parts = self.chance.randrange(1, 4) if self.kind == "flow_run" else 1
            lasts = self.chance.choice([0.0, 1.0, 30.0, 300.0, 5000.0])
            ends = [begins + round(lasts * self.chance.random(), 3) for _ in range(parts)]
            result = self.chance.choice(["Complete", "Failed", "Canceled"])
            self.runs.append(Run(str(len(self.runs) + 1), begins, ends, result))

    def rows(self, since: float) -> list[ListedRun]:
        rows = []
        for run in self.runs:
            for number, ends in enumerate(run.ends):
                # A row changes when it appears and when it ends; the list shows each change later.
                for moment, status in ((ends, run.result), (run.begins, "InProgress")):
                    identity = f"{run.id}0{number}" if self.kind == "flow_run" else run.id
                    lag = self.appears.setdefault((identity, moment), LAG * self.chance.random() ** 3)
                    if moment + lag <= self.now and moment >= since:
                        flow_run = run.id if self.kind == "flow_run" else None
                        rows.append(ListedRun(identity, status, run.begins, moment, flow_run, subject_id="7"))
                        break
        self.chance.shuffle(rows)
        return rows

    def read_list(self) -> None:
        rows = self.rows(self.cursor.since)
        is_complete = self.chance.random() < 0.8
        for row in rows if is_complete else rows[: self.chance.randrange(len(rows) + 1)]:
            self.cursor.see(row, self.now)
        if is_complete:
            self.cursor.covered(max((row.updated_at or 0.0 for row in rows), default=None), 0.0)

    def report(self) -> None:
        for key in self.cursor.due(self.now):
            (run,) = [run for run in self.runs if run.id == key]
            if self.chance.random() < 0.2:
                assert not self.cursor.failed(key, self.now)
                continue
            if not run.has_ended(self.now):
                self.cursor.still_running(key, self.now)
                continue
            ended = datetime.fromtimestamp(max(run.ends), UTC)
            ids = dict.fromkeys(("recipe_id", "flow_id", "plan_id"), "7")
            finished = FinishedRun(self.kind, key, run.result, ended=ended, **ids)
            if self.cursor.ended_before(finished):
                self.cursor.report(key)
            elif self.wanted.is_met_by(finished):
                self.cursor.report(key)
                self.events[key] += 1
                self.unstored[key] += 1
            else:
                self.cursor.close(key)

    def store(self) -> None:
        if self.cursor.is_ready:
            self.stored = json.dumps(self.cursor.plain())
            self.unstored.clear()

    def restart(self) -> None:
        assert self.stored is not None
        self.may_be_doubled |= set(self.unstored)
        cursor = Cursor.read(self.wanted, json.loads(self.stored), self.now)
        assert cursor is not None
        self.cursor = cursor
        self.unstored.clear()

    def step(self) -> None:
        self.start_runs()
        self.now += self.chance.choice([0.0, 1.0, 60.0, 60.0, 60.0, 700.0])
        self.read_list()
        self.report()
        if self.chance.random() < 0.8:
            self.store()
        # Without a restart there is no gap, in which a run that could not be read would seem to be so for a day.
        if self.stored is not None and self.chance.random() < 0.1:
            self.restart()
            self.now += self.chance.choice([0.0, 60.0, 5000.0, LOOK_BACK])


@pytest.mark.parametrize("kind", ["job_group", "flow_run", "plan_snapshot_run"])
def test_no_event_is_lost_or_doubled(kind: KindName) -> None:
    for seed in range(SEED, SEED + COUNT):
        world = World(kind, random.Random(seed))
        # Some have ended before it begins, and some are running.
        world.start_runs()
        world.now += world.chance.choice([1.0, 100.0])
        began = world.now
        world.cursor = Cursor(world.wanted, began)
        for _ in range(60):
            world.step()
        for _ in range(12):  # reading goes on until nothing is left
            world.now += 950
            world.read_list()
            world.report()
            world.store()
        ended = {run.id: max(run.ends) for run in world.runs if run.result != "Canceled"}
        # What ended in the last minutes before the beginning may have been shown after it.
        expected = {key for key, moment in ended.items() if moment >= began}
        allowed = {key for key, moment in ended.items() if moment >= began - LAG}
        assert expected <= set(world.events) <= allowed, f"seed {seed}"
        doubled = {key for key, count in world.events.items() if count > 1}
        assert doubled <= world.may_be_doubled, f"seed {seed}"


def test_a_run_that_cannot_be_read_is_given_up_after_a_day() -> None:
    cursor = Cursor(Wanted("job_group", "7", frozenset({"Complete"})), BEGAN)
    cursor.covered(None, 0.0)
    row = ListedRun("1", "Complete", BEGAN, BEGAN + 1, subject_id="7")
    now, reads = 0.0, 0
    while True:
        cursor.see(row, now)
        if cursor.due(now):
            reads += 1
            if cursor.failed("1", now):
                break
        now += 60
    assert 86_400 < now < 88_000
    assert reads < 110
    cursor.see(row, now)
    assert not cursor.open


def test_what_is_remembered_is_bounded() -> None:
    cursor = Cursor(Wanted("job_group", "7", frozenset({"Complete"})), BEGAN)
    cursor.covered(None, 0.0)
    for number in range(1, 6001):
        cursor.see(ListedRun(str(10**12 + number), "Complete", BEGAN, BEGAN + number, subject_id="7"), 0.0)
        if number % 2:
            cursor.report(str(10**12 + number))
    cursor.drop_oldest()
    assert len(cursor.open) == 500
    # Airflow warns of values that are longer.
    assert len(json.dumps(cursor.plain())) < 65_536
