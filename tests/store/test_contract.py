"""What the runtime relies on: one suite, which every store passes.

A new store is put through it by adding a line to `OPENERS`.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from procession.store import (
    FROM_OUTSIDE,
    MAX_NAME_BYTES,
    Append,
    Block,
    ClosedError,
    CommandRecord,
    CommandResult,
    Committed,
    Conflict,
    DictionaryEngine,
    Duplicate,
    EventRecord,
    GivenCommand,
    IdTaken,
    LastBackup,
    LmdbStore,
    ParkedRecord,
    PayloadCodec,
    RefusalRecord,
    Step,
    StepExtras,
    Store,
    TimerRecord,
    TransitionRecord,
    UnmatchedRecord,
    event_id_at,
)
from procession.store.postgresql.store import PostgresStore
from tests.coding import Reversed
from tests.postgresql import shared_server

in_memory: dict[Path, DictionaryEngine] = {}


def open_in_memory(folder: Path, codec: PayloadCodec | None = None) -> Store:
    """As opening a folder: what was stored under its name is there."""
    before = in_memory.get(folder)
    in_memory[folder] = DictionaryEngine() if before is None else before.reopened()
    return Store(in_memory[folder], codec=codec)


in_database: dict[Path, str] = {}


def open_in_database(folder: Path) -> Store:
    """As opening a folder: each name stands for a schema of its own."""
    if folder not in in_database:
        in_database[folder] = shared_server().new_url()
    return PostgresStore(in_database[folder])


OPENERS: dict[str, Callable[[Path], Store]] = {
    "lmdb-fsync": lambda folder: LmdbStore(folder, durability="fsync"),
    "lmdb-none": lambda folder: LmdbStore(folder, durability="none", map_size=1 << 16),
    "dictionary": open_in_memory,
    "coded": lambda folder: open_in_memory(folder, Reversed()),
    "postgresql": open_in_database,
}

ALL = 1_000_000
ORDERS = "Orders"

TRICKY_IDS = [
    "o",
    "o1",
    "o10",
    "o1-x",
    "o2",
    "A",
    "\x01",
    "é",
    "日本",
    "日本語",
    "\U0001f9fe",
    "z" * (MAX_NAME_BYTES - len(ORDERS)),
]


class Place:
    """Where one store is; it can be opened again."""

    def __init__(self, opener: Callable[[Path], Store], folder: Path) -> None:
        self._opener = opener
        self._folder = folder
        self.store = opener(folder)

    def reopen(self) -> Store:
        self.store.close()
        self.store = self._opener(self._folder)
        return self.store

    def before_and_after(self) -> Iterator[Store]:
        """The store as it is open now, then opened again."""
        yield self.store
        yield self.reopen()


@pytest.fixture(params=list(OPENERS.values()), ids=list(OPENERS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = Place(request.param, tmp_path / "store")
    yield place
    place.store.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.store


def event(data: str = "data", event_id: str = "", *, stream: str = "s") -> EventRecord:
    return EventRecord("Shop.Happened.v1", stream, 0, 1_700_000, data.encode(), event_id, "")


def append(stream: str = "s", *data: str, expected: int | None = None) -> Step:
    events = [event(item, stream=stream) for item in data or ["data"]]
    return Step(append=Append(stream, expected, events))


def publish(event_id: str, stream: str = "s") -> Step:
    return Step(append=Append(stream, None, [event(event_id, event_id, stream=stream)], True))


def command(command_id: str = "c1", *, process: str | None = None) -> CommandRecord:
    record = CommandRecord(command_id, "Shop.Do.v1", "s", 1_700_001, b"do it", command_id)
    if process is not None:
        record.process, record.instance, record.version = process, "o1", 1
    return record


def named(event_id: str, position: int, stream: str) -> IdTaken:
    """What is said of an id that is that of an event which the store named."""
    return IdTaken(event_id, "Shop.Happened.v1", stream, 1_700_000, position, is_given=False)


def accepting(record: CommandRecord) -> Step:
    return Step(enqueue=[record], given=record)


def transition(version: int, state: str = "", *, seen: int = 0) -> TransitionRecord:
    return TransitionRecord(
        version,
        1_700_002,
        "on_happened",
        False,
        f"s@{version}",
        "s@1",
        seen,
        (state or f"state {version}").encode(),
        [(f"c{version}", "Shop.Do.v1", b"do it")],
    )


def timer(
    due: int, name: str = "too late", instance: str = "o1", *, process: str = ORDERS
) -> TimerRecord:
    return TimerRecord(due, process, instance, name, "timeout")


def refusal(command_id: str = "c1") -> RefusalRecord:
    return RefusalRecord(command(command_id, process=ORDERS), "out of stock")


def move(instance: str, version: int = 1, state: str = "", *, process: str = ORDERS) -> Step:
    return Step(process=process, instance=instance, transition=transition(version, state))


def parked(position: int = 0, instance: str = "o1", *, process: str = ORDERS) -> ParkedRecord:
    return ParkedRecord(
        process,
        instance,
        f"s@{position}",
        "ValueError",
        "no such thing",
        3,
        1_700_003,
        position,
        None if position else command(),
    )


def park(position: int, instance: str = "o1") -> Step:
    return Step(process=ORDERS, instance=instance, park=parked(position, instance))


def wait(position: int, instance: str = "o1", *, process: str = ORDERS) -> Step:
    return Step(process=process, instance=instance, wait=position)


def extras(instance: str = "o1", *, process: str = ORDERS, **parts: Any) -> Step:
    return Step(process=process, instance=instance, extras=StepExtras(**parts))


def decide(number: int, what: str = "skip", instance: str = "o1") -> Step:
    return extras(instance, unpark=number, decision=(what, 1_700_004, "ann"))


def timers(store: Store, until: int = 1 << 60) -> list[TimerRecord]:
    return [record for _, record in list(store.scan_timers(until))]


def commit(store: Store, *steps: Step) -> None:
    """Commit steps that all must be taken."""
    assert store.commit(steps) == [Committed()] * len(steps)


def everything(store: Store) -> dict[str, Any]:
    """All that can be read, for names that these tests use."""
    return {
        "last position": store.last_position(),
        "log": store.read_log(0, ALL),
        "streams": {name: store.read_stream(name, 0, ALL) for name in ("s", "t", "u")},
        "ids": {name: store.position_of(name) for name in ("e1", "e2", "e3", "s@1", "s@2", "t@1")},
        "instances": list(store.scan_instances(ORDERS)),
        "transitions": {
            name: store.read_transitions(ORDERS, name, 0, ALL) for name in ("o1", "o2")
        },
        "queue": store.read_queue(0, ALL),
        "results": {name: store.result_of(name) for name in ("c1", "c2", "c3")},
        "checkpoints": {name: store.checkpoint(name) for name in (ORDERS, "Returns")},
        "parked": list(store.scan_parked()),
        "decided": list(store.scan_parked(decided=True)),
        "last waiting": {name: store.last_waiting(ORDERS, name) for name in ("o1", "o2")},
        "waiting": {name: store.read_waiting(ORDERS, name, 0, ALL) for name in ("o1", "o2")},
        "waiting instances": list(store.scan_ready()),
        "timers": list(store.scan_timers(1 << 60)),
        "index": {name: store.read_index(ORDERS, "email", name) for name in ("old", "new")},
        "refusals": store.read_refusals(0, ALL),
        "names": sorted(store.scan_names()),
        "snapshots": {name: store.read_snapshot(name) for name in ("s", "t", "u")},
    }


def prepared() -> list[Step]:
    """What `of_all_kinds` takes away."""
    return [
        Step(enqueue=[command("c1")]),
        park(6),
        extras(
            timers=[timer(5), timer(6, "later")],
            waits=[(ORDERS, "o1", 3)],
            index=[("email", None, "old")],
            refusal=refusal(),
        ),
    ]


def of_all_kinds() -> Step:
    """A step that writes everything a step can write, and takes what `prepared` wrote."""
    return Step(
        append=Append("s", 0, [event("one"), event("two")]),
        process=ORDERS,
        instance="o1",
        transition=transition(1, seen=1),
        enqueue=[command("c2", process=ORDERS), command("c3")],
        take=FROM_OUTSIDE + 1,
        given=command("c1"),
        result=CommandResult(),
        park=parked(7),
        wait=9,
        extras=StepExtras(
            due=timer(5),
            timers=[timer(8, "new")],
            cancel=[timer(6, "later")],
            unwait=3,
            waits=[(ORDERS, "o2", 4)],
            block=Block("parked", 7, attempts=3),
            unpark=1,
            decision=("skip", 1_700_004, "ann"),
            index=[("email", "old", "new")],
            refusal=refusal("c8"),
            told=1,
            snapshot=(2, b"snapshot"),
        ),
    )


# The log


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.last_position() == 0
    assert store.read_log(0, ALL) == []
    assert store.read_stream("s", 0, ALL) == []
    assert store.position_of("s@1") == 0
    assert store.last_transition(ORDERS, "o1") is None
    assert store.read_transitions(ORDERS, "o1", 0, ALL) == []
    assert list(store.scan_instances(ORDERS)) == []
    assert store.read_queue(0, ALL) == []
    assert store.last_sequences() == (0, FROM_OUTSIDE)
    assert store.result_of("c1") is None
    assert store.checkpoint(ORDERS) == 0
    assert list(store.scan_parked()) == []
    assert list(store.scan_parked(decided=True)) == []
    assert store.last_waiting(ORDERS, "o1") == 0
    assert store.read_waiting(ORDERS, "o1", 0, ALL) == (None, [])
    assert list(store.scan_ready()) == []
    assert list(store.scan_timers(1 << 60)) == []
    assert store.read_index(ORDERS, "email", "old") == []
    assert store.read_refusals(0, ALL) == []
    assert store.read_snapshot("s") is None
    assert list(store.scan_names()) == []


def test_positions_are_1_2_3_without_gaps_whatever_the_stream(store: Store) -> None:
    commit(store, append("s"), append("t", "a", "b"), append("s"))
    commit(store, append("u"))
    log = store.read_log(0, ALL)
    assert [record.position for record in log] == [1, 2, 3, 4, 5]
    assert [record.stream for record in log] == ["s", "t", "t", "s", "u"]
    assert store.last_position() == 5


def test_the_commit_sets_positions_and_versions_in_the_records_it_was_given(store: Store) -> None:
    commit(store, append("t"))
    step = append("s", "a", "b")
    commit(store, step)
    assert step.append is not None
    assert [(record.position, record.version) for record in step.append.events] == [(2, 1), (3, 2)]


def test_an_event_comes_back_as_it_was_given(place: Place) -> None:
    given = EventRecord(
        "Shop.Happened.v2", "café", 0, 1_700_000, b"\x00\xff", "id 1", "corr", "cause", b"\x80", 4
    )
    commit(place.store, Step(append=Append("café", 0, [given])))
    assert (given.position, given.version) == (1, 1)
    assert place.reopen().read_log(0, 1) == [given]
    assert place.store.read_stream("café", 0, 1) == [given]


def test_an_event_without_an_id_is_named_for_its_place_and_starts_a_correlation(
    store: Store,
) -> None:
    commit(store, append("s", "a", "b"))
    first, second = store.read_log(0, ALL)
    assert (first.event_id, first.correlation_id) == ("s@1", "s@1")
    assert (second.event_id, second.correlation_id) == ("s@2", "s@2")
    assert event_id_at("s", 2) == "s@2"
    assert store.position_of("s@2") == 2


def test_a_conflict_uses_up_no_position(store: Store) -> None:
    outcomes = store.commit([append("s"), append("s", "x", "y", expected=0), append("s")])
    assert [type(outcome) for outcome in outcomes] == [Committed, Conflict, Committed]
    commit(store, append("s"))
    assert [record.position for record in store.read_log(0, ALL)] == [1, 2, 3]


def test_the_log_is_read_in_pages(store: Store) -> None:
    commit(store, append("s", *"abcdefg"))
    assert [record.position for record in store.read_log(0, 3)] == [1, 2, 3]
    assert [record.position for record in store.read_log(3, 3)] == [4, 5, 6]
    assert [record.position for record in store.read_log(6, 3)] == [7]
    assert store.read_log(7, 3) == []
    assert store.read_log(700, 3) == []
    assert store.read_log(0, 0) == []


# Streams


def test_each_stream_counts_its_own_versions(store: Store) -> None:
    commit(store, append("s"), append("t"), append("s"), append("t"), append("s"))
    assert [record.version for record in store.read_stream("s", 0, ALL)] == [1, 2, 3]
    assert [record.position for record in store.read_stream("s", 0, ALL)] == [1, 3, 5]
    assert [record.version for record in store.read_stream("t", 0, ALL)] == [1, 2]


def test_a_stream_is_read_in_pages_of_versions(store: Store) -> None:
    commit(store, append("t"), append("s", *"abcde"), append("t"))
    assert [record.data for record in store.read_stream("s", 0, 2)] == [b"a", b"b"]
    assert [record.data for record in store.read_stream("s", 2, 2)] == [b"c", b"d"]
    assert [record.data for record in store.read_stream("s", 4, 2)] == [b"e"]
    assert store.read_stream("s", 5, 2) == []
    assert store.read_stream("s", 0, 0) == []


def test_a_stream_whose_name_begins_another_name_is_a_stream_of_its_own(store: Store) -> None:
    names = ["s", "s1", "s-1", "s@1", "é", "éa"]
    commit(store, *(append(name, name) for name in names))
    commit(store, *(append(name, name, expected=1) for name in reversed(names)))
    for name in names:
        found = store.read_stream(name, 0, ALL)
        assert [(record.stream, record.version) for record in found] == [(name, 1), (name, 2)]


def test_a_stream_may_have_a_name_of_the_greatest_length(place: Place) -> None:
    longest = "é" * (MAX_NAME_BYTES // 2)
    commit(place.store, append(longest, "a"), append("s"), append(longest, "b", expected=1))
    assert [record.data for record in place.reopen().read_stream(longest, 0, ALL)] == [b"a", b"b"]
    assert place.store.position_of(event_id_at(longest, 2)) == 3


def test_an_append_that_expects_the_right_version_is_taken(store: Store) -> None:
    commit(store, append("s", "a", expected=0), append("s", "b", "c", expected=1))
    commit(store, append("s", "d", expected=3))
    assert [record.data for record in store.read_stream("s", 0, ALL)] == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("expected", [0, 1, 3, 4, 500])
def test_an_append_that_expects_another_version_is_a_conflict(store: Store, expected: int) -> None:
    commit(store, append("s", "a", "b"))
    before = everything(store)
    (outcome,) = store.commit([append("s", "c", expected=expected)])
    assert isinstance(outcome, Conflict)
    assert "'s'" in outcome.reason
    assert str(expected) in outcome.reason
    assert everything(store) == before


def test_of_two_appends_that_expect_the_same_version_the_first_wins(store: Store) -> None:
    outcomes = store.commit([append("s", "a", expected=0), append("s", "b", expected=0)])
    assert [type(outcome) for outcome in outcomes] == [Committed, Conflict]
    assert [record.data for record in store.read_log(0, ALL)] == [b"a"]


# Steps


def test_a_step_writes_all_its_parts_together(place: Place) -> None:
    commit(place.store, *prepared())
    step = of_all_kinds()
    commit(place.store, step)
    assert step.extras is not None
    store = place.reopen()
    assert [record.data for record in store.read_stream("s", 0, ALL)] == [b"one", b"two"]
    assert store.last_transition(ORDERS, "o1") == step.transition
    assert [record.command_id for record in store.read_queue(0, ALL)] == ["c2", "c3"]
    assert store.result_of("c1") == CommandResult(1, 2, None)
    assert list(store.scan_parked()) == [step.park]
    assert [record.number for record in list(store.scan_parked(decided=True))] == [1]
    block = Block("parked", 7, attempts=3, parked=2)
    assert store.read_waiting(ORDERS, "o1", 0, ALL) == (block, [9])
    assert store.read_waiting(ORDERS, "o2", 0, ALL) == (None, [4])
    assert timers(store) == [timer(8, "new")]
    assert store.read_index(ORDERS, "email", "old") == []
    assert store.read_index(ORDERS, "email", "new") == ["o1"]
    assert store.read_refusals(0, ALL) == [step.extras.refusal]
    assert store.read_snapshot("s") == (2, b"snapshot")


def spoiled(how: str) -> Step:
    step = of_all_kinds()
    assert step.extras is not None
    if how == "stream":
        step.append = Append("s", 4, [event()])
    elif how == "transition":
        step.transition = transition(3)
    elif how == "sequence":
        step.take = FROM_OUTSIDE + 99
    elif how == "event":
        step.append = Append("t", None, [event("", "e1", stream="t")], True)
    elif how == "command":
        step.given = command("c3")
    elif how == "park":
        step.park = parked(5)
    elif how == "timer":
        step.extras.due = timer(7)
    elif how == "waiting":
        step.extras.unwait = 4
    elif how == "decision":
        step.extras.unpark = 9
    else:
        step.extras.told = 9
    return step


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        ("stream", Conflict),
        ("transition", Conflict),
        ("sequence", Duplicate),
        ("event", Duplicate),
        ("command", Duplicate),
        ("park", Duplicate),
        ("timer", Duplicate),
        ("waiting", Duplicate),
        ("decision", Duplicate),
        ("refusal", Duplicate),
    ],
)
def test_a_step_that_is_refused_leaves_no_trace_and_spoils_no_other(
    place: Place, how: str, answer: type
) -> None:
    store = place.store
    commit(
        store,
        publish("e1", "u"),
        *prepared(),
        Step(given=command("c3"), result=CommandResult()),
        park(5),
    )
    before = everything(store)
    assert isinstance(store.commit([spoiled(how)])[0], answer)
    assert everything(store) == before
    outcomes = store.commit([append("t", "before"), spoiled(how), append("t", "after")])
    assert [type(outcome) for outcome in outcomes] == [Committed, answer, Committed]
    assert everything(store) == everything(place.reopen())
    log = place.store.read_log(0, ALL)
    assert [(record.position, record.data) for record in log[1:]] == [
        (2, b"before"),
        (3, b"after"),
    ]
    unchanged = set(before) - {"last position", "log", "streams", "ids"}
    assert {key: everything(place.store)[key] for key in unchanged} == {
        key: before[key] for key in unchanged
    }


def test_a_step_sees_what_the_steps_before_it_in_the_commit_wrote(store: Store) -> None:
    commit(store, Step(enqueue=[command("c1")]))
    commit(
        store,
        append("s", expected=0),
        append("s", expected=1),
        move("o1", 1),
        move("o1", 2),
        Step(take=FROM_OUTSIDE + 1, enqueue=[command("c2")]),
        Step(take=FROM_OUTSIDE + 2),
    )
    assert store.read_queue(0, ALL) == []


def test_an_empty_commit_and_an_empty_step_change_nothing(store: Store) -> None:
    commit(store, append("s"))
    before = everything(store)
    assert store.commit([]) == []
    assert store.commit([Step()]) == [Committed()]
    assert everything(store) == before


# Names


def with_command(kind: str) -> CommandRecord:
    return CommandRecord("c", kind, "s", 6, b"", "c", None, "issuer")


NAMED: dict[str, tuple[Step, set[tuple[str, str]]]] = {
    "event": (append("s"), {("event", "Shop.Happened.v1")}),
    "command in the queue": (Step(enqueue=[with_command("C")]), {("command", "C")}),
    "transition": (
        Step(
            process="P",
            instance="i",
            transition=TransitionRecord(1, 7, "on", False, "e", "e", 3, b""),
        ),
        {("process", "P")},
    ),
    "command of a transition": (
        Step(
            process="P",
            instance="i",
            transition=TransitionRecord(1, 7, "on", False, "e", "e", 3, b"", [("c", "D", b"")]),
        ),
        {("process", "P"), ("command", "D")},
    ),
    "timer that holds a command back": (
        extras(timers=[TimerRecord(9, "P", "i", "c", "command", with_command("D"))]),
        {("process", "P"), ("command", "D")},
    ),
    "waiting event": (wait(1, process="P"), {("process", "P")}),
    "event to take up": (extras(waits=[("P", "i", 1)]), {("process", "P")}),
    "block": (extras(process="P", block=Block("retry", 1)), {("process", "P")}),
    "parked event": (Step(park=parked(1, process="P")), {("process", "P")}),
    "parked command": (
        Step(park=ParkedRecord("", "s", "c", "E", "no", 1, 8, command=with_command("D"))),
        {("command", "D")},
    ),
    "refusal": (
        extras(refusal=RefusalRecord(with_command("D"), "no")),
        {("process", "issuer"), ("command", "D")},
    ),
}


@pytest.mark.parametrize(("step", "names"), NAMED.values(), ids=NAMED)
def test_the_store_keeps_the_names_it_has_seen(
    place: Place, step: Step, names: set[tuple[str, str]]
) -> None:
    commit(place.store, deepcopy(step))
    assert set(place.store.scan_names()) == names
    assert set(place.reopen().scan_names()) == names
    place.store.commit([deepcopy(step)])
    assert set(place.store.scan_names()) == names


def test_a_name_may_be_longer_than_a_key(place: Place) -> None:
    longest = "Shop." + "Long" * 200
    record = EventRecord(longest, "s", 0, 5, b"", "", "")
    commit(place.store, Step(append=Append("s", None, [record])))
    assert list(place.reopen().scan_names()) == [("event", longest)]


def test_a_step_that_is_refused_leaves_no_name(store: Store) -> None:
    commit(store, append("s"))
    refused = [move("o1", 2, process="P"), append("s", "x", expected=7)]
    assert not any(outcome.is_committed for outcome in store.commit(refused))
    assert list(store.scan_names()) == [("event", "Shop.Happened.v1")]


# Scans


@pytest.fixture(params=[(4, 256), (1, 1), (2, 3)], ids=["as it is", "single rows", "few rows"])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much a scan reads at a time."""
    first, more = request.param
    monkeypatch.setattr("procession.store.reads.FIRST_PAGE", first)
    monkeypatch.setattr("procession.store.reads.PAGE", more)


