"""A store is opened for the place where its rows are: a folder, or a storage engine."""

from pathlib import Path

import pytest

from procession.store import (
    Append,
    ClosedError,
    DictionaryEngine,
    EventRecord,
    LmdbStore,
    ReadOnlyStore,
    Step,
    StorageEngine,
    Store,
    StoreError,
    backup_open,
    open_store,
)

ONE = Step(append=Append("s", None, [EventRecord("E", "s", 0, 5, b"data", "", "")]))


def test_a_folder_holds_an_lmdb_file(tmp_path: Path) -> None:
    for place in (tmp_path / "path", str(tmp_path / "text")):
        with open_store(place, durability="none") as store:
            assert isinstance(store, LmdbStore)
            store.commit([ONE])
        with open_store(place, read_only=True) as store, pytest.raises(ReadOnlyStore):
            store.commit([ONE])


def test_an_engine_holds_the_rows_itself_and_is_closed_with_its_store() -> None:
    engine = DictionaryEngine()
    with open_store(engine) as store:
        assert type(store) is Store
        store.commit([ONE])
    with pytest.raises(ClosedError):
        engine.check_usable()
    with open_store(engine.reopened()) as store:
        assert store.last_position() == 1


def test_an_engine_that_is_for_reading_is_opened_for_nothing_else() -> None:
    engine = DictionaryEngine(read_only=True)
    with pytest.raises(ReadOnlyStore, match="read_only=True"):
        open_store(engine)
    assert open_store(engine, read_only=True).last_position() == 0


def test_what_is_in_no_folder_cannot_be_copied(tmp_path: Path) -> None:
    with (
        open_store(DictionaryEngine()) as store,
        pytest.raises(StoreError, match="only a store in a folder"),
    ):
        backup_open(store, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("place", [None, 5, object()])
def test_what_is_neither_is_refused(place: object) -> None:
    assert not isinstance(place, StorageEngine)
    with pytest.raises(TypeError):
        open_store(place)  # type: ignore[arg-type]
