"""Job groups as lists write them.

Releases spell fields differently (``flowrun``, ``flowRun``, ``flowRunId``), and write a reference as an object or
as a bare id, one to nothing as ``null``, ``{"id": null}``, ``{}`` or not at all (api/README.md, section 7). It is
read here and nowhere else.
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

# Spelled without underscores and in lower case. "A recipe id is wrangledDataset.id and also flowNodeId."
_RECIPE = ("wrangleddataset", "wrangleddatasetid", "flownode", "flownodeid")


@dataclass(frozen=True)
class JobGroupRow:
    """What a list, or the job group itself, says of a job group. What it does not say is None.

    :param status: its status word.
    :param source: what started it: ``ui``, ``schedule``, ``api``, or another word (``ranfrom``).
    :param recipe_id: the recipe, an id as text.
    :param creator_id: the user who started it, an id as text.
    :param created_at: when it was started.
    :param flow_run_id: the flow run that it is part of.
    :param ran_for: what it was started for: ``recipe``, or ``plan`` for a task of a plan.
    :param reference_date: what "now" means in its date-time parameters.
    """

    id: int
    status: str | None = None
    source: str | None = None
    recipe_id: str | None = None
    creator_id: str | None = None
    created_at: datetime | None = None
    flow_run_id: int | None = None
    ran_for: str | None = None
    reference_date: datetime | None = None

    def completed_by(self, other: JobGroupRow) -> JobGroupRow:
        """Return the row with what only the other one says. The status, which changes, stays."""
        missing = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if field.name != "status" and getattr(self, field.name) is None
        }
        return replace(self, **missing)


def read_row(row: Any) -> JobGroupRow | None:
    """Read a job group; None when it has no id, so that nothing could be done with it."""
    if not isinstance(row, Mapping):
        return None
    spelled = _without_spelling(row)
    identity = _first(id_of, spelled, ("id", "jobgroupid"))
    if identity is None:
        return None
    return JobGroupRow(
        id=identity,
        status=_first(_status, spelled, ("status",)),
        source=_first(_text, spelled, ("ranfrom",)),
        recipe_id=_first(_reference, spelled, _RECIPE),
        creator_id=_first(_reference, spelled, ("creator", "creatorid")),
        created_at=_first(timestamp_of, spelled, ("createdat",)),
        # Documented as a number. Another text, such as "null" or "", is not taken for a flow run.
        flow_run_id=_first(lambda value: id_of(_reference(value)), spelled, ("flowrun", "flowrunid")),
        ran_for=_first(_text, spelled, ("ranfor",)),
        reference_date=_first(timestamp_of, spelled, ("runparameterreferencedate",)),
    )


def reference_of(row: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the id in a reference of a row, as a string; None when it refers to nothing.

    :param names: of the field, without underscores and in lower case.
    """
    return _first(_reference, _without_spelling(row), names)


def recipe_of(job_group: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the recipe in a job group, as much of it as is embedded."""
    return _first(_embedded, _without_spelling(job_group), _RECIPE) or {}


def _without_spelling(row: Mapping[Any, Any]) -> dict[str, list[Any]]:
    """Return the values of a row by the names of their fields, without case and underscores."""
    values: dict[str, list[Any]] = {}
    for name, value in row.items():
        values.setdefault(str(name).replace("_", "").lower(), []).append(value)
    return values


def _first(read: Callable[[Any], T | None], values: Mapping[str, list[Any]], names: Iterable[str]) -> T | None:
    """Return the first value that can be read: a row may say one thing twice, and once as nothing."""
    readings = (read(value) for name in names for value in values.get(name, ()))
    return next((reading for reading in readings if reading is not None), None)


def _reference(value: Any) -> str | None:
    """Return the id in a reference as text; None when it refers to nothing."""
    if isinstance(value, Mapping):
        return _first(_id_text, _without_spelling(value), ("id",))
    return _id_text(value)


def _id_text(value: Any) -> str | None:
    # Recipes and users are "integer or string" in the contract.
    number = id_of(value)
    return _text(value) if number is None else str(number)


def _status(value: Any) -> str | None:
    # Not trimmed: only the exact word says that a job group is Complete.
    return status_word(value) if isinstance(value, str) and value.strip() else None


def _embedded(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) and value else None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
