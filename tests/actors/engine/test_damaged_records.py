"""A byte of a record is not what was written: no answer is wrong, and no instance goes on from it.

That each table's records are checked at all is in `tests/store/test_verifying.py`.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procession import (
    Aggregate,
    Command,
    CorruptRecord,
    DamagedStore,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Runtime,
    StoreError,
    after,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.messages.codec import dump
from procession.queries.views import Listed
from procession.store import Append, CommandRecord, EventRecord, Step, StoreFinding
from procession.store.layout.frames import number as numbered
from procession.store.layout.schema import TABLES, transitions_key
from procession.store.open_commit import OpenCommit
from procession.testing import VirtualClock
from tests.verifying import verify_here

shop = Domain("shop")


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str
    number: int


class Counted(Event):
    number: int


class Ship(Command):
    order_id: str


class Shipped(Event):
    order_id: str


@shop.register
class Parcel(Aggregate, identity="order_id", snapshot_every=2):
    count: int = 0

    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        if command.order_id == "o2":
            raise Rejected("not to there")
        return Shipped(self.id)

    @apply(Shipped)
    def _shipped(self, event: Shipped) -> None:
        self.count += 1


@shop.register
class Order(ProcessManager, correlate="order_id", begin="origin"):
    order_id: str = ""
    log: list[str] = []

    fails_at: ClassVar[set[tuple[str, int]]] = set()

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.log.append("placed")
        self.issue(Ship(event.order_id))
        self.issue(Ship(event.order_id), after=timedelta(days=2))
        self.set_timeout("late", timedelta(days=1))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        if (self.order_id, event.number) in self.fails_at:
            raise ValueError("not yet")
        self.log.append(f"paid {event.number}")

    @handle(Shipped)
    def on_shipped(self, event: Shipped) -> None:
        self.log.append("shipped")

    @rejected(Ship)
    def on_rejected(self, command: Ship, reason: str) -> None:
        self.log.append("rejected")

    @timeout("late")
    def on_late(self) -> None:
        self.log.append("late")

    @after(Shipped)
    def tell_them(self, event: Shipped) -> None:
        pass


ORDERS = ("o0", "o1", "o2", "o3")


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    yield
    Order.fails_at.clear()


def rows(folder: Path, table: str) -> list[tuple[bytes, bytes]]:
    with (
        lmdb.open(str(folder), max_dbs=32) as env,
        env.begin() as txn,
        txn.cursor(env.open_db(table.encode(), txn)) as cursor,
    ):
        return [(bytes(key), bytes(value)) for key, value in cursor]


def damage(folder: Path, table: str, key: bytes, place: int = -1, bits: int = 1) -> None:
    """Flip bits of one byte of one record."""
    value = bytearray(dict(rows(folder, table))[key])
    value[place] ^= bits
    with lmdb.open(str(folder), max_dbs=32) as env, env.begin(write=True) as txn:
        txn.put(key, bytes(value), db=env.open_db(table.encode(), txn))


def key_of(folder: Path, instance: str, version: int) -> bytes:
    """Where a transition is, which stands among all transitions in the order of their steps."""
    return dict(rows(folder, "ids"))[transitions_key("shop.Order", instance) + numbered(version)]


def settled(runtime: Runtime) -> None:
    runtime.settle(timeout=30)


# A flipped byte anywhere


def fill(folder: Path, clock: VirtualClock) -> None:
    """A store with something in almost every table, and with work left to do."""
    Order.fails_at.add(("o1", 1))
    with Runtime(folder, shop, clock=clock, durability="none") as runtime:
        for name in ORDERS[:3]:
            runtime.publish(Placed(name), stream="feed::x-1", event_id=f"placed {name}")
        runtime.ask(Ship("o1"), command_id="c1")
        settled(runtime)
        runtime.publish_many([Paid(name, 1) for name in ORDERS[:3]], stream="feed::x-1")
        runtime.publish(Paid("o1", 2), stream="feed::x-1")
        settled(runtime)
    Order.fails_at.clear()
    with Runtime(folder, Domain("shop2"), durability="none", retired=["shop.Order"]) as other:
        # Nobody listens here, so this is still to be handled.
        other._store.commit([*_unhandled()])


def _unhandled() -> Iterator[Any]:
    for event in (Placed("o3"), Paid("o0", 3), Paid("o3", 3)):
        name = f"shop.{type(event).__name__}.v1"
        data, _ = dump(event)
        record = EventRecord(name, "feed::x-1", 0, 1, data, "", "")
        yield Step(append=Append("feed::x-1", None, [record]))
    for number in range(2):
        data, _ = dump(Ship("o0"))
        name = f"told {number}"
        yield Step(enqueue=[CommandRecord(name, "shop.Ship.v1", "shop::parcel-o0", 1, data, name)])


def listed(question: Callable[..., Iterator[Any]], *arguments: Any) -> list[Any]:
    return list(question(*arguments))


def asked(folder: Path) -> dict[str, Any]:
    """All that can be asked, each with the answer or with the error."""
    found: dict[str, Any] = {}

    def ask(what: str, question: Callable[[], Any]) -> None:
        try:
            found[what] = question()
        except StoreError as error:
            found[what] = error

    with Runtime(folder, shop, read_only=True) as runtime:
        for name in ORDERS:
            ask(f"get {name}", partial(runtime.get, Order, name))
            ask(f"history {name}", partial(listed, runtime.history, Order, name))
            ask(f"parcel {name}", partial(runtime.get, Parcel, name))
        for stream in (None, "feed::x-1", "shop::parcel", "shop::parcel-o1"):
            ask(f"events {stream}", partial(listed, runtime.events, stream))
        ask("find", lambda: list(runtime.find(Order)))
        ask("running", lambda: list(runtime.find(Order, complete=False, suspended=False)))
        ask("suspended", lambda: list(runtime.find(Order, suspended=True)))
        ask("parked", lambda: list(runtime.parked()))
        ask("timeouts", lambda: list(runtime.timeouts()))
        ask("why", lambda: runtime.why("placed o1"))
        ask("trace", lambda: repr(runtime.trace("placed o1")))
        ask("stuck", lambda: list(runtime.stuck(Order, timedelta(0))))
    return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    fill(folder, VirtualClock())
    return folder


def finished(folder: Path, clock: VirtualClock) -> tuple[dict[str, list[str]], bool]:
    """Run everything that is left, and more: every instance's log, and whether all seems well."""
    logs: dict[str, list[str]] = {}
    with Runtime(folder, shop, clock=clock, durability="none") as runtime:
        settled(runtime)
        runtime.publish_many([Paid(name, 9) for name in ORDERS], stream="feed::x-2")
        settled(runtime)
        clock.advance(timedelta(days=3))
        settled(runtime)
        for name in ORDERS:
            with suppress(StoreError):
                view = runtime.get(Order, name)
                logs[name] = view.state["log"] if view is not None else []
        is_well = not verify_here(runtime) and len(list(runtime.parked())) == 1
    return logs, is_well


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_byte_is_flipped_no_answer_is_wrong_and_no_instance_goes_on_from_a_wrong_state(
    filled: Path,
    tmp_path_factory: pytest.TempPathFactory,
    findings: list[StoreFinding],
    data: st.DataObject,
) -> None:
    table = data.draw(st.sampled_from([one for one in TABLES if rows(filled, one)]), "table")
    key, value = data.draw(st.sampled_from(rows(filled, table)), "row")
    place = data.draw(st.integers(0, len(value) - 1), "place")
    bits = data.draw(st.integers(1, 255), "bits")
    whole, flipped = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("flipped")
    for folder in (whole, flipped):
        shutil.copytree(filled, folder, dirs_exist_ok=True)
    damage(flipped, table, key, place, bits)
    right = asked(whole)
    if table == "meta" and key == b"format":
        with pytest.raises(CorruptRecord, match="'meta'"):
            asked(flipped)
        findings.clear()
        return
    found = asked(flipped)
    for what, answer in found.items():
        if isinstance(answer, list):
            for one in answer:
                if isinstance(one, Listed) and one not in right[what]:
                    # A listing goes on, with something in the place of what is damaged.
                    assert f"{key!r} of table {table!r}" in str(one.known()["error"]), what
                else:
                    assert one in right[what], what
            if table not in {"waiting", "parked", "decided", "index"}:
                # Whether a damaged event is of a category is not known.
                assert len(answer) >= len(right[what]), what
        elif isinstance(answer, StoreError):
            assert repr(key) in str(answer), what
            assert f"{table!r}" in str(answer), what
        else:
            assert answer == right[what], what
    expected, _ = finished(whole, VirtualClock())
    if table == "checkpoints" or (table, key) == ("meta", b"secret"):
        # It is not opened, since it cannot tell how far it was, or what ids stand for.
        with pytest.raises(CorruptRecord, match=f"'{table}'"):
            finished(flipped, VirtualClock())
        findings.clear()
        return
    logs, is_well = finished(flipped, VirtualClock())
    findings.clear()
    for folder in (whole, flipped):
        shutil.rmtree(folder)
    for name, log in logs.items():
        entries = iter(expected[name])
        assert all(entry in entries for entry in log), f"{name}: {log} is not of {expected[name]}"
    # Otherwise somebody sees it.
    assert logs == expected or not is_well