def test_a_scan_comes_to_everything_in_order(place: Place, pages: None) -> None:
    del pages
    commit(place.store, append("s", *"abcdefg"), append("t", "h"), append("s", "i"))
    commit(place.store, *(move("o1", version) for version in range(1, 9)))
    commit(place.store, *(move(name) for name in TRICKY_IDS if name != "o1"))
    commit(place.store, Step(enqueue=[command(f"c{n}") for n in range(9)]))
    commit(place.store, *(park(position, "p") for position in range(1, 8)))
    commit(place.store, *(wait(position) for position in range(3, 12)))
    commit(place.store, *(extras(refusal=refusal(f"c{n}")) for n in range(6)))
    names = [f"o{n}" for n in range(7)]
    commit(place.store, *(extras(name, index=[("email", None, "a@b")]) for name in names))
    store = place.reopen()
    assert list(store.scan_log()) == store.read_log(0, ALL)
    assert list(store.scan_log(5)) == store.read_log(5, ALL)
    assert list(store.scan_stream("s")) == store.read_stream("s", 0, ALL)
    assert list(store.scan_stream("s", 3)) == store.read_stream("s", 3, ALL)
    assert [one.version for one in store.scan_transitions(ORDERS, "o1", 2)] == [*range(3, 9)]
    started = ["o1", *(name for name in TRICKY_IDS if name != "o1")]
    assert [name for name, _ in store.scan_instances(ORDERS)] == started
    assert list(store.scan_queue()) == store.read_queue(0, ALL)
    assert [one.number for one in store.scan_parked()] == [*range(1, 8)]
    assert list(store.scan_waiting(ORDERS, "o1", 4)) == [*range(5, 12)]
    assert [one.sequence for one in store.scan_refusals(1)] == [*range(2, 7)]
    assert list(store.scan_index(ORDERS, "email", "a@b")) == names


