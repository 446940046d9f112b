from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import FakeClock

from airflow_provider_trifacta.api.errors import TrifactaServerError
from airflow_provider_trifacta.api.procedures import Pause
from airflow_provider_trifacta.api.runs.job_group import JOB_GROUPS
from airflow_provider_trifacta.api.runs.kind import FailedJob, RunRef, name_of, title_of
from airflow_provider_trifacta.api.runs.plan_run import PLAN_RUNS
from airflow_provider_trifacta.api.runs.reports import describe_outputs, explain_failure, progress_of
from airflow_provider_trifacta.api.runs.waiting import Ending, Wait, wait_for_run

LOG = logging.getLogger("test")


def _answers(flow: Any, clock: FakeClock, answer: Callable[[str], Any]) -> Any:
    """Run a flow; ``answer`` gives what each path answers with."""
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                clock.sleep(step.seconds)
                step = next(flow)
                continue
            value = answer(step.request.path)
            step = flow.throw(value) if isinstance(value, Exception) else flow.send(value)
    except StopIteration as end:
        return end.value


def _wait(clock: FakeClock, status: Callable[[], str], jobs: Any = (), **options: Any) -> Ending:
    flow = wait_for_run(
        JOB_GROUPS,
        RunRef(7),
        **{
            "poll_interval": 30.0,
            "unknown_status_timeout": 600.0,
            "clock": clock,
            "random_number": lambda: 0.5,
            "log": LOG,
            **options,
        },
    )
    return _answers(flow, clock, lambda path: status() if path.endswith("/status") else list(jobs))


def test_looks_early_then_backs_off_to_the_interval(clock: FakeClock) -> None:
    words = iter(["Created", *["InProgress"] * 12, "Complete"])
    assert _wait(clock, lambda: next(words)) == Ending("Complete", "final")
    assert clock.slept[0] == 1
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] == 30


def test_intervals_are_jittered() -> None:
    def slept(number: float) -> list[float]:
        clock, words = FakeClock(), iter(["InProgress"] * 9 + ["Complete"])
        _wait(clock, lambda: next(words), random_number=lambda: number)
        return clock.slept

    assert slept(0.0)[-1] == pytest.approx(slept(1.0)[-1] * 0.9 / 1.1)


def test_waits_for_two_days_when_it_must(clock: FakeClock) -> None:
    began = clock.now
    ending = _wait(clock, lambda: "Complete" if clock.now - began > 48 * 3600 else "InProgress")
    assert ending.status == "Complete"


@pytest.mark.parametrize("word", ["Complete", "Failed", "Canceled", "Cancelled"])
def test_final_words_end_the_wait(clock: FakeClock, word: str) -> None:
    assert _wait(clock, lambda: word) == Ending(word, "final")


