"""What follows when something breaks: a fault or a kill at every point of a task's life."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from kinds import FLOW_RUNS, JOB_GROUPS, KINDS, PERSON, PLAN_RUNS, Kind
from kinds import empty as empty_server
from simulated_airflow import Killed, Process, SimulatedTask, let_operators_run_in_this_thread
from support import FakeClock, FakeTaskInstance, ScriptedServer, SomeOf

from airflow_provider_trifacta.airflow_support.compat import AirflowFailException
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.emulator.writing import Writing
from airflow_provider_trifacta.exceptions import (
    TrifactaJobGroupFailed,
    TrifactaRunCanceled,
    TrifactaRunError,
    TrifactaRunFailed,
    TrifactaSubmitOutcomeUnknown,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.run import RunOperator

MakeTask = Callable[..., SimulatedTask]
WRITTEN = asdict(Writing())
#: Ways to write job groups in which nothing is said that is not documented somewhere.
WRITINGS: dict[str, dict[str, Any]] = {
    "documented": {},
    "null-id": {"null_references": "null-id"},
    "empty": {"null_references": "empty"},
    "absent": {"null_references": "absent"},
    "camel": {"field_names": "camel"},
    "camel-null-id": {"field_names": "camel", "null_references": "null-id"},
    "lower-string-ids": {"field_names": "lower", "ids": "string"},
    "bare-ids": {"references": "id", "ids": "string"},
    "id-fields": {"references": "id-field"},
    "camel-id-fields": {"references": "id-field", "field_names": "camel", "null_references": "absent"},
    "without-recipes": {"library_recipes": False},
    "without-recipes-bare": {"library_recipes": False, "references": "id-field", "field_names": "lower"},
}


@pytest.fixture(scope="module")
def _server() -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1.8e9)) as running:
        yield running


@pytest.fixture
def emulator(_server: Emulator, connect: Callable[..., None]) -> Emulator:
    """A server with nothing in it, hours after what other tests did."""
    empty(_server)
    connect(_server)
    return _server


def empty(server: Emulator) -> None:
    empty_server(server, source_word="api", **WRITTEN)


@pytest.fixture(params=[False, True], ids=["sync", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[True, False], ids=["store", "no-store"])
def make_task(request: pytest.FixtureRequest, emulator: Emulator, deferrable: bool) -> MakeTask:
    """Makes tasks that run a recipe, for what only job groups have: rows of lists, and how they are written."""

    def make(**options: Any) -> SimulatedTask:
        return SimulatedTask(emulator, **{"deferrable": deferrable, "store": request.param, **options})

    return make


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Kind]:
    """Each kind of run, for what needs a note or must not have one."""
    kind: Kind = request.param
    yield kind
    kind.behave(emulator)


@dataclass(frozen=True)
class Tasks:
    """Makes tasks that run one kind, for what is promised of every kind."""

    emulator: Emulator
    kind: Kind
    store: bool
    deferrable: bool

    def every(self, step: int) -> int:
        """Return which of many points are tried: all for job groups, fewer for what is built on the same."""
        return 1 if self.kind is JOB_GROUPS else step

    def __call__(self, **options: Any) -> SimulatedTask:
        return SimulatedTask(
            self.emulator, **{"kind": self.kind, "store": self.store, "deferrable": self.deferrable, **options}
        )


#: Each kind, and whether Airflow has a task state store. What there is without one is the same for every kind.
TASKS = [(JOB_GROUPS, True), (JOB_GROUPS, False), (FLOW_RUNS, True), (PLAN_RUNS, True)]


def _named(case: tuple[Kind, bool]) -> str:
    return f"{case[0]}-{'store' if case[1] else 'no-store'}"


@pytest.fixture(params=TASKS, ids=_named)
def tasks(request: pytest.FixtureRequest, emulator: Emulator, deferrable: bool) -> Iterator[Tasks]:
    kind, store = request.param
    yield Tasks(emulator, kind, store, deferrable)
    kind.behave(emulator)


def ids(emulator: Emulator) -> list[int]:
    return JOB_GROUPS.ids(emulator)


def statuses(emulator: Emulator) -> list[str]:
    return JOB_GROUPS.statuses(emulator)


def assert_one_run(task: SimulatedTask) -> None:
    kind, emulator = task.kind, task.emulator
    assert (task.state, kind.statuses(emulator)) == ("success", ["Complete"]), task.error
    assert task.returned == kind.ids(emulator)[0]
    of_the_run = [row["id"] for run in kind.rows(emulator) for row in kind.job_groups_of(emulator, run)]
    assert of_the_run == ids(emulator)


def events_of_a_clean_life(task: SimulatedTask) -> list[str]:
    events = task.run_try().events
    assert_one_run(task)
    return events


# ------------------------------------------------------------------------------------ every fault at every request


FAULTS: list[dict[str, Any]] = [
    {"kind": "reset"},
    {"kind": "reset", "after": True},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502, "after": True},
    {"kind": "html", "status": 504, "after": True},
    {"kind": "html", "status": 200, "after": True},
    {"kind": "status", "status": 503, "after": True, "times": 3},
    {"kind": "cut"},
    {"kind": "rate_limit"},
    {"kind": "delay", "seconds": 0.4, "after": True},
]


def _life_with_a_fault_at_any_request(
    tasks: Tasks, connect: Callable[..., None], some_of: SomeOf, fault: dict[str, Any], *, honours: bool
) -> None:
    emulator = tasks.emulator
    connect(emulator, read_timeout=0.2 if fault["kind"] == "delay" else 60)
    requests = sum(
        event.startswith("before GET") or event.startswith("before POST")
        for event in events_of_a_clean_life(tasks())
    )
    assert requests > 3
    for number in some_of(range(1, requests + 1)):
        empty(emulator)
        emulator.change_settings(honour_execution_id=honours)
        emulator.order("*", call=number, **fault)
        task = tasks()
        task.run_to_the_end()
        assert_one_run(task)
        assert task.try_number == 1, f"fault at request {number}: {task.error}"
        submits = {entry.execution_id for entry in emulator.calls(tasks.kind.submit)}
        assert len(submits) == 1
        assert None not in submits


def _with_faults(few: list[dict[str, Any]]) -> Any:
    """Give job groups every fault, and the other kinds a few."""
    cases = [(case, fault) for case in TASKS for fault in (FAULTS if case[0] is JOB_GROUPS else few)]
    ids = ["-".join([_named(case), *map(str, fault.values())]) for case, fault in cases]
    return pytest.mark.parametrize(("tasks", "fault"), cases, ids=ids, indirect=["tasks"])


@_with_faults(FAULTS[:-1])
def test_a_fault_at_any_request(
    tasks: Tasks, connect: Callable[..., None], some_of: SomeOf, fault: dict[str, Any]
) -> None:
    _life_with_a_fault_at_any_request(tasks, connect, some_of, fault, honours=True)


@_with_faults(FAULTS[1:3])
def test_a_fault_at_any_request_where_the_execution_id_is_ignored(
    tasks: Tasks, connect: Callable[..., None], some_of: SomeOf, fault: dict[str, Any]
) -> None:
    _life_with_a_fault_at_any_request(tasks, connect, some_of, fault, honours=False)


# --------------------------------------------------------------------------------------------- a kill at any point


@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
def test_a_kill_at_any_point(tasks: Tasks, emulator: Emulator, some_of: SomeOf, honours: bool) -> None:
    points = events_of_a_clean_life(tasks())
    assert any("note" in point for point in points) or tasks()._store is None
    for number, point in some_of(list(enumerate(points, 1))[:: tasks.every(2)]):
        empty(emulator)
        emulator.change_settings(honour_execution_id=honours)
        task = tasks()
        task.run_try(Process(kill_at=number))
        task.run_to_the_end()
        assert (task.state, len(tasks.kind.ids(emulator))) == ("success", 1), f"killed {point}: {task.error}"
        assert_one_run(task)


def test_kills_at_two_points(tasks: Tasks, emulator: Emulator, some_of: SomeOf) -> None:
    points = events_of_a_clean_life(tasks())
    step = 2 * tasks.every(2)
    for first, second in some_of(list(itertools.product(range(1, len(points) + 1, step), range(1, 12, step)))):
        empty(emulator)
        task = tasks()
        task.run_try(Process(kill_at=first))
        if task.state != "success":
            task.clock.sleep(1)
            task.run_try(Process(kill_at=second))
        task.run_to_the_end()
        assert_one_run(task)


# ------------------------------------------------------------------------------------------- what a submit becomes


class At(Process):
    """A process in which something else happens at an event.

    :param where: the event: its number, or what it is called.
    """

    def __init__(self, where: int | str, then: Callable[[], Any]) -> None:
        super().__init__()
        self._where = where
        self._then: Callable[[], Any] | None = then

    def event(self, name: str) -> None:
        super().event(name)
        if self._then is not None and self._where in (len(self.events), name):
            then, self._then = self._then, None
            with ThreadPoolExecutor(1) as elsewhere:
                elsewhere.submit(then).result()


SUBMIT = JOB_GROUPS.before_submit
SUBJECTS = {"job_group": "recipe 7", "flow_run": "flow 302", "plan_run": "plan 89"}


def start_elsewhere(emulator: Emulator, **fields: Any) -> dict[str, Any]:
    """Start a job group that is not the task's."""
    recipe = emulator.state.get("wrangledDatasets", 7)
    row = emulator.app.runs.start_job_group(recipe, 17, overrides={}, run_parameters={})
    row.update(fields)
    return row


