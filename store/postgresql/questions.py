"""Questions about rows of partitions, and how several are asked in one statement.

A node has many partitions, and those that ask at a time ask alike: for a statement that is sent,
carried out and answered the server and this process need more time than for the rows that it is
about. So a row of a question says of which partition it is, and questions of a kind go together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .parameters import bigint, byteas, integer, repeated
from .statements import named

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from psycopg.pq.abc import PGresult

    from ..storage_engine import Row
    from .connection import Call, Statement

__all__ = ["Between", "Newest", "Question", "Together", "Values", "ask"]

T = TypeVar("T")


class Question(ABC, Generic[T]):
    """What is asked about rows of one partition.

    Args:
        part: which partition
        kind: of which several may be asked together

    """

    def __init__(self, part: int, kind: Hashable) -> None:
        self.part = part
        self.kind = kind

    @staticmethod
    @abstractmethod
    def together(some: Sequence[Any]) -> Call:
        """What asks some of a kind."""

    @staticmethod
    @abstractmethod
    def answers(some: Sequence[Any], result: PGresult) -> list[Any]:
        """What the answer to that says to each of them."""


class Values(Question["list[bytes | None]"]):
    """The values of keys, each with its table, as of one moment; None where a key is not there."""

    def __init__(self, part: int, keys: Sequence[tuple[str, bytes]]) -> None:
        by_table: dict[str, list[bytes]] = {}
        for table, key in keys:
            if table in by_table:
                by_table[table].append(key)
            else:
                by_table[table] = [key]
        # In order, so that those who ask about the same tables are of a kind.
        self.by_table = dict(sorted(by_table.items()))
        self._keys = keys
        super().__init__(part, ("values", *self.by_table))

    @staticmethod
    def together(some: Sequence[Values]) -> Call:
        tables = tuple(some[0].by_table)
        given = [
            array
            for table in tables
            for array in (
                repeated((one.part, len(one.by_table[table])) for one in some),
                byteas([key for one in some for key in one.by_table[table]]),
            )
        ]
        return _values(tables), given

    @staticmethod
    def answers(some: Sequence[Values], result: PGresult) -> list[list[bytes | None]]:
        value = result.get_value
        found: list[list[bytes | None]] = [[] for _ in some]
        row = 0
        for table in some[0].by_table:
            for one, there in zip(some, found, strict=True):
                end = row + len(one.by_table[table])
                there += [value(place, 0) for place in range(row, end)]
                row = end
        return [one.in_the_order_asked(there) for one, there in zip(some, found, strict=True)]

    def in_the_order_asked(self, found: list[bytes | None]) -> list[bytes | None]:
        """Values that are in the order of tables."""
        if len(self.by_table) == 1:
            return found
        places, place = {}, 0
        for table, keys in self.by_table.items():
            places[table] = islice(found, place, None)
            place += len(keys)
        return [next(places[table]) for table, _ in self._keys]


class Newest(Question["list[Row | None]"]):
    """The last row of each range of keys of a table; None where there is none."""

    def __init__(self, part: int, table: str, ranges: Sequence[tuple[bytes, bytes]]) -> None:
        self.table = table
        self.ranges = ranges
        super().__init__(part, ("newest", table))

    @staticmethod
    def together(some: Sequence[Newest]) -> Call:
        lows, highs = ([each[side] for one in some for each in one.ranges] for side in range(2))
        parts = repeated((one.part, len(one.ranges)) for one in some)
        return _newest(some[0].table), [parts, byteas(lows), byteas(highs)]

    @staticmethod
    def answers(some: Sequence[Newest], result: PGresult) -> list[list[Row | None]]:
        row = 0
        found: list[list[Row | None]] = []
        for one in some:
            end = row + len(one.ranges)
            found.append([_row(result, place) for place in range(row, end)])
            row = end
        return found


class Between(Question["list[Row]"]):
    """Rows of a range of keys of a table, in order, up to a number of them."""

    def __init__(
        self,
        part: int,
        table: str,
        start: bytes,
        end: bytes,
        limit: int,
        *,
        backwards: bool = False,
    ) -> None:
        self.call: Call = (
            _between(table, backwards=backwards),
            [integer(part), start, end, bigint(limit)],
        )
        # Ranges are read as something is opened or looked at, and each by itself.
        super().__init__(part, self)

    @staticmethod
    def together(some: Sequence[Between]) -> Call:
        (one,) = some
        return one.call

    @staticmethod
    def answers(some: Sequence[Between], result: PGresult) -> list[list[Row]]:
        assert len(some) == 1
        rows = (_row(result, place) for place in range(result.ntuples))
        return [[row for row in rows if row is not None]]


class Together:
    """Questions that go in one trip, those of a kind in one statement."""

    def __init__(self, questions: Sequence[Question[Any]]) -> None:
        self._count = len(questions)
        self._places: dict[Hashable, list[int]] = {}
        for place, one in enumerate(questions):
            self._places.setdefault(one.kind, []).append(place)
        self._some = [[questions[place] for place in places] for places in self._places.values()]
        self.calls = [type(some[0]).together(some) for some in self._some]

    def answers(self, results: Sequence[PGresult]) -> list[Any]:
        """What each question is answered, by the answers to the calls."""
        found: list[Any] = [None] * self._count
        for places, some, result in zip(self._places.values(), self._some, results, strict=True):
            for place, answer in zip(places, type(some[0]).answers(some, result), strict=True):
                found[place] = answer
        return found


def ask(run: Callable[[Call], PGresult], question: Question[T]) -> T:
    """The answer to one question, by what carries out one call."""
    kind = type(question)
    found: T = kind.answers([question], run(kind.together([question])))[0]
    return found


def _row(result: PGresult, place: int) -> Row | None:
    key = result.get_value(place, 0)
    return None if key is None else (key, result.get_value(place, 1) or b"")


@lru_cache(maxsize=256)
def _values(tables: tuple[str, ...]) -> Statement:
    """The values of keys in several tables: of each an array of partitions, and one of keys."""
    looks = (
        f'SELECT (SELECT value FROM "{table}" WHERE part = wanted.part AND key = wanted.key) '
        f"FROM unnest(${place}::int[], ${place + 1}::bytea[]) AS wanted(part, key)"
        for place, table in zip(range(1, 2 * len(tables), 2), tables, strict=True)
    )
    return named(" UNION ALL ".join(looks))


@lru_cache(maxsize=256)
def _newest(table: str) -> Statement:
    return named(
        f"SELECT there.key, there.value "
        f"FROM unnest($1::int[], $2::bytea[], $3::bytea[]) AS wanted(part, low, high) "
        f'LEFT JOIN LATERAL (SELECT key, value FROM "{table}" WHERE part = wanted.part '
        f"AND key >= wanted.low AND key < wanted.high ORDER BY key DESC LIMIT 1) AS there "
        f"ON true"
    )


@lru_cache(maxsize=256)
def _between(table: str, *, backwards: bool) -> Statement:
    return named(
        f'SELECT key, value FROM "{table}" WHERE part = $1::int AND key >= $2::bytea '
        f"AND key < $3::bytea ORDER BY key {'DESC' if backwards else 'ASC'} LIMIT $4::bigint"
    )
