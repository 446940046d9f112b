"""A Variable that cannot be read is not a Variable that does not exist: the password never takes its place."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import EmulatorClock, FakeTaskInstance, drain

from airflow_provider_trifacta import token_stores
from airflow_provider_trifacta.airflow_support.compat import AirflowNotFoundException, Variable, is_airflow_3_0
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaTokenUnreadable,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

IS_AIRFLOW_3 = importlib.util.find_spec("airflow.sdk") is not None
NAME = "trifacta_token"


class Supervisor:
    """What a task of Airflow 3 asks for Variables and connections, at the other end of a socket as in reality.

    :ivar variables: what the database holds.
    :ivar fault: how it fails at this moment: ``frame``, the request to the API server failed; ``body``, it was
        answered with an error; ``denied``; ``missing``, the API server says that there is none, since its database
        does not answer; ``undecryptable``, or since it cannot decrypt the value; None for not at all.
    """

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self.connections: dict[str, dict[str, Any]] = {}
        self.fault: str | None = None
        self._here, self.there = socket.socketpair()
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        self._here.close()
        self.there.close()

    def set(self, name: str, value: str) -> None:
        self.variables[name] = value

    def _serve(self) -> None:
        import msgspec
        from airflow.sdk.execution_time.comms import _RequestFrame, _ResponseFrame

        decoder = msgspec.msgpack.Decoder(_RequestFrame)
        while True:
            try:
                length = self._here.recv(4, socket.MSG_WAITALL)
                if len(length) < 4:
                    return
                frame = decoder.decode(self._here.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
                body, error = self._answer(frame.body or {})
                self._here.sendall(_ResponseFrame(frame.id, body, error).as_bytes())
            except OSError:
                return

    def _answer(self, request: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        kind = request["type"]
        if kind == "MaskSecret":
            return None, None
        lists = kind == "GetVariableKeys"
        if self.fault == "frame" or (self.fault == "missing" and lists):
            return None, _error("API_SERVER_ERROR")
        if self.fault == "body" and not lists:
            return _error("API_SERVER_ERROR"), None
        if self.fault == "denied" and not lists:
            return _error("PERMISSION_DENIED"), None
        if lists:
            keys = [name for name in self.variables if name.startswith(request["prefix"] or "")]
            return {"type": "VariableKeysResult", "keys": keys, "total_entries": len(keys)}, None
        if kind == "GetVariable":
            found = self.variables.get(request["key"]) if self.fault is None else None
            if found is None:
                return _error("VARIABLE_NOT_FOUND"), None
            return {"type": "VariableResult", "key": request["key"], "value": found}, None
        assert kind == "GetConnection", kind
        fields = self.connections.get(request["conn_id"]) if self.fault != "missing" else None
        if fields is None:
            return _error("CONNECTION_NOT_FOUND"), None
        unset = dict.fromkeys(("schema", "login", "port", "extra"))
        return {"type": "ConnectionResult", "conn_id": request["conn_id"], **unset, **fields}, None


def _error(kind: str) -> dict[str, Any]:
    return {"type": "ErrorResponse", "error": kind, "detail": {"status_code": 503}}


class Database:
    """What a task of Airflow 2 asks for Variables: its database.

    :ivar fault: how it fails at this moment: ``database`` does not answer; ``undecryptable``, it has the Variable,
        and the key that the value was encrypted with is not known here; None for not at all.
    """

    def __init__(self) -> None:
        from airflow import settings
        from airflow.models.variable import Variable

        self._engine: Any = settings.engine
        self._table: Any = Variable.__table__
        self._fault: str | None = None
        # What it refers to, from Airflow 3.1 on.
        self._tables = [
            table for name, table in self._table.metadata.tables.items() if name in ("team", "variable")
        ]
        self._table.metadata.create_all(self._engine, tables=self._tables)

    def stop(self) -> None:
        self.fault = None
        self._table.metadata.drop_all(self._engine, tables=self._tables)

    def set(self, name: str, value: str) -> None:
        from airflow.models.variable import Variable

        Variable.set(name, value)

    @property
    def fault(self) -> str | None:
        return self._fault

    @fault.setter
    def fault(self, fault: str | None) -> None:
        if self._fault == "database":
            self._execute("ALTER TABLE variable_elsewhere RENAME TO variable")
        self._fault = fault
        if fault == "database":
            self._execute("ALTER TABLE variable RENAME TO variable_elsewhere")
        if fault == "undecryptable":
            self._execute("UPDATE variable SET is_encrypted = 1, val = 'of another key'")

    def _execute(self, statement: str) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(statement)


FAULTS = ["frame", "body", "denied"] if IS_AIRFLOW_3 else ["database"]
if hasattr(
    Variable, "keys"
):  # Airflow 3.3 and later: those before cannot tell these from a Variable that does not exist
    FAULTS += ["missing", "undecryptable"]


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Where Variables are, on either Airflow."""
    running: Any
    if IS_AIRFLOW_3:
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.comms import CommsDecoder

        running = Supervisor()
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", CommsDecoder(socket=running.there), raising=False)
    else:
        running = Database()
    yield running
    running.stop()


