"""Sequences of calls that both clients can run: what to send and when to pause, without sending or sleeping.

A flow is a generator. It yields an :class:`~airflow_provider_trifacta.api.messages.Operation` and is given its
result (or its error is thrown in), or a :class:`Pause`. The ``run`` of a client drives it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_trifacta.api.messages import Listing, Operation, Page, Unseen

T = TypeVar("T")


@dataclass(frozen=True)
class Pause:
    """Wait before going on.

    :param seconds: for how long.
    """

    seconds: float


Flow = Generator[Operation[Any] | Pause, Any, T]


def read_all(listing: Listing[T]) -> Flow[list[T]]:
    """Read every page of a list."""
    unseen = Unseen(listing.limit)
    items: list[T] = []
    offset: int | None = 0
    while offset is not None and not unseen.enough:
        page: Page[T] = yield listing.page(offset)
        items.extend(unseen.of(page.items))
        offset = page.next_offset
    return items
