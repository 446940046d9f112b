from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from support import FakeTaskInstance

from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
from airflow_provider_trifacta.api.runs.job_group_launch import JobGroupLaunch
from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaJobGroupFailed,
    TrifactaNotFound,
    TrifactaSubmitRefused,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor


def _render(_logger: Any, _method: str, event: Any) -> str:
    return f"{event['event']}\n{event.get('exception', '')}"


def _lines(said: str) -> list[str]:
    return [line for line in said.splitlines() if line]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Logs an error as Airflow does for a failed task, and gives what was written."""
    log_without_stack.cache_clear()
    written = io.StringIO()
    if tasks_use_the_database():
        from airflow.models.taskinstance import TaskInstance

        logger = TaskInstance.logger()
        monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(written)])
        monkeypatch.setattr(logger, "filters", [])
        monkeypatch.setattr(logger, "propagate", False)
    else:
        import structlog

        before = structlog.get_config()
        structlog.configure(
            processors=[structlog.processors.format_exc_info, _render],
            logger_factory=structlog.PrintLoggerFactory(written),
            cache_logger_on_first_use=False,
        )
        logger = structlog.get_logger(logger_name="task")

    def failed(error: Exception, message: str = "Task failed with exception") -> str:
        written.seek(0)
        written.truncate()
        try:
            raise error
        except Exception:
            logger.exception(message)
        return written.getvalue()

    yield failed
    if not tasks_use_the_database():
        structlog.configure(**before)


def test_an_error_is_logged_in_lines_and_named_once(log: Any) -> None:
    error = TrifactaSubmitRefused.because_of(
        TrifactaNotFound(
            method="POST", path="/v4/jobGroups", status=404, message="no such recipe", request_id="r1"
        ),
        JobGroupLaunch.refusal_hints,
    )
    assert "Traceback" in log(error)
    log_without_stack()
    said = log(error)
    first, check, nothing, request, last = _lines(said)
    assert first == "POST /v4/jobGroups: 404: no such recipe."
    assert check.startswith("Check wrangled_dataset_id: ")
    assert nothing == "Nothing was started, and the task is not retried: it would be refused again."
    assert request == "[request id r1]"
    assert last == "Task failed with exception TrifactaSubmitRefused, see above"
    assert " ".join(_lines(said)[:-1]) == str(error)


def test_what_the_log_has_already_is_not_said_again(log: Any) -> None:
    log_without_stack()
    error = TrifactaJobGroupFailed("disk full")
    assert _lines(log(error)) == ["disk full", "Task failed with exception TrifactaJobGroupFailed, see above"]
    assert _lines(log(error)) == ["Task failed with exception TrifactaJobGroupFailed, see above"]


def test_an_error_that_airflow_quotes_is_named_in_its_place(log: Any) -> None:
    log_without_stack()
    error = TrifactaWaitFailed("No answer. A retry goes on")
    assert _lines(log(error, f"Failed to execute job 5 for task run ({error}; 4711)")) == [
        "No answer.",
        "A retry goes on",
        "Failed to execute job 5 for task run (TrifactaWaitFailed; 4711)",
    ]


def test_other_errors_keep_their_stack(log: Any) -> None:
    log_without_stack()
    assert "Traceback" in log(ValueError("a mistake"))


@pytest.mark.parametrize("operator", [TrifactaRunJobGroupOperator, TrifactaRotateApiAccessTokenOperator])
def test_a_wrong_setting_has_no_stack(log: Any, operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", '{"conn_type": "trifacta", "password": "x"}')
    arguments = (
        {"wrangled_dataset_id": 7} if operator is TrifactaRunJobGroupOperator else {"lifetime_seconds": 86400}
    )
    with pytest.raises(TrifactaConfigurationError) as caught:
        operator(task_id="task", **arguments).execute({"ti": FakeTaskInstance()})
    first, second, last = _lines(log(caught.value))
    assert first == "Airflow connection 'trifacta_default': host: missing."
    assert second.startswith("Enter the base URL")
    assert last == "Task failed with exception TrifactaConfigurationError, see above"


def test_a_sensor_that_cannot_look_fails_without_a_stack(log: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match="is empty") as caught:
        TrifactaJobGroupSensor(task_id="task", job_group_id=" ").execute({"ti": FakeTaskInstance()})
    assert "Traceback" not in log(caught.value)


def test_what_fails_after_a_deferral_has_no_stack(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", '{"conn_type": "trifacta", "host": "http://127.0.0.1:9"}')
    event = {"job_group_id": 5, "outcome": "error", "status": None, "message": "no answer"}
    for task in (
        TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7),
        TrifactaJobGroupSensor(task_id="task", job_group_id=5),
    ):
        log_without_stack.cache_clear()
        with pytest.raises(TrifactaWaitFailed, match="no answer") as caught:
            task.execute_complete({"ti": FakeTaskInstance()}, event)
        assert "Traceback" not in log(caught.value)
