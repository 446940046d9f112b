"""Makes Airflow log errors of this package without a traceback, which would explain nothing about them.

Airflow logs every error of a task with its traceback, and has no setting to change that. Inside the task process
we can add a step to its loggers that drops the traceback. If the loggers are not as expected, the traceback stays.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.api.errors import TrifactaError


@functools.cache
def log_without_stack() -> None:
    """From now on, log errors of this package in this process as readable lines, each once."""
    if tasks_use_the_database():
        from airflow.models.taskinstance import TaskInstance
        from airflow.task.task_runner.standard_task_runner import StandardTaskRunner  # type: ignore[import-not-found]

        loggers: list[Any] = [TaskInstance.logger(), StandardTaskRunner.logger()]
        for logger in loggers:
            logger.addFilter(functools.partial(_shorten_record, logger))
        return
    import structlog

    processors = structlog.get_config().get("processors")
    if isinstance(processors, list):
        processors.insert(0, _shortener(structlog.get_logger(logger_name="task")))


def _shortener(log: Any) -> Callable[..., MutableMapping[str, Any]]:
    def shorten(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        error = _error_in(event.get("exc_info"))
        if isinstance(error, TrifactaError):
            del event["exc_info"]
            event["event"] = _shortened(str(event["event"]), error, log)
        return event

    return shorten


def _shorten_record(log: logging.Logger, record: logging.LogRecord) -> bool:
    error = _error_in(record.exc_info)
    if isinstance(error, TrifactaError):
        record.msg, record.args = _shortened(record.getMessage(), error, log), None
        record.exc_info = record.exc_text = None
    return True


def _shortened(message: str, error: TrifactaError, log: Any) -> str:
    """Log the message of an error, and return Airflow's message about it with only its name."""
    error.log_once(log)
    name, text = type(error).__name__, str(error)
    return message.replace(text, name) if text and text in message else f"{message} {name}, see above"


def _error_in(exc_info: Any) -> BaseException | None:
    """Return the error that is logged, in whichever form the logger received it."""
    if exc_info is True:
        return sys.exc_info()[1]
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    return error if isinstance(error, BaseException) else None
