"""Users."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.emulator.handlers.base import Call, Handlers, handles
from airflow_provider_trifacta.emulator.selection import with_selection


@handles("getCurrentPerson")
def _get_current_person(self: Handlers, call: Call) -> Any:
    return with_selection(self.state, "people", self.state.get("people", call.person), call.query)
