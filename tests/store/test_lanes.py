"""What one partition has for another, in order, and taken once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from procession.store import (
    COMMITTED,
    Append,
    Arrival,
    CommandRecord,
    DictionaryEngine,
    Duplicate,
    EventRecord,
    LearntKey,
    LmdbStore,
    Partition,
    RefusalRecord,
    SentRecord,
    Step,
    StepExtras,
    Store,
    StoreError,
    Taken,
    UnmatchedRecord,
    WrongPartition,
    divided_at,
    is_divided,
    make_divided,
    partition_of,
    verify_open,
)
from tests.store.test_verifying import Damage, number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORDERS = "Shop.Orders"
OWN = Partition(0, 2)
FAMILY = "f"


def id_in(partition: int, prefix: str) -> str:
    """An id that belongs to a partition of two."""
    return next(
        one
        for one in (f"{prefix}{place}" for place in range(99))
        if partition_of(one, 2) == partition
    )


HERE, THERE = id_in(0, "o"), id_in(1, "o")


def event(stream: str) -> EventRecord:
    return EventRecord("Shop.Happened.v1", stream, 1, 5, b"\x80", f"{stream}@1", "root")


def command(instance: str, origin: int | None = None) -> CommandRecord:
    return CommandRecord(
        f"{ORDERS}-{instance}@1.0",
        "Shop.Do.v1",
        "shop::x-1",
        5,
        b"\x80",
        "root",
        process=ORDERS,
        instance=instance,
        version=1,
        origin=origin,
    )


def copy_of(stream: str, *sent_to: str) -> EventRecord:
    return replace(event(stream), sent_for=ORDERS, sent_to=list(sent_to) or None)


def sends(*sent: SentRecord) -> Step:
    return Step(process=ORDERS, send=list(sent))


def arrives(arrived: Arrival, *commands: CommandRecord) -> Step:
    return Step(enqueue=list(commands) or None, extras=StepExtras(arrived=arrived))


def taken(store: Store, target: int, up_to: int) -> Taken:
    """What a partition has taken, and the rows that go."""
    return Taken(target, up_to, store.rows_sent(target, 0, up_to, 999))


def fill_lanes(store: Store) -> None:
    """Rows in every table that only a divided store uses."""
    steps = [
        sends(
            SentRecord(1, event(f"shop::feed-{HERE}"), ORDERS),
            SentRecord(1, event(f"shop::feed-{HERE}"), ORDERS, [THERE]),
            SentRecord(1, refusal=RefusalRecord(command(THERE, 1), "no")),
            SentRecord(1, learnt=LearntKey(ORDERS, HERE, "key", None, THERE)),
        ),
        arrives(
            Arrival(
                1,
                1,
                3,
                [copy_of(f"shop::feed-{THERE}"), copy_of(f"shop::feed-{THERE}", HERE)],
            ),
            command(THERE, 1),
        ),
    ]
    assert store.commit(steps) == [COMMITTED, COMMITTED]


@pytest.fixture(params=["lmdb", "dictionary"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Partition 0 of 2."""
    if request.param == "lmdb":
        opened: Store = LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY)
    else:
        opened = Store(DictionaryEngine(), partition=OWN, family=FAMILY)
    with opened:
        yield opened


def test_what_is_sent_is_read_in_order_once_it_is_durable(store: Store) -> None:
    first, second = SentRecord(1, event("s-1"), ORDERS), SentRecord(1, command=command("i", 0))
    store.hand_over(sends(first, second))
    assert store.read_lane(1, 0, 9) == []
    assert store.ahead.sending.targets == {1}
    store.close_commit()
    read = store.read_lane(1, 0, 9)
    assert [one.sequence for one in read] == [1, 2]
    assert read[0].event is not None
    assert (read[0].event.stream, read[0].event.sent_for) == ("s-1", ORDERS)
    assert read[1].command is not None
    assert read[1].command.origin == 0
    assert [one.sequence for one in store.read_lane(1, 1, 9)] == [2]
    assert store.last_sent(1) == 2


