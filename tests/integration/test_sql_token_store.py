"""The token in a row of a SQL table, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import glob
import importlib.util
import json
import logging
import multiprocessing
import os
import pwd
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_trifacta import sql_token_store
from airflow_provider_trifacta.airflow_support import compat
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import TrifactaConfigurationError, TrifactaTokenUnreadable
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator
from airflow_provider_trifacta.sql_token_store import SqlTokenStore, TokenNotStored
from airflow_provider_trifacta.tokens import sql_engine, sql_row

TOKEN = "a-pasted-token-that-nobody-may-see"
NEW = "the-token-after-it"
PASSWORD = "p:@ss/wörd-of-the-database"
STORE = "airflow_provider_trifacta.sql_token_store.SqlTokenStore"
TABLE = """CREATE TABLE trifacta_token (name VARCHAR(250) PRIMARY KEY, value TEXT NOT NULL,
    is_encrypted BOOLEAN DEFAULT false NOT NULL, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)"""


@dataclass
class Database:
    """A database, and the Airflow connection to it."""

    kind: str
    fields: dict[str, Any]
    open: Callable[[], Any]
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    changed: dict[str, Any] = field(default_factory=dict)

    def execute(self, statement: str) -> list[Any]:
        with closing(self.open()) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
        return rows

    def paste(self, token: str = TOKEN, name: str = "trifacta_default") -> None:
        self.execute(TABLE)
        self.execute(f"INSERT INTO trifacta_token (name, value, is_encrypted) VALUES ('{name}', '{token}', false)")

    def row(self) -> tuple[str, bool]:
        ((value, is_encrypted),) = self.execute("SELECT value, is_encrypted FROM trifacta_token")
        return value, bool(is_encrypted)

    def change(self, **fields: Any) -> None:
        """Change the Airflow connection."""
        self.monkeypatch.setenv("AIRFLOW_CONN_TOKENS_DB", json.dumps({**self.fields, **fields}))

    def store(self) -> SqlTokenStore:
        return store_with(token_sql_conn_id="tokens_db")


def store_with(**extra: Any) -> SqlTokenStore:
    connection: Any = SimpleNamespace(conn_id="trifacta_default", extra=json.dumps(extra), password=None)
    return SqlTokenStore(connection)


def _program(name: str) -> str | None:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return shutil.which(name) or (found[-1] if found else None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[dict[str, Any]]:
    """Start a PostgreSQL on a port of its own; its superuser is ``airflow``."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if not initdb or not postgres:
        pytest.skip("PostgreSQL is not installed (initdb, postgres)")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("the driver psycopg2 is not installed")
    import psycopg2

    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        # It refuses to run as root.
        owner = next(entry for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody"))
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data, log = str(folder / "data"), (folder / "log").open("w")
    options = {"cwd": folder, "stdout": log, "stderr": log, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}
    login = ["--username=airflow", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
    subprocess.run(
        [initdb, "--no-sync", "--encoding=UTF8", *login, "-D", data], check=True, timeout=120, **options, **user
    )
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "log_statement=all"]
    server = subprocess.Popen(
        [postgres, "-D", data, "-p", str(port), *(f"-c{setting}" for setting in settings)], **options, **user
    )
    where = {"host": "127.0.0.1", "port": port, "user": "airflow", "password": PASSWORD, "dbname": "postgres"}
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg2.connect(**where).close()
                break
            except psycopg2.OperationalError:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield where
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sqlite(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="sqlite-") as folder:
        path = Path(folder) / "tokens.db"
        fields = {"conn_type": "sqlite", "host": str(path)}
        database = Database("sqlite", fields, lambda: sqlite3.connect(path), Path(folder), monkeypatch)
        database.change()
        yield database


@pytest.fixture
def postgres(postgres_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    import psycopg2

    fields = {
        "conn_type": "postgres",
        "host": postgres_server["host"],
        "port": postgres_server["port"],
        "login": postgres_server["user"],
        "password": postgres_server["password"],
        "schema": postgres_server["dbname"],
    }
    database = Database("postgres", fields, lambda: psycopg2.connect(**postgres_server), tmp_path, monkeypatch)
    database.execute("DROP TABLE IF EXISTS trifacta_token")
    database.change()
    return database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


# --------------------------------------------------------------------------------------------- reading and writing


def test_a_pasted_token_is_read_as_it_is_and_encrypted_when_it_is_replaced(database: Database) -> None:
    database.paste()
    store = database.store()
    assert store.why_not_writable() is None
    assert store.read() == TOKEN
    assert database.row() == (TOKEN, False)
    assert store.compare_and_write(TOKEN, "the-next-token")
    value, is_encrypted = database.row()
    assert is_encrypted
    assert "the-next-token" not in value
    assert compat.get_fernet().decrypt(value.encode()) == b"the-next-token"
    assert store.read() == database.store().read() == "the-next-token"
    store.write('{"refresh_token": "größer", "n": 1}')
    assert store.read() == '{"refresh_token": "größer", "n": 1}'
    assert store.why_not_writable() is None


def test_the_first_read_creates_the_table_and_says_what_to_insert(database: Database) -> None:
    with pytest.raises(TrifactaConfigurationError, match="INSERT INTO trifacta_token") as caught:
        database.store().read()
    for part in ("'trifacta_default'", "'tokens_db'", "table trifacta_token", "CREATE TABLE"):
        assert part in str(caught.value)
    insert = str(caught.value).partition("there: ")[2].partition(";")[0]
    database.execute(insert.replace("<token>", TOKEN))
    assert database.store().read() == TOKEN
    assert database.execute("SELECT count(*) FROM trifacta_token WHERE updated_at IS NOT NULL") == [(1,)]


def test_the_statement_that_creates_the_table_works(database: Database) -> None:
    reason = database.store().why_not_writable()
    assert reason
    assert "there is no token yet" in reason or "does not exist" in reason
    database.execute(reason.partition("Unless the table exists: ")[2])
    assert "there is no token yet" in str(database.store().why_not_writable())
    database.store().write(TOKEN)
    assert database.store().why_not_writable() is None


def test_the_check_changes_nothing(database: Database) -> None:
    database.store().why_not_writable()
    if database.kind == "sqlite":
        assert list(database.folder.iterdir()) == []
    else:
        assert database.execute("SELECT to_regclass('trifacta_token')") == [(None,)]
    database.paste()
    before = database.execute("SELECT * FROM trifacta_token")
    assert database.store().why_not_writable() is None
    assert database.execute("SELECT * FROM trifacta_token") == before


def test_the_first_write_needs_no_row(database: Database) -> None:
    database.store().write(TOKEN)
    assert database.store().read() == TOKEN
    assert TOKEN not in database.row()[0]


def test_rows_of_other_connections_stay(database: Database) -> None:
    database.paste(name="another")
    database.store().write("mine")
    assert database.execute("SELECT value FROM trifacta_token WHERE name = 'another'") == [(TOKEN,)]
    with pytest.raises(TrifactaConfigurationError, match="no row"):
        SqlTokenStore(
            SimpleNamespace(conn_id="it's new", extra='{"token_sql_conn_id": "tokens_db"}')  # type: ignore[arg-type]
        ).read()


def test_a_path_in_a_uri(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TOKENS_DB", f"sqlite:///{sqlite.fields['host']}")
    sqlite.paste()
    assert sqlite.store().read() == TOKEN


def test_later_calls_use_nothing_of_airflow(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.paste()
    store = database.store()
    store.read()
    monkeypatch.delenv("AIRFLOW_CONN_TOKENS_DB")
    monkeypatch.setattr(compat, "get_fernet", None)
    assert store.read() == TOKEN
    store.write("another")
    assert store.read() == "another"


# --------------------------------------------------------------------------------------------------------- compare


def test_the_loser_of_a_race_is_told(database: Database) -> None:
    database.paste()
    slow, fast = database.store(), database.store()
    seen = slow.read()
    assert fast.compare_and_write(seen, "fast")
    assert not slow.compare_and_write(seen, "slow")
    assert slow.read() == "fast"


def test_a_token_that_is_written_anew_unchanged_was_written(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the comparison and the update, everything is compared: also how it was encrypted."""
    database.store().write(TOKEN)
    store = database.store()
    update = sql_row.SqlRow.update

    def late(self: Any, *arguments: Any, **options: Any) -> bool:
        monkeypatch.setattr(sql_row.SqlRow, "update", update)
        database.store().write(TOKEN)
        return update(self, *arguments, **options)

    monkeypatch.setattr(sql_row.SqlRow, "update", late)
    assert not store.compare_and_write(TOKEN, "another")
    assert store.read() == TOKEN


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_one_of_many_wins(database: Database, isolation: str) -> None:
    if database.kind == "postgres":
        database.execute(f"ALTER ROLE airflow SET default_transaction_isolation = '{isolation}'")
    database.paste()
    for _ in range(5):
        start = threading.Barrier(8)
        seen = database.store().read()

        def attempt(number: int, seen: str = seen, start: threading.Barrier = start) -> bool:
            store = database.store()
            store.read()
            start.wait(30)
            return store.compare_and_write(seen, f"{seen[:20]}-{number}-{time.monotonic_ns()}")

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(attempt, range(8))) == 1
    if database.kind == "postgres":
        database.execute("ALTER ROLE airflow RESET default_transaction_isolation")


def _count(store: SqlTokenStore, times: int) -> None:
    for _ in range(times):
        seen = store.read()
        while not store.compare_and_write(seen, str(int(seen) + 1)):
            time.sleep(random.random() / 20)
            seen = store.read()


def test_nothing_is_lost_between_processes(database: Database) -> None:
    database.paste("0")
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_count, args=(database.store(), 15), daemon=True) for _ in range(4)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
    assert database.store().read() == "60"


def test_first_writes_at_once(database: Database) -> None:
    """Each creates the table and inserts the row, or finds that another one has."""
    start = threading.Barrier(8)

    def write(number: int) -> None:
        store = database.store()
        start.wait(30)
        store.write(str(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert int(database.store().read()) in range(8)


# ---------------------------------------------------------------------------------------------------------- errors


def test_nothing_listens(postgres: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    postgres.change(port=port)
    with pytest.raises(TrifactaTokenUnreadable, match="refused") as caught:
        postgres.store().read()
    assert "table trifacta_token of Airflow connection 'tokens_db'" in str(caught.value)
    assert "refused" in str(postgres.store().why_not_writable())
    with pytest.raises(TokenNotStored, match="refused"):
        postgres.store().write(TOKEN)


def test_a_server_that_never_answers(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sql_engine._TIMEOUTS["postgres"], "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        postgres.change(port=server.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(TrifactaTokenUnreadable, match="timeout"):
            postgres.store().read()
    assert time.monotonic() - began < 10


@contextmanager
def _swallowing(port: int, text: bytes) -> Iterator[int]:
    """Pass everything on to a server, until a text comes: then nothing more in either direction."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pass_on(source: socket.socket, target: socket.socket) -> None:
            try:
                while data := source.recv(65536):
                    if text in data:
                        return
                    target.sendall(data)
            except OSError:
                pass

        kept = []

        def accept() -> None:
            try:
                while True:
                    here, _ = listening.accept()
                    there = socket.create_connection(("127.0.0.1", port))
                    kept.extend([here, there])
                    for pair in ((here, there), (there, here)):
                        threading.Thread(target=pass_on, args=pair, daemon=True).start()
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


@pytest.mark.parametrize("text", [b"SELECT trifacta_token", b"UPDATE trifacta_token"])
def test_a_server_that_stops_answering(postgres: Database, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sql_row, "_LONGEST_CALL", 1.0)
    postgres.paste()
    with _swallowing(postgres.fields["port"], text) as port:
        postgres.change(port=port)
        began = time.monotonic()
        with pytest.raises(TrifactaTokenUnreadable if b"SELECT" in text else TokenNotStored, match="closed"):
            postgres.store().compare_and_write(TOKEN, "another")
        assert time.monotonic() - began < 10
    postgres.change()
    assert postgres.store().read() == TOKEN


def test_a_lock_that_somebody_holds(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sql_engine._TIMEOUTS["sqlite"], "timeout", 0.3)
    monkeypatch.setattr(sql_row, "STATEMENT_TIMEOUT", 0.3)
    database.paste()
    store = database.store()
    with closing(database.open()) as other:
        if database.kind == "sqlite":
            other.execute("BEGIN EXCLUSIVE")
        else:
            other.cursor().execute("LOCK TABLE trifacta_token")
        with pytest.raises(TrifactaTokenUnreadable, match=r"locked|statement timeout"):
            store.read()
        with pytest.raises(TokenNotStored, match=r"locked|statement timeout"):
            store.write("another")
        assert store.why_not_writable()
    assert store.read() == TOKEN


def test_a_lock_that_is_released_in_time(sqlite: Database) -> None:
    sqlite.paste()
    other = sqlite3.connect(sqlite.fields["host"], check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.5, other.rollback).start()
    assert sqlite.store().compare_and_write(TOKEN, "another")
    other.close()


def test_another_fernet_key(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.fernet import Fernet

    database.store().write(TOKEN)
    other = Fernet(Fernet.generate_key())
    for key in (
        SimpleNamespace(is_encrypted=True, encrypt=other.encrypt, decrypt=other.decrypt),
        SimpleNamespace(is_encrypted=False, encrypt=lambda value: value, decrypt=lambda value: value),
    ):
        monkeypatch.setattr(compat, "get_fernet", lambda key=key: key)
        for call in (lambda: database.store().read(), lambda: database.store().compare_and_write(TOKEN, "x")):
            with pytest.raises(TrifactaTokenUnreadable, match=r"another Fernet key.*fernet_key") as caught:
                call()
            assert "table trifacta_token" in str(caught.value)
    # As a Variable: without a key, in plain text.
    database.store().write("in plain text")
    assert database.row() == ("in plain text", False)


def test_a_fernet_key_that_is_none(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ValueError("Fernet key must be 32 bytes")

    monkeypatch.setattr(compat, "get_fernet", broken)
    with pytest.raises(TrifactaConfigurationError, match=r"Fernet key cannot be used .*32 bytes"):
        sqlite.store().read()


@contextmanager
def _not_as_root() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_cannot_be_written(sqlite: Database, what: str) -> None:
    sqlite.paste()
    store = sqlite.store()
    assert store.why_not_writable() is None
    file = Path(sqlite.fields["host"])
    file.chmod(0o444 if what == "file" else 0o666)
    sqlite.folder.chmod(0o777 if what == "file" else 0o555)
    with _not_as_root():
        assert store.read() == TOKEN
        assert re_readonly(store.why_not_writable())
        with pytest.raises(TokenNotStored):
            store.compare_and_write(TOKEN, "another")
    sqlite.folder.chmod(0o777)
    assert store.read() == TOKEN


def re_readonly(reason: str | None) -> bool:
    return reason is not None and ("readonly database" in reason or "unable to open" in reason)


@pytest.fixture
def reader(postgres: Database) -> Iterator[Database]:
    """A user who may read the table, and nothing else."""
    postgres.paste()
    postgres.execute("CREATE ROLE reader LOGIN PASSWORD 'reads'; GRANT SELECT ON trifacta_token TO reader")
    postgres.change(login="reader", password="reads")
    yield postgres
    postgres.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_a_user_who_may_only_read(reader: Database) -> None:
    store = reader.store()
    assert store.read() == TOKEN
    assert "permission denied for table trifacta_token" in str(store.why_not_writable())
    with pytest.raises(TokenNotStored, match="permission denied"):
        store.compare_and_write(TOKEN, "another")
    reader.execute("DROP TABLE trifacta_token")
    for call in (store.read, lambda: store.write(TOKEN)):
        with pytest.raises(TrifactaConfigurationError, match=r"permission denied for schema public.*CREATE TABLE"):
            call()
    assert "CREATE TABLE" in str(store.why_not_writable())


def test_a_standby(postgres: Database) -> None:
    postgres.paste()
    postgres.change(extra={"options": "-c default_transaction_read_only=on"})
    assert postgres.store().read() == TOKEN
    assert "read-only transaction" in str(postgres.store().why_not_writable())


def test_a_schema_of_ones_own(postgres: Database) -> None:
    postgres.execute("CREATE SCHEMA IF NOT EXISTS elsewhere")
    postgres.change(extra={"options": "-c search_path=elsewhere"})
    postgres.store().write(TOKEN)
    assert postgres.store().read() == TOKEN
    assert postgres.execute("SELECT count(*) FROM elsewhere.trifacta_token") == [(1,)]
    postgres.execute("DROP SCHEMA elsewhere CASCADE")


@pytest.mark.parametrize(
    ("extra", "fields", "said"),
    [
        ({}, {}, "extra token_sql_conn_id: is missing"),
        ({"token_sql_conn_id": "nowhere"}, {}, "'nowhere' does not exist"),
        ({}, {"conn_type": "http"}, "of type 'http', not one of postgres, sqlite"),
        ({}, {"conn_type": "sqlite"}, "names no file"),
        ({}, {"conn_type": "sqlite", "host": "/nowhere/at/all.db"}, "unable to open"),
        ({}, {"conn_type": "postgres", "extra": "{"}, "cannot be used|does not exist"),  # Airflow 3.0 finds none
    ],
)
def test_mistakes_in_the_connections(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], fields: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TOKENS_DB", json.dumps(fields))
    if fields:
        extra = {"token_sql_conn_id": "tokens_db"}
    if fields.get("extra"):
        pytest.importorskip("psycopg2")
    with pytest.raises(TrifactaConfigurationError, match=said) as caught:
        store_with(**extra).read()
    assert "Airflow connection 'trifacta_default': " in str(caught.value)
    with pytest.raises((TrifactaConfigurationError, TokenNotStored)):
        store_with(**extra).write(TOKEN)
    assert store_with(**extra).why_not_writable()


def test_a_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_engine, "find_spec", lambda _: None)
    monkeypatch.setenv("AIRFLOW_CONN_TOKENS_DB", json.dumps({"conn_type": "postgres"}))
    with pytest.raises(TrifactaConfigurationError, match="not installed: psycopg2 or psycopg"):
        store_with(token_sql_conn_id="tokens_db").read()


def test_airflow_cannot_be_asked(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(conn_id: str) -> Any:
        raise ConnectionError("the API server does not answer")

    monkeypatch.setattr(sql_token_store.BaseHook, "get_connection", fail)
    store = sqlite.store()
    with pytest.raises(TrifactaTokenUnreadable, match=r"'tokens_db' .*does not answer"):
        store.read()
    monkeypatch.undo()
    sqlite.change()
    sqlite.paste()
    assert store.read() == TOKEN


# --------------------------------------------------------------------------------------------------------- secrets


def _shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def test_a_wrong_password_is_not_shown(postgres: Database) -> None:
    postgres.change(password="wrong-and-secret")
    store = postgres.store()
    with pytest.raises(TrifactaConfigurationError, match="password authentication failed") as caught:
        store.read()
    for shown in (_shown(caught.value), str(store.why_not_writable()), repr(store), repr(vars(store))):
        assert "wrong-and-secret" not in shown
    postgres.change(schema="elsewhere")
    with pytest.raises(TrifactaConfigurationError, match='database "elsewhere" does not exist'):
        postgres.store().read()


def test_no_value_is_shown_or_logged(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL quotes the statement, with its values, in which a column is missing."""
    database.paste()
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "sqlalchemy")
    database.execute("ALTER TABLE trifacta_token DROP COLUMN updated_at") if database.kind == "postgres" else (
        database.execute("DROP TABLE trifacta_token"),
        database.execute("CREATE TABLE trifacta_token (name TEXT, value TEXT, is_encrypted BOOLEAN)"),
        database.execute(f"INSERT INTO trifacta_token VALUES ('trifacta_default', '{TOKEN}', false)"),
    )
    store = database.store()
    with pytest.raises(TokenNotStored, match="updated_at") as caught:
        store.compare_and_write(TOKEN, NEW)
    said = _shown(caught.value)
    assert "Airflow connection 'tokens_db'" in said
    database.execute("ALTER TABLE trifacta_token RENAME COLUMN value TO thing")
    with pytest.raises(TrifactaConfigurationError, match=r"cannot be read .*value") as unreadable:
        store.read()
    said += _shown(unreadable.value) + str(store.why_not_writable()) + caplog.text
    for secret in (TOKEN, TOKEN[:12], NEW, PASSWORD, "gAAAA"):
        assert secret not in said


def test_values_that_a_database_quotes_are_redacted(postgres: Database) -> None:
    postgres.execute(TABLE.replace("value TEXT", "value INTEGER"))
    postgres.execute("INSERT INTO trifacta_token (name, value) VALUES ('trifacta_default', 17)")
    with pytest.raises(TokenNotStored, match=r"invalid input syntax|type integer") as caught:
        postgres.store().write(TOKEN)
    assert "gAAAA" not in _shown(caught.value)


# ------------------------------------------------------------------------------------------------------------ used


@pytest.fixture
def connected(database: Database, emulator: Emulator, connect: Callable[..., None]) -> Database:
    connect(emulator, token="unused", credential_store=STORE, token_sql_conn_id="tokens_db")
    database.paste(emulator.token)
    return database


def test_a_hook_uses_it(connected: Database, emulator: Emulator) -> None:
    hook = TrifactaHook()
    me = hook.get_current_person()
    replacement = emulator.add_token()
    hook.token_store().write(replacement)
    emulator.delete_token(emulator.token)
    assert hook.get_current_person() == me

    async def ask() -> Any:
        async with TrifactaHook().async_client() as client:
            return await client.get_current_person()

    assert asyncio.run(ask()) == me


def test_a_token_is_rotated_in_it(connected: Database, emulator: Emulator, context: dict[str, Any]) -> None:
    done = TrifactaRotateApiAccessTokenOperator(task_id="rotate", lifetime_seconds=86400).execute(context)
    assert done["rotated"]
    assert connected.store().read() != emulator.token
    TrifactaHook().get_current_person()
    assert connected.row()[1]


def test_importing_it_is_cheap() -> None:
    code = (
        "import sys; import airflow_provider_trifacta.token_stores; before = set(sys.modules); "
        "import airflow_provider_trifacta.sql_token_store; "
        "print([name for name in set(sys.modules) - before if name.startswith(('sqlalchemy', 'cryptography'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