def test_an_answer_that_is_lost_is_said_in_the_log(
    tasks: Tasks,
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    emulator.order(tasks.kind.submit, "reset", after=True)
    tasks().run_try()
    (identity,) = tasks.kind.ids(emulator)
    log = caplog.text + capsys.readouterr().out  # Airflow 3 prints what tasks log
    assert f"The answer to the start of {SUBJECTS[tasks.kind.name]} was lost; checking whether" in log
    assert f"Adopted {identity}" in log
    assert "nothing new was started" in log
    assert "try again later" not in log  # what to do is said when the task fails


def test_what_is_not_ours_is_not_adopted(make_task: MakeTask, emulator: Emulator) -> None:
    stranger, _ = emulator.add_person("stranger@example.com")
    earlier = start_elsewhere(emulator)
    emulator.clock.advance(60)
    foreign = [
        earlier,
        start_elsewhere(emulator, wrangledDataset={"id": 8}),
        start_elsewhere(emulator, creator={"id": stranger}),
        start_elsewhere(emulator, ranfrom="ui"),
        start_elsewhere(emulator, flowrun={"id": 5}),
        start_elsewhere(emulator, runParameterReferenceDate="2024-03-02T00:00:00.000Z"),
    ]
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task(reference_date="2024-03-01T00:00:00Z")
    task.run_try()
    assert task.state == "success", task.error
    assert [identity for identity in ids(emulator) if identity not in {row["id"] for row in foreign}] == [
        task.returned
    ]


def test_the_search_reads_every_page(make_task: MakeTask, emulator: Emulator) -> None:
    task = make_task()
    for _ in range(230):
        start_elsewhere(emulator, ranfrom="ui")
    ours = start_elsewhere(emulator)
    for _ in range(230):
        start_elsewhere(emulator, wrangledDataset={"id": 8})
    emulator.order("runJobGroup", "status", status=304)
    task.run_try()
    assert task.returned == ours["id"]


def test_a_304_waits_for_a_list_that_lags(make_task: MakeTask, emulator: Emulator) -> None:
    emulator.change_settings(library_lag=60)
    emulator.order("runJobGroup", "status", status=503, after=True)
    task = make_task()
    task.run_try()
    assert_one_run(task)
    assert [entry.status for entry in emulator.calls("runJobGroup")] == [503, 304]


def test_a_304_for_something_that_never_shows_is_unknown(tasks: Tasks, emulator: Emulator) -> None:
    emulator.order(tasks.kind.submit, "status", status=304, call=None)
    task = tasks(retries=1)
    before = task.clock.time()
    task.run_try()
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert 100 < task.clock.time() - before < 300
    assert task.error.execution_id == emulator.calls(tasks.kind.submit)[0].execution_id
    for said in (
        task.error.execution_id,
        SUBJECTS[tasks.kind.name],
        "since 20",
        "Nothing else was started",
        "clear the task",
    ):
        assert said in str(task.error)
    assert (task.state, tasks.kind.ids(emulator)) == ("up_for_retry", [])


def test_several_that_could_be_it_are_listed(tasks: Tasks, emulator: Emulator) -> None:
    emulator.order(tasks.kind.submit, "reset", after=True)
    task = tasks()
    task.run_try(At(tasks.kind.before_submit, lambda: tasks.kind.start(emulator)))
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert sorted(task.error.candidates) == tasks.kind.ids(emulator)
    assert all(str(identity) in str(task.error) for identity in tasks.kind.ids(emulator))
    assert len(emulator.calls(tasks.kind.submit)) == 1


def test_a_list_that_shows_somebody_elses_first_is_not_believed(make_task: MakeTask, emulator: Emulator) -> None:
    emulator.change_settings(library_lag=1.5)
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task()
    start_elsewhere(emulator)
    emulator.clock.advance(1)
    task.run_try()
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert sorted(task.error.candidates) == ids(emulator)


def test_the_job_of_an_earlier_attempt_is_not_adopted_again(tasks: Tasks, emulator: Emulator) -> None:
    tasks.kind.behave(emulator, "fail-wrangle")
    task = tasks()
    emulator.order(tasks.kind.submit, "reset", call=2, after=True)
    task.run_try()
    task.run_try()
    assert isinstance(task.error, TrifactaRunFailed)
    assert task.error.run_id == tasks.kind.ids(emulator)[1]
    assert len(tasks.kind.ids(emulator)) == 2


def test_the_jobs_of_other_mapped_tasks_are_not_adopted(tasks: Tasks, emulator: Emulator) -> None:
    task = tasks(map_index=1)
    emulator.order(tasks.kind.submit, "reset", after=True)
    task.siblings = [tasks.kind.start(emulator) for _ in range(3)]
    task.run_try(Process(kill_waiting=True))
    task.run_to_the_end()
    assert task.returned == tasks.kind.ids(emulator)[3]
    assert len(tasks.kind.ids(emulator)) == 4


# ------------------------------------------------------------------------------------- lists that write otherwise


@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
@pytest.mark.parametrize("writing", WRITINGS.values(), ids=WRITINGS)
def test_a_lost_answer_is_found_however_lists_write_things(
    make_task: MakeTask, emulator: Emulator, writing: dict[str, Any], honours: bool
) -> None:
    stranger, _ = emulator.add_person("stranger@example.com")
    emulator.change_settings(honour_execution_id=honours, **writing)
    task = make_task(reference_date="2024-03-01T00:00:00Z")
    foreign = [
        start_elsewhere(emulator, wrangledDataset={"id": 8}),
        start_elsewhere(emulator, creator={"id": stranger}),
        start_elsewhere(emulator, ranfrom="ui"),
        start_elsewhere(emulator, flowrun={"id": 5}),
        start_elsewhere(emulator, runParameterReferenceDate="2024-03-02T00:00:00.000Z"),
    ]
    emulator.order("runJobGroup", "reset", after=True)
    task.run_try()
    assert task.state == "success", task.error
    assert ids(emulator) == [*(row["id"] for row in foreign), task.returned]
    assert len(emulator.calls("runJobGroup")) == 1


@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
@pytest.mark.parametrize("writing", WRITINGS.values(), ids=WRITINGS)
def test_a_kill_after_the_submit_however_lists_write_things(
    make_task: MakeTask, emulator: Emulator, writing: dict[str, Any], honours: bool
) -> None:
    emulator.change_settings(honour_execution_id=honours, **writing)
    task = make_task()
    task.run_try(KilledAfterSubmit())
    task.run_to_the_end()
    assert_one_run(task)


class KilledAfterSubmit(Process):
    def event(self, name: str) -> None:
        super().event(name)
        if name == "after POST /v4/jobGroups":
            raise Killed(name)


@pytest.mark.parametrize("word", ["API", "null"])
@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
def test_a_source_that_says_nothing_else_is_ours(
    make_task: MakeTask, emulator: Emulator, word: str, honours: bool
) -> None:
    emulator.change_settings(source_word=word, honour_execution_id=honours)
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task()
    task.run_try()
    assert_one_run(task)


@pytest.mark.parametrize("word", ["schedule", "ui"])
def test_a_source_that_the_request_says_is_ours(make_task: MakeTask, emulator: Emulator, word: str) -> None:
    emulator.change_settings(honour_execution_id=False)
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task(request_body_extra={"ranfrom": word})
    task.run_try()
    assert_one_run(task)


OTHER_WORDS = ["rest", "cli", "ui", "schedule", "🚀 v2"]


@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
@pytest.mark.parametrize("word", OTHER_WORDS)
def test_another_word_for_the_source_without_a_304_is_listed(
    make_task: MakeTask, emulator: Emulator, word: str, honours: bool
) -> None:
    emulator.change_settings(source_word=word, honour_execution_id=honours)
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task(retries=2)
    task.run_try()
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert list(task.error.candidates) == ids(emulator)
    assert repr(word) in str(task.error)
    task.run_to_the_end()
    assert (task.state, len(ids(emulator)), len(emulator.calls("runJobGroup"))) == ("failed", 1, 1)
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert list(task.error.candidates) == ids(emulator)


@pytest.mark.parametrize("word", OTHER_WORDS)
def test_another_word_for_the_source_after_a_304_is_ours(
    make_task: MakeTask, emulator: Emulator, word: str
) -> None:
    emulator.change_settings(source_word=word, library_lag=20)
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task()
    task.run_try()
    assert_one_run(task)
    assert [entry.status for entry in emulator.calls("runJobGroup")] == [None, 304]


@pytest.mark.parametrize("word", OTHER_WORDS)
def test_several_of_another_source_after_a_304_are_listed(
    make_task: MakeTask, emulator: Emulator, word: str
) -> None:
    emulator.change_settings(source_word=word, library_lag=20)
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task()
    task.run_try(At(SUBMIT, lambda: start_elsewhere(emulator)))
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert sorted(task.error.candidates) == ids(emulator)


@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
@pytest.mark.parametrize("word", ["rest", "ui"])
def test_a_kill_at_any_point_where_the_source_has_another_word(
    make_task: MakeTask, emulator: Emulator, some_of: SomeOf, word: str, honours: bool
) -> None:
    points = events_of_a_clean_life(make_task())
    for number, point in some_of(list(enumerate(points, 1))):
        empty(emulator)
        emulator.change_settings(source_word=word, honour_execution_id=honours)
        task = make_task()
        task.run_try(Process(kill_at=number))
        task.run_to_the_end()
        assert len(ids(emulator)) == 1, f"killed {point}: {task.error}"
        if task.state != "success":
            assert isinstance(task.error, TrifactaSubmitOutcomeUnknown), point
            assert list(task.error.candidates) == ids(emulator)


def test_failed_jobs_of_another_source_are_attempts(make_task: MakeTask, emulator: Emulator) -> None:
    emulator.change_settings(source_word="rest")
    task = make_task(wrangled_dataset_id=8, retries=2)
    task.run_to_the_end()
    assert isinstance(task.error, TrifactaJobGroupFailed)
    assert statuses(emulator) == ["Failed"] * 3


def test_a_word_that_changes_between_two_attempts(make_task: MakeTask, emulator: Emulator) -> None:
    emulator.change_settings(honour_execution_id=False)
    task = make_task(wrangled_dataset_id=8, retries=3)
    task.run_try()
    assert statuses(emulator) == ["Failed"]
    emulator.change_settings(source_word="rest")
    emulator.state.get("wrangledDatasets", 8)["_behaviour"] = "complete"
    try:
        emulator.order("runJobGroup", "reset", after=True)
        task.run_to_the_end()
    finally:
        emulator.state.get("wrangledDatasets", 8)["_behaviour"] = "fail-wrangle"
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert (list(task.error.candidates), statuses(emulator)) == (ids(emulator)[1:], ["Failed", "Complete"])


@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
@pytest.mark.parametrize("word", ["ui", "schedule", "cli"])
def test_where_the_api_is_called_api_the_other_documented_words_are_somebody_else(
    make_task: MakeTask, emulator: Emulator, word: str, honours: bool
) -> None:
    start_elsewhere(emulator)
    emulator.clock.advance(86400)
    emulator.change_settings(honour_execution_id=honours)
    emulator.order("runJobGroup", "reset")  # it never arrives
    task = make_task()
    foreign = start_elsewhere(emulator, ranfrom=word)
    task.run_try()
    assert task.state == "success", task.error
    assert task.returned != foreign["id"]
    assert len(ids(emulator)) == 3


@pytest.mark.parametrize("fields", [{"flowrun": {"id": 5}}, {"creator": {"id": 18}}, {"ranfrom": "ui"}])
def test_only_a_job_group_like_ours_shows_what_the_api_is_called(
    make_task: MakeTask, emulator: Emulator, fields: dict[str, Any]
) -> None:
    start_elsewhere(emulator, **fields)
    emulator.clock.advance(86400)
    emulator.change_settings(source_word="ui", honour_execution_id=False)
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task()
    task.run_try()
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert list(task.error.candidates) == ids(emulator)[1:]


def test_a_scheduled_run_that_a_lagging_list_shows_first_is_not_taken_for_ours(
    make_task: MakeTask, emulator: Emulator
) -> None:
    task = make_task()
    start_elsewhere(emulator, ranfrom="schedule")
    emulator.clock.advance(0.5)
    emulator.change_settings(library_lag=40)
    emulator.order("runJobGroup", "reset", after=True)
    task.run_try()
    assert task.state == "success", task.error
    assert task.returned == ids(emulator)[1]


@pytest.mark.parametrize("number", [49, 60, 200])
def test_few_rows_are_looked_up_for_their_recipe(make_task: MakeTask, emulator: Emulator, number: int) -> None:
    emulator.change_settings(library_recipes=False)
    task = make_task()
    for _ in range(number):
        start_elsewhere(emulator, wrangledDataset={"id": 8})
    emulator.order("runJobGroup", "reset", after=True)
    task.run_try()
    assert len(ids(emulator)) == number + 1
    assert len(emulator.calls("runJobGroup")) == 1
    assert len(emulator.calls("getJobGroup")) < 60
    if number < 50:
        assert task.returned == ids(emulator)[-1]
    else:
        assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
        assert "the list does not report which recipe they ran" in str(task.error)


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
def test_a_recipe_that_cannot_be_found_out_may_be_ours(
    make_task: MakeTask, emulator: Emulator, status: int, honours: bool
) -> None:
    emulator.change_settings(library_recipes=False, honour_execution_id=honours)
    emulator.order("runJobGroup", "reset", after=True)
    emulator.order("getJobGroup", "html", status=status, call=None)
    task = make_task()
    task.run_try()
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert list(task.error.candidates) == ids(emulator)
    assert "the recipe it ran cannot be read" in str(task.error)


def test_a_list_that_shows_ours_only_sometimes(make_task: MakeTask, emulator: Emulator) -> None:
    """Two copies of the library behind one address: every other look is answered by the one that lags."""
    emulator.change_settings(honour_execution_id=False)
    emulator.order("runJobGroup", "reset", after=True)
    task = make_task()

    class TwoCopies(Process):
        looks = 0

        def event(self, name: str) -> None:
            super().event(name)
            if name == "before GET /v4/jobLibrary":
                self.looks += 1
                emulator.change_settings(library_lag=1000 * (self.looks % 2))

    task.run_try(TwoCopies())
    assert_one_run(task)


ODD_ROWS: list[Any] = [
    None, 7, "row", [], {}, {"id": None}, {"id": True}, {"id": 7.9}, {"id": "1_000"}, {"id": -1}, {"id": 2**70},
    {"id": 91, "wrangledDataset": {"id": 8}, "creator": [], "flowrun": "?", "createdAt": {}, "ranfrom": 5},
]  # fmt: skip


@pytest.mark.parametrize(
    "started",
    [
        (502, {}, b"<html>"),
        *((201, {}, json.dumps({"id": odd}).encode()) for odd in (None, True, 7.9, 0, "1_000")),
    ],
    ids=lambda answer: answer[2].decode(),
)
def test_rows_that_cannot_be_read_are_skipped(
    scripted: Callable[..., ScriptedServer],
    connect: Callable[..., None],
    clock: FakeClock,
    started: tuple[int, dict[str, str], bytes],
) -> None:
    ours = {"id": "90210", "wrangleddataset": 7, "flowRunId": None, "status": "Created"}
    answers = {
        "/v4/jobGroups": started,
        "/v4/people/current": (200, {}, b'{"id": 17}'),
        "/v4/jobLibrary": (200, {}, json.dumps({"data": [*ODD_ROWS, ours]}).encode()),
    }
    server = scripted(lambda path: answers[path.partition("?")[0]])
    connect(server.url)
    submission = TrifactaHook(clock=clock).submit_job_group(7)
    assert (submission.run_id, submission.outcome) == (90210, "adopted")
    assert server.requests.count("POST /v4/jobGroups") == 1


# ------------------------------------------------------------------------------- lost answers of flows and plans


@pytest.fixture
def make_flow_task(emulator: Emulator, deferrable: bool) -> MakeTask:
    return lambda **options: SimulatedTask(emulator, **{"kind": FLOW_RUNS, "deferrable": deferrable, **options})


@pytest.fixture
def make_plan_task(emulator: Emulator, deferrable: bool) -> MakeTask:
    return lambda **options: SimulatedTask(emulator, **{"kind": PLAN_RUNS, "deferrable": deferrable, **options})


def start_flow_elsewhere(
    emulator: Emulator, *, flow_id: int = 302, person: int = PERSON, **fields: Any
) -> dict[str, Any]:
    """Start a flow run that is not the task's, whose job groups have these fields."""
    runs = emulator.app.runs
    flow = emulator.state.get("flows", flow_id)
    row, job_groups = runs.start_flow_run(flow, runs.runnable_recipes(flow), person, {})
    for job_group in job_groups:
        job_group.update(fields)
    return row


@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
@pytest.mark.parametrize("writing", ["documented", "camel-null-id", "lower-string-ids", "id-fields"])
def test_a_flow_run_is_found_by_its_job_groups_and_confirmed_by_its_flow(
    make_flow_task: MakeTask, emulator: Emulator, writing: str, honours: bool
) -> None:
    stranger, _ = emulator.add_person("stranger@example.com")
    emulator.change_settings(honour_execution_id=honours, **WRITINGS[writing])
    start_flow_elsewhere(emulator)
    emulator.clock.advance(60)
    start_elsewhere(emulator, wrangledDataset={"id": 21})
    foreign = [
        start_flow_elsewhere(emulator, flow_id=304)["id"],
        start_flow_elsewhere(emulator, person=stranger)["id"],
    ]
    emulator.order("runFlow", "reset", after=True)
    task = make_flow_task()
    task.run_try()
    assert task.state == "success", task.error
    assert FLOW_RUNS.ids(emulator)[1:] == [*foreign, task.returned]
    assert len(emulator.calls("runFlow")) == 1
    assert {entry.path for entry in emulator.calls("getFlowRun")} >= {f"/v4/flowRuns/{task.returned}"}


@pytest.mark.parametrize("honours", [True, False], ids=["honours-execution-id", "ignores-it"])
@pytest.mark.parametrize("word", ["ui", "schedule", "rest", "null"])
def test_a_flow_run_is_not_started_twice_whatever_the_list_calls_its_source(
    make_flow_task: MakeTask, emulator: Emulator, word: str, honours: bool
) -> None:
    emulator.change_settings(source_word=word, honour_execution_id=honours)
    emulator.order("runFlow", "reset", after=True)
    task = make_flow_task()
    task.run_try()
    assert len(FLOW_RUNS.ids(emulator)) == 1
    if word in ("ui", "schedule"):  # documented to be somebody else, but nothing shows that this server means it
        assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
        assert list(task.error.candidates) == FLOW_RUNS.ids(emulator)
        assert repr(word) in str(task.error)
    else:
        assert_one_run(task)


def test_where_flow_runs_of_the_api_are_called_api_a_schedule_is_somebody_else(
    make_flow_task: MakeTask, emulator: Emulator
) -> None:
    start_flow_elsewhere(emulator)
    emulator.clock.advance(86400)
    emulator.order("runFlow", "reset")  # it never arrives
    task = make_flow_task()
    foreign = start_flow_elsewhere(emulator, ranfrom="schedule")
    task.run_try()
    assert task.state == "success", task.error
    assert task.returned != foreign["id"]


def test_the_flow_run_of_a_plan_is_not_adopted(make_flow_task: MakeTask, emulator: Emulator) -> None:
    emulator.order("runFlow", "reset")  # it never arrives
    task = make_flow_task()
    PLAN_RUNS.start(emulator)
    (of_the_plan,) = FLOW_RUNS.ids(emulator)
    task.run_try()
    assert task.state == "success", task.error
    assert FLOW_RUNS.ids(emulator) == [of_the_plan, task.returned]


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_flow_that_cannot_be_found_out_may_be_ours(
    make_flow_task: MakeTask, emulator: Emulator, status: int
) -> None:
    emulator.change_settings(honour_execution_id=False)
    emulator.order("runFlow", "reset", after=True)
    emulator.order("getFlowRun", "html", status=status, call=None)
    task = make_flow_task()
    task.run_try()
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert list(task.error.candidates) == FLOW_RUNS.ids(emulator)
    assert "the flow it ran cannot be read" in str(task.error)


def test_a_plan_run_is_found_in_the_list_and_confirmed_by_its_plan(
    make_plan_task: MakeTask, emulator: Emulator
) -> None:
    PLAN_RUNS.start(emulator)
    emulator.clock.advance(60)
    runs = emulator.app.runs
    foreign = runs.start_plan_run(emulator.state.get("plans", 90), PERSON, [])["id"]
    emulator.order("runPlan", "reset", after=True)
    task = make_plan_task()
    task.run_try()
    assert task.state == "success", task.error
    assert PLAN_RUNS.ids(emulator)[1:] == [foreign, task.returned]
    assert len(emulator.calls("runPlan")) == 1


@pytest.mark.parametrize("arrives", [True, False])
def test_a_twin_that_another_user_started_is_not_adopted(
    make_plan_task: MakeTask, emulator: Emulator, arrives: bool
) -> None:
    stranger, _ = emulator.add_person("stranger@example.com")
    emulator.order("runPlan", "reset", after=arrives)
    task = make_plan_task()
    twins: list[int] = []
    task.run_try(At(PLAN_RUNS.before_submit, lambda: twins.append(PLAN_RUNS.start(emulator, stranger))))
    assert task.state == "success", task.error
    assert PLAN_RUNS.ids(emulator) == [*twins, task.returned]


@pytest.mark.parametrize("answer", [{}, {"flowRunId": None}, {"flowRunId": True}, {"flowRunId": "x"}], ids=str)
def test_an_answer_to_the_start_of_a_flow_that_names_none(
    scripted: Callable[..., ScriptedServer], connect: Callable[..., None], clock: FakeClock, answer: Any
) -> None:
    answers: dict[str, Any] = {
        "/v4/flows/302/run": answer,
        "/v4/people/current": {"id": 17},
        "/v4/jobLibrary": {"data": [*ODD_ROWS, {"id": 90211, "flowRun": {"id": "90210"}}]},
        "/v4/flowRuns/90210": {"id": 90210, "flowId": "302"},
        "/v4/flowRuns/5": {"id": 5, "flow": {"id": 303}},
    }
    server = scripted(lambda path: (201, {}, json.dumps(answers[path.partition("?")[0]]).encode()))
    connect(server.url)
    operator = FLOW_RUNS.operator(task_id="task", flow_id=302, wait_for_completion=False, deferrable=False)
    assert _run_by_the_clock(operator, clock) == 90210
    assert server.requests.count("POST /v4/flows/302/run") == 1


@pytest.mark.parametrize(
    "answer",
    [{}, {"validationStatus": "Valid"}, {"planSnapshotRunId": None}, {"planSnapshotRunId": " "}],
    ids=str,
)
def test_an_answer_to_the_start_of_a_plan_that_names_none(
    scripted: Callable[..., ScriptedServer], connect: Callable[..., None], clock: FakeClock, answer: Any
) -> None:
    answers: dict[str, Any] = {
        "/v4/plans/89/run": answer,
        "/v4/people/current": {"id": 17},
        "/v4/planSnapshotRuns": {"data": [{"id": "run-1", "plan": {"id": "89"}}, {"id": 2, "plan": {"id": 90}}]},
    }
    server = scripted(lambda path: (201, {}, json.dumps(answers.get(path.partition("?")[0], {})).encode()))
    connect(server.url)
    operator = PLAN_RUNS.operator(task_id="task", plan_id=89, wait_for_completion=False, deferrable=False)
    assert _run_by_the_clock(operator, clock) == "run-1"
    assert server.requests.count("POST /v4/plans/89/run") == 1


def _run_by_the_clock(operator: RunOperator, clock: FakeClock) -> Any:
    let_operators_run_in_this_thread()
    with mock.patch.dict(TrifactaHook.__init__.__kwdefaults__, clock=clock):
        return operator.execute({"ti": FakeTaskInstance(datetime.fromtimestamp(clock.now, UTC))})


# ------------------------------------------------------------------------------------ submits that do not arrive


def test_a_submit_that_never_arrived_is_sent_again(tasks: Tasks, emulator: Emulator) -> None:
    emulator.order(tasks.kind.submit, "rate_limit", times=2)
    task = tasks()
    task.run_try()
    assert_one_run(task)
    assert len({entry.execution_id for entry in emulator.calls(tasks.kind.submit)}) == 1
    assert emulator.calls(tasks.kind.search) == []


def test_a_server_that_refuses_connections_has_started_nothing(
    make_task: MakeTask, emulator: Emulator, connect: Callable[..., None]
) -> None:
    connect("http://127.0.0.1:9", retry_budget=20)
    task = make_task(retries=1)
    task.run_try()
    assert "no answer" in str(task.error)
    assert not isinstance(task.error, TrifactaSubmitOutcomeUnknown)


@pytest.mark.parametrize("status", [400, 403, 404, 410, 415])
def test_a_permanent_refusal_burns_no_retries(tasks: Tasks, emulator: Emulator, status: int) -> None:
    emulator.order(tasks.kind.submit, "status", status=status)
    task = tasks()
    task.run_to_the_end()
    assert isinstance(task.error, AirflowFailException)
    assert f"Injected fault: {status}" in str(task.error)
    assert (task.state, task.try_number, tasks.kind.ids(emulator)) == ("failed", 1, [])
    assert len(emulator.calls(tasks.kind.submit)) == 1


def test_a_refused_token_uses_the_retries(tasks: Tasks, emulator: Emulator) -> None:
    emulator.order(tasks.kind.submit, "status", status=401)
    task = tasks()
    task.run_to_the_end()
    assert_one_run(task)
    assert task.try_number == 2


# --------------------------------------------------------------------------------------- what a retry goes on with


def test_a_failed_job_uses_the_retries_and_each_starts_one(tasks: Tasks, emulator: Emulator) -> None:
    tasks.kind.behave(emulator, "fail-wrangle")
    task = tasks(retries=2)
    task.run_to_the_end()
    assert isinstance(task.error, TrifactaRunFailed)
    assert tasks.kind.statuses(emulator) == ["Failed"] * 3
    assert len({entry.execution_id for entry in emulator.calls(tasks.kind.submit)}) == 3


def test_a_canceled_job_is_a_failure_and_the_retry_starts_one(tasks: Tasks, emulator: Emulator) -> None:
    task = tasks()

    class CanceledWhileWaiting(Process):
        def event(self, name: str) -> None:
            if re.search(r"/status$|/planSnapshotRuns/", name):
                tasks.kind.cancel(emulator)

    task.run_try(CanceledWhileWaiting())
    assert isinstance(task.error, TrifactaRunCanceled)
    task.run_to_the_end()
    assert tasks.kind.statuses(emulator) == ["Canceled", "Complete"]
    assert task.returned == tasks.kind.ids(emulator)[1]


@pytest.mark.parametrize("status", [404, 410])
def test_a_job_that_is_gone_is_replaced(kind: Kind, emulator: Emulator, deferrable: bool, status: int) -> None:
    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable)
    task.run_try(Process(kill_waiting=True))
    (gone,) = kind.ids(emulator)
    if status == 404:
        del emulator.state.tables[kind.table][str(gone)]
    else:
        emulator.order(kind.poll, "status", status=410)
    task.run_to_the_end()
    assert task.state == "success"
    assert task.returned not in (None, gone)


