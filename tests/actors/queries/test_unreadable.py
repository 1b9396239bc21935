"""A listing goes on where something cannot be read, and says so there."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import lmdb
import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    InstanceView,
    NotRefreshed,
    ProcessManager,
    Runtime,
    StoredEvent,
    UnreadableRecord,
    handle,
    timeout,
)
from procession.store import StoreFinding
from procession.store.layout.frames import number
from procession.store.layout.schema import stream_key, transitions_key
from procession.testing import VirtualClock

shop = Domain("shop")


class Placed(Event):
    order_id: str


class Ship(Command):
    order_id: str


class Shipped(Event):
    order_id: str


@shop.register
class Parcel(Aggregate, identity="order_id"):
    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(self.id)


@shop.register
class Order(ProcessManager, correlate="order_id"):
    order_id: str = ""
    stage: str = ""

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.stage = "placed"
        self.issue(Ship(self.order_id))

    @handle(Shipped)
    def on_shipped(self, event: Shipped) -> None:
        self.stage = "shipped"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def folder(tmp_path: Path, clock: VirtualClock) -> Path:
    """Three orders: events 1 to 3 from outside, 4 to 6 of parcels; two transitions each."""
    with Runtime(tmp_path, shop, clock=clock, durability="none") as runtime:
        runtime.publish_many([Placed(name) for name in ("o1", "o2", "o3")], stream="feed-1")
        runtime.settle(timeout=10)
    return tmp_path


@pytest.fixture
def runtime(folder: Path, clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime(folder, shop, clock=clock, read_only=True) as opened:
        yield opened


def damage(folder: Path, table: str, key: bytes) -> None:
    with lmdb.open(str(folder), max_dbs=32) as env, env.begin(write=True) as txn:
        db = env.open_db(table.encode(), txn)
        value = bytearray(txn.get(key, db=db) or b"")
        value[-1] ^= 1
        txn.put(key, bytes(value), db=db)


def damage_version(folder: Path, table: str, key: bytes) -> None:
    """Damage what a row of `ids` points at."""
    with lmdb.open(str(folder), max_dbs=32) as env, env.begin() as txn:
        place = bytes(txn.get(key, db=env.open_db(b"ids", txn)) or b"")
    damage(folder, table, place)


@pytest.fixture(autouse=True)
def _expected(findings: list[StoreFinding]) -> Iterator[None]:
    yield
    findings.clear()


def transition_of(instance: str, version: int) -> bytes:
    return transitions_key("shop.Order", instance) + number(version)


@pytest.fixture
def damaged_o2(folder: Path) -> None:
    damage_version(folder, "transitions", transition_of("o2", 2))


@pytest.mark.usefixtures("damaged_o2")
def test_find_names_the_instance_that_cannot_be_read_and_goes_on(runtime: Runtime) -> None:
    first, second, third = runtime.find(Order)
    assert (first.id, first.error, third.id, third.error) == ("o1", None, "o3", None)
    assert second.id == "o2"
    assert str(second.error).startswith("CorruptRecord: the record ")
    with pytest.raises(UnreadableRecord, match=r"id='o2'.* has no state, since it cannot be read"):
        _ = second.state


@pytest.mark.usefixtures("damaged_o2")
@pytest.mark.parametrize(
    "wanted", [{"complete": True}, {"complete": False}, {"stage": "shipped"}, {"suspended": False}]
)
def test_what_cannot_be_read_may_be_what_is_looked_for(
    runtime: Runtime, wanted: dict[str, Any]
) -> None:
    assert "o2" in [one.id for one in runtime.find(Order, **wanted)]


@pytest.mark.usefixtures("damaged_o2")
def test_history_goes_on_past_a_damaged_transition(folder: Path, runtime: Runtime) -> None:
    first, second = runtime.history(Order, "o2")
    assert (first.version, first.state["stage"], first.error) == (1, "placed", None)
    assert second.version == 2
    assert "CorruptRecord" in str(second.error)
    with pytest.raises(UnreadableRecord, match="has no handler"):
        _ = second.handler


def test_history_goes_on_when_the_first_of_many_is_damaged(
    folder: Path, clock: VirtualClock
) -> None:
    damage_version(folder, "transitions", transition_of("o1", 1))
    with Runtime(folder, shop, read_only=True) as runtime:
        assert [one.error is None for one in runtime.history(Order, "o1")] == [False, True]


@pytest.mark.usefixtures("damaged_o2")
def test_stuck_names_what_cannot_be_read(runtime: Runtime, clock: VirtualClock) -> None:
    clock.advance(timedelta(hours=1))
    _, second, third = runtime.stuck(Order, timedelta(minutes=1))
    assert (second.id, third.id) == ("o2", "o3")
    assert str(second).startswith("o2: cannot be read: CorruptRecord")
    with pytest.raises(UnreadableRecord, match="has no time"):
        _ = second.time


def test_events_names_the_position_that_cannot_be_read_and_goes_on(folder: Path) -> None:
    damage(folder, "log", number(2))
    with Runtime(folder, shop, read_only=True) as runtime:
        found = list(runtime.events())
        assert [one.position for one in found] == [1, 2, 3, 4, 5, 6]
        assert [one.position for one in found if one.error is not None] == [2]
        with pytest.raises(UnreadableRecord, match=r"position=2.* has no event"):
            _ = found[1].event
        assert [one.version for one in runtime.events("feed-1")] == [1, 2, 3]
        assert [one.position for one in runtime.events("shop::parcel")] == [2, 4, 5, 6]


def test_an_event_that_fits_its_class_no_more_says_so_with_all_else(folder: Path) -> None:
    other = Domain("shop")

    class Placed(Event):
        order_id: str
        city: str

    other.register(Placed)
    with Runtime(folder, other, read_only=True) as runtime:
        first, *_ = runtime.events()
        assert (first.type, first.event_id, first.position) == ("shop.Placed.v1", "feed-1@1", 1)
        assert str(first.error).startswith("InvalidMessage: ")


def test_a_state_that_fits_its_class_no_more_says_so_with_all_else(folder: Path) -> None:
    other = Domain("shop")

    class Order(ProcessManager, correlate="order_id"):
        order_id: str = ""
        stage: int = 0

        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            pass

    other.register(Order)
    with Runtime(folder, other, read_only=True) as runtime:
        found = list(runtime.find(Order, complete=False, stage=3))
        assert [(one.id, one.version, one.is_complete) for one in found] == [
            ("o1", 2, False),
            ("o2", 2, False),
            ("o3", 2, False),
        ]
        assert list(runtime.find(Order, complete=True)) == []
        steps = list(runtime.history(Order, "o1"))
        assert [one.handler for one in steps] == ["on_placed", "on_shipped"]
        assert all("InvalidMessage" in str(one.error) for one in steps)


def test_a_trace_shows_what_cannot_be_read_in_its_place(folder: Path) -> None:
    damage_version(folder, "transitions", transition_of("o1", 2))
    damage_version(folder, "log", stream_key("shop::parcel-o2") + number(1))
    with Runtime(folder, shop, read_only=True) as runtime:
        root = runtime.trace("feed-1@1")
        last = list(root.walk())[-1][1]
        assert (last.kind, last.process, last.instance) == ("transition", "shop.Order", "o1")
        assert last.note.startswith("cannot be read: CorruptRecord")
        root = runtime.trace("feed-1@2")
        last = list(root.walk())[-1][1]
        assert (last.kind, last.id) == ("event", "made by shop.Order-o2@1.0")


def test_a_trace_from_below_shows_that_its_beginning_cannot_be_read(folder: Path) -> None:
    damage(folder, "log", number(1))
    with Runtime(folder, shop, read_only=True) as runtime:
        root = runtime.trace("shop::parcel-o1@1")
        assert root.id == "cause of shop.Order-o1@1.0"
        assert root.note.startswith("cannot be read: CorruptRecord")
        assert "shop::parcel-o1@1" in str(root)


def test_views_of_what_can_be_read_compare_and_read_as_they_are() -> None:
    one = InstanceView("o1", {"stage": ""}, 1, is_complete=False, status="running")
    assert one == InstanceView("o1", {"stage": ""}, 1, is_complete=False, status="running")
    assert one != InstanceView("o1", {"stage": "x"}, 1, is_complete=False, status="running")
    assert repr(one) == (
        "InstanceView(id='o1', state={'stage': ''}, version=1, is_complete=False, "
        "status='running', error=None)"
    )
    damaged = StoredEvent.unread(ValueError("no"), position=3)
    assert repr(damaged) == "StoredEvent(position=3, error='ValueError: no')"
    assert damaged == StoredEvent.unread(ValueError("no"), position=3)
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = damaged.colour  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "call",
    [
        lambda runtime: runtime.refresh(Order),
        lambda runtime: runtime.refresh(Order, since="origin"),
        lambda runtime: runtime.rebuild(Order),
    ],
    ids=["refresh", "since the origin", "rebuild"],
)
def test_all_others_are_rebuilt_where_one_cannot_be_read(
    folder: Path, clock: VirtualClock, call: Callable[[Runtime], object], version: int
) -> None:
    damage_version(folder, "transitions", transition_of("o2", version))
    with Runtime(folder, shop, clock=clock, durability="none") as runtime:
        with pytest.raises(NotRefreshed, match="1 of 3 instances of shop") as raised:
            call(runtime)
        assert list(raised.value.errors) == ["o2"]
        assert raised.value.errors["o2"].startswith("CorruptRecord: ")
        assert [one.version for one in runtime.find(Order) if one.id != "o2"] == [3, 3]


def test_what_is_parked_and_what_is_due_are_listed_past_what_is_damaged(
    folder: Path, clock: VirtualClock
) -> None:
    class Other(ProcessManager, correlate="order_id", name="shop.Order"):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None:
            if event.order_id.startswith("bad"):
                raise ValueError("no")
            self.set_timeout("late", timedelta(days=1))

        @timeout("late")
        def late(self) -> None:
            pass

    domain = Domain("shop")
    domain.register(Other, Parcel)
    with Runtime(folder, domain, clock=clock, durability="none") as runtime:
        runtime.publish_many(
            [Placed(name) for name in ("bad1", "bad2", "o8", "o9")], stream="feed-1"
        )
        runtime.settle(timeout=10)
        due = [one.due for one in runtime.timeouts()]
    damage(folder, "parked", number(1))
    with (
        lmdb.open(str(folder), max_dbs=32) as env,
        env.begin() as txn,
        txn.cursor(env.open_db(b"timers", txn)) as cursor,
    ):
        key = bytes(next(cursor.iternext(keys=True, values=False)))
    damage(folder, "timers", key)
    with Runtime(folder, domain, clock=clock, read_only=True) as runtime:
        first, second = runtime.parked()
        assert (first.id, second.id, second.instance) == (1, 2, "bad2")
        assert "CorruptRecord" in first.error
        with pytest.raises(UnreadableRecord, match="has no instance"):
            _ = first.instance
        late = list(runtime.timeouts(Other))
        assert [one.due for one in late] == due
        assert [one.error is None for one in late] == [False, True]
