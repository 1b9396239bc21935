"""A store as it is at one moment, and a store of some of its records."""

from pathlib import Path

import pytest

from procession.store import (
    Append,
    EventRecord,
    Excerpt,
    LmdbStore,
    ReadOnlyStore,
    Step,
    frozen,
    open_store,
    verify_open,
    write_excerpt,
)
from procession.store.layout.schema import EXCERPT


def append(store: LmdbStore, stream: str) -> None:
    event = EventRecord("Shop.Placed.v1", stream, 0, 0, b"\x80", "", "c")
    store.commit([Step(append=Append(stream, None, [event]))])


@pytest.fixture
def store(tmp_path: Path) -> LmdbStore:
    store = LmdbStore(tmp_path / "store", durability="none")
    for stream in ("order-1", "order-2", "order-1"):
        append(store, stream)
    return store


def test_what_is_frozen_stays_as_it_was_and_takes_nothing(store: LmdbStore) -> None:
    with store, frozen(store) as seen:
        append(store, "order-2")
        assert [one.position for one in seen.scan_log()] == [1, 2, 3]
        assert seen.last_position() == 3
        assert [one.version for one in seen.scan_stream("order-2")] == [1]
        with pytest.raises(ReadOnlyStore, match="cannot be written to"):
            append(seen, "order-2")  # type: ignore[arg-type]
        assert store.last_position() == 4


def test_a_store_of_some_records_is_sound_and_goes_on_behind_them(
    store: LmdbStore, tmp_path: Path
) -> None:
    excerpt = Excerpt()
    with store:
        assert [one.position for one in excerpt.take_stream(store, "order-1")] == [1, 3]
    tables = excerpt.tables(None, "")
    write_excerpt(tmp_path / "some", [tables])

    with open_store(tmp_path / "some") as some:
        append(some, "order-1")  # type: ignore[arg-type]
        assert [one.position for one in some.scan_log()] == [1, 3, 4]
        assert verify_open(some).findings == []

    # Only by the row that says so.
    write_excerpt(
        tmp_path / "gaps",
        [{**tables, "meta": [row for row in tables["meta"] if row[0] != EXCERPT]}],
    )
    with open_store(tmp_path / "gaps", read_only=True) as gaps:
        assert [one.problem for one in verify_open(gaps).findings] == ["comes where 2 is missing"]
