"""The SQL of reads and commits, and the answers to it.

Every statement names the partition first, and has one plan for all parameters: each key is looked
up by the primary key, however much the tables have grown since the plan was made.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count, groupby
from typing import TYPE_CHECKING

from .connection import Statement
from .parameters import bigint, bigints, byteas, integer, integers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from psycopg.pq.abc import PGresult

    from ..storage_engine import Row
    from .connection import Call

__all__ = [
    "commit_of",
    "copy_into",
    "count_of",
    "fence",
    "get_many",
    "newest",
    "rows_between",
    "rows_of",
    "values",
]

_numbers = count()


def _named(sql: str) -> Statement:
    """With a name of its own, since PostgreSQL looks at 63 bytes of a name only."""
    return Statement(b"procession_%d" % next(_numbers), sql.encode())


_FENCE = _named("SELECT fence($1::int[], $2::bigint[])")


@lru_cache(maxsize=256)
def _get(tables: tuple[str, ...]) -> Statement:
    """The values of keys in several tables, as of one moment: an array of keys for each."""
    looks = (
        f'SELECT (SELECT value FROM "{table}" WHERE part = $1::int AND key = wanted) '
        f"FROM unnest(${place}::bytea[]) AS wanted"
        for place, table in enumerate(tables, 2)
    )
    return _named(" UNION ALL ".join(looks))


@lru_cache(maxsize=256)
def _range(table: str, *, backwards: bool) -> Statement:
    return _named(
        f'SELECT key, value FROM "{table}" WHERE part = $1::int AND key >= $2::bytea '
        f"AND key < $3::bytea ORDER BY key {'DESC' if backwards else 'ASC'} LIMIT $4::bigint"
    )


@lru_cache(maxsize=256)
def _newest(table: str) -> Statement:
    return _named(
        f"SELECT there.key, there.value FROM unnest($2::bytea[], $3::bytea[]) AS wanted(low, high) "
        f'LEFT JOIN LATERAL (SELECT key, value FROM "{table}" WHERE part = $1::int '
        f"AND key >= wanted.low AND key < wanted.high ORDER BY key DESC LIMIT 1) AS there "
        f"ON true"
    )


@lru_cache(maxsize=256)
def _put(table: str, *, is_new: bool) -> Statement:
    known = "" if is_new else " ON CONFLICT (part, key) DO UPDATE SET value = EXCLUDED.value"
    return _named(
        # One row after the other, without a table of them in between.
        f'INSERT INTO "{table}" SELECT $1::int, unnest($2::bytea[]), unnest($3::bytea[]){known}'
    )


@lru_cache(maxsize=256)
def _delete(table: str) -> Statement:
    return _named(f'DELETE FROM "{table}" WHERE part = $1::int AND key = ANY($2::bytea[])')


@lru_cache(maxsize=256)
def _count(table: str) -> Statement:
    return _named(f'SELECT count(*) FROM "{table}" WHERE part = $1::int')


def get_many(part: int, keys: Sequence[tuple[str, bytes]]) -> tuple[Call, list[int]]:
    """What asks for the values of keys, and at which place of its answer each is."""
    order = sorted(range(len(keys)), key=lambda place: keys[place][0])
    by_table = {
        table: [keys[place][1] for place in places]
        for table, places in groupby(order, key=lambda place: keys[place][0])
    }
    call = _get(tuple(by_table)), [integer(part), *map(byteas, by_table.values())]
    where = [0] * len(keys)
    for there, place in enumerate(order):
        where[place] = there
    return call, where


def rows_between(
    part: int, table: str, start: bytes, end: bytes, limit: int, *, backwards: bool
) -> Call:
    return _range(table, backwards=backwards), [integer(part), start, end, bigint(limit)]


def newest(part: int, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> Call:
    lows, highs = ([one[side] for one in ranges] for side in range(2))
    return _newest(table), [integer(part), byteas(lows), byteas(highs)]


def count_of(part: int, table: str) -> Call:
    return _count(table), [integer(part)]


def fence(epochs: Mapping[int, int]) -> Call:
    """What makes its transaction fail unless all these partitions have these epochs.

    They keep them until it has ended.
    """
    return _FENCE, [integers(epochs), bigints(epochs.values())]


def commit_of(
    part: int,
    puts: Mapping[str, Mapping[bytes, bytes]],
    deletes: Mapping[str, Collection[bytes]],
    *,
    new: Collection[str],
) -> list[Call]:
    """What writes rows; each table is one statement.

    Args:
        part: of which partition
        puts: by table, values by key
        deletes: by table, keys
        new: tables in which no row may be there yet; it costs a tenth less to leave it unsaid what
            is to become of one that is

    """
    calls: list[Call] = []
    partition = integer(part)
    for table, rows in puts.items():
        if rows:
            # In order, so that neighbours on a page are written one after the other.
            keys = sorted(rows)
            given = [partition, byteas(keys), byteas([rows[key] for key in keys])]
            calls.append((_put(table, is_new=table in new), given))
    for table, gone in deletes.items():
        if gone:
            calls.append((_delete(table), [partition, byteas(gone)]))
    return calls


def copy_into(table: str) -> bytes:
    """The SQL of a COPY that takes rows which `parameters.copied` makes; none may be there yet."""
    return f'COPY "{table}" (part, key, value) FROM STDIN (FORMAT BINARY)'.encode()


def values(result: PGresult) -> list[bytes | None]:
    """The first column."""
    value = result.get_value
    return [value(row, 0) for row in range(result.ntuples)]


def rows_of(result: PGresult) -> list[Row | None]:
    """Keys and values; None for a row of nulls."""
    value = result.get_value
    found: list[Row | None] = []
    for row in range(result.ntuples):
        key = value(row, 0)
        found.append(None if key is None else (key, value(row, 1) or b""))
    return found
