"""Messages that a commit sends to a partition lie in rows together, and each is on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from procession.store import (
    COMMITTED,
    Arrival,
    CorruptRecord,
    DictionaryEngine,
    Erase,
    ForgottenKey,
    LmdbStore,
    Partition,
    SentRecord,
    Step,
    StepExtras,
    Store,
    is_there,
    places_of_instance,
    places_of_stream,
    verify_open,
)
from tests.coding import Reversed
from tests.store.test_lanes import FAMILY, ORDERS, OWN, arrives, command, event, sends, taken
from tests.store.test_verifying import Damage, number

if TYPE_CHECKING:
    from pathlib import Path

    from procession.store import PayloadCodec

T = 1_700_000_000_000_000
GONE = b"gone"


def message(name: str, data: bytes = b"\x80", target: int = 1) -> SentRecord:
    return SentRecord(target, replace(event(f"s-{name}"), data=data), ORDERS)


def rows_of(store: Store) -> list[int]:
    """How many messages each row has that was sent."""
    keys = [key for key, _ in store.rows_between("outgoing", b"", b"\xff" * 16, 999)]
    assert {key[:8] for key in keys} == {number(1)}
    ends = [int.from_bytes(key[8:]) for key in keys]
    starts = [store.first_sent(1) - 1, *ends]
    return [end - start for start, end in zip(starts, ends, strict=False)]


def in_memory(codec: PayloadCodec | None = None) -> Store:
    return Store(DictionaryEngine(), partition=Partition(0, 3), family=FAMILY, codec=codec)


def test_what_a_commit_sends_is_a_row_for_each_64_messages() -> None:
    with in_memory() as store:
        store.commit([sends(message(f"{one}")) for one in range(200)])
        store.commit([sends(message("next"))])
        assert rows_of(store) == [64, 64, 64, 8, 1]
        assert [one.sequence for one in store.read_lane(1, 0, 999)] == list(range(1, 202))
        assert store.last_sent(1) == 201


def test_a_large_message_is_the_last_of_its_row() -> None:
    with in_memory() as store:
        large = message("large", bytes(2_000))
        store.commit([sends(message("a"), large, large, message("b"), message("c"))])
        assert rows_of(store) == [2, 1, 2]


COMMITS = st.lists(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(1, 70)), max_size=3), max_size=4
)


@given(COMMITS, st.lists(st.integers(0, 400), max_size=3), st.integers(0, 400), st.integers(1, 200))
def test_what_was_sent_is_read_from_any_message_on_and_goes_when_it_was_taken(
    commits: list[list[tuple[int, int]]], marks: list[int], after: int, limit: int
) -> None:
    expected: dict[int, list[str]] = {1: [], 2: []}
    with in_memory() as store:
        for place, commit in enumerate(commits):
            for target, count in commit:
                names = [f"{place}-{target}-{one}" for one in range(count)]
                store.hand_over(sends(*(message(name, target=target) for name in names)))
                expected[target] += [f"s-{name}" for name in names]
            store.close_commit({})
        for target, names in expected.items():
            read = store.read_lane(target, after, limit)
            streams = [one.event.stream for one in read if one.event is not None]
            assert streams == names[after : after + len(read)]
            assert len(read) >= min(limit, len(names) - after)
            assert [one.sequence for one in read] == [after + 1 + n for n in range(len(read))]
            assert store.last_sent(target) == len(names)
        up_to = 0
        for one in marks:
            up_to = max(up_to, min(one, len(expected[1])))
            store.commit([Step(extras=StepExtras(taken=taken(store, 1, up_to)))])
            assert store.first_sent(1) <= up_to + 1
            left = [one.sequence for one in store.read_lane(1, up_to, 9_999)]
            assert left == list(range(up_to + 1, len(expected[1]) + 1))
        assert store.last_sent(1) == len(expected[1])
        assert verify_open(store).findings == []


# Each on its own


def test_erasing_a_stream_takes_its_messages_out_of_rows_and_leaves_those_beside_them() -> None:
    with in_memory() as store:
        store.commit([sends(*(message(name, b"\xa3" + name.encode()) for name in "abc" * 30))])
        places = [one for page in places_of_stream(store, "s-b") for one in page]
        assert [one[0] for one in places if is_there(store, one)] == ["outgoing"] * 30
        store.commit([Step(extras=StepExtras(erase=Erase(T, places)))])
        for one in store.read_lane(1, 0, 999):
            assert one.event is not None
            is_whole = one.event.data == b"\xa3" + one.event.stream[-1:].encode()
            assert is_whole == (one.event.stream != "s-b")


def test_erasing_an_instance_takes_out_the_commands_that_it_sent() -> None:
    with in_memory() as store:
        commands = [SentRecord(1, command=command(name, 0)) for name in ("i", "j", "i")]
        store.commit([sends(*commands)])
        places = [one for page in places_of_instance(store, ORDERS, "i", 0) for one in page]
        sent = [one for one in places if one[0] == "outgoing"]
        assert [int.from_bytes(key[8:]) for _, key in sent] == [1, 3]
        store.commit([Step(extras=StepExtras(erase=Erase(T, places)))])
        data = [one.command.data for one in store.read_lane(1, 0, 9) if one.command]
        assert [one == b"\x80" for one in data] == [False, True, False]


def test_what_was_dropped_meanwhile_is_not_there_to_be_erased() -> None:
    with in_memory() as store:
        store.commit([sends(message("a"))])
        store.commit([sends(message("b"))])
        places = [one for page in places_of_stream(store, "s-a") for one in page]
        store.commit([Step(extras=StepExtras(taken=taken(store, 1, 2)))])
        assert not any(is_there(store, one) for one in places)
        store.commit([Step(extras=StepExtras(erase=Erase(T, places)))])
        [left] = store.read_lane(1, 0, 9)
        assert left.event is not None
        assert (left.event.stream, left.event.data) == ("s-b", b"\x80")


def test_a_damaged_row_behind_what_was_dropped_stays_as_it_is(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        for name in "abc":
            store.commit([sends(message(name))])
        places = [one for page in places_of_stream(store, "s-a") for one in page]
    with Damage(tmp_path) as damage:
        damage.raw("outgoing", damage.key("outgoing", 1), b"what it was not")
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        store.commit([Step(extras=StepExtras(taken=taken(store, 1, 1)))])
        erase = Step(extras=StepExtras(erase=Erase(T, places)))
        assert store.commit([sends(message("d")), erase]) == [COMMITTED, COMMITTED]
        assert store.last_sent(1) == 4


def test_places_in_rows_come_in_pages_and_those_of_a_row_are_written_once() -> None:
    with in_memory() as store:
        store.commit([sends(*(message("a") for _ in range(1_000)))])
        pages = [
            page
            for page in places_of_stream(store, "s-a")
            if any(is_there(store, one) for one in page)
        ]
        assert max(map(len, pages)) == 256
        for page in pages:
            store.hand_over(Step(extras=StepExtras(erase=Erase(T, page))))
        assert store.ahead.size < 200_000
        store.close_commit({})
        data = {one.event.data for one in store.read_lane(1, 0, 9_999) if one.event}
        assert len(data) == 1
        assert data != {b"\x80"}


def test_a_page_of_half_full_rows_is_read_and_no_more() -> None:
    with in_memory() as store:
        for _ in range(40):
            store.commit([sends(*(message("a") for _ in range(40)))])
        assert 256 <= len(store.read_lane(1, 0, 256)) < 256 + 2 * 40


class Forgetful(Reversed):
    """Has forgotten the key of one stream."""

    def encode(self, data: bytes, subject: str) -> bytes:
        return GONE if subject == "s-b" else super().encode(data, subject)

    def decode(self, data: bytes) -> bytes:
        if data == GONE:
            raise ForgottenKey(T)
        return super().decode(data)


def test_a_forgotten_key_takes_along_no_message_that_lies_beside() -> None:
    with in_memory(Forgetful()) as store:
        store.commit([sends(*(message(name, b"\xa2hi") for name in "abc"))])
        found = {one.event.stream: one.event.data for one in store.read_lane(1, 0, 9) if one.event}
        assert found["s-a"] == found["s-c"] == b"\xa2hi"
        assert found["s-b"] not in (b"\xa2hi", GONE)


# What is damaged


def test_a_damaged_row_is_told_of_once_and_the_store_opens(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        for count in (3, 2, 4):
            store.commit([sends(*(message("a") for _ in range(count)))])
    for place in (0, 1):
        with Damage(tmp_path) as damage:
            key = damage.key("outgoing", place)
            damage.raw("outgoing", key, b"what it was not")
        with LmdbStore(tmp_path, read_only=True) as store:
            found = [one for one in verify_open(store).findings if one.table == "outgoing"]
            assert len(found) == place + 1
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        store.commit([sends(message("b")), arrives(Arrival(1, 1, 1))])
        assert [one.sequence for one in store.read_lane(1, 5, 9)] == [6, 7, 8, 9, 10]


def test_a_row_that_holds_something_else_is_told_as_damage_and_stops_no_more_than_its_lane(
    tmp_path: Path,
) -> None:
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        store.commit([sends(message("a"))])
    with Damage(tmp_path) as damage:
        key = damage.key("outgoing")
        [alone] = damage.get("outgoing", key)
        damage.put("outgoing", key, alone)
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        assert store.first_sent(1) == 1
        with pytest.raises(CorruptRecord, match="holds no messages"):
            store.read_lane(1, 0, 9)


def test_a_row_has_no_more_messages_than_were_sent(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        store.commit([sends(message("a"))])
    with Damage(tmp_path) as damage:
        key = damage.key("outgoing")
        damage.put("outgoing", key, damage.get("outgoing", key) * 2)
    with LmdbStore(tmp_path, read_only=True) as store:
        [found] = [one for one in verify_open(store).findings if one.table == "outgoing"]
    assert found.problem == "has 2 messages, and 1 were sent"
