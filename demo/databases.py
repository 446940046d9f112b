"""Where an Airflow keeps its state."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

Rows = list[tuple[object, ...]]


class Database(Protocol):
    """A database of Airflow.

    :param url: its address, as SQLAlchemy writes it.
    """

    url: str

    def prepare(self) -> None:
        """Adapt the tables, once Airflow has created them."""
        ...

    def rows(self, query: str, *parameters: object) -> Rows:
        """Return the rows that a query finds; ``?`` stands for a parameter."""
        ...

    def columns(self, table: str) -> set[str]:
        """Return the names of the columns of a table."""
        ...


class SqliteDatabase:
    """A file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        # Five processes write to it: they must wait for each other instead of failing. Not for long: the API
        # server of Airflow 3.3 may wait for itself, and answers nothing until that is over.
        self.url = f"sqlite:///{file}?timeout=15"

    def prepare(self) -> None:
        """Let processes read it while others write, and number triggers the way other databases do."""
        with contextlib.closing(sqlite3.connect(self._file)) as database:
            database.execute("pragma journal_mode=wal")
            _never_reuse_ids_of_triggers(database)
            database.commit()

    def rows(self, query: str, *parameters: object) -> Rows:
        """Return the rows that a query finds."""
        database = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=10)
        with contextlib.closing(database):
            return database.execute(query, parameters).fetchall()

    def columns(self, table: str) -> set[str]:
        """Return the names of the columns of a table."""
        return {str(name) for _, name, *_ in self.rows(f"pragma table_info({table})")}


class PostgresDatabase:
    """A database in a PostgreSQL server.

    :param address: ``name:password@host:port/database``.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self.url = f"postgresql+psycopg2://{address}"

    def prepare(self) -> None:
        """Leave it as it is."""

    def rows(self, query: str, *parameters: object) -> Rows:
        """Return the rows that a query finds."""
        import psycopg2

        with contextlib.closing(psycopg2.connect(f"postgresql://{self._address}")) as database:
            cursor = database.cursor()
            cursor.execute(query.replace("%", "%%").replace("?", "%s"), parameters)
            return list(cursor.fetchall())

    def change(self, statement: str, parameters: Iterable[tuple[object, ...]]) -> None:
        """Execute a statement for each of many sets of parameters, all or none."""
        import psycopg2
        from psycopg2.extras import execute_batch

        with contextlib.closing(psycopg2.connect(f"postgresql://{self._address}")) as database, database:
            execute_batch(database.cursor(), statement.replace("%", "%%").replace("?", "%s"), list(parameters))

    def columns(self, table: str) -> set[str]:
        """Return the names of the columns of a table."""
        query = "select column_name from information_schema.columns where table_name = ?"
        return {str(name) for (name,) in self.rows(query, table)}


def _never_reuse_ids_of_triggers(database: sqlite3.Connection) -> None:
    """Make SQLite number triggers the way other databases do.

    SQLite reuses the id of a deleted row, and Airflow then passes the event of a task's trigger to whichever task
    is deferred next.
    """
    (table,) = database.execute(
        "select sql from sqlite_master where type = 'table' and name = 'trigger'"
    ).fetchone()
    if "AUTOINCREMENT" in table:
        return
    indexes = database.execute("select sql from sqlite_master where type = 'index' and tbl_name = 'trigger'")
    indexes = [sql for (sql,) in indexes.fetchall() if sql]
    table = re.sub(r"\bid INTEGER NOT NULL", "id INTEGER PRIMARY KEY AUTOINCREMENT", table)
    table = re.sub(r",\s*CONSTRAINT \w+ PRIMARY KEY \(id\)", "", table)
    database.execute("drop table trigger")
    for sql in (table, *indexes):
        database.execute(sql)
