"""The journal of requests and answers, without secrets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Entry:
    """One request.

    :param at: seconds since the epoch.
    :param operation: operation id, None for a route that does not exist.
    :param connection: number of the TCP connection that it came in on.
    :param status: HTTP status of the answer, None when there was none.
    :param fault: what went wrong on purpose.
    """

    at: float
    operation: str | None
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    connection: int
    request_id: str
    status: int | None = None
    fault: str | None = None

    @property
    def execution_id(self) -> str | None:
        """The ``x-execution-id`` of the request."""
        return self.headers.get("x-execution-id")

    def as_json(self) -> dict[str, Any]:
        """Return the entry as the control route shows it."""
        return asdict(self)
