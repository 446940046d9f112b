"""Everything the server knows, as tables of plain objects, optionally kept in a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_provider_trifacta.emulator.clock import Clock, timestamp
from airflow_provider_trifacta.emulator.problems import Problem

Row = dict[str, Any]

WORKSPACE = 3


class State:
    """Tables of rows by id. Fields of a row that begin with an underscore are not shown over the API.

    :param clock: stamps what is created and changed.
    :param file: where to keep the state; None keeps it in memory.
    """

    def __init__(self, clock: Clock, file: Path | None = None) -> None:
        self.clock = clock
        self._file = file
        self.tables: dict[str, dict[str, Row]] = {}
        #: What each ``x-execution-id`` started, by user and id.
        self.executions: dict[str, str] = {}
        #: What the control route keeps for the token store of a connection.
        self.stored_token = ""
        self._next_id = 1000

    def load(self) -> bool:
        """Read the file. Return False if there is none yet."""
        if self._file is None or not self._file.exists():
            return False
        kept = json.loads(self._file.read_text("utf-8"))
        self.tables, self.executions, self._next_id = kept["tables"], kept["executions"], kept["next_id"]
        self.stored_token = kept.get("stored_token", "")
        return True

    def save(self) -> None:
        """Write the file atomically."""
        if self._file is None:
            return
        handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=f".{self._file.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            kept = {"tables": self.tables, "executions": self.executions, "next_id": self._next_id}
            json.dump({**kept, "stored_token": self.stored_token}, file)
        os.replace(name, self._file)

    def new_id(self) -> int:
        """Return an unused id."""
        self._next_id += 1
        return self._next_id

    def insert(self, table: str, row: Row, *, person: int, identity: int | None = None) -> Row:
        """Add a row with its id and the fields that every object has."""
        now = timestamp(self.clock.now())
        row = {
            "id": self.new_id() if identity is None else identity,
            **row,
            "createdAt": now,
            "updatedAt": now,
            "creator": {"id": person},
            "updater": {"id": person},
        }
        self.tables.setdefault(table, {})[str(row["id"])] = row
        return row

    def touch(self, row: Row, person: int) -> None:
        """Record who changed a row, and when."""
        row["updatedAt"] = timestamp(self.clock.now())
        row["updater"] = {"id": person}

    def rows(self, table: str, *, deleted: bool = False) -> Iterator[Row]:
        """Yield the rows of a table, including deleted ones only on request."""
        for row in self.tables.get(table, {}).values():
            if deleted or not row.get("_deleted"):
                yield row

    def get(self, table: str, identity: object, *, deleted: bool = False) -> Row:
        """Return a row.

        :raises Problem: 404, or 410 if it was deleted.
        """
        row = self.tables.get(table, {}).get(str(identity))
        if row is None:
            raise Problem.not_found(table, identity)
        if row.get("_deleted") and not deleted:
            raise Problem.gone(table, identity)
        return row


def shown(row: Row) -> Row:
    """Return a row as the API shows it."""
    return {name: value for name, value in row.items() if not name.startswith("_")}
