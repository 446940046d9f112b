"""Finds the tables that queries read, with OpenLineage's parser of SQL.

The parser runs in a process of its own: for some texts it takes exponential time, and it cannot be interrupted. It
sees only the text, not the database.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

#: Seconds after which the parser is stopped.
_SECONDS = 2.0
#: Maximum length of the queries that are parsed, in characters.
_LONGEST = 100_000
#: Vendors whose databases write names in capitals unless they are quoted.
_IN_CAPITALS = frozenset({"db2", "oracle", "snowflake"})
#: How the parser calls a dialect, where it is not the vendor.
_DIALECTS = {"sqlserver": "mssql", "synapse": "mssql"}


class ParserFailed(Exception):
    """The queries are too long, or were not parsed in time."""


def tables_in(queries: Sequence[tuple[str, Sequence[str]]]) -> list[list[list[str]]]:
    """Return the names of the tables that each query reads, in their parts, outermost first.

    :param queries: the vendor whose SQL it is, and the statements.
    :raises ParserFailed: the tables are not known.
    """
    if sum(len(statement) for _, statements in queries for statement in statements) > _LONGEST:
        raise ParserFailed(f"more than {_LONGEST:,} characters")
    # Without the current directory, where anyone may have put a module of some name.
    command = [sys.executable, "-P", "-m", __name__]
    try:
        parser = subprocess.run(  # noqa: S603
            command, input=json.dumps(queries), capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except subprocess.TimeoutExpired:
        raise ParserFailed(f"the parser did not end within {_SECONDS:g} s") from None
    except subprocess.CalledProcessError as error:
        raise ParserFailed(f"the parser ended with code {error.returncode}") from None
    found: list[list[list[str]]] = json.loads(parser.stdout)
    return found


def _parsed(vendor: str, statements: list[str]) -> Iterator[list[str]]:
    # Not openlineage.common.sql, which takes a second to import.
    from openlineage_sql import parse

    for table in parse(statements, dialect=_DIALECTS.get(vendor, vendor)).in_tables:
        parts: list[Any] = []
        for level in ("database", "schema", "name"):
            part = getattr(table, level)
            is_quoted = getattr(table.quote_style, level, None) is not None
            parts.append(part.upper() if part and vendor in _IN_CAPITALS and not is_quoted else part)
        yield [part for part in parts if part]


if __name__ == "__main__":
    json.dump([[*_parsed(*query)] for query in json.load(sys.stdin)], sys.stdout)
