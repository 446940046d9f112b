from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from support import FakeTaskInstance

from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaJobGroupError,
    TrifactaJobGroupFailed,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor


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
            processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
            logger_factory=structlog.PrintLoggerFactory(written),
            cache_logger_on_first_use=False,
        )
        logger = structlog.get_logger(logger_name="task")

    def failed(error: Exception) -> str:
        written.truncate(0)
        try:
            raise error
        except Exception:
            logger.exception("Task failed with exception")
        return written.getvalue()

    yield failed
    if not tasks_use_the_database():
        structlog.configure(**before)


def test_a_failed_job_group_is_one_line(log: Any) -> None:
    assert "Traceback" in log(TrifactaJobGroupFailed("disk full"))
    log_without_stack(TrifactaJobGroupError)
    said = log(TrifactaJobGroupFailed("disk full"))
    assert "Task failed with exception TrifactaJobGroupFailed: disk full" in said
    assert "Traceback" not in said


def test_other_errors_keep_their_stack(log: Any) -> None:
    log_without_stack(TrifactaJobGroupError)
    assert "Traceback" in log(ValueError("a mistake"))


@pytest.mark.parametrize("operator", [TrifactaRunJobGroupOperator, TrifactaRotateApiAccessTokenOperator])
def test_a_wrong_setting_is_one_line(log: Any, operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", '{"conn_type": "trifacta", "password": "x"}')
    arguments = (
        {"wrangled_dataset_id": 7} if operator is TrifactaRunJobGroupOperator else {"lifetime_seconds": 86400}
    )
    with pytest.raises(TrifactaConfigurationError) as caught:
        operator(task_id="task", **arguments).execute({"ti": FakeTaskInstance()})
    said = log(caught.value)
    assert (
        "TrifactaConfigurationError: Airflow connection 'trifacta_default': host: missing. Put the base URL"
        in said
    )
    assert "Traceback" not in said


def test_a_sensor_that_cannot_look_fails_in_one_line(log: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match="is empty") as caught:
        TrifactaJobGroupSensor(task_id="task", job_group_id=" ").execute({"ti": FakeTaskInstance()})
    assert "Traceback" not in log(caught.value)


def test_what_fails_after_a_deferral_is_one_line(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