def test_a_scan_goes_on_after_what_was_written_meanwhile(store: Store, pages: None) -> None:
    del pages
    commit(store, append("s", *"abcdefg"))
    found = store.scan_log()
    first = [next(found).data for _ in range(3)]
    commit(store, append("t", *(["x"] * 3_000)))
    assert [*first, *(one.data for one in found)][:8] == [bytes([one]) for one in b"abcdefgx"]


def test_single_records_are_found_by_their_numbers(place: Place) -> None:
    commit(place.store, append("t"), append("s", "a", "b"), move("o1", 1), move("o1", 2))
    commit(place.store, extras(refusal=refusal(), block=Block("retry", 3)))
    store = place.reopen()
    log = store.read_log(0, ALL)
    assert [store.event_at(position) for position in range(5)] == [None, *log, None]
    assert [store.event_in("s", version) for version in range(4)] == [None, *log[1:], None]
    history = store.read_transitions(ORDERS, "o1", 0, ALL)
    found = [store.transition_at(ORDERS, "o1", version) for version in range(4)]
    assert found == [None, *history, None]
    assert [store.refusal_at(sequence) for sequence in (0, 1, 2)] == [
        None,
        *store.read_refusals(0, 1),
        None,
    ]
    assert store.block_of(ORDERS, "o1") == Block("retry", 3)
    assert store.block_of(ORDERS, "o2") is None


# Ids of events


def test_an_event_published_twice_is_stored_once_and_answers_its_position(place: Place) -> None:
    commit(place.store, append("t"), publish("e1"), append("t"))
    before = everything(place.store)
    assert place.store.commit([publish("e1")]) == [Duplicate(position=2)]
    assert place.reopen().commit([publish("e1")]) == [Duplicate(position=2)]
    assert everything(place.store) == before
    assert place.store.position_of("e1") == 2


def test_an_event_published_twice_in_one_commit_is_stored_once(store: Store) -> None:
    outcomes = store.commit([publish("e1"), publish("e2"), publish("e1")])
    assert outcomes == [Committed(), Committed(), Duplicate(position=1)]
    assert [record.event_id for record in store.read_log(0, ALL)] == ["e1", "e2"]


def test_an_event_published_again_for_another_stream_is_the_same_event(store: Store) -> None:
    commit(store, publish("e1", "s"))
    assert store.commit([publish("e1", "t")]) == [Duplicate(position=1)]
    assert store.read_stream("t", 0, ALL) == []


def test_an_id_that_the_store_made_cannot_be_given_to_another_event(store: Store) -> None:
    commit(store, append("t"), append("s"), append("s"))
    assert store.commit([publish("s@2", "u")]) == [named("s@2", 3, "s")]
    outcomes = store.commit([append("u"), publish("u@1", "t")])
    assert outcomes == [Committed(), named("u@1", 4, "u")]
    assert store.last_position() == 4


def test_an_id_that_looks_as_if_the_store_had_made_it_can_be_given(place: Place) -> None:
    commit(place.store, publish("s@1", "s"), publish("s@7", "s"))
    assert place.reopen().commit([publish("s@1"), publish("s@7")]) == [
        Duplicate(position=1),
        Duplicate(position=2),
    ]
    assert [record.event_id for record in place.store.read_log(0, ALL)] == ["s@1", "s@7"]


@pytest.mark.parametrize(
    "look_alike", ["s@01", "s@+1", "s@ 1", "s@\u0661", "s@1_", "@1", "s@", "s@0"]
)
def test_an_id_that_only_resembles_one_of_the_store_is_another_id(
    store: Store, look_alike: str
) -> None:
    commit(store, append("s"))
    assert store.position_of(look_alike) == 0
    commit(store, publish(look_alike))
    assert store.position_of(look_alike) == 2


def test_an_event_with_an_id_of_its_own_has_not_the_id_of_its_place(store: Store) -> None:
    commit(store, publish("e1", "s"))
    assert store.position_of("s@1") == 0
    commit(store, publish("s@1", "t"))
    assert store.position_of("s@1") == 2
    assert store.position_of("e1") == 1


# Commands


def test_the_result_of_a_command_is_kept(place: Place) -> None:
    commit(place.store, append("t"))
    step = append("s", "a", "b")
    step.given, step.result = command("c1"), CommandResult()
    commit(
        place.store,
        step,
        Step(given=command("c2"), result=CommandResult(refusal="too late")),
        Step(given=command("c3"), result=CommandResult()),
    )
    store = place.reopen()
    assert store.result_of("c1") == CommandResult(2, 2, None)
    assert store.result_of("c2") == CommandResult(0, 0, "too late")
    assert store.result_of("c3") == CommandResult(0, 0, None)
    assert store.result_of("c4") is None


def test_a_command_carried_out_again_answers_what_came_of_it(store: Store) -> None:
    step = append("s")
    step.given, step.result = command("c1"), CommandResult()
    commit(store, step)
    before = everything(store)
    again = append("s")
    again.given, again.result = command("c1"), CommandResult()
    assert store.commit([again]) == [Duplicate(result=CommandResult(1, 1, None))]
    assert store.commit([accepting(command("c1"))]) == [Duplicate(result=CommandResult(1, 1, None))]
    assert everything(store) == before


def test_a_command_carried_out_twice_in_one_commit_takes_effect_once(store: Store) -> None:
    outcomes = store.commit(
        [
            Step(given=command("c1"), result=CommandResult(refusal=why))
            for why in ("first", "second")
        ]
    )
    assert outcomes == [Committed(), Duplicate(result=CommandResult(refusal="first"))]


def test_accepting_a_command_gives_it_no_result_yet(store: Store) -> None:
    commit(store, accepting(command("c1")))
    assert store.result_of("c1") is None


def told(command_id: str = "c1", content: bytes = b"one") -> CommandRecord:
    """A command from outside that says what tells it from others."""
    record = command(command_id)
    record.digest = content
    return record


def is_taken(result: CommandResult | None = None) -> IdTaken:
    return IdTaken("c1", "Shop.Do.v1", "s", 1_700_001, result=result)


def test_an_id_is_taken_from_when_its_command_is_accepted(place: Place) -> None:
    first = told()
    outcomes = place.store.commit(
        [accepting(first), accepting(told()), accepting(told(content=b"two"))]
    )
    assert outcomes == [Committed(), Duplicate(), is_taken()]
    store = place.reopen()
    assert store.commit([accepting(told()), accepting(told(content=b"two"))]) == outcomes[1:]
    assert store.given_command("c1") == GivenCommand("Shop.Do.v1", "s", 1_700_001, b"one")
    assert store.result_of("c1") is None
    # Who cannot wait for the queue may carry it out; the queued one is a duplicate then.
    no = CommandResult(refusal="no", error=b"error")
    (queued,) = store.read_queue(0, ALL)
    outcomes = store.commit(
        [
            Step(given=told(content=b"two"), result=CommandResult()),
            Step(given=told(), result=no),
            Step(take=queued.sequence, given=queued, result=CommandResult()),
        ]
    )
    assert outcomes == [is_taken(), Committed(), Duplicate(result=no)]
    assert place.reopen().given_command("c1") == GivenCommand(
        "Shop.Do.v1", "s", 1_700_001, b"one", no
    )


def test_an_id_that_was_accepted_is_kept_when_its_command_is_taken_or_parked(place: Place) -> None:
    record = told()
    commit(place.store, accepting(record), Step(take=record.sequence, park=parked(0)))
    assert place.reopen().commit([accepting(told(content=b"two"))]) == [is_taken()]


def test_an_id_without_a_digest_is_answered_whatever_comes_under_it(store: Store) -> None:
    commit(store, Step(given=command(), result=CommandResult()), publish("e1"))
    assert store.commit([accepting(told())]) == [Duplicate(result=CommandResult())]
    again = publish("e1")
    assert again.append is not None
    again.append.events[0].digest = b"two"
    assert store.commit([again]) == [Duplicate(position=1)]