# Damaged while there is something to do


@pytest.fixture
def worn(tmp_path: Path, clock: VirtualClock) -> Path:
    """A store with three instances, each with two transitions, and timers."""
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        runtime.publish_many([Placed(name) for name in ("o0", "o1")], stream="feed::x-1")
        settled(runtime)
    return tmp_path


def test_an_instance_whose_newest_transition_is_damaged_is_suspended_and_delays_no_other(
    worn: Path, clock: VirtualClock, findings: list[StoreFinding]
) -> None:
    key = key_of(worn, "o0", 2)
    damage(worn, "transitions", key)
    with Runtime(worn, shop, clock=clock) as runtime:
        for number in (1, 2):
            runtime.publish_many([Paid(name, number) for name in ("o0", "o1")], stream="f::x-1")
            settled(runtime)
        view = runtime.get(Order, "o1")
        assert view is not None
        assert view.state["log"] == ["placed", "shipped", "paid 1", "paid 2"]
        (parked,) = runtime.parked()
        assert (parked.instance, parked.cause) == ("o0", "f::x-1@1")
        assert "CorruptRecord" in parked.error
        assert f"the record {key!r} of table 'transitions'" in parked.error
        for question in (
            lambda: runtime.get(Order, "o0"),
            lambda: runtime.refresh(Order, "o0"),
            lambda: runtime.move_timeout(Order, "o0", "late", timedelta(1)),
        ):
            with pytest.raises(CorruptRecord, match=re.escape(repr(key))):
                question()
        damaged, sound = runtime.find(Order)
        assert (damaged.id, sound) == ("o0", view)
        assert repr(key) in str(damaged.error)
        assert runtime.stats()["skipped_early"] == 0
        # Nothing becomes of it, however often somebody tries, and it stays where a person sees it.
        runtime.retry(parked.id)
        settled(runtime)
        (again,) = runtime.parked()
        assert (again.instance, again.cause) == ("o0", "f::x-1@1")
    assert [one.table for one in findings] == ["transitions"]
    findings.clear()
    log = transitions_key("shop.Order", "o0")
    assert len([key for key, _ in rows(worn, "ids") if key.startswith(log)]) == 2