def test_a_404_of_a_proxy_does_not_mean_that_the_job_is_gone(
    kind: Kind, emulator: Emulator, deferrable: bool
) -> None:
    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable)
    task.run_try(Process(kill_waiting=True))
    emulator.order(kind.poll, "html", status=404)
    task.run_try()
    if kind is JOB_GROUPS:  # how the others are can be read elsewhere
        assert isinstance(task.error, TrifactaWaitFailed)
    task.run_to_the_end()
    assert_one_run(task)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_status_that_cannot_be_read_starts_nothing(
    kind: Kind, emulator: Emulator, deferrable: bool, status: int
) -> None:
    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable, retry_budget=600)
    task.run_try(Process(kill_waiting=True))
    (identity,) = kind.ids(emulator)
    emulator.order(kind.poll, "status", status=status, call=None)
    emulator.order("listPlans", "status", status=status, call=None)
    before = task.clock.time()
    task.run_try()
    assert isinstance(task.error, TrifactaWaitFailed)
    assert f"{task.kind.noun} {identity}" in str(task.error)
    assert "nothing new was started" in str(task.error)
    assert status == 403 or 400 < task.clock.time() - before <= 600
    emulator.clear_faults()
    task.run_to_the_end()
    assert_one_run(task)


@pytest.mark.parametrize("kill_at", [2, 3, 4, 5, 6, 8, 12])
def test_with_a_note_another_tasks_job_is_never_taken(
    kind: Kind, emulator: Emulator, deferrable: bool, kill_at: int
) -> None:
    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable)
    foreign = kind.start(emulator)
    task.clock.sleep(60)
    task.run_try(Process(kill_at=kill_at))
    task.run_to_the_end()
    assert task.state == "success"
    assert kind.ids(emulator) == [foreign, task.returned]