@pytest.fixture
def old(emulator: Emulator, connect: Callable[..., None]) -> str:
    """The token in the password of the connection, which was revoked long ago."""
    token = emulator.add_token()
    emulator.delete_token(token)
    connect(emulator, token=token, token_variable=NAME)
    return token


class Clock(EmulatorClock):
    """Ends a fault of Airflow when the time has come."""

    def __init__(self, emulator: Emulator, airflow: Any, *, lasts: float) -> None:
        super().__init__(emulator)
        self._airflow = airflow
        self._ends = self.now + lasts

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.now >= self._ends:
            self._airflow.fault = None


class Asker:
    """Asks who the token belongs to, through a client of either kind that outlives its token."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, hook: TrifactaHook, meanwhile: Callable[[], None] | None = None) -> Any:
        """Ask; do something after the client was made, where that is said."""
        if self.kind == "sync":
            hook.client  # noqa: B018
            if meanwhile:
                meanwhile()
            return hook.get_current_person()["id"]

        async def ask() -> Any:
            async with hook.async_client() as client:
                if meanwhile:
                    meanwhile()
                return (await client.get_current_person())["id"]

        return asyncio.run(ask())


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Asker:
    return Asker(request.param)


def statuses(emulator: Emulator) -> list[int | None]:
    """Return how each call ended. One with the password's old token would be one more 401."""
    return [entry.status for entry in emulator.journal]


# -------------------------------------------------------------------------------------------------- the first read


