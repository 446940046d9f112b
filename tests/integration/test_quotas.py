"""What a client knows of the quotas, from the headers of every answer."""

from __future__ import annotations

from typing import Any

import pytest
from support import Caller, json_answer

from airflow_provider_trifacta.api import operations as ops
from airflow_provider_trifacta.api.errors import TrifactaNotFound, TrifactaRateLimited
from airflow_provider_trifacta.emulator import Emulator


def _headers(scope: str, limit: object, remaining: object, reset: object = 1_700_000_060_000) -> dict[str, str]:
    values = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-rate-limit-{scope}-{name}": str(value) for name, value in values.items()}


def test_a_success_reports_both_quotas(call: Caller, emulator: Emulator) -> None:
    call(ops.run_job_group(7), emulator)
    (user, workspace) = call.quotas["POST /v4/jobGroups"]
    assert (user.scope, user.limit, user.remaining) == ("user", 30, 29)
    assert (workspace.scope, workspace.limit, workspace.remaining) == ("workspace", 60, 59)
    assert user.resets_at is not None
    assert 0 < user.resets_at - emulator.clock.now() <= 60


def test_routes_are_told_apart_and_ids_are_not(call: Caller, emulator: Emulator) -> None:
    call(ops.run_flow(301), emulator)
    assert list(call.quotas) == ["POST /v4/flows/{id}/run"]


def test_a_refusal_is_read_too(call: Caller, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    emulator.order("runJobGroup", "rate_limit")
    with pytest.raises(TrifactaRateLimited):
        call(ops.run_job_group(7), emulator, budget=0)
    (quota,) = call.quotas["POST /v4/jobGroups"]
    assert (quota.remaining, quota.is_nearly_used_up) == (0, True)
    assert "Quota of POST /v4/jobGroups: 0 of 30 calls left for this user until " in caplog.text


def test_another_error_is_read_too(call: Caller, scripted: Any) -> None:
    _, headers, body = json_answer({"exception": {"name": "DataNotFoundException"}})
    server = scripted(lambda path: (404, headers | _headers("user", 30, 12), body))
    with pytest.raises(TrifactaNotFound):
        call(ops.get_job_group(1), server.url)
    assert call.quotas["GET /v4/jobGroups/{id}"][0].remaining == 12


def test_a_quota_that_is_nearly_used_up_is_logged_once_per_window(
    call: Caller, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reported = [(4, 60), (3, 60), (2, 60), (1, 60), (29, 120), (3, 120)]

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        offset = int(path.split("offset=")[1].split("&")[0])
        status, headers, body = json_answer({"data": [{"id": i + 1} for i in range(offset, min(offset + 1, 6))]})
        return status, headers | _headers("user", 30, *reported[min(offset, 5)]), body

    assert len(call(ops.list_job_library(page_size=1), scripted(answer).url)) == 6
    assert [record.getMessage() for record in caplog.records if "Quota" in record.getMessage()] == [
        "Quota of GET /v4/jobLibrary: 3 of 30 calls left for this user until 00:01:00 UTC",
        "Quota of GET /v4/jobLibrary: 3 of 30 calls left for this user until 00:02:00 UTC",
    ]


@pytest.mark.parametrize(
    "headers",
    [
        _headers("user", "many", 3),
        _headers("user", 30, "nan"),
        _headers("user", 0, 0),
        _headers("user", "1e400", 3),
        _headers("user", 30, 31),
        _headers("user", "", ""),
        {"x-rate-limit-user-limit": "30"},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_ignored(call: Caller, scripted: Any, headers: dict[str, str]) -> None:
    status, others, body = json_answer("Complete")
    server = scripted(lambda path: (status, others | headers, body))
    assert call(ops.get_job_group_status(1), server.url) == "Complete"
    assert call.quotas == {}


@pytest.mark.parametrize("reset", ["-1", "1e300", "soon", "9" * 40], ids=str)
def test_a_reset_that_makes_no_sense_changes_nothing(call: Caller, scripted: Any, reset: str) -> None:
    status, others, body = json_answer("Complete")
    server = scripted(lambda path: (status, others | _headers("user", 30, 0, reset), body))
    assert call(ops.get_job_group_status(1), server.url) == "Complete"
    (quota,) = call.quotas["GET /v4/jobGroups/{id}/status"]
    assert str(quota) == "0 of 30 calls left for this user"
