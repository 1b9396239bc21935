"""A sound store is found sound, and whatever is wrong with one is found and named."""

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import lmdb
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from procession.store import (
    Append,
    Block,
    CommandRecord,
    CommandResult,
    Cut,
    DamagedStore,
    DictionaryEngine,
    DocumentChanges,
    DocumentSet,
    EffectRecord,
    Erase,
    ErasureRecord,
    EventRecord,
    LmdbStore,
    PackedFields,
    ParkedRecord,
    RefusalRecord,
    Step,
    StepExtras,
    Store,
    StoreError,
    StoreFinding,
    TimerRecord,
    TombstoneRecord,
    TransitionRecord,
    UnknownFormat,
    UnmatchedRecord,
    change_between,
    verify_open,
)
from procession.store.layout.keys import digest
from procession.store.layout.schema import FOR_PARTITIONS, TABLES
from procession.store.verify.verify import verify_path
from tests.store.described import version_at, version_of

ORDERS = "Shop.Orders"
LATER = 1 << 60
T = 1_700_000_000_000_000

USED = [table for table in TABLES if table not in FOR_PARTITIONS]


def verify(path: Path, **options: Any) -> list[StoreFinding]:
    """In this process, since to start another one takes longer than most of these tests."""
    return verify_path(path, **options).findings


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def own(instance: str, last: int, process: str = ORDERS) -> bytes:
    return f"{process}\0{instance}\0".encode() + number(last)


# The numbers of the transitions that `fill` makes.
# Behind what came of a command: what it is, and that it is carried out.
GIVEN = ("Shop.Do.v1", "shop::x-1", T, b"", True, None)
PLACES = {("o1", 1): 1, ("o1", 2): 2, ("o2", 1): 3, ("o2", 2): 4, ("o3", 1): 5, ("o4", 1): 6}


def moves(instance: str, version: int) -> bytes:
    return number(PLACES[instance, version])


def event(stream: str, event_id: str = "", *, by: str | None = None, depth: int = 0) -> EventRecord:
    return EventRecord("Shop.Happened.v1", stream, 0, T, b"\x80", event_id, "root", by, depth=depth)


def issued(instance: str, version: int, place: int) -> CommandRecord:
    command_id = f"{ORDERS}-{instance}@{version}.{place}"
    return CommandRecord(
        command_id,
        "Shop.Do.v1",
        "shop::x-1",
        T,
        b"\x80",
        "root",
        "given",
        ORDERS,
        instance,
        version,
    )


def moved(
    instance: str,
    version: int,
    cause: str,
    seen: int,
    *commands: CommandRecord,
    key: str = "",
    timers: dict[str, int] | None = None,
    code: int = 0,
    **also: Any,
) -> Step:
    transition = TransitionRecord(
        version,
        T,
        "on_happened",
        False,
        cause,
        "root",
        seen,
        msgpack.packb({"key": key, "count": version}),
        [(one.command_id, one.type, one.data) for one in commands],
        timers,
        code=code,
    )
    return Step(process=ORDERS, instance=instance, transition=transition, **also)


def parked(
    instance: str, cause: str, position: int = 0, *, process: str = ORDERS, **also: Any
) -> ParkedRecord:
    return ParkedRecord(process, instance, cause, "ValueError", "no", 1, T, position, **also)


ACTED: list[Any] = [ORDERS, "o1", "tell", 1, 9, [[f"{ORDERS}-o1@after1.0", "Shop.Do.v1", b""]]]
"""What an after-effect of the first event issued, as a row."""


