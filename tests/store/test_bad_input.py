"""Odd names, numbers and values at the port: an answer, or an error and nothing is stored."""

import math
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession.store import (
    Append,
    Block,
    CommandRecord,
    CommandResult,
    Committed,
    CorruptRecord,
    DamagedStore,
    DictionaryEngine,
    EventRecord,
    InvalidName,
    LmdbStore,
    ParkedRecord,
    Reads,
    RefusalRecord,
    Step,
    StepExtras,
    Store,
    StoreError,
    TimerRecord,
    TransitionRecord,
    check_name,
    verify_open,
)
from procession.store.layout.frames import frame, unframe

# The codec

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(key=st.binary(max_size=20), value=plain)
def test_a_plain_value_reads_back_equal(key: bytes, value: Any) -> None:
    assert unframe(frame(key, value), "log", key) == value


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


UNFIT: list[Any] = [
    object(),
    2**64,
    -(2**63) - 1,
    "\ud800",
    [["\udfff"]],
    1j,
    nested(2_000),
    nested(100_000),
    print,
]


@pytest.mark.parametrize("value", UNFIT, ids=lambda value: type(value).__name__)
def test_a_value_that_cannot_be_written_is_refused_and_the_next_one_is_not(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError, RecursionError)):
        frame(b"k", [1, value])
    assert unframe(frame(b"k", [1, 2]), "log", b"k") == [1, 2]


@pytest.mark.parametrize("value", [math.inf, -math.inf, -0.0, 2**64 - 1, -(2**63), nested(500)])
def test_a_value_at_the_edge_reads_back_equal(value: Any) -> None:
    assert unframe(frame(b"k", value), "log", b"k") == value


@given(key=st.binary(max_size=20), raw=st.binary(max_size=60))
def test_whatever_bytes_are_no_frame_are_refused_with_the_table_and_the_key(
    key: bytes, raw: bytes
) -> None:
    with pytest.raises(CorruptRecord, match="table 'log'") as caught:
        unframe(raw, "log", key)
    assert (caught.value.table, caught.value.key) == ("log", key)
    assert repr(key) in str(caught.value)


@given(key=st.binary(max_size=20), value=plain, data=st.data())
def test_a_frame_of_which_one_byte_is_another_is_refused(
    key: bytes, value: Any, data: st.DataObject
) -> None:
    raw = bytearray(frame(key, value))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptRecord):
        unframe(bytes(raw), "log", key)


@given(key=st.binary(max_size=20), other=st.binary(max_size=20), value=plain)
def test_a_frame_that_stands_under_another_key_is_refused(
    key: bytes, other: bytes, value: Any
) -> None:
    raw = frame(key, value)
    if key != other:
        with pytest.raises(CorruptRecord):
            unframe(raw, "log", other)


# Names

ODD_NAMES = [
    "",
    "\0",
    "a\0b",
    "\ud800",
    "x" * 400,
    "x" * 401,
    "x" * 502,
    "x" * 600,
    "é" * 300,
    "@",
    "a@99999999999999999999999",
    "s@1",
    "x" * 509 + "@1",
]

names = st.sampled_from(ODD_NAMES) | st.text(st.characters(), max_size=9)
numbers = st.sampled_from([-1, 0, 1, 2**63, 2**64 - 2, 2**64 - 1, 2**64, 2**70]) | st.integers(0)

READS: dict[str, Callable[[Reads, str, int], Any]] = {
    "log": lambda store, name, n: store.read_log(n, 3),
    "stream": lambda store, name, n: store.read_stream(name, n, 3),
    "position": lambda store, name, n: store.position_of(name),
    "last transition": lambda store, name, n: store.last_transition("P", name),
    "last transition of": lambda store, name, n: store.last_transition(name, "i"),
    "transitions": lambda store, name, n: store.read_transitions("P", name, n, 3),
    "instances": lambda store, name, n: list(store.scan_instances("P", n)),
    "instances of": lambda store, name, n: list(store.scan_instances(name)),
    "started": lambda store, name, n: list(store.scan_started("P", n)),
    "started as": lambda store, name, n: store.started_as("P", name),
    "all transitions": lambda store, name, n: list(store.scan_all_transitions(n)),
    "event at": lambda store, name, n: store.event_at(n),
    "event in": lambda store, name, n: store.event_in(name, n),
    "transition at": lambda store, name, n: store.transition_at("P", name, n),
    "block": lambda store, name, n: store.block_of("P", name),
    "scan": lambda store, name, n: list(islice(store.scan_log(n), 3)),
    "queue": lambda store, name, n: store.read_queue(n, 3),
    "result": lambda store, name, n: store.result_of(name),
    "checkpoint": lambda store, name, n: store.checkpoint(name),
    "parked": lambda store, name, n: list(store.scan_parked(n)),
    "parked as": lambda store, name, n: store.parked_as(n),
    "last waiting": lambda store, name, n: store.last_waiting("P", name),
    "waiting": lambda store, name, n: store.read_waiting("P", name, n, 3),
    "timers": lambda store, name, n: list(store.scan_timers(n)),
    "learnt": lambda store, name, n: list(store.scan_index("P", "field", name)),
    "index": lambda store, name, n: store.read_index("P", "field", name),
    "refusals": lambda store, name, n: store.read_refusals(n, 3),
    "snapshot": lambda store, name, n: store.read_snapshot(name),
}