def test_another_event_under_an_id_is_refused_in_the_same_commit_and_later(place: Place) -> None:
    def published(content: bytes) -> Step:
        step = publish("e1")
        assert step.append is not None
        step.append.events[0].digest = content
        return step

    taken = IdTaken("e1", "Shop.Happened.v1", "s", 1_700_000, 1)
    outcomes = [Committed(), Duplicate(position=1), taken]
    assert place.store.commit([published(b"one"), published(b"one"), published(b"two")]) == outcomes
    assert place.reopen().commit([published(b"one"), published(b"two")]) == outcomes[1:]


def test_a_store_keeps_its_secret_and_another_store_has_another(place: Place) -> None:
    secret = place.store.secret()
    commit(place.store)
    commit(place.store, append())
    assert len(secret) == 32
    assert place.reopen().secret() == secret
    assert Store(DictionaryEngine()).secret() != secret


def test_a_queued_command_comes_back_as_it_was_given(place: Place) -> None:
    issued, told = command("c1", process=ORDERS), command("c2")
    issued.causation_id, issued.depth = "s@1", 3
    commit(place.store, Step(enqueue=[issued, told]))
    assert place.reopen().read_queue(0, ALL) == [issued, told]


def test_the_queue_has_two_lanes_and_issued_commands_come_first(store: Store) -> None:
    commit(store, Step(enqueue=[command("told 1"), command("issued 1", process=ORDERS)]))
    commit(store, Step(enqueue=[command("issued 2", process=ORDERS)]))
    commit(store, Step(enqueue=[command("told 2")]))
    queue = store.read_queue(0, ALL)
    assert [(record.sequence, record.command_id) for record in queue] == [
        (1, "issued 1"),
        (2, "issued 2"),
        (FROM_OUTSIDE + 1, "told 1"),
        (FROM_OUTSIDE + 2, "told 2"),
    ]
    assert store.last_sequences() == (2, FROM_OUTSIDE + 2)


def test_the_queue_is_read_in_pages_of_either_lane(store: Store) -> None:
    told = [command(f"told {n}") for n in range(3)]
    issued = [command(f"issued {n}", process=ORDERS) for n in range(3)]
    commit(store, Step(enqueue=told + issued))
    assert store.read_queue(0, 2) == issued[:2]
    assert store.read_queue(2, 2) == [issued[2], told[0]]
    assert store.read_queue(FROM_OUTSIDE, 2) == told[:2]
    assert store.read_queue(FROM_OUTSIDE + 2, 2) == told[2:]
    assert store.read_queue(FROM_OUTSIDE + 3, 2) == []
    assert store.read_queue(0, 0) == []


def test_a_taken_command_leaves_the_queue(store: Store) -> None:
    commit(store, Step(enqueue=[command(f"c{n}", process=ORDERS) for n in range(3)]))
    commit(store, Step(take=2))
    assert [record.sequence for record in store.read_queue(0, ALL)] == [1, 3]


@pytest.mark.parametrize("lane", ["issued", "from outside"])
def test_a_ticket_can_be_taken_once(place: Place, lane: str) -> None:
    record = command("c9", process=ORDERS if lane == "issued" else None)
    commit(place.store, Step(enqueue=[record]))
    take = Step(take=record.sequence)
    assert place.store.commit([take, take]) == [Committed(), Duplicate()]
    assert place.store.commit([take]) == [Duplicate()]
    assert place.reopen().commit([take]) == [Duplicate()]


def test_a_ticket_taken_again_answers_the_result_of_its_command(store: Store) -> None:
    record = command("c1")
    commit(store, accepting(record))

    def refusing() -> Step:
        return Step(take=record.sequence, given=record, result=CommandResult(refusal="no"))

    assert store.commit([refusing(), refusing()]) == [
        Committed(),
        Duplicate(result=CommandResult(refusal="no")),
    ]


def test_a_ticket_is_not_given_out_again_while_the_store_is_open(store: Store) -> None:
    first, second = command("c1", process=ORDERS), command("c2", process=ORDERS)
    commit(store, Step(enqueue=[first]), Step(take=1), Step(enqueue=[second]))
    assert (first.sequence, second.sequence) == (1, 2)


def test_new_tickets_follow_those_that_were_queued_before_a_reopen(place: Place) -> None:
    commit(place.store, Step(enqueue=[command("a", process=ORDERS), command("b")]))
    store = place.reopen()
    assert store.last_sequences() == (1, FROM_OUTSIDE + 1)
    commit(store, Step(enqueue=[command("c", process=ORDERS), command("d")]))
    assert [record.command_id for record in store.read_queue(0, ALL)] == ["a", "c", "b", "d"]


# Transitions


def test_the_last_transition_holds_the_state(place: Place) -> None:
    commit(place.store, move("o1", 1), move("o2", 1), move("o1", 2))
    store = place.reopen()
    assert store.last_transition(ORDERS, "o1") == transition(2)
    assert store.last_transition(ORDERS, "o2") == transition(1)
    assert store.last_transition(ORDERS, "o3") is None
    assert store.last_transition("Returns", "o1") is None


def test_a_transition_comes_back_as_it_was_given(place: Place) -> None:
    given = TransitionRecord(
        1,
        1_700_002,
        "on_happened",
        True,
        "s@1",
        "corr",
        7,
        b"\x80",
        [("c1", "Shop.Do.v1", b"do"), ("c2", "Shop.Do.v1", b"")],
        {"too late": 1_800_000, "c9": 1_900_000},
        "out of stock",
        3,
    )
    commit(place.store, Step(process=ORDERS, instance="o1", transition=given))
    assert place.reopen().last_transition(ORDERS, "o1") == given


def test_transitions_are_read_in_pages_of_versions(store: Store) -> None:
    commit(store, *(move("o1", version) for version in range(1, 6)), move("o2"), move("o"))
    assert store.read_transitions(ORDERS, "o1", 0, 2) == [transition(1), transition(2)]
    assert store.read_transitions(ORDERS, "o1", 2, 2) == [transition(3), transition(4)]
    assert store.read_transitions(ORDERS, "o1", 4, 2) == [transition(5)]
    assert store.read_transitions(ORDERS, "o1", 5, 2) == []
    assert store.read_transitions(ORDERS, "o1", 0, 0) == []


@pytest.mark.parametrize("version", [1, 2, 4, 9])
def test_a_transition_that_does_not_follow_the_last_is_a_conflict(
    store: Store, version: int
) -> None:
    commit(store, move("o1", 1), move("o1", 2))
    before = everything(store)
    (outcome,) = store.commit([move("o1", version, "other")])
    assert isinstance(outcome, Conflict)
    assert "'o1'" in outcome.reason
    assert everything(store) == before


def test_the_first_transition_of_an_instance_has_version_1(store: Store) -> None:
    assert isinstance(store.commit([move("o1", 2)])[0], Conflict)
    assert store.last_transition(ORDERS, "o1") is None
    assert list(store.scan_instances(ORDERS)) == []


def test_the_same_transition_twice_in_one_commit_is_made_once(store: Store) -> None:
    outcomes = store.commit([move("o1", 1, "first"), move("o1", 1, "second")])
    assert [type(outcome) for outcome in outcomes] == [Committed, Conflict]
    assert store.read_transitions(ORDERS, "o1", 0, ALL) == [transition(1, "first")]


# Instances


def test_instances_are_listed_in_the_order_in_which_they_started_with_their_newest_transition(
    place: Place,
) -> None:
    commit(place.store, *(move(name, 1) for name in TRICKY_IDS))
    commit(place.store, *(move(name, 2, name) for name in reversed(TRICKY_IDS)))
    assert list(place.reopen().scan_instances(ORDERS)) == [
        (name, transition(2, name)) for name in TRICKY_IDS
    ]


def test_the_transitions_of_all_instances_are_listed_in_the_order_in_which_they_were_made(
    place: Place, pages: None
) -> None:
    del pages
    commit(place.store, move("b"), move("a"), move("b", 2), move("b", process="Returns"))
    for store in place.before_and_after():
        found = [(n, one[:2]) for n, one in store.scan_all_transitions() if isinstance(one, tuple)]
        assert found == [
            (1, (ORDERS, "b")),
            (2, (ORDERS, "a")),
            (3, (ORDERS, "b")),
            (4, ("Returns", "b")),
        ]
        assert [n for n, _ in store.scan_all_transitions(3)] == [4]
        assert store.last_transition_number() == 4
        assert [store.started_as(ORDERS, name) for name in ("a", "b", "c")] == [2, 1, 0]
        assert list(store.scan_started(ORDERS, 1)) == [(2, "a")]


def test_instances_after_a_transition_are_those_that_started_behind_it(store: Store) -> None:
    commit(store, move("c"), move("c", 2), move("a"), move("x", process="Returns"), move("ca"))

    def after(place: int) -> list[str]:
        return [name for name, _ in store.scan_instances(ORDERS, place)]

    assert [after(place) for place in range(6)] == [
        ["c", "a", "ca"],
        ["a", "ca"],
        ["a", "ca"],
        ["ca"],
        ["ca"],
        [],
    ]


def test_instances_of_a_process_whose_name_begins_another_are_not_mixed_up(store: Store) -> None:
    processes = ["Order", "Orders", "Orders2", "Ordersé"]
    commit(store, *(move("o1", process=name, state=name) for name in processes))
    for name in processes:
        assert list(store.scan_instances(name)) == [("o1", transition(1, name))]
        assert store.last_transition(name, "o1") == transition(1, name)


# Checkpoints


def test_checkpoints_are_written_with_the_steps_and_stay(place: Place) -> None:
    place.store.commit([append("s")], {ORDERS: 1, "Returns": 1})
    place.store.commit([], {ORDERS: 7})
    place.store.commit([append("s")])
    store = place.reopen()
    assert store.checkpoint(ORDERS) == 7
    assert store.checkpoint("Returns") == 1
    assert store.checkpoint("Order") == 0
    assert dict(store.scan_checkpoints()) == {ORDERS: 7, "Returns": 1}
    assert store.last_position() == 2


def test_a_checkpoint_is_written_beside_a_conflict(store: Store) -> None:
    (outcome,) = store.commit([append("s", expected=3)], {ORDERS: 4})
    assert isinstance(outcome, Conflict)
    assert store.checkpoint(ORDERS) == 4


# Parking


def test_what_was_parked_gets_a_number_and_comes_back_as_it_was_given(place: Place) -> None:
    steps = [park(3), park(4, "o2"), Step(park=parked())]
    commit(place.store, *steps)
    records = [step.park for step in steps]
    assert [record.number for record in records if record is not None] == [1, 2, 3]
    assert list(place.reopen().scan_parked()) == records
    commit(place.store, park(5, "o3"))
    assert [record.number for record in list(place.store.scan_parked())] == [1, 2, 3, 4]