def fill(store: Store) -> None:
    """Rows in every table, as the runtime would write them."""
    assert store.number_of_code(ORDERS, "cpython-311", b"12345678") == 1
    queued, refused, held, stray = (issued("o1", 1, place) for place in range(4))
    retry = TimerRecord(LATER, ORDERS, "o3", "retry", "retry")
    acted = structs.replace(issued("o1", 1, 0), command_id=f"{ORDERS}-o1@after1.0")
    told = [(acted.command_id, acted.type, acted.data)]
    effect = EffectRecord(1, ORDERS, "o1", "tell", 1, 9, told)
    pruned = TombstoneRecord("Shop.Happened.v1", "shop::old-1", 1, T, "shop::old-1@1", position=5)
    erasure = ErasureRecord("stream", "", "shop::gone-1", T, "ann")
    steps = [
        Step(extras=StepExtras(erase=Erase(T, record=erasure))),
        Step(append=Append("shop::feed-1", None, [event("shop::feed-1", "given")], unique=True)),
        moved(
            "o1",
            1,
            "given",
            1,
            queued,
            refused,
            held,
            stray,
            code=1,
            key="k1",
            timers={"late": LATER, held.command_id: LATER + 1},
            enqueue=[queued, refused, stray],
            extras=StepExtras(
                timers=[
                    TimerRecord(LATER, ORDERS, "o1", "late", "timeout"),
                    TimerRecord(LATER + 1, ORDERS, "o1", held.command_id, "command", held),
                ],
                index=[("key", None, "k1")],
            ),
        ),
        Step(
            process=ORDERS,
            instance="o1",
            take=2,
            extras=StepExtras(refusal=RefusalRecord(refused, "out of stock")),
        ),
        Step(take=3, park=parked("o1", stray.command_id, command=stray)),
        Step(
            given=CommandRecord("told", "Shop.Do.v1", "shop::x-1", T, b"\x80", "told"),
            result=CommandResult(),
            append=Append(
                "shop::x-1", 0, [event("shop::x-1", by="told"), event("shop::x-1", by="told")]
            ),
            extras=StepExtras(snapshot=(2, b"state")),
        ),
        moved(
            "o1", 2, "shop::x-1@1", 2, key="k1", timers={"late": LATER, held.command_id: LATER + 1}
        ),
        moved("o2", 1, "shop::x-1@2", 3, key="k2", extras=StepExtras(index=[("key", None, "k2")])),
        moved("o2", 2, "shop::x-1@1", 3, key="k2"),
        Step(
            process=ORDERS,
            instance="o2",
            park=parked("o2", "given", 1, blocks=True),
            extras=StepExtras(block=Block("parked", 1, attempts=1)),
        ),
        Step(process=ORDERS, instance="o2", wait=2),
        moved("o3", 1, "shop::x-1@1", 2),
        Step(
            process=ORDERS,
            instance="o3",
            extras=StepExtras(block=Block("retry", 3, attempts=1, due=LATER), timers=[retry]),
        ),
        Step(park=parked("o1", "given", 1, effect="tell_the_world")),
        Step(park=parked("", "shop::x-1@2", 3)),
        Step(extras=StepExtras(unpark=4, decision=("skip", T, "ann"))),
        Step(enqueue=[CommandRecord("out", "Shop.Do.v1", "shop::x-1", T, b"\x80", "out")]),
        Step(
            take=1,
            append=Append("shop::x-1", 2, [event("shop::x-1", by=queued.command_id, depth=1)]),
        ),
        moved("o4", 1, "shop::x-1@3", 4, issued("o4", 1, 0), enqueue=[issued("o4", 1, 0)]),
        Step(
            process=ORDERS,
            extras=StepExtras(hold=UnmatchedRecord(ORDERS, 4, "key", ["k8", "k9"], LATER, ["o1"])),
        ),
        Step(enqueue=[acted], extras=StepExtras(effect=effect)),
        Step(process=ORDERS, instance="o1", extras=StepExtras(owes=2)),
        Step(append=Append("shop::old-1", None, [event("shop::old-1"), event("shop::old-1")])),
    ]
    live = DocumentSet("Shop.Sums", 2, "live", 1, 3, [2])
    gone = DocumentSet("Shop.Sums", 1, "gone", 1, 3)
    values: dict[tuple[int, str], bytes | None] = {(1, "o1"): b"\x91\x01", (2, "o1"): b"\x91\x02"}
    changes = DocumentChanges("Shop.Sums", values, [gone, live])
    steps.append(Step(extras=StepExtras(documents=changes)))
    outcomes = store.commit(steps, {ORDERS: 3, f"after:{ORDERS}": 2, f"since:{ORDERS}": 5})
    assert all(outcome.is_committed for outcome in outcomes), outcomes
    store.commit([Step(extras=StepExtras(cut=Cut([("log", number(5))], [pruned])))])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled")
    with LmdbStore(path, durability="none", map_size=1 << 20) as store:
        fill(store)
    return path


@pytest.fixture
def sound(filled: Path, tmp_path: Path) -> Path:
    """A store with rows in every table, to be damaged."""
    path = tmp_path / "store"
    path.mkdir()
    shutil.copy(filled / "data.mdb", path)
    return path


