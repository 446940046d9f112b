"""The logger interface: not all of Airflow's loggers are from the standard library."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """The methods we need from a logger."""

    def info(self, event: str, /, *args: Any) -> Any:
        """Log information for users."""
        ...

    def warning(self, event: str, /, *args: Any) -> Any:
        """Log something that users should check."""
        ...

    def error(self, event: str, /, *args: Any) -> Any:
        """Log the reason for a failure."""
        ...
