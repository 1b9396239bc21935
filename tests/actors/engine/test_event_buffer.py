"""The event buffer: the newest events in memory, all others from the store; promise 8."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from procession.core.ports import UNREADABLE
from procession.engine.ahead_reads import AheadReads
from procession.engine.event_buffer import EventBuffer
from procession.store import CorruptRecord, EventRecord

SIZE = 8


class Log:
    """The log behind the buffer, which notes what is read of it."""

    def __init__(self) -> None:
        self.records: list[EventRecord] = []
        self.read: list[int] = []
        self.damaged: set[int] = set()

    def last_position(self) -> int:
        return len(self.records)

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        self.read.append(after)
        found = self.records[after : after + limit]
        if any(one.position in self.damaged for one in found):
            raise CorruptRecord(f"a record behind position {after} is damaged")
        return found

    def event_at(self, position: int) -> EventRecord | None:
        if position in self.damaged:
            raise CorruptRecord(f"the record at position {position} is damaged")
        return self.records[position - 1] if position <= len(self.records) else None


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def buffer(log: Log) -> EventBuffer:
    reads: Any = log
    return EventBuffer(reads, SIZE, 0)


def commit(log: Log, buffer: EventBuffer, count: int) -> None:
    first = len(log.records) + 1
    made = [
        EventRecord("shop.Made.v1", "shop::x-1", at, 0, b"", f"e{at}", "", position=at)
        for at in range(first, first + count)
    ]
    log.records += made
    buffer.extend(made)


def positions(records: list[EventRecord]) -> list[int]:
    return [one.position for one in records]


@pytest.mark.parametrize("together", [1, 3, 50])
def test_it_forgets_old_events_however_many_come(
    log: Log, buffer: EventBuffer, together: int
) -> None:
    for _ in range(200):
        commit(log, buffer, together)
        assert len(buffer._kept[0]) <= 2 * SIZE + together
    assert buffer.last == 200 * together


def test_the_newest_events_come_from_memory(log: Log, buffer: EventBuffer) -> None:
    commit(log, buffer, 100)
    assert positions(buffer.after(100 - SIZE, 3)) == [93, 94, 95]
    assert positions(buffer.after(99, 10)) == [100]
    assert buffer.after(100, 10) == []
    assert log.read == []


def test_older_events_come_from_the_store(log: Log, buffer: EventBuffer) -> None:
    for _ in range(30):
        commit(log, buffer, 5)
    assert positions(buffer.after(0, 3)) == [1, 2, 3]
    assert log.read == [0]


def test_every_position_gives_the_events_behind_it(log: Log, buffer: EventBuffer) -> None:
    for count in (1, 7, 2, 9, 30, 1, 1, 4):
        commit(log, buffer, count)
        last = len(log.records)
        for after in range(last + 1):
            assert positions(buffer.after(after, 5)) == list(range(after + 1, last + 1))[:5]


@pytest.mark.parametrize("durable", [0, 3, 20])
def test_after_a_commit_failed_it_gives_what_is_durable_and_then_what_comes(
    log: Log, buffer: EventBuffer, durable: int
) -> None:
    commit(log, buffer, 3)
    commit(log, buffer, 20)
    del log.records[durable:]
    buffer.start_over(durable)
    assert buffer.last == durable
    assert buffer.after(durable, 10) == []
    commit(log, buffer, 2)
    for after in range(durable + 2):
        expected = range(after + 1, durable + 3)
        assert positions(buffer.after(after, 100)) == list(expected)


def test_what_began_before_a_failed_commit_is_given_nothing_that_is_gone(
    log: Log, buffer: EventBuffer
) -> None:
    commit(log, buffer, 9)
    del log.records[4:]
    buffer.start_over(4)
    # A router that is about to be put back itself.
    assert buffer.after(9, 10) == []
    assert buffer.after(6, 10) == []


def test_in_the_place_of_a_damaged_event_stands_one_that_is_unreadable(log: Log) -> None:
    store: Any = SimpleNamespace(ahead=log)
    journal: Any = SimpleNamespace(lock=threading.Lock())
    reads = AheadReads(store, journal)
    commit(log, EventBuffer(reads, SIZE, 0), 9)
    log.damaged = {4}
    buffer = EventBuffer(reads, SIZE, 9)
    for after, limit in [(0, 5), (2, 3), (3, 1), (0, 50)]:
        found = buffer.after(after, limit)
        assert positions(found) == list(range(after + 1, 10))[:limit]
        assert [one.position for one in found if one.type == UNREADABLE] == [4]
