"""Finds the tables that a query reads, with OpenLineage's parser of SQL.

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
#: Maximum length of a query that is parsed, in characters.
_LONGEST = 100_000
#: Vendors whose databases write names in capitals unless they are quoted.
_IN_CAPITALS = frozenset({"db2", "oracle", "snowflake"})
#: How the parser calls a dialect, where it is not the vendor.
_DIALECTS = {"sqlserver": "mssql", "synapse": "mssql"}


class ParserFailed(Exception):
    """The query is too long, or was not parsed in time."""


def tables_in(statements: Sequence[str], vendor: str) -> list[tuple[str, ...]]:
    """Return the names of the tables that a query reads, in their parts, outermost first.

    :param vendor: whose SQL it is.
    :raises ParserFailed: they are not known.
    """
    if sum(map(len, statements)) > _LONGEST:
        raise ParserFailed(f"it has more than {_LONGEST:,} characters")
    # Without the current directory, where anyone may have put a module of some name.
    command = [sys.executable, "-P", "-m", __name__, vendor]
    try:
        parser = subprocess.run(  # noqa: S603
            command, input=json.dumps(statements), capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise ParserFailed(str(error)) from None
    return [tuple(parts) for parts in json.loads(parser.stdout)]


def _parsed(statements: list[str], vendor: str) -> Iterator[list[str]]:
    from openlineage.common.sql import parse

    for table in parse(statements, dialect=_DIALECTS.get(vendor, vendor)).in_tables:
        parts: list[Any] = []
        for level in ("database", "schema", "name"):
            part = getattr(table, level)
            is_quoted = getattr(table.quote_style, level, None) is not None
            parts.append(part.upper() if part and vendor in _IN_CAPITALS and not is_quoted else part)
        yield [part for part in parts if part]


if __name__ == "__main__":
    json.dump([*_parsed(json.load(sys.stdin), sys.argv[1])], sys.stdout)