def test_what_was_parked_is_found_by_its_number_until_it_is_decided(store: Store) -> None:
    commit(store, *(park(position) for position in range(1, 4)))
    found = store.parked_as(2)
    assert found is not None
    assert (found.number, found.position) == (2, 2)
    assert [record.number for record in store.scan_parked(1)] == [2, 3]
    commit(store, decide(2))
    assert store.parked_as(2) is None
    assert store.parked_as(0) is None


def test_a_listing_of_what_is_parked_goes_on_behind_a_number(store: Store) -> None:
    commit(store, *(park(position) for position in range(1, 5)), decide(2))
    assert [number for number, _ in store.scan_parked_through(after=1)] == [3, 4]
    assert [number for number, _ in store.scan_parked_through(after=3)] == [4]
    assert list(store.scan_parked_through(after=4)) == []
    assert [number for number, _ in store.scan_parked_through(decided=True, after=2)] == []


def test_a_listing_of_what_is_blocked_goes_on_behind_an_instance(store: Store) -> None:
    names = sorted(one for one in TRICKY_IDS if len(one) < 9)
    commit(store, *(extras(name, block=Block("retry", 3)) for name in names))
    commit(store, extras("o2", process="Other", block=Block("retry", 3)))
    for place, name in enumerate(names):
        assert list(store.scan_blocked(ORDERS, name)) == names[place + 1 :]


def test_an_event_is_parked_once_for_an_instance(place: Place) -> None:
    commit(place.store, park(3))
    before = everything(place.store)
    assert place.store.commit([park(3)]) == [Duplicate(position=3)]
    assert place.reopen().commit([park(3)]) == [Duplicate(position=3)]
    assert everything(place.store) == before
    commit(place.store, park(3, "o2"))


def test_an_event_parked_twice_in_one_commit_is_parked_once(store: Store) -> None:
    assert store.commit([park(3), park(3)]) == [Committed(), Duplicate(position=3)]
    assert len(list(store.scan_parked())) == 1


def test_what_was_parked_comes_back_with_all_its_fields(place: Place) -> None:
    given = parked(3)
    given.command, given.name, given.sequence = command("c7"), "too late", 4
    given.blocks, given.effect = True, "send_letter"
    commit(place.store, Step(park=given))
    assert list(place.reopen().scan_parked()) == [given]


def test_commands_timeouts_and_refusals_are_parked_as_often_as_they_fail(store: Store) -> None:
    late, told = parked(), parked()
    late.name, told.sequence = "too late", 4
    commit(store, *(Step(park=record) for record in (parked(), parked(), late, late, told, told)))
    assert [record.number for record in list(store.scan_parked())] == [1, 2, 3, 4, 5, 6]


def test_an_event_is_parked_once_for_the_handlers_and_once_for_each_effect(place: Place) -> None:
    def failed(effect: str, position: int = 3) -> Step:
        step = park(position)
        assert step.park is not None
        step.park.effect = effect
        return step

    commit(place.store, *(failed(effect) for effect in ("", "send_letter", "print")))
    commit(place.store, failed("print", 4))
    for effect in ("", "send_letter", "print"):
        assert place.reopen().commit([failed(effect)]) == [Duplicate(position=3)]


def test_parking_alone_lets_nobody_wait(place: Place) -> None:
    commit(place.store, park(3), Step(process=ORDERS, instance="o1", park=parked()))
    for store in place.before_and_after():
        assert store.last_waiting(ORDERS, "o1") == 0
        assert store.read_waiting(ORDERS, "o1", 0, ALL) == (None, [])
        assert list(store.scan_ready()) == []


# Decisions


def test_what_was_decided_moves_there_with_what_when_and_who(place: Place) -> None:
    first, second = park(3), park(4)
    commit(place.store, first, second)
    commit(place.store, decide(1, "retry"))
    commit(place.store, extras(unpark=2, decision=("skip", 1_700_005, None)))
    store = place.reopen()
    assert first.park is not None
    assert second.park is not None
    first.park.decision = ("retry", 1_700_004, "ann")
    second.park.decision = ("skip", 1_700_005, None)
    assert list(store.scan_parked()) == []
    assert list(store.scan_parked(decided=True)) == [first.park, second.park]


def test_a_parked_command_is_there_again_after_a_decision(place: Place) -> None:
    commit(place.store, Step(park=parked()), decide(1))
    (record,) = list(place.reopen().scan_parked(decided=True))
    assert record.command == command()


def test_what_was_decided_is_in_order_of_its_number(store: Store) -> None:
    commit(store, *(park(position) for position in range(1, 6)))
    commit(store, *(decide(number) for number in (5, 1, 3, 4)))
    assert [record.number for record in store.scan_parked(1, decided=True)] == [3, 4, 5]
    assert [record.number for record in list(store.scan_parked())] == [2]


def test_of_two_decisions_the_first_counts(place: Place) -> None:
    commit(place.store, park(3))
    assert place.store.commit([decide(1, "skip"), decide(1, "retry")]) == [
        Committed(),
        Duplicate(),
    ]
    before = everything(place.store)
    assert place.store.commit([decide(1, "retry")]) == [Duplicate()]
    assert place.reopen().commit([decide(1, "retry"), decide(2)]) == [Duplicate(), Duplicate()]
    assert everything(place.store) == before


def test_one_decision_is_about_all_that_is_parked_of_an_instance_or_about_nothing(
    place: Place,
) -> None:
    commit(place.store, park(3), park(4), park(5, "o2"), park(6))
    assert place.store.undecided_of(ORDERS, "o1") == [1, 2, 4]
    ended = extras(unpark_too=[1, 2, 4], decision=("end", 1_700_004, "ann"))
    commit(place.store, decide(2))
    assert place.store.commit([ended]) == [Duplicate()]
    assert place.reopen().undecided_of(ORDERS, "o1") == [1, 4]
    commit(place.store, extras(unpark=1, unpark_too=[4], decision=("end", 1_700_004, "ann")))
    assert place.store.undecided_of(ORDERS, "o1") == []
    decided = {one.number: one.decision for one in place.store.scan_parked(decided=True)}
    assert {number: one and one[0] for number, one in decided.items()} == {
        1: "end",
        2: "skip",
        4: "end",
    }
    assert place.store.commit([park(3)]) == [Duplicate(position=3)], "it comes no second time"


def counts(store: Store) -> dict[tuple[str, ...], int]:
    return {(of, *names): count for of, names, count in store.read_counts() if of != "event"}


def test_counts_are_what_the_commits_say_and_go_when_they_come_to_nothing(place: Place) -> None:
    parked_one = ("parked", ORDERS, "ValueError", "", "")
    running, complete = ("instance", ORDERS, "running"), ("instance", ORDERS, "complete")
    suspended = ("instance", ORDERS, "suspended")
    commit(place.store, move("o1"), move("o2"), move("p", process="Others"))
    assert counts(place.store) == {running: 2, ("instance", "Others", "running"): 1}
    last = move("o2", 2)
    assert last.transition is not None
    last.transition.is_complete = True
    blocks = park(3)
    blocks.extras = StepExtras(block=Block("parked", 3, attempts=1))
    assert blocks.park is not None
    blocks.park.blocks = True
    commit(place.store, last, blocks)
    there = {complete: 1, suspended: 1, parked_one: 1, ("instance", "Others", "running"): 1}
    assert counts(place.reopen()) == there
    place.store.hand_over(move("lost"))
    place.store.hand_over(park(4))
    place.store.drop_commit()
    commit(place.store, park(9), decide(2))
    assert counts(place.store) == there, "what was dropped is not counted, nor what came and went"
    commit(place.store, extras(unpark=1, unblock=True, decision=("skip", 1_700_004, None)))
    commit(place.store, extras(block=Block("retry", 3, attempts=1)))
    assert counts(place.reopen()) == {
        running: 1,
        complete: 1,
        ("instance", "Others", "running"): 1,
    }


def test_an_event_may_be_parked_again_after_the_decision(place: Place) -> None:
    commit(place.store, park(3), decide(1, "retry"))
    commit(place.reopen(), park(3))
    assert place.store.commit([park(3)]) == [Duplicate(position=3)]
    commit(place.store, decide(2, "retry"), park(3))
    assert [record.number for record in list(place.store.scan_parked())] == [3]
    assert [record.number for record in list(place.store.scan_parked(decided=True))] == [1, 2]


def test_an_event_may_be_parked_again_in_the_step_of_the_decision(place: Place) -> None:
    def again(number: int) -> Step:
        step = decide(number, "retry")
        step.park = parked(3)
        return step

    commit(place.store, park(3), again(1), again(2))
    assert place.store.commit([park(3), again(1)]) == [Duplicate(position=3)] * 2
    assert place.reopen().commit([park(3)]) == [Duplicate(position=3)]
    assert [record.number for record in list(place.store.scan_parked())] == [3]
    commit(place.store, decide(3, "retry"), park(3))


def test_what_was_skipped_is_not_parked_again_and_is_known_at_its_instance(place: Place) -> None:
    assert place.store.last_parked(ORDERS, "o1") == 0
    commit(place.store, park(3), park(5), decide(1))
    assert place.reopen().last_parked(ORDERS, "o1") == 5
    commit(place.store, decide(2, "retry"))
    assert place.reopen().last_parked(ORDERS, "o1") == 3
    assert place.store.last_parked(ORDERS, "o") == 0
    assert place.store.commit([park(3)]) == [Duplicate(position=3)]


def test_numbers_go_on_after_a_reopen_when_everything_was_decided(place: Place) -> None:
    commit(place.store, park(3), park(4), decide(2), decide(1))
    commit(place.reopen(), park(5))
    assert [record.number for record in list(place.store.scan_parked())] == [3]


# Waiting


def test_an_instance_waits_for_the_highest_position_that_waits(place: Place) -> None:
    commit(place.store, wait(3), wait(260), wait(5), wait(300, "o2"), park(900))
    for store in place.before_and_after():
        assert store.last_waiting(ORDERS, "o1") == 260
        assert store.last_waiting(ORDERS, "o2") == 300
        assert store.last_waiting(ORDERS, "o") == 0
        assert store.last_waiting("Returns", "o1") == 0


def test_positions_that_wait_are_read_in_pages(store: Store) -> None:
    commit(store, *(wait(position) for position in (260, 3, 9, 5)), wait(4, "o"), wait(6, "o12"))
    assert store.read_waiting(ORDERS, "o1", 0, 2) == (None, [3, 5])
    assert store.read_waiting(ORDERS, "o1", 5, 2) == (None, [9, 260])
    assert store.read_waiting(ORDERS, "o1", 260, 2) == (None, [])
    assert store.read_waiting(ORDERS, "o1", 0, 0) == (None, [])


