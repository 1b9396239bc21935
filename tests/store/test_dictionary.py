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
