"""Names files and tables by URI, in the form that Airflow's conventions for assets want for each scheme."""

from __future__ import annotations

import re
from urllib.parse import quote

from airflow_provider_trifacta.api.datasets import FileLocation, TableLocation

#: What may stand in the path of a URI as it is, besides letters and digits. A percent sign is part of an escape.
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~"
_SAFE_IN_NAME = "$"
#: A query, or part of the name? And what an unsuitable character was replaced by is another name.
_AMBIGUOUS = re.compile("[?\ufffd]")
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
#: The schemes of vendors whose name here is another one.
_SCHEMES = {"sqlserver": "mssql", "synapse": "mssql"}
#: Vendors whose tables are named ``scheme://host:port/names``.
_BY_HOST_AND_PORT = frozenset(
    {"db2", "hive", "mysql", "oracle", "postgres", "redshift", "sqlserver", "synapse", "teradata"}
)
#: An instance that specifies no port is found by its name; Airflow's conventions give it this one.
_PORT_OF_INSTANCES = 1433
_PROJECT = re.compile(r"[A-Za-z0-9.-]+(:[A-Za-z0-9-]+)?")
_ACCOUNT = re.compile(r"([a-z0-9_.-]+)\.snowflakecomputing\.(?:com|cn)")


def uri_of_file(file: FileLocation) -> str | None:
    """Return the URI of the asset that a file is; None if no asset is only this file."""
    # Without an authority, only the path of a local file identifies it.
    if not file.path.startswith("/") or not (file.authority or file.scheme == "file"):
        return None
    if _AMBIGUOUS.search(file.path):
        return None
    path = quote(_STRAY_PERCENT.sub("%25", file.path), safe=_SAFE_IN_PATH)
    return f"{file.scheme}://{file.authority}{path}"


def uri_of_table(table: TableLocation) -> str | None:
    """Return the URI of the asset that a table is; None if Airflow has no convention for its vendor."""
    server = table.server
    if any("\ufffd" in name for name in table.names):
        return None
    names = "/".join(quote(name, safe=_SAFE_IN_NAME) for name in table.names)
    scheme = _SCHEMES.get(server.vendor, server.vendor)
    if server.vendor == "bigquery":
        project = table.names[0]
        return f"bigquery://{project}/{names.partition('/')[2]}" if _PROJECT.fullmatch(project) else None
    if server.vendor == "snowflake":
        account = _ACCOUNT.fullmatch(server.host or "")
        return f"snowflake://{account[1]}/{names}" if account else None
    if server.vendor == "databricks":
        return f"databricks://{server.host}{f':{server.port}' if server.port != 443 else ''}/{names}"
    if server.vendor not in _BY_HOST_AND_PORT:
        return None
    instance = f"{quote(server.instance, safe=_SAFE_IN_NAME)}/" if server.instance else ""
    return f"{scheme}://{server.host}:{server.port or _PORT_OF_INSTANCES}/{instance}{names}"
