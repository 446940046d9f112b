"""The token's user and the server's clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.errors import TrifactaApiError
from airflow_provider_trifacta.api.messages import Answer
from airflow_provider_trifacta.api.operations import get_current_person
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.timestamps import http_date

#: Maximum difference in seconds between the server's clock and ours, if its answer has no ``Date``.
_UNKNOWN_CLOCK_ERROR = 60.0


@dataclass(frozen=True)
class Me:
    """The user of the token, and the offset of the server's clock.

    :param id: the user of the token, None when unknown.
    :param clock_offset: seconds by which the server's clock is ahead of ours.
    :param clock_error: seconds by which the offset may be smaller.
    """

    id: str | None
    clock_offset: float
    clock_error: float

    def earliest(self, since: float) -> float:
        """Return the earliest time on the server's clock that corresponds to ``since`` on ours."""
        return since + self.clock_offset - self.clock_error


def who_am_i(clock: Clock, *, budget: float | None = None) -> Procedure[Me]:
    """Find out who the token belongs to (``getCurrentPerson``).

    :param budget: maximum seconds to repeat the call for; None uses the client's retry budget.
    :raises TrifactaApiError: the call failed. If the user is not allowed to make it, the id is None instead.
    """

    def decode(answer: Answer) -> Me:
        person = answer.json()
        identity = person.get("id") if isinstance(person, dict) else None
        known = isinstance(identity, (int, str)) and not isinstance(identity, bool)
        shown = http_date(answer.headers.get("date"))
        me = str(identity) if known else None
        if shown is None:
            return Me(me, 0.0, _UNKNOWN_CLOCK_ERROR)
        # Too small by up to a second, since the header has whole seconds; never too large.
        return Me(me, shown - clock.time(), 0.0)

    try:
        me: Me = yield replace(get_current_person(), decode=decode).within(budget)  # type: ignore[arg-type]
    except TrifactaApiError as error:
        if error.status not in (400, 403, 404):
            raise
        return Me(None, 0.0, _UNKNOWN_CLOCK_ERROR)
    return me
