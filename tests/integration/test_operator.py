from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import FakeTaskInstance, interrupt_once, run_deferred

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaJobGroupCanceled,
    TrifactaJobGroupFailed,
    TrifactaJobGroupStatusUnknown,
    TrifactaJobGroupTimeout,
    TrifactaTaskKilled,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

Connect = Callable[..., None]
FILE = "s3://example-bucket/orders/out_7.csv"


def _operator(**arguments: Any) -> TrifactaRunJobGroupOperator:
    defaults = {"task_id": "task", "wrangled_dataset_id": 7, "poll_interval": 0.05}
    return TrifactaRunJobGroupOperator(**{**defaults, **arguments})


@pytest.fixture(params=[False, True], ids=["sync", "deferred"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def execute(context: dict[str, Any], **arguments: Any) -> Any:
        return run_deferred(_operator(deferrable=request.param, **arguments), context)

    return execute


def test_returns_the_id_of_a_complete_job_group(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    connect(emulator)
    emulator.change_settings(pace="polls=3")
    identity = run(context)
    assert [row["id"] for row in emulator.job_groups] == [identity]
    assert type(identity) is int
    assert context["ti"].xcoms == {
        "job_group_id": identity,
        "_link_TrifactaJobGroupLink": f"{emulator.url}/jobs/{identity}",
        "_link_TrifactaFlowLink": f"{emulator.url}/flows/301",
        "_link_TrifactaRecipeLink": f"{emulator.url}/flows/301?recipe=7",
    }


def test_links_lead_where_the_connection_says(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator, application_url="https://clouddataprep.com?projectId=mine")
    with pytest.raises(TrifactaJobGroupFailed) as caught:
        run(context, wrangled_dataset_id=8)
    identity = emulator.job_groups[0]["id"]
    page = f"https://clouddataprep.com/jobs/{identity}?projectId=mine"
    assert caught.value.link == page
    assert str(caught.value).endswith(f"See {page}")
    assert context["ti"].xcoms["_link_TrifactaRecipeLink"] == (
        "https://clouddataprep.com/flows/301?recipe=8&projectId=mine"
    )


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Gives what operator and trigger have logged; Airflow 3 logs past the standard library."""
    for cls in (TrifactaRunJobGroupOperator, TrifactaJobGroupTrigger):
        monkeypatch.setattr(cls, "log", logging.getLogger("task"))
    caplog.set_level("INFO", logger="task")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "task"]


def test_the_log_tells_the_story(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect, logged: Callable[[], list[str]]
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=2")
    identity = run(context)
    link = f"{emulator.url}/jobs/{identity}"
    said = [line for line in logged() if "triggerer" not in line]
    assert said == [
        f'Started job group {identity}, recipe "Orders clean" (7) of flow "Orders nightly" (301): {link}',
        f"Job group {identity} is InProgress",
        f"Job group {identity} is Complete",
        f"Job group {identity} is Complete after 0 s. It wrote file {FILE}. See {link}",
    ]


@pytest.mark.parametrize("minutes", [None, 90])
def test_the_log_says_that_the_task_waits_in_the_triggerer(
    emulator: Emulator, connect: Connect, logged: Callable[[], list[str]], minutes: int | None
) -> None:
    from support import TaskDeferred

    connect(emulator)
    operator = TrifactaRunJobGroupOperator(
        task_id="task",
        wrangled_dataset_id=9,
        deferrable=True,
        poll_interval=90,
        execution_timeout=timedelta(minutes=minutes) if minutes else None,
    )
    started = datetime(2024, 3, 1, 6, 0, 30, tzinfo=UTC)
    with pytest.raises(TaskDeferred):
        operator.execute({"ti": FakeTaskInstance(started)})
    until = "until 2024-03-01 07:30:30 UTC, then it is canceled" if minutes else "without a deadline"
    said = [line for line in logged() if "triggerer" in line]
    identity = emulator.job_groups[0]["id"]
    assert said == [f"Waiting for job group {identity} in the triggerer, polling every 1 min 30 s, {until}"]


def test_many_outputs_are_listed_in_a_group_that_airflow_folds(
    context: dict[str, Any], emulator: Emulator, connect: Connect, logged: Callable[[], list[str]]
) -> None:
    connect(emulator)
    settings = [{"path": f"s3://b/{n}.csv", "action": "create", "format": "csv"} for n in range(5)]
    identity = _operator(overrides={"writesettings": settings}).execute(context)
    said = logged()
    assert "It wrote 5 files. See" in said[-8]
    assert said[-7:] == [
        f"::group::What job group {identity} wrote",
        *(f"file s3://b/{n}.csv" for n in range(5)),
        "::endgroup::",
    ]


def test_names_that_cannot_be_read_are_left_out(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator, retry_budget=0)
    emulator.order("getJobGroup", "status", status=403, call=None)
    assert run(context) == emulator.job_groups[0]["id"]
    assert "_link_TrifactaJobGroupLink" in context["ti"].xcoms
    assert "_link_TrifactaFlowLink" not in context["ti"].xcoms


@pytest.mark.parametrize("status", ["Complete", "Canceled"])
def test_an_event_of_another_job_group_is_not_ours(
    context: dict[str, Any], emulator: Emulator, connect: Connect, status: str
) -> None:
    """SQLite gives the id of a deleted trigger to the next one: then Airflow delivers the old one's event."""
    from support import TaskDeferred

    connect(emulator)
    operator = _operator(deferrable=True)
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    own = emulator.job_groups[0]["id"]
    event = {"job_group_id": own - 1, "outcome": "final", "status": status}
    with pytest.raises(TaskDeferred) as again:
        operator.execute_complete(context, event, job_group_id=own)
    assert again.value.trigger.serialize()[1]["job_group_id"] == own
    with pytest.raises(TaskDeferred):
        operator.execute_complete(context, event)  # as those of before this argument were deferred
    event = {"job_group_id": own, "outcome": "final", "status": "Complete"}
    assert operator.execute_complete(context, event, job_group_id=own) == own


@pytest.mark.parametrize("cancel_on_kill", [True, False])
def test_the_deadline_cancels_in_synchronous_mode_too(
    context: dict[str, Any], emulator: Emulator, connect: Connect, cancel_on_kill: bool
) -> None:
    from airflow_provider_trifacta.airflow_support.compat import AirflowTaskTimeout

    def timed_out() -> None:
        raise AirflowTaskTimeout("Timeout")

    connect(emulator)
    operator = _operator(
        wrangled_dataset_id=9, execution_timeout=timedelta(seconds=90), cancel_on_kill=cancel_on_kill
    )
    with (
        interrupt_once(lambda: bool(emulator.calls("getJobGroupStatus")), timed_out),
        pytest.raises(TrifactaJobGroupTimeout, match=r"execution_timeout of 0:01:30; it was canceled.*/jobs/"),
    ):
        operator.execute(context)
    assert emulator.calls("cancelJobGroup")


def test_the_connection_is_the_one_named(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect("http://127.0.0.1:9", conn_id="trifacta_default", retry_budget=0)
    connect(emulator, conn_id="other")
    assert run(context, trifacta_conn_id="other") == emulator.job_groups[0]["id"]


@pytest.mark.parametrize(
    ("recipe", "job", "message"),
    [(8, "wrangle", "Column 'order_date' not found"), (10, "publish", "permission denied for user trifacta")],
)
def test_a_failed_job_group_says_which_job_and_why(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect, recipe: int, job: str, message: str
) -> None:
    connect(emulator)
    with pytest.raises(TrifactaJobGroupFailed, match=message) as caught:
        run(context, wrangled_dataset_id=recipe)
    identity = emulator.job_groups[0]["id"]
    assert f"Job group {identity} failed: {job} job" in str(caught.value)
    assert f"{emulator.url}/jobs/{identity}" in str(caught.value)
    assert caught.value.failed_jobs[0].type == job


def test_a_canceled_job_group_fails_the_task(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=3")

    def cancel() -> None:
        while not emulator.calls("getJobGroupStatus"):
            time.sleep(0.01)
        emulator.app.runs.cancel(next(emulator.state.rows("jobGroups")), 17)

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(TrifactaJobGroupCanceled, match="was canceled"):
        run(context, wrangled_dataset_id=9)
    thread.join()


@pytest.mark.parametrize("body", [b'"undefined"', b"null", b'"complete"', b"{}", b'"Done"', b'""'])
def test_only_complete_is_green(
    run: Any, context: dict[str, Any], scripted: Any, connect: Connect, body: bytes
) -> None:
    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        return (200, {}, body) if path.endswith("/status") else (201, {}, b'{"id": 5}')

    connect(scripted(answer).url)
    with pytest.raises(TrifactaJobGroupStatusUnknown, match="kept the unknown status"):
        run(context, unknown_status_timeout=0.2)


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"outcome": "final"},
        {"outcome": "final", "status": None},
        {"status": "Complete"},
        "Complete",
        {"outcome": "success"},
    ],
    ids=repr,
)
def test_an_event_that_says_nothing_is_no_success(
    context: dict[str, Any], emulator: Emulator, connect: Connect, event: Any
) -> None:
    connect(emulator)
    context["ti"].xcoms["job_group_id"] = 5
    with pytest.raises(TrifactaWaitFailed, match="job group 5"):
        _operator().execute_complete(context, event)


def test_lost_answers_while_waiting_do_not_fail_the_task(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator, retry_budget=30)
    emulator.change_settings(pace="polls=2")
    emulator.order("getJobGroupStatus", "reset", call=1)
    emulator.order("getJobGroupStatus", "html", call=2, status=502)
    assert run(context) == emulator.job_groups[0]["id"]
    assert len(emulator.calls("runJobGroup")) == 1


def test_a_wait_that_cannot_look_says_that_the_job_may_run(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    emulator.order("getJobGroupStatus", "status", call=None, status=503)
    with pytest.raises(TrifactaWaitFailed, match=r"may still be running.*503"):
        run(context, retry_budget=0)


def test_a_connection_that_broke_while_waiting_is_the_reason(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator, read_timeout="soon")
    event = {"job_group_id": 5, "outcome": "error", "message": "extra read_timeout: 'soon' is not a number"}
    with pytest.raises(
        TrifactaWaitFailed, match=r"may still be running: extra read_timeout.*continues to wait for it\. See"
    ):
        _operator().execute_complete(context, event, job_group_id=5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"wrangled_dataset_id": ""},
        {"wrangled_dataset_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
        {"run_parameters": ["a"]},
        {"overrides": "x"},
        {"overrides": {}, "request_body_extra": {"overrides": {}}},
        {"request_body_extra": {"testMode": True}},
    ],
    ids=repr,
)
def test_bad_input_sends_nothing(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect, arguments: dict[str, Any]
) -> None:
    connect(emulator)
    with pytest.raises(TrifactaConfigurationError, match=next(reversed(arguments))):
        run(context, **arguments)
    assert emulator.journal == []


@pytest.mark.parametrize("name", ["poll_interval", "unknown_status_timeout"])
@pytest.mark.parametrize("value", [0, -1, "soon", float("nan"), True])
def test_intervals_are_checked_when_the_dag_is_parsed(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        _operator(**{name: value})


def test_without_waiting(context: dict[str, Any], emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    operator = _operator(wrangled_dataset_id=9, wait_for_completion=False, deferrable=True)
    assert operator.execute(context) == emulator.job_groups[0]["id"]
    assert emulator.calls("getJobGroupStatus") == []


def test_the_deadline_cancels_the_job_group(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    started = datetime.now(UTC) - timedelta(seconds=59.5)
    context = {"ti": FakeTaskInstance(started)}
    with pytest.raises(TrifactaJobGroupTimeout, match=r"execution_timeout of 0:01:00; it was canceled"):
        run_deferred(
            _operator(wrangled_dataset_id=9, deferrable=True, execution_timeout=timedelta(minutes=1)), context
        )
    assert emulator.job_groups[0]["status"] == "Canceled"


def test_a_cancel_that_fails_in_the_trigger_is_tried_again_by_the_task(
    emulator: Emulator, connect: Connect
) -> None:
    connect(emulator, retry_budget=0)
    emulator.order("cancelJobGroup", "status", status=503)
    context = {"ti": FakeTaskInstance(datetime.now(UTC) - timedelta(seconds=59.5))}
    operator = _operator(wrangled_dataset_id=9, deferrable=True, execution_timeout=timedelta(minutes=1))
    with pytest.raises(TrifactaJobGroupTimeout, match="it was canceled"):
        run_deferred(operator, context)
    assert [entry.status for entry in emulator.calls("cancelJobGroup")] == [503, 200]


def test_a_job_that_ended_while_nobody_looked_is_not_timed_out(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    context = {"ti": FakeTaskInstance(datetime.now(UTC) - timedelta(hours=5))}
    operator = _operator(deferrable=True, execution_timeout=timedelta(minutes=1))
    assert run_deferred(operator, context) == emulator.job_groups[0]["id"]


def test_airflows_own_end_of_the_deferral_cancels_too(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    context["ti"].xcoms["job_group_id"] = _operator(wrangled_dataset_id=9, wait_for_completion=False).execute(
        context
    )
    with pytest.raises(Exception, match="Trigger timeout"):
        _operator().resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert emulator.job_groups[0]["status"] == "Canceled"


def test_on_kill_cancels_in_the_middle_of_a_wait(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    operator = _operator(wrangled_dataset_id=9)
    took: list[float] = []

    def killed() -> None:
        began = time.monotonic()
        operator.on_kill()
        took.append(time.monotonic() - began)

    with (
        interrupt_once(lambda: bool(emulator.calls("getJobGroupStatus")), killed),
        pytest.raises(TrifactaJobGroupCanceled),
    ):
        operator.execute(context)
    assert len(emulator.calls("cancelJobGroup")) == 1
    assert took[0] < 3


def test_on_kill_during_the_submit_cancels_when_the_answer_comes(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    emulator.order("runJobGroup", "delay", seconds=2.5, after=True)
    operator = _operator(wrangled_dataset_id=9)
    with (
        interrupt_once(lambda: bool(emulator.job_groups), operator.on_kill),
        pytest.raises(TrifactaTaskKilled, match="was canceled"),
    ):
        operator.execute(context)
    assert len(emulator.calls("cancelJobGroup")) == 1


def test_on_kill_is_done_in_three_seconds_when_nobody_answers(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    operator = _operator(wrangled_dataset_id=9, wait_for_completion=False)
    operator.execute(context)
    emulator.order("cancelJobGroup", "delay", seconds=6, call=None)
    began = time.monotonic()
    operator.on_kill()
    assert time.monotonic() - began < 3


def _asked_with(logged: Callable[[], list[str]]) -> list[str]:
    return [text for text in logged() if text.startswith(("Run parameters of", "Overrides of"))]


def test_the_parameters_that_are_sent_are_logged(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect, logged: Callable[[], list[str]]
) -> None:
    connect(emulator)
    run(
        context,
        run_parameters={"regoin": "emea", "full": True, "days": 7},
        reference_date="2024-03-01T06:00:00Z",
        overrides={"execution": "photon"},
    )
    assert _asked_with(logged) == [
        (
            'Run parameters of recipe 7: {"regoin": "emea", "full": "true", "days": "7", "referenceDate": '
            '"2024-03-01T06:00:00.000Z"}. The API does not report which names exist: check the spelling'
        ),
        'Overrides of recipe 7: {"execution": "photon"}',
    ]


def test_without_parameters_nothing_is_logged_of_them(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect, logged: Callable[[], list[str]]
) -> None:
    connect(emulator)
    run(context, run_parameters={}, overrides={})
    assert _asked_with(logged) == []


def test_parameters_are_logged_without_secrets_in_one_line_of_bounded_length(
    context: dict[str, Any], emulator: Emulator, connect: Connect, logged: Callable[[], list[str]]
) -> None:
    connect(emulator)
    _operator(
        wait_for_completion=False,
        run_parameters={
            "db_password": "hunter2",
            "token_of_ours": "4711",
            "lines": "a\nb\u202e",
            "text": "x" * 5000,
            **{f"n{number}": "y" for number in range(500)},
        },
        overrides={"writesettings": [{"path": "s3://b/c.csv", "secret": "hunter3"}]},
    ).execute(context)
    parameters, overrides = _asked_with(logged)
    assert overrides == 'Overrides of recipe 7: {"writesettings": [{"path": "s3://b/c.csv", "secret": "***"}]}'
    assert len(parameters) < 1200
    assert "\n" not in parameters
    for hidden in ("hunter2", "4711", "\u202e"):
        assert hidden not in parameters


@pytest.mark.parametrize(
    "raw",
    [
        {"overrides": {"data": [{"key": "region", "value": "emea"}]}},
        {"overrides": {"data": "emea"}},
        ["emea"],
        "emea",
    ],
)
def test_parameters_that_are_said_in_the_raw_body_are_logged(
    context: dict[str, Any], connect: Connect, scripted: Any, raw: Any, logged: Callable[[], list[str]]
) -> None:
    server = scripted(lambda _: (201, {"content-type": "application/json"}, b'{"id": 5}'))
    connect(server.url)
    operator = _operator(wait_for_completion=False, request_body_extra={"runParameters": raw})
    assert operator.execute(context) == 5
    (said,) = _asked_with(logged)
    assert "emea" in said


@pytest.mark.parametrize("fault", [404, 409, 500])
def test_a_cancel_that_fails_never_raises(
    context: dict[str, Any], emulator: Emulator, connect: Connect, fault: int
) -> None:
    connect(emulator)
    operator = _operator(wrangled_dataset_id=9, wait_for_completion=False)
    operator.execute(context)
    emulator.order("cancelJobGroup", "status", status=fault, call=None)
    operator.on_kill()
    assert emulator.calls("cancelJobGroup")


def test_on_kill_before_the_submit_or_when_switched_off(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    _operator().on_kill()
    operator = _operator(wrangled_dataset_id=9, wait_for_completion=False, cancel_on_kill=False)
    operator.execute(context)
    operator.on_kill()
    assert emulator.calls("cancelJobGroup") == []


def test_an_xcom_that_cannot_be_stored_does_not_lose_the_job(
    context: dict[str, Any], emulator: Emulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(emulator)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("database is gone")

    monkeypatch.setattr(context["ti"], "xcom_push", broken, raising=False)
    assert _operator().execute(context) == emulator.job_groups[0]["id"]


def test_outputs_that_cannot_be_read_do_not_fail_a_complete_job(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    emulator.order("getJobGroupOutputs", "status", status=400, call=None)
    assert run(context) == emulator.job_groups[0]["id"]


def test_everything_a_person_would_want_is_templated() -> None:
    operator = _operator(
        wrangled_dataset_id="{{ recipe }}",
        run_parameters={"region": "{{ region }}"},
        overrides={"writesettings": [{"path": "s3://b/{{ region }}.csv"}]},
        reference_date="{{ date }}",
        request_body_extra={"nested": {"deep": ["{{ region }}"]}},
        trifacta_conn_id="{{ conn }}",
    )
    operator.render_template_fields(
        {"recipe": 7, "region": "emea", "date": "2024-03-01T06:00:00Z", "conn": "mine"}  # type: ignore[typeddict-item]
    )
    assert operator.wrangled_dataset_id == "7"
    assert operator.run_parameters == {"region": "emea"}
    assert operator.overrides == {"writesettings": [{"path": "s3://b/emea.csv"}]}
    assert operator.reference_date == "2024-03-01T06:00:00Z"
    assert operator.request_body_extra == {"nested": {"deep": ["emea"]}}
    assert operator.trifacta_conn_id == "mine"


def test_the_constructor_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_trifacta.airflow_support.compat import BaseHook

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a constructor read a connection")

    monkeypatch.setattr(BaseHook, "get_connection", forbidden)
    _operator(deferrable=True)


def test_no_token_leaves(
    run: Any, context: dict[str, Any], emulator: Emulator, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    from support import TaskDeferred

    caplog.set_level("DEBUG")
    connect(emulator)
    with pytest.raises(TaskDeferred) as deferral:
        _operator(deferrable=True).execute(context)
    assert emulator.token not in repr(deferral.value.trigger.serialize())
    with pytest.raises(TrifactaJobGroupFailed) as failed:
        run(context, wrangled_dataset_id=8)
    emulator.delete_token(emulator.token)
    with pytest.raises(Exception, match="401") as refused:
        run(context)
    said = caplog.text + repr(context["ti"].xcoms) + repr(failed.value) + str(refused.value) + repr(refused.value)
    assert emulator.token not in said
    assert emulator.token not in repr([entry.as_json() for entry in emulator.journal])
