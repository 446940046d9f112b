"""The names that OpenLineage's conventions give to files and tables, so that those of other tools are the same."""

from __future__ import annotations

import re

from airflow_provider_trifacta.api.datasets import DatabaseServer, FileLocation, TableLocation

#: Namespace and name of a dataset.
DatasetName = tuple[str, str]

#: Stores of objects, whose names do not begin with a slash.
_OBJECT_STORES = frozenset({"abfss", "dbfs", "gs", "s3", "wasbs"})
#: File systems that a URI need not name.
_UNNAMED_FILE_SYSTEMS = frozenset({"dbfs", "file"})
#: The scheme of a namespace, where it is not the vendor.
_SCHEMES = {"sqlserver": "mssql", "synapse": "sqlserver"}
_REDSHIFT = re.compile(r"([^.]+)\.[^.]+\.([^.]+)\.redshift(?:-serverless)?\.amazonaws\.com(?:\.cn)?")
_SNOWFLAKE = re.compile(r"(.+?)(?:\.privatelink)?\.snowflakecomputing\.(?:com|cn)")


def name_of_file(file: FileLocation) -> DatasetName | None:
    """Return the name of a file or directory; None if its URI does not tell in which file system it is."""
    name = (file.path.lstrip("/") if file.scheme in _OBJECT_STORES else file.path) or "/"
    if file.authority:
        return f"{file.scheme}://{file.authority}", name
    return (file.scheme, name) if file.scheme in _UNNAMED_FILE_SYSTEMS else None


def name_of_table(table: TableLocation) -> DatasetName:
    """Return the name of a table."""
    names = table.names[1:] if table.server.vendor == "synapse" else table.names
    return _namespace(table.server), ".".join(names)


def _namespace(server: DatabaseServer) -> str:
    host, port = server.host, server.port
    if host is None:
        return server.vendor
    if server.vendor == "snowflake":
        account = _SNOWFLAKE.fullmatch(host)
        return f"snowflake://{account[1] if account else host}"
    if server.vendor == "databricks":
        return f"databricks://{host}"
    if server.vendor == "redshift" and (cluster := _REDSHIFT.fullmatch(host)):
        host = f"{cluster[1]}.{cluster[2]}"
    address = host if port is None else f"{host}:{port}"
    instance = f"/{server.instance}" if server.instance else ""
    return f"{_SCHEMES.get(server.vendor, server.vendor)}://{address}{instance}"