def test_a_job_that_completed_meanwhile_is_a_success(tasks: Tasks, emulator: Emulator) -> None:
    task = tasks()
    task.run_try(Process(kill_waiting=True))
    task.clock.sleep(3600)
    task.run_try()
    assert_one_run(task)


def test_without_durable_a_retry_starts_anew(tasks: Tasks, emulator: Emulator) -> None:
    task = tasks(durable=False)
    task.run_try(Process(kill_waiting=True))
    task.run_to_the_end()
    assert len(tasks.kind.ids(emulator)) == 2


def test_several_without_a_note_stop_the_retry(kind: Kind, emulator: Emulator, deferrable: bool) -> None:
    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable, store=False)
    task.run_try(At(kind.before_submit, lambda: kind.start(emulator)))
    task.run_try()  # as if Airflow had not heard of the success
    assert isinstance(task.error, TrifactaSubmitOutcomeUnknown)
    assert sorted(task.error.candidates) == kind.ids(emulator)


# ---------------------------------------------------------------------------------------------------------- clears


@pytest.mark.parametrize("keeps", [True, False], ids=["3.3", "3.4"])
def test_clearing_a_succeeded_task_starts_a_new_job(tasks: Tasks, emulator: Emulator, keeps: bool) -> None:
    task = tasks(clear_keeps_store=keeps)
    task.run_try()
    (first,) = tasks.kind.ids(emulator)
    task.clock.sleep(60)
    task.clear()
    task.run_try()
    assert task.state == "success"
    assert tasks.kind.statuses(emulator) == ["Complete", "Complete"]
    assert task.returned == tasks.kind.ids(emulator)[1] != first


