"""What one look finds of several partitions is what the tables say, or nothing."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("psycopg")

from procession.store import make_divided_store
from procession.store.layout.keys import LAST
from procession.store.layout.schema import TABLES
from procession.store.postgresql.engine import PostgresEngine
from procession.store.postgresql.first_look import FEW
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procession.store.postgresql.node import DatabaseNode

COUNT = 2
WIDEST = 12
"""Rows of a table at most, which is more than are read of most."""


def key(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


@pytest.fixture(scope="module")
def node() -> Iterator[DatabaseNode]:
    """A node whose partitions have from none to many rows in each table."""
    server = shared_server()
    url = server.url("first_look")
    divided = make_divided_store(url, COUNT)
    node: DatabaseNode = divided.node()  # type: ignore[attr-defined]
    try:
        node.lease.begin([], [])
        node.lease.take({row.part: row.epoch for row in node.lease.look()[0]})
        for part in range(COUNT):
            rows = {
                table: {
                    key(number + 1): b"%d" % number
                    for number in range((place + part * FEW) % WIDEST)
                }
                for place, table in enumerate(TABLES)
                if table not in {"meta", "partitions", "outgoing"}
            }
            lanes = {
                key(target, number): b"x" for target in range(4) for number in range(1, target)
            }
            engine = open_part(node, part)
            assert engine.commit({**rows, "outgoing": lanes}, {}).error is None
        yield node
    finally:
        node.close()
        server.ask(url, "DROP SCHEMA first_look CASCADE")


def open_part(node: DatabaseNode, part: int, *, read_only: bool = False) -> PostgresEngine:
    return PostgresEngine(node.address, part=part, partitions=COUNT, node=node, read_only=read_only)


def test_all_that_is_answered_from_a_first_look_is_as_the_tables_have_it(
    node: DatabaseNode,
) -> None:
    random = Random(5)
    bounds = [b"", LAST, LAST * 2, *(key(number) for number in range(WIDEST + 2))]
    bounds += [key(target, number) for target in range(5) for number in range(4)]
    for part in range(COUNT):
        real = open_part(node, part, read_only=True)
        with node.opening(range(COUNT)):
            engine = open_part(node, part, read_only=True)
            trips = node.readers.trips
            for table in TABLES:
                for _ in range(25):
                    start, end = sorted(random.sample(bounds, 2))
                    limit, backwards = random.choice([1, 2, FEW, 100]), random.random() < 0.5
                    given = (table, start, end, limit)
                    found = engine.range(*given, backwards=backwards)
                    assert found == real.range(*given, backwards=backwards), (given, backwards)
                    one = [(table, start or b"x")]
                    assert engine.get_many(one) == real.get_many(one)
            taken = node.readers.trips - trips
        # Of the looks at the other one each was a trip; of those at this one, fewer than half.
        looks = 2 * 25 * len(TABLES)
        assert looks < taken < 2 * looks


def test_what_opening_asks_for_of_a_first_look_takes_no_trip(node: DatabaseNode) -> None:
    with node.opening([0]):
        engine = open_part(node, 0)
        trips = node.readers.trips
        for table in ("log", "transitions", "queue", "parked", "decided", "refusals"):
            engine.range(table, b"", LAST, 1, backwards=True)
        for target in range(4):
            engine.range("outgoing", key(target) + LAST + b"\0", LAST * 2, 1)
            engine.range("outgoing", key(target), key(target) + LAST, 1, backwards=True)
        engine.get_many([("meta", b"format"), ("partitions", b"own")])
        assert node.readers.trips == trips


def test_a_first_look_is_over_when_something_is_committed_and_when_all_are_open(
    node: DatabaseNode,
) -> None:
    with node.opening(range(COUNT)):
        engine, reader = open_part(node, 0), open_part(node, 0, read_only=True)
        assert engine.commit({"meta": {b"noted": b"1"}}, {}).error is None
        assert engine.get_many([("meta", b"noted")]) == [b"1"]
        assert reader.get_many([("meta", b"noted")]) == [None]
    assert reader.get_many([("meta", b"noted")]) == [b"1"]
