"""The schema says of every key and row what its second, independent description says."""

import zlib
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.store import (
    Block,
    CommandRecord,
    EventRecord,
    LmdbStore,
    ParkedRecord,
    Partition,
    RefusalRecord,
    TimerRecord,
    TransitionRecord,
    UnmatchedRecord,
)
from procession.store.layout import schema
from procession.store.layout.keys import Misshapen
from tests.store import described
from tests.store.test_lanes import fill_lanes
from tests.store.test_verifying import fill

# A digest says nothing, so the description has none of its keys' parts.
UNSAID = {"parked_at", "timers", "index", "names", "unmatched_by"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[bytes, bytes]]]:
    """Rows of every table, by table."""
    path = tmp_path_factory.mktemp("filled")
    with LmdbStore(path, durability="none", map_size=1 << 20) as store:
        fill(store)
    divided = path / "divided"
    with LmdbStore(divided, durability="none", partition=Partition(0, 2), family="f") as store:
        fill_lanes(store)
    whole, part = rows_in(path), rows_in(divided)
    return {name: whole[name] + part[name] for name in schema.TABLES}


def rows_in(path: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    with lmdb.Environment(str(path), max_dbs=32, readonly=True, lock=False) as env:
        tables = {name: env.open_db(name.encode(), create=False) for name in schema.TABLES}
        with env.begin() as txn:
            return {name: list(txn.cursor(db)) for name, db in tables.items()}


def framed(key: bytes, packed: bytes) -> bytes:
    return zlib.crc32(key + packed).to_bytes(4, "little") + packed


def plain(row: Any) -> Any:
    return msgspec.to_builtins(row)


def by_schema(table: str, key: bytes, raw: bytes) -> Any:
    try:
        said = schema.key_of(table, key)
        row = plain(schema.row_of(table, key, raw))
    except Misshapen:
        return None
    return (said if table not in UNSAID else None), row


def by_description(table: str, key: bytes, raw: bytes) -> Any:
    try:
        said = described.key_of(table, key)
        row = plain(described.row_of(table, key, raw))
    except described.Misshapen:
        return None
    said = said if isinstance(said, tuple) else (said,)
    return (said if table not in UNSAID else None), row


def test_every_row_of_a_store_is_read_alike(rows: dict[str, list[tuple[bytes, bytes]]]) -> None:
    for table, found in rows.items():
        assert found, table
        for key, raw in found:
            read = by_schema(table, key, raw)
            assert read is not None
            assert read == by_description(table, key, raw), table


@given(st.data())
def test_what_no_key_can_be_is_refused_alike(
    rows: dict[str, list[tuple[bytes, bytes]]], data: st.DataObject
) -> None:
    table = data.draw(
        st.sampled_from([one for one in schema.TABLES if one not in {"parked_at", "names"}])
    )
    key, raw = data.draw(st.sampled_from(rows[table]))
    start, end = (data.draw(st.integers(0, len(key))) for _ in range(2))
    other = key[:start] + data.draw(st.binary(max_size=9)) + key[max(start, end) :]
    changed = framed(other, raw[4:])
    if table == "waiting" and (other[-8:] == bytes(8)) != (key[-8:] == bytes(8)):
        return
    assert by_schema(table, other, changed) == by_description(table, other, changed)


@given(st.data())
def test_what_no_row_can_be_is_refused_alike(
    rows: dict[str, list[tuple[bytes, bytes]]], data: st.DataObject
) -> None:
    table = data.draw(st.sampled_from([one for one in schema.TABLES if one != "waiting"]))
    key, raw = data.draw(st.sampled_from(rows[table]))
    if table == "ids":
        changed = data.draw(st.binary(max_size=9))
        assert by_schema(table, key, changed) == by_description(table, key, changed)
        return
    row = msgspec.msgpack.decode(raw[4:])
    values = st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=2) | st.binary()
    if isinstance(row, list) and data.draw(st.booleans()):
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(values)
    elif isinstance(row, list):
        row = row[: data.draw(st.integers(0, len(row)))] + data.draw(st.lists(values, max_size=1))
    else:
        row = data.draw(values)
    changed = framed(key, msgspec.msgpack.encode(row))
    assert by_schema(table, key, changed) == by_description(table, key, changed)


def test_a_record_has_the_columns_of_its_row_in_their_order() -> None:
    for record, row in {
        EventRecord: schema.EventRow,
        TransitionRecord: schema.TransitionRow,
        CommandRecord: schema.CommandRow,
        ParkedRecord: schema.ParkedRow,
        TimerRecord: schema.TimerRow,
        RefusalRecord: schema.RefusalRow,
        Block: schema.BlockRow,
        UnmatchedRecord: schema.UnmatchedRow,
    }.items():
        # Whose a transition is, its step says.
        columns = tuple(
            one
            for one in row.__struct_fields__
            if row is not schema.TransitionRow or one not in {"process", "instance"}
        )
        assert tuple(one for one in record.__struct_fields__ if one in columns) == columns


@pytest.mark.parametrize(
    ("table", "key", "told"),
    [
        ("log", described.number(7), "7"),
        ("ids", described.version_of("c-s", 2), "c-s version 2"),
        ("ids", described.version_of("c-", 2), "c- version 2"),
        ("ids", described.version_of("c", 2), "c version 2"),
        ("ids", described.version_at("P", "i", 2), "P i version 2"),
        ("transitions", described.number(2), "2"),
        ("started", b"P\0" + described.number(2), "P transition number 2"),
        ("waiting", b"P\0i\0" + bytes(8), "P i position 0"),
        ("parked_at", b"P\0i\0" + described.number(2), "P i position 2"),
        ("parked_at", b"\xaa" * 16 + described.number(2), "aa" * 16 + " position 2"),
        ("timers", described.number(9) + b"\xaa" * 16, "9 " + "aa" * 16),
        ("index", b"\xaa" * 16 + "é".encode(), "aa" * 16 + " é"),
        ("names", b"event\0" + b"\xaa" * 16, "event " + "aa" * 16),
        ("unmatched", b"P\0" + described.number(2), "P position 2"),
        ("unmatched_by", b"\xaa" * 16 + described.number(2), "aa" * 16 + " position 2"),
        ("owed", b"P\0" + described.number(2) + b"i", "P position 2 i"),
        ("log", b"\xff", "\\xff"),
    ],
)
def test_people_can_read_a_key(table: str, key: bytes, told: str) -> None:
    assert schema.readable(table, key) == told
