"""Create, read, update, delete, list and count: one table instead of a hundred handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_trifacta.emulator.contract import is_true
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.selection import listed, matching, with_selection
from airflow_provider_trifacta.emulator.state import WORKSPACE, Row, State, shown


@dataclass(frozen=True)
class Resource:
    """What is special about a resource.

    :param defaults: values of fields that the request for a new object does not give.
    :param references: members of the body that name another object: member, table, field of the object.
    :param children: lists in the body whose items become objects of their own: member and table.
    :param prepare: checks and completes a new object.
    :param full_update: whether an update answers with the whole object.
    :param cascade: tables whose objects are deleted with this one, and the field that refers to it.
    """

    defaults: Mapping[str, Any]
    references: tuple[tuple[str, str, str], ...] = ()
    children: tuple[tuple[str, str], ...] = ()
    prepare: Callable[[State, Row], None] | None = None
    full_update: bool = False
    cascade: tuple[tuple[str, str], ...] = ()


def _prepare_flow(state: State, row: Row) -> None:
    names = {other["name"] for other in state.rows("flows")}
    if row.pop("incrementName", False) and row["name"] in names:
        number = 2
        while f"{row['name']} {number}" in names:
            number += 1
        row["name"] = f"{row['name']} {number}"
    folder = row.pop("folderId", None)
    if folder is not None:
        row["folder"] = {"id": folder}


def _prepare_recipe(state: State, row: Row) -> None:
    source = {key: row.pop(key) for key in ("importedDataset", "wrangledDataset") if key in row}
    for key, reference in source.items():
        state.get(f"{key}s", reference["id"])
    row["_source"] = source
    row["recipe"] = {"id": state.new_id()}
    row.setdefault("_behaviour", "complete")


def _prepare_dataset(state: State, row: Row) -> None:
    uri = row.pop("uri", None)
    path, bucket = row.pop("path", None), row.pop("bucket", None)
    if uri is None and path is not None:
        uri = f"{row.get('type') or 'file'}://{bucket or ''}{path}"
    if uri is not None:
        row["type"] = row.get("type") or uri.partition("://")[0]
        row["storageLocation"] = {"id": state.new_id(), "type": row["type"], "fullUri": uri}
    else:
        row["relationalSource"] = {
            key: row.pop(key)
            for key in ("jdbcType", "jdbcPath", "jdbcTable", "raw", "columns", "filter")
            if key in row
        }
        row["connection"] = {"id": row.pop("connectionId", None)}
        row["type"] = row.get("type") or "jdbc"
    # A list in the request, an object in the answer.
    parameters = row.pop("runParameters", None)
    row["runParameters"] = {"data": parameters} if parameters else None


def _prepare_output(state: State, row: Row) -> None:
    for other in state.rows("outputObjects"):
        if other["flownode"] == row["flownode"] and other["isAdhoc"] == row["isAdhoc"]:
            raise Problem.validation(
                f"Recipe {row['flownode']['id']} already has an output object: change or delete {other['id']}"
            )


def _prepare_output_part(state: State, row: Row) -> None:
    row.setdefault("_output", {"id": None})


_OF_SERVER = {
    *("id", "createdAt", "updatedAt", "creator", "updater", "workspace", "folder", "flownode", "outputobject"),
    *("recipe", "storageLocation", "relationalSource", "connection"),
}
_TEXTS = {"name": None, "description": None}

RESOURCES: dict[str, Resource] = {
    "flows": Resource(
        {
            "name": "Untitled flow",
            "description": None,
            "folder": None,
            "defaultOutputDir": None,
            "settings": None,
            "workspace": {"id": WORKSPACE},
        },
        prepare=_prepare_flow,
        cascade=(("wrangledDatasets", "flow"),),
    ),
    "wrangledDatasets": Resource(
        {**_TEXTS, "wrangled": True, "activeSample": None, "referenceinfo": None},
        references=(("flow", "flows", "flow"),),
        prepare=_prepare_recipe,
        cascade=(("outputObjects", "flownode"),),
    ),
    "importedDatasets": Resource(
        {
            **_TEXTS,
            "isDynamic": False,
            "isConverted": False,
            "disableTypeInference": False,
            "dynamicPath": None,
            "workspace": {"id": WORKSPACE},
        },
        prepare=_prepare_dataset,
        full_update=True,
    ),
    "outputObjects": Resource(
        {**_TEXTS, "isAdhoc": True},
        references=(("flowNodeId", "wrangledDatasets", "flownode"),),
        children=(("writeSettings", "writeSettings"), ("publications", "publications")),
        prepare=_prepare_output,
        cascade=(("writeSettings", "_output"), ("publications", "_output")),
    ),
    "writeSettings": Resource(
        {
            "compression": "none",
            "header": False,
            "asSingleFile": False,
            "delim": None,
            "hasQuotes": False,
            "includeMismatches": False,
            "connectionId": None,
        },
        references=(("outputObjectId", "outputObjects", "_output"),),
        prepare=_prepare_output_part,
    ),
    "publications": Resource(
        {"connection": None, "parameters": None},
        references=(("outputObjectId", "outputObjects", "_output"),),
        prepare=_prepare_output_part,
    ),
    # Read-only here: plans are built in the application.
    "plans": Resource({}),
    "planSnapshotRuns": Resource({}),
    "jobGroups": Resource({}),
    "flowRuns": Resource({}),
}


def create(state: State, table: str, body: Mapping[str, Any], person: int) -> Row:
    """Create an object and the objects listed in its body.

    :raises Problem: 404 or 410, something it refers to does not exist; 400, it must not be created.
    """
    resource = RESOURCES[table]
    row: Row = {**resource.defaults, **body}
    for member, other, field in resource.references:
        reference = row.pop(member, None)
        if reference is not None:
            identity = reference["id"] if isinstance(reference, dict) else reference
            row[field] = {"id": state.get(other, identity)["id"]}
    if table == "outputObjects" and "flownode" not in row:
        raise Problem.validation("flowNodeId: missing, the recipe of the output")
    children = [(other, row.pop(member, None) or []) for member, other in resource.children]
    if resource.prepare:
        resource.prepare(state, row)
    row = state.insert(table, row, person=person)
    for other, items in children:
        for item in items:
            create(state, other, {**item, "outputObjectId": row["id"]}, person)
    return row


def update(state: State, table: str, identity: Any, body: Mapping[str, Any], person: int) -> Row:
    """Change an object and return the answer."""
    row = state.get(table, identity)
    changes = of_caller(body)
    for member, other in RESOURCES[table].children:
        items = changes.pop(member, None)
        if items is not None:
            for child in state.rows(other):
                if child["_output"]["id"] == row["id"]:
                    child["_deleted"] = True
            for item in items:
                create(state, other, {**item, "outputObjectId": row["id"]}, person)
    folder = changes.pop("folderId", None)
    if folder is not None:
        changes["folder"] = {"id": folder}
    if table == "importedDatasets" and "runParameters" in changes:
        changes["runParameters"] = {"data": changes["runParameters"]}
    for name, value in changes.items():
        if isinstance(row.get(name), dict) and not (isinstance(value, dict) and set(row[name]) <= set(value)):
            raise Problem.validation(f"{name}: must be an object with {', '.join(row[name])}")
    row.update(changes)
    state.touch(row, person)
    if RESOURCES[table].full_update:
        return shown(row)
    return {name: row[name] for name in ("id", "updater", "createdAt", "updatedAt")}


def delete(state: State, table: str, identity: Any) -> None:
    """Delete an object and what belongs to it. It stays visible with ``includeDeleted``."""
    row = state.get(table, identity)
    row["_deleted"] = True
    for other, field in RESOURCES[table].cascade:
        for child in list(state.rows(other)):
            if str((child.get(field) or {}).get("id")) == str(row["id"]):
                delete(state, other, child["id"])


def read(state: State, table: str, identity: Any, query: Mapping[str, Any]) -> Row:
    """Return one object."""
    row = state.get(table, identity, deleted=_with_deleted(query))
    return with_selection(state, table, row, query)


def read_list(state: State, table: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of objects."""
    return listed(state, table, state.rows(table, deleted=_with_deleted(query)), query)


def count(state: State, table: str, query: Mapping[str, Any]) -> dict[str, int]:
    """Return how many objects match the filters."""
    return {"count": len(matching(table, state.rows(table, deleted=_with_deleted(query)), query))}


def _with_deleted(query: Mapping[str, Any]) -> bool:
    return is_true(query.get("includeDeleted"))


def of_caller(body: Mapping[str, Any]) -> Row:
    """Return the fields of an object that a caller may set; the server sets the rest."""
    return {name: value for name, value in body.items() if name not in _OF_SERVER and not name.startswith("_")}
