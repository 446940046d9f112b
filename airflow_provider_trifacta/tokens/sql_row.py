"""The row of a SQL table that keeps a token: the statements, their time limits, the encryption, the errors."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.api.errors import TrifactaError
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.connection import AirflowConnection, of_connection
from airflow_provider_trifacta.exceptions import TrifactaTokenUnreadable
from airflow_provider_trifacta.tokens.sql_engine import STATEMENT_TIMEOUT

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, Row
    from sqlalchemy.exc import DBAPIError

TABLE = "trifacta_token"
#: Maximum number of characters of an error that are quoted.
LONGEST_REASON = 300
#: Seconds after which the socket of a server that has stopped answering is shut down.
_LONGEST_CALL = 25.0
#: Drivers report these as operational, like a database that is down, but a user has to change something.
_LASTING = re.compile(
    r"authentication failed|no password supplied|pg_hba|(database|role) .* does not exist"
    r"|no such column|readonly database|unable to open",
)


@dataclass(frozen=True)
class StoredValue:
    """What the row holds.

    :param value: the token, or its ciphertext.
    """

    value: str
    is_encrypted: bool


class SqlRow:
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

    def update(self, connection: Connection, new: StoredValue, *, instead_of: str | None = None) -> bool:
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

    def insert(self, connection: Connection, new: StoredValue) -> bool:
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
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT * 1000}")
            yield transaction

    # -------------------------------------------------------------------------------------------------- encryption

    def encrypted(self, token: str) -> StoredValue:
        """Return what is stored for a string: like a Variable, in plain text if Airflow has no Fernet key."""
        value = self._fernet.encrypt(token.encode()).decode()
        self._secrets.append(token)
        self._secrets.append(value)
        return StoredValue(value, self._fernet.is_encrypted)

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
            LONGEST_REASON,
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