@pytest.fixture
def failed_and_cleared(make_task: MakeTask, emulator: Emulator) -> Iterator[SimulatedTask]:
    """A task whose recipe fails: cleared after its first try."""
    recipe = emulator.state.get("wrangledDatasets", 7)
    recipe["_behaviour"] = "fail-wrangle"
    task = make_task(clear_keeps_store=False, retries=3)
    task.run_try()
    task.clock.sleep(60)
    task.clear()
    yield task
    recipe["_behaviour"] = "complete"


def test_a_failed_job_of_before_a_clear_is_not_counted_as_an_attempt(
    failed_and_cleared: SimulatedTask, emulator: Emulator
) -> None:
    task = failed_and_cleared
    emulator.change_settings(library_lag=5)
    task.run_try(Process(kill_waiting=True))
    task.run_try(Process(kill_waiting=True))  # no list shows yet what the killed one started
    assert statuses(emulator)[0] == "Failed"
    assert len(ids(emulator)) == 2


def test_a_retry_after_a_clear_starts_anew_when_its_own_job_failed(
    failed_and_cleared: SimulatedTask, emulator: Emulator
) -> None:
    failed_and_cleared.run_try()
    failed_and_cleared.run_try()
    assert statuses(emulator) == ["Failed"] * 3
    assert (
        len({entry.headers["x-execution-id"] for entry in emulator.calls("runJobGroup") if entry.status == 201})
        == 3
    )


