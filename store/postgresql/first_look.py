"""What one look finds of several partitions, so that opening each takes no trips of its own.

Small tables are read whole, and of large ones the newest row, which is what is asked for first. An
answer is what the database had at the moment of the look; where that is not known, there is none.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from ..layout.schema import APPENDED
from ..partitions import MOST_PARTITIONS
from ..storage_engine import LONGEST_KEY
from .connection import Statement
from .parameters import bigint, integers, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from psycopg.pq.abc import PGresult

    from ..storage_engine import Row
    from .connection import Call

__all__ = ["FirstLook", "look_first"]

WHOLE = 256
"""Rows of a table that has one for each name, most of which the classes decide."""

FEW = 4
"""Rows of what waits, which is nothing as a rule."""

LIMITS = {
    "meta": WHOLE,
    "partitions": 1,
    "checkpoints": WHOLE,
    "names": WHOLE,
    "codes": WHOLE,
    "cursors": MOST_PARTITIONS,
    "erasures": WHOLE,
    **dict.fromkeys(
        ("queue", "parked", "decided", "refusals", "waiting", "unmatched", "owed", "timers"), FEW
    ),
}
"""Of which tables the first rows are read, and how many."""

NUMBERED = sorted(APPENDED | {"queue", "parked", "decided", "refusals"})
"""Tables whose newest row is read."""

BEHIND = b"\xff" * (LONGEST_KEY + 1)

_ROWS = (
    "SELECT of.part, there.key, there.value FROM unnest($1::int[]) AS of(part) "
    'CROSS JOIN LATERAL (SELECT key, value FROM "{table}" WHERE part = of.part '
    "ORDER BY key {order} LIMIT $2::bigint) AS there"
)
_FIRST = {
    table: Statement(f"first_of_{table}".encode(), _ROWS.format(table=table, order="ASC").encode())
    for table in LIMITS
}
_NEWEST = {
    table: Statement(
        f"newest_of_{table}".encode(), _ROWS.format(table=table, order="DESC").encode()
    )
    for table in NUMBERED
}
# Of each lane the first row and the newest one; see `calls` for how it goes from lane to lane.
_LANES = Statement(
    b"ends_of_lanes",
    b"WITH RECURSIVE lanes AS ("
    b"SELECT source, NULL::bytea AS key, NULL::bytea AS value, ''::bytea AS beyond "
    b"FROM unnest($1::int[]) AS source UNION ALL "
    b"SELECT source, first.key, first.value, "
    b"substr(first.key, 1, 8) || '\\xffffffffffffffffff'::bytea FROM lanes "
    b"CROSS JOIN LATERAL (SELECT key, value FROM outgoing WHERE part = source AND key > beyond "
    b"ORDER BY key LIMIT 1) AS first) "
    b"SELECT source, lanes.key, lanes.value, newest.key, newest.value FROM lanes "
    b"CROSS JOIN LATERAL (SELECT key, value FROM outgoing WHERE part = source AND key < beyond "
    b"ORDER BY key DESC LIMIT 1) AS newest WHERE lanes.key IS NOT NULL ORDER BY source, lanes.key",
)


class _Known:
    """Rows of a table, and between which keys there may be others."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._rows: list[Row] = []
        self._gaps: list[tuple[bytes, bytes]] = []

    def add(self, row: Row) -> None:
        """The row that comes next is known."""
        self._keys.append(row[0])
        self._rows.append(row)

    def skip(self, high: bytes) -> None:
        """Nothing is known of what is between the last row that is known and a key."""
        self._gaps.append((self._keys[-1] if self._keys else b"", high))

    def end_with(self, row: Row) -> None:
        """The newest row is known, and nothing of what is before it and is not known yet."""
        if self._keys and self._keys[-1] >= row[0]:
            self._gaps.clear()
            return
        self._gaps = [(low, row[0]) for low, _ in self._gaps] or [(b"", row[0])]
        self.add(row)

    def range(self, start: bytes, end: bytes, limit: int, *, backwards: bool) -> list[Row] | None:
        """As `EngineReads.range`; None if that is not known."""
        low, high = bisect_left(self._keys, start), bisect_left(self._keys, end)
        found = self._rows[low:high]
        if len(found) >= limit:
            found = found[-limit:] if backwards else found[:limit]
            # What is beyond the last one that is wanted does not matter.
            start, end = (found[0][0], end) if backwards else (start, found[-1][0])
        if any(below < end and start < above for below, above in self._gaps):
            return None
        return found[::-1] if backwards else found


class FirstLook:
    """What was found of one partition, for as long as it is being opened."""

    def __init__(self) -> None:
        self._tables: dict[str, _Known] = {}

    def table(self, name: str) -> _Known:
        """What is known of a table; from now on, that it is empty, unless more is said."""
        return self._tables.setdefault(name, _Known())

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None] | None:
        """As `EngineReads.get_many`; None if that is not known."""
        values: list[bytes | None] = []
        for table, key in keys:
            found = self.range(table, key, key + b"\0", 1, backwards=False)
            if found is None:
                return None
            values.append(found[0][1] if found else None)
        return values

    def range(
        self, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool
    ) -> list[Row] | None:
        """As `EngineReads.range`; None if that is not known."""
        known = self._tables.get(table)
        if known is None or limit < 1:
            return None
        return known.range(start, end, limit, backwards=backwards)

    def end(self) -> None:
        """Know nothing any more: from now on, others may write."""
        self._tables = {}


def look_first(look: Callable[..., list[PGresult]], parts: Collection[int]) -> dict[int, FirstLook]:
    """Look at several partitions, in one trip.

    Args:
        look: asks questions on a connection of the readers
        parts: which

    """
    of = integers(parts)
    calls: list[Call] = [(_FIRST[table], [of, bigint(limit)]) for table, limit in LIMITS.items()]
    calls += [(_NEWEST[table], [of, bigint(1)]) for table in NUMBERED]
    answers = iter(look(*calls, (_LANES, [of])))
    found = {part: FirstLook() for part in parts}
    for (table, limit), answer in zip(LIMITS.items(), answers, strict=False):
        _note_first(found, table, limit, answer)
    for table, answer in zip(NUMBERED, answers, strict=False):
        _note_newest(found, table, answer)
    _note_lanes(found, next(answers))
    return found


def _begin(found: dict[int, FirstLook], table: str) -> None:
    for first in found.values():
        first.table(table)


def _note_first(found: dict[int, FirstLook], table: str, limit: int, answer: PGresult) -> None:
    counts = dict.fromkeys(found, 0)
    _begin(found, table)
    for row in range(answer.ntuples):
        part = number_of(answer.get_value(row, 0))
        found[part].table(table).add(_row(answer, row, 1))
        counts[part] += 1
    for part, count in counts.items():
        if count >= limit:
            found[part].table(table).skip(BEHIND)


def _note_newest(found: dict[int, FirstLook], table: str, answer: PGresult) -> None:
    _begin(found, table)
    for row in range(answer.ntuples):
        known = found[number_of(answer.get_value(row, 0))].table(table)
        known.end_with(_row(answer, row, 1))


def _note_lanes(found: dict[int, FirstLook], answer: PGresult) -> None:
    _begin(found, "outgoing")
    for row in range(answer.ntuples):
        known = found[number_of(answer.get_value(row, 0))].table("outgoing")
        first, newest = _row(answer, row, 1), _row(answer, row, 3)
        known.add(first)
        if newest[0] != first[0]:
            known.skip(newest[0])
            known.add(newest)


def _row(answer: PGresult, row: int, column: int) -> Row:
    return answer.get_value(row, column) or b"", answer.get_value(row, column + 1) or b""
