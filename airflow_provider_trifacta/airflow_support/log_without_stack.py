"""Errors that Airflow logs without their stack: where they were noticed explains nothing about them.

Airflow logs every error of a task with its stack, and has no switch for it. What its loggers do to an event before
it is written can be added to, in the process of the task; where they are not as known here, the stack is shown.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database


@functools.cache
def log_without_stack(kind: type[BaseException]) -> None:
    """Have errors of a kind logged in one line from now on, in this process."""
    if tasks_use_the_database():
        from airflow.models.taskinstance import TaskInstance
        from airflow.task.task_runner.standard_task_runner import StandardTaskRunner  # type: ignore[import-not-found]

        loggers: list[Any] = [TaskInstance.logger(), StandardTaskRunner.logger()]
        for logger in loggers:
            logger.addFilter(functools.partial(_shorten_record, kind))
        return
    import structlog

    processors = structlog.get_config().get("processors")
    if isinstance(processors, list):
        processors.insert(0, _shortener(kind))


def _shortener(kind: type[BaseException]) -> Callable[..., MutableMapping[str, Any]]:
    def shorten(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        error = _error_in(event.get("exc_info"))
        if isinstance(error, kind):
            del event["exc_info"]
            event["event"] = f"{event['event']} {type(error).__name__}: {error}"
        return event

    return shorten


def _shorten_record(kind: type[BaseException], record: logging.LogRecord) -> bool:
    error = _error_in(record.exc_info)
    if isinstance(error, kind):
        record.msg, record.args = f"{record.getMessage()} {type(error).__name__}: {error}", None
        record.exc_info = record.exc_text = None
    return True


def _error_in(exc_info: Any) -> BaseException | None:
    """Return the error that is logged with, whichever way a logger was told."""
    if exc_info is True:
        return sys.exc_info()[1]
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    return error if isinstance(error, BaseException) else None
