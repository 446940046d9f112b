"""Changing a connection through Airflow's REST API, against a server on loopback."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_trifacta.airflow_support.rest_api import AirflowApi, AirflowApiError
from airflow_provider_trifacta.exceptions import TrifactaConfigurationError


def _api(url: str, **fields: Any) -> AirflowApi:
    return AirflowApi(
        SimpleNamespace(
            **{
                "conn_id": "airflow_api",
                "host": url,
                "schema": None,
                "port": None,
                "login": "rotator",
                "password": "hidden",
                **fields,
            }
        )
    )


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "check its login and password"), (403, "may not edit connections"), (500, "answered 500")],
)
def test_a_refusal_says_what_to_do(scripted: Any, status: int, says: str) -> None:
    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        return (201, {}, b'{"access_token": "t"}') if path == "/auth/token" else (status, {}, b"{}")

    api = _api(scripted(answer).url)
    assert says in str(api.why_not_changeable("trifacta_default"))
    assert "'airflow_api'" in str(api.why_not_changeable("trifacta_default"))


def test_a_connection_that_is_kept_elsewhere(scripted: Any) -> None:
    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        return (201, {}, b'{"access_token": "t"}') if path == "/auth/token" else (404, {}, b"{}")

    api = _api(scripted(answer).url)
    assert "secrets backend" in str(api.why_not_changeable("trifacta_default"))
    with pytest.raises(AirflowApiError, match="has no connection"):
        api.set_password("trifacta_default", "trifacta", "new")


def test_no_answer_and_no_secret_in_the_error() -> None:
    with pytest.raises(AirflowApiError, match="returned no usable answer to") as caught:
        _api("http://127.0.0.1:9").set_password("trifacta_default", "trifacta", "new-token")
    assert "hidden" not in str(caught.value)
    assert "new-token" not in str(caught.value)


def test_a_login_is_not_needed_with_an_access_token_of_airflow(scripted: Any) -> None:
    server = scripted(lambda path: (200, {}, json.dumps({"connection_id": "c"}).encode()))
    assert _api(server.url, login=None).why_not_changeable("a/b") is None
    assert server.requests == ["GET /api/v2/connections/a%2Fb"]


def test_a_host_is_needed() -> None:
    with pytest.raises(TrifactaConfigurationError, match=r"airflow_api.*host: missing"):
        _api("")
