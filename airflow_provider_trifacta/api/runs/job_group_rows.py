"""Reads job groups from lists.

Releases spell fields differently (``flowrun``, ``flowRun``, ``flowRunId``). They write a reference as an object or
as a bare id, and an empty one as ``null``, ``{"id": null}``, ``{}`` or not at all (api/README.md, section 7). Only
this module handles these differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, TypeVar

from airflow_provider_trifacta.api.ids import id_of
from airflow_provider_trifacta.api.statuses import status_word
from airflow_provider_trifacta.api.timestamps import timestamp_of

T = TypeVar("T")

# In lower case, without underscores. "A recipe id is wrangledDataset.id and also flowNodeId."
_RECIPE = ("wrangleddataset", "wrangleddatasetid", "flownode", "flownodeid")
_SOURCE = ("ranfrom",)


@dataclass(frozen=True)
class JobGroupRow:
    """The fields of a job group from a list or from the job group itself. Missing ones are None.

    :param status: its status value.
    :param source: what started it: ``ui``, ``schedule``, ``api``, or another value (``ranfrom``).
    :param recipe_id: the recipe, an id as a string.
    :param creator_id: the user who started it, an id as a string.
    :param created_at: when it was started.
    :param updated_at: when it last changed.
    :param flow_run_id: the flow run that it is part of.
    :param reference_date: the value of "now" in its date-time parameters.
    :param ran_for: what it was started for: ``recipe``, or ``plan`` for a task of a plan.
    """

    id: int
    status: str | None = None
    source: str | None = None
    recipe_id: str | None = None
    creator_id: str | None = None
    created_at: datetime | None = None
    flow_run_id: int | None = None
    reference_date: datetime | None = None
    ran_for: str | None = None
    updated_at: datetime | None = None

    def completed_by(self, other: JobGroupRow) -> JobGroupRow:
        """Fill in missing fields from another row, except the status, which changes over time."""
        missing = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if field.name != "status" and getattr(self, field.name) is None
        }
        return replace(self, **missing)


def read_row(row: Any) -> JobGroupRow | None:
    """Read a job group; None if it has no id and is therefore unusable."""
    if not isinstance(row, Mapping):
        return None
    spelled = _without_spelling(row)
    identity = _first(id_of, spelled, ("id", "jobgroupid"))
    if identity is None:
        return None
    return JobGroupRow(
        id=identity,
        status=_first(_status, spelled, ("status",)),
        source=_first(_text, spelled, _SOURCE),
        recipe_id=_first(_reference, spelled, _RECIPE),
        creator_id=_first(_reference, spelled, ("creator", "creatorid")),
        created_at=_first(timestamp_of, spelled, ("createdat",)),
        # Documented as a number. Other strings, such as "null" or "", are not the id of a flow run.
        flow_run_id=_first(lambda value: id_of(_reference(value)), spelled, ("flowrun", "flowrunid")),
        reference_date=_first(timestamp_of, spelled, ("runparameterreferencedate",)),
        ran_for=_first(_text, spelled, ("ranfor",)),
        updated_at=_first(timestamp_of, spelled, ("updatedat",)),
    )


def reference_of(row: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the id in a reference of a row, as a string; None if the reference is empty.

    :param names: names of the field, in lower case without underscores.
    """
    return _first(_reference, _without_spelling(row), names)


def source_of(row: Mapping[str, Any]) -> str | None:
    """Return what started the run of a row; None if it does not specify it."""
    return _first(_text, _without_spelling(row), _SOURCE)


def recipe_of(job_group: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the recipe of a job group, as far as it is embedded."""
    return _first(_embedded, _without_spelling(job_group), _RECIPE) or {}


def _without_spelling(row: Mapping[Any, Any]) -> dict[str, list[Any]]:
    """Return the values of a row by field name, in lower case without underscores."""
    values: dict[str, list[Any]] = {}
    for name, value in row.items():
        values.setdefault(str(name).replace("_", "").lower(), []).append(value)
    return values


def _first(read: Callable[[Any], T | None], values: Mapping[str, list[Any]], names: Iterable[str]) -> T | None:
    """Return the first readable value: a row may contain a field twice, and one of them may be empty."""
    readings = (read(value) for name in names for value in values.get(name, ()))
    return next((reading for reading in readings if reading is not None), None)


def _reference(value: Any) -> str | None:
    """Return the id in a reference, as a string; None if the reference is empty."""
    if isinstance(value, Mapping):
        return _first(_id_text, _without_spelling(value), ("id",))
    return _id_text(value)


def _id_text(value: Any) -> str | None:
    # Recipes and users are "integer or string" in the contract.
    number = id_of(value)
    return _text(value) if number is None else str(number)


def _status(value: Any) -> str | None:
    # Not stripped: only the exact value means that a job group is Complete.
    return status_word(value) if isinstance(value, str) and value.strip() else None


def _embedded(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) and value else None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
