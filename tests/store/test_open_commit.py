"""What an open commit writes when it closes, and what becomes of it when it does not."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from procession.store import (
    FROM_OUTSIDE,
    Append,
    Block,
    CommandRecord,
    Committed,
    CorruptRecord,
    DictionaryEngine,
    Duplicate,
    EventRecord,
    FailingDisk,
    LmdbStore,
    ParkedRecord,
    ReadOnlyStore,
    RefusalRecord,
    Step,
    StepExtras,
    Store,
    StoreError,
    Ticket,
    TimerRecord,
    TransitionRecord,
    verify_open,
)
from procession.store.layout.frames import number
from procession.store.layout.schema import TABLES, timer_key, transitions_key
from procession.store.storage_engine import KEPT, NOTHING
from tests.store.counted import Counted

P = "P"
BOOKS = {"names", "meta"}
"""Tables in which a commit notes names that are new, and its number."""


class Watched(DictionaryEngine):
    """Remembers what it was asked to write."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: dict[str, dict[bytes, bytes]] = {}
        self.deletes: dict[str, list[bytes]] = {}
        self.commits = 0

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        self.commits += 1
        self.puts = {table: dict(rows) for table, rows in puts.items() if table not in BOOKS}
        self.deletes = {table: list(keys) for table, keys in deletes.items()}
        return super().commit(puts, deletes, rewritten)


@pytest.fixture
def engine() -> Watched:
    return Watched()


@pytest.fixture
def store(engine: Watched) -> Store:
    return Store(engine)


def command(process: str | None = P) -> CommandRecord:
    return CommandRecord("c", "C", "s", 1, b"\x80", "c", None, process)


def event(stream: str = "s", data: Any = b"\x80") -> EventRecord:
    return EventRecord("E", stream, 0, 1, data, "", "")


def append(stream: str = "s", data: Any = b"\x80") -> Step:
    return Step(append=Append(stream, None, [event(stream, data)]))


def move(version: int = 1, instance: str = "i") -> Step:
    record = TransitionRecord(version, 1, "on", False, "e", "e", 0, b"\x80")
    return Step(process=P, instance=instance, transition=record)


def timer(due: int = 5) -> TimerRecord:
    return TimerRecord(due, P, "i", "late", "timeout")


def extras(**parts: Any) -> Step:
    return Step(process=P, instance="i", extras=StepExtras(**parts))


def parked(position: int = 3) -> Step:
    record = ParkedRecord(P, "i", f"s@{position}", "E", "no", 1, 1, position)
    return Step(process=P, instance="i", park=record)


def commit(store: Store, *steps: Step) -> None:
    assert store.commit(steps) == [Committed()] * len(steps)


# Net effects


COMES_AND_GOES: dict[str, list[Step]] = {
    "a command that is issued and carried out": [Step(enqueue=[command()]), Step(take=1)],
    "a command from outside": [Step(enqueue=[command(None)]), Step(take=FROM_OUTSIDE + 1)],
    "a timer that is set and cancelled": [extras(timers=[timer()]), extras(cancel=[timer()])],
    "a timer that is set and fires": [extras(timers=[timer()]), extras(due=timer())],
    "an event that waits and is taken up": [
        Step(process=P, instance="i", wait=3),
        extras(unwait=3),
    ],
    "a block that ends": [extras(block=Block("retry", 3)), extras(unblock=True)],
    "a key that is learnt and forgotten": [
        extras(index=[("key", None, "x")]),
        extras(index=[("key", "x", None)]),
    ],
    "a refusal that is told": [extras(refusal=RefusalRecord(command(), "no")), extras(told=1)],
}


@pytest.mark.parametrize("steps", COMES_AND_GOES.values(), ids=COMES_AND_GOES)
def test_what_comes_and_goes_in_one_commit_is_never_a_row(
    engine: Watched, store: Store, steps: Sequence[Step]
) -> None:
    commit(store, *steps)
    assert (engine.puts, engine.deletes) == ({}, {})


def test_a_commit_that_comes_to_nothing_asks_the_engine_for_nothing(
    engine: Watched, store: Store
) -> None:
    commit(store, move())
    engine.commits = 0
    commit(store, *COMES_AND_GOES["a timer that is set and cancelled"])
    assert engine.commits == 0