def good(number: int = 1) -> Step:
    event = EventRecord("T", "s", 0, 0, b"\x80", "", "")
    record = TransitionRecord(number, 0, "on", False, f"s@{number}", "c", number, b"\x80")
    return Step(
        append=Append("s", None, [event]), process="P", instance="i", transition=record, wait=7
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LmdbStore]:
    with LmdbStore(tmp_path_factory.mktemp("store"), durability="none") as store:
        assert store.commit([good()]) == [Committed()]
        yield store


@pytest.mark.parametrize("read", READS)
def test_whatever_name_or_number_is_asked_for_there_is_an_answer_or_a_clear_error(
    store: LmdbStore, read: str
) -> None:
    @settings(max_examples=60)
    @given(name=names, number=numbers, ahead=st.booleans())
    def ask(name: str, number: int, *, ahead: bool) -> None:
        try:
            READS[read](store.ahead if ahead else store, name, number)
        except (StoreError, ValueError) as error:
            told = str(error)
            assert told
        assert len(store.read_stream("s", 0, 3)) == 1

    ask()


NUMBERED = (
    "log",
    "stream",
    "transitions",
    "instances",
    "event at",
    "event in",
    "transition at",
    "scan",
    "queue",
    "parked",
    "parked as",
    "waiting",
    "timers",
    "refusals",
)


@pytest.mark.parametrize("read", NUMBERED)
@pytest.mark.parametrize("number", [-2, 2**64, 2**70])
@pytest.mark.parametrize("ahead", [False, True], ids=["durable", "ahead"])
@pytest.mark.parametrize("kind", ["file", "dictionary"])
def test_a_number_that_no_key_can_have_is_refused(
    tmp_path: Path, read: str, number: int, kind: str, *, ahead: bool
) -> None:
    opened = LmdbStore(tmp_path, durability="none") if kind == "file" else Store(DictionaryEngine())
    with opened as store:
        store.commit([good()])
        with pytest.raises(InvalidName, match=r"numbers from 0 to 2\*\*64 - 1 only"):
            READS[read](store.ahead if ahead else store, "i", number)


@pytest.mark.parametrize("table", ["log", "transitions", "queue", "parked", "decided", "refusals"])
def test_a_key_that_is_too_short_for_a_number_is_damage(table: str) -> None:
    engine = DictionaryEngine()
    engine.commit({table: {b"\xff\xff": b""}}, {})
    with pytest.raises(DamagedStore, match=r"key b'\\xff\\xff' cannot be read"):
        Store(engine)


@given(names)
def test_a_name_is_checked_without_a_long_error(name: str) -> None:
    try:
        check_name("stream", name)
    except InvalidName as error:
        told = str(error)
        assert len(told) < 600
    else:
        assert 0 < len(name.encode()) <= 400


class Sub(str):
    __slots__ = ()


@pytest.mark.parametrize("name", [None, 5, b"x", ["x"], Sub("x")])
def test_what_is_no_plain_text_is_no_name(name: Any) -> None:
    with pytest.raises(InvalidName, match="a stream is a str"):
        check_name("stream", name)


# Steps

LONG = "x" * 600


def event(**changes: Any) -> EventRecord:
    fields: dict[str, Any] = {"type": "T", "stream": "t", "version": 0, "time": 0, "data": b"\x80"}
    return EventRecord(**(fields | {"event_id": "", "correlation_id": ""} | changes))


def command(**changes: Any) -> CommandRecord:
    fields: dict[str, Any] = {
        "command_id": "c",
        "type": "T",
        "stream": "t",
        "time": 0,
        "data": b"\x80",
    }
    return CommandRecord(**(fields | {"correlation_id": "c"} | changes))