def test_one_step_may_let_several_instances_wait(place: Place) -> None:
    waits = [(ORDERS, "o1", 3), (ORDERS, "o2", 4), ("Returns", "o1", 5)]
    commit(place.store, Step(extras=StepExtras(waits=waits)))
    store = place.reopen()
    for process, instance, position in waits:
        assert store.read_waiting(process, instance, 0, ALL) == (None, [position])
    assert list(store.scan_ready()) == [waits[0][:2], waits[1][:2], waits[2][:2]]


def test_an_event_waits_once_however_often_it_is_put_there(store: Store) -> None:
    commit(store, wait(3), wait(3), extras(waits=[(ORDERS, "o1", 3)] * 2))
    assert store.read_waiting(ORDERS, "o1", 0, ALL) == (None, [3])
    commit(store, extras(unwait=3))
    assert store.read_waiting(ORDERS, "o1", 0, ALL) == (None, [])


def test_a_waiting_event_is_taken_up_once(place: Place) -> None:
    commit(place.store, wait(3), wait(5), wait(3, "o2"))
    taking = extras(unwait=3)
    assert place.store.commit([taking, taking]) == [Committed(), Duplicate()]
    before = everything(place.store)
    assert place.reopen().commit([taking]) == [Duplicate()]
    assert everything(place.store) == before
    assert place.store.read_waiting(ORDERS, "o1", 0, ALL) == (None, [5])
    assert place.store.read_waiting(ORDERS, "o2", 0, ALL) == (None, [3])


@pytest.mark.parametrize(
    "given",
    [
        Block("retry", 7, attempts=2, due=1_800_000),
        Block("retry", name="too late", attempts=1, due=1_800_000),
        Block("parked", sequence=4, attempts=3, parked=9),
    ],
    ids=["an event", "a timeout", "a refusal"],
)
def test_a_block_comes_back_as_it_was_given(place: Place, given: Block) -> None:
    expected = deepcopy(given)
    commit(place.store, park(3, "o2"), extras(block=given), wait(8))
    assert place.reopen().read_waiting(ORDERS, "o1", 0, ALL) == (expected, [8])
    assert place.store.read_waiting(ORDERS, "o1", 8, 0) == (expected, [])
    assert place.store.read_waiting(ORDERS, "o2", 0, ALL) == (None, [])


def test_a_block_has_the_number_of_what_its_step_parked(place: Place) -> None:
    first = extras(block=Block("parked", 3))
    first.park = parked(3)
    commit(place.store, park(2, "o2"), first, park(4, "o3"))
    block, _ = place.reopen().read_waiting(ORDERS, "o1", 0, ALL)
    assert block == Block("parked", 3, parked=2)


def test_a_block_is_no_position_that_waits(place: Place) -> None:
    commit(place.store, extras(block=Block("retry", 7)))
    for store in place.before_and_after():
        assert store.last_waiting(ORDERS, "o1") == 0
        assert store.read_waiting(ORDERS, "o1", 0, ALL) == (Block("retry", 7), [])


def test_a_new_block_replaces_the_old_one_even_in_the_step_that_ends_it(store: Store) -> None:
    commit(store, extras(block=Block("retry", 7, attempts=1)))
    commit(store, extras(block=Block("retry", 7, attempts=2)))
    assert store.read_waiting(ORDERS, "o1", 0, ALL)[0] == Block("retry", 7, attempts=2)
    commit(store, extras(block=Block("retry", 7, attempts=3), unblock=True))
    assert store.read_waiting(ORDERS, "o1", 0, ALL)[0] == Block("retry", 7, attempts=3)


def test_an_instance_that_goes_on_keeps_what_waits(place: Place) -> None:
    commit(place.store, extras(block=Block("retry", 7)), wait(8), wait(9))
    commit(place.store, extras("o2", block=Block("retry", 7)))
    commit(place.store, extras(unblock=True), extras("o3", unblock=True))
    store = place.reopen()
    assert store.read_waiting(ORDERS, "o1", 0, ALL) == (None, [8, 9])
    assert store.read_waiting(ORDERS, "o2", 0, ALL) == (Block("retry", 7), [])


def test_instances_wait_to_be_taken_up_where_events_wait_and_nothing_blocks(place: Place) -> None:
    blocked = extras("o1", block=Block("retry", 7))
    commit(
        place.store,
        *(wait(position, instance) for instance in ("o1", "o2", "o3") for position in (8, 9)),
        extras("o0", block=Block("retry", 7)),
        blocked,
    )
    assert list(place.reopen().scan_ready()) == [(ORDERS, "o2"), (ORDERS, "o3")]
    commit(place.store, extras("o1", unblock=True), extras("o2", unwait=8))
    commit(place.store, extras("o3", unwait=8), extras("o3", unwait=9))
    assert list(place.reopen().scan_ready()) == [(ORDERS, "o1"), (ORDERS, "o2")]


def test_whether_anything_is_blocked_is_told_by_process_manager(place: Place) -> None:
    assert not place.store.any_blocked(ORDERS)
    commit(
        place.store,
        *(wait(position, instance) for instance in ("o1", "o2") for position in (8, 9)),
    )
    assert not place.reopen().any_blocked(ORDERS)
    commit(place.store, extras("o2", block=Block("retry", 7)))
    assert place.reopen().any_blocked(ORDERS)
    assert not place.store.any_blocked(ORDERS[:-1])
    assert not place.store.any_blocked(f"{ORDERS}X")
    commit(place.store, extras("o2", unblock=True))
    assert not place.reopen().any_blocked(ORDERS)


def test_instances_that_are_to_take_up_events_come_in_order_without_the_blocked(
    store: Store, pages: None
) -> None:
    del pages
    others = [("Order", "z"), ("Orders2", "a"), ("Return", "o1"), ("é", "é")]
    wanted = sorted([*((ORDERS, name) for name in TRICKY_IDS), *others])
    commit(store, *(wait(7, instance, process=process) for process, instance in reversed(wanted)))
    commit(store, *(wait(8, instance, process=process) for process, instance in wanted))
    commit(store, extras("o3", block=Block("retry", 7)), wait(8, "o3"))
    assert list(store.scan_ready()) == wanted


# Timers


def test_timers_come_in_order_of_time_as_they_were_given(place: Place) -> None:
    delayed = TimerRecord(300, ORDERS, "o1", "c9", "command", command=command("c9", process=ORDERS))
    given = [
        timer(1_700_000_000_000_000),
        timer(2),
        delayed,
        TimerRecord(256, ORDERS, "o1", "retry", "retry"),
    ]
    commit(place.store, extras(timers=given))
    assert timers(place.reopen()) == [given[1], given[3], delayed, given[0]]


def test_timers_are_read_up_to_a_time(store: Store) -> None:
    commit(store, extras(timers=[timer(due) for due in (10, 20, 30)]))
    assert timers(store, 9) == []
    assert timers(store, 10) == [timer(10)]
    assert timers(store, 29) == [timer(10), timer(20)]
    assert timers(store, 30) == [timer(10), timer(20), timer(30)]


def test_timers_come_with_the_key_to_go_on_after(place: Place, pages: None) -> None:
    del pages
    given = [timer(20, name) for name in "abcde"] + [timer(10), timer(30), timer(40)]
    commit(place.store, extras(timers=given))
    store = place.reopen()
    found = list(store.scan_timers(30))
    assert [record.due for _, record in found] == [10, 20, 20, 20, 20, 20, 30]
    assert {record.name for _, record in found} == {*"abcde", "too late"}
    for count, (key, _) in enumerate(found, 1):
        assert list(store.scan_timers(30, key)) == found[count:]
    assert list(store.scan_timers(39, found[-1][0])) == []


def test_timers_go_on_after_one_that_has_gone(store: Store) -> None:
    commit(store, extras(timers=[timer(10), timer(20), timer(30)]))
    ((after, _),) = list(store.scan_timers(15))
    commit(store, extras(due=timer(10)))
    assert [record.due for _, record in store.scan_timers(30, after)] == [20, 30]


def test_timers_at_one_time_differ_by_process_instance_kind_and_name(store: Store) -> None:
    others = [
        timer(10),
        timer(10, "other"),
        timer(10, instance="o2"),
        timer(10, process="Returns"),
        TimerRecord(10, ORDERS, "o1", "too late", "retry"),
    ]
    commit(store, extras(timers=others))
    assert len(timers(store)) == len(others)
    commit(store, extras(due=others[0]), extras(cancel=[others[4]]))
    left = timers(store)
    assert len(left) == 3
    assert all(record in left for record in others[1:4])


def test_a_timer_that_is_set_again_for_the_same_time_is_one_timer(store: Store) -> None:
    commit(store, extras(timers=[timer(10)]), extras(timers=[timer(10), timer(10)]))
    assert timers(store) == [timer(10)]


def test_a_timer_is_moved_by_cancelling_and_setting_it_in_one_step(place: Place) -> None:
    commit(place.store, extras(timers=[timer(10)]))
    commit(place.store, extras(cancel=[timer(10)], timers=[timer(20)]))
    assert timers(place.store) == [timer(20)]
    commit(place.store, extras(cancel=[timer(20)], timers=[timer(20)]))
    commit(place.store, extras(due=timer(20), timers=[timer(20)]))
    assert timers(place.reopen()) == [timer(20)]


def test_cancelling_what_is_not_set_is_no_error(place: Place) -> None:
    commit(place.store, extras(timers=[timer(10)]))
    commit(place.store, extras(cancel=[timer(10), timer(11)]), extras(cancel=[timer(10)]))
    assert timers(place.reopen()) == []


def test_a_timer_fires_once(place: Place) -> None:
    commit(place.store, extras(timers=[timer(10), timer(20)]))

    def firing() -> Step:
        step = move("o1")
        step.extras = StepExtras(due=timer(10), timers=[timer(30)])
        return step

    assert place.store.commit([firing(), firing()]) == [Committed(), Duplicate()]
    before = everything(place.store)
    assert place.reopen().commit([firing()]) == [Duplicate()]
    assert everything(place.store) == before
    assert timers(place.store) == [timer(20), timer(30)]


def test_a_timer_that_was_cancelled_or_moved_does_not_fire(store: Store) -> None:
    commit(store, extras(timers=[timer(10), timer(20)]))
    commit(store, extras(cancel=[timer(10), timer(20)], timers=[timer(21)]))
    before = everything(store)
    assert store.commit([extras(due=timer(10)), extras(due=timer(20))]) == [Duplicate()] * 2
    assert everything(store) == before


# Learnt keys


def learn(instance: str, old: str | None, new: str | None, *, field: str = "email") -> Step:
    return extras(instance, index=[(field, old, new)])


