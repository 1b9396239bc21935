"""What the store relies on below it, in calls of the seam: all engines take and refuse the same.

What works in a simulation, on dictionaries, then works on disk. A new engine is put through this
by adding a line to `ENGINES`, and through `test_contract.py` with a store on it.
"""

import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import pytest

from procession.store import (
    ClosedError,
    DictionaryEngine,
    InvalidName,
    LmdbStore,
    StorageEngine,
    StoreError,
)
from procession.store.postgresql.engine import PostgresEngine
from procession.store.storage_engine import KEPT
from tests.coding import Reversed
from tests.postgresql import shared_server

ENGINES: dict[str, Callable[[Path], StorageEngine]] = {
    "lmdb": lambda folder: LmdbStore(folder, durability="none", map_size=1 << 16)._engine,
    "dictionary": lambda _: DictionaryEngine(),
    "coded": lambda folder: LmdbStore(folder, durability="none", codec=Reversed())._engine,
    "postgresql": lambda _: PostgresEngine(shared_server().new_url()),
}

LONGEST = b"x" * 511
TOO_LONG = b"x" * 512
FAR_TOO_LONG = b"x" * (1 << 16)


@pytest.fixture(params=list(ENGINES.values()), ids=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageEngine]:
    engine = request.param(tmp_path / "store")
    yield engine
    engine.close()


def put(engine: StorageEngine, table: str, *keys: bytes) -> None:
    ticket = engine.commit({table: dict.fromkeys(keys, b"value")}, {})
    assert (ticket.outcome, ticket.error) == ("committed", None)


def keys_of(engine: StorageEngine, table: str) -> list[bytes]:
    return [key for key, _ in engine.range(table, b"", b"\xff", 1_000)]


def refuse(
    engine: StorageEngine,
    puts: Mapping[str, Mapping[bytes, bytes]],
    deletes: Mapping[str, Collection[bytes]] | None = None,
) -> None:
    """The engine fails a commit, says why, and keeps nothing of it."""
    before = [(table, keys_of(engine, table)) for table in ("event_ids", "log", "checkpoints")]
    ticket = engine.commit({"checkpoints": {b"beside": b"value"}, **puts}, deletes or {})
    assert ticket.outcome == "failed"
    assert isinstance(ticket.error, StoreError)
    assert [(table, keys_of(engine, table)) for table, _ in before] == before


def test_a_key_has_one_byte_at_least_and_511_at_most(engine: StorageEngine) -> None:
    put(engine, "event_ids", b"x", LONGEST)
    assert engine.get_many([("event_ids", LONGEST), ("event_ids", b"x")]) == [b"value"] * 2


@pytest.mark.parametrize("key", [b"", TOO_LONG, FAR_TOO_LONG], ids=len)
def test_a_row_with_another_key_fails_its_commit(engine: StorageEngine, key: bytes) -> None:
    put(engine, "event_ids", b"there")
    refuse(engine, {"event_ids": {b"a": b"value", key: b"value", b"z": b"value"}})
    refuse(engine, {"log": {key: b"value"}}, {"event_ids": [b"there"]})


def test_a_row_without_a_key_cannot_be_taken_away_or_looked_for(engine: StorageEngine) -> None:
    put(engine, "event_ids", b"there")
    refuse(engine, {}, {"event_ids": [b"there", b""]})
    with pytest.raises(InvalidName, match="empty"):
        engine.get_many([("event_ids", b"there"), ("event_ids", b"")])
    with engine.snapshot() as snapshot:
        assert snapshot.get("event_ids", b"") is None
        found = snapshot.get_many([("event_ids", b"there"), ("event_ids", b"")])
        assert found == [b"value", None]


@pytest.mark.parametrize("key", [TOO_LONG, FAR_TOO_LONG], ids=len)
def test_a_row_whose_key_is_too_long_is_not_there(engine: StorageEngine, key: bytes) -> None:
    put(engine, "event_ids", LONGEST)
    assert engine.commit({}, {"event_ids": [key]}).outcome == "committed"
    assert engine.get_many([("event_ids", key)]) == [None]
    with engine.snapshot() as snapshot:
        assert snapshot.get("event_ids", key) is None
        assert snapshot.get_many([("event_ids", key), ("event_ids", LONGEST)]) == [None, b"value"]


def test_rows_of_a_log_come_in_order_behind_those_that_are_there(engine: StorageEngine) -> None:
    put(engine, "log", b"3", b"5")
    for keys in ([b"4"], [b"5"], [b"7", b"6"], [b"5", b"6"]):
        with pytest.raises(StoreError, match="'log' do not come behind"):
            engine.commit({"checkpoints": {b"beside": b""}, "log": dict.fromkeys(keys, b"")}, {})
    put(engine, "log", b"6", b"7")
    assert keys_of(engine, "log") == [b"3", b"5", b"6", b"7"]
    assert keys_of(engine, "checkpoints") == []


def test_rows_of_a_log_are_written_anew_in_their_places(engine: StorageEngine) -> None:
    put(engine, "log", b"1", b"2", b"3")
    anew = {"log": {b"2": b"another"}}
    assert engine.commit({"log": {b"4": b"value"}}, {}, anew) == KEPT
    assert engine.range("log", b"", b"9", 9) == [
        (b"1", b"value"),
        (b"2", b"another"),
        (b"3", b"value"),
        (b"4", b"value"),
    ]


