"""What is asked of the engine together: no answer differs for it, and the trips are few."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from procession.store import (
    FROM_OUTSIDE,
    Append,
    Block,
    CommandRecord,
    Committed,
    DictionaryEngine,
    Duplicate,
    EventRecord,
    IdTaken,
    ParkedRecord,
    Step,
    StepExtras,
    Store,
    TransitionRecord,
)
from procession.store.layout.schema import stream_key
from procession.store.records import CommandResult
from tests.store.counted import Counted

P = "P"
NAMES = ["0", "1"]
STREAMS = [f"{category}-{name}" for category in "st" for name in NAMES]
VALUES = ["a", "b", "c"]
INSTANCES = ["i", "j", "k"]
IDS = ["one", "two", "three"]


def published(stream: str, event_id: str = "", digest: bytes = b"") -> Step:
    event = EventRecord("E", stream, 0, 1, b"\x80", event_id, "", digest=digest)
    return Step(append=Append(stream, None, [event], unique=bool(event_id)))


def told(command_id: str, stream: str = "s-0", digest: bytes = b"d") -> Step:
    command = CommandRecord(command_id, "C", stream, 1, b"\x80", "c", digest=digest)
    return Step(enqueue=[command], given=command)


def command_to(stream: str) -> CommandRecord:
    return CommandRecord(f"c {stream}", "C", stream, 1, b"\x80", "c")


def learnt(instance: str, old: str | None, new: str | None) -> Step:
    return Step(process=P, instance=instance, extras=StepExtras(index=[("f", old, new)]))


def moves(store: Store, instance: str) -> Step:
    last = store.ahead.last_transition(P, instance)
    version = 1 if last is None else last.version + 1
    transition = TransitionRecord(version, 1, "on", False, "e", "c", 1, b"\x80")
    return Step(process=P, instance=instance, transition=transition)


def snapshot(stream: str, version: int) -> Step:
    event = EventRecord("E", stream, 0, 1, b"\x80", "", "")
    extras = StepExtras(snapshot=(version + 1, b"\x80"))
    return Step(append=Append(stream, version, [event]), extras=extras)


def parked(instance: str, position: int) -> Step:
    record = ParkedRecord(P, instance, "c", "E", "no", 1, 1, position=position, blocks=True)
    extras = StepExtras(block=Block("parked", position))
    return Step(process=P, instance=instance, park=record, extras=extras)


def waits(instance: str, position: int) -> Step:
    return Step(process=P, instance=instance, wait=position)


def takes_up(instance: str, position: int) -> Step:
    return Step(process=P, instance=instance, extras=StepExtras(unwait=position))


def goes_on(instance: str, number: int) -> Step:
    extras = StepExtras(unblock=True, unpark=number, decision=("retry", 1, None))
    return Step(process=P, instance=instance, extras=extras)


ASIDE = {"park": parked, "wait": waits, "take up": takes_up, "go on": goes_on}
"""Steps that set aside, or take what was set aside."""


def keys_of(engine: DictionaryEngine, stream: str) -> list[bytes]:
    start = stream_key(stream)
    return [key for key, _ in engine.range("ids", start, start + b"\xff", 1_000)]


def reopened(counted: Counted, *steps: Step) -> Store:
    store = Store(counted)
    for step in steps:
        assert store.commit([step]) == [Committed()]
    store = Store(counted)
    counted.trips.clear()
    return store


STEPS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(STREAMS), st.sampled_from(["", *IDS])),
    st.tuples(st.just("tell"), st.sampled_from(IDS), st.sampled_from([b"d", b"other"])),
    st.tuples(st.just("learn"), st.sampled_from(INSTANCES), st.sampled_from([None, *VALUES])),
    st.tuples(st.just("snapshot"), st.sampled_from(STREAMS), st.none()),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("follow"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.sampled_from([*ASIDE]), st.sampled_from(INSTANCES), st.integers(1, 3)),
    st.tuples(st.sampled_from(["commit", "drop", "gather", "read"]), st.none(), st.none()),
)


class Remote(DictionaryEngine):
    """Where what is likely to be asked for next is asked for along."""

    is_remote = True


class Run:
    """Carries out what a list says; one of two asks the engine together before it looks."""

    def __init__(self, *, gathers: bool) -> None:
        self.store = Store(Remote() if gathers else DictionaryEngine())
        self.gathers = gathers
        self.learnt: dict[str, str | None] = {}
        self.durable: dict[str, str | None] = {}
        self.answers: list[Any] = []

    def do(self, what: str, first: Any, second: Any) -> None:
        ahead = self.store.ahead
        if what == "publish":
            self.lay(published(first, second, second.encode()))
        elif what == "tell":
            self.lay(told(first, digest=second))
        elif what == "learn":
            self.lay(learnt(first, self.learnt.get(first), second))
            self.learnt[first] = second
        elif what == "snapshot":
            self.lay(snapshot(first, ahead.last_version(first)))
        elif what == "move":
            self.lay(moves(self.store, first))
        elif what == "commit":
            self.store.close_commit()
            self.durable = dict(self.learnt)
        elif what == "drop":
            self.store.drop_commit()
            self.learnt = dict(self.durable)
        elif what == "follow" and self.gathers:
            self.follow(first)
        elif what == "gather" and self.gathers:
            for some in (STREAMS, STREAMS[:1]):
                ahead.gather_commands([command_to(one) for one in some], some)
                ahead.gather_streams(some)
            ahead.gather_index(P, [("f", one) for one in VALUES])
            ahead.gather_set_aside([(P, one) for one in INSTANCES])
        elif what in ASIDE:
            self.lay(ASIDE[what](first, second))
        elif what == "read":
            self.read()

    def follow(self, name: str) -> None:
        """Ask for what has one name, one after the other, as a chain does."""
        ahead = self.store.ahead
        ahead.gather_commands([command_to(f"s-{name}")], [f"s-{name}"])
        ahead.gather_instances([(P, name)])
        ahead.gather_commands([command_to(f"t-{name}")], [f"t-{name}"])

    def lay(self, step: Step) -> None:
        if self.gathers:
            self.store.ahead.gather_steps([step])
        self.answers.append(self.store.hand_over(step))

    def read(self) -> None:
        ahead = self.store.ahead
        for stream in STREAMS:
            self.answers.append(ahead.last_version(stream))
            self.answers.append(ahead.read_snapshot(stream))
            for after, limit in (0, 1), (0, 100), (1, 2):
                events = ahead.read_stream(stream, after, limit)
                self.answers.append([(one.version, one.event_id, one.position) for one in events])
        for name in NAMES:
            last = ahead.last_transition(P, name)
            self.answers.append(None if last is None else last.version)
        self.answers += [ahead.read_index(P, "f", value) for value in VALUES]
        for one in INSTANCES:
            self.answers += [ahead.last_parked(P, one), ahead.last_waiting(P, one)]
            self.answers += [ahead.block_of(P, one), ahead.any_blocked(P)]
            self.answers += [ahead.read_waiting(P, one, after, 2) for after in range(3)]
            self.answers.append(list(ahead.scan_set_aside(P, one)))
            aside = [ahead.is_set_aside(P, one, position) for position in (1, 2, 3)]
            together = ahead.all_set_aside(P, [(one, position) for position in (1, 2, 3)])
            assert aside == [(one, position) in together for position in (1, 2, 3)]
            self.answers.append(aside)
        self.answers.append(list(ahead.scan_blocked(P)))


@given(st.lists(STEPS, max_size=40))
def test_what_is_asked_for_together_is_what_is_asked_for_one_by_one(
    steps: list[tuple[str, Any, Any]],
) -> None:
    together, alone = Run(gathers=True), Run(gathers=False)
    for one in [*steps, ("read", None, None)]:
        together.do(*one)
        alone.do(*one)
    assert together.answers == alone.answers


def test_a_wave_of_steps_from_outside_takes_two_trips() -> None:
    counted = Counted()
    store = reopened(counted, published("s-0", "one", b"x"), published("s-1"), told("first"))
    wave = [
        published("s-0", "one", b"x"),
        published("s-0", "two", b"x"),
        published("s-1", "one", b"y"),
        *(published(f"new-{number}", f"id {number}", b"x") for number in range(20)),
        told("first"),
        told("second"),
    ]
    store.ahead.gather_steps(wave)
    outcomes = [store.hand_over(one) for one in wave]
    assert outcomes[0] == Duplicate(position=1)
    assert type(outcomes[2]) is IdTaken
    assert type(outcomes[23]) is Duplicate
    assert outcomes[1] == outcomes[24] == Committed()
    assert outcomes[3:23] == [Committed()] * 20
    # One more for the event that the id in `outcomes[2]` stands for.
    assert counted.trips == ["get_many", "newest", "get_many"]


def test_a_wave_of_aggregates_that_sleep_takes_four_trips() -> None:
    counted = Counted()
    steps = [published("s-0"), *(published("s-1") for _ in range(5)), snapshot("s-1", 5)]
    store = reopened(counted, *steps, published("s-1"), published("s-1"))
    ahead = store.ahead
    ahead.gather_streams([f"s-{number}" for number in range(5)])
    assert counted.trips == ["newest", "get_many", "get_many", "get_many"]
    assert [ahead.last_version(f"s-{number}") for number in range(3)] == [1, 8, 0]
    assert ahead.read_snapshot("s-0") is None
    assert ahead.read_snapshot("s-1") == (6, b"\x80")
    assert [one.version for one in ahead.read_stream("s-0", 0, 100)] == [1]
    assert [one.version for one in ahead.read_stream("s-1", 6, 100)] == [7, 8]
    assert ahead.read_stream("s-2", 0, 100) == ahead.read_stream("s-1", 8, 100) == []
    assert len(counted.trips) == 4


def test_an_aggregate_that_sleeps_takes_two_trips_and_one_of_many_events_three() -> None:
    counted = Counted()
    steps = [published("s-0"), *(published("s-1") for _ in range(20))]
    steps += [snapshot("s-2", 0), *(published("s-2") for _ in range(12)), snapshot("s-2", 13)]
    store = reopened(counted, *steps, published("s-2"))
    ahead = store.ahead

    def loaded(stream: str) -> tuple[list[str], int, list[int]]:
        counted.trips.clear()
        ahead.gather_commands([command_to(stream)], [stream])
        ahead.gather_streams([stream])
        trips = counted.trips.copy()
        last, found = ahead.last_version(stream), ahead.read_snapshot(stream)
        events = ahead.read_stream(stream, 0 if found is None else found[0], 100)
        assert counted.trips == trips
        return trips, last, [one.version for one in events]

    assert loaded("s-0") == (["get_many"] * 3, 1, [1])
    # The next one of a category is taken to be there as well.
    assert loaded("s-1") == (["get_many", "range", "get_many"], 20, list(range(1, 21)))
    assert loaded("s-2") == (["get_many", "range", "get_many"], 15, [15])
    assert loaded("s-3") == (["get_many"], 0, [])
    # What is awake was loaded before.
    assert loaded("s-1")[0] == []
    # Where an event is lost, the ones behind it are not taken for lost.
    store.close_commit()
    counted.commit({}, {"ids": keys_of(counted, "s-1")[2:3]})
    again = Store(counted).ahead
    again.gather_commands([command_to("s-1")], ["s-1"])
    again.gather_streams(["s-1"])
    assert again.last_version("s-1") == 20


def test_a_chain_of_namesakes_takes_one_trip_once_the_store_has_seen_one() -> None:
    counted = Counted()
    counted.is_remote = True
    store = reopened(counted, published("t-old"))
    ahead = store.ahead

    def follow(name: str) -> list[str]:
        counted.trips.clear()
        for stream in (f"s-{name}", f"t-{name}"):
            ahead.gather_commands([command_to(stream)], [stream])
            ahead.gather_streams([stream])
            ahead.gather_instances([(P, name)])
        return counted.trips.copy()

    assert follow("first") == ["get_many", "newest", "get_many"]
    assert follow("second") == ["get_many"]
    assert ahead.is_new_stream("t-second")
    assert ahead.is_new_instance(P, "second")
    # What is there is read as ever.
    assert follow("old") == ["get_many"] * 4
    assert ahead.last_version("t-old") == 1
    # An instance may be the first as well.
    for name in ("third", "fourth"):
        counted.trips.clear()
        ahead.gather_instances([(P, name)])
        ahead.gather_commands([command_to(f"u-{name}")], [f"u-{name}"])
    assert counted.trips == ["newest"]
    assert ahead.is_new_stream("u-fourth")


def test_a_wave_of_instances_that_fail_is_parked_without_a_trip_for_each() -> None:
    counted = Counted()
    names = [f"n{number}" for number in range(20)]
    store = reopened(counted, parked("i", 1), waits("j", 2))
    ahead = store.ahead
    ahead.gather_set_aside([(P, one) for one in [*INSTANCES, *names]])
    assert counted.trips == ["newest", "newest"]
    for one in names:
        assert (ahead.last_parked(P, one), ahead.read_waiting(P, one, 0, 9)) == (0, (None, []))
        assert ahead.last_waiting(P, one) == 0
        step = parked(one, 3)
        assert step.extras is not None
        step.extras.was_complete = False
        assert store.hand_over(step) == Committed()
    assert len(counted.trips) == 2
    store.close_commit()
    counted.trips.clear()
    # What is parked is not taken for nothing in the next commit, and of others it stays known.
    assert type(store.hand_over(parked("n1", 3))) is Duplicate
    assert counted.trips == ["get_many"]
    assert ahead.last_waiting(P, "k") == ahead.last_parked(P, "k") == 0
    assert counted.trips == ["get_many"]


def test_learnt_keys_of_a_page_of_events_take_two_trips() -> None:
    counted = Counted()
    steps = [learnt("i", None, "a"), learnt("j", None, "b"), learnt("k", None, "b")]
    store = reopened(counted, *steps)
    ahead = store.ahead
    ahead.gather_index(P, [("f", one) for one in VALUES])
    assert counted.trips == ["newest", "newest"]
    assert ahead.read_index(P, "f", "a") == ["i"]
    assert ahead.read_index(P, "f", "c") == []
    assert len(counted.trips) == 2
    # A value of several instances is read by itself, once.
    assert ahead.read_index(P, "f", "b") == ahead.read_index(P, "f", "b") == ["j", "k"]
    assert counted.trips[2:] == ["range"]
    assert store.hand_over(learnt("i", "a", "c")) == Committed()
    assert [ahead.read_index(P, "f", one) for one in VALUES] == [[], ["j", "k"], ["i"]]
    assert len(counted.trips) == 3


def test_a_command_of_a_backlog_is_not_looked_up_that_this_process_has_accepted() -> None:
    counted = Counted()
    store = reopened(counted)
    assert store.commit([told(f"c{number}") for number in range(3)]) == [Committed()] * 3
    read = store.ahead.read_queue(FROM_OUTSIDE, 10)
    assert [one.digest for one in read] == [b""] * 3
    store.ahead.gather_commands(read[:2])
    counted.trips.clear()
    for one in read:
        step = Step(take=one.sequence, given=one, result=CommandResult())
        assert store.hand_over(step) == Committed()
    assert counted.trips == []
    store.close_commit()
    later = Store(counted)
    # What another process has accepted is asked for together.
    assert later.commit([told("c3"), told("c4")]) == [Committed()] * 2
    later = Store(counted)
    read = later.ahead.read_queue(FROM_OUTSIDE, 10)
    later.ahead.gather_commands(read)
    counted.trips.clear()
    for one in read:
        step = Step(take=one.sequence, given=one, result=CommandResult())
        assert later.hand_over(step) == Committed()
    assert counted.trips == []
