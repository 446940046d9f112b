"""Files and tables of the wire, and how OpenLineage names them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_trifacta.api.answers import OutputFile, Table
from airflow_provider_trifacta.api.datasets import (
    DatabaseServer,
    FileLocation,
    TableLocation,
    files_and_tables,
    locate_file,
    locate_table,
    query_of,
)
from airflow_provider_trifacta.api.shapes import read
from airflow_provider_trifacta.tasks.lineage_names import name_of_file, name_of_table


def _file(uri: str) -> tuple[str, str] | None:
    location = locate_file({"uri": uri})
    return None if location is None else name_of_file(location)


def _table(vendor: str, connect: str, path: list[Any], table: str | None) -> tuple[str, str] | None:
    given: Table = {
        "vendor": vendor,
        "databaseConnectString": connect,
        "relationalPath": path,
        "table": table,
        "action": "create",
    }
    location = locate_table(given)
    return None if location is None else name_of_table(location)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/orders/out.csv", ("s3://bucket", "orders/out.csv")),
        ("s3a://bucket/orders/out.csv", ("s3://bucket", "orders/out.csv")),
        ("S3N://bucket/orders/", ("s3://bucket", "orders")),
        ("s3://bucket/a?b#c d@e/f", ("s3://bucket", "a?b#c d@e/f")),
        ("s3://bucket/a%20b", ("s3://bucket", "a%20b")),
        ("s3://bucket", ("s3://bucket", "/")),
        ("gs://bucket/orders/out.csv", ("gs://bucket", "orders/out.csv")),
        (
            "abfss://data@account.dfs.core.windows.net/orders/out.csv",
            ("abfss://data@account.dfs.core.windows.net", "orders/out.csv"),
        ),
        ("abfs://data@account.dfs.core.windows.net/o", ("abfss://data@account.dfs.core.windows.net", "o")),
        (
            "wasb://data@Account.blob.core.windows.net/orders/out.csv",
            ("wasbs://data@account.blob.core.windows.net", "orders/out.csv"),
        ),
        ("hdfs://namenode:8020/user/orders", ("hdfs://namenode:8020", "/user/orders")),
        ("dbfs:/orders/out.csv", ("dbfs", "orders/out.csv")),
        ("dbfs://workspace/orders/out.csv", ("dbfs://workspace", "orders/out.csv")),
        ("file:///data/out.csv", ("file", "/data/out.csv")),
        ("file://host/data/out.csv", ("file://host", "/data/out.csv")),
        ("sftp://u5er:s3cret@host:22/data/out.csv", ("sftp://host:22", "/data/out.csv")),
        ("https://host/out.csv?sig=s3cret#s3cret", ("https://host", "/out.csv")),
        ("adl://account.azuredatalakestore.net/out.csv", ("adl://account.azuredatalakestore.net", "/out.csv")),
        ("hdfs:///user/orders", None),
        ("abfss://account.dfs.core.windows.net/orders", None),
        ("abfss://u5er:s3cret@account.dfs.core.windows.net/orders", None),
        ("s3://u5er:s3/cret@bucket/out.csv", None),
        ("s3://u5er:12/cret@bucket/out.csv", None),
        ("s3://u5er:s3cret@bucket/out.csv", ("s3://bucket", "out.csv")),
        ("ftp://u5er:12/cret@host/out.csv", None),
        ("hdfs://namenode/a@b", ("hdfs://namenode", "/a@b")),
        ("/queryResults/orders/out.csv", None),
        ("s3:///out.csv", None),
        ("s3://bu cket/out.csv", None),
        ("s3://bucket/out\n.csv", None),
        ("s3://bucket/\u202eout.csv", None),
        ("s3://bucket/\ud800", None),
        ("s3://bucket/" + "x" * 2000, None),
        ("mailto:someone", None),
        ("", None),
    ],
)
def test_files(uri: str, name: tuple[str, str] | None) -> None:
    assert _file(uri) == name


@pytest.mark.parametrize(
    ("vendor", "connect", "path", "table", "name"),
    [
        (
            *("postgres", "jdbc:postgresql://db.example.com/crm", ["public"], "orders"),
            ("postgres://db.example.com:5432", "crm.public.orders"),
        ),
        (
            *("POSTGRES", "jdbc:postgresql://db:5433/crm", ["other", "public"], "orders"),
            ("postgres://db:5433", "other.public.orders"),
        ),
        (
            "postgres",
            "jdbc:postgresql://db/crm",
            ["public", "orders"],
            None,
            ("postgres://db:5432", "crm.public.orders"),
        ),
        (
            *(
                "redshift",
                "jdbc:redshift://c1.ab12.us-west-2.redshift.amazonaws.com:5439/dev",
                ["public"],
                "orders",
            ),
            ("redshift://c1.us-west-2:5439", "dev.public.orders"),
        ),
        (
            *("redshift", "jdbc:redshift:iam://c1:us-west-2/dev", ["public"], "orders"),
            ("redshift://c1.us-west-2:5439", "dev.public.orders"),
        ),
        (
            *("redshift", "jdbc:redshift://alias.example.com/dev", ["public"], "orders"),
            ("redshift://alias.example.com:5439", "dev.public.orders"),
        ),
        (
            *("snowflake", "jdbc:snowflake://org-acc.snowflakecomputing.com/?db=CRM", ["SALES"], "ORDERS"),
            ("snowflake://org-acc", "CRM.SALES.ORDERS"),
        ),
        (
            *(
                "snowflake",
                "jdbc:snowflake://ab12.eu-west-1.privatelink.snowflakecomputing.com/",
                ["CRM", "S"],
                "O",
            ),
            ("snowflake://ab12.eu-west-1", "CRM.S.O"),
        ),
        (
            *(
                "sqlserver",
                "jdbc:sqlserver://sql:1433;databaseName=crm;user=sa;password=s3cret",
                ["dbo"],
                "orders",
            ),
            ("mssql://sql:1433", "crm.dbo.orders"),
        ),
        (
            *("sqlserver", r"jdbc:sqlserver://sql\I1;databaseName=crm", ["dbo"], "orders"),
            ("mssql://sql/I1", "crm.dbo.orders"),
        ),
        (
            *("azuresqldatabase", "jdbc:sqlserver://a.database.windows.net;databaseName=crm", ["dbo"], "orders"),
            ("mssql://a.database.windows.net:1433", "crm.dbo.orders"),
        ),
        (
            *("sqldatawarehouse", "jdbc:sqlserver://dw.database.windows.net;databaseName=crm", ["dbo"], "orders"),
            ("sqlserver://dw.database.windows.net:1433", "dbo.orders"),
        ),
        (
            *("sqlserver", "jdbc:sqlserver://dw.sql.azuresynapse.net:1433;database=crm", ["dbo"], "orders"),
            ("sqlserver://dw.sql.azuresynapse.net:1433", "dbo.orders"),
        ),
        (
            *("oracle", "jdbc:oracle:thin:scott/tiger@ora:1521/crm", ["SALES"], "ORDERS"),
            ("oracle://ora:1521", "crm.SALES.ORDERS"),
        ),
        ("mysql", "jdbc:mysql://u5er:s3cret@my/crm", [], "orders", ("mysql://my:3306", "crm.orders")),
        ("mariadb", "jdbc:mariadb://my/crm", ["other"], "orders", ("mysql://my:3306", "other.orders")),
        (
            *(
                "databricks",
                "jdbc:databricks://adb-1.azuredatabricks.net:443/x;ConnCatalog=main",
                ["sales"],
                "orders",
            ),
            ("databricks://adb-1.azuredatabricks.net", "main.sales.orders"),
        ),
        (
            *("bigquery", "jdbc:bigquery://https://x:443;ProjectId=prj", ["sales"], "orders"),
            ("bigquery", "prj.sales.orders"),
        ),
        ("bigquery", "", ["prj", "sales"], "orders", ("bigquery", "prj.sales.orders")),
        ("hive", "jdbc:hive2://h:10000/default", ["sales"], "orders", ("hive://h:10000", "sales.orders")),
        ("teradata", "jdbc:teradata://td/DATABASE=crm", [], "orders", ("teradata://td:1025", "crm.orders")),
        ("db2", "jdbc:db2://h:50001/crm:currentSchema=S;", [], "ORDERS", ("db2://h:50001", "crm.S.ORDERS")),
        # Others: as the API gives them.
        ("Salesforce", "jdbc:salesforce:User=a;Password=s3cret", [], "Account", ("salesforce", "Account")),
        ("sap_hana", "jdbc:sap://hana:30015/?databaseName=x", ["S"], "O", ("saphana://hana:30015", "S.O")),
        # The vendor is in the connect string.
        ("jdbc", "jdbc:postgresql://db/crm", ["public"], "orders", ("postgres://db:5432", "crm.public.orders")),
        # Not enough to tell it from others, or not what a name looks like.
        ("postgres", "jdbc:postgresql://db/", ["public"], "orders", None),
        ("postgres", "jdbc:postgresql://db/crm", [], "orders", None),
        ("postgres", "jdbc:postgresql://u5er:5/s3cret@db/crm", ["crm", "public"], "orders", None),
        ("postgres", "jdbc:postgresql://db/crm", ["a", "b", "public"], "orders", None),
        ("postgres", "", ["crm", "public"], "orders", None),
        ("postgres", "jdbc:postgresql://db/crm", ["public"], "or\nders", None),
        ("postgres", "jdbc:postgresql://db/crm", [" "], "orders", None),
        ("postgres", "jdbc:postgresql://db/crm", ["public"], "x" * 301, None),
        ("postgres", "jdbc:postgresql://db/crm", ["crm", 7, "public"], "orders", None),
        ("salesforce", "", ["x"] * 20, "Account", None),
        ("salesforce", "", [], None, None),
        ("", "", [], "orders", None),
        ("!", "", [], "orders", None),
    ],
)
def test_tables(
    vendor: str, connect: str, path: list[Any], table: str | None, name: tuple[str, str] | None
) -> None:
    assert _table(vendor, connect, path, table) == name


def test_a_table_without_anything_has_no_location() -> None:
    assert locate_table({}) is None
    assert locate_table({"table": "orders"}) is None


def test_an_odd_part_of_a_path_is_not_left_out() -> None:
    """Without it, the path would be that of another table."""
    row = {
        "vendor": "mysql",
        "databaseConnectString": "jdbc:mysql://my/crm",
        "relationalPath": [7, "crm"],
        "table": "orders",
    }
    table = read(row, Table)
    assert table is not None
    assert locate_table(table) is None


def test_a_query_completes_the_names_in_it() -> None:
    table: Table = {
        "vendor": "snowflake",
        "databaseConnectString": "jdbc:snowflake://acc.snowflakecomputing.com/?db=CRM&schema=S",
        "relationalPath": [],
        "table": None,
        "query": ["select 1", "  ", "select 2"],
    }
    query = query_of(table)
    assert query is not None
    assert query.statements == ("select 1", "select 2")
    server = DatabaseServer("snowflake", "acc.snowflakecomputing.com")
    assert query.table(["ORDERS"]) == TableLocation(server, ("CRM", "S", "ORDERS"))
    assert query.table(["T", "ORDERS"]) == TableLocation(server, ("CRM", "T", "ORDERS"))
    assert query.table(["X", "T", "ORDERS"]) == TableLocation(server, ("X", "T", "ORDERS"))
    assert query.table(["W", "X", "T", "ORDERS"]) is None
    assert query.table([]) is None


@pytest.mark.parametrize("query", [None, [], [" "]])
def test_a_table_without_a_query_is_none(query: Any) -> None:
    assert query_of({"vendor": "mysql", "query": query}) is None


def test_inputs_are_files_tables_or_neither() -> None:
    found = [*files_and_tables([{"name": "x", "inputs": [{"uri": "s3://b/x"}, {"vendor": "mysql"}, {"uri": 7}]}])]
    assert found == [{"uri": "s3://b/x"}, {"vendor": "mysql"}, None]


@given(st.text(max_size=100) | st.from_regex(r"[a-z0-9]{1,5}:/{0,3}[^/]{0,30}/.{0,30}", fullmatch=True))
def test_any_uri_has_a_name_of_one_line_or_none(uri: str) -> None:
    file: OutputFile = {"uri": uri}
    location = locate_file(file)
    if location is None:
        return
    assert isinstance(location, FileLocation)
    name = name_of_file(location)
    assert name is None or all(part and "\n" not in part and part.encode() for part in name)
    if location.scheme not in ("abfss", "wasbs"):
        assert "@" not in location.authority
