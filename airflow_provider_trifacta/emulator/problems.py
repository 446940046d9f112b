"""Error answers, in the API's envelope."""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """An answer with ``{"exception": {"name", "message", "details"}}``.

    :param status: HTTP status.
    :param headers: further headers.
    """

    def __init__(
        self,
        status: int,
        name: str,
        message: str,
        details: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.details = details
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """Return the body of the answer."""
        exception = {"name": self.name, "message": str(self)}
        if self.details is not None:
            exception["details"] = self.details
        return {"exception": exception}

    @classmethod
    def validation(cls, details: str) -> Problem:
        """Return a 400 that reports what is wrong with the input."""
        return cls(400, "ValidationFailed", "Input validation failed", details)

    @classmethod
    def unauthorized(cls, details: str) -> Problem:
        """Return a 401."""
        return cls(401, "UnauthorizedException", "Unauthorized", details)

    @classmethod
    def forbidden(cls, details: str) -> Problem:
        """Return a 403."""
        return cls(403, "AccessControlException", "Forbidden", details)

    @classmethod
    def not_found(cls, what: str, identity: object) -> Problem:
        """Return a 404 for an object."""
        return cls(404, "DataNotFoundException", f"{what} not found", f"There is no {what} {identity}")

    @classmethod
    def no_route(cls, method: str, path: str) -> Problem:
        """Return the 404 for a route that does not exist, or whose feature is switched off."""
        return cls(404, "RouteNotFoundException", "This route does not exist", f"Cannot {method} {path}")

    @classmethod
    def gone(cls, what: str, identity: object) -> Problem:
        """Return a 410."""
        return cls(410, "GoneException", f"{what} was deleted", f"{what} {identity} was deleted earlier")

    @classmethod
    def conflict(cls, details: str) -> Problem:
        """Return a 409."""
        return cls(409, "ConflictException", "Conflict", details)

    @classmethod
    def ordered(cls, status: int) -> Problem:
        """Return the answer for an ordered fault, with the API's name for the status, if there is one."""
        names = {400: "ValidationFailed", 403: "AccessControlException", 404: "DataNotFoundException"}
        return cls(status, names.get(status, "EmulatedException"), f"Injected fault: {status}")

    @classmethod
    def media_type(cls, details: str) -> Problem:
        """Return a 415."""
        return cls(415, "UnsupportedMediaTypeException", "Unsupported media type", details)
