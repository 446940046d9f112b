from __future__ import annotations

import io
import logging
from typing import Any

import pytest

from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
from airflow_provider_trifacta.exceptions import TrifactaJobGroupError, TrifactaJobGroupFailed


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
