"""Whatever only informs users never decides how a task ends: one line in the log reports that it is missing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import Answer, FakeTaskInstance, ScriptedServer, run_deferred

from airflow_provider_trifacta.airflow_support.compat import AirflowFailException
from airflow_provider_trifacta.api.runs import waiting
from airflow_provider_trifacta.exceptions import TrifactaAwaitedJobGroupFailed, TrifactaJobGroupFailed
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

Connect = Callable[..., None]
Run = Callable[..., Any]

STARTED = "/v4/jobGroups"
STATUS = "/v4/jobGroups/5/status"
JOBS = "/v4/jobGroups/5/jobs"
OUTPUTS = "/v4/jobGroups/5/outputs"
JOB_GROUP = "/v4/jobGroups/5"
TOKENS = "/v4/apiAccessTokens"

#: A server on which all is well.
WELL: dict[str, Any] = {
    STARTED: {"id": 5},
    STATUS: "Complete",
    JOBS: {"data": [{"id": 1, "status": "Failed", "jobType": "publish", "errorMessage": "disk full"}]},
    OUTPUTS: {"files": [{"uri": "s3://b/x.csv"}], "tables": []},
    JOB_GROUP: {"id": 5, "wrangledDataset": {"id": 7, "name": "Orders", "flow": {"id": 301, "name": "Nightly"}}},
    TOKENS: {"data": []},
}


class Raw(str):
    """The text of an answer, as it is sent."""


#: Deeper than what reads JSON goes.
DEEP = Raw("[" * 100_000)


@pytest.fixture
def server(scripted: Callable[[Answer], ScriptedServer], connect: Connect) -> Callable[..., ScriptedServer]:
    """Start a server that answers as ``WELL``, but for what a test says, and point the connection at it."""

    def start(**changed: Any) -> ScriptedServer:
        answers = WELL | {globals()[name]: value for name, value in changed.items()}

        def answer(path: str) -> tuple[int, dict[str, str], bytes]:
            value = answers[path.partition("?")[0]]
            if callable(value):
                value = value()
            if isinstance(value, int) and not isinstance(value, bool):
                return value, {}, b"{}"
            text = value if isinstance(value, Raw) else json.dumps(value)
            return 200, {"content-type": "application/json"}, text.encode()

        running = scripted(answer)
        connect(running.url, retry_budget=0)
        return running

    return start


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Gives the warnings of operator, sensor, trigger and hook; Airflow 3 logs past the standard library."""
    log = logging.getLogger("task")
    for cls in (TrifactaRunJobGroupOperator, TrifactaJobGroupSensor, TrifactaJobGroupTrigger, TrifactaHook):
        monkeypatch.setattr(cls, "log", log)
    return lambda: [r.getMessage() for r in caplog.records if r.name == "task" and r.levelname == "WARNING"]


def _at_most_one(warnings: list[str], *beginnings: str) -> None:
    """One line says that an answer could not be read, none that a member or a row of it was left out."""
    assert len(warnings) <= 1
    assert all(line.startswith(beginnings) and "\n" not in line for line in warnings)


def _reads(server: ScriptedServer, path: str) -> int:
    return sum(request.partition("?")[0] == f"GET {path}" for request in server.requests)


def _operator(deferrable: bool, **arguments: Any) -> Any:
    operator = TrifactaRunJobGroupOperator(
        task_id="task", wrangled_dataset_id=7, poll_interval=0.02, deferrable=deferrable, **arguments
    )
    return run_deferred(operator, {"ti": FakeTaskInstance()})


def _sensor(deferrable: bool, **arguments: Any) -> Any:
    sensor = TrifactaJobGroupSensor(
        task_id="task", job_group_id=5, poke_interval=0.02, timeout=30, deferrable=deferrable, **arguments
    )
    return run_deferred(sensor, {"ti": FakeTaskInstance()})