def test_until_the_variable_exists_the_password_is_the_token(
    emulator: Emulator, airflow: Any, connect: Callable[..., None], ask: Asker
) -> None:
    connect(emulator, token_variable=NAME)
    airflow.set(f"{NAME}_of_another", "eyJother")
    clock = EmulatorClock(emulator)
    assert ask(TrifactaHook(clock=clock)) == 17
    assert clock.slept == []
    airflow.set(NAME, token := emulator.add_token())
    assert ask(TrifactaHook(clock=clock)) == 17
    assert statuses(emulator) == [200, 200]
    assert {row["_value"] for row in emulator.state.rows("apiAccessTokens") if row["lastUsed"]} == {
        emulator.token,
        token,
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_a_variable_that_cannot_be_read_for_a_while(
    emulator: Emulator, airflow: Any, old: str, ask: Asker, fault: str
) -> None:
    airflow.set(NAME, emulator.token)
    airflow.fault = fault
    clock = Clock(emulator, airflow, lasts=400)
    assert ask(TrifactaHook(clock=clock)) == 17
    assert statuses(emulator) == [200]
    assert len(clock.slept) < 20
    assert clock.slept[0] <= 1
    assert max(clock.slept) <= 60


@pytest.mark.parametrize("fault", FAULTS)
def test_a_variable_that_stays_unreadable(
    emulator: Emulator, airflow: Any, old: str, ask: Asker, fault: str
) -> None:
    airflow.set(NAME, emulator.token)
    airflow.fault = fault
    clock = EmulatorClock(emulator)
    with pytest.raises(TrifactaTokenUnreadable, match=f"'trifacta_default'.*Variable '{NAME}'") as caught:
        ask(TrifactaHook(clock=clock))
    assert 700 < sum(clock.slept) <= 900
    assert emulator.journal == []
    assert "Check Airflow's API server" in str(caught.value)
    assert emulator.token not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_variable_that_held_a_token_and_is_not_found_any_more(
    emulator: Emulator, airflow: Any, old: str, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Airflow 3.0 to 3.2 answer while their database fails: the password does not take its place."""
    first = emulator.add_token()
    airflow.set(NAME, first)
    clock = EmulatorClock(emulator)
    until = clock.now + 100
    found: list[str | None] = [first]

    def read(name: str) -> str | None:
        if found:
            return found.pop()
        return None if clock.now < until else emulator.token

    monkeypatch.setattr(token_stores, "read_variable", read)
    assert ask(TrifactaHook(clock=clock), lambda: emulator.delete_token(first)) == 17
    assert statuses(emulator) == [401, 200]
    assert clock.now >= until


def test_a_budget_of_zero_reads_once(emulator: Emulator, airflow: Any, old: str, ask: Asker) -> None:
    airflow.set(NAME, emulator.token)
    airflow.fault = FAULTS[0]
    clock = EmulatorClock(emulator)
    with pytest.raises(TrifactaTokenUnreadable):
        ask(TrifactaHook(retry_budget=0, clock=clock))
    assert clock.slept == []


def test_the_form_does_not_wait(emulator: Emulator, airflow: Any, old: str) -> None:
    airflow.set(NAME, emulator.token)
    airflow.fault = FAULTS[0]
    clock = EmulatorClock(emulator)
    ok, message = TrifactaHook(clock=clock).test_connection()
    assert not ok
    assert f"Variable {NAME!r}" in message
    assert clock.slept == []


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="on Airflow 2 it is where tasks read it, too")
@pytest.mark.parametrize("exists", [True, False])
def test_the_form_on_the_server(
    emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    """The API server reads Variables from Airflow's database."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as it does from Airflow 3.1 on
    wrong, right = "eyJrevoked", emulator.token
    connect(emulator, token=wrong if exists else right, token_variable=NAME)
    database = Database()
    try:
        if exists:
            database.set(NAME, right)
        ok, message = TrifactaHook().test_connection()
        assert ok, message
    finally:
        database.stop()


@pytest.mark.skipif(not is_airflow_3_0(), reason="only Airflow 3.0 logs what tasks set at any level")
def test_a_variable_that_airflow_would_log_is_not_written(emulator: Emulator, airflow: Any, old: str) -> None:
    reason = TrifactaHook().token_store().why_not_writable()
    assert reason is not None
    assert "Airflow 3.0 logs" in reason
    assert "airflow_api_conn_id" in reason
    assert "credential_store" in reason


@pytest.mark.skipif(not IS_AIRFLOW_3 or is_airflow_3_0(), reason="tasks of Airflow 2 log nothing; 3.0 logs always")
@pytest.mark.parametrize(
    ("setting", "value", "refused"),
    [
        ("LOGGING_LEVEL", "DEBUG", True),
        ("LOGGING_LEVEL", "debug", True),
        ("NAMESPACE_LEVELS", "sqlalchemy=INFO, supervisor=debug", True),
        ("LOGGING_LEVEL", "INFO", False),
    ],
)
def test_a_variable_is_not_written_at_level_debug(
    emulator: Emulator,
    airflow: Any,
    old: str,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    refused: bool,
) -> None:
    monkeypatch.setenv(f"AIRFLOW__LOGGING__{setting}", value)
    reason = TrifactaHook().token_store().why_not_writable()
    assert ("at log level DEBUG" in (reason or "")) is refused


@pytest.mark.skipif(IS_AIRFLOW_3, reason="the API server decrypts on Airflow 3")
def test_a_value_that_cannot_be_decrypted(emulator: Emulator, airflow: Any, old: str, ask: Asker) -> None:
    airflow.set(NAME, emulator.token)
    airflow.fault = "undecryptable"
    with pytest.raises(TrifactaTokenUnreadable, match="it exists"):
        ask(TrifactaHook(retry_budget=0, clock=EmulatorClock(emulator)))


class Backend:
    """A secrets backend of somebody's own, before Airflow's."""

    error: Exception | None = None

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        if self.error is not None:
            raise self.error
        return None


@pytest.mark.parametrize(
    ("error", "says"),
    [(None, None), (NotImplementedError(), None), (ConnectionError("Vault is sealed"), "Vault is sealed")],
)
def test_a_secrets_backend_that_cannot_be_asked(
    emulator: Emulator,
    airflow: Any,
    connect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
    says: str | None,
) -> None:
    connect(emulator, token_variable=NAME)
    where = "airflow.sdk.execution_time.supervisor.ensure_secrets_backend_loaded"
    if not IS_AIRFLOW_3:
        where = "airflow.configuration.ensure_secrets_loaded"
        monkeypatch.setattr("airflow.models.variable.ensure_secrets_loaded", lambda: [Backend()])
    monkeypatch.setattr(where, lambda: [Backend()])
    monkeypatch.setattr(TrifactaHook, "get_connection", lambda *_: _as_connection(emulator))
    monkeypatch.setattr(Backend, "error", error)
    hook = TrifactaHook(retry_budget=0)
    if says is None:
        assert hook.get_current_person()["id"] == 17
    else:
        with pytest.raises(TrifactaTokenUnreadable, match=says):
            hook.get_current_person()


def _as_connection(emulator: Emulator) -> Any:
    if IS_AIRFLOW_3:
        from airflow.sdk import Connection
    else:
        from airflow.models.connection import Connection

    return Connection(
        conn_id="trifacta_default",
        conn_type="trifacta",
        host=emulator.url,
        password=emulator.token,
        extra=json.dumps({"token_variable": NAME}),
    )


# ------------------------------------------------------------------------------------------------ reading it again


@pytest.mark.parametrize("fault", FAULTS)
def test_a_token_that_was_rotated_while_the_variable_cannot_be_read(
    emulator: Emulator, airflow: Any, old: str, ask: Asker, fault: str
) -> None:
    airflow.set(NAME, emulator.token)
    replacement = emulator.add_token()

    def rotate() -> None:
        airflow.set(NAME, replacement)
        emulator.delete_token(emulator.token)
        airflow.fault = fault

    clock = Clock(emulator, airflow, lasts=400)
    assert ask(TrifactaHook(clock=clock), rotate) == 17
    assert statuses(emulator) == [401, 200]


def test_a_person_who_deletes_the_variable_and_uses_the_password_again(
    emulator: Emulator, airflow: Any, connect: Callable[..., None], ask: Asker
) -> None:
    replacement = emulator.add_token()
    connect(emulator, token=replacement, token_variable=NAME)
    airflow.set(NAME, emulator.token)

    def unlock() -> None:
        emulator.delete_token(emulator.token)
        if IS_AIRFLOW_3:
            del airflow.variables[NAME]
        else:
            from airflow.models.variable import Variable

            Variable.delete(NAME)

    # A task that has read the Variable cannot know that it was deleted, and not merely unreadable.
    with pytest.raises(TrifactaTokenUnreadable, match="it held a token before"):
        ask(TrifactaHook(clock=EmulatorClock(emulator)), unlock)
    assert ask(TrifactaHook(clock=EmulatorClock(emulator))) == 17
    assert statuses(emulator) == [401, 200]


class FlakyStore:
    """A store of somebody's own that fails at times."""

    token: str
    error: Exception | None = None

    def __init__(self, connection: Any) -> None:
        pass

    def read(self) -> str:
        if self.error is not None:
            raise self.error
        return self.token

    def write(self, token: str) -> None:
        raise NotImplementedError

    def why_not_writable(self) -> str | None:
        return None


@pytest.mark.parametrize("lasts", [400, 4000])
def test_a_store_of_ones_own_that_fails_for_a_while(
    emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, ask: Asker, lasts: float
) -> None:
    connect(emulator, credential_store=f"{__name__}.FlakyStore")
    replacement = emulator.add_token()
    monkeypatch.setattr(FlakyStore, "token", emulator.token, raising=False)

    class Airflow:
        fault: str | None

        def __setattr__(self, name: str, value: Any) -> None:
            monkeypatch.setattr(FlakyStore, "error", value)

    def rotate() -> None:
        emulator.delete_token(emulator.token)
        FlakyStore.token = replacement
        monkeypatch.setattr(FlakyStore, "error", ConnectionError("Vault is sealed"))

    hook = TrifactaHook(clock=Clock(emulator, Airflow(), lasts=lasts))
    if lasts < 900:
        assert ask(hook, rotate) == 17
        assert statuses(emulator) == [401, 200]
    else:
        with pytest.raises(TrifactaTokenUnreadable, match=r"its store .*Vault is sealed"):
            ask(hook, rotate)


def test_a_store_of_ones_own_that_has_nothing_yet_says_so_at_once(
    connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, emulator: Emulator
) -> None:
    connect(emulator, credential_store=f"{__name__}.FlakyStore")
    monkeypatch.setattr(FlakyStore, "error", LookupError("put the first token there"))
    clock = EmulatorClock(emulator)
    with pytest.raises(LookupError, match="put the first token there"):
        TrifactaHook(clock=clock).get_current_person()
    assert clock.slept == []


def test_mistakes_are_not_outlived(connect: Callable[..., None], emulator: Emulator, ask: Asker) -> None:
    clock = EmulatorClock(emulator)
    hook = TrifactaHook(clock=clock)

    def spoil() -> None:
        emulator.delete_token(emulator.token)
        connect(emulator, token="***")

    connect(emulator)
    with pytest.raises(TrifactaConfigurationError, match="asterisks"):
        ask(hook, spoil)
    assert clock.slept == []


def test_a_connection_that_does_not_exist_is_said_at_once(emulator: Emulator, airflow: Any) -> None:
    clock = EmulatorClock(emulator)
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        TrifactaHook("nowhere", clock=clock).get_current_person()
    assert clock.slept == []


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 reads it from the same database")
@pytest.mark.parametrize("fault", ["frame", "body", "missing"])
def test_a_connection_that_cannot_be_read_for_a_while(
    emulator: Emulator, airflow: Any, ask: Asker, fault: str
) -> None:
    replacement = emulator.add_token()
    fields = {"conn_type": "trifacta", "host": emulator.url}
    airflow.connections["trifacta_default"] = {**fields, "password": emulator.token}

    def rotate() -> None:
        emulator.delete_token(emulator.token)
        airflow.connections["trifacta_default"] = {**fields, "password": replacement}
        airflow.fault = fault

    clock = Clock(emulator, airflow, lasts=400)
    assert ask(TrifactaHook(clock=clock), rotate) == 17
    assert statuses(emulator) == [401, 200]


# ------------------------------------------------------------------------------------------------------- the waits


@pytest.fixture
def running(emulator: Emulator) -> int:
    row = emulator.app.runs.start_job_group(
        emulator.state.get("wrangledDatasets", 7), 17, overrides={}, run_parameters={}
    )
    return int(row["id"])


@pytest.mark.parametrize("when", ["at-the-start", "meanwhile"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wait_in_the_triggerer_goes_on(
    emulator: Emulator,
    airflow: Any,
    old: str,
    running: int,
    fault: str,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    airflow.set(NAME, emulator.token)
    replacement = emulator.add_token()

    class RotatingClock(Clock):
        def sleep(self, seconds: float) -> None:
            if when == "meanwhile" and not self.slept:  # the pause before the first look
                emulator.delete_token(emulator.token)
                airflow.set(NAME, replacement)
                airflow.fault = fault
            super().sleep(seconds)

    clock = RotatingClock(emulator, airflow, lasts=400)
    if when == "at-the-start":
        airflow.fault = fault
    monkeypatch.setattr(TrifactaJobGroupTrigger, "_hook", property(lambda _: TrifactaHook(clock=clock)))
    (event,) = asyncio.run(drain(TrifactaJobGroupTrigger(running).run()))
    assert (event.payload["outcome"], event.payload["status"]) == ("final", "Complete"), event.payload
    assert airflow.fault is None
    assert statuses(emulator).count(401) == (1 if when == "meanwhile" else 0)


def test_a_wait_that_cannot_read_its_token_says_so(
    emulator: Emulator, airflow: Any, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.set(NAME, emulator.token)

    class BreakingClock(EmulatorClock):
        def sleep(self, seconds: float) -> None:
            if emulator.calls("getJobGroupStatus") and airflow.fault is None:
                emulator.delete_token(emulator.token)
                airflow.fault = FAULTS[0]
            super().sleep(seconds)

    operator = TrifactaRunJobGroupOperator(task_id="run", wrangled_dataset_id=9, deferrable=False, durable=False)
    hook = TrifactaHook(clock=BreakingClock(emulator))
    monkeypatch.setattr(TrifactaRunJobGroupOperator, "_hook", lambda _: hook)
    with pytest.raises(TrifactaWaitFailed, match=f"may still be running: .*Variable '{NAME}'"):
        operator.execute({"ti": FakeTaskInstance()})  # type: ignore[arg-type]
    assert issubclass(TrifactaTokenUnreadable, TrifactaApiError)
