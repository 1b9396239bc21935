"""Many new rows are put into a database at once, in one transaction for each part of them."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from procession.store import DatabaseRefused, TakenOver
from procession.store.postgresql.engine import PostgresEngine
from procession.store.postgresql.filling import Filling
from procession.store.postgresql.postgresql_errors import KnownKey
from tests.postgresql import shared_server

FEW = [(b"a", b"1"), (b"b", b""), (b"c", bytes(range(256)))]
MANY = [(b"%05d" % number, b"x" * (number % 50)) for number in range(5_000)]


@pytest.fixture
def url() -> str:
    return shared_server().new_url()


@pytest.fixture
def engine(url: str) -> Iterator[PostgresEngine]:
    with closing(PostgresEngine(url)) as engine:
        yield engine


@pytest.fixture
def filling(engine: PostgresEngine) -> Iterator[Filling]:
    with closing(engine.filling()) as filling:
        yield filling


def rows_in(engine: PostgresEngine, table: str) -> list[tuple[bytes, bytes]]:
    with engine.snapshot() as snapshot:
        return list(snapshot.scan(table))


@pytest.mark.parametrize("rows", [[], FEW, MANY], ids=["none", "few", "many"])
def test_rows_are_there_as_they_were_given(
    engine: PostgresEngine, filling: Filling, rows: list[tuple[bytes, bytes]]
) -> None:
    filling.write("names", rows)
    assert rows_in(engine, "names") == rows


def test_with_a_row_that_is_there_already_none_is_written_and_others_are_taken_after_it(
    engine: PostgresEngine, filling: Filling
) -> None:
    filling.write("names", FEW[:1])
    with pytest.raises(KnownKey, match="nothing of it was kept"):
        filling.write("names", [(b"0", b"0"), *FEW])
    assert rows_in(engine, "names") == FEW[:1]
    filling.write("names", FEW[1:])
    assert rows_in(engine, "names") == FEW


def test_who_was_taken_over_writes_nothing_more(
    url: str, engine: PostgresEngine, filling: Filling
) -> None:
    filling.write("names", FEW[:1])
    shared_server().ask(url, "UPDATE owners SET epoch = epoch + 1")
    with pytest.raises(TakenOver):
        filling.write("names", FEW[1:])
    assert rows_in(engine, "names") == FEW[:1]


def test_a_connection_that_the_server_ended_is_said_and_what_was_written_stays(
    url: str, engine: PostgresEngine, filling: Filling
) -> None:
    filling.write("names", FEW[:1])
    shared_server().ask(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query = 'COMMIT' AND pid <> pg_backend_pid()",
    )
    with pytest.raises(DatabaseRefused, match="broke"):
        filling.write("names", FEW[1:])
    assert rows_in(engine, "names") == FEW[:1]
