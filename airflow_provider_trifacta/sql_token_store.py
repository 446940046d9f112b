"""Keeps the token of a connection in a row of a SQL table, encrypted like an Airflow Variable.

In the extra of the connection::

    {
        "credential_store": "airflow_provider_trifacta.sql_token_store.SqlTokenStore",
        "token_sql_conn_id": "tokens_db"
    }

Tried with PostgreSQL and SQLite. For MySQL and SQL Server, SQLAlchemy has all that is needed; nobody has tried it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.compat import AirflowNotFoundException, BaseHook
from airflow_provider_trifacta.api.errors import TrifactaError
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.connection import AirflowConnection, extra_of, of_connection
from airflow_provider_trifacta.exceptions import TrifactaTokenUnreadable

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, Row
    from sqlalchemy.exc import DBAPIError

TABLE = "trifacta_token"
#: Seconds to connect; then for a statement, or for a lock of SQLite.
_CONNECT_TIMEOUT = 10
_STATEMENT_TIMEOUT = 10
#: Seconds after which the socket of a server that has stopped answering is shut down.
_LONGEST_CALL = 25.0
_LONGEST_REASON = 300

#: The drivers for each type of connection, best first: the module, and what SQLAlchemy calls it.
_DRIVERS = {
    "postgres": (("psycopg2", "postgresql+psycopg2"), ("psycopg", "postgresql+psycopg")),
    "sqlite": (("sqlite3", "sqlite"),),
    "mysql": (("MySQLdb", "mysql+mysqldb"), ("pymysql", "mysql+pymysql")),
    "mssql": (("pymssql", "mssql+pymssql"),),
}
_TIMEOUTS: dict[str, dict[str, Any]] = {
    "postgres": {
        "connect_timeout": _CONNECT_TIMEOUT,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
    },
    "sqlite": {"timeout": _STATEMENT_TIMEOUT},
    "mysql": {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _STATEMENT_TIMEOUT,
        "write_timeout": _STATEMENT_TIMEOUT,
    },
    "mssql": {"login_timeout": _CONNECT_TIMEOUT, "timeout": _STATEMENT_TIMEOUT},
}
#: What may be passed on to PostgreSQL from the extra of its connection. ``options`` can choose a schema.
_POSTGRES_OPTIONS = ("options", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs")
#: Drivers report these as operational, like a database that is down, but a user has to change something.
_LASTING = re.compile(
    r"authentication failed|no password supplied|pg_hba|(database|role) .* does not exist"
    r"|no such column|readonly database|unable to open",
)


class TokenNotStored(TrifactaError):
    """The database refused the token, or did not confirm it: read the store to find out whether it has it."""


class SqlTokenStore:
    """Keeps the token in the row of the table ``trifacta_token`` whose name is the id of the connection.

    Its database is the Airflow connection named in the extra ``token_sql_conn_id``. The first call of a method
    reads that connection and the Fernet key; later ones use nothing of Airflow, so they may run in a signal
    handler. Each call ends within about half a minute, and leaves no connection open.

    :param connection: the Airflow connection whose token it is.
    """

    def __init__(self, connection: AirflowConnection) -> None:
        self._connection = connection
        self._opened: _Database | None = None

    def read(self) -> str:
        """Return the stored string.

        :raises TrifactaConfigurationError: a user has to change something, e.g. there is no such row yet.
        :raises TrifactaTokenUnreadable: the database does not answer, or the Fernet key is another one.
        """
        with self._reading() as (database, connection):
            return database.decrypted(database.row(connection))

    def write(self, token: str) -> None:
        """Store a string, whatever was there.

        :raises TrifactaConfigurationError: a user has to change something.
        :raises TokenNotStored: it was not stored, as far as is known.
        """
        database = self._database()
        new = database.encrypted(token)
        with self._writing(database), database.connect() as connection:
            database.create_unless_there(connection)
            if database.update(connection, new) or database.insert(connection, new):
                return
            # Somebody else inserted the row between the two.
            if not database.update(connection, new):
                raise TokenNotStored(f"{database.where}: the row of the token came and went while it was written")

    def compare_and_write(self, seen: str, token: str) -> bool:
        """Store a string if another one is still there. Return False if it was replaced meanwhile.

        The database compares: of several processes that saw the same string, one succeeds.

        :param seen: what was read.
        :raises TrifactaConfigurationError: a user has to change something.
        :raises TrifactaTokenUnreadable: it could not be read.
        :raises TokenNotStored: it was not stored, as far as is known.
        """
        with self._reading() as (database, connection):
            row = database.row(connection)
            if database.decrypted(row).strip() != seen.strip():
                return False
            new = database.encrypted(token)
            with self._writing(database):
                # What is encrypted twice differs, so this compares more than the token: nobody wrote meanwhile.
                return database.update(connection, new, instead_of=row.value)

    def why_not_writable(self) -> str | None:
        """Return why the row cannot be changed, None if it can. An update is tried, and rolled back."""
        from sqlalchemy.exc import DBAPIError

        try:
            database = self._database()
            if database.is_missing_file():
                return f"{database.where}: the file does not exist. {database.first_steps()}"
            with database.connect() as connection:
                try:
                    if database.can_update(connection):
                        return None
                except DBAPIError as error:
                    if not database.lacks_table(connection, error):
                        raise
                return f"{database.where}: there is no token yet. {database.first_steps()}"
        except TrifactaError as error:
            return str(error)
        except DBAPIError as error:
            return f"{database.where}: {database.reason(error)}"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[tuple[_Database, Connection]]:
        """Yield a connection; errors of the database become ours, since some of them quote values."""
        from sqlalchemy.exc import DBAPIError

        database = self._database()
        try:
            with database.connect() as connection:
                yield database, connection
        except DBAPIError as error:
            raise database.unreadable(error) from None

    @contextlib.contextmanager
    def _writing(self, database: _Database) -> Iterator[None]:
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            raise TokenNotStored(
                f"Airflow connection {self._connection.conn_id!r}: the API access token could not be stored in "
                f"{database.where} ({database.reason(error)})"
            ) from None

    def _database(self) -> _Database:
        if self._opened is None:
            self._opened = _open(self._connection)
        return self._opened


def _open(connection: AirflowConnection) -> _Database:
    """Return the database that a connection names. Connects to nothing.

    :raises TrifactaConfigurationError: there is none that can be used.
    :raises TrifactaTokenUnreadable: Airflow could not be asked for it.
    """
    sql_conn_id = extra_of(connection).get("token_sql_conn_id")
    if not sql_conn_id:
        raise of_connection(
            connection,
            "extra token_sql_conn_id: is missing. SqlTokenStore needs the id of an Airflow connection to the "
            "database in which it keeps the token",
        )
    named = f"extra token_sql_conn_id: Airflow connection {sql_conn_id!r}"
    try:
        theirs: AirflowConnection = BaseHook.get_connection(sql_conn_id)
    except AirflowNotFoundException:
        raise of_connection(connection, f"{named} does not exist") from None
    except Exception as error:
        raise TrifactaTokenUnreadable.because_of(connection.conn_id, named, error) from error
    try:
        kind, engine = _engine_of(theirs)
    except Exception as error:
        problem = Redactor(theirs.password).redact(line(str(error), _LONGEST_REASON))
        raise of_connection(connection, f"{named} cannot be used: {problem}") from None
    try:
        # With this comes SQLAlchemy, which takes long to import.
        from airflow_provider_trifacta.airflow_support.compat import get_fernet

        fernet = get_fernet()
    except Exception as error:
        raise of_connection(connection, f"Airflow's Fernet key cannot be used ({error})") from error
    where = f"table {TABLE} of Airflow connection {sql_conn_id!r}"
    return _Database(connection, where, kind, engine, fernet, theirs.password)


def _engine_of(connection: AirflowConnection) -> tuple[str, Engine]:
    """Return what kind of database a connection leads to, and SQLAlchemy's way to it.

    :raises ValueError: it is of another type, or has a field that cannot be used.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.engine import URL
    from sqlalchemy.pool import NullPool

    kind = {"postgresql": "postgres"}.get(connection.conn_type or "", connection.conn_type or "")
    if kind not in _DRIVERS:
        raise ValueError(f"it is of type {connection.conn_type!r}, not one of {', '.join(_DRIVERS)}")
    drivers = [name for module, name in _DRIVERS[kind] if find_spec(module)]
    if not drivers:
        modules = " or ".join(module for module, _ in _DRIVERS[kind])
        raise ValueError(f"the driver for {kind} is not installed: {modules}")
    options = dict(_TIMEOUTS[kind])
    settings: dict[str, Any] = {}
    if kind == "sqlite":
        # Airflow's own hook takes the host; in a connection that is a URI, the path ends up in the schema.
        file = connection.host or connection.schema
        if not file or file == ":memory:":
            raise ValueError("it names no file: put the path of the database into the host")
        url = URL.create(drivers[0], database=file)
    else:
        url = URL.create(
            drivers[0],
            username=connection.login or None,
            password=connection.password or None,
            host=connection.host or None,
            port=connection.port,
            database=connection.schema or None,
        )
        # Under a stricter level, PostgreSQL reports the loser of a race as an error.
        settings["isolation_level"] = "READ COMMITTED"
    if kind == "postgres":
        extra = json.loads(connection.extra or "{}")
        options |= {name: extra[name] for name in _POSTGRES_OPTIONS if extra.get(name)}
    # At level DEBUG, SQLAlchemy logs every row that it reads; only a logger of one's own can be kept from that.
    logging.getLogger(f"sqlalchemy.engine.Engine.{TABLE}").setLevel(logging.WARNING)
    settings["logging_name"] = TABLE
    # A connection is not kept open: it would be a stranger's in a forked process, and dead hours later.
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=options, **settings)
    return kind, engine


