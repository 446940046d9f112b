"""Where the API access token of a connection is kept.

The Airflow connection specifies the store: its password, unless the extra names a Variable (``token_variable``) or
a custom class (``credential_store``). A store keeps a plain string; the credential created from it interprets it.
"""

from __future__ import annotations

import contextlib
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
    OAuthSettings,
    extra_of,
    kept_elsewhere,
    oauth_of,
    of_connection,
    usable_token,
)
from airflow_provider_trifacta.exceptions import TrifactaTokenUnreadable

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.rest_api import AirflowApi


class TokenStore(Protocol):
    """Keeps one token. A custom class is instantiated with the Airflow connection: ``MyStore(connection)``."""

    def read(self) -> str:
        """Return the stored string.

        :raises Exception: it cannot be read; the message says what a user can do about it.
        """
        ...

    def write(self, token: str) -> None:
        """Replace the stored token. Once this returns, every later read returns the new one.

        :raises Exception: it was not stored.
        """
        ...

    def why_not_writable(self) -> str | None:
        """Return why the store cannot be written, None if it can. The check writes nothing."""
        ...


class ComparingTokenStore(TokenStore, Protocol):
    """Keeps one token, and can replace it only if nobody else has: what an OAuth 2.0 token pair needs."""

    def compare_and_write(self, seen: str, token: str) -> bool:
        """Replace the stored string if it still is the one that was read; return whether it was replaced.

        Of two processes that do this at the same time with the same string, exactly one succeeds.

        :param seen: what :meth:`read` returned.
        :raises Exception: it is not known whether it was replaced.
        """
        ...


def store_of(
    connection: AirflowConnection, *, airflow_api: AirflowApi | None = None, held: set[str] | None = None
) -> TokenStore:
    """Return the store that a connection names.

    :param airflow_api: writes connections on Airflow 3, where tasks cannot.
    :param held: the Variables that are known to have held a token; the store adds to it.
    :raises TrifactaConfigurationError: what the extra names cannot be used.
    """
    try:
        extra = extra_of(connection)
    except TrifactaConfigurationError as error:
        raise of_connection(connection, error) from None
    oauth = oauth_of(connection)
    variable, path = extra.get("token_variable"), extra.get("credential_store")
    if variable and path:
        raise of_connection(connection, "extra token_variable and credential_store are both set; set only one")
    if variable:
        kind = DatabaseVariableTokenStore if tasks_use_the_database() else VariableTokenStore
        store: TokenStore = kind(variable, connection, has_password=oauth is None, held=held)
    elif path:
        store = _store_of_ones_own(path, connection)
    else:
        store = ConnectionTokenStore(connection, airflow_api)
    if oauth is not None:
        _check_pair_store(store, oauth, connection)
    return store


def _check_pair_store(store: TokenStore, oauth: OAuthSettings, connection: AirflowConnection) -> None:
    if hasattr(store, "compare_and_write"):
        return
    if not isinstance(store, VariableTokenStore):
        raise of_connection(
            connection,
            f"extra credential_store: {type(store).__name__} has no compare_and_write, so two tasks could refresh "
            "the same token pair and kill it. Add it, or keep the pair in a Variable (token_variable)",
        )
    if oauth.refresh_on_demand:
        raise of_connection(
            connection,
            "extra oauth_refresh_on_demand: needs a credential_store that compares before it writes, such as "
            "SqlTokenStore. With a Variable, a DAG with TrifactaRefreshOAuthTokenOperator refreshes the pair",
        )


def read_token(connection: AirflowConnection, *, held: set[str] | None = None) -> str:
    """Read the token of a connection from its store. From then on, all its secrets are masked in logs.

    :param held: the Variables that are known to have held a token; see :func:`store_of`.
    :raises TrifactaConfigurationError: the token cannot be sent, or the store cannot be used.
    :raises TrifactaTokenUnreadable: the Variable that keeps it cannot be read.
    """
    store = store_of(connection, held=held)
    token = usable_token(store.read(), connection, _name_of(store))
    mask_secret(token)
    mask_proxy_passwords(connection)
    return token


def mask_proxy_passwords(connection: AirflowConnection) -> None:
    """Mask the passwords of the proxies that a connection uses in logs."""
    for proxy in (extra_of(connection).get("proxy", ""), *getproxies().values()):
        with contextlib.suppress(ValueError):  # reported when it is used
            password = urlsplit(proxy).password
            if password:
                mask_secret(unquote(password))


