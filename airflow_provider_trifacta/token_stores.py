"""Where the API access token of a connection is kept.

Which store it is, the Airflow connection says: its password, unless the extra names a Variable
(``token_variable``) or a class of the user's own (``credential_store``). What is kept is a string to a store, and
nothing more: the credential made of it decides what it means.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from airflow_provider_trifacta.airflow_support.compat import Variable, mask_secret, redact
from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.airflow_support.variables import read_variable, why_written_variables_are_logged
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.connection import (
    AirflowConnection,
    extra_of,
    kept_elsewhere,
    of_connection,
    usable_token,
)
from airflow_provider_trifacta.exceptions import TrifactaTokenUnreadable

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.rest_api import AirflowApi


class TokenStore(Protocol):
    """Keeps one token. A class of your own is made with the Airflow connection: ``MyStore(connection)``."""

    def read(self) -> str:
        """Return what is kept.

        :raises Exception: it cannot be read, with what a user can do about it.
        """
        ...

    def write(self, token: str) -> None:
        """Keep a token in place of the one before. When this returns, every later read gives it.

        :raises Exception: it is not kept.
        """
        ...

    def why_not_writable(self) -> str | None:
        """Return why nothing can be written here, None when it can. Writes nothing to find out."""
        ...


def store_of(connection: AirflowConnection, *, airflow_api: AirflowApi | None = None) -> TokenStore:
    """Return the store that a connection names.

    :param airflow_api: writes connections on Airflow 3, where tasks cannot.
    :raises TrifactaConfigurationError: what the extra names cannot be used.
    """
    try:
        extra = extra_of(connection)
    except TrifactaConfigurationError as error:
        raise of_connection(connection, error) from None
    variable, path = extra.get("token_variable"), extra.get("credential_store")
    if variable and path:
        raise of_connection(connection, "extra token_variable and credential_store contradict each other, say one")
    if variable:
        return VariableTokenStore(variable, connection)
    if path:
        return _store_of_ones_own(path, connection)
    return ConnectionTokenStore(connection, airflow_api)


def read_token(connection: AirflowConnection) -> str:
    """Return the token of a connection from where it is kept. All secrets of it are masked in logs from now on.

    :raises TrifactaConfigurationError: it is none that could be sent, or the store cannot be used.
    :raises TrifactaTokenUnreadable: the Variable that keeps it cannot be read.
    """
    store = store_of(connection)
    token = usable_token(store.read(), connection, _name_of(store))
    mask_secret(token)
    for proxy in (extra_of(connection).get("proxy", ""), *getproxies().values()):
        password = urlsplit(proxy).password
        if password:
            mask_secret(unquote(password))
    return token


class VariableTokenStore:
    """Keeps the token in an Airflow Variable; until that exists, the password of the connection is the token.

    :param name: of the Variable. Airflow masks Variables by their names: it needs to hold ``token`` or ``secret``.
    """

    def __init__(self, name: str, connection: AirflowConnection) -> None:
        if redact("visible", name) == "visible":
            raise of_connection(
                connection,
                f"extra token_variable: Airflow would show the value of a Variable named {name!r}. Choose a name "
                "with 'token' or 'secret' in it",
            )
        self.name = name
        self._connection = connection

    def read(self) -> str:
        """Return the value of the Variable; the password, when it certainly does not exist.

        :raises TrifactaTokenUnreadable: it may exist, and the password may have been revoked long ago.
        """
        try:
            value = read_variable(self.name)
        except Exception as error:
            where = f"Variable {self.name!r}"
            raise TrifactaTokenUnreadable.because_of(self._connection.conn_id, where, error) from error
        return value if value is not None else self._connection.password or ""

    def write(self, token: str) -> None:
        """Set the Variable."""
        Variable.set(self.name, token)

    def why_not_writable(self) -> str | None:
        """Return the reason when an environment variable of the workers is in the way, or Airflow would log it."""
        in_the_way = f"AIRFLOW_VAR_{self.name.upper()}"
        if in_the_way in os.environ:
            return f"the environment variable {in_the_way} takes precedence over the Variable; remove it"
        if reason := why_written_variables_are_logged():
            return (
                f"{reason}, so the token would be seen there. Change that; or name no token_variable, but a "
                "connection to Airflow's own REST API in airflow_api_conn_id, or your own store (credential_store)"
            )
        return None


class ConnectionTokenStore:
    """Keeps the token in the password of the connection.

    :param airflow_api: writes it on Airflow 3; Airflow 2 lets tasks do it.
    """

    def __init__(self, connection: AirflowConnection, airflow_api: AirflowApi | None) -> None:
        self._connection = connection
        self._api = None if tasks_use_the_database() else airflow_api

    def read(self) -> str:
        """Return the password, as it was when the connection was read."""
        return self._connection.password or ""

    def write(self, token: str) -> None:
        """Change the password, and nothing else."""
        if self._api is not None:
            self._api.set_password(self._connection.conn_id, self._connection.conn_type, token)
        else:
            _set_password_in_database(self._connection.conn_id, token)
        self._connection.password = token

    def why_not_writable(self) -> str | None:
        """Return why the password cannot be changed: no way to, or it is not in Airflow's database."""
        conn_id = self._connection.conn_id
        in_the_way = f"AIRFLOW_CONN_{conn_id.upper()}"
        if in_the_way in os.environ:
            return f"the connection comes from the environment variable {in_the_way}"
        if self._api is not None:
            return self._api.why_not_changeable(conn_id)
        if not tasks_use_the_database():
            return (
                "tasks of Airflow 3 cannot change connections. Name a connection to Airflow's own REST API in "
                "airflow_api_conn_id; or a Variable in the extra of the connection (token_variable); or a store "
                "of your own there (credential_store)"
            )
        if not _is_in_database(conn_id):
            return kept_elsewhere(conn_id)
        return None


def _store_of_ones_own(path: str, connection: AirflowConnection) -> TokenStore:
    where = f"extra credential_store: {path!r}"
    module, _, name = path.rpartition(".")
    try:
        store = getattr(import_module(module), name)(connection)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise of_connection(connection, f"{where} cannot be imported, or not made ({error})") from error
    missing = [method for method in ("read", "write", "why_not_writable") if not hasattr(store, method)]
    if missing:
        raise of_connection(connection, f"{where} has no {', '.join(missing)}")
    return cast("TokenStore", store)


def _name_of(store: TokenStore) -> str:
    if isinstance(store, ConnectionTokenStore):
        return "password"
    if isinstance(store, VariableTokenStore):
        return f"token_variable {store.name}"
    return f"credential_store {type(store).__name__}"


# ------------------------------------------------------------------------------------------------------- Airflow 2


def _is_in_database(conn_id: str) -> bool:
    from airflow.utils.session import create_session

    with create_session() as session:
        return _stored_connection(session, conn_id) is not None


def _set_password_in_database(conn_id: str, token: str) -> None:
    from airflow.utils.session import create_session

    with create_session() as session:
        _stored_connection(session, conn_id).set_password(token)


def _stored_connection(session: Any, conn_id: str) -> Any:
    from airflow.models.connection import Connection

    return session.query(Connection).filter(Connection.conn_id == conn_id).one_or_none()