@dataclass(frozen=True)
class _Stored:
    value: str
    is_encrypted: bool


class _Database:
    """The row of one connection.

    :param owner: the connection whose token it is.
    :param where: the table, for errors.
    :param password: that of the database, which no error shows.
    """

    def __init__(
        self, owner: AirflowConnection, where: str, kind: str, engine: Engine, fernet: Any, password: str | None
    ) -> None:
        from sqlalchemy import Boolean, Column, DateTime, MetaData, String, Table, Text, false, func

        self.where = where
        self._name = owner.conn_id
        self._owner = owner
        self._kind = kind
        self._engine = engine
        self._fernet = fernet
        self._password = password
        #: The values of the last calls, which no error shows either.
        self._secrets: deque[str] = deque(maxlen=8)
        self._table = Table(
            TABLE,
            MetaData(),
            Column("name", String(250), primary_key=True),
            Column("value", Text, nullable=False),
            Column("is_encrypted", Boolean, nullable=False, server_default=false()),
            Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        )

    # ------------------------------------------------------------------------------------------------ statements

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """Yield a connection that is shut down if its server stops answering: drivers would wait forever."""
        with self._engine.connect() as connection:
            fileno = getattr(connection.connection.dbapi_connection, "fileno", None)
            if fileno is None:
                yield connection
                return
            # A copy, which stays this socket even if the driver has closed its own.
            with socket.socket(fileno=os.dup(fileno())) as copy:
                timer = threading.Timer(_LONGEST_CALL, _shut_down, [copy])
                timer.daemon = True
                timer.start()
                try:
                    yield connection
                finally:
                    timer.cancel()

    def row(self, connection: Connection) -> Row[Any]:
        """Return the row; create the table if it is missing.

        :raises TrifactaConfigurationError: there is none.
        """
        from sqlalchemy import select
        from sqlalchemy.exc import DBAPIError

        columns = self._table.c
        query = select(columns.value, columns.is_encrypted).where(columns.name == self._name)
        found = None
        try:
            with self._transaction(connection):
                found = connection.execute(query).first()
        except DBAPIError as error:
            # Only now, since most reads need no look at the catalogue.
            if not self.lacks_table(connection, error):
                raise
            self.create_unless_there(connection)
        if found is None:
            raise of_connection(self._owner, f"{self.where} has no row for it. {self.first_steps()}")
        self._secrets.append(found.value)
        return found

    def update(self, connection: Connection, new: _Stored, *, instead_of: str | None = None) -> bool:
        """Change the row; return False if there is none.

        :param instead_of: change it only if this is its value.
        """
        from sqlalchemy import func, update

        columns = self._table.c
        statement = update(self._table).where(columns.name == self._name)
        if instead_of is not None:
            statement = statement.where(columns.value == instead_of)
        statement = statement.values(value=new.value, is_encrypted=new.is_encrypted, updated_at=func.now())
        with self._transaction(connection):
            return connection.execute(statement).rowcount == 1

    def insert(self, connection: Connection, new: _Stored) -> bool:
        """Insert the row; return False if it is there already."""
        from sqlalchemy import insert
        from sqlalchemy.exc import IntegrityError

        row = insert(self._table).values(name=self._name, value=new.value, is_encrypted=new.is_encrypted)
        try:
            with self._transaction(connection):
                connection.execute(row)
        except IntegrityError:
            return False
        return True

    def can_update(self, connection: Connection) -> bool:
        """Return whether the row is there. Raises what a change would raise, and changes nothing."""
        from sqlalchemy import func, update

        columns = self._table.c
        # Another value, since SQLite does not write one that stays the same.
        changed = {"value": columns.value + " ", "is_encrypted": columns.is_encrypted, "updated_at": func.now()}
        statement = update(self._table).where(columns.name == self._name).values(changed)
        with self._transaction(connection) as transaction:
            found = connection.execute(statement).rowcount
            transaction.rollback()
        return found == 1

    def lacks_table(self, connection: Connection, error: DBAPIError) -> bool:
        """Return whether a statement failed because the table does not exist."""
        # A connection that was lost would be made anew here, and nothing would end it.
        return not error.connection_invalidated and not self._has_table(connection)

    def _has_table(self, connection: Connection) -> bool:
        from sqlalchemy import inspect

        with self._transaction(connection):
            return bool(inspect(connection).has_table(TABLE))

    def create_unless_there(self, connection: Connection) -> None:
        """Create the table.

        :raises TrifactaConfigurationError: it is missing, and the user of the database may not create it.
        """
        from sqlalchemy.exc import DBAPIError

        if self._has_table(connection):
            return
        try:
            with self._transaction(connection):
                self._table.create(connection, checkfirst=False)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            if self._has_table(connection):
                return  # Another process was faster.
            if self._may_pass(error):
                raise
            problem = f"{self.where} does not exist, nor can it be created ({self.reason(error)})"
            raise of_connection(self._owner, f"{problem}. {self.first_steps()}") from None

    @contextlib.contextmanager
    def _transaction(self, connection: Connection) -> Iterator[Any]:
        with connection.begin() as transaction:
            if self._kind == "postgres":
                # Not when connecting: poolers such as PgBouncer refuse it there.
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_STATEMENT_TIMEOUT * 1000}")
            yield transaction

    # -------------------------------------------------------------------------------------------------- encryption

    def encrypted(self, token: str) -> _Stored:
        """Return what is stored for a string: like a Variable, in plain text if Airflow has no Fernet key."""
        value = self._fernet.encrypt(token.encode()).decode()
        self._secrets.append(token)
        self._secrets.append(value)
        return _Stored(value, self._fernet.is_encrypted)

    def decrypted(self, row: Row[Any]) -> str:
        """Return the string in a row.

        :raises TrifactaTokenUnreadable: it was encrypted with another key.
        """
        value: str = row.value
        if row.is_encrypted:
            try:
                if not self._fernet.is_encrypted:
                    raise ValueError("there is no key")
                value = self._fernet.decrypt(value.encode()).decode()
            except Exception:
                raise self._error(
                    "it was encrypted with another Fernet key than this process has. Give all of Airflow's "
                    "processes, also workers and triggerers, the same [core] fernet_key; or enter a token again, "
                    "with is_encrypted false"
                ) from None
        self._secrets.append(value)
        return value

    # ------------------------------------------------------------------------------------------------------ errors

    def unreadable(self, error: DBAPIError) -> TrifactaError:
        """Return the error for a failed read: one that a retry may outlive, or one for a user."""
        reason = self.reason(error)
        if self._may_pass(error):
            return self._error(reason)
        return of_connection(self._owner, f"{self.where} cannot be read ({reason})")

    def _may_pass(self, error: DBAPIError) -> bool:
        from sqlalchemy.exc import InterfaceError, OperationalError

        return isinstance(error, (InterfaceError, OperationalError)) and not _LASTING.search(self.reason(error))

    def reason(self, error: DBAPIError) -> str:
        """Return what a driver reports, without values."""
        # Further lines quote parts of the statement, with its values.
        said = (str(error.orig).strip().splitlines() or [""])[0]
        return line(
            f"{type(error.orig).__name__}: {Redactor(self._password, *self._secrets).redact(said)}",
            _LONGEST_REASON,
        )

    def _error(self, reason: str) -> TrifactaTokenUnreadable:
        message = f"Airflow connection {self._name!r}: the token could not be read from {self.where}"
        return TrifactaTokenUnreadable(method="", path="", message=f"{message} ({reason})")

    def is_missing_file(self) -> bool:
        """Return whether the database is a file that does not exist. Connecting would create it."""
        file = self._engine.url.database
        return self._kind == "sqlite" and file is not None and not os.path.exists(file)

    def first_steps(self) -> str:
        """Return the statements that store the first token."""
        from sqlalchemy.schema import CreateTable

        ddl = " ".join(str(CreateTable(self._table).compile(dialect=self._engine.dialect)).split())
        name = self._name.replace("'", "''")
        return (
            f"Put the first token there: INSERT INTO {TABLE} (name, value, is_encrypted) "  # noqa: S608
            f"VALUES ('{name}', '<token>', false); it is encrypted when it is replaced. "
            f"Unless the table exists: {ddl};"
        )


def _shut_down(copy: socket.socket) -> None:
    with contextlib.suppress(OSError):
        copy.shutdown(socket.SHUT_RDWR)
