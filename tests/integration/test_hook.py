from __future__ import annotations

import asyncio
import logging
import pickle
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from support import EmulatorClock

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaSubmitOutcomeUnknown,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

Connect = Callable[..., None]


def test_says_who_the_token_belongs_to(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    assert TrifactaHook().test_connection() == (
        True,
        f"Connected to {emulator.url}. The token belongs to emulator@example.com.",
    )


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "check the password"), (403, "workspace"), (404, "check the base URL"), (503, "503")],
)
def test_says_what_is_wrong_and_what_to_do(emulator: Emulator, connect: Connect, status: int, says: str) -> None:
    connect(emulator, retry_budget=0)
    emulator.order("getCurrentPerson", "status", status=status, call=None)
    ok, message = TrifactaHook().test_connection()
    assert not ok
    assert says in message
    assert str(status) in message
    assert emulator.token not in message


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"password": ""}, "password: is empty"),
        ({"password": "***"}, "password: contains asterisks"),
        ({"host": ""}, "host: missing"),
        ({"host": "ftp://x"}, "scheme 'ftp'"),
        ({"extra": {"read_timeout": "soon"}}, "read_timeout"),
        ({"host": "https://name.invalid"}, "Check the base URL"),
    ],
)
def test_a_connection_that_cannot_work(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], says: str) -> None:
    import json

    connection = {"conn_type": "trifacta", "host": "http://127.0.0.1:9", "password": "eyJsecret", **fields}
    connection.setdefault("extra", {"retry_budget": 0})
    monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", json.dumps(connection))
    ok, message = TrifactaHook().test_connection()
    assert not ok
    assert says in message
    assert "eyJsecret" not in message


def test_tls_that_fails_is_named(emulator: Emulator, connect: Connect) -> None:
    connect(emulator.url.replace("http:", "https:"), retry_budget=0)
    ok, message = TrifactaHook().test_connection()
    assert not ok
    assert "write http:// in front of the host" in message


def test_answers_in_bounded_time(connect: Connect) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        ok, message = TrifactaHook().test_connection()
    assert not ok
    assert "read timeout" in message
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("port", [None, 0, ""])
def test_works_without_a_port(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, port: Any) -> None:
    import json

    connection = {"conn_type": "trifacta", "host": emulator.url, "password": emulator.token, "port": port or None}
    if port == 0:
        connection["port"] = 0
    monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", json.dumps(connection))
    assert TrifactaHook().test_connection()[0]


