"""Lists that are read page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from airflow_provider_trifacta.api.errors import TrifactaAnswerNotUnderstood, TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import Answer, Operation, Request
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.shapes import read_rows

T = TypeVar("T")

#: Maximum number of pages, a million objects: a longer list is assumed never to end.
MAX_PAGES = 10_000


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list that is read page by page.

    :param request: the first page, without ``limit`` and ``offset``.
    :param limit: maximum number of objects; None returns all.
    :param page_size: number of objects to request at a time (the API's ``limit``).
    :param row: the type of the objects; others are skipped.
    :param max_pages: maximum number of pages to read; more are an error.
    """

    request: Request
    limit: int | None = None
    page_size: int = 100
    row: Any = dict[str, Any]
    max_pages: int = MAX_PAGES

    def __post_init__(self) -> None:
        if self.limit is not None and (isinstance(self.limit, bool) or self.limit < 0):
            raise TrifactaConfigurationError(f"limit: {self.limit!r} is not a non-negative integer")
        if isinstance(self.page_size, bool) or self.page_size < 1:
            raise TrifactaConfigurationError(f"page_size: {self.page_size!r} is not a positive integer")

    def as_written(self, max_pages: int) -> Listing[Any]:
        """Return the list with rows of any shape, as the server writes them.

        :param max_pages: maximum number of pages to read.
        """
        return replace(self, row=Any, max_pages=max_pages)

    def page(self, offset: int) -> Operation[Page[T]]:
        """Return the call that reads the page at ``offset``."""
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
        # The maximum limit is not documented, so a short page ends a list only if the count agrees.
        count = _count(value.get("count"))
        seen = offset + len(items)
        short = len(items) < self.page_size
        last = not items or (short and count is not None and seen >= count)
        rows: list[T] = read_rows(items, self.row, self.request.path)
        return Page(rows, None if last else seen)


def _count(value: Any) -> int | None:
    """Return how many objects a list has; None when the server gives no usable count."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list.

    :param items: the objects.
    :param next_offset: where the next page begins, None on the last page.
    """

    items: list[T]
    next_offset: int | None


class PageReader(Generic[T]):
    """Reads a list: determines the next page, and returns each object only once.

    New objects that appear during reading push the others down, so an object of one page may also be on the next.
    """

    def __init__(self, listing: Listing[T]) -> None:
        self._listing = listing
        self._left = listing.limit
        self._seen: set[str] = set()
        self._offset: int | None = 0
        self._pages = 0
        self._objects = 0
        self._previous: list[T] = []

    def next_page(self) -> Operation[Page[T]] | None:
        """Return the call that reads the next page, None at the end of the list.

        :raises TrifactaAnswerNotUnderstood: the list does not end.
        """
        if self._offset is None or self._left == 0:
            return None
        most = self._listing.max_pages
        if self._pages >= most or self._objects > most * self._listing.page_size:
            raise TrifactaAnswerNotUnderstood(
                method=self._listing.request.method,
                path=self._listing.request.path,
                message=f"the list has not ended after {self._pages} pages with {self._objects} objects",
            )
        self._pages += 1
        return self._listing.page(self._offset)

    def take(self, page: Page[T]) -> list[T]:
        """Return the objects of a page that have not been seen before, up to the limit."""
        items = list(self._unseen(page.items))
        # A server that ignores the offset returns the same page forever.
        self._offset = page.next_offset if items and page.items != self._previous else None
        self._previous = page.items
        self._objects += len(items)
        return items

    def _unseen(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            if self._left == 0:
                return
            identity = item.get("id") if isinstance(item, dict) else None
            if identity is not None:
                if str(identity) in self._seen:
                    continue
                self._seen.add(str(identity))
            if self._left is not None:
                self._left -= 1
            yield item


def read_all(listing: Listing[T], *, budget: float | None = None) -> Procedure[list[T]]:
    """Read every page of a list.

    :param budget: maximum seconds to repeat the call for a page; None uses the client's.
    """
    reader = PageReader(listing)
    items: list[T] = []
    while (operation := reader.next_page()) is not None:
        items.extend(reader.take((yield operation.within(budget))))
    return items