def test_a_row_that_is_there_gets_another_value(engine: StorageEngine) -> None:
    for table in ("checkpoints", "ids", "started"):
        put(engine, table, b"a", b"b")
        engine.commit({table: {b"b": b"other", b"c": b"new"}, "log": {table.encode(): b""}}, {})
        assert engine.range(table, b"", b"z", 9) == [
            (b"a", b"value"),
            (b"b", b"other"),
            (b"c", b"new"),
        ]


def test_what_is_put_and_taken_away_in_one_commit_is_gone(engine: StorageEngine) -> None:
    engine.commit({"checkpoints": {b"a": b"1", b"b": b""}}, {"checkpoints": [b"a", b"c"]})
    assert engine.range("checkpoints", b"", b"z", 9) == [(b"b", b"")]


def test_a_range_has_its_start_and_not_its_end(engine: StorageEngine) -> None:
    put(engine, "checkpoints", b"a", b"b", b"c", b"d")

    def found(start: bytes, end: bytes, limit: int = 9) -> tuple[bytes, bytes]:
        both = (
            engine.range("checkpoints", start, end, limit, backwards=backwards)
            for backwards in (False, True)
        )
        forwards, backwards = (b"".join(key for key, _ in rows) for rows in both)
        return forwards, backwards

    assert found(b"b", b"d") == (b"bc", b"cb")
    assert found(b"", b"\xff") == (b"abcd", b"dcba")
    assert found(b"", b"\xff", 2) == (b"ab", b"dc")
    assert found(b"aa", b"cc") == (b"bc", b"cb")
    assert found(b"c", b"b") == found(b"b", b"b") == found(b"", b"") == (b"", b"")
    assert found(b"a", b"d", 0) == (b"", b"")
    assert found(TOO_LONG, b"\xff") == (b"", b"")
    assert found(b"", TOO_LONG) == (b"abcd", b"dcba")


def test_a_snapshot_stays_as_it_is_while_commits_go_on(engine: StorageEngine) -> None:
    put(engine, "checkpoints", b"a", b"b")
    with engine.snapshot() as snapshot:
        engine.commit({"checkpoints": {b"c": b"new", b"b": b"new"}}, {"checkpoints": [b"a"]})
        rows = [(b"a", b"value"), (b"b", b"value")]
        assert list(snapshot.scan("checkpoints")) == rows
        assert list(snapshot.scan("checkpoints", b"z", backwards=True)) == rows[::-1]
        assert list(snapshot.scan("checkpoints", b"b", backwards=True)) == rows[:1]
        assert (snapshot.get("checkpoints", b"c"), snapshot.count("checkpoints")) == (None, 2)
        keys = [("checkpoints", key) for key in (b"b", b"c", b"a")]
        assert snapshot.get_many(keys) == [b"value", None, b"value"]
        assert snapshot.range("checkpoints", b"", b"z", 9) == rows
        assert snapshot.range("checkpoints", b"a", b"b", 9) == rows[:1]
        assert snapshot.range("checkpoints", b"", b"z", 1, backwards=True) == rows[1:]
        ranges = [(b"a", b"b"), (b"b\0", b"z"), (b"", b"\xff")]
        assert snapshot.newest("checkpoints", ranges) == [rows[0], None, rows[1]]
    assert engine.range("checkpoints", b"", b"z", 9) == [(b"b", b"new"), (b"c", b"new")]


def test_a_closed_engine_refuses_everything(engine: StorageEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(ClosedError):
        engine.check_usable()
    with pytest.raises(ClosedError):
        engine.get_many([("checkpoints", b"a")])
    with pytest.raises(ClosedError):
        engine.range("checkpoints", b"", b"z", 1)
    with pytest.raises(ClosedError):
        engine.commit({}, {})
    with pytest.raises(ClosedError), engine.snapshot():
        pass


FORKING = """
import os, sys
from procession.store import DictionaryEngine, LmdbStore, ReadOnlyStore
engine = {made}
engine.commit({{"checkpoints": {{b"a": b"1"}}}}, {{}})

def refused(call, *arguments):
    try:
        call(*arguments)
    except ReadOnlyStore as error:
        return "fork" in str(error)

if not os.fork():
    calls = [
        (engine.check_owner,),
        (engine.check_usable,),
        (engine.get_many, [("checkpoints", b"a")]),
        (engine.range, "checkpoints", b"", b"z", 1),
        (engine.commit, {{}}, {{}}),
    ]
    assert all(refused(*call) for call in calls)
    engine.close()
    assert refused(engine.check_owner)
    os._exit(0)
assert os.wait()[1] == 0
engine.check_owner()
assert engine.get_many([("checkpoints", b"a")]) == [b"1"]
engine.close()
engine.check_owner()
"""


@pytest.mark.parametrize("made", ["LmdbStore(sys.argv[1])._engine", "DictionaryEngine()"])
def test_an_engine_is_for_the_process_that_opened_it(made: str, tmp_path: Path) -> None:
    code = FORKING.format(made=made)
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
