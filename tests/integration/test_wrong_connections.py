"""An Airflow connection that is filled in wrongly: each mistake is named, at once, with what to do."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import Caller, FakeClock, ScriptedServer

from airflow_provider_trifacta.api import operations as ops
from airflow_provider_trifacta.api.errors import (
    TransportFailure,
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaNotFound,
    TrifactaTransportError,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

Handshake = Callable[[socket.socket], None]


@pytest.fixture
def breaking() -> Iterator[Callable[[Handshake], str]]:
    """Start a server that does something else than a TLS handshake; give its https URL."""
    listening: list[socket.socket] = []

    def start(handshake: Handshake) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    handshake(connection)

        threading.Thread(target=accept, daemon=True).start()
        return f"https://127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server in listening:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def _reset(connection: socket.socket) -> None:
    connection.recv(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _close(connection: socket.socket) -> None:
    connection.recv(5000)
    connection.close()


def _alert(connection: socket.socket) -> None:
    connection.recv(5000)
    connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
    connection.close()


def test_a_server_of_plain_http_is_named_at_once(
    call: Caller, clock: FakeClock, scripted: Callable[..., ScriptedServer]
) -> None:
    server = scripted(lambda _: (200, {}, b"{}"))
    with pytest.raises(TrifactaTransportError, match=r"write http:// in front of the host") as caught:
        call(ops.run_job_group(7), server.url.replace("http://", "https://"))
    assert caught.value.failure is TransportFailure.PLAIN_HTTP
    assert not caught.value.sent
    assert clock.slept == []
    assert server.requests == []


def test_a_refused_handshake_is_not_repeated(call: Caller, clock: FakeClock, breaking: Any) -> None:
    with pytest.raises(TrifactaTransportError) as caught:
        call(ops.run_job_group(7), breaking(_alert))
    assert (caught.value.failure, caught.value.sent) == (TransportFailure.TLS, False)
    assert clock.slept == []


@pytest.mark.parametrize("handshake", [_reset, _close])
def test_a_handshake_that_breaks_off_sent_nothing_and_is_repeated(
    call: Caller, clock: FakeClock, breaking: Any, handshake: Handshake
) -> None:
    with pytest.raises(TrifactaTransportError) as caught:
        call(ops.run_job_group(7), breaking(handshake), budget=20)
    assert (caught.value.failure, caught.value.sent) == (TransportFailure.NOT_CONNECTED, False)
    assert clock.slept


def test_a_handshake_that_hangs_sent_nothing(call: Caller, breaking: Any) -> None:
    kept: list[socket.socket] = []
    with pytest.raises(TrifactaTransportError) as caught:
        call(ops.run_job_group(7), breaking(kept.append), budget=0, connect_timeout=0.2)
    assert (caught.value.failure, caught.value.sent) == (TransportFailure.CONNECT_TIMEOUT, False)


def test_the_first_repeat_says_until_when_and_what_to_do(
    call: Caller, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each in a line of its own, since Airflow's page of a log shows only the beginning of a long one."""
    caplog.set_level(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(TrifactaTransportError, match="Check the base URL"):
        call(ops.get_current_person(), url)
    reason, hint, deadline, *later = [record.getMessage() for record in caplog.records]
    assert reason.startswith("GET /v4/people/current: no answer: no connection")
    assert hint.startswith("Check the base URL of the Airflow connection")
    assert deadline.startswith("Attempt 1 failed, next one in ")
    assert deadline.endswith(" s. Trying again for up to 15 min, until 2023-11-14 22:28:20 UTC")
    assert len(later) > 3
    assert not any("Check the base URL" in said or "Trying again" in said for said in later)
    assert all("GET /v4/people/current: no answer: no connection" in said for said in later)


def _operator(**arguments: Any) -> TrifactaRunJobGroupOperator:
    return TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, **arguments)


@pytest.mark.parametrize("path", ["/v4", "/flows/301"])
def test_a_route_that_does_not_exist_names_the_base_url(
    emulator: Emulator, connect: Callable[..., None], context: dict[str, Any], path: str
) -> None:
    connect(emulator.url + path, token=emulator.token)
    with pytest.raises(
        TrifactaNotFound, match=r"check the base URL of the Airflow connection \(without /v4"
    ) as caught:
        _operator().execute(context)
    assert "wrangled_dataset_id" not in str(caught.value)
    assert "refused again" not in str(caught.value)