@pytest.mark.parametrize("keeps", [True, False], ids=["3.3", "3.4"])
def test_a_kill_after_a_clear_never_takes_the_job_of_before(
    tasks: Tasks, emulator: Emulator, some_of: SomeOf, keeps: bool
) -> None:
    for kill_at in some_of(range(1, 20)):
        empty(emulator)
        task = tasks(clear_keeps_store=keeps)
        task.run_try()
        (first,) = tasks.kind.ids(emulator)
        task.clock.sleep(60)
        task.clear()
        task.run_try(Process(kill_at=kill_at))
        task.run_to_the_end()
        assert len(tasks.kind.ids(emulator)) == 2, kill_at
        if task.state == "success":
            assert task.returned != first, kill_at
        else:  # without a note, the two cannot be told apart: stop and say so
            assert isinstance(task.error, TrifactaSubmitOutcomeUnknown), kill_at


@pytest.mark.parametrize("cancel_on_kill", [True, False])
@pytest.mark.parametrize("cancel_first", [True, False], ids=["cancel-first", "new-attempt-first"])
def test_clearing_a_running_task(
    kind: Kind, emulator: Emulator, deferrable: bool, cancel_on_kill: bool, cancel_first: bool
) -> None:
    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable, cancel_on_kill=cancel_on_kill)
    task.run_try(Process(kill_waiting=True))
    (old,) = kind.ids(emulator)
    if cancel_first and cancel_on_kill:
        kind.cancel(emulator)
    task.clear()
    at_submit: list[str] = []
    task.run_try(At(kind.before_submit, lambda: at_submit.extend(kind.statuses(emulator))))
    assert task.state == "success", task.error
    assert at_submit == ["Canceled" if cancel_on_kill else "Created"]
    assert task.returned == kind.ids(emulator)[1] != old