def test_a_learnt_key_finds_its_instance_until_it_changes(place: Place) -> None:
    commit(place.store, learn("o1", None, "old"))
    assert place.reopen().read_index(ORDERS, "email", "old") == ["o1"]
    commit(place.store, learn("o1", "old", "new"))
    assert place.reopen().read_index(ORDERS, "email", "old") == []
    assert place.store.read_index(ORDERS, "email", "new") == ["o1"]
    commit(place.store, learn("o1", "new", None))
    assert place.reopen().read_index(ORDERS, "email", "new") == []


def test_several_instances_may_learn_the_same_value(place: Place) -> None:
    commit(place.store, *(learn(name, None, "same") for name in reversed(TRICKY_IDS)))
    assert place.reopen().read_index(ORDERS, "email", "same") == sorted(TRICKY_IDS)
    commit(place.store, learn("o1", "same", "other"), learn("日本", "same", None))
    gone = {"o1", "日本"}
    assert place.store.read_index(ORDERS, "email", "same") == sorted({*TRICKY_IDS} - gone)
    assert place.store.read_index(ORDERS, "email", "other") == ["o1"]


def test_values_of_other_fields_and_processes_are_not_mixed_up(store: Store) -> None:
    values = ["", "a", "ab", "é", "a" * 10_000]
    commit(store, *(learn(f"i{n}", None, value) for n, value in enumerate(values)))
    commit(store, learn("phone", None, "a", field="phone"))
    commit(store, extras("other", process="Order", index=[("email", None, "a")]))
    for n, value in enumerate(values):
        assert store.read_index(ORDERS, "email", value) == [f"i{n}"]
    assert store.read_index(ORDERS, "phone", "a") == ["phone"]
    assert store.read_index("Order", "email", "a") == ["other"]
    assert store.read_index("Order", "phone", "a") == []


def test_a_step_may_learn_several_keys_and_the_same_value_again(store: Store) -> None:
    commit(store, extras(index=[("email", None, "a"), ("phone", None, "1")]))
    commit(store, extras(index=[("email", "a", "a"), ("phone", "1", "2")]))
    assert store.read_index(ORDERS, "email", "a") == ["o1"]
    assert store.read_index(ORDERS, "phone", "1") == []
    assert store.read_index(ORDERS, "phone", "2") == ["o1"]


# Refusals


def test_a_refusal_gets_a_number_and_comes_back_as_it_was_given(place: Place) -> None:
    steps = [extras(refusal=refusal(name)) for name in ("c1", "c2")]
    commit(place.store, *steps)
    given = [step.extras.refusal for step in steps if step.extras is not None]
    assert [record.sequence for record in given if record is not None] == [1, 2]
    assert place.reopen().read_refusals(0, ALL) == given


def test_a_refusal_is_told_once(place: Place) -> None:
    commit(place.store, extras(refusal=refusal("c1")), extras(refusal=refusal("c2")))

    def telling() -> Step:
        step = move("o1")
        step.extras = StepExtras(told=1)
        return step

    assert place.store.commit([telling(), telling()]) == [Committed(), Duplicate()]
    before = everything(place.store)
    assert place.reopen().commit([telling()]) == [Duplicate()]
    assert everything(place.store) == before
    assert [record.sequence for record in place.store.read_refusals(0, ALL)] == [2]


def test_refusals_are_read_in_pages(store: Store) -> None:
    commit(store, *(extras(refusal=refusal(f"c{n}")) for n in range(1, 6)), extras(told=2))

    def sequences(after: int, limit: int) -> list[int]:
        return [record.sequence for record in store.read_refusals(after, limit)]

    assert sequences(0, 2) == [1, 3]
    assert sequences(3, 2) == [4, 5]
    assert sequences(5, 2) == []
    assert sequences(0, 0) == []


def test_new_refusals_follow_those_that_are_not_told(place: Place) -> None:
    commit(place.store, extras(refusal=refusal("c1")), extras(refusal=refusal("c2")))
    commit(place.store, extras(told=2), extras(refusal=refusal("c3")))
    assert [record.sequence for record in place.store.read_refusals(0, ALL)] == [1, 3]
    commit(place.reopen(), extras(refusal=refusal("c4")))
    assert [record.sequence for record in place.store.read_refusals(0, ALL)] == [1, 3, 4]


# Snapshots


def test_the_newest_snapshot_of_a_stream_is_kept(place: Place) -> None:
    def snapshot(stream: str, version: int, state: bytes) -> Step:
        step = append(stream)
        step.extras = StepExtras(snapshot=(version, state))
        return step

    commit(place.store, snapshot("s", 1, b"one"), snapshot("s", 2, b"\x00\xff"))
    commit(place.store, snapshot("s1", 1, b"other"), append("s"))
    store = place.reopen()
    assert store.read_snapshot("s") == (2, b"\x00\xff")
    assert store.read_snapshot("s1") == (1, b"other")
    assert store.read_snapshot("t") is None


def test_a_step_that_conflicts_leaves_the_snapshot_as_it_is(store: Store) -> None:
    first, second = append("s", expected=0), append("s", expected=0)
    first.extras, second.extras = StepExtras(snapshot=(1, b"one")), StepExtras(snapshot=(1, b"two"))
    outcomes = store.commit([first, second])
    assert [type(outcome) for outcome in outcomes] == [Committed, Conflict]
    assert store.read_snapshot("s") == (1, b"one")


# Closing


def test_everything_is_there_after_closing_and_opening_again(place: Place) -> None:
    commit(place.store, *prepared(), publish("e1", "t"))
    place.store.commit([of_all_kinds(), move("o2"), move("o2", 2)], {ORDERS: 3})
    before = everything(place.store)
    assert everything(place.reopen()) == before
    assert everything(place.reopen()) == before


def test_a_reopened_store_counts_on(place: Place) -> None:
    commit(place.store, append("s", "a", "b"), park(1))
    commit(place.reopen(), append("s", "c", expected=2), park(2))
    assert [record.position for record in place.store.read_log(0, ALL)] == [1, 2, 3]
    assert [record.number for record in list(place.store.scan_parked())] == [1, 2]


