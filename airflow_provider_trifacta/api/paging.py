"""Lists that are read page by page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import Answer, Operation, Request
from airflow_provider_trifacta.api.procedures import Procedure

T = TypeVar("T")


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list that is read page by page.

    :param request: the first page, without ``limit`` and ``offset``.
    :param limit: how many objects to give at the most; None gives all.
    :param page_size: how many objects to ask for at a time (the API's ``limit``).
    """

    request: Request
    limit: int | None = None
    page_size: int = 100

    def __post_init__(self) -> None:
        if self.limit is not None and (isinstance(self.limit, bool) or self.limit < 0):
            raise TrifactaConfigurationError(f"limit: {self.limit!r} is not a non-negative integer")
        if isinstance(self.page_size, bool) or self.page_size < 1:
            raise TrifactaConfigurationError(f"page_size: {self.page_size!r} is not a positive integer")

    def page(self, offset: int) -> Operation[Page[T]]:
        """Return the call that reads the page at ``offset``."""
        # The count tells the last page from one that the server made shorter than asked for: the largest
        # limit is not documented, and a silently shortened page must not end the list.
        query = {
            **(self.request.query or {}),
            "limit": self.page_size,
            "offset": offset,
            "includeCount": True,
        }
        return Operation(replace(self.request, query=query), lambda answer: self._decode(answer, offset))

    def _decode(self, answer: Answer, offset: int) -> Page[T]:
        value = answer.json()
        items = value.get("data") if isinstance(value, dict) else None
        if not isinstance(items, list):
            raise answer.not_understood('expected a list, {"data": [...]}')
        count = value.get("count")
        seen = offset + len(items)
        if isinstance(count, int) and not isinstance(count, bool):
            last = not items or seen >= count
        else:
            last = len(items) < self.page_size
        return Page(items, None if last else seen)


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list.

    :param items: the objects.
    :param next_offset: where the next page begins, None on the last one.
    """

    items: list[T]
    next_offset: int | None


class Deduplicator:
    """Passes each object of a list once.

    While pages are read, new objects push the others down: one that was on the last page is then on the next
    one too.
    """

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._seen: set[str] = set()

    @property
    def enough(self) -> bool:
        """Whether the limit is reached."""
        return self._left == 0

    def of(self, items: Iterable[T]) -> Iterable[T]:
        """Give the objects not seen before, up to the limit."""
        for item in items:
            if self.enough:
                return
            identity = item.get("id") if isinstance(item, dict) else None
            if identity is not None:
                if str(identity) in self._seen:
                    continue
                self._seen.add(str(identity))
            if self._left is not None:
                self._left -= 1
            yield item


def read_all(listing: Listing[T]) -> Procedure[list[T]]:
    """Read every page of a list."""
    unseen = Deduplicator(listing.limit)
    items: list[T] = []
    offset: int | None = 0
    while offset is not None and not unseen.enough:
        page: Page[T] = yield listing.page(offset)
        items.extend(unseen.of(page.items))
        offset = page.next_offset
    return items