def test_what_was_durable_and_goes_is_deleted_and_not_written(
    engine: Watched, store: Store
) -> None:
    commit(store, Step(enqueue=[command()]), extras(timers=[timer()]))
    assert engine.puts.keys() == {"queue", "timers"}
    commit(store, Step(take=1), extras(cancel=[timer()]))
    assert engine.puts == {}
    assert engine.deletes == {"queue": [number(1)], "timers": [timer_key(timer())]}


def test_what_was_durable_goes_and_comes_again_is_written_and_not_deleted(
    engine: Watched, store: Store
) -> None:
    commit(store, extras(timers=[timer()]))
    commit(store, extras(cancel=[timer()]), extras(timers=[timer()]))
    assert engine.puts.keys() == {"timers"}
    assert engine.deletes == {}
    commit(store, extras(due=timer(), timers=[timer()]), extras(cancel=[timer()]))
    assert (engine.puts, engine.deletes) == ({}, {"timers": [timer_key(timer())]})


def test_what_comes_goes_and_comes_again_is_one_row(engine: Watched, store: Store) -> None:
    commit(store, *(extras(timers=[timer()]) for _ in range(2)), extras(cancel=[timer()]))
    assert engine.puts == {}
    again = extras(timers=[timer()])
    commit(store, again, extras(cancel=[timer()]), again)
    assert {table: len(rows) for table, rows in engine.puts.items()} == {"timers": 1}
    assert engine.deletes == {}


def test_commands_that_are_left_over_become_rows(engine: Watched, store: Store) -> None:
    commit(store, Step(enqueue=[command(), command(), command()]), Step(take=2))
    assert engine.puts["queue"].keys() == {number(1), number(3)}


def test_what_is_parked_and_decided_in_one_commit_is_only_decided(
    engine: Watched, store: Store
) -> None:
    commit(store, parked(), extras(unpark=1, decision=("retry", 2, "ann")))
    assert engine.puts.keys() == {"decided"}
    assert engine.deletes == {}


# Waves


class CountedAndWatched(Counted, Watched):
    """Counts the trips, and remembers what it was asked to write."""


@pytest.fixture
def counted() -> CountedAndWatched:
    return CountedAndWatched()


def asleep(counted: Counted, *versions: int) -> Store:
    """A store that was just opened, with instances that are at these versions."""
    store = Store(counted)
    for number_of_it, version in enumerate(versions):
        commit(store, *(move(each, f"i{number_of_it}") for each in range(1, version + 1)))
    reopened = Store(counted)
    counted.trips.clear()
    return reopened


def versions_of(store: Store, count: int) -> list[int]:
    found = [store.ahead.last_transition(P, f"i{number}") for number in range(count)]
    return [0 if one is None else one.version for one in found]


def test_a_wave_of_instances_new_and_old_takes_two_trips(counted: Counted) -> None:
    store = asleep(counted, 0, 1, 3, 0, 2)
    store.ahead.gather_instances([(P, f"i{number}") for number in range(5)])
    assert versions_of(store, 5) == [0, 1, 3, 0, 2]
    for number_of_it, version in enumerate([1, 2, 4, 1, 3]):
        assert store.hand_over(move(version, f"i{number_of_it}")) == Committed()
    assert counted.trips == ["newest", "get_many"]


def test_a_wave_of_instances_may_be_of_several_process_managers(counted: Counted) -> None:
    other = Step(process="Q", instance="i0", transition=move().transition)
    commit(Store(counted), move(1, "i0"), move(2, "i0"), other)
    store = Store(counted)
    counted.trips.clear()
    store.ahead.gather_instances([("Q", "i0"), (P, "i0"), ("Q", "i1")])
    found = [
        store.ahead.last_transition(*one)
        for one in ((P, "i0"), (P, "i1"), ("Q", "i0"), ("Q", "i1"))
    ]
    assert [one and one.version for one in found] == [2, None, 1, None]
    # That of an instance which was not asked for is looked for by itself.
    assert counted.trips[:2] == ["newest", "get_many"]


def test_what_was_gathered_outlasts_the_commits_of_others(counted: Counted) -> None:
    store = asleep(counted, 2, 0, 2)
    store.ahead.gather_instances([(P, "i0"), (P, "i1")])
    commit(store, append())
    counted.trips.clear()
    assert versions_of(store, 2) == [2, 0]
    assert counted.trips == []


