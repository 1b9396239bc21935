"""All tables as they are at one moment, in a transaction that only reads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..storage_engine import LONGEST_KEY
from .connection import Statement
from .pages import Pages
from .parameters import number_of
from .questions import Between, Newest, ask
from .statements import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..storage_engine import EngineSnapshot, Row
    from .connection import Connection
    from .questions import Question

__all__ = ["Snapshot"]

T = TypeVar("T")

FIRST_PAGE = 16
"""Rows that a scan reads at first."""

PAGE = 1_024
"""Rows that a scan reads at a time at most."""

HIGHEST_KEY = b"\xff" * (LONGEST_KEY + 1)

_BEGIN = Statement(b"", b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
_FIRST_LOOK = Statement(b"", b"SELECT FROM store")


class Snapshot:
    """One partition, as it is when this is made. Satisfies `EngineSnapshot`.

    Args:
        connection: for nothing else meanwhile
        part: which partition

    """

    last_written = None

    def __init__(self, connection: Connection, part: int) -> None:
        self._connection = connection
        self._part = part
        self._pages: dict[str, Pages] = {}
        # What is looked at first is as of the moment that all is of.
        connection.run((_BEGIN, ()), (_FIRST_LOOK, ()))

    def get(self, table: str, key: bytes) -> bytes | None:
        pages = self._pages.get(table)
        if pages is None:
            read = partial(self._rows, table, HIGHEST_KEY)
            pages = self._pages[table] = Pages(read)
        return pages.get(key)

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        return [self.get(table, key) for table, key in keys]

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        return self._rows(table, end, start, limit, backwards=backwards)

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        return self._ask(Newest(self._part, table, ranges))

    def _rows(
        self, table: str, end: bytes, start: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        return self._ask(Between(self._part, table, start, end, limit, backwards=backwards))

    def _ask(self, question: Question[T]) -> T:
        return ask(lambda call: self._connection.one(*call), question)

    def scan(self, table: str, start: bytes = b"", *, backwards: bool = False) -> Iterator[Row]:
        limit = FIRST_PAGE
        # Each page is asked for by the key that the one before it came to.
        low, high = (b"", start or HIGHEST_KEY) if backwards else (start, HIGHEST_KEY)
        while True:
            page = self._rows(table, high, low, limit, backwards=backwards)
            yield from page
            if len(page) < limit:
                return
            if backwards:
                high = page[-1][0]
            else:
                low = page[-1][0] + b"\0"
            limit = min(2 * limit, PAGE)

    def count(self, table: str) -> int:
        return number_of(self._connection.one(*count_of(self._part, table)).get_value(0, 0))


if TYPE_CHECKING:
    _is_a_snapshot: Callable[..., EngineSnapshot] = Snapshot
