"""How SQLAlchemy reaches the database of the SQL token store: which driver, which timeouts."""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from airflow_provider_trifacta.connection import AirflowConnection

#: Seconds to connect; then for a statement, or for a lock of SQLite.
_CONNECT_TIMEOUT = 10
STATEMENT_TIMEOUT = 10

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
    "sqlite": {"timeout": STATEMENT_TIMEOUT},
    "mysql": {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": STATEMENT_TIMEOUT,
        "write_timeout": STATEMENT_TIMEOUT,
    },
    "mssql": {"login_timeout": _CONNECT_TIMEOUT, "timeout": STATEMENT_TIMEOUT},
}
#: What may be passed on to PostgreSQL from the extra of its connection. ``options`` can choose a schema.
_POSTGRES_OPTIONS = ("options", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs")


def engine_of(connection: AirflowConnection, name: str) -> tuple[str, Engine]:
    """Return what kind of database a connection leads to, and SQLAlchemy's way to it. Connects to nothing.

    :param name: names its logger.
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
    logging.getLogger(f"sqlalchemy.engine.Engine.{name}").setLevel(logging.WARNING)
    settings["logging_name"] = name
    # A connection is not kept open: it would be a stranger's in a forked process, and dead hours later.
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=options, **settings)
    return kind, engine
