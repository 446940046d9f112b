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
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_trifacta.airflow_support.compat import AirflowNotFoundException, BaseHook
from airflow_provider_trifacta.api.errors import TrifactaError
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.connection import AirflowConnection, extra_of, of_connection
from airflow_provider_trifacta.exceptions import TrifactaTokenUnreadable
from airflow_provider_trifacta.tokens.sql_engine import engine_of
from airflow_provider_trifacta.tokens.sql_row import LONGEST_REASON, TABLE, SqlRow

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


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
        self._opened: SqlRow | None = None

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
    def _reading(self) -> Iterator[tuple[SqlRow, Connection]]:
        """Yield a connection; errors of the database become ours, since some of them quote values."""
        from sqlalchemy.exc import DBAPIError

        database = self._database()
        try:
            with database.connect() as connection:
                yield database, connection
        except DBAPIError as error:
            raise database.unreadable(error) from None

    @contextlib.contextmanager
    def _writing(self, database: SqlRow) -> Iterator[None]:
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            raise TokenNotStored(
                f"Airflow connection {self._connection.conn_id!r}: the token could not be stored in "
                f"{database.where} ({database.reason(error)})"
            ) from None

    def _database(self) -> SqlRow:
        if self._opened is None:
            self._opened = _open(self._connection)
        return self._opened


def _open(connection: AirflowConnection) -> SqlRow:
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
        kind, engine = engine_of(theirs, TABLE)
    except Exception as error:
        problem = Redactor(theirs.password).redact(line(str(error), LONGEST_REASON))
        raise of_connection(connection, f"{named} cannot be used: {problem}") from None
    try:
        # With this comes SQLAlchemy, which takes long to import.
        from airflow_provider_trifacta.airflow_support.compat import get_fernet

        fernet = get_fernet()
    except Exception as error:
        raise of_connection(connection, f"Airflow's Fernet key cannot be used ({error})") from error
    where = f"table {TABLE} of Airflow connection {sql_conn_id!r}"
    return SqlRow(connection, where, kind, engine, fernet, theirs.password)
