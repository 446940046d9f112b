"""The contract itself."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.emulator.handlers.base import Call, Handlers, handles


@handles("getOpenApiSpec")
def _get_open_api_spec(self: Handlers, call: Call) -> Any:
    return self.contract.document