@pytest.fixture(params=["sync", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "deferred")


@pytest.fixture(params=[_operator, _sensor], ids=["operator", "sensor"])
def run(request: pytest.FixtureRequest, deferrable: bool) -> Run:
    return lambda: request.param(deferrable)


def test_all_is_well(run: Run, server: Callable[..., ScriptedServer], warnings: Callable[[], list[str]]) -> None:
    server()
    assert run() in (5, None)
    assert warnings() == []


@pytest.mark.parametrize(
    "outputs",
    [
        {"files": 7, "tables": []},
        {"files": [7], "tables": []},
        {"files": {"a": 1}, "tables": []},
        {"files": [], "tables": "crm.orders"},
        {"files": [], "tables": [{"relationalPath": 7}]},
        [],
        None,
        Raw("nonsense"),
        DEEP,
        403,
        500,
    ],
    ids=lambda outputs: repr(outputs)[:30],
)
def test_a_complete_job_group_is_a_success_whatever_it_wrote(
    run: Run, server: Callable[..., ScriptedServer], warnings: Callable[[], list[str]], outputs: Any
) -> None:
    running = server(OUTPUTS=outputs)
    assert run() in (5, None)
    _at_most_one(warnings(), "The summary of job group 5 could not be read: ")
    assert _reads(running, OUTPUTS) == 1


@pytest.mark.parametrize(
    "job_group",
    [
        {"wrangledDataset": [7]},
        {"wrangledDataset": "Orders"},
        {"wrangledDataset": {"id": [7]}},
        {"wrangledDataset": {"id": 7, "name": ["Orders"]}},
        {"wrangledDataset": {"id": 7, "flow": [301]}},
        {"wrangledDataset": {"id": 7, "flow": {"id": {}, "name": "Nightly"}}},
        [],
        DEEP,
        403,
    ],
    ids=lambda job_group: repr(job_group)[:60],
)
@pytest.mark.parametrize("status", ["Complete", "Failed"])
def test_a_verdict_stands_whatever_the_job_group_says_of_itself(
    run: Run,
    server: Callable[..., ScriptedServer],
    warnings: Callable[[], list[str]],
    job_group: Any,
    status: str,
) -> None:
    running = server(JOB_GROUP=job_group, STATUS=status)
    if status == "Complete":
        assert run() in (5, None)
    else:
        with pytest.raises((TrifactaJobGroupFailed, TrifactaAwaitedJobGroupFailed), match="publish job 1 Failed"):
            run()
    # Once when the wait begins, once when it has ended.
    first, second = warnings()
    assert first == second
    assert first.startswith("The description of job group 5 could not be read: ")
    assert _reads(running, JOB_GROUP) == 2


@pytest.mark.parametrize(
    "jobs",
    [None, {"data": None}, {"data": "none"}, {"data": 7}, [], Raw("nonsense"), DEEP, 404, 500],
    ids=lambda jobs: repr(jobs)[:30],
)
@pytest.mark.parametrize("status", ["Failed", "Canceled"])
def test_a_failed_job_group_has_failed_whatever_its_jobs_say(
    run: Run, server: Callable[..., ScriptedServer], warnings: Callable[[], list[str]], jobs: Any, status: str
) -> None:
    running = server(JOBS=jobs, STATUS=status)
    with pytest.raises(
        (TrifactaJobGroupFailed, TrifactaAwaitedJobGroupFailed), match=r'recipe "Orders"'
    ) as caught:
        run()
    assert caught.value.status == status
    assert isinstance(caught.value, AirflowFailException) is isinstance(
        caught.value, TrifactaAwaitedJobGroupFailed
    )
    (line,) = warnings()
    assert line.startswith("The reason why job group 5 did not succeed could not be read: ")
    assert _reads(running, JOBS) == 1


@pytest.mark.parametrize("odd", [7, "x", None, [], {"status": ["Failed"]}, {"status": {}, "id": 1}], ids=repr)
def test_odd_jobs_do_not_hide_the_reason_of_another(
    run: Run, server: Callable[..., ScriptedServer], odd: Any
) -> None:
    server(JOBS={"data": [odd, *WELL[JOBS]["data"], odd]}, STATUS="Failed")
    with pytest.raises(Exception, match="publish job 1 Failed: disk full"):
        run()


@pytest.mark.parametrize("embedded", [400, 500, [], {"jobs": 7}, {"jobs": {"data": [7, None]}}], ids=repr)
def test_a_reason_that_has_to_be_embedded_and_cannot_is_missing_alone(
    run: Run, server: Callable[..., ScriptedServer], embedded: Any
) -> None:
    answers = [WELL[JOB_GROUP], WELL[JOB_GROUP], embedded]
    server(
        JOBS={"data": [{"id": 1, "status": "Failed", "jobType": "publish", "errorMessage": {"id": 5501}}]},
        JOB_GROUP=lambda: answers.pop(0),
        STATUS="Failed",
    )
    with pytest.raises(Exception, match="publish job 1 Failed: the API gives no reason"):
        run()
    assert answers == []


@pytest.mark.parametrize(
    "jobs",
    [
        {"data": [{"status": "InProgress", "percentComplete": "half"}]},
        {"data": [{"status": "InProgress", "percentComplete": [50]}]},
        Raw('{"data": [{"status": "InProgress", "percentComplete": NaN}]}'),
        Raw('{"data": [{"status": "InProgress", "percentComplete": 1e999}]}'),
        Raw('{"data": [{"status": "InProgress", "percentComplete": -1e999}]}'),
        {"data": [7]},
        {"data": [None]},
        {"data": None},
        None,
        Raw("nonsense"),
        403,
        500,
    ],
    ids=lambda jobs: repr(jobs)[:60],
)
@pytest.mark.parametrize("kind", [_operator, _sensor], ids=["operator", "sensor"])
def test_a_wait_goes_on_whatever_the_progress_is(
    server: Callable[..., ScriptedServer],
    warnings: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    deferrable: bool,
    kind: Run,
    jobs: Any,
) -> None:
    if kind is _sensor and not deferrable:
        pytest.skip("a poke tells no progress")
    monkeypatch.setattr(waiting, "_PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "_PROGRESS_POLLS", 0)
    words = ["InProgress", "InProgress"] if kind is _sensor else ["InProgress"]
    running = server(STATUS=lambda: words.pop(0) if words else "Complete", JOBS=jobs)
    assert kind(deferrable) in (5, None)
    _at_most_one(warnings(), "The progress of job group 5 could not be read: ")
    assert _reads(running, JOBS) == 1


@pytest.mark.parametrize(
    "tokens",
    [
        None,
        {"data": None},
        {"data": [7]},
        {"data": [{"tokenId": "a", "expiredAt": "2024-03-01"}, None]},
        Raw("nonsense"),
        DEEP,
        500,
    ],
    ids=lambda tokens: repr(tokens)[:60],
)
def test_a_task_runs_whatever_the_list_of_tokens_is(
    server: Callable[..., ScriptedServer], warnings: Callable[[], list[str]], deferrable: bool, tokens: Any
) -> None:
    running = server(TOKENS=tokens)
    assert _operator(deferrable) == 5
    _at_most_one(warnings(), "The expiry of the API access token could not be read: ", "The API access token of ")
    assert _reads(running, TOKENS) == 1


@pytest.mark.parametrize("expires", [1_700_000_000, 1e999, [], {}, True, "soon", "", "9999-12-31T23:59:59-23:59"])
def test_a_task_runs_whatever_a_token_says_about_its_end(
    server: Callable[..., ScriptedServer], deferrable: bool, expires: Any
) -> None:
    server(TOKENS={"data": [{"tokenId": "a", "expiredAt": expires}]})
    assert _operator(deferrable) == 5


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_without_access_tokens_is_not_warned_of(
    server: Callable[..., ScriptedServer], warnings: Callable[[], list[str]], status: int
) -> None:
    server(TOKENS=status)
    assert _operator(False) == 5
    assert warnings() == []


def test_a_button_that_cannot_be_stored_is_missing_alone(
    server: Callable[..., ScriptedServer], warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    push = FakeTaskInstance.xcom_push

    def broken(self: FakeTaskInstance, key: str, value: Any) -> None:
        if key == "_link_TrifactaFlowLink":
            raise RuntimeError("the database\nis gone")
        push(self, key, value)

    monkeypatch.setattr(FakeTaskInstance, "xcom_push", broken)
    server()
    assert _operator(False) == 5
    (warning,) = warnings()
    assert warning == (
        "The link of a button for job group 5 could not be stored: RuntimeError: the database is gone"
    )


@pytest.mark.parametrize("status", ["Complete", "Failed"])
def test_a_verdict_stands_when_the_connection_is_gone(
    server: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """It was read in the triggerer; what follows only tells people about it."""
    server()
    monkeypatch.delenv("AIRFLOW_CONN_TRIFACTA_DEFAULT")
    event = {"job_group_id": 5, "outcome": "final", "status": status}
    operator = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7)
    context: Any = {"ti": FakeTaskInstance()}
    if status == "Complete":
        assert operator.execute_complete(context, event, job_group_id=5) == 5
    else:
        with pytest.raises(TrifactaJobGroupFailed, match="Job group 5 failed"):
            operator.execute_complete(context, event, job_group_id=5)


@pytest.mark.parametrize("where", [OUTPUTS, JOB_GROUP, TOKENS])
def test_what_ends_a_task_ends_it_in_the_middle_of_decoration(
    server: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from airflow_provider_trifacta.airflow_support.compat import AirflowTaskTimeout
    from airflow_provider_trifacta.api.client import TrifactaClient

    transfer = TrifactaClient._transfer

    def timed_out(self: TrifactaClient, step: Any) -> Any:
        if step.request.path == where:
            raise AirflowTaskTimeout("Timeout")
        return transfer(self, step)

    server()
    monkeypatch.setattr(TrifactaClient, "_transfer", timed_out)
    with pytest.raises(AirflowTaskTimeout):
        _operator(False)


def test_a_server_that_does_not_answer_what_only_decorates_costs_one_read_each(
    server: Callable[..., ScriptedServer], warnings: Callable[[], list[str]], connect: Connect
) -> None:
    running = server(TOKENS=500)
    connect(running.url)
    began = time.monotonic()
    assert _operator(False) == 5
    assert time.monotonic() - began < 5
    assert len(warnings()) == 1
    assert _reads(running, TOKENS) == 1
