"""Where log lines go: Airflow's loggers are not all of the standard library."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """What is needed of a logger."""

    def info(self, event: str, /, *args: Any) -> Any:
        """Log what a user wants to know."""
        ...

    def warning(self, event: str, /, *args: Any) -> Any:
        """Log what a user should look at."""
        ...

    def error(self, event: str, /, *args: Any) -> Any:
        """Log why something ended badly."""
        ...
