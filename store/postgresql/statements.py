"""The SQL of commits.

Every statement has one plan for all parameters: each key is looked up by the primary key, however
much the tables have grown since the plan was made.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from ..storage_engine import NOTHING
from .connection import Statement
from .parameters import bigints, byteas, integer, integers, repeated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .connection import Call

__all__ = ["Rows", "commit_of", "copy_into", "count_of", "counts_of", "fence", "named"]

ROW = 64
"""Bytes of a row besides its value, about."""

R = TypeVar("R", bound="Collection[bytes]")

Tables: TypeAlias = "Mapping[str, Mapping[bytes, bytes]]"
"""By table, values by key."""

_numbers = count()


def named(sql: str) -> Statement:
    """With a name of its own, since PostgreSQL looks at 63 bytes of a name only."""
    return Statement(b"procession_%d" % next(_numbers), sql.encode())


_FENCE = named("SELECT fence($1::int[], $2::bigint[])")


@lru_cache(maxsize=256)
def _put(table: str, *, is_new: bool) -> Statement:
    known = "" if is_new else " ON CONFLICT (part, key) DO UPDATE SET value = EXCLUDED.value"
    return named(
        # One row after the other, without a table of them in between.
        f'INSERT INTO "{table}" '
        f"SELECT unnest($1::int[]), unnest($2::bytea[]), unnest($3::bytea[]){known}"
    )


@lru_cache(maxsize=256)
def _delete(table: str) -> Statement:
    return named(
        f'DELETE FROM "{table}" AS there USING unnest($1::int[], $2::bytea[]) AS gone(part, key) '
        f"WHERE there.part = gone.part AND there.key = gone.key"
    )


@lru_cache(maxsize=256)
def _count(table: str) -> Statement:
    return named(f'SELECT count(*) FROM "{table}" WHERE part = $1::int')


def count_of(part: int, table: str) -> Call:
    return _count(table), [integer(part)]


def counts_of(table: str) -> Call:
    """How many rows each partition has, which has any; part and count are the columns."""
    return named(f'SELECT part, count(*) FROM "{table}" GROUP BY part'), []


def fence(epochs: Mapping[int, int]) -> Call:
    """What makes its transaction fail unless all these partitions have these epochs.

    They keep them until it has ended.
    """
    return _FENCE, [integers(epochs), bigints(epochs.values())]


class Rows(NamedTuple):
    """What a partition has to write: by table, values by key, and keys that are to go.

    Attributes:
        part: which partition
        puts: rows that may be new
        deletes: keys of rows
        rewritten: of rows that are there already

    """

    part: int
    puts: Tables
    deletes: Mapping[str, Collection[bytes]] = NOTHING
    rewritten: Tables = NOTHING

    @property
    def size(self) -> int:
        """Bytes of all values, and of what stands around them, about."""
        return sum(
            sum(map(len, rows.values())) + ROW * len(rows)
            for tables in (self.puts, self.rewritten)
            for rows in tables.values()
        )


def commit_of(commits: Sequence[Rows], *, new: Collection[str]) -> list[Call]:
    """What writes the rows of several partitions; of each table in one statement.

    Args:
        commits: what each partition writes; none comes twice
        new: tables in which no row may be there yet; it costs a tenth less to leave it unsaid what
            is to become of one that is

    """
    # In order, so that neighbours on a page are written one after the other.
    in_order = sorted(commits, key=attrgetter("part"))
    return [
        *_puts([(one.part, one.puts) for one in in_order], new),
        *_deletes(in_order),
        *_puts([(one.part, one.rewritten) for one in in_order], ()),
    ]


def _puts(commits: Sequence[tuple[int, Tables]], new: Collection[str]) -> Iterator[Call]:
    for table, some in _by_table(commits):
        keys, values = [], []
        for _, rows in some:
            in_order = sorted(rows)
            keys += in_order
            values += [rows[key] for key in in_order]
        parts = repeated((part, len(rows)) for part, rows in some)
        yield _put(table, is_new=table in new), [parts, byteas(keys), byteas(values)]


def _deletes(commits: Sequence[Rows]) -> Iterator[Call]:
    for table, some in _by_table([(one.part, one.deletes) for one in commits]):
        parts = repeated((part, len(keys)) for part, keys in some)
        yield _delete(table), [parts, byteas([key for _, keys in some for key in keys])]


def _by_table(
    commits: Sequence[tuple[int, Mapping[str, R]]],
) -> Iterable[tuple[str, list[tuple[int, R]]]]:
    """Of each table what each partition has for it, without those that have nothing."""
    found: dict[str, list[tuple[int, R]]] = {}
    for part, tables in commits:
        for table, rows in tables.items():
            if rows:
                found.setdefault(table, []).append((part, rows))
    return found.items()


def copy_into(table: str) -> bytes:
    """The SQL of a COPY that takes rows which `parameters.copied` makes; none may be there yet."""
    return f'COPY "{table}" (part, key, value) FROM STDIN (FORMAT BINARY)'.encode()
