"""What cannot be sent is refused when the request is made, whichever client would send it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_trifacta.api import operations as ops
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import Request

CIRCULAR: dict[str, Any] = {}
CIRCULAR["itself"] = CIRCULAR


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            lambda: ops.run_job_group(7, overrides={"writesettings": [{"path": {1}}]}),
            "overrides/writesettings/0/path",
        ),
        (lambda: ops.run_job_group(7, overrides={"size": float("nan")}), "overrides/size"),
        (lambda: ops.run_job_group(7, run_parameters={"x": float("inf")}), "'x'"),
        (lambda: ops.run_job_group(7, run_parameters={"x": float("nan")}), "'x'"),
        (lambda: ops.run_job_group(7, request_body_extra={"when": datetime.date(2024, 3, 1)}), "when"),
        (lambda: ops.run_job_group(7, request_body_extra=CIRCULAR), "itself"),
        (lambda: ops.run_job_group(7, execution_id="a\r\nx: y"), "x-execution-id"),
        (lambda: ops.run_job_group(7, execution_id="caf\xe9"), "x-execution-id"),
        (lambda: ops.run_action("flows", 1, "run", execution_id="a\nb"), "x-execution-id"),
        (lambda: ops.create_resource("flows", {"name": object()}), "name"),
        (lambda: ops.list_resource("flows", query={"x": {1, 2}}), "x: "),
        (lambda: ops.list_resource("flows", query={"x": float("nan")}), "x: "),
        (lambda: ops.list_resource("flows", filter="\ud800"), "query"),
        (lambda: ops.get_resource("flows", "\ud800"), "resource_id"),
        (lambda: ops.get_resource("flows", 7.5), "resource_id"),  # type: ignore[arg-type]
    ],
    ids=range(15),
)
def test_what_cannot_be_sent(make: Callable[[], Any], names: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=names):
        make()


@pytest.mark.parametrize("token", ["a\r\nx: y", "caf\xe9", "\ud800"])
def test_a_token_that_no_header_can_hold_is_not_quoted(token: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match="token") as caught:
        Request("GET", "/v4/x").all_headers(token, "agent")
    assert token not in str(caught.value)
