"""Rows that were read along with one that was looked for, since the next that is wanted is near."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..storage_engine import Row

__all__ = ["Pages"]

FEWEST = 4
MOST = 256
"""Rows of a page."""

MOST_PAGES = 12
"""Pages that are kept of a table."""

LARGE = 1 << 19
"""Bytes of a page behind which none with more rows is read."""


class _Page(NamedTuple):
    """All rows of a table between two keys.

    Attributes:
        low: the first key of which it is known whether there is a row
        high: the last one; None if it is the end of the table
        rows: by key
        used: keys that were found out from it
        length: how many rows were asked for

    """

    low: bytes
    high: bytes | None
    rows: dict[bytes, bytes]
    used: set[bytes]
    length: int


class Pages:
    """The rows of a table that does not change, of which many are looked for one by one.

    Pages become larger while what was read along is used, and smaller while it is not: who looks
    here and there reads few rows too many.

    Args:
        read: rows from a key on, at most so many

    """

    def __init__(self, read: Callable[[bytes, int], list[Row]]) -> None:
        self._read = read
        self._length = FEWEST
        # The one that was used last stands last.
        self._pages: list[_Page] = []

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        pages = self._pages
        for place in range(len(pages) - 1, -1, -1):
            page = pages[place]
            if page.low <= key and (page.high is None or key <= page.high):
                page.used.add(key)
                if place != len(pages) - 1:
                    pages.append(pages.pop(place))
                return page.rows.get(key)
        return self._turn_to(key).rows.get(key)

    def _turn_to(self, key: bytes) -> _Page:
        if len(self._pages) >= MOST_PAGES:
            self._let_go_of(self._pages.pop(0))
        length = self._length
        rows = self._read(key, length)
        page = _Page(key, rows[-1][0] if len(rows) == length else None, dict(rows), {key}, length)
        self._pages.append(page)
        return page

    def _let_go_of(self, page: _Page) -> None:
        is_large = sum(map(len, page.rows.values())) > LARGE
        if len(page.used) * 3 < len(page.rows) or is_large:
            self._length = max(page.length // 2, FEWEST)
        else:
            self._length = min(page.length * 2, MOST)