CALLS: dict[str, Callable[[Store], object]] = {
    "commit": lambda store: store.commit([]),
    "hand_over": lambda store: store.hand_over(append("s")),
    "close_commit": lambda store: store.close_commit(),
    "newest_time": lambda store: store.newest_time(),
    "note_backup": lambda store: store.note_backup(LastBackup(1, "copy")),
    "snapshot": lambda store: store.snapshot().__enter__(),
    "stored_snapshot": lambda store: store.stored_snapshot().__enter__(),
    "last_position": lambda store: store.last_position(),
    "read_log": lambda store: store.read_log(0, 1),
    "read_stream": lambda store: store.read_stream("s", 0, 1),
    "position_of": lambda store: store.position_of("e1"),
    "last_transition": lambda store: store.last_transition(ORDERS, "o1"),
    "read_transitions": lambda store: store.read_transitions(ORDERS, "o1", 0, 1),
    "scan_instances": lambda store: list(store.scan_instances(ORDERS)),
    "event_at": lambda store: store.event_at(1),
    "event_in": lambda store: store.event_in("s", 1),
    "transition_at": lambda store: store.transition_at(ORDERS, "o1", 1),
    "stored_transition": lambda store: store.stored_transition(ORDERS, "o1", 1),
    "parked_as": lambda store: store.parked_as(1),
    "gauges": lambda store: store.gauges(0),
    "decided_as": lambda store: store.decided_as(1),
    "block_of": lambda store: store.block_of(ORDERS, "o1"),
    "refusal_at": lambda store: store.refusal_at(1),
    "scan_log": lambda store: list(store.scan_log()),
    "scan_stream": lambda store: list(store.scan_stream("s")),
    "scan_transitions": lambda store: list(store.scan_transitions(ORDERS, "o1")),
    "scan_queue": lambda store: list(store.scan_queue()),
    "scan_waiting": lambda store: list(store.scan_waiting(ORDERS, "o1")),
    "scan_index": lambda store: list(store.scan_index(ORDERS, "email", "old")),
    "scan_refusals": lambda store: list(store.scan_refusals()),
    "read_queue": lambda store: store.read_queue(0, 1),
    "last_sequences": lambda store: store.last_sequences(),
    "last_transition_number": lambda store: store.last_transition_number(),
    "scan_all_transitions": lambda store: list(store.scan_all_transitions()),
    "started_as": lambda store: store.started_as(ORDERS, "o1"),
    "given_command": lambda store: store.given_command("c1"),
    "secret": lambda store: store.secret(),
    "result_of": lambda store: store.result_of("c1"),
    "checkpoint": lambda store: store.checkpoint(ORDERS),
    "scan_checkpoints": lambda store: list(store.scan_checkpoints()),
    "scan_parked": lambda store: list(store.scan_parked()),
    "last_waiting": lambda store: store.last_waiting(ORDERS, "o1"),
    "read_waiting": lambda store: store.read_waiting(ORDERS, "o1", 0, 1),
    "unmatched_at": lambda store: store.unmatched_at(ORDERS, 1),
    "scan_unmatched": lambda store: list(store.scan_unmatched(ORDERS)),
    "scan_ready": lambda store: list(store.scan_ready()),
    "last_parked": lambda store: store.last_parked(ORDERS, "o1"),
    "any_blocked": lambda store: store.any_blocked(ORDERS),
    "waits": lambda store: store.waits(ORDERS, "o1"),
    "held_back": lambda store: store.held_back(timer(5)),
    "timer_of": lambda store: store.timer_of(timer(5)),
    "scan_timers": lambda store: list(store.scan_timers(1)),
    "read_index": lambda store: store.read_index(ORDERS, "email", "old"),
    "read_refusals": lambda store: store.read_refusals(0, 1),
    "document_sets": lambda store: store.document_sets(ORDERS),
    "document_at": lambda store: store.document_at(ORDERS, 1, "k"),
    "documents_at": lambda store: store.documents_at(ORDERS, 1, ["k", "l"]),
    "read_documents": lambda store: store.read_documents(ORDERS, 1, "", None, 1),
    "read_snapshot": lambda store: store.read_snapshot("s"),
    "scan_names": lambda store: list(store.scan_names()),
    "number_of_code": lambda store: store.number_of_code(ORDERS, "cpython-311", b"12345678"),
    "code_at": lambda store: store.code_at(1),
    "scan_codes": lambda store: list(store.scan_codes()),
    "scan_started": lambda store: list(store.scan_started(ORDERS)),
    "scan_log_through": lambda store: list(store.scan_log_through()),
    "scan_stream_through": lambda store: list(store.scan_stream_through("s")),
    "scan_transitions_through": lambda store: list(store.scan_transitions_through(ORDERS, "o1")),
    "scan_parked_through": lambda store: list(store.scan_parked_through()),
    "scan_timers_through": lambda store: list(store.scan_timers_through(1)),
    "scan_blocked": lambda store: list(store.scan_blocked(ORDERS)),
    "stored_checkpoint": lambda store: store.stored_checkpoint(ORDERS),
    "read_counts": lambda store: list(store.read_counts()),
    "position_before": lambda store: store.position_before(1),
    "effect_at": lambda store: store.effect_at(1, ORDERS, "o1"),
    "effects_after": lambda store: store.effects_after(1),
    "is_set_aside": lambda store: store.is_set_aside(ORDERS, "o1", 1),
    "may_set_aside": lambda store: store.may_set_aside(),
    "owed_so_far": lambda store: store.owed_so_far(),
    "owed_at": lambda store: store.owed_at(ORDERS, 1),
    "scan_owed": lambda store: list(store.scan_owed(ORDERS)),
    "scan_set_aside": lambda store: list(store.scan_set_aside(ORDERS, "o1")),
    "undecided_of": lambda store: store.undecided_of(ORDERS, "o1"),
    "read_lane": lambda store: store.read_lane(1, 0, 1),
    "first_sent": lambda store: store.first_sent(1),
    "rows_sent": lambda store: store.rows_sent(1, 0, 9, 9),
    "last_sent": lambda store: store.last_sent(1),
    "positions_of_copies": lambda store: store.positions_of_copies(ORDERS, "s", 1),
    "cursor_of": lambda store: store.cursor_of(1),
    "sent": lambda store: store.sent(2),
    "cursors": lambda store: store.cursors(),
    "all_set_aside": lambda store: store.all_set_aside(ORDERS, [("o1", 1)]),
    "acted_in": lambda store: store.acted_in(ORDERS, [(1, "o1")]),
    "owed_between": lambda store: store.owed_between(ORDERS, 1, 2),
    "event_or_tombstone": lambda store: store.event_or_tombstone(1),
    "tombstone_at": lambda store: store.tombstone_at(1),
    "read_tombstones": lambda store: store.read_tombstones(0, 1),
    "may_be_pruned": lambda store: store.may_be_pruned(),
    "pruned_up_to": lambda store: store.pruned_up_to(),
    "imported_up_to": lambda store: store.imported_up_to(),
    "is_import": lambda store: store.is_import,
    "note_import": lambda store: store.note_import(is_import=True),
    "is_passed_over": lambda store: store.is_passed_over(ORDERS, "o1", 1),
    "last_parked_number": lambda store: store.last_parked_number(),
    "parked_number": lambda store: store.parked_number(parked(1)),
    "last_version": lambda store: store.last_version("s"),
    "version_of": lambda store: store.version_of(ORDERS, "o1"),
    "number_of": lambda store: store.number_of(ORDERS, "o1", 1),
    "transitions_below": lambda store: store.transitions_below(ORDERS, "o1", 2, 1),
    "row_of_transition": lambda store: store.row_of_transition(ORDERS, "o1", 1),
    "read_events": lambda store: store.read_events([1]),
    "rows_behind": lambda store: store.rows_behind("log", b"", 0, 1),
    "rows_between": lambda store: store.rows_between("log", b"", b"x", 1),
    "scan_all_waiting": lambda store: list(store.scan_all_waiting()),
    "scan_command_ids": lambda store: list(store.scan_command_ids()),
    "scan_erasures": lambda store: list(store.scan_erasures()),
    "scan_held": lambda store: list(store.scan_held(ORDERS)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_store_says_so(store: Store, call: Callable[[Store], object]) -> None:
    store.close()
    with pytest.raises(ClosedError, match="is closed"):
        call(store)


def test_the_closed_calls_are_all_calls_of_the_port() -> None:
    public = {name for name in dir(Store) if not name.startswith("_")}
    # What was handed over is forgotten without the store, none of its readers is left, and what a
    # codec is told of is nothing that is stored.
    unrefused = {"close", "drop_commit", "encode_apart", "look_after"}
    # It stays known whose the store is, where it is, and what was known of its commits.
    unrefused |= {"check_owner", "location", "commit_count", "is_unsure", "has_format"}
    assert set(CALLS) == public - unrefused


# After-effects of what was set aside


def test_an_effect_is_owed_until_it_is_paid_once(place: Place) -> None:
    commit(place.store, move("o1", 1), extras("o1", owes=3), extras("o2", owes=2))
    commit(place.store, extras("o1", owes=2))
    for store in place.before_and_after():
        assert list(store.scan_owed(ORDERS)) == [(2, "o1", 1), (2, "o2", 0), (3, "o1", 1)]
        assert list(store.scan_owed("Shop.Other")) == []
        assert store.owed_at(ORDERS, 2) == {"o1": 1, "o2": 0}
        assert store.owed_at(ORDERS, 4) == {}
        assert store.owed_between(ORDERS, 1, 2) == {2: {"o1": 1, "o2": 0}}
        assert store.owed_between(ORDERS, 2, 9) == {2: {"o1": 1, "o2": 0}, 3: {"o1": 1}}
        assert store.owed_between("Shop.Other", 1, 9) == {}
        assert store.may_set_aside()
    store = place.store
    paid = extras("o1", paid=3)
    assert store.commit([paid, paid]) == [Committed(), Duplicate()]
    assert list(store.scan_owed(ORDERS)) == [(2, "o1", 1), (2, "o2", 0)]


def test_that_more_is_owed_is_told_when_it_is_durable(place: Place) -> None:
    store = place.store
    assert not store.may_set_aside()
    assert store.owed_so_far() == 0
    store.hand_over(extras("o1", owes=3))
    assert store.owed_so_far() == 0
    store.drop_commit()
    commit(store, extras("o1", owes=3))
    before = store.owed_so_far()
    assert before > 0
    commit(store, extras("o1", paid=3), extras("o1", owes=4))
    assert store.owed_so_far() != before


def test_an_event_is_set_aside_while_it_waits_is_tried_again_is_parked_or_was_skipped(
    place: Place,
) -> None:
    store = place.store
    commit(store, wait(3), extras("o2", block=Block("retry", 4, attempts=1)), park(5, "o3"))
    for found in place.before_and_after():
        assert found.is_set_aside(ORDERS, "o1", 3)
        assert not found.is_set_aside(ORDERS, "o1", 4)
        assert found.is_set_aside(ORDERS, "o2", 4)
        assert not found.is_set_aside(ORDERS, "o2", 3)
        assert found.is_set_aside(ORDERS, "o3", 5)
    store = place.store
    commit(store, extras("o1", unwait=3), extras("o2", unblock=True))
    assert not store.is_set_aside(ORDERS, "o1", 3)
    assert not store.is_set_aside(ORDERS, "o2", 4)
    commit(store, decide(1, "skip", "o3"))
    assert store.is_set_aside(ORDERS, "o3", 5)


# Events that are held for who learns their keys


def held(position: int, *values: str, taken: tuple[str, ...] = ()) -> Step:
    record = UnmatchedRecord(ORDERS, position, "email", list(values), 9, list(taken))
    return Step(process=ORDERS, extras=StepExtras(hold=record))


def learns(instance: str, *values: str) -> Step:
    return extras(instance, index=[("email", None, value) for value in values])


def test_what_is_held_waits_for_who_learns_its_key_in_the_same_commit(place: Place) -> None:
    commit(place.store, held(3, "a"), held(5, "b"), held(4, "a"))
    store = place.reopen()
    assert [one.position for one in store.scan_unmatched(ORDERS)] == [3, 4, 5]
    assert store.unmatched_at(ORDERS, 3) == UnmatchedRecord(ORDERS, 3, "email", ["a"], 9)
    step = learns("o1", "a")
    commit(store, step)
    assert step.extras is not None
    assert step.extras.is_met
    for found in place.before_and_after():
        assert found.read_waiting(ORDERS, "o1", 0, ALL) == (None, [3, 4])
        assert [one.position for one in found.scan_unmatched(ORDERS)] == [5]
        assert found.unmatched_at(ORDERS, 3) is None
    # Nobody has it a second time.
    again = learns("o2", "a")
    commit(place.store, again)
    assert again.extras is not None
    assert not again.extras.is_met


def test_an_event_by_many_keys_waits_once_for_each_instance_that_learns_one(place: Place) -> None:
    commit(place.store, held(3, "a", "b", "c", "d", taken=("o1",)))
    commit(place.store, learns("o1", "a"), learns("o2", "b", "c"))
    left = UnmatchedRecord(ORDERS, 3, "email", ["d"], 9, ["o1", "o2"])
    for store in place.before_and_after():
        assert store.read_waiting(ORDERS, "o1", 0, ALL) == (None, [])
        assert store.read_waiting(ORDERS, "o2", 0, ALL) == (None, [3])
        assert store.unmatched_at(ORDERS, 3) == left


def test_what_is_held_is_let_go_once_and_counted(place: Place) -> None:
    commit(place.store, held(3, "a", "b"), held(4, "a"))
    store = place.reopen()
    assert store.ahead.count_unmatched(ORDERS) == 2
    letting = Step(process=ORDERS, extras=StepExtras(let_go=3))
    assert store.commit([letting, letting]) == [Committed(), Duplicate()]
    assert store.ahead.count_unmatched(ORDERS) == 1
    commit(store, learns("o1", "a", "b"))
    assert store.read_waiting(ORDERS, "o1", 0, ALL) == (None, [4])
    assert store.ahead.count_unmatched(ORDERS) == 0
    # What was not kept is not counted.
    store.hand_over(held(7, "z"))
    assert store.ahead.count_unmatched(ORDERS) == 1
    store.drop_commit()
    assert store.ahead.count_unmatched(ORDERS) == 0


def test_whether_an_instance_is_held_up_is_known_as_blocks_come_and_go(place: Place) -> None:
    store = place.store
    commit(store, wait(3), wait(4, "o2"))
    ahead = store.ahead
    assert not ahead.any_blocked(ORDERS)
    commit(
        store, extras(block=Block("retry", 7, attempts=1)), extras("o2", block=Block("retry", 7))
    )
    commit(store, extras(block=Block("retry", 7, attempts=2), unblock=True))
    commit(store, extras("o2", unblock=True))
    assert ahead.any_blocked(ORDERS)
    assert store.any_blocked(ORDERS)
    store.hand_over(extras(unblock=True))
    assert not ahead.any_blocked(ORDERS)
    store.drop_commit()
    assert ahead.any_blocked(ORDERS)
    assert place.reopen().ahead.any_blocked(ORDERS)


def test_closing_twice_is_closing_once(store: Store) -> None:
    store.close()
    store.close()