@pytest.mark.parametrize("word", ["undefined", "null", "complete", "COMPLETE", "Done", ""])
def test_an_unknown_word_is_waited_through_for_a_while(
    clock: FakeClock, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = clock.now
    assert _wait(clock, lambda: word) == Ending(word, "unknown")
    assert 600 <= clock.now - began < 700
    assert "unknown status" in caplog.text


def test_an_unknown_word_in_between_does_no_harm(clock: FakeClock) -> None:
    def words() -> Iterator[str]:
        for _ in range(3):
            yield from ["undefined"] * 15
            yield "InProgress"
        yield "Complete"

    spoken = words()
    assert _wait(clock, lambda: next(spoken)) == Ending("Complete", "final")


def test_changes_and_progress_are_logged_not_every_look(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    words = iter(["Created"] * 5 + ["Pending"] * 10 + ["InProgress"] * 40 + ["Complete"])
    jobs = [{"status": "Complete", "percentComplete": 7}, {"status": "InProgress", "percentComplete": 10}]
    _wait(clock, lambda: next(words), jobs)
    assert [record.getMessage() for record in caplog.records] == [
        "Job group 7 is Created",
        "Job group 7 is Pending",
        "Job group 7 is still Pending after 1 min 45 s",
        "Job group 7 is InProgress",
        "Job group 7 is still InProgress after 4 min 45 s: 1 of 2 jobs done, 55 %",
        "Job group 7 is still InProgress after 10 min 45 s: 1 of 2 jobs done, 55 %",
        "Job group 7 is still InProgress after 22 min 45 s: 1 of 2 jobs done, 55 %",
        "Job group 7 is Complete",
    ]


def test_an_id_keeps_its_capital_letters(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert name_of(PLAN_RUNS, RunRef("run-5C1E")) == "plan run run-5C1E"
    assert title_of(PLAN_RUNS, RunRef("run-5C1E")) == "Plan run run-5C1E"
    Wait(PLAN_RUNS, RunRef("run-5C1E"), unknown_status_timeout=1, log=LOG).observe("Created", 0)
    assert "Plan run run-5C1E is Created" in caplog.text


def test_a_job_of_ten_hours_makes_few_lines(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    began = clock.now
    _wait(clock, lambda: "Complete" if clock.now - began > 36_000 else "InProgress")
    lines = [record.getMessage() for record in caplog.records if "still" in record.getMessage()]
    assert 40 <= len(lines) <= 45
    assert "after 9 h 5" in lines[-1]


def test_a_wait_that_goes_on_elsewhere_counts_from_its_beginning(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    words = iter(["InProgress"] * 12 + ["Complete"])
    _wait(clock, lambda: next(words), began=clock.now - 7200)
    assert "still InProgress after 2 h 1 min" in caplog.text


def test_progress_that_cannot_be_read_does_no_harm(clock: FakeClock) -> None:
    words = iter(["InProgress", "Complete"])
    flow = wait_for_run(
        JOB_GROUPS,
        RunRef(7),
        poll_interval=1,
        unknown_status_timeout=1,
        clock=clock,
        random_number=lambda: 0.5,
        log=LOG,
    )
    error = TrifactaServerError(method="GET", path="/", status=500)
    ending = _answers(flow, clock, lambda path: next(words) if path.endswith("/status") else error)
    assert ending == Ending("Complete", "final")


def test_progress_tolerates_what_is_missing() -> None:
    assert str(progress_of([{"status": "Created", "percentComplete": None}])) == "0 of 1 jobs done"
    assert str(progress_of([])) == "0 of 0 jobs done"


@pytest.mark.parametrize(
    ("error_message", "said"),
    [
        ("disk full", "disk full"),
        ({"id": 5501, "message": "disk full"}, "disk full"),
        ({"id": 5501, "details": {"text": "disk full"}}, "disk full"),
        ({"id": 5501}, None),
        (None, None),
        ("", None),
        (7, None),
    ],
    ids=repr,
)
def test_why_a_job_failed(clock: FakeClock, error_message: Any, said: str | None) -> None:
    jobs = [
        {"id": 1, "status": "Complete", "jobType": "wrangle"},
        {"id": 2, "status": "Failed", "jobType": "publish", "errorMessage": error_message},
        {"id": 3, "status": "Created", "jobType": "profile"},
    ]
    found = _answers(explain_failure(7), clock, lambda path: jobs if path.endswith("/jobs") else {"jobs": None})
    assert found == [FailedJob("2", "publish", "Failed", said)]
    assert str(found[0]).startswith("publish job 2 Failed: ")


def test_a_message_may_have_to_be_embedded(clock: FakeClock) -> None:
    job = {"id": 2, "status": "Failed", "jobType": "publish", "errorMessage": {"id": 5501}}
    embedded = {"jobs": {"data": [{**job, "errorMessage": {"id": 5501, "message": "disk full"}}]}}
    found = _answers(explain_failure(7), clock, lambda path: [job] if path.endswith("/jobs") else embedded)
    assert found[0].message == "disk full"


def test_outputs_in_words() -> None:
    table = {"vendor": "postgres", "relationalPath": ["crm"], "table": "orders", "action": "create"}
    assert describe_outputs({"files": [{"uri": "s3://b/x.csv"}], "tables": [table]}) == [
        "file s3://b/x.csv",
        "table crm.orders (postgres, create)",
    ]


def test_no_credentials_of_a_file_are_shown() -> None:
    uris = ["sftp://user:secret@host/x.csv", "s3a://key:secret@bucket/x.csv", "abfss://box@account.net/x.csv"]
    assert describe_outputs({"files": [{"uri": uri} for uri in uris], "tables": []}) == [
        "file sftp://***@host/x.csv",
        "file s3a://***@bucket/x.csv",
        "file abfss://box@account.net/x.csv",
    ]
