"""How answers represent job groups: releases differ in spelling, references, and what lists omit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_trifacta.emulator.state import Row

_REFERENCES = ("creator", "updater", "workspace", "snapshot", "wrangledDataset", "flowrun")
_CAMEL = {"flowrun": "flowRun", "ranfrom": "ranFrom", "ranfor": "ranFor"}
_NOTHING: dict[str, Any] = {"null": None, "null-id": {"id": None}, "empty": {}}


@dataclass(frozen=True)
class Writing:
    """One way to write job groups; the default is the documented one.

    :param null_references: how a reference to nothing is written: ``null``, ``null-id``, ``empty`` or ``absent``.
    :param references: ``object``, ``id`` (``"creator": 17``) or ``id-field`` (``"creatorId": 17``).
    :param field_names: ``documented``, ``camel`` (``flowRun``, ``ranFrom``) or ``lower`` (``createdat``).
    :param ids: ``number`` or ``string``.
    :param library_recipes: whether lists report which recipe a job group ran.
    :raises ValueError: a value is none of these.
    """

    null_references: str = "null"
    references: str = "object"
    field_names: str = "documented"
    ids: str = "number"
    library_recipes: bool = True

    def __post_init__(self) -> None:
        _check("null_references", self.null_references, (*_NOTHING, "absent"))
        _check("references", self.references, ("object", "id", "id-field"))
        _check("field_names", self.field_names, ("documented", "camel", "lower"))
        _check("ids", self.ids, ("number", "string"))
        if not isinstance(self.library_recipes, bool):
            raise ValueError("library_recipes: must be true or false")

    def listed(self, row: Row) -> Row:
        """Return a job group as a list shows it."""
        return self.alone({k: v for k, v in row.items() if self.library_recipes or k != "wrangledDataset"})

    def alone(self, row: Row) -> Row:
        """Return a job group as it is shown outside a list."""
        written: Row = {}
        for name, value in row.items():
            if name in _REFERENCES and not value:
                if self.null_references != "absent":
                    written[self._name(name)] = _NOTHING[self.null_references]
            elif name in _REFERENCES and set(value) == {"id"}:
                self._write_reference(written, name, self._id(value["id"]))
            else:
                written[self._name(name)] = self._id(value) if name == "id" else value
        return written

    def _write_reference(self, written: Row, name: str, identity: int | str) -> None:
        if self.references == "id-field":
            written[self._name(f"{_CAMEL.get(name, name)}Id")] = identity
        else:
            written[self._name(name)] = identity if self.references == "id" else {"id": identity}

    def _id(self, identity: int) -> int | str:
        return str(identity) if self.ids == "string" else identity

    def _name(self, name: str) -> str:
        if self.field_names == "lower":
            return name.lower()
        return _CAMEL.get(name, name) if self.field_names == "camel" else name


def _check(setting: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ValueError(f"{setting}: {word!r} is not one of {', '.join(known)}")
