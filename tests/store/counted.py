"""Tables in memory that count the trips which are made to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procession.store import DictionaryEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procession.store.storage_engine import Row


class Counted(DictionaryEngine):
    """Counts the trips that are made to it for reading."""

    def __init__(self) -> None:
        super().__init__()
        self.trips: list[str] = []
        self.rows = 0
        """Rows that were read of ranges."""

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        self.trips.append("get_many")
        return super().get_many(keys)

    def newest(self, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> list[Row | None]:
        self.trips.append("newest")
        return super().newest(table, ranges)

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool = False
    ) -> list[Row]:
        self.trips.append("range")
        found = super().range(table, start, end, limit, backwards=backwards)
        self.rows += len(found)
        return found
