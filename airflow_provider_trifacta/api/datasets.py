"""Identifies the files and tables that the API reports: which server, which database, which path.

Lineage and asset events name datasets by these parts, each in its own way. A dataset that cannot be told from all
others is not identified: no part is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_trifacta.api.answers import JobGroupInput, OutputFile, Table
from airflow_provider_trifacta.api.connect_strings import Server, read_connect_string
from airflow_provider_trifacta.api.redaction import redact_userinfo
from airflow_provider_trifacta.api.shapes import read
from airflow_provider_trifacta.api.text import is_line

#: Maximum length of a URI and of a part of a table's name, in characters.
_LONGEST_URI = 2000
_LONGEST_PART = 300
#: Maximum number of parts of a table's name.
_MOST_PARTS = 10

#: Schemes that are spelled in several ways, or differ only in their driver or encryption.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss", "wasb": "wasbs"}
#: In these, what is before the at sign is a container, not a user.
_CONTAINER_SCHEMES = frozenset({"abfss", "wasbs"})
#: Buckets have no port.
_BUCKET_SCHEMES = frozenset({"gs", "s3"})
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):(?://([^/]*))?(/?.*)", re.DOTALL)
_AUTHORITY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?(?::[0-9]{1,5})?")
_CONTAINER = re.compile(r"[A-Za-z0-9$_-]{1,63}")


@dataclass(frozen=True)
class FileLocation:
    """A file or directory.

    :param scheme: in lower case and one spelling: ``s3``, ``gs``, ``abfss``, ``wasbs``, ``hdfs``, ``dbfs``,
        ``file``, or another.
    :param authority: the bucket, the host with its port, or ``container@account...``, without credentials; empty
        if the URI has none.
    :param path: as it stands in the URI, with its first slash, without a last one.
    """

    scheme: str
    authority: str
    path: str


@dataclass(frozen=True)
class Vendor:
    """What is known of a kind of database.

    :param name: its name here.
    :param port: the port of its servers, unless a connect string has another.
    :param levels: the number of parts of the full name of a table.
    :param needs_host: whether a table is identified only together with its server.
    """

    name: str
    port: int | None
    levels: int
    needs_host: bool = True


_VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor("bigquery", None, 3, needs_host=False),  # project, dataset, table
        Vendor("databricks", 443, 3),  # catalog, schema, table
        Vendor("db2", 50000, 3),
        Vendor("hive", 10000, 2),
        Vendor("mysql", 3306, 2),
        Vendor("oracle", 1521, 3),  # service or SID, schema, table
        Vendor("postgres", 5432, 3),
        Vendor("redshift", 5439, 3),
        Vendor("snowflake", None, 3),
        Vendor("sqlserver", 1433, 3),
        Vendor("synapse", 1433, 3),
        Vendor("teradata", 1025, 2),
    )
}
#: Other names of these vendors, in the API and in connect strings, without anything but letters and digits.
_SPELLINGS = {
    "azuredatabricks": "databricks",
    "azuresql": "sqlserver",
    "azuresqldatabase": "sqlserver",
    "azuresqldatawarehouse": "synapse",
    "azuresynapse": "synapse",
    "hive2": "hive",
    "mariadb": "mysql",
    "microsoftsqlserver": "sqlserver",
    "mssql": "sqlserver",
    "postgresql": "postgres",
    "spark": "databricks",
    "sqldatawarehouse": "synapse",
    "sqldw": "synapse",
}


@dataclass(frozen=True)
class DatabaseServer:
    """Where tables are.

    :param vendor: in lower case: ``postgres``, ``sqlserver``, ``bigquery``, ...; another name as the API gives it.
    :param host: in lower case; None if it is not known, or the vendor has none.
    :param port: None if it is not known.
    :param instance: a named instance on the host (SQL Server).
    """

    vendor: str
    host: str | None = None
    port: int | None = None
    instance: str | None = None


@dataclass(frozen=True)
class TableLocation:
    """A table.

    :param names: its full name, outermost part first: ``("analytics", "public", "orders")``. Of a vendor that we
        know, it has all parts, such as project, dataset and table.
    """

    server: DatabaseServer
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """Completes the names of tables.

    :param vendor: None if we do not know it.
    :param defaults: the outer parts of names that lack them, outermost first; None if they are not known.
    """

    server: DatabaseServer
    vendor: Vendor | None
    defaults: tuple[str | None, ...]

    def table(self, parts: list[Any]) -> TableLocation | None:
        if not parts or len(parts) > _MOST_PARTS or not all(map(_is_part, parts)):
            return None
        if self.vendor is not None:
            missing = self.vendor.levels - len(parts)
            parts = [*self.defaults[: max(0, missing)], *parts]
            if None in parts or len(parts) != self.vendor.levels:
                return None
            if self.vendor.needs_host and self.server.host is None:
                return None
        return TableLocation(self.server, tuple(parts))


@dataclass(frozen=True)
class SourceQuery:
    """A query that a job group read instead of a table.

    :param statements: the SQL, in the order in which the API gives it.
    """

    server: DatabaseServer
    statements: tuple[str, ...]
    _place: _Place

    def table(self, parts: Iterable[str]) -> TableLocation | None:
        """Return the table that has a name in the query; None if that does not tell it from others.

        :param parts: the parts of the name, outermost first.
        """
        return self._place.table([*parts])


def locate_file(file: OutputFile) -> FileLocation | None:
    """Return where a file is; None if its URI does not tell, such as a path without a scheme."""
    uri = file["uri"]
    found = _URI.fullmatch(uri) if is_line(uri, _LONGEST_URI) else None
    if found is None:
        return None
    scheme = _SCHEMES.get(found[1].lower(), found[1].lower())
    authority, path = found[2] or "", found[3]
    if scheme in _CONTAINER_SCHEMES:
        container, _, authority = authority.rpartition("@")
        if not _CONTAINER.fullmatch(container) or not _AUTHORITY.fullmatch(authority):
            return None
        authority = f"{container}@{authority.lower()}"
    else:
        user, _, authority = authority.rpartition("@")
        if authority and not _AUTHORITY.fullmatch(authority):
            return None
        if ":" in authority and (scheme in _BUCKET_SCHEMES or ("@" in path and not user)):
            return None  # it is the beginning of a user and a password with a slash in it
    if scheme in ("http", "https"):
        path = re.split("[?#]", path, maxsplit=1)[0]  # it may have a signature
    path = path.rstrip("/")
    return FileLocation(scheme, authority, path) if path or authority else None


def uri_without_credentials(uri: str) -> str:
    """Return the URI of a file for users, without user name and password."""
    scheme = uri.partition(":")[0].lower()
    return uri if _SCHEMES.get(scheme, scheme) in _CONTAINER_SCHEMES else redact_userinfo(uri)


def locate_table(table: Table) -> TableLocation | None:
    """Return which table it is; None if the API does not report enough to tell it from others."""
    place = _place_of(table)
    if place is None:
        return None
    name = table.get("table")
    return place.table([*table.get("relationalPath", ()), *([name] if name else [])])


def query_of(table: Table) -> SourceQuery | None:
    """Return the query that was read instead of a table; None if there is none."""
    statements = tuple(filter(str.strip, table.get("query") or ()))
    place = _place_of(table) if statements else None
    return None if place is None else SourceQuery(place.server, statements, place)


def files_and_tables(inputs: Iterable[JobGroupInput]) -> Iterator[OutputFile | Table | None]:
    """Yield the files and tables in the datasets that a job group read; None for each that is neither."""
    for dataset in inputs:
        for item in dataset["inputs"]:
            yield read(item, OutputFile) if "uri" in item else read(item, Table)


def _place_of(table: Table) -> _Place | None:
    text = table.get("databaseConnectString")
    connect = read_connect_string(text) if text else Server()
    name = _vendor_name(table.get("vendor"), connect)
    if name is None:
        return None
    vendor = _VENDORS.get(name)
    if vendor is None:
        return _Place(DatabaseServer(name, connect.host, connect.port, connect.instance), None, ())
    # The port of an instance is not known unless it is specified.
    default = None if connect.host is None or connect.instance else vendor.port
    host = connect.host if vendor.needs_host else None
    server = DatabaseServer(name, host, connect.port or default, connect.instance)
    return _Place(server, vendor, (connect.database, connect.schema)[: vendor.levels - 1])


def _vendor_name(given: str | None, connect: Server) -> str | None:
    spellings = [re.sub("[^a-z0-9]", "", name.lower()) for name in (given, connect.protocol) if name]
    known = [_SPELLINGS.get(spelling, spelling) for spelling in spellings if spelling]
    name = next((one for one in known if one in _VENDORS), known[0][:_LONGEST_PART] if known else None)
    if name == "sqlserver" and (connect.host or "").endswith(".sql.azuresynapse.net"):
        return "synapse"
    return name


def _is_part(part: object) -> bool:
    return isinstance(part, str) and bool(part.strip()) and is_line(part, _LONGEST_PART)
