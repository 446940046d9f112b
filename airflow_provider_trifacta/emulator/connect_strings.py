"""The connect strings of the databases that imported datasets and publications are in, one for each vendor."""

from __future__ import annotations

_CONNECT_STRINGS = {
    "bigquery": "jdbc:bigquery://https://www.googleapis.com/bigquery/v2:443;ProjectId=example-project;OAuthType=0",
    "databricks": "jdbc:databricks://adb-1234.5.azuredatabricks.net:443/default;ConnCatalog=main;httpPath=/sql/1",
    "mysql": "jdbc:mysql://mysql.example.com:3306/analytics",
    "oracle": "jdbc:oracle:thin:@//oracle.example.com:1521/analytics",
    "postgres": "jdbc:postgresql://db.example.com:5432/analytics",
    "redshift": "jdbc:redshift://example.abc123.us-west-2.redshift.amazonaws.com:5439/analytics",
    "snowflake": "jdbc:snowflake://example-account.snowflakecomputing.com/?db=ANALYTICS&warehouse=WH",
    "sqldatawarehouse": "jdbc:sqlserver://example.sql.azuresynapse.net:1433;databaseName=analytics",
    "sqlserver": "jdbc:sqlserver://sql.example.com:1433;databaseName=analytics;encrypt=true",
}


def connect_string(vendor: str) -> str:
    """Return the connect string of the vendor's database; for one that is not known, one without a server."""
    return _CONNECT_STRINGS.get(vendor, f"jdbc:{vendor}:")
