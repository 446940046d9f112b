"""A connect string gives up its server and its database, and nothing else."""

from __future__ import annotations

import string
import time
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_trifacta.api.connect_strings import Server, read_connect_string


@pytest.mark.parametrize(
    ("text", "server"),
    [
        (
            "jdbc:postgresql://DB.example.com:5432/crm",
            Server("postgresql", "db.example.com", 5432, database="crm"),
        ),
        ("postgresql://db.example.com/crm", Server("postgresql", "db.example.com", database="crm")),
        (
            "jdbc:postgresql://h1:5433,h2:5432/crm?currentSchema=sales&ssl=true",
            Server("postgresql", "h1", 5433, database="crm", schema="sales"),
        ),
        ("jdbc:postgresql://[2001:db8::7]:5432/crm", Server("postgresql", "[2001:db8::7]", 5432, database="crm")),
        ("jdbc:postgresql:crm", Server("postgresql")),
        (
            "jdbc:redshift:iam://cluster-1:us-west-2/dev",
            Server("redshift", "cluster-1.us-west-2", database="dev"),
        ),
        (
            "jdbc:snowflake://ab12.eu-west-1.snowflakecomputing.com/?warehouse=W&db=CRM&schema=SALES",
            Server("snowflake", "ab12.eu-west-1.snowflakecomputing.com", database="CRM", schema="SALES"),
        ),
        ("jdbc:sqlserver://sql:1433;databaseName=crm", Server("sqlserver", "sql", 1433, database="crm")),
        (r"jdbc:sqlserver://sql\INST1;database=crm", Server("sqlserver", "sql", None, "INST1", "crm")),
        (
            "jdbc:sqlserver://;serverName=sql;instanceName=I1;portNumber=1444;databaseName=crm",
            Server("sqlserver", "sql", 1444, "I1", "crm"),
        ),
        ("jdbc:jtds:sqlserver://sql:1433/crm", Server("sqlserver", "sql", 1433, database="crm")),
        ("jdbc:oracle:thin:@ora:1521:ORCL", Server("oracle", "ora", 1521, database="ORCL")),
        (
            "jdbc:oracle:thin:@//ora:1521/crm.example.com",
            Server("oracle", "ora", 1521, database="crm.example.com"),
        ),
        ("jdbc:oracle:thin:@tcps://ora:2484/crm?wallet=/a@b", Server("oracle", "ora", 2484, database="crm")),
        ("jdbc:oracle:thin:@ora/crm:dedicated/i1", Server("oracle", "ora", database="crm")),
        (
            (
                "jdbc:oracle:thin:@(DESCRIPTION = (ADDRESS=(PROTOCOL=TCP)(HOST= ora )(PORT=1599))"
                "(CONNECT_DATA=(SERVICE_NAME=crm)))"
            ),
            Server("oracle", "ora", 1599, database="crm"),
        ),
        ("jdbc:oracle:thin:@an-entry-of-tnsnames", Server("oracle")),
        ("jdbc:mysql://my:3306/crm?useSSL=true", Server("mysql", "my", 3306, database="crm")),
        (
            "jdbc:databricks://adb-1.2.azuredatabricks.net:443/sales;ConnCatalog=main;httpPath=/sql/1",
            Server("databricks", "adb-1.2.azuredatabricks.net", 443, database="main", schema="sales"),
        ),
        (
            "jdbc:bigquery://https://www.googleapis.com/bigquery/v2:443;ProjectId=prj-1;DefaultDataset=sales",
            Server("bigquery", "www.googleapis.com", database="prj-1", schema="sales"),
        ),
        (
            "jdbc:hive2://hive:10000/crm;principal=hive/_HOST@EXAMPLE.COM",
            Server("hive2", "hive", 10000, None, "crm"),
        ),
        ("jdbc:teradata://td/DATABASE=crm,DBS_PORT=1026", Server("teradata", "td", 1026, database="crm")),
        ("jdbc:db2://db2:50000/crm:currentSchema=SALES;", Server("db2", "db2", 50000, None, "crm", "SALES")),
        ("jdbc:salesforce:", Server("salesforce")),
        ("", Server()),
        ("crm", Server()),
        ("secret:crm", Server()),
        ("jdbc:" + "x" * 5000, Server()),
        ("jdbc:postgresql://db:99999/crm", Server("postgresql", "db", None, database="crm")),
        ("jdbc:postgresql://db;5432/cr\nm", Server("postgresql", "db")),
    ],
)
def test_what_it_names(text: str, server: Server) -> None:
    assert read_connect_string(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "jdbc:postgresql://db:5432/crm?user=u5er&password=s3cret",
        "jdbc:postgresql://u5er:s3cret@db:5432/crm",
        "jdbc:mysql://u5er:s3c%40ret@db:5432/crm",
        "jdbc:mysql://u5er:s3@cret@db:5432/crm",
        "jdbc:sqlserver://db:5432;databaseName=crm;user=u5er@db;password={s3;databaseName=cret}",
        "jdbc:sqlserver://db:5432;databaseName=crm;user=u5er;password=s3@cret",
        "jdbc:oracle:thin:u5er/s3cret@db:5432/crm",
        'jdbc:oracle:thin:u5er/"s3@cret"@db:5432:crm',
        "jdbc:db2://db:5432/crm:user=u5er;password=s3@cret;",
        "jdbc:hive2://db:5432/crm;user=u5er;password=s3cret",
    ],
)
def test_credentials_are_ignored(text: str) -> None:
    server = read_connect_string(text)
    assert (server.host, server.port, server.database) == ("db", 5432, "crm")
    _assert_no_trace(server, "s3", "cret", "u5er")