def under_id(command_id: str, result: CommandResult) -> Step:
    return Step(given=command(command_id=command_id), result=result)


def transition(**changes: Any) -> Step:
    fields: dict[str, Any] = {
        "version": 1,
        "time": 0,
        "handler": "on",
        "is_complete": False,
        "cause": "c",
    }
    fields |= {"correlation_id": "c", "seen": 1, "state": b"\x80"}
    name = changes.pop("instance", "j")
    record = TransitionRecord(**(fields | changes))
    return Step(process="P", instance=name, transition=record)


def appended(record: EventRecord, stream: str = "t", *, unique: bool = False) -> Step:
    return Step(append=Append(stream, None, [record], unique=unique))


def parked(**changes: Any) -> Step:
    fields: dict[str, Any] = {
        "process": "P",
        "instance": "i",
        "cause": "c",
        "error_type": "E",
        "error_text": "t",
    }
    return Step(park=ParkedRecord(**(fields | {"attempts": 1, "time": 0} | changes)))


BAD: dict[str, Callable[[], Step]] = {
    "a stream's name is too long": lambda: appended(event(), LONG),
    "a stream's name is no Unicode": lambda: appended(event(), "\ud800"),
    "an event's type is no text": lambda: appended(event(type=object())),
    "an event's type is no Unicode": lambda: appended(event(type="\ud800")),
    "an event's time is too large": lambda: appended(event(time=2**64)),
    "an event's id is too long": lambda: appended(event(event_id=LONG), unique=True),
    "an event's data is nothing known": lambda: appended(event(data=object())),
    "an instance's id is too long": lambda: transition(instance=LONG),
    "an instance's id is no Unicode": lambda: transition(instance="\udfff"),
    "a version is below nothing": lambda: transition(version=-1),
    "a state is nothing known": lambda: transition(state=object()),
    "timers hold something else": lambda: transition(timers={"a": 2**70}),
    "a command's id is no Unicode": lambda: Step(enqueue=[command(command_id="\ud800")]),
    "a command's depth is too large": lambda: Step(enqueue=[command(depth=2**64)]),
    "an id from outside is too long": lambda: under_id(LONG, CommandResult()),
    "an id from outside is empty": lambda: under_id("", CommandResult()),
    "a refusal's reason is no Unicode": lambda: under_id("r", CommandResult(refusal="\ud800")),
    "an error's text is no Unicode": lambda: parked(error_text="\ud800"),
    "what is parked has too long a name": lambda: parked(instance=LONG, position=1),
    "a wait is below nothing": lambda: Step(process="P", instance="i", wait=-1),
    "a timer is due too late": lambda: Step(
        extras=StepExtras(timers=[TimerRecord(2**64, "P", "i", "late", "timeout")])
    ),
    "a block is of nothing known": lambda: Step(
        process="P", instance="i", extras=StepExtras(block=Block("parked", name="\ud800"))
    ),
    "a learnt key is no Unicode": lambda: Step(
        process="P", instance="i", extras=StepExtras(index=[("f", None, "\ud800")])
    ),
    "an instance that learnt is too long": lambda: Step(
        process="P", instance=LONG, extras=StepExtras(index=[("f", None, "a")])
    ),
    "a reason is nothing known": lambda: Step(
        extras=StepExtras(refusal=RefusalRecord(command(), object()))  # type: ignore[arg-type]
    ),
    "who decided is no Unicode": lambda: Step(
        extras=StepExtras(unpark=1, decision=("skip", 0, "\ud800"))
    ),
    "a sequence is too large": lambda: Step(take=2**64),
}


@pytest.mark.parametrize("what", BAD)
def test_a_step_that_cannot_be_written_is_refused_with_all_that_came_along(
    tmp_path: Path, what: str
) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        store.commit([good(), parked()])
        with store.stored_snapshot() as snapshot:
            before = {
                name: snapshot.txn.stat(db)["entries"] for name, db in snapshot.tables.items()
            }
        errors = (StoreError, ValueError, TypeError, OverflowError, struct.error)
        with pytest.raises(errors):
            store.commit([good(2), BAD[what](), appended(event())], {"P": 9})
        with store.stored_snapshot() as snapshot:
            after = {name: snapshot.txn.stat(db)["entries"] for name, db in snapshot.tables.items()}
        assert after == before
        assert (store.last_position(), store.checkpoint("P")) == (1, 0)
        assert store.commit([appended(event())]) == [Committed()]
        assert [one.position for one in store.read_log(0, 9)] == [1, 2]
        assert [one for one in verify_open(store).findings if one.table == "log"] == []
