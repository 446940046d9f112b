"""Ids of runs and other objects, as the API's database has them."""

from __future__ import annotations

from typing import Annotated, Any

_LARGEST = 2**63 - 1
#: Marks the type of an id, for :mod:`airflow_provider_trifacta.api.shapes`.
OBJECT_ID = "id of an object"
ObjectId = Annotated[int, OBJECT_ID]


def id_of(value: Any) -> int | None:
    """Return an id that came as a number or as digits, None for everything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= _LARGEST else None