@pytest.mark.parametrize(
    "text",
    [
        "jdbc:mysql://u5er:12/s3cret@db/crm",
        "jdbc:mysql://u5er:12?s3cret@db/crm",
        "jdbc:mysql://u5er:12#s3cret@db/crm",
        "jdbc:mysql://u5er:12;s3cret@db/crm",
        "jdbc:oracle:thin:u5er/s3@cret@db:5432/crm",
        "jdbc:oracle:thin:u5er/cret",
        "jdbc:sqlserver://db;password=s3;cret@x;user=u5er",
        "jdbc:sqlserver://db;password={s3;databaseName=cret;user=u5er",
        "jdbc:salesforce:User=u5er@example.com;Password=s3cret;Security Token=cret",
        "u5er/s3cret",
        "s3cret:u5er",
        "u5er:s3cret@db:5432/crm",
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(text: str) -> None:
    server = read_connect_string(text)
    assert server.host is None
    _assert_no_trace(server, "s3", "cret", "u5er", "12")


def _assert_no_trace(server: Server, *secrets: str) -> None:
    shown = " ".join(str(value) for value in astuple(server)).lower()
    assert not [secret for secret in secrets if secret in shown], shown


#: Passwords as the drivers take them: what separates them from the rest is encoded, or they are in braces.
_ENCODED = st.text(string.ascii_letters + string.digits + "%+-_.~!*()", min_size=4)
_IN_BRACES = st.text([c for c in string.printable if c not in "{}\r\n"], min_size=4).map(
    lambda text: f"{{{text}}}"
)


@given(
    st.sampled_from(
        (
            "jdbc:postgresql://db:5432/crm?user={0}&password={1}",
            "jdbc:mysql://{0}:{1}@db:5432/crm",
            "jdbc:oracle:thin:{0}/{1}@db:5432/crm",
            "jdbc:sqlserver://db:5432;user={0};databaseName=crm;password={1}",
            "jdbc:snowflake://db:5432/?db=crm&user={0}&password={1}&token={1}",
            "jdbc:databricks://db:5432;UID={0};PWD={1};ConnCatalog=crm",
            "jdbc:db2://db:5432/crm:user={0};password={1};",
            "jdbc:teradata://db/DBS_PORT=5432,USER={0},PASSWORD={1},DATABASE=crm",
        )
    ),
    _ENCODED,
    _ENCODED,
)
def test_no_encoded_credential_changes_what_is_read(form: str, user: str, password: str) -> None:
    server = read_connect_string(form.format(user, password))
    assert (server.host, server.port, server.instance, server.database) == ("db", 5432, None, "crm")
    assert server.schema is None


@given(_IN_BRACES)
def test_no_password_in_braces_changes_what_is_read(password: str) -> None:
    without = "jdbc:sqlserver://db:5432;user=sa;databaseName=crm;password=x"
    found = read_connect_string(without.replace("password=x", f"password={password}"))
    # One with many quotation marks is not read at all.
    assert found in (read_connect_string(without), Server("sqlserver"), Server())


@given(st.text(max_size=300) | st.text("jdbc:/@?;=&{}\"'\\(),host.db0123", max_size=300).map("jdbc:".__add__))
def test_any_text_can_be_read(text: str) -> None:
    server = read_connect_string(text)
    for value in (server.protocol, server.host, server.instance, server.database, server.schema):
        assert value is None or (value.isprintable() and "@" not in value and "=" not in value)


@pytest.mark.parametrize(
    "unit", ["{", "(", "(host=", " ", ":", "/", "@", "a@", "a=b;", '"', "\\", "a.", "[", "(host= "]
)
@pytest.mark.parametrize("prefix", ["jdbc:oracle:thin:@(", "jdbc:mysql://", "jdbc:x:"])
def test_no_text_takes_long(prefix: str, unit: str) -> None:
    text = prefix + unit * ((4000 - len(prefix)) // len(unit))
    began = time.process_time()
    read_connect_string(text)
    assert time.process_time() - began < 0.5