def test_what_came_is_taken_once(store: Store) -> None:
    arrived = Arrival(1, 1, 2, [copy_of("s-1")])
    assert store.commit([arrives(arrived, command(THERE, 1))]) == [COMMITTED]
    assert store.cursor_of(1) == 2
    again = arrives(Arrival(1, 1, 2, [copy_of("s-1")]), command(THERE, 1))
    assert store.commit([again]) == [Duplicate()]
    assert store.last_position() == 1
    assert len(list(store.scan_queue())) == 1


def test_all_lanes_of_a_partition_are_told_at_once(store: Store) -> None:
    assert (store.sent(2), store.cursors()) == ({}, {})
    sent = [SentRecord(1, event(f"s-{number}"), ORDERS) for number in range(3)]
    store.commit([sends(*sent), arrives(Arrival(1, 1, 2, [copy_of("s-1")]))])
    assert store.sent(2) == {1: store.last_sent(1)} == {1: 3}
    assert store.cursors() == {1: store.cursor_of(1)} == {1: 2}


def test_a_copy_is_in_the_log_and_in_no_stream(store: Store) -> None:
    store.commit([arrives(Arrival(1, 1, 1, [copy_of("s-1")]))])
    [record] = store.read_log(0, 9)
    assert (record.sent_for, record.sent_to, record.position) == (ORDERS, None, 1)
    assert store.read_stream("s-1", 0, 9) == []
    assert not any(of == "event" for of, _, _ in store.read_counts())
    store.commit([Step(append=Append("s-1", 0, [replace(event("s-1"), event_id="")]))])
    assert store.position_of("s-1@1") == 2


def test_a_copy_says_which_instances_another_partition_has_found(store: Store) -> None:
    store.commit([arrives(Arrival(1, 1, 1, [copy_of("s-1", HERE)]))])
    [record] = store.read_log(0, 9)
    assert record.sent_to == [HERE]


def test_a_key_that_is_learnt_elsewhere_sends_on_the_events_that_are_held_for_it(
    store: Store,
) -> None:
    held = UnmatchedRecord(ORDERS, 1, "key", ["k"], 99)
    store.commit(
        [
            Step(append=Append(f"s-{HERE}", 0, [replace(event(f"s-{HERE}"), event_id="")])),
            Step(process=ORDERS, extras=StepExtras(hold=held)),
        ]
    )
    arrived = Arrival(1, 1, 1, learnt=[LearntKey(ORDERS, THERE, "key", None, "k")])
    store.commit([arrives(arrived)])
    assert arrived.met == []
    [sent] = store.read_lane(1, 0, 9)
    assert sent.event is not None
    assert (sent.event.stream, sent.process, sent.instances) == (f"s-{HERE}", ORDERS, [THERE])
    assert store.read_index(ORDERS, "key", "k") == [THERE]
    assert list(store.scan_unmatched(ORDERS)) == []