def test_a_clear_that_looks_like_a_retry_waits_for_the_cancel(tasks: Tasks, emulator: Emulator) -> None:
    # Airflow 2.11 does not raise max_tries when a running task is cleared.
    task = tasks()
    task.run_try(Process(kill_waiting=True))
    tasks.kind.cancel(emulator)
    task.run_try()
    assert task.state == "success", task.error
    assert tasks.kind.statuses(emulator) == ["Canceled", "Complete"]


def test_a_job_of_before_a_clear_that_does_not_stop(kind: Kind, emulator: Emulator, deferrable: bool) -> None:
    kind.behave(emulator, "endless")
    task = SimulatedTask(emulator, kind=kind, deferrable=deferrable)
    task.run_try(Process(kill_waiting=True))
    emulator.order(kind.cancel_call, "status", status=500, call=None)
    task.clear()
    task.run_try()
    assert isinstance(task.error, TrifactaWaitFailed | TrifactaRunError)
    assert "from before the task was cleared" in str(task.error)
    assert len(kind.ids(emulator)) == 1


def test_a_changed_dag_file_does_not_look_like_a_clear(tasks: Tasks, emulator: Emulator) -> None:
    task = tasks(retries=3)
    task.run_try(Process(kill_waiting=True))
    task.retries = 5
    task.run_to_the_end()
    assert_one_run(task)


def test_a_run_that_was_deleted_and_made_again_is_another_series(tasks: Tasks, emulator: Emulator) -> None:
    tasks().run_try()
    emulator.clock.advance(60)
    again = tasks()
    again.run_try()
    assert again.state == "success"
    assert tasks.kind.statuses(emulator) == ["Complete", "Complete"]


# ----------------------------------------------------------------------------------------------- two tries at once


def test_two_tries_alive_at_once(tasks: Tasks, emulator: Emulator, some_of: SomeOf) -> None:
    """A worker that was given up comes back at any of its points, after the next try has begun."""
    points = events_of_a_clean_life(tasks())
    for number in some_of(range(1, len(points) + 1, tasks.every(2))):
        empty(emulator)
        task = tasks()

        def next_try(task: SimulatedTask = task) -> None:
            task.state = "up_for_retry"
            task.schedule()
            task.work(Process())

        task.run_try(At(number, next_try))
        assert len(tasks.kind.ids(emulator)) == 1, points[number - 1]
        assert_one_run(task)
