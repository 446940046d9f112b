"""Refreshing against token endpoints and stores that nobody has seen."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import socket
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from oauth import VARIABLE, Keeper, OAuthAirflow, T
from simulated_airflow import Killed
from support import RawServer, ScriptedServer, json_answer

from airflow_provider_trifacta import token_stores
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK
from airflow_provider_trifacta.api.errors import TrifactaTransportError
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.token_endpoint import TokenEndpoint
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaError,
    TrifactaOAuthPairLost,
    TrifactaRefreshError,
    TrifactaRefreshRefused,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

CLAIM = f"{VARIABLE}_refresh"
OLD = "rt-old"


@pytest.fixture
def airflow(airflow: OAuthAirflow) -> OAuthAirflow:
    airflow.variables[VARIABLE] = OLD
    return airflow


class Endpoint:
    """A token endpoint that answers whatever a test says, the last answer again and again."""

    def __init__(self, airflow: OAuthAirflow, *answers: Any) -> None:
        left = list(answers)

        def answer(_: str) -> Any:
            now = left.pop(0) if len(left) > 1 else left[0]
            return now() if callable(now) else now

        self.server = ScriptedServer(answer)
        airflow.extra["oauth_token_url"] = self.server.url

    def __enter__(self) -> ScriptedServer:
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.stop()


def raw(body: bytes, status: int = 200, **headers: str) -> Any:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


# ------------------------------------------------------------------------------------------------ whose turn it is


class DeadKeeper(Keeper):
    """Is killed, with its whole process, before it sends the refresh token."""

    def event(self, name: str) -> None:
        if name == "before the refresh token is sent" or "dead" in self.events:
            self.events.append("dead")
            raise Killed(name)


class ImpatientKeeper(Keeper):
    """Notes when it sends the refresh token; once a turn is stuck, something happens before one of its calls."""

    def __init__(self, airflow: OAuthAirflow, number: int, happens: Callable[[], None]) -> None:
        super().__init__("impatient")
        self._airflow = airflow
        self._left = number
        self._then = happens
        self._since = airflow.clock.now
        self.happened_at: float | None = None
        self.sent_at: float | None = None

    def event(self, name: str) -> None:
        now = self._airflow.clock.now
        if name == "before the refresh token is sent":
            self.sent_at = now if self.happened_at is not None else None
        if self.happened_at is None and now - self._since >= T and name.startswith("before"):
            self._left -= 1
            if self._left == 0:
                self.happened_at = now
                self._then()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_of_two_that_wait_for_a_dead_keeper_one_takes_over(airflow: OAuthAirflow, number: int) -> None:
    """Another one takes over at about the moment in which the first has seen that nothing moves."""

    def take_over() -> None:
        if airflow.kind == "variable":
            claim = json.loads(airflow.variables[CLAIM])
            airflow.variables[CLAIM] = json.dumps({**claim, "id": "other", "by": "other"})
        pair = json.loads(airflow.variables[VARIABLE])
        pair["refreshing"] = {**pair["refreshing"], "id": "other", "by": "other"}
        airflow.variables[VARIABLE] = json.dumps(pair)

    airflow.paste()
    with contextlib.suppress(Killed):
        airflow.refresh(DeadKeeper("dead"))
    keeper = ImpatientKeeper(airflow, number, take_over)
    with contextlib.suppress(TrifactaRefreshError):
        airflow.refresh(keeper)
    assert keeper.happened_at is not None
    if keeper.sent_at is not None:
        assert keeper.sent_at - keeper.happened_at >= T
    assert airflow.works


def test_a_slow_write_of_the_claim_ends_the_run(airflow: OAuthAirflow) -> None:
    """Others watch the claim from the moment it is written: a task that is slow to confirm it gives up."""
    if airflow.kind != "variable":
        pytest.skip("it has no claim")

    def slow(what: str, name: str) -> None:
        if what == "write" and name == CLAIM:
            airflow.clock.sleep(10)

    airflow.paste()
    airflow.failing = slow
    with pytest.raises(TrifactaRefreshError, match=r"Airflow or the machine is slow\. Nothing was spent"):
        airflow.refresh()
    assert not airflow.emulator.calls("oauthToken")


def test_a_pause_that_outlasts_the_turn_ends_the_run(airflow: OAuthAirflow) -> None:
    def slow() -> Any:
        airflow.clock.sleep(29)
        return raw(b"busy", 503, retry_after="20")

    with Endpoint(airflow, slow) as server:
        began = airflow.clock.now
        with pytest.raises(TrifactaRefreshError, match="did not answer with a pair"):
            airflow.refresh()
        assert airflow.clock.now - began < T
        assert len(server.requests) == 1
    assert airflow.pair.refreshing is None
    assert airflow.pair.unresolved is not None


def test_a_slow_connection_sends_nothing_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the endpoint takes longer to resolve than the turn lasts."""
    look_up = socket.getaddrinfo

    def slow(*arguments: Any, **named: Any) -> Any:
        time.sleep(0.6)
        return look_up(*arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    server = RawServer(lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"))
    try:
        endpoint = TokenEndpoint(f"{server.url}/token", "client", ClientSettings(server.url), SYSTEM_CLOCK)
        with pytest.raises(TrifactaTransportError) as caught:
            endpoint.refresh(OLD, seconds=0.5)
        assert not caught.value.sent
        time.sleep(0.1)
        assert server.requests == []
    finally:
        server.stop()


# ------------------------------------------------------------------------------------------------- strange answers


@pytest.mark.parametrize(
    "expires_in",
    ["-5", "0", "NaN", "Infinity", "1e999", "9" * 5000, "true", "null", '"soon"', "[1]", '"300"', "1e300"],
    ids=lambda text: text[:10],
)
def test_any_lifetime_leaves_the_tokens(airflow: OAuthAirflow, expires_in: str) -> None:
    answer = f'{{"access_token": "at-new", "refresh_token": "rt-new", "expires_in": {expires_in}}}'
    with Endpoint(airflow, raw(answer.encode())) as server:
        assert airflow.refresh()["refreshed"] is True
        assert len(server.requests) == 1
    assert (airflow.pair.access_token, airflow.pair.refresh_token) == ("at-new", "rt-new")


@pytest.mark.parametrize("status", [200, 400, 401, 403])
def test_invalid_grant_with_any_status(airflow: OAuthAirflow, status: int) -> None:
    with Endpoint(airflow, json_answer({"error": "invalid_grant", "error_description": OLD}, status)) as server:
        with pytest.raises(TrifactaOAuthPairLost, match="Generate a new pair") as caught:
            airflow.refresh()
        assert len(server.requests) == 1
    assert OLD not in str(caught.value)


def test_a_refusal_in_a_success(airflow: OAuthAirflow) -> None:
    with Endpoint(airflow, json_answer({"error": "invalid_client"})) as server:
        with pytest.raises(TrifactaRefreshRefused, match="oauth_client_id"):
            airflow.refresh()
        assert len(server.requests) == 1


def test_an_interim_answer_may_have_spent_it(airflow: OAuthAirflow) -> None:
    with Endpoint(airflow, raw(b"", 103), json_answer({"error": "invalid_grant"}, 400)) as server:
        with pytest.raises(TrifactaOAuthPairLost, match="was answered and never stored"):
            airflow.refresh()
        assert len(server.requests) == 2


@pytest.mark.parametrize("unusable", [7, ["rt-new"], "rt new", "x" * 20000, True], ids=lambda v: str(v)[:10])
def test_a_refresh_token_that_cannot_be_used_is_reported(
    airflow: OAuthAirflow, unusable: Any, logged: Callable[[], str]
) -> None:
    pair = {"access_token": "at-new", "refresh_token": unusable}
    with Endpoint(airflow, json_answer(pair), json_answer({"error": "invalid_grant"}, 400)):
        assert airflow.refresh()["refreshed"] is True
        assert airflow.pair.access_token == "at-new"
        assert "a refresh token that cannot be used" in logged()
        with pytest.raises(TrifactaOAuthPairLost, match="refresh another was answered and never stored"):
            airflow.refresh(Keeper("later"))


@pytest.mark.parametrize("with_a_token", [{"refresh_token": None}, {}, {"refresh_token": OLD}], ids=str)
def test_an_endpoint_that_keeps_the_refresh_token(
    airflow: OAuthAirflow, with_a_token: dict[str, Any], logged: Callable[[], str]
) -> None:
    with Endpoint(airflow, *(json_answer({"access_token": f"at-{n}", **with_a_token}) for n in range(9))):
        for number in range(3):
            assert airflow.refresh()["refreshed"] is True
            assert airflow.pair.access_token == f"at-{number}"
            assert airflow.pair.refresh_token == OLD
            airflow.clock.sleep(120)
        assert "An older pair" not in logged()
        with contextlib.suppress(Killed):
            airflow.refresh(DeadKeeper("dead"))
        airflow.clock.sleep(120)
        with contextlib.suppress(Killed):
            airflow.refresh(DeadKeeper("dead again"))
        assert airflow.pair.unresolved is not None


# --------------------------------------------------------------------------------------------------------- secrets


_LONG = OLD + "!" + "x!" * 40


@pytest.mark.parametrize("token", [OLD, _LONG], ids=["short", "long"])
@pytest.mark.parametrize("status", [200, 201, 302, 307, 400, 401, 403, 404, 418, 429, 500, 503])
@pytest.mark.parametrize("where", ["description", "name", "headers", "html", "list", "beyond"])
def test_no_answer_quotes_the_token(token: str, status: int, where: str) -> None:
    pad = "x " * 985 if where == "beyond" else ""
    body = {
        "description": json.dumps({"error": "invalid_request", "error_description": f"got {token}"}),
        "beyond": json.dumps({"error": "invalid_request", "error_description": f"{pad}got {token}"}),
        "name": json.dumps({"error": token, "exception": {"name": token, "message": token, "details": [token]}}),
        "headers": "{}",
        "html": f"<html>{token}</html>",
        "list": json.dumps([token, {"refresh_token": token}]),
    }[where]
    headers = {"content-type": "text/html"}
    if where == "headers":
        headers = {
            "content-type": f"text/plain; charset=utf-8; boundary={'=' * 40}{token}",
            "location": f"https://x.example/?t={token}#{token}",
            "x-trifacta-request-id": f"{'=' * 150}{token}",
            "retry-after": token,
            "www-authenticate": token,
        }
    server = ScriptedServer(lambda _: (status, headers, body.encode()))
    try:
        endpoint = TokenEndpoint(f"{server.url}/token", "client", ClientSettings(server.url), SYSTEM_CLOCK)
        with pytest.raises(TrifactaError) as caught:
            endpoint.refresh(token, seconds=5)
    finally:
        server.stop()
    error: Any = caught.value
    text = f"{error} {error!r} {vars(error)} {error.__cause__!r} {error.__context__!r}"
    assert token not in text
    assert token[:12] not in text if token == _LONG else True


def test_a_store_that_quotes_what_it_was_given(airflow: OAuthAirflow, logged: Callable[[], str]) -> None:
    write = airflow.write

    def quoting(name: str, value: str, *, seen: str | None = None) -> bool:
        if "rt-new" in value and name == VARIABLE:
            raise RuntimeError(f"INSERT failed: {value} over {seen}")
        return write(name, value, seen=seen)

    airflow.write = quoting  # type: ignore[method-assign]
    with (
        Endpoint(airflow, json_answer({"access_token": "at-new", "refresh_token": "rt-new"})),
        pytest.raises(TrifactaOAuthPairLost, match="is lost") as caught,
    ):
        airflow.refresh()
    text = logged() + "".join(traceback.format_exception(caught.value))
    for token in (OLD, "rt-new", "at-new"):
        assert token not in text


def test_a_store_that_quotes_before_anything_was_spent(airflow: OAuthAirflow, logged: Callable[[], str]) -> None:
    def quoting(name: str, value: str, *, seen: str | None = None) -> bool:
        raise RuntimeError(f"INSERT failed: {value} over {seen}, {airflow.variables[VARIABLE]}")

    airflow.write = quoting  # type: ignore[method-assign]
    with pytest.raises(TrifactaRefreshError, match="Nothing was spent") as caught:
        airflow.refresh()
    assert OLD not in logged() + "".join(traceback.format_exception(caught.value))


# ---------------------------------------------------------------------------------------------------------- stores


def test_a_claim_that_cannot_be_freed_fails_nothing(airflow: OAuthAirflow, logged: Callable[[], str]) -> None:
    airflow.paste()

    def failing(what: str, name: str) -> None:
        if name == CLAIM and airflow.pair.access_token is not None:
            raise RuntimeError("Airflow is away")

    airflow.failing = failing
    assert airflow.refresh()["refreshed"] is True
    assert airflow.works


def test_a_store_that_fails_between_two_tries(airflow: OAuthAirflow) -> None:
    with Endpoint(airflow, raw(b"", 503)) as server:

        def failing(what: str, name: str) -> None:
            if server.requests:
                raise RuntimeError("Airflow is away")

        airflow.failing = failing
        with pytest.raises(TrifactaRefreshError, match="is not known") as caught:
            airflow.refresh()
    assert "503" in str(caught.value)
    assert "Airflow is away" in str(caught.value)


def test_a_write_that_raises_after_it_was_done(airflow: OAuthAirflow) -> None:
    airflow.paste()
    write = airflow.write
    raised: list[str] = []

    def unknown(name: str, value: str, *, seen: str | None = None) -> bool:
        done = write(name, value, seen=seen)
        if name == VARIABLE and '"refreshing"' not in value:
            raised.append(name)
            raise TimeoutError("no answer")
        return done

    airflow.write = unknown  # type: ignore[method-assign]
    assert airflow.refresh()["refreshed"] is True
    assert raised
    assert airflow.works


@pytest.mark.parametrize(
    "stored",
    [
        "[1,2]",
        '["rt-old"]',
        '{"refresh_token":"rt-old","access_token":"at-old"}x',
        '\ufeff{"refresh_token":"rt-old"}x',
        json.dumps('{"refresh_token":"rt-old","access_token":"at-old"}'),
        "{" * 5000,
        "null",
        "\ud800",
        "x" * 20000,
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_text_that_is_no_token_is_never_sent(
    airflow: OAuthAirflow, stored: str, logged: Callable[[], str]
) -> None:
    airflow.variables[VARIABLE] = stored
    with Endpoint(airflow, json_answer({"error": "invalid_grant"}, 400)) as server:
        with pytest.raises(TrifactaConfigurationError) as caught:
            airflow.refresh()
        assert server.requests == []
    assert airflow.variables == {VARIABLE: stored}
    assert OLD not in logged() + str(caught.value)


@pytest.mark.parametrize(
    "claim", ["x", "[" * 100000, "{}", "[1]", '{"by": {"a": 1}}', "null", ""], ids=lambda t: t[:9]
)
def test_any_text_in_the_claim(airflow: OAuthAirflow, claim: str) -> None:
    if airflow.kind != "variable":
        pytest.skip("it has no claim")
    airflow.paste()
    airflow.variables[CLAIM] = claim
    assert airflow.refresh()["refreshed"] is True


# ----------------------------------------------------------------------------------------------- refresh on demand


def _ask_on_demand(count: int) -> list[Any]:
    async def ask() -> str:
        async with TrifactaHook().async_client() as client:
            return str((await client.get_current_person())["email"])

    async def ask_all() -> list[Any]:
        return await asyncio.gather(*(ask() for _ in range(count)), return_exceptions=True)

    return asyncio.run(ask_all())


def test_many_triggers_refresh_once(trifacta_oauth_emulator: Emulator) -> None:
    """There are fewer threads than triggers, and the endpoint is down at first."""
    trifacta_oauth_emulator.order("oauthToken", "status", status=503, times=4)
    assert set(_ask_on_demand(40)) == {"emulator@example.com"}
    assert [entry.status for entry in trifacta_oauth_emulator.calls("oauthToken")] == [503] * 4 + [200]


def test_many_triggers_hardly_repeat_a_refused_refresh_token(trifacta_oauth_emulator: Emulator) -> None:
    trifacta_oauth_emulator.disable_oauth_family(trifacta_oauth_emulator.stored_token)
    assert {type(error) for error in _ask_on_demand(40)} == {TrifactaOAuthPairLost}
    assert len(trifacta_oauth_emulator.calls("oauthToken")) < 10


def test_many_tasks_refresh_once_if_the_refresh_token_stays(trifacta_oauth_emulator: Emulator) -> None:
    trifacta_oauth_emulator.change_settings(oauth_returns_refresh_token=False)

    def ask(_: int) -> str:
        return str(TrifactaHook().get_current_person()["email"])

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, range(20))) == {"emulator@example.com"}
    assert len(trifacta_oauth_emulator.calls("oauthToken")) == 1


def test_a_refusal_is_not_reported_as_an_answer_that_was_never_stored(airflow: OAuthAirflow) -> None:
    with Endpoint(airflow, json_answer({"error": "invalid_grant"}, 400)):
        for _ in range(3):
            with pytest.raises(TrifactaOAuthPairLost, match=r"\(invalid_grant\)\. It was used before"):
                airflow.refresh()
            airflow.clock.sleep(120)


# ----------------------------------------------------------------------------------------------------------- time


def _drip(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def _drip_headers(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x: y\r\n")
        time.sleep(0.05)


def _endless(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def _bomb(connection: socket.socket, _: bytes) -> None:
    body = gzip.compress(b" " * 200_000_000, 1)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def _members(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n")
    while True:
        connection.sendall(gzip.compress(b"") * 1000)


def _interim(connection: socket.socket, _: bytes) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def _held(connection: socket.socket, _: bytes) -> None:
    time.sleep(10)


@pytest.mark.parametrize(
    "respond", [_drip, _drip_headers, _endless, _bomb, _members, _interim, _held], ids=lambda f: f.__name__
)
def test_every_request_ends_in_time(respond: Callable[[socket.socket, bytes], None]) -> None:
    server = RawServer(respond)
    try:
        endpoint = TokenEndpoint(f"{server.url}/token", "client", ClientSettings(server.url), SYSTEM_CLOCK)
        began = time.monotonic()
        with pytest.raises(TrifactaError):
            endpoint.refresh(OLD, seconds=1)
        assert time.monotonic() - began < 3
        assert len(server.requests) == 1
    finally:
        server.stop()


@pytest.mark.parametrize("pause", ["999999999", "-5", "nan", "inf", "Fri, 31 Dec 9999 23:59:59 GMT", "1e300"])
@pytest.mark.parametrize("status", [429, 503])
def test_any_pause_ends_in_time(airflow: OAuthAirflow, pause: str, status: int) -> None:
    with Endpoint(airflow, raw(b"", status, retry_after=pause)) as server:
        began = airflow.clock.now
        with pytest.raises(TrifactaRefreshError):
            airflow.refresh()
        assert airflow.clock.now - began < 110
        assert 1 <= len(server.requests) <= 3


@pytest.mark.parametrize("take_over_after", [10, 90])
@pytest.mark.parametrize("answer", [1, 4, 25])
@pytest.mark.parametrize("call", [0.0, 0.3, 1.0, 3.0, 8.0, 30.0])
def test_a_slow_everything_ends_in_time(
    airflow: OAuthAirflow, take_over_after: int, answer: int, call: float
) -> None:
    def slow(what: str, name: str) -> None:
        airflow.clock.sleep(call)

    def answered() -> Any:
        airflow.clock.sleep(min(answer, take_over_after / 2))
        return raw(b"", 503)

    airflow.failing = slow
    with Endpoint(airflow, answered) as server:
        began = airflow.clock.now
        with pytest.raises(TrifactaRefreshError, match=r"Nothing was spent|is not known"):
            airflow.refresh(take_over_after=timedelta(seconds=take_over_after))
        # The last answer would be cut short in real time; it takes some calls to end the turn.
        assert airflow.clock.now - began < 110 + answer + 8 * call
        assert len(server.requests) <= 3


@pytest.mark.parametrize("jump", [-36000.0, 36000.0])
def test_a_wall_clock_that_jumps_decides_nothing(
    airflow: OAuthAirflow, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every call of the store, it jumps by hours, there and back."""
    offsets = itertools.cycle([0.0, jump])
    now = airflow.clock.time
    monkeypatch.setattr(airflow.clock, "time", lambda: now() + next(offsets))
    airflow.paste()
    airflow.emulator.order("oauthToken", "status", status=503, times=2)
    for _ in range(3):
        assert airflow.refresh()["refreshed"] is True
        assert airflow.works
        airflow.clock.sleep(120)
    with contextlib.suppress(Killed):
        airflow.refresh(DeadKeeper("dead"))
    began = airflow.clock.now
    assert airflow.refresh()["refreshed"] is True
    assert T <= airflow.clock.now - began < T + 10


@pytest.mark.parametrize("lag", [1.0, 2.0, 3.0])
def test_a_store_that_reads_old_values_spends_nothing(airflow: OAuthAirflow, lag: float) -> None:
    airflow.paste()
    writes: dict[str, list[tuple[float, str | None]]] = {}
    read, write = airflow.read, airflow.write

    def written(name: str, value: str, *, seen: str | None = None) -> bool:
        writes.setdefault(name, []).append((airflow.clock.now, airflow.variables.get(name)))
        return write(name, value, seen=seen)

    def old(name: str) -> str | None:
        for at, before in writes.get(name, []):
            if airflow.clock.now - at < lag:
                return before
        return read(name)

    airflow.write = written  # type: ignore[method-assign]
    airflow.read = old  # type: ignore[method-assign]
    monkeyed = token_stores.read_variable
    token_stores.read_variable = old
    try:
        for _ in range(3):
            with contextlib.suppress(TrifactaRefreshError):
                airflow.refresh()
            airflow.clock.sleep(120)
    finally:
        token_stores.read_variable = monkeyed
    assert airflow.works


def test_a_person_pastes_at_every_event(airflow: OAuthAirflow) -> None:
    """The pasted token stays, or the error says what to do; at most the write in progress replaces it."""
    airflow.paste()
    probe = Keeper("probe")
    airflow.refresh(probe)
    for number in range(1, len(probe.events) + 1):
        airflow.clock.sleep(120)
        pasted: list[str] = []
        with contextlib.suppress(TrifactaRefreshError):
            airflow.refresh(Keeper("first", number, lambda _, to=pasted: to.append(airflow.paste())))
        airflow.clock.sleep(120)
        if pasted and not airflow.works:
            pytest.fail(f"the stored pair does not work after {probe.events[number - 1]}")
        airflow.refresh(Keeper("later"))
        assert airflow.works


def test_the_variable_is_deleted_at_every_event(airflow: OAuthAirflow) -> None:
    airflow.paste()
    probe = Keeper("probe")
    airflow.refresh(probe)
    for number in range(1, len(probe.events) + 1):
        airflow.paste()
        airflow.clock.sleep(120)
        with contextlib.suppress(TrifactaError):
            airflow.refresh(Keeper("first", number, lambda _: airflow.variables.pop(VARIABLE, None)))
        if VARIABLE in airflow.variables:
            assert airflow.works, probe.events[number - 1]


def test_a_refusal_before_a_store_that_cannot_be_read(airflow: OAuthAirflow) -> None:
    with Endpoint(airflow, json_answer({"error": "invalid_grant"}, 400)) as server:

        def failing(what: str, name: str) -> None:
            if server.requests:
                raise RuntimeError("Airflow is away")

        airflow.failing = failing
        with pytest.raises(TrifactaRefreshError, match="invalid_grant") as caught:
            airflow.refresh()
    assert "Airflow is away" in str(caught.value)


@pytest.mark.parametrize("proxy", ["http://[", "nonsense://x", "socks5://localhost:1"])
def test_a_proxy_that_cannot_be_used_leaves_no_announcement(
    airflow: OAuthAirflow, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.paste()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(TrifactaError) as caught:
        airflow.refresh()
    assert "environment variable" in str(caught.value)
    assert airflow.pair.refreshing is None
    assert airflow.pair.unresolved is None


def test_garbage_that_is_pasted_meanwhile_stays(airflow: OAuthAirflow) -> None:
    airflow.paste()

    def failing(what: str, name: str) -> None:
        if airflow.emulator.calls("oauthToken"):
            airflow.variables[VARIABLE] = "two words"

    airflow.failing = failing
    with pytest.raises(TrifactaOAuthPairLost, match=r"is lost .* holds characters that no token has"):
        airflow.refresh()
    assert airflow.variables[VARIABLE] == "two words"