def test_a_timeout_of_an_instance_that_cannot_be_read_is_parked_and_stays_set(
    worn: Path, clock: VirtualClock, findings: list[StoreFinding]
) -> None:
    damage(worn, "transitions", key_of(worn, "o0", 2))
    before = [key for key, _ in rows(worn, "timers")]
    with Runtime(worn, shop, clock=clock) as runtime:
        clock.advance(timedelta(days=1))
        settled(runtime)
        (parked,) = runtime.parked()
        assert (parked.instance, parked.cause) == ("o0", "timeout:late")
        runtime.publish(Paid("o0", 1), stream="feed::x-1")
        settled(runtime)
        assert runtime.stats()["waiting"] == 1
        view = runtime.get(Order, "o1")
        assert view is not None
        assert view.state["log"][-1] == "late"
    assert len(rows(worn, "timers")) == len(before) - 1
    findings.clear()


def test_a_refusal_for_an_instance_that_cannot_be_read_is_parked_and_told_after_a_repair(
    tmp_path: Path, clock: VirtualClock, findings: list[StoreFinding]
) -> None:
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        runtime.publish(Placed("o2"), stream="feed::x-1")
        settled(runtime)
    damage(tmp_path, "transitions", key_of(tmp_path, "o2", 2))
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        clock.advance(timedelta(days=2))
        settled(runtime)
        assert {one.instance for one in runtime.parked()} == {"o2"}
    damage(tmp_path, "transitions", key_of(tmp_path, "o2", 2))
    findings.clear()
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        for parked in runtime.parked():
            runtime.retry(parked.id)
        settled(runtime)
        view = runtime.get(Order, "o2")
        assert view is not None
        assert sorted(view.state["log"]) == ["late", "placed", "rejected", "rejected"]
        assert list(runtime.parked()) == []