@pytest.mark.parametrize("status", [404, 405])
def test_a_page_in_place_of_the_api_names_the_base_url(
    connect: Callable[..., None], context: dict[str, Any], scripted: Callable[..., ScriptedServer], status: int
) -> None:
    connect(scripted(lambda _: (status, {"content-type": "text/html"}, b"<h1>Not here</h1>")).url)
    with pytest.raises(TrifactaApiError, match=r"check the base URL of the Airflow connection \(without /v4"):
        _operator().execute(context)


@pytest.mark.parametrize(
    "token", ["Bearer eyJx", "bearer  eyJx", "Bearer: eyJx", "Authorization: Bearer eyJx", "Bearer"]
)
def test_bearer_in_front_of_a_token_is_named(connect: Callable[..., None], token: str) -> None:
    connect("http://127.0.0.1:9", token=token)
    with pytest.raises(TrifactaConfigurationError, match=r"password: begins with 'Bearer'") as caught:
        _ = TrifactaHook().client
    assert "eyJ" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("dataprep", {"extra": {"token": "secret"}}, "keeps its token in the extra 'token'"),
        (
            "google_cloud_platform",
            {"extra": {"project": "p"}},
            "is of type 'google_cloud_platform', not 'trifacta'",
        ),
        ("http", {"host": "http://127.0.0.1:9", "login": "me"}, "is of type 'http', not 'trifacta'"),
    ],
)
def test_a_connection_of_another_type_is_told_what_goes_where(
    monkeypatch: pytest.MonkeyPatch, kind: str, fields: dict[str, Any], told: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", json.dumps({"conn_type": kind, **fields}))
    with pytest.raises(TrifactaConfigurationError) as caught:
        _ = TrifactaHook().client
    assert told in str(caught.value)
    assert "with the base URL in host and the API access token in password" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_test_names_a_setting_that_has_no_effect(emulator: Emulator, connect: Callable[..., None]) -> None:
    meant = "Extra 'token_varible' is unknown and has no effect; did you mean 'token_variable'?"
    connect(emulator, token_varible="my_token")
    assert TrifactaHook().test_connection() == (
        True,
        f"Connected to {emulator.url}. The token belongs to emulator@example.com. {meant}",
    )
    connect(emulator.url, token=" ", token_varible="my_token")
    ok, message = TrifactaHook().test_connection()
    assert not ok
    assert message == f"password: is empty. Enter an API access token. {meant}"


def test_a_401_names_where_the_token_comes_from(
    emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(**extra: Any) -> str:
        connect(emulator, token="wrong", **extra)
        with pytest.raises(TrifactaUnauthorized) as caught:
            TrifactaHook(clock=FakeClock()).get_current_person()
        return str(caught.value)

    assert "check the password of the Airflow connection" in refusal()
    monkeypatch.setenv("AIRFLOW_VAR_MY_TOKEN", "wrong")
    said = refusal(token_variable="my_token")
    # Airflow masks the name in the log of a task, since the name of the setting has "token" in it.
    assert "check Variable 'my_token', which the extra token_variable names" in said
    assert "check the password" not in said
    store = f"{__name__}.WrongStore"
    said = refusal(credential_store=store)
    assert f"check the token that credential_store {store!r}" in said
    assert "password" not in said


class WrongStore:
    def __init__(self, connection: Any) -> None:
        pass

    def read(self) -> str:
        return "wrong"

    def write(self, token: str) -> None:
        raise NotImplementedError

    def why_not_writable(self) -> str | None:
        return "never"


def _jwt(header: object) -> str:
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in (header, {"sub": "me"}, 7)
    )


def test_a_refused_token_of_alteryx_one_is_told_what_it_is(call: Caller, emulator: Emulator) -> None:
    for token, told in {
        _jwt({"alg": "RS256", "typ": "JWT"}): True,
        _jwt({"typ": "JWT"}): False,
        _jwt(["alg"]): False,
        "eyJ.not.one": False,
        "plain": False,
    }.items():
        with pytest.raises(TrifactaUnauthorized) as caught:
            call(ops.get_current_person(), emulator, token)
        assert ("keep the OAuth 2.0 token pair in a Variable" in str(caught.value)) is told
        assert token not in str(caught.value)