def test_what_was_gathered_before_its_instance_moved_on_is_not_what_is_read(
    counted: Counted,
) -> None:
    store = asleep(counted, 2, 0)
    store.ahead.gather_instances([(P, "i0"), (P, "i1")])
    assert store.ahead.is_new_instance(P, "i1")
    for both in (move(3, "i0"), move(1, "i1")), (move(4, "i0"), move(2, "i1")):
        assert [store.hand_over(one) for one in both] == [Committed()] * 2
        store.close_commit()
    assert not store.ahead.is_new_instance(P, "i1")
    assert versions_of(store, 2) == [4, 2]


def test_what_was_gathered_is_forgotten_with_a_commit_that_failed(counted: Counted) -> None:
    store = asleep(counted, 2)
    store.ahead.gather_instances([(P, "i0")])
    store.drop_commit()
    counted.trips.clear()
    assert versions_of(store, 1) == [2]
    assert counted.trips != []


def test_a_wave_of_what_is_not_durable_yet_takes_no_trip(counted: Counted) -> None:
    store = asleep(counted, 1)
    store.ahead.gather_instances([(P, "i0")])
    store.hand_over(move(2, "i0"))
    store.hand_over(move(1, "i1"))
    counted.trips.clear()
    store.ahead.gather_instances([(P, "i0"), (P, "i1")])
    assert counted.trips == []
    assert versions_of(store, 2) == [2, 1]


def test_a_command_that_an_earlier_commit_left_is_taken_once_without_a_look(
    counted: Counted,
) -> None:
    store = Store(counted)
    commit(store, Step(enqueue=[command(), command()]))
    counted.trips.clear()
    assert [store.hand_over(Step(take=1)), store.hand_over(Step(take=1))] == [
        Committed(),
        Duplicate(),
    ]
    assert counted.trips == []


def test_a_backlog_that_is_taken_piece_by_piece_in_one_commit_is_read_once(
    counted: Counted,
) -> None:
    store = Store(counted)
    commit(store, Step(enqueue=[command() for _ in range(20)]))
    counted.rows = 0
    for after in range(0, 20, 4):
        found = store.ahead.read_queue(after, 4)
        assert [one.sequence for one in found] == list(range(after + 1, after + 5))
        for one in found:
            assert store.hand_over(Step(take=one.sequence)) == Committed()
    assert counted.rows == 20


def test_a_command_whose_taking_failed_with_its_commit_can_be_taken_and_is_looked_for(
    counted: Counted,
) -> None:
    store = Store(counted)
    commit(store, Step(enqueue=[command()]))
    assert store.hand_over(Step(take=1)) == Committed()
    store.drop_commit()
    counted.trips.clear()
    assert store.hand_over(Step(take=1)) == Committed()
    assert counted.trips == ["get_many"]
    store.close_commit()
    assert store.hand_over(Step(take=1)) == Duplicate()


