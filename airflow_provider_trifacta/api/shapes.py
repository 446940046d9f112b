"""Reads decoded JSON as the types declared in :mod:`airflow_provider_trifacta.api.answers`.

A value is unusable if a required member is missing or has another type. An optional member of another type is
dropped, and an unusable item of a list is skipped. So the rest of the code can rely on the types, and one odd
member does not cost a whole answer. A validating decoder would only accept or reject a value as a whole.
"""

from __future__ import annotations

import functools
import logging
import types
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    is_typeddict,
)
from typing import get_type_hints as type_hints

from airflow_provider_trifacta.api.ids import OBJECT_ID, id_of

T = TypeVar("T")
log = logging.getLogger(__name__)

_NOTHING = object()


def read(value: Any, shape: type[T]) -> T | None:
    """Return a value of a documented type, None when it is unusable."""
    found = _read(value, shape)
    return None if found is _NOTHING else found


def read_rows(values: list[Any], shape: type[T], what: str) -> list[T]:
    """Return the usable rows of a list, and log how many are not.

    :param what: the name of the list, for the log.
    """
    rows: list[T] = [row for value in values if (row := _read(value, shape)) is not _NOTHING]
    if len(rows) < len(values):
        log.warning(
            "Skipped %d of %d rows of %s: they are not as documented", len(values) - len(rows), len(values), what
        )
    return rows


def required(shape: Any) -> list[str]:
    """Return the names of the required members."""
    return [name for name, _, is_required in _members(shape) if is_required]


def _read(value: Any, hint: Any) -> Any:
    """Return the value, or ``_NOTHING`` if it does not have the type."""
    if hint is Any:
        return value
    if is_typeddict(hint):
        return _read_members(value, hint)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return next((found for kind in get_args(hint) if (found := _read(value, kind)) is not _NOTHING), _NOTHING)
    if origin in (Required, NotRequired):
        return _read(value, get_args(hint)[0])
    if origin is Annotated:
        return _if_any(id_of(value)) if OBJECT_ID in hint.__metadata__ else _read(value, get_args(hint)[0])
    if origin is list:
        return _read_items(value, get_args(hint)[0])
    if origin is dict:
        return value if isinstance(value, dict) else _NOTHING
    if origin is Literal:
        return value if value in get_args(hint) else _NOTHING
    return _read_scalar(value, hint)


def _read_scalar(value: Any, hint: Any) -> Any:
    if hint in (None, type(None)):
        return None if value is None else _NOTHING
    if isinstance(value, bool):
        return value if hint is bool else _NOTHING
    if hint is int:
        return value if isinstance(value, int) and abs(value) < 2**63 else _NOTHING
    if hint is float:
        return value if isinstance(value, (int, float)) and abs(value) < 2**63 else _NOTHING
    return value if isinstance(value, hint) else _NOTHING


def _read_items(value: Any, hint: Any) -> Any:
    if not isinstance(value, list):
        return _NOTHING
    return [item for entry in value if (item := _read(entry, hint)) is not _NOTHING]


def _read_members(value: Any, shape: Any) -> Any:
    if not isinstance(value, dict):
        return _NOTHING
    result = dict(value)
    for name, hint, is_required in _members(shape):
        found = _read(value[name], hint) if name in value else _NOTHING
        if found is not _NOTHING:
            result[name] = found
        elif is_required:
            return _NOTHING
        else:
            result.pop(name, None)
    return result


@functools.cache
def _members(shape: Any) -> list[tuple[str, Any, bool]]:
    # Not __required_keys__: with postponed annotations, it ignores Required.
    hints = type_hints(shape, include_extras=True)
    return [
        (name, hint, get_origin(hint) is Required or (shape.__total__ and get_origin(hint) is not NotRequired))
        for name, hint in hints.items()
    ]


def _if_any(value: Any) -> Any:
    return _NOTHING if value is None else value