class Damage:
    """Changes rows with LMDB alone."""

    def __init__(self, path: Path) -> None:
        self._env = lmdb.Environment(str(path), max_dbs=32, sync=False)
        self._tables = {name: self._env.open_db(name.encode()) for name in TABLES}

    def __enter__(self) -> Self:
        self._txn = self._env.begin(write=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._txn.commit()
        self._env.close()

    def rows(self, table: str) -> list[tuple[bytes, bytes]]:
        with self._txn.cursor(self._tables[table]) as cursor:
            return [(bytes(key), bytes(value)) for key, value in cursor]

    def key(self, table: str, index: int = 0) -> bytes:
        return self.rows(table)[index][0]

    def raw(self, table: str, key: bytes, value: bytes) -> None:
        self._txn.put(key, value, db=self._tables[table])

    def put(self, table: str, key: bytes, row: object) -> None:
        if table == "ids" and isinstance(row, int):
            self.raw(table, key, number(row))
            return
        packed: bytes = msgpack.packb(row)
        self.raw(table, key, struct.pack("<I", zlib.crc32(key + packed)) + packed)

    def get(self, table: str, key: bytes) -> Any:
        value = self._txn.get(key, db=self._tables[table])
        assert value is not None
        return msgpack.unpackb(value[4:])

    def change(self, table: str, key: bytes, place: int, value: object) -> None:
        row = self.get(table, key)
        assert row[place] != value
        row[place] = value
        self.put(table, key, row)

    def delete(self, table: str, key: bytes) -> None:
        assert self._txn.delete(key, db=self._tables[table])

    def move(self, table: str, key: bytes, to: bytes) -> None:
        value = self._txn.get(key, db=self._tables[table])
        assert value is not None
        self.delete(table, key)
        if table == "ids":
            self.raw(table, to, value)
            return
        # With the checksum that it would have there: what else is wrong is to be found.
        packed = value[4:]
        self.raw(table, to, struct.pack("<I", zlib.crc32(to + packed)) + packed)


def told(findings: list[StoreFinding]) -> str:
    return "\n".join(map(str, findings))


def test_a_sound_store_with_rows_in_every_table_has_no_findings(sound: Path) -> None:
    with Damage(sound) as damage:
        assert [table for table in TABLES if not damage.rows(table)] == [*FOR_PARTITIONS]
    assert told(verify(sound)) == ""


@pytest.mark.parametrize(
    ("kind", "name", "table"),
    [("event", "Shop.Happened.v1", "log"), ("command", "Shop.Do.v1", "transitions")],
)
def test_a_name_that_is_in_use_and_not_in_the_table_of_names_is_named(
    sound: Path, kind: str, name: str, table: str
) -> None:
    with Damage(sound) as damage:
        damage.delete("names", kind.encode() + b"\0" + digest(name))
    (finding,) = verify(sound)
    assert finding.table == table
    assert finding.problem == f"has the {kind} {name}, which names does not have"


def test_a_damaged_name_stops_no_writer_and_is_written_again_when_it_is_used(sound: Path) -> None:
    with Damage(sound) as damage:
        for key, value in damage.rows("names"):
            damage.raw("names", key, value[:-1] + b"!")
    with LmdbStore(sound, durability="none") as store:
        store.commit([Step(append=Append("shop::z-1", 0, [event("shop::z-1")]))])
    left = {one.key.partition(" ")[0] for one in verify(sound) if "checksum" in one.problem}
    assert left == {"command", "process"}


def test_an_empty_store_has_no_findings(tmp_path: Path) -> None:
    LmdbStore(tmp_path, durability="none").close()
    assert verify(tmp_path) == []


def test_a_stream_is_not_found_under_a_key_that_cuts_its_name_at_another_dash(
    tmp_path: Path,
) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        store.commit([Step(append=Append("a-b-c", 0, [event("a-b-c")]))])
    assert verify(tmp_path) == []
    with Damage(tmp_path) as damage:
        damage.move("ids", b"b-c\0s\0a\0" + number(1), b"c\0s\0a-b\0" + number(1))
    found = told(verify(tmp_path))
    assert "is at position 1, where the log has version 1 of a-b-c" in found
    assert "log 1: is version 1 of a-b-c, and ids has nothing there" in found


@pytest.mark.parametrize("table", [table for table in USED if table != "ids"])
def test_a_damaged_record_of_any_table_is_named(sound: Path, table: str) -> None:
    with Damage(sound) as damage:
        key, value = damage.rows(table)[-1]
        damage.raw(table, key, value[:-1] + bytes([value[-1] ^ 0x20]))
    findings = verify(sound)
    assert findings[0].table == table
    assert "checksum" in findings[0].problem


@pytest.mark.parametrize("table", [table for table in USED if table != "meta"])
def test_a_row_of_another_shape_is_named_though_its_checksum_matches(
    sound: Path, table: str
) -> None:
    with Damage(sound) as damage:
        damage.put(table, damage.key(table), ["neither", None])
    assert any(one.table == table and "format" in one.problem for one in verify(sound))


@pytest.mark.parametrize("table", USED)
def test_a_key_that_cannot_be_one_is_named(sound: Path, table: str) -> None:
    with Damage(sound) as damage:
        damage.raw(table, b"\0\0", damage.rows(table)[0][1])
    assert table in {one.table for one in verify(sound)}


@pytest.mark.parametrize("table", ["log", "transitions", "queue", "parked", "decided", "refusals"])
def test_a_last_key_that_is_no_number_has_the_store_refused(sound: Path, table: str) -> None:
    with Damage(sound) as damage:
        damage.move(table, damage.key(table, -1), b"\xff\xff")
    with pytest.raises(DamagedStore, match="cannot be read"):
        verify(sound)


@given(st.data())
def test_whatever_byte_of_whatever_record_is_changed_is_noticed_and_named(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flipped")
    shutil.copy(filled / "data.mdb", path)
    with Damage(path) as damage:
        # A row of `ids` has no checksum; what is changed there is told by where it leads to.
        table = data.draw(st.sampled_from(USED))
        key, value = data.draw(st.sampled_from(damage.rows(table)))
        place = data.draw(st.integers(0, len(value) - 1))
        changed = bytearray(value)
        changed[place] ^= data.draw(st.integers(1, 255))
        damage.raw(table, key, bytes(changed))
    findings = verify(path)
    shutil.rmtree(path)
    assert table in {one.table for one in findings}
    assert table == "ids" or "does not match its checksum" in told(findings)


HELD = f"{ORDERS}-o1@1.2"


def timeout_key(name: str, kind: str = "timeout", due: int = LATER, instance: str = "o1") -> bytes:
    return number(due) + digest(ORDERS, instance, kind, name)


def misplace_decision(damage: Damage) -> None:
    damage.change("parked", number(3), 13, ["skip", T, None])


def given_an_id_of_the_store(damage: Damage) -> None:
    damage.put("event_ids", b"shop::y-1@1", [4, b""])
    damage.change("log", number(4), 5, "shop::y-1@1")


def stray_timer(damage: Damage) -> None:
    damage.put("timers", timeout_key("never"), [ORDERS, "o1", "never", "timeout", None, 0, None])


def timer_of_another_time(damage: Damage) -> None:
    damage.move("timers", timeout_key("late"), timeout_key("late", due=LATER + 9))


def timer_under_another_key(damage: Damage) -> None:
    damage.move("timers", timeout_key("late"), timeout_key("never"))


def stray_retry(damage: Damage) -> None:
    key = timeout_key("retry", "retry", LATER + 5, "o3")
    damage.put("timers", key, [ORDERS, "o3", "retry", "retry", None, 0, None])


def stray_parked_at(damage: Damage) -> None:
    damage.put("parked_at", own("o1", 2), 3)


def stray_transition(damage: Damage) -> None:
    row = damage.get("transitions", moves("o1", 2))
    damage.put("transitions", number(7), [*row[:2], 3, *row[3:]])
    damage.put("ids", x_moved("o1", 3), 7)


def moved_transition(damage: Damage) -> None:
    damage.move("transitions", number(6), number(8))
    damage.put("ids", x_moved("o4", 1), 8)
    damage.move("started", first(6), first(8))


def x(version: int) -> bytes:
    return version_of("shop::x-1", version)


def x_moved(instance: str, version: int) -> bytes:
    return version_at(ORDERS, instance, version)


def first(place: int) -> bytes:
    return ORDERS.encode() + b"\0" + number(place)


def renumbered_parked(damage: Damage) -> None:
    damage.move("parked", number(1), number(9))


def swapped_events(damage: Damage) -> None:
    first, second = damage.get("log", number(2)), damage.get("log", number(3))
    damage.put("log", number(2), second)
    damage.put("log", number(3), first)


DAMAGES: list[tuple[str, Callable[[Damage], None], str]] = [
    # Numbers without gaps
    ("a position is gone", lambda d: d.delete("log", number(2)), "log 3: comes where 2 is missing"),
    (
        "a position is moved",
        lambda d: d.move("log", number(4), number(6)),
        "log 6: comes where 4 is missing",
    ),
    (
        "a version of a stream is moved",
        lambda d: d.move("ids", x(3), x(4)),
        "ids shop::x-1 version 4: comes where 3 is missing",
    ),
    (
        "a version of an instance is gone",
        lambda d: d.delete("ids", x_moved("o1", 1)),
        f"ids {ORDERS} o1 version 2: comes where 1 is missing",
    ),
    (
        "a version of an instance is moved",
        lambda d: d.move("ids", x_moved("o2", 2), x_moved("o2", 7)),
        f"ids {ORDERS} o2 version 7: comes where 2 is missing",
    ),
    (
        "a transition is gone",
        lambda d: d.delete("transitions", number(3)),
        "transitions 4: comes where 3 is missing",
    ),
    (
        "a transition is moved",
        moved_transition,
        "transitions 8: comes where 6 is missing",
    ),
    ("a parking number is moved", renumbered_parked, "parked 9: comes where 8 is missing"),
    # The log and its indexes
    (
        "a stream's row is gone",
        lambda d: d.delete("ids", x(3)),
        "log 4: is version 3 of shop::x-1, and ids has nothing there",
    ),
    (
        "a stream has a row too many",
        lambda d: d.put("ids", x(4), 9),
        "ids shop::x-1 version 4: is at position 9, which the log does not have",
    ),
    (
        "a stream's row leads elsewhere",
        lambda d: d.put("ids", x(3), 1),
        "ids shop::x-1 version 3: is at position 1, where the log has version 1 of shop::feed",
    ),
    (
        "a stream's row leads back",
        lambda d: d.put("ids", x(3), 1),
        "ids shop::x-1 version 3: is at 1, before the version before it",
    ),
    (
        "a stream has the id of another kind",
        lambda d: d.move("ids", x(1), x(1).replace(b"\0s\0", b"\0n\0")),
        "log 2: is version 1 of shop::x-1, and ids has nothing there",
    ),
    (
        "an id is of a kind that is not known",
        lambda d: d.put("ids", b"1\0x\0shop\0" + number(1), 1),
        "version 1: is of kind x, which the format does not have",
    ),
    ("two events change places", swapped_events, "log 2: is version 2 of shop::x-1, and ids"),
    # Transitions, their versions, and where instances start
    (
        "an instance's row is gone",
        lambda d: d.delete("ids", x_moved("o4", 1)),
        f"transitions 6: {ORDERS} o4 version 1: is transition 6, and ids has nothing there",
    ),
    (
        "an instance has a row too many",
        lambda d: d.put("ids", x_moved("o4", 2), 9),
        f"ids {ORDERS} o4 version 2: is transition 9, which is not there",
    ),
    (
        "an instance's row leads elsewhere",
        lambda d: d.put("ids", x_moved("o4", 1), 5),
        f"ids {ORDERS} o4 version 1: is transition 5, which is version 1 of {ORDERS} o3",
    ),
    (
        "a start is gone",
        lambda d: d.delete("started", first(5)),
        f"transitions 5: {ORDERS} o3 version 1: is a first transition, and started has nothing",
    ),
    (
        "a start is of another",
        lambda d: d.put("started", first(5), "o4"),
        f"transitions 5: {ORDERS} o3 version 1: is a first transition, and started has o4 for it",
    ),
    (
        "a start is no first transition",
        lambda d: d.put("started", first(2), "o1"),
        f"started {ORDERS} transition number 2: is o1, and this is version 2 of {ORDERS} o1",
    ),
    (
        "a start leads nowhere",
        lambda d: d.put("started", first(9), "o9"),
        f"started {ORDERS} transition number 9: is o9, whose first transition is not there",
    ),
    (
        "an event's id is gone",
        lambda d: d.delete("event_ids", b"given"),
        "log 1: has the id given, and event_ids has nothing for it",
    ),
    (
        "an id leads to another event",
        lambda d: d.put("event_ids", b"given", [2, b""]),
        "event_ids given: is at position 2, where the log has shop::x-1@1",
    ),
    (
        "an id leads nowhere",
        lambda d: d.put("event_ids", b"other", [9, b""]),
        "event_ids other: is at position 9, which the log does not have",
    ),
    (
        "an id is another event's as well",
        lambda d: d.put("event_ids", b"shop::x-1@3", [1, b""]),
        "log 4: has the id shop::x-1@3, which event_ids has for position 1",
    ),
    (
        "an id from outside looks like one of the store",
        given_an_id_of_the_store,
        "event_ids shop::y-1@1: looks like an id that the store makes, and meta has no row",
    ),
    (
        "a transition says another event's position",
        lambda d: d.change("transitions", moves("o1", 2), 14, 3),
        "o1 version 2: was caused by shop::x-1@1 at position 3, where the log has shop::x-1@2",
    ),
    (
        "a transition says a position that does not exist",
        lambda d: d.change("transitions", moves("o1", 2), 14, 9),
        "o1 version 2: was caused by shop::x-1@1 at position 9, where the log has nothing",
    ),
    (
        "a state is a change of nothing",
        lambda d: d.change("transitions", moves("o1", 2), 15, 1),
        "o1 version 2: has a state that cannot be read: it is no change of a state",
    ),
    (
        "a state is a change of what is not whole",
        lambda d: d.change("transitions", moves("o2", 2), 15, 2),
        "o2 version 2: has a state that cannot be read: it stands on version 2, which is not the",
    ),
    (
        "a transition was decided by a code that is not there",
        lambda d: d.delete("codes", number(1)),
        "o1 version 1: was decided by code 1, which is not there",
    ),
    (
        "a transition was decided by the code of another process manager",
        lambda d: d.change("codes", number(1), 0, "Shop.Others"),
        "o1 version 1: was decided by code 1, which is that of Shop.Others",
    ),
    (
        "a number of a code is left out",
        lambda d: d.put("codes", number(3), [ORDERS, "cpython-311", b"87654321"]),
        "codes 3: comes where 2 is missing",
    ),
    (
        "a name has the key of another",
        lambda d: d.put("names", b"event\0" + digest("other"), "Shop.Happened.v1"),
        "has the key of another name than Shop.Happened.v1",
    ),
    (
        "a name is of no kind",
        lambda d: d.put("names", b"snapshot\0" + digest("S"), "S"),
        "is a name of a snapshot, which the format does not have",
    ),
    (
        "a command's result is another's",
        lambda d: d.put("command_ids", b"told", [4, 1, None, *GIVEN]),
        "command_ids told: made the event at position 4, which Shop.Orders-o1@1.0 caused",
    ),
    (
        "a command's result is too short",
        lambda d: d.put("command_ids", b"told", [2, 1, None, *GIVEN]),
        "command_ids told: made the event at position 3, too, and says only 1",
    ),
    (
        "an event is no result of its command",
        lambda d: d.put("command_ids", b"told", [0, 0, "no", *GIVEN]),
        "log 2: is no result of command told",
    ),
    (
        "a command made nothing, and did",
        lambda d: d.put("command_ids", b"told", [2, 2, "no", *GIVEN]),
        "command_ids told: says 2 events from position 2, and the refusal 'no'",
    ),
    (
        "a command has a result, and is not carried out",
        lambda d: d.change("command_ids", b"told", 7, False),
        "command_ids told: is of a command that is not carried out, and says what came of it",
    ),
    (
        "a refusal has an error, and no reason",
        lambda d: d.change("command_ids", b"told", 8, b"error"),
        "command_ids told: has the error of a refusal, and no reason",
    ),
    (
        "an event's command was issued by nobody",
        lambda d: d.change("log", number(4), 7, f"{ORDERS}-o1@1.7"),
        "log 4: was caused by command Shop.Orders-o1@1.7, which no transition issued",
    ),
    (
        "a snapshot is of what never was",
        lambda d: d.put("snapshots", b"shop::x-1", [9, b""]),
        "snapshots shop::x-1: was made after shop::x-1 version 9, which is not there",
    ),
    (
        "a checkpoint is beyond the log",
        lambda d: d.put("checkpoints", ORDERS.encode(), 7),
        f"checkpoints {ORDERS}: is at position 7, and the log ends at 6",
    ),
    (
        "the store's id is no id",
        lambda d: d.put("meta", b"store_id", "abc"),
        "meta store_id: is 'abc', and not 32 hexadecimal digits",
    ),
    (
        "the store's secret is no key",
        lambda d: d.put("meta", b"secret", "abc"),
        "meta secret: is not 64 hexadecimal digits",
    ),
    (
        "the store's secret is gone",
        lambda d: d.delete("meta", b"secret"),
        "meta secret: is missing",
    ),
    (
        "the store's id is gone",
        lambda d: d.delete("meta", b"store_id"),
        "meta store_id: is missing",
    ),
    (
        "the number of commits is none",
        lambda d: d.put("meta", b"commits", "3"),
        "meta commits: is '3', and no number",
    ),
    ("an unknown name", lambda d: d.put("meta", b"colour", 1), "meta colour: is no name"),
    # Transitions and their causes
    (
        "a transition's cause never was",
        lambda d: d.change("transitions", moves("o2", 1), 6, "nothing"),
        "o2 version 1: was caused by nothing, which is no event",
    ),
    (
        "a timeout was not set",
        lambda d: d.change("transitions", moves("o1", 2), 6, "timeout:early"),
        "o1 version 2: was caused by timeout 'early', which was not set",
    ),
    (
        "a refused command was not issued",
        lambda d: d.change("transitions", moves("o1", 2), 6, f"{ORDERS}-o1@1.8"),
        "o1 version 2: was caused by the refusal of Shop.Orders-o1@1.8, which no transition",
    ),
    (
        "an event is handled twice in a row",
        stray_transition,
        "o1 version 3: or one before it handled shop::x-1@1 a second time",
    ),
    (
        "an event is handled late and twice",
        lambda d: d.change("transitions", moves("o2", 2), 6, "shop::x-1@2"),
        "o2 version 2: or one before it handled shop::x-1@2 a second time",
    ),
    (
        "what was seen goes back",
        lambda d: d.change("transitions", moves("o1", 1), 8, 3),
        "o1 version 2: has seen up to 2, and the one before it up to 3",
    ),
    (
        "what was seen is not there yet",
        lambda d: d.change("transitions", moves("o3", 1), 8, 8),
        "o3 version 1: has seen up to 8, and the log ends at 6",
    ),
    (
        "what was handled was not seen",
        lambda d: d.change("transitions", moves("o3", 1), 8, 1),
        "o3 version 1: handled position 2, and says that it has seen up to 1",
    ),
    (
        "another chain",
        lambda d: d.change("transitions", moves("o3", 1), 7, "another"),
        "o3 version 1: has correlation id another, and its event has root",
    ),
    (
        "a command has another's id",
        lambda d: d.change("transitions", moves("o4", 1), 10, [["c", "Shop.Do.v1", b""]]),
        "o4 version 1: issued command c, whose id would be Shop.Orders-o4@1.0",
    ),
    # What is under way
    (
        "a queued command was never issued",
        lambda d: d.change("queue", number(4), 0, f"{ORDERS}-o4@1.1"),
        "queue 4: no transition issued command Shop.Orders-o4@1.1",
    ),
    (
        "a queued command names another issuer",
        lambda d: d.change("queue", number(4), 8, "o1"),
        "queue 4: says that another transition issued command Shop.Orders-o4@1.0",
    ),
    (
        "a queued command is in the wrong lane",
        lambda d: d.move("queue", d.key("queue", -1), number(8)),
        "queue 8: is in the wrong lane for a command of a caller outside",
    ),
    (
        "a refused command was never issued",
        lambda d: d.put("refusals", number(2), [d.get("queue", d.key("queue", -1)), "no"]),
        "refusals 2: is of a command that no instance issued",
    ),
    (
        "an event that is parked is not there",
        lambda d: d.change("parked", number(2), 7, 9),
        "parked 2: is about position 9, which the log does not have",
    ),
    (
        "what is parked is another event",
        lambda d: d.change("parked", number(2), 2, "other"),
        "parked 2: is about other, and position 1 is given",
    ),
    ("a parked row has a decision", misplace_decision, "parked 3: has a decision"),
    (
        "a decided row has none",
        lambda d: d.change("decided", number(4), 13, None),
        "decided 4: has no decision",
    ),
    (
        "a decided row is parked as well",
        lambda d: d.put("parked", number(4), [*d.get("decided", number(4))[:13], None]),
        "decided 4: was decided, and is parked as well",
    ),
    (
        "a row of parked_at is gone",
        lambda d: d.delete("parked_at", own("o2", 1)),
        "parked 2: is for a position for which parked_at has nothing",
    ),
    (
        "a row of parked_at too many",
        stray_parked_at,
        f"parked_at {ORDERS} o1 position 2: is for parked 3, which is about something else",
    ),
    (
        "a row of parked_at leads nowhere",
        lambda d: d.put("parked_at", own("o2", 1), 8),
        f"parked_at {ORDERS} o2 position 1: is for parked 8, which is not there",
    ),
    (
        "what is parked does not block",
        lambda d: d.delete("waiting", own("o2", 0)),
        "parked 2: is to block Shop.Orders o2, which is not blocked by it",
    ),
    (
        "a parked refusal is gone",
        lambda d: d.change("parked", number(1), 10, 6),
        "parked 1: is about refusal 6, which is not there",
    ),
    # What is counted, and what after-effects issued
    (
        "a count is another",
        lambda d: d.change("counts", digest("event", "shop::x", "Shop.Happened.v1"), 2, 9),
        "says 9 event (shop::x, Shop.Happened.v1), and ",
    ),
    (
        "a count is gone",
        lambda d: d.delete("counts", digest("event", "shop::x", "Shop.Happened.v1")),
        "is missing, and ",
    ),
    (
        "the count of those that run is another",
        lambda d: d.change("counts", digest("instance", ORDERS, "running"), 2, 9),
        f"says 9 instance ({ORDERS}, running), and ",
    ),
    (
        "the count of those that are suspended is gone",
        lambda d: d.delete("counts", digest("instance", ORDERS, "suspended")),
        f"is missing, and 1 instance ({ORDERS}, suspended) are there",
    ),
    (
        "the count of what is parked is another",
        lambda d: d.change("counts", digest("parked", ORDERS, "ValueError", "", ""), 2, 9),
        f"says 9 parked ({ORDERS}, ValueError, , ), and ",
    ),
    (
        "an effect is after what never was",
        lambda d: d.put("effects", number(99) + digest(ORDERS, "o1"), ACTED),
        "is after an event that the log does not have",
    ),
    (
        "an effect under the key of another instance",
        lambda d: d.put("effects", number(2) + digest(ORDERS, "o2"), ACTED),
        f"has the key of another than {ORDERS} o1",
    ),
    (
        "a command of an effect has the id of another",
        lambda d: d.put("effects", number(2) + digest(ORDERS, "o1"), ACTED),
        f"issued command {ORDERS}-o1@after1.0, whose id would be {ORDERS}-o1@after2.0",
    ),
    (
        "an effect is of a version that never was",
        lambda d: d.change("effects", number(1) + digest(ORDERS, "o1"), 3, 9),
        f"is of version 9 of {ORDERS} o1, which is not there",
    ),
    (
        "an effect of a queued command is gone",
        lambda d: d.delete("effects", number(1) + digest(ORDERS, "o1")),
        f"no transition issued command {ORDERS}-o1@after1.0",
    ),
    (
        "an effect is owed after what never was",
        lambda d: d.put("owed", ORDERS.encode() + b"\0" + number(99) + b"o1", 1),
        f"owed {ORDERS} position 99 o1: is after an event that the log does not have",
    ),
    (
        "an erasure is missing",
        lambda d: d.put("erasures", number(3), ["subject", "", "c1", T, None, True]),
        "erasures 3: comes where 2 is missing",
    ),
    (
        "a stream was erased that has the name of a process manager",
        lambda d: d.put("erasures", number(1), ["stream", ORDERS, "o1", T, None, True]),
        f"erasures 1: is of a stream with the name {ORDERS!r}",
    ),
    (
        "an effect is owed at a version that never was",
        lambda d: d.put("owed", d.key("owed"), 9),
        f"owed {ORDERS} position 2 o1: is of version 9, which is not there",
    ),
    # What waits
    (
        "what blocks is gone",
        lambda d: d.delete("parked", number(2)),
        "o2 position 0: is blocked by parked 2, which is not there",
    ),
    (
        "what blocks is of another",
        lambda d: d.change("waiting", own("o2", 0), 6, 3),
        "o2 position 0: is blocked by parked 3, which does not block it",
    ),
    (
        "the next attempt is gone",
        lambda d: d.delete("timers", timeout_key("retry", "retry", LATER, "o3")),
        f"o3 position 0: waits for another attempt at {LATER}, and no timer is set for it",
    ),
    (
        "a block is for nothing",
        lambda d: d.change("waiting", own("o3", 0), 1, 0),
        "o3 position 0: is a block for anything but one event, timeout or refusal",
    ),
    (
        "a block is for what never was",
        lambda d: d.change("waiting", own("o3", 0), 1, 9),
        "o3 position 0: is blocked by position 9, which the log does not have",
    ),
    (
        "an event that waits never was",
        lambda d: d.put("waiting", own("o2", 9), 0),
        "o2 position 9: waits for an event that the log does not have",
    ),
    # What is due
    (
        "a timeout is gone",
        lambda d: d.delete("timers", timeout_key("late")),
        "late of Shop.Orders o1 is",
    ),
    (
        "a held back command is gone",
        lambda d: d.delete("timers", timeout_key(HELD, "command", LATER + 1)),
        f"{HELD} of Shop.Orders o1 is missing",
    ),
    ("a timeout too many", stray_timer, "is never of Shop.Orders o1, whose newest transition"),
    ("a timeout of another time", timer_of_another_time, "is late of Shop.Orders o1, whose newest"),
    ("a timeout under another key", timer_under_another_key, "has the key of another than timeout"),
    ("an attempt too many", stray_retry, "Shop.Orders o3 does not wait for that"),
    (
        "a timer of nobody",
        lambda d: d.put(
            "timers",
            timeout_key("late", instance="o9"),
            [ORDERS, "o9", "late", "timeout", None, 0, None],
        ),
        "is of Shop.Orders o9, which has no transitions",
    ),
    (
        "a held back command that is gone",
        lambda d: d.change("timers", timeout_key(HELD, "command", LATER + 1), 4, None),
        "is a command without a command",
    ),
    # Learnt keys
    (
        "a learnt key is gone",
        lambda d: d.delete("index", digest(ORDERS, "key", "k1") + b"o1"),
        "o1 version 2: has key='k1', and the index does not find it by that",
    ),
    (
        "a learnt key too many",
        lambda d: d.put("index", digest(ORDERS, "key", "k3") + b"o1", 0),
        " o1: is for a value that no state of o1 has",
    ),
    (
        "a learnt key of another instance",
        lambda d: d.put("index", digest(ORDERS, "key", "k1") + b"o2", 0),
        " o2: is for a value that no state of o2 has",
    ),
]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [one[1:] for one in DAMAGES],
    ids=[one[0].replace(" ", "-") for one in DAMAGES],
)
def test_what_two_tables_do_not_agree_about_is_named(
    sound: Path, damage: Callable[[Damage], None], expected: str
) -> None:
    with Damage(sound) as changed:
        damage(changed)
    findings = verify(sound)
    assert expected in told(findings)
    in_file = [one for one in findings if one.problem != "is missing"]
    assert verify_open(in_memory(sound), now=lambda: T).findings == in_file


def in_memory(path: Path) -> Store:
    """The same rows in dictionaries."""
    engine = DictionaryEngine()
    with LmdbStore(path, read_only=True) as store, store.snapshot() as snapshot:
        engine.commit({table: dict(snapshot.scan(table)) for table in TABLES}, {})
    return Store(engine)


def test_a_store_in_memory_is_found_sound_and_checked_whole() -> None:
    store = Store(DictionaryEngine())
    fill(store)
    found = verify_open(store, now=lambda: T)
    assert told(found.findings) == ""
    assert {table for table, count in found.checked.items() if count} == {*USED}


def test_a_damaged_row_of_a_store_in_memory_is_named() -> None:
    engine = DictionaryEngine()
    store = Store(engine)
    fill(store)
    engine._tables["log"][number(2)] = b"\0\0\0\0damaged"
    engine.commit({}, {"timers": [timeout_key("late")]})
    assert told(verify_open(store).findings) == (
        "log 2: does not match its checksum: it was changed after it was written"
    )
    assert "late of Shop.Orders o1 is missing" in told(verify_open(store, now=lambda: T).findings)


def test_a_record_that_leads_to_a_damaged_one_is_no_finding_of_its_own(sound: Path) -> None:
    with Damage(sound) as damage:
        damage.raw("log", number(2), b"\0\0\0\0damaged")
    assert told(verify(sound)) == (
        "log 2: does not match its checksum: it was changed after it was written"
    )


def test_what_was_due_when_the_file_was_last_written_to_may_have_gone(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        publish = Append("shop::feed-1", None, [event("shop::feed-1", "given")], unique=True)
        store.commit([Step(append=publish), moved("o1", 1, "given", 1, timers={"late": T + 1})])
        assert verify_open(store).findings == []
        assert "late" in told(verify_open(store, now=lambda: T).findings)


def test_what_was_due_before_the_clock_was_set_back_may_have_gone() -> None:
    store = Store(DictionaryEngine())
    for number_of_event, time in enumerate((T, T + 9, T + 2), 1):
        happened = event("shop::feed-1", f"given{number_of_event}")
        happened.time = time
        store.commit([Step(append=Append("shop::feed-1", None, [happened], unique=True))])
    store.commit([moved("o1", 1, "given1", 1, timers={"early": T + 5, "late": T + 10})])
    found = told(verify_open(store, now=lambda: T + 2).findings)
    assert "late of Shop.Orders o1 is missing" in found
    assert "early" not in found


def test_a_key_that_an_older_class_left_in_the_index_is_no_finding(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        publish = Append("shop::feed-1", None, [event("shop::feed-1", "given")], unique=True)
        old = moved("o1", 1, "given", 1, key="k1", extras=StepExtras(index=[("key", None, "k1")]))
        new = moved("o1", 2, "refresh", 1, key="k2", extras=StepExtras(index=[("key", None, "k2")]))
        assert new.transition is not None
        new.transition.state_version = 2
        store.commit([Step(append=publish), old, new])
        assert verify_open(store).findings == []
        new.transition.version, new.extras = 3, None
        store.commit([new])
        assert verify_open(store).findings == []


def growing(store: Store) -> list[Step]:
    """An instance whose second and third states are stored as changes; the key is in the second."""
    publish = Append("shop::feed-1", None, [event("shop::feed-1", "given")], unique=True)
    before: dict[str, Any] = {"key": "", "items": [0] * 20}
    steps = [Step(append=publish), moved("o1", 1, "given", 1)]
    for version in (2, 3):
        after = {"key": "k1", "items": [*before["items"], version]}
        whole = msgpack.packb(after)
        step = moved("o1", version, "refresh", 1)
        step.extras = StepExtras(index=[("key", before["key"] or None, "k1")])
        transition = step.transition
        assert transition is not None
        transition.state, transition.base = whole, 1
        known, made = PackedFields.of(msgpack.packb(before)), PackedFields.of(whole)
        transition.change, _ = change_between(known, made.parts)
        assert transition.change is not None
        steps.append(step)
        before = after
    first = steps[1].transition
    assert first is not None
    first.state = msgpack.packb({"key": "", "items": [0] * 20})
    return steps


def test_states_that_are_stored_as_changes_are_read_and_their_keys_found(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        assert all(one.is_committed for one in store.commit(growing(store)))
        assert verify_open(store).findings == []
        assert store.read_index(ORDERS, "key", "k1") == ["o1"]
    with Damage(tmp_path) as damage:
        damage.delete("index", digest(ORDERS, "key", "k1") + b"o1")
    with LmdbStore(tmp_path) as store:
        found = verify_open(store, learnt=[(ORDERS, 1, "key")]).findings
    assert "o1 version 3: has key='k1', and the index does not find it by that" in told(found)


def test_a_change_that_was_made_on_another_state_is_named(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        store.commit(growing(store))
    with Damage(tmp_path) as damage:
        damage.change("transitions", number(1), 9, msgpack.packb({"key": "", "items": [1] * 20}))
    findings = told(verify(tmp_path))
    assert "o1 version 2: has a state that cannot be read: it was made on another" in findings


def test_learnt_keys_that_are_known_are_looked_for_though_the_index_has_none(
    tmp_path: Path,
) -> None:
    with LmdbStore(tmp_path, durability="none") as store:
        publish = Append("shop::feed-1", None, [event("shop::feed-1", "given")], unique=True)
        store.commit([Step(append=publish), moved("o1", 1, "given", 1, key="k1")])
        assert verify_open(store).findings == []
        found = verify_open(store, learnt=[(ORDERS, 1, "key")]).findings
        assert "has key='k1', and the index does not find it by that" in told(found)


def test_a_check_ends_when_as_much_was_found_as_was_asked_for(sound: Path) -> None:
    with Damage(sound) as damage:
        for key, _ in damage.rows("transitions"):
            damage.raw("transitions", key, b"damaged")
    assert len(verify(sound)) > 2
    assert len(verify(sound, limit=2)) == 2


def test_a_store_is_checked_while_its_writer_has_it_open_and_goes_on(sound: Path) -> None:
    with LmdbStore(sound, durability="none") as store:
        assert verify(sound) == []
        with store.snapshot():
            store.commit([Step(append=Append("shop::y-1", 0, [event("shop::y-1")]))])
        assert verify(sound) == []


def test_a_store_that_cannot_be_opened_is_refused(tmp_path: Path, sound: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        verify(tmp_path / "nowhere")
    with Damage(sound) as damage:
        damage.put("meta", b"format", 3)
    with pytest.raises(UnknownFormat):
        verify(sound)


# Events that are held for who learns their keys


@pytest.mark.parametrize("at", [0, 1])
def test_an_event_that_is_held_and_not_found_by_a_value_is_named(sound: Path, at: int) -> None:
    with Damage(sound) as damage:
        damage.delete("unmatched_by", damage.key("unmatched_by", at))
    [finding] = verify(sound)
    assert finding.table == "unmatched"
    assert finding.problem.startswith("is held for key='k")
    assert finding.problem.endswith("', and is not found by that")


def test_a_value_that_leads_to_no_event_that_is_held_is_named(sound: Path) -> None:
    with Damage(sound) as damage:
        damage.delete("unmatched", damage.key("unmatched"))
    findings = verify(sound)
    assert [one.table for one in findings] == ["unmatched_by"] * 2
    assert all("is for an event at 4 that is not held for it" in str(one) for one in findings)


@pytest.mark.parametrize(
    ("table", "key", "row", "problem"),
    [
        (
            "document_sets",
            b"Shop.Sums\0" + number(3),
            ["live", 1, 1, []],
            "is live as one before it",
        ),
        (
            "document_sets",
            b"Shop.More\0" + number(1),
            ["beside", 1, 99, []],
            "is at position 99, and the log ends at",
        ),
        (
            "documents",
            b"Shop.More\0" + number(1) + b"k",
            [b"\x91\x01"],
            "is of a making that document_sets does not have",
        ),
    ],
)
def test_what_is_wrong_with_documents_is_named(
    sound: Path, table: str, key: bytes, row: object, problem: str
) -> None:
    with Damage(sound) as damage:
        damage.put(table, key, row)
    (finding,) = verify(sound)
    assert (finding.table, problem in finding.problem) == (table, True)
