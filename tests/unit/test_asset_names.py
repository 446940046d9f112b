"""The names of files and tables as assets: one form for each scheme, as Airflow's own providers want it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_trifacta.api.datasets import locate_file, locate_table
from airflow_provider_trifacta.tasks.asset_names import uri_of_file, uri_of_table

#: The parts of a path that the providers of Airflow 3 insist on: names, but for the first and empty one.
PARTS = {
    "bigquery": (2,),
    "databricks": (3,),
    "mssql": (3, 4),
    "mysql": (2,),
    "oracle": (3,),
    "postgres": (3,),
    "redshift": (3,),
    "snowflake": (3,),
}
#: The ports that they add to a URI without one, so that it would be another name.
PORTS = {"mssql": 1433, "mysql": 3306, "oracle": 1521, "postgres": 5432, "redshift": 5439}


@pytest.mark.parametrize(
    ("written", "uri"),
    [
        ("s3://bucket/orders/x.csv", "s3://bucket/orders/x.csv"),
        ("s3a://bucket/orders/", "s3://bucket/orders"),
        ("S3://AKIA:secret@bucket/x", "s3://bucket/x"),
        ("gs://bucket/x.csv", "gs://bucket/x.csv"),
        ("hdfs://namenode:8020/data/x", "hdfs://namenode:8020/data/x"),
        ("abfss://files@acme.dfs.core.windows.net/x", "abfss://files@acme.dfs.core.windows.net/x"),
        ("wasb://files@acme.blob.core.windows.net/x", "wasbs://files@acme.blob.core.windows.net/x"),
        ("file:///data/x.csv", "file:///data/x.csv"),
        ("file:/data/x.csv", "file:///data/x.csv"),
        ("sftp://me:secret@host:22/x", "sftp://host:22/x"),
        ("https://acme.example.com/x.csv?sig=secret", "https://acme.example.com/x.csv"),
        # As RFC 3986 has it: Airflow takes what follows "#" for no part of the name, and 2.11 only ASCII.
        ("s3://bucket/a b#1.csv", "s3://bucket/a%20b%231.csv"),
        ("s3://bucket/käse/100%.csv", "s3://bucket/k%C3%A4se/100%25.csv"),
        ("s3://bucket/a%20b.csv", "s3://bucket/a%20b.csv"),
        ("s3://bucket/day=2024-03-01/part-0.csv", "s3://bucket/day=2024-03-01/part-0.csv"),
        # A query, or a name with a question mark?
        ("s3://bucket/x?versionId=1", None),
        ("s3://bucket/\ufffd.csv", None),
        ("s3://bucket", None),
        ("s3:///x", None),
        # Of which workspace, of which cluster?
        ("dbfs:/mnt/x", None),
        ("hdfs:///data/x", None),
        ("/queryResults/x.csv", None),
    ],
)
def test_files(written: str, uri: str | None) -> None:
    location = locate_file({"uri": written})
    found = None if location is None else uri_of_file(location)
    assert found == uri
    if found is not None:
        assert found.isascii()
        assert not urlsplit(found).fragment + urlsplit(found).query


@pytest.mark.parametrize(
    ("vendor", "connect", "path", "uri"),
    [
        ("postgres", "jdbc:postgresql://DB:5433/crm", ["public"], "postgres://db:5433/crm/public/orders"),
        ("postgres", "jdbc:postgresql://db/crm", ["public"], "postgres://db:5432/crm/public/orders"),
        ("mysql", "jdbc:mysql://db/crm", [], "mysql://db:3306/crm/orders"),
        ("redshift", "jdbc:redshift://c.eu.redshift.amazonaws.com/dev", ["public"],
         "redshift://c.eu.redshift.amazonaws.com:5439/dev/public/orders"),
        ("oracle", "jdbc:oracle:thin:@//db:1521/sales", ["CRM"], "oracle://db:1521/sales/CRM/orders"),
        ("sqlserver", "jdbc:sqlserver://db;databaseName=crm", ["dbo"], "mssql://db:1433/crm/dbo/orders"),
        ("sqlserver", "jdbc:sqlserver://db\\one;databaseName=crm", ["dbo"], "mssql://db:1433/one/crm/dbo/orders"),
        ("synapse", "jdbc:sqlserver://w.sql.azuresynapse.net;database=dw", ["dbo"],
         "mssql://w.sql.azuresynapse.net:1433/dw/dbo/orders"),
        ("snowflake", "jdbc:snowflake://acme-eu.snowflakecomputing.com/?db=CRM", ["PUBLIC"],
         "snowflake://acme-eu/CRM/PUBLIC/orders"),
        ("snowflake", "jdbc:snowflake://proxy.example.com/?db=CRM", ["PUBLIC"], None),
        ("bigquery", None, ["my-project", "sales"], "bigquery://my-project/sales/orders"),
        ("bigquery", None, ["example.com:my-project", "sales"], "bigquery://example.com:my-project/sales/orders"),
        ("bigquery", None, ["not a project", "sales"], None),
        ("databricks", "jdbc:databricks://adb.example.net:443/default;httpPath=x", ["main", "sales"],
         "databricks://adb.example.net/main/sales/orders"),
        ("teradata", "jdbc:teradata://db/DATABASE=crm", [], "teradata://db:1025/crm/orders"),
        ("filemaker", "jdbc:filemaker://db/crm", ["crm"], None),
        ("postgres", None, ["public"], None),
    ],
)  # fmt: skip
def test_tables(vendor: str, connect: str | None, path: list[str], uri: str | None) -> None:
    table: Any = {"vendor": vendor, "relationalPath": path, "table": "orders"}
    if connect is not None:
        table["databaseConnectString"] = connect
    location = locate_table(table)
    found = None if location is None else uri_of_table(location)
    assert found == uri
    if found is not None:
        parsed = urlsplit(found)
        assert len(parsed.path.split("/")) - 1 in PARTS.get(parsed.scheme, range(1, 9))
        if parsed.scheme in PORTS:
            assert parsed.port


def test_names_of_tables_are_one_part_each() -> None:
    table: Any = {"vendor": "bigquery", "relationalPath": ["p", "a/b"], "table": "x?#%20 ä$1"}
    location = locate_table(table)
    assert location is not None
    assert uri_of_table(location) == "bigquery://p/a%2Fb/x%3F%23%2520%20%C3%A4$1"


@pytest.mark.parametrize("name", ["orders\ufffd", "\ufffd"])
def test_a_table_whose_name_could_not_be_read_has_none(name: str) -> None:
    table: Any = {"vendor": "bigquery", "relationalPath": ["p", "d"], "table": name}
    location = locate_table(table)
    assert location is not None
    assert uri_of_table(location) is None
