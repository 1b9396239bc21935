"""Tables in memory that several stores look at."""

import pytest

from procession.store import DictionaryEngine, EventRecord, ReadOnlyStore, Step, Store
from procession.store.records import Append


def test_a_store_that_only_looks_sees_what_another_one_commits_and_cannot_write() -> None:
    tables = DictionaryEngine()
    writer, reader = Store(tables), Store(tables.beside(read_only=True))
    assert reader.last_position() == 0
    event = EventRecord("Shop.Placed.v1", "shop::order-o1", 1, 0, b"\x80", "e1", "c1")
    writer.commit([Step(append=Append("shop::order-o1", 0, [event]))])
    assert reader.last_position() == 1
    with pytest.raises(ReadOnlyStore, match="for reading only"):
        tables.beside(read_only=True).commit({"meta": {b"a": b"b"}}, {})
    writer.close()
    assert reader.last_position() == 1


def test_a_snapshot_copies_no_table_and_a_commit_beside_it_only_those_that_it_changes() -> None:
    engine = DictionaryEngine()
    engine.commit({"meta": {b"a": b"1"}, "ids": {b"b": b"2"}}, {})
    meta, ids = engine._tables["meta"], engine._tables["ids"]
    with engine.snapshot() as before, engine.snapshot() as same:
        engine.commit({"meta": {b"a": b"3", b"c": b"4"}}, {"meta": [b"a"]})
        assert engine._tables["meta"] is not meta
        assert engine._tables["ids"] is ids
        copy = engine._tables["meta"]
        engine.beside().commit({"meta": {b"d": b"5"}}, {})
        assert engine._tables["meta"] is copy
        assert [*before.scan("meta")] == [*same.scan("meta")] == [(b"a", b"1")]
        assert before.range("meta", b"", b"z", 9) == [(b"a", b"1")]
    engine.commit({"meta": {b"e": b"6"}}, {})
    assert engine._tables["meta"] is copy
    assert engine.range("meta", b"", b"z", 9) == [(b"c", b"4"), (b"d", b"5"), (b"e", b"6")]