def test_a_damaged_event_is_parked_at_every_process_manager_and_the_others_are_handled(
    tmp_path: Path, findings: list[StoreFinding]
) -> None:
    with Runtime(tmp_path, Domain("shop")) as nobody:
        nobody.publish_many([Counted(number) for number in range(3)], stream="feed::x-1")
    domain = Domain("shop")

    @domain.register
    class Counter(ProcessManager, correlate=lambda event: "all", begin="origin"):
        seen: list[int] = []

        @handle(Counted, start=True)
        def on_counted(self, event: Counted) -> None:
            self.seen.append(event.number)

    damage(tmp_path, "log", (2).to_bytes(8, "big"))
    with Runtime(tmp_path, domain) as runtime:
        settled(runtime)
        view = runtime.get(Counter, "all")
        assert view is not None
        assert view.state["seen"] == [0, 2]
        (parked,) = runtime.parked()
        assert (parked.process, parked.cause) == ("shop.Counter", "position 2")
        with pytest.raises(CorruptRecord, match="'log'"):
            runtime.retry(parked.id)
        findings.clear()
    damage(tmp_path, "log", (2).to_bytes(8, "big"))
    with Runtime(tmp_path, domain) as runtime:
        runtime.retry(parked.id)
        settled(runtime)
        view = runtime.get(Counter, "all")
        assert view is not None
        assert view.state["seen"] == [0, 2, 1]
    # Damaged where it was put there, but the whole of the store is right again.
    assert [str(one) for one in findings if one.table != "log"] == [], findings
    findings.clear()


def test_a_damaged_event_that_an_instance_waits_with_is_parked_and_the_others_are_taken_up(
    tmp_path: Path, findings: list[StoreFinding]
) -> None:
    Order.fails_at |= {("o1", 1)}
    with Runtime(tmp_path, shop) as runtime:
        runtime.publish(Placed("o1"), stream="feed::x-1")
        settled(runtime)
        positions = runtime.publish_many([Paid("o1", n) for n in (1, 2, 3)], stream="feed::x-1")
        settled(runtime)
    Order.fails_at.clear()
    damage(tmp_path, "log", positions[1].to_bytes(8, "big"))
    with Runtime(tmp_path, shop) as runtime:
        (first,) = runtime.parked()
        runtime.retry(first.id)
        settled(runtime)
        (parked,) = runtime.parked()
        assert (parked.instance, parked.cause) == ("o1", f"position {positions[1]}")
        runtime.skip(parked.id)
        settled(runtime)
        view = runtime.get(Order, "o1")
        assert view is not None
        assert view.state["log"] == ["placed", "shipped", "paid 1", "paid 3"]
    findings.clear()


def test_a_log_that_cannot_be_read_at_all_is_said_by_settle_and_nothing_spins(
    worn: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    def refuse(*_: object) -> list[Any]:
        nonlocal reads
        reads += 1
        raise DamagedStore("data.mdb cannot be read: the disk fails")

    with Runtime(worn, Domain("shop"), clock=clock, retired=["shop.Order"]) as nobody:
        nobody.publish(Placed("o4"), stream="feed::x-1")
    with monkeypatch.context() as broken:
        broken.setattr(OpenCommit, "read_log", refuse)
        runtime = Runtime(worn, shop, clock=clock)
        with pytest.raises(StoreError, match="the disk fails"):
            settled(runtime)
        assert 0 < reads < 10
    # The next event has the routers look again.
    runtime.publish(Paid("o4", 1), stream="feed::x-1")
    settled(runtime)
    view = runtime.get(Order, "o4")
    assert view is not None
    assert view.state["log"][:2] == ["placed", "paid 1"]
    runtime.close()