def test_what_was_taken_goes_and_the_numbers_go_on(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        for count in (2, 1, 2):
            store.commit([sends(*(SentRecord(1, event("s-1"), ORDERS) for _ in range(count)))])
        store.commit([Step(extras=StepExtras(taken=taken(store, 1, 2)))])
        assert [one.sequence for one in store.read_lane(1, 0, 9)] == [3, 4, 5]
        store.commit([Step(extras=StepExtras(taken=taken(store, 1, 5)))])
        # The last row stays, since its key says the number.
        assert [one.sequence for one in store.read_lane(1, 0, 9)] == [4, 5]
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        store.commit([sends(SentRecord(1, event("s-1"), ORDERS))])
        assert [one.sequence for one in store.read_lane(1, 0, 9)] == [4, 5, 6]


def test_a_commit_that_failed_leaves_lanes_and_cursors_as_they_were(store: Store) -> None:
    store.commit([sends(SentRecord(1, event("s-1"), ORDERS)), arrives(Arrival(1, 1, 4))])
    store.hand_over(sends(SentRecord(1, event("s-1"), ORDERS)))
    store.hand_over(arrives(Arrival(1, 5, 6)))
    store.drop_commit()
    assert store.commit([arrives(Arrival(1, 5, 5))]) == [COMMITTED]
    store.commit([sends(SentRecord(1, event("s-1"), ORDERS))])
    assert [one.sequence for one in store.read_lane(1, 0, 9)] == [1, 2]


def test_a_sound_partition_has_no_findings(store: Store) -> None:
    fill_lanes(store)
    assert verify_open(store).findings == []


@pytest.mark.parametrize(
    ("table", "key", "row", "problem"),
    [
        ("partitions", b"other", [0, 2, "f"], "is no name of the format"),
        ("partitions", b"own", [2, 2, "f"], "is partition 2 of 2"),
        ("outgoing", number(1) + number(9), None, "comes where 5 is missing"),
        ("outgoing", number(0) + number(1), None, "is for a partition that there is not"),
        ("cursors", number(7), 1, "is of a lane from a partition that there is not"),
    ],
)
def test_what_is_wrong_with_a_lane_is_named(
    tmp_path: Path, table: str, key: bytes, row: object, problem: str
) -> None:
    with LmdbStore(tmp_path, durability="none", partition=OWN, family=FAMILY) as store:
        fill_lanes(store)
    sent = [None, "", None, None, None, ["P", "i", "f", None, "v"]]
    with Damage(tmp_path) as damage:
        damage.put(table, key, [sent] if row is None else row)
    with LmdbStore(tmp_path, read_only=True) as store:
        found = [one.problem for one in verify_open(store).findings if one.table == table]
    assert problem in found


def test_a_partition_is_opened_as_what_it_is(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "part", partition=OWN, family=FAMILY) as store:
        fill_lanes(store)
    for partition, family in ((Partition(1, 2), FAMILY), (Partition(0, 3), FAMILY), (OWN, "g")):
        with pytest.raises(WrongPartition, match="is partition 0 of 2 of the divided store f"):
            LmdbStore(tmp_path / "part", partition=partition, family=family)
    with LmdbStore(tmp_path / "whole") as store:
        store.commit([sends()])
        store.close_commit({"router": 1})
    with pytest.raises(WrongPartition, match="is a whole one"):
        LmdbStore(tmp_path / "whole", partition=OWN, family=FAMILY)


@pytest.mark.parametrize("partition", [Partition(0, 0), Partition(2, 2), Partition(0, 5_000)])
def test_a_partition_that_cannot_be_is_refused(tmp_path: Path, partition: Partition) -> None:
    with pytest.raises(StoreError, match="partitions"):
        LmdbStore(tmp_path, partition=partition)


def test_a_divided_store_is_made_once_and_stays_as_it_is(tmp_path: Path) -> None:
    assert divided_at(tmp_path / "store") is None
    assert not is_divided(tmp_path / "store", None)
    made = make_divided(tmp_path / "store", 3)
    assert make_divided(tmp_path / "store", 3) == made == divided_at(tmp_path / "store")
    for partition in made.partitions():
        with made.open(partition.number, read_only=True) as store:
            assert store.partition == partition
    (tmp_path / "store" / "partitions.json").write_text("{")
    with pytest.raises(StoreError, match="does not say how many partitions"):
        divided_at(tmp_path / "store")


@given(st.text(), st.integers(1, 4_096))
def test_each_id_has_one_partition(name: str, count: int) -> None:
    found = partition_of(name, count)
    assert 0 <= found < count
    assert found == partition_of(name, count)
    assert Partition(found, count).has(name)


def test_the_partition_of_an_id_stays_what_it_is() -> None:
    assert [partition_of(one, 64) for one in ("o1", "o2", "é", "")] == [
        partition_of_by_hand(one, 64) for one in ("o1", "o2", "é", "")
    ]


def partition_of_by_hand(name: str, count: int) -> int:
    """As `docs/store-format.md` has it, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in name.encode():
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    return ((crc ^ 0xFFFFFFFF) * 2_654_435_761 % 2**32) * count // 2**32


def test_ascending_ids_are_spread_evenly() -> None:
    counts = [0] * 8
    for place in range(8_000):
        counts[partition_of(f"o{place:07}", 8)] += 1
    assert min(counts) > 800
    assert max(counts) < 1_200
