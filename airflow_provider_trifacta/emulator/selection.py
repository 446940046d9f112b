"""Query options for lists and single objects: filter, sort, page, fields, embed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from airflow_provider_trifacta.emulator.clock import epoch
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.state import WORKSPACE, Row, State, shown

#: Fields that every answer contains, whatever was requested.
_ALWAYS = ["id", "status", "jobType"]

#: Returns the content of an association of a row: one row, or a list of rows with their table.
Association = Callable[[State, Row], Any]


@dataclass(frozen=True)
class Many:
    """A to-many association."""

    table: str
    rows: list[Row]


def _one(table: str, field: str) -> Association:
    def association(state: State, row: Row) -> Any:
        reference = row.get(field)
        return state.tables.get(table, {}).get(str(reference["id"])) if reference else None

    return association


def _many(table: str, matches: Callable[[Row, Row], bool]) -> Association:
    def association(state: State, row: Row) -> Any:
        return Many(table, [other for other in state.rows(table) if matches(row, other)])

    return association


def _refers(field: str) -> Callable[[Row, Row], bool]:
    return lambda row, other: str((other.get(field) or {}).get("id")) == str(row["id"])


_PEOPLE = {"creator": _one("people", "creator"), "updater": _one("people", "updater")}
_WORKSPACE: dict[str, Association] = {
    "workspace": lambda state, row: {"id": WORKSPACE, "name": "Emulated workspace"}
}

ASSOCIATIONS: dict[str, dict[str, Association]] = {
    "jobGroups": {
        **_PEOPLE,
        **_WORKSPACE,
        "jobs": _many("jobs", _refers("jobGroup")),
        "wrangledDataset": _one("wrangledDatasets", "wrangledDataset"),
        "flowrun": _one("flowRuns", "flowrun"),
    },
    "jobs": {
        **_PEOPLE,
        "jobGroup": _one("jobGroups", "jobGroup"),
        "errorMessage": lambda state, row: row.get("errorMessage"),
        "writeSetting": _one("writeSettings", "writeSetting"),
    },
    "flows": {
        **_PEOPLE,
        **_WORKSPACE,
        "flownodes": _many("wrangledDatasets", _refers("flow")),
    },
    "flowRuns": {"flow": _one("flows", "flow"), "jobGroups": _many("jobGroups", _refers("flowrun"))},
    "plans": {
        **_PEOPLE,
        **_WORKSPACE,
        "planNodes": lambda state, row: Many("planNodes", row["planNodes"]["data"]),
    },
    "planSnapshotRuns": {"plan": _one("plans", "plan")},
    "wrangledDatasets": {
        **_PEOPLE,
        "flow": _one("flows", "flow"),
        "outputObjects": _many("outputObjects", _refers("flownode")),
    },
    "importedDatasets": {**_PEOPLE, **_WORKSPACE, "connection": lambda state, row: row.get("connection")},
    "outputObjects": {
        **_PEOPLE,
        "flownode": _one("wrangledDatasets", "flownode"),
        "writeSettings": _many("writeSettings", _refers("_output")),
        "publications": _many("publications", _refers("_output")),
    },
    "writeSettings": {**_PEOPLE, "outputObject": _one("outputObjects", "_output")},
    "publications": {**_PEOPLE, "outputobject": _one("outputObjects", "_output")},
    "people": {**_WORKSPACE},
}


@dataclass
class _Embed:
    options: dict[str, str]
    nested: dict[str, _Embed]


def _parse_embed(text: str) -> dict[str, _Embed]:
    """Parse ``jobs(limit=1,sort=-id),wrangledDataset.flow``."""
    tree: dict[str, _Embed] = {}
    for part in re.split(r",(?![^(]*\))", text):
        match = re.fullmatch(r"\s*([\w.]+)\s*(?:\((.*)\))?\s*", part)
        if match is None:
            raise Problem.validation(f"embed: {part!r} cannot be read")
        level, node = tree, None
        for name in match[1].split("."):
            node = level.setdefault(name, _Embed({}, {}))
            level = node.nested
        if node is not None and match[2]:
            node.options.update(dict(option.partition("=")[::2] for option in match[2].split(",")))
    return tree


def with_selection(state: State, table: str, row: Row, query: Mapping[str, Any]) -> Row:
    """Return a row as the API shows it, with the requested fields and associations.

    :raises Problem: 400, an association is unknown.
    """
    result = shown(row)
    names = _field_names(query.get("fields"))
    if names:
        names += _ALWAYS
        result = {name: value for name, value in result.items() if name in names}
    if query.get("embed"):
        result |= _embedded(state, table, row, _parse_embed(str(query["embed"])))
    return result


def _field_names(fields: Any) -> list[str]:
    return [name for name in re.split(r"[;,]", str(fields)) if name] if fields else []


def _embedded(state: State, table: str, row: Row, tree: dict[str, _Embed]) -> Row:
    known = ASSOCIATIONS.get(table, {})
    result: Row = {}
    for name, embed in tree.items():
        if name not in known:
            raise Problem.validation(
                f"No association {name} in {table}! Valid associations are {', '.join(known)}"
            )
        value = known[name](state, row)
        if isinstance(value, Many):
            rows = _sorted(value.rows, embed.options.get("sort"))
            if re.fullmatch(r"[0-9]{1,9}", embed.options.get("limit", "")):
                rows = rows[: int(embed.options["limit"])]
            result[name] = {"data": [_nested(state, value.table, item, embed) for item in rows]}
        elif isinstance(value, dict):
            result[name] = _nested(state, _table_of(name), value, embed)
        else:
            result[name] = value
    return result


def _nested(state: State, table: str, row: Row, embed: _Embed) -> Row:
    result = with_selection(state, table, row, {"fields": embed.options.get("fields", "").replace("|", ";")})
    return result | _embedded(state, table, row, embed.nested) if embed.nested else result


def _table_of(association: str) -> str:
    return {
        "wrangledDataset": "wrangledDatasets",
        "flownode": "wrangledDatasets",
        "flow": "flows",
        "plan": "plans",
        "flowrun": "flowRuns",
        "jobGroup": "jobGroups",
        "outputobject": "outputObjects",
        "outputObject": "outputObjects",
        "creator": "people",
        "updater": "people",
    }.get(association, association)


def listed(
    state: State, table: str, rows: Iterable[Row], query: Mapping[str, Any], *, default_limit: int = 25
) -> dict[str, Any]:
    """Return a page of rows in the envelope of lists."""
    found = _sorted(matching(table, rows, query), query.get("sort"))
    offset, limit = query.get("offset", 0), query.get("limit", default_limit)
    page = found[offset : offset + limit]
    result: dict[str, Any] = {"data": [with_selection(state, table, row, query) for row in page]}
    if query.get("includeCount"):
        result["count"] = len(found)
    return result


def matching(table: str, rows: Iterable[Row], query: Mapping[str, Any]) -> list[Row]:
    """Return the rows that match the filters of a list."""
    result = list(rows)
    text = query.get("filter")
    if text:
        fields = str(query.get("filterFields", "name")).split(",")
        if table == "jobGroups" and any("." in field for field in fields):
            # As observed on live systems (api/README.md, section 1).
            raise Problem(500, "InternalServerError", "Nested fields cannot be filtered on")
        kind = query.get("filterType", "contains")
        result = [row for row in result if any(_matches(kind, str(text), row.get(field)) for field in fields)]
    for field in ("status", "ranfrom", "ranfor"):
        if field in query:
            result = [row for row in result if row.get(field) == query[field]]
    for name, bound in query.items():
        match = re.fullmatch(r"dateFilter\[(\w+)\]\[(gte|lt)\]", name)
        if match:
            field, at_least = match[1], match[2] == "gte"
            result = [row for row in result if (epoch(row[field]) * 1000 >= bound) is at_least]
    return result


def _matches(kind: str, text: str, value: Any) -> bool:
    found = "" if value is None else str(value)
    if kind == "exact":
        return found == text
    text, found = text.lower(), found.lower()
    if kind == "exactIgnoreCase":
        return found == text
    return text in found or (kind == "fuzzy" and SequenceMatcher(None, text, found).ratio() > 0.6)


def _sorted(rows: list[Row], sort: Any) -> list[Row]:
    if not sort:
        return rows
    field = str(sort).removeprefix("-")
    return sorted(
        rows,
        key=lambda row: (row.get(field) is not None, _sort_key(row.get(field))),
        reverse=str(sort).startswith("-"),
    )


def _sort_key(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, (int, float)) else (1, str(value))