def test_only_newest_versions_of_what_was_looked_at_last_are_remembered(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.store.open_commit.HEADS_KEPT", 6)
    store = asleep(counted, 2, 1)
    commit(store, *(move(1, f"other {number}") for number in range(6)))
    store.ahead.gather_instances([(P, "i0"), (P, "i1")])
    commit(store, append())
    counted.trips.clear()
    assert versions_of(store, 2) == [2, 1]
    assert counted.trips == []


def test_a_wave_with_a_damaged_instance_is_read_for_all_others(counted: Counted) -> None:
    store = asleep(counted, 1, 1, 1)
    place = transitions_key(P, "i1") + number(1)
    counted.commit({"ids": {place: b"short"}}, {})
    store.ahead.gather_instances([(P, f"i{number}") for number in range(3)])
    with pytest.raises(CorruptRecord):
        store.ahead.last_transition(P, "i1")
    for instance in ("i0", "i2"):
        found = store.ahead.last_transition(P, instance)
        assert found is not None
        assert found.version == 1


def test_a_wave_of_timers_that_fire_takes_one_trip(counted: Counted) -> None:
    store = Store(counted)
    due = [timer(number) for number in range(5)]
    commit(store, extras(timers=due))
    counted.trips.clear()
    store.ahead.gather_timers(due)
    for each in due:
        assert store.hand_over(extras(due=each)) == Committed()
    assert store.hand_over(extras(due=due[0])) == Duplicate()
    assert counted.trips == ["get_many"]


def test_what_comes_and_goes_is_looked_for_in_one_trip_when_the_commit_closes(
    counted: CountedAndWatched,
) -> None:
    store = Store(counted)
    due = [timer(number) for number in range(5)]
    commit(store, extras(timers=due[:1]))
    counted.trips.clear()
    store.hand_over(extras(timers=due))
    for each in due:
        store.hand_over(extras(cancel=[each]))
    assert counted.trips == []
    store.close_commit()
    assert counted.trips == ["get_many"]
    assert (counted.puts, counted.deletes) == ({}, {"timers": [timer_key(due[0])]})


@pytest.mark.parametrize("kind", ["file", "dictionary"])
def test_an_engine_says_the_last_row_of_each_range(tmp_path: Path, kind: str) -> None:
    opened = LmdbStore(tmp_path, durability="none") if kind == "file" else Store(DictionaryEngine())
    with opened as store:
        engine = store._engine
        everything = (b"", b"\xff" * 9)
        assert engine.newest("timers", [everything]) == [None]
        engine.commit({"timers": {key: key * 2 for key in (b"b1", b"b3", b"d1")}}, {})
        ranges = [
            (b"b", b"c"),
            (b"b", b"b3"),
            (b"c", b"d"),
            (b"d1", b"e"),
            (b"a", b"b"),
            everything,
        ]
        found = engine.newest("timers", ranges)
        assert [row and row[0] for row in found] == [b"b3", b"b1", None, b"d1", None, b"d1"]
        assert all(row is None or row[1] == row[0] * 2 for row in found)
        assert engine.newest("timers", []) == []


# Halves


def test_a_step_that_fails_half_way_spoils_the_open_commit_and_nothing_is_written(
    engine: Watched, store: Store
) -> None:
    commit(store, append())
    before = engine.commits
    half = move()
    half.append = Append("s", None, [event(data=object())])
    assert store.hand_over(append()) == Committed()
    with pytest.raises(TypeError):
        store.hand_over(half)
    with pytest.raises(StoreError, match="after part of it was handed over"):
        store.close_commit()
    assert engine.commits == before
    assert store.last_transition(P, "i") is store.ahead.last_transition(P, "i") is None
    assert store.last_position() == store.ahead.last_position() == 1
    commit(store, append(), move())
    assert verify_open(store).checked["log"] == 2


@pytest.mark.parametrize("table", ["parked", "parked_at"])
def test_a_damaged_row_that_a_step_must_read_is_found_before_any_of_it_is_handed_over(
    engine: Watched, store: Store, table: str
) -> None:
    commit(store, parked())
    key, raw = engine.puts[table].popitem()
    engine.commit({table: {key: raw[:-1] + b"!"}}, {})
    step = move()
    step.extras = StepExtras(unpark=1, decision=("retry", 2, "ann"))
    with pytest.raises(CorruptRecord, match=f"table '{table}'"):
        store.hand_over(step)
    assert store.ahead.steps == 0
    store.hand_over(append())
    store.close_commit()
    assert store.last_position() == 1
    assert store.last_transition(P, "i") is None


# Answers that are lost


class Deaf(Watched):
    """Loses the answer to a commit, and answers nothing from then on if that is said."""

    is_kept = True
    answers = False
    goes_deaf = False
    is_deaf = False

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        if self.is_kept:
            super().commit(puts, deletes, rewritten)
        self.is_deaf = self.goes_deaf
        if self.answers:
            return KEPT
        return Ticket("unknown", StoreError("the line is dead"))

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        if self.is_deaf:
            raise StoreError("no answer at all")
        return super().get_many(keys)


def test_a_commit_whose_answer_was_lost_is_told_by_its_number() -> None:
    engine = Deaf()
    store = Store(engine)
    for kept in (True, True, False, True, False, False):
        engine.is_kept = kept
        before = store.last_position()
        store.hand_over(append())
        if kept:
            store.close_commit()
        else:
            with pytest.raises(StoreError, match="the line is dead"):
                store.close_commit()
        assert store.last_position() == store.ahead.last_position() == before + kept
    assert [one.position for one in store.read_log(0, 9)] == [1, 2, 3]


def after_a_commit_of_which_nothing_is_known(engine: Deaf) -> Store:
    store = Store(engine)
    store.hand_over(append())
    engine.goes_deaf = True
    with pytest.raises(StoreError, match="no answer at all"):
        store.close_commit()
    store.hand_over(append("t"))
    with pytest.raises(StoreError, match="no answer at all"):
        store.close_commit()
    engine.goes_deaf = engine.is_deaf = False
    return store


def test_a_store_goes_on_behind_a_commit_that_was_reported_as_failed_and_is_there() -> None:
    engine = Deaf()
    store = after_a_commit_of_which_nothing_is_known(engine)
    secret = store.secret()
    was_unsure = store.is_unsure
    store.hand_over(append("t"))
    # It was numbered as if the one before it was not there.
    with pytest.raises(FailingDisk, match="the commit before this one is there"):
        store.close_commit()
    assert (was_unsure, store.is_unsure) == (True, False)
    assert store.last_position() == store.ahead.last_position() == 1
    engine.answers = True
    commit(store, append("t"))
    assert [(one.stream, one.position) for one in store.read_log(0, 9)] == [("s", 1), ("t", 2)]
    assert (store.secret(), store.commit_count) == (secret, 2)
    assert verify_open(store).findings == []


def test_the_newest_time_is_that_of_an_event_or_of_a_transition() -> None:
    store = Store(DictionaryEngine())
    assert store.newest_time() is None
    commit(store, append())
    (event,) = store.read_log(0, 9)
    assert store.newest_time() == event.time
    step = move()
    assert step.transition is not None
    step.transition.time = event.time + 5
    commit(store, step)
    assert store.newest_time() == event.time + 5


def test_a_commit_that_turns_out_not_to_be_there_is_in_the_way_of_none() -> None:
    engine = Deaf()
    engine.is_kept = False
    store = after_a_commit_of_which_nothing_is_known(engine)
    engine.is_kept = True
    commit(store, append("t"))
    assert [(one.stream, one.position) for one in store.read_log(0, 9)] == [("t", 1)]


def test_a_number_of_commits_that_is_damaged_is_written_again(engine: Watched) -> None:
    store = Store(engine)
    commit(store, append())
    engine.commit({"meta": {b"commits": b"\0\0\0\0damaged"}}, {})
    store = Store(engine)
    assert "commits" in str(verify_open(store).findings)
    commit(store, append())
    assert verify_open(store).findings == []


# The file


def fails(call: Callable[[], object]) -> type[BaseException]:
    with pytest.raises(StoreError) as caught:
        call()
    return type(caught.value)


def test_a_row_that_does_not_come_behind_those_that_are_there_fails_the_whole_commit(
    tmp_path: Path,
) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        commit(store, append())
        (old,) = store.read_log(0, 9)
        assert fails(lambda: store._file.commit({"log": {number(1): b"x"}}, {})) is StoreError
        rows = {"timers": {b"t": b"t"}, "transitions": {number(2): b"2", number(1): b"1"}}
        assert fails(lambda: store._file.commit(rows, {})) is StoreError
        assert store.read_log(0, 9) == [old]
        with store.snapshot() as snapshot:
            assert [snapshot.count(table) for table in ("timers", "transitions")] == [0, 0]


def test_a_reader_that_is_told_to_write_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        commit(store, append())
    size = (tmp_path / "data.mdb").stat().st_size
    with LmdbStore(tmp_path, read_only=True) as reader:
        assert fails(lambda: reader.commit([append()])) is ReadOnlyStore
    assert (tmp_path / "data.mdb").stat().st_size == size


@pytest.mark.parametrize("kind", ["file", "dictionary"])
def test_a_snapshot_stays_as_it_is_while_commits_go_on(tmp_path: Path, kind: str) -> None:
    opened = LmdbStore(tmp_path, durability="none") if kind == "file" else Store(DictionaryEngine())
    with opened as store:
        commit(store, append(), append("t"), extras(timers=[timer()]))
        with store.snapshot() as snapshot:
            rows = {table: list(snapshot.scan(table)) for table in TABLES}
            commit(store, append(), extras(cancel=[timer()]))
            assert {table: list(snapshot.scan(table)) for table in TABLES} == rows
            assert {table: snapshot.count(table) for table in TABLES} == {
                table: len(there) for table, there in rows.items()
            }
            for table, there in rows.items():
                assert list(snapshot.scan(table, b"\xff" * 9, backwards=True)) == there[::-1]
                for place, (key, value) in enumerate(there):
                    assert snapshot.get(table, key) == value
                    assert list(snapshot.scan(table, key)) == there[place:]
                    assert list(snapshot.scan(table, key, backwards=True)) == there[:place][::-1]
            assert snapshot.get("log", b"") is snapshot.get("log", b"x" * 600) is None