class VariableTokenStore:
    """Keeps the token in an Airflow Variable. Until the Variable exists, the password of the connection is used.

    :param name: name of the Variable. Airflow masks by name, so it must contain ``token`` or ``secret``.
    :param has_password: whether the password is a token; with OAuth 2.0 it is not.
    :param held: the Variables that are known to have held a token. One of them that Airflow does not find later
        could not be read: on Airflow 3.0 to 3.2, this cannot be told apart.
    """

    def __init__(
        self,
        name: str,
        connection: AirflowConnection,
        *,
        has_password: bool = True,
        held: set[str] | None = None,
    ) -> None:
        if redact("visible", name) == "visible":
            raise of_connection(
                connection,
                f"extra token_variable: Airflow does not mask the value of a Variable named {name!r}. Choose a "
                "name that contains 'token' or 'secret'",
            )
        self.name = name
        self._connection = connection
        self._has_password = has_password
        self._held = set() if held is None else held

    def read(self) -> str:
        """Return the value of the Variable, or the password if the Variable certainly does not exist.

        :raises TrifactaTokenUnreadable: it may exist, and the password may have been revoked long ago.
        """
        try:
            value = read_variable(self.name)
        except Exception as error:
            where = f"Variable {self.name!r}"
            raise TrifactaTokenUnreadable.because_of(self._connection.conn_id, where, error) from error
        if value is not None:
            self._held.add(self.name)
            return value
        if not self._has_password:
            raise TrifactaTokenUnreadable.missing(self._connection.conn_id, self.name)
        if self.name in self._held:
            gone = LookupError("it held a token before, and Airflow no longer finds it")
            raise TrifactaTokenUnreadable.because_of(self._connection.conn_id, f"Variable {self.name!r}", gone)
        return self._connection.password or ""

    def write(self, token: str) -> None:
        """Set the Variable."""
        Variable.set(self.name, token)

    def why_not_writable(self) -> str | None:
        """Return the reason if an environment variable overrides the Variable, or Airflow would log its value."""
        in_the_way = f"AIRFLOW_VAR_{self.name.upper()}"
        if in_the_way in os.environ:
            return f"the environment variable {in_the_way} takes precedence over the Variable; remove it"
        if reason := why_written_variables_are_logged():
            instead = "keep it in your own store (credential_store)"
            if self._has_password:
                instead = (
                    "replace token_variable with a connection to Airflow's own REST API in airflow_api_conn_id, "
                    "or your own store (credential_store)"
                )
            return f"{reason}, so the token would appear in the log. Change that, or {instead}"
        return None


class DatabaseVariableTokenStore(VariableTokenStore):
    """Keeps the token in an Airflow Variable on Airflow 2, where tasks can compare it before they write."""

    def compare_and_write(self, seen: str, token: str) -> bool:
        """Replace the Variable if its value still is the one that was read."""
        from airflow.models.variable import Variable as Row
        from airflow.utils.session import create_session

        table = Row.__table__
        with create_session() as session:
            row = session.query(Row).filter(Row.key == self.name).one_or_none()
            if row is None or row.get_val() != seen:  # type: ignore[no-untyped-call]
                return False
            stored, new = row._val, Row(key=self.name, val=token)  # type: ignore[no-untyped-call]
            # By the encrypted value: each encryption of the same value differs.
            update = table.update().where(table.c.key == self.name, table.c.val == stored)
            result: Any = session.execute(update.values(val=new._val, is_encrypted=new.is_encrypted))
            return bool(result.rowcount == 1)


class VariableClaimStore:
    """Keeps the claim of whoever refreshes the token pair in a Variable, in a second Variable.

    :param name: the Variable with the pair.
    """

    def __init__(self, name: str) -> None:
        self.name = f"{name}_refresh"

    def read(self) -> str | None:
        """Return the claim, None if there has never been one.

        :raises Exception: it could not be read.
        """
        return read_variable(self.name)

    def write(self, text: str) -> None:
        """Set the Variable."""
        Variable.set(self.name, text)


class ConnectionTokenStore:
    """Keeps the token in the password of the connection.

    :param airflow_api: writes the password on Airflow 3; on Airflow 2 the task writes it.
    """

    def __init__(self, connection: AirflowConnection, airflow_api: AirflowApi | None) -> None:
        self._connection = connection
        self._api = None if tasks_use_the_database() else airflow_api

    def read(self) -> str:
        """Return the password as of when the connection was read."""
        return self._connection.password or ""

    def write(self, token: str) -> None:
        """Change the password, and nothing else."""
        if self._api is not None:
            self._api.set_password(self._connection.conn_id, self._connection.conn_type, token)
        else:
            _set_password_in_database(self._connection.conn_id, token)
        self._connection.password = token

    def why_not_writable(self) -> str | None:
        """Return why the password cannot be changed: nothing can write it, or it is not in Airflow's database."""
        conn_id = self._connection.conn_id
        in_the_way = f"AIRFLOW_CONN_{conn_id.upper()}"
        if in_the_way in os.environ:
            return f"the connection comes from the environment variable {in_the_way}"
        if self._api is not None:
            return self._api.why_not_changeable(conn_id)
        if not tasks_use_the_database():
            return (
                "tasks of Airflow 3 cannot change connections. Specify a connection to Airflow's own REST API in "
                "airflow_api_conn_id, or a Variable (token_variable) or your own store (credential_store) in the "
                "extra of the connection"
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
        raise of_connection(connection, f"{where} cannot be imported or instantiated ({error})") from error
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
