"""What is read page by page is what the store has, as of one moment until the page is turned."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from procession.store import (
    CorruptRecord,
    DictionaryEngine,
    EventRecord,
    PageReads,
    Step,
    StepExtras,
    Store,
    TransitionRecord,
    open_store,
)
from procession.store import page_reads as module
from procession.store.layout.frames import number
from procession.store.records import Append, Cut, TombstoneRecord
from tests.postgresql import shared_server

PROCESS, STREAM = "Shop.Fulfilment", "shop::order-o1"

Writing = tuple[Store, PageReads]


@pytest.fixture(params=["folder", "database", "memory"])
def writing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Writing]:
    """A store that is written to, and reads of it by another one."""
    with ExitStack() as stack:
        if request.param == "memory":
            tables = DictionaryEngine()
            writer, reader = Store(tables), Store(tables.beside(read_only=True))
        else:
            place = str(tmp_path)
            if request.param == "database":
                place = shared_server().new_url()
            writer = stack.enter_context(open_store(place))
            write(writer, event(0))
            reader = stack.enter_context(open_store(place, read_only=True))
        yield writer, stack.enter_context(PageReads(reader))


def write(store: Store, *events: EventRecord) -> None:
    store.commit(
        [Step(append=Append(one.stream, one.version - 1, [one])) for one in events],
    )


def event(version: int, stream: str = STREAM, data: bytes = b"\x80") -> EventRecord:
    if not version:
        version, stream = 1, "shop::first-f"
    return EventRecord("Shop.Placed.v1", stream, version, 7, data, "", "chain")


def step(
    version: int, position: int, state: bytes, *, base: int = 0, change: bytes | None = None
) -> Step:
    made = TransitionRecord(
        version, 7, "on_placed", False, f"cause{version}", "chain", position, state
    )
    made.base, made.change = base, change
    return Step(None, PROCESS, "o1", made)


def test_a_page_is_of_one_moment_and_the_next_one_of_a_later() -> None:
    tables = DictionaryEngine()
    writer, reads = Store(tables), PageReads(Store(tables.beside(read_only=True)))
    write(writer, event(1))
    assert reads.last_position() == 1
    write(writer, event(2))
    assert (reads.last_position(), len(reads.read_stream(STREAM, 0, 9))) == (1, 1)
    reads.turn()
    assert (reads.last_position(), len(reads.read_stream(STREAM, 0, 9))) == (2, 2)


def test_what_it_says_is_what_the_store_says(writing: Writing) -> None:
    writer, reads = writing
    write(writer, *(event(version) for version in (1, 2, 3)))
    last = writer.last_position()
    writer.commit([step(version, last - 3 + version, b"\x80") for version in (1, 2, 3)])
    for _ in range(2):
        # Once as it is read, once as it is kept.
        assert [one for _, one in reads.read_log_through(0, 9)] == list(writer.scan_log())
        assert reads.read_started_through(PROCESS, 0, 9) == list(writer.scan_started(PROCESS))
        assert reads.read_events([last, last - 2]) == writer.read_events([last, last - 2])
        for after, limit in ((0, 2), (0, 9), (1, 1), (1, 9), (3, 9)):
            assert reads.read_transitions(PROCESS, "o1", after, limit) == (
                writer.read_transitions(PROCESS, "o1", after, limit)
            )
        assert list(reads.scan_transitions(PROCESS, "o1")) == (
            list(writer.scan_transitions(PROCESS, "o1"))
        )
        for version in range(5):
            assert reads.stored_transition(PROCESS, "o1", version) == (
                writer.stored_transition(PROCESS, "o1", version)
            )
        assert reads.read_stream(STREAM, 1, 9) == writer.read_stream(STREAM, 1, 9)
        assert reads.last_position() == last
        assert reads.last_transition_number() == writer.last_transition_number() == 3
        assert reads.read_snapshot(STREAM) is None
        reads.turn()


def test_a_snapshot_that_comes_later_is_found_when_the_page_is_turned(writing: Writing) -> None:
    writer, reads = writing
    assert reads.read_snapshot(STREAM) is None
    more = StepExtras(snapshot=(1, b"state"))
    writer.commit([Step(append=Append(STREAM, 0, [event(1)]), extras=more)])
    reads.turn()
    assert reads.read_snapshot(STREAM) == (1, b"state")


def test_a_change_of_a_large_state_is_as_it_is_stored_though_its_whole_was_read(
    writing: Writing,
) -> None:
    writer, reads = writing
    writer.commit([step(1, 0, b"\x81\xa1a\x01"), step(2, 0, b"", base=1, change=b"\x90")])
    stored = writer.stored_transition(PROCESS, "o1", 2)
    assert stored is not None
    assert stored.base == 1
    reads.read_transitions(PROCESS, "o1", 0, 1)
    assert reads.stored_transition(PROCESS, "o1", 2) == stored


def test_each_record_is_decoded_once() -> None:
    store = Store(DictionaryEngine())
    write(store, event(1), event(2))
    store.commit([step(1, 1, b"\x80")])
    reads = PageReads(store)
    [first] = reads.read_events([1])
    [life] = reads.read_transitions(PROCESS, "o1", 0, 9)
    reads.turn()
    assert reads.read_log_through(0, 9)[0][1] is first
    assert reads.read_events([1])[0] is first
    assert reads.stored_transition(PROCESS, "o1", 1) is life


def test_what_is_kept_is_bounded_and_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(DictionaryEngine())
    write(store, *(event(1, f"shop::order-o{one}", b"\xc4\x64" + b"x" * 100) for one in range(50)))
    monkeypatch.setattr(module, "MOST_KEPT", 10 * (module.PER_RECORD + 102))
    reads = PageReads(store)
    positions = list(range(1, 51))
    for _ in range(2):
        for one in positions:
            some = sorted({one, 50, 51 - one})
            assert reads.read_events(some) == store.read_events(some)
            assert len(reads._events) + len(reads._events_before) <= 2 * 10


def test_a_damaged_event_stands_as_its_error_each_time() -> None:
    tables = DictionaryEngine()
    store = Store(tables)
    write(store, event(1), event(2))
    [raw] = tables.get_many([("log", number(1))])
    assert raw is not None
    tables.commit({}, {}, {"log": {number(1): b"\0\0\0\0" + raw[4:]}})
    reads = PageReads(store)
    for _ in range(2):
        found = dict(reads.read_log_through(0, 9))
        assert isinstance(found[1], CorruptRecord)
        assert isinstance(found[2], EventRecord)
        with pytest.raises(CorruptRecord):
            reads.read_events([2, 1])


def test_what_is_pruned_between_two_pages_is_passed_over(writing: Writing) -> None:
    writer, reads = writing
    write(writer, event(1), event(2))
    first = writer.last_position() - 1
    assert [one.version for one in reads.read_stream(STREAM, 0, 9)] == [1, 2]
    reads.turn()
    stone = TombstoneRecord("Shop.Placed.v1", STREAM, 1, 7, f"{STREAM}@1", "")
    stone.position = first
    cut = Cut(rows=[("log", number(first))], tombstones=[stone])
    writer.commit([Step(extras=StepExtras(cut=cut))])
    assert reads.may_be_pruned()
    assert [one.version for one in reads.read_stream(STREAM, 0, 9)] == [2]