def test_the_uri_form(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = emulator.url.removeprefix("http://").split(":")
    monkeypatch.setenv(
        "AIRFLOW_CONN_TRIFACTA_DEFAULT",
        f"trifacta://:{emulator.token.replace('=', '%3D')}@{host}:{port}/http?read_timeout=5",
    )
    hook = TrifactaHook()
    assert hook.get_current_person()["id"] == 17
    assert hook.client.settings.read_timeout == 5


def test_all_secrets_of_a_connection_are_masked(
    emulator: Emulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_trifacta.token_stores.mask_secret", masked.append)
    connect(emulator, proxy="http://user:s%2Fcret@127.0.0.1:9")
    TrifactaHook().read_token()
    assert masked == [emulator.token, "s/cret"]


def test_nothing_is_read_before_the_first_call() -> None:
    TrifactaHook("missing")


def test_an_unknown_extra_is_warned_about(
    emulator: Emulator, connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Airflow 3 logs past the standard library.
    monkeypatch.setattr(TrifactaHook, "log", logging.getLogger("hook"))
    connect(emulator, read_timout=5)
    TrifactaHook().get_current_person()
    assert "did you mean 'read_timeout'" in caplog.text


def test_a_token_rotated_in_between_is_read_again(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    hook = TrifactaHook()
    hook.get_current_person()
    connect(emulator, token=emulator.add_token())
    emulator.delete_token(emulator.token)
    assert hook.get_current_person()["id"] == 17
    connect(emulator, token="eyJother")
    with pytest.raises(TrifactaUnauthorized):
        TrifactaHook().get_current_person()


def test_the_asynchronous_client(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)

    async def ask() -> Any:
        async with TrifactaHook().async_client() as client:
            return await client.get_current_person()

    assert asyncio.run(ask())["id"] == 17


def test_the_user_agent_names_everything(emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    TrifactaHook().get_current_person()
    agent = emulator.journal[-1].headers["user-agent"]
    for name in ("airflow-provider-trifacta/", "python/", "airflow/"):
        assert name in agent


@pytest.mark.parametrize("budget", [-1, "long", True])
def test_a_budget_is_checked(budget: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match="retry_budget"):
        TrifactaHook(retry_budget=budget)


def test_submitting_once_for_operators_of_ones_own(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(emulator)
    hook = TrifactaHook(clock=EmulatorClock(emulator))
    began = datetime.fromtimestamp(emulator.clock.now(), UTC)
    first = hook.submit_job_group(7, execution_id="mine")
    again = hook.submit_job_group(7, execution_id="mine", submitted_since=began)
    assert (first.outcome, again.outcome) == ("started", "adopted")
    assert first.run_id == again.run_id == emulator.job_groups[0]["id"]
    emulator.clock.advance(60)
    with pytest.raises(TrifactaSubmitOutcomeUnknown, match="mine") as unknown:
        hook.submit_job_group(7, execution_id="mine")  # said never to have been sent before
    assert pickle.loads(pickle.dumps(unknown.value)).execution_id == "mine"
    assert len(emulator.job_groups) == 1
    assert hook.submit_job_group(7).outcome == "started"
    assert len({entry.execution_id for entry in emulator.calls("runJobGroup")}) == 2


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_token_that_is_about_to_be_replaced_is_looked_for_once_more(
    emulator: Emulator, connect: Callable[..., None], asynchronous: bool
) -> None:
    connect(emulator)
    replacement = emulator.add_token()

    class Clock(EmulatorClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            connect(emulator, token=replacement)  # somebody stores the new token only now

    hook = TrifactaHook(clock=Clock(emulator))

    async def ask() -> Any:
        async with hook.async_client() as client:
            emulator.delete_token(emulator.token)
            return await client.get_current_person()

    if asynchronous:
        assert asyncio.run(ask())["id"] == 17
    else:
        hook.client  # noqa: B018
        emulator.delete_token(emulator.token)
        assert hook.get_current_person()["id"] == 17
    assert [entry.status for entry in emulator.calls("getCurrentPerson")] == [401, 200]
    emulator.delete_token(replacement)
    with pytest.raises(TrifactaUnauthorized, match="check the password"):
        hook.get_current_person()
    assert len(hook.clock.slept) == 2  # type: ignore[attr-defined]


def _days_ahead(emulator: Emulator, connect: Callable[..., None], days: float, **extra: Any) -> TrifactaHook:
    connect(emulator, token=emulator.add_token(lifetime_seconds=int(days * 86400)), **extra)
    return TrifactaHook()


def test_a_token_that_ends_soon_is_warned_of(
    emulator: Emulator,
    connect: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hook = _days_ahead(emulator, connect, 6.5)
    hook.warn_before_token_expires()
    expires = hook.get_token_expiry()
    assert expires is not None
    log = caplog.text + capsys.readouterr().out  # Airflow 3 prints what hooks log
    assert f"expires on {expires:%Y-%m-%d %H:%M} UTC" in log


@pytest.mark.parametrize(
    ("days", "extra"),
    [(7.5, {}), (6.5, {"expiry_warning_days": 0}), (6.5, {"expiry_warning_days": "3"})],
)
def test_no_warning_when_there_is_time_or_none_is_wanted(
    emulator: Emulator,
    connect: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    days: float,
    extra: dict[str, Any],
) -> None:
    _days_ahead(emulator, connect, days, **extra).warn_before_token_expires()
    assert "API access token" not in caplog.text + capsys.readouterr().out


def test_a_warning_that_cannot_be_given_is_no_failure(emulator: Emulator, connect: Callable[..., None]) -> None:
    hook = _days_ahead(emulator, connect, 6.5)
    emulator.order("listApiAccessTokens", "status", status=503, call=None)
    hook.warn_before_token_expires()
    assert len(emulator.calls("listApiAccessTokens")) == 1
    emulator.change_settings(access_tokens_enabled=False)
    hook.warn_before_token_expires()
