"""A runtime copies and checks its store while everything goes on; the copy goes on by itself."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    ClosedError,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Rejected,
    Runtime,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.store import StoreError, StoreFinding, verify
from procession.testing import VirtualClock

shop = Domain("backup")


class Place(Command):
    order: str


class Placed(Event):
    order: str


class Pay(Command):
    order: str


class Paid(Event):
    order: str


@shop.register
class Order(Aggregate, identity="order"):
    is_placed: bool = False

    @handle(Place)
    def place(self, command: Place) -> Placed:
        if self.is_placed:
            raise Rejected("placed before")
        return Placed(self.id)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.is_placed = True


@shop.register
class Payment(Aggregate, identity="order"):
    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        if command.order.endswith("7"):
            raise Rejected("no money")
        return Paid(self.id)


@shop.register
class Fulfilment(ProcessManager, correlate="order"):
    order: str = ""
    receipt: Indexed[str] = ""
    status: str = "new"

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        if event.order.endswith("9"):
            raise ValueError("nine")
        self.receipt = f"r-{event.order}"
        self.set_timeout("slow", timedelta(days=1))
        self.issue(Pay(self.order))
        self.issue(Pay(self.order), after=timedelta(days=2))

    @rejected(Pay)
    def on_refused(self, command: Pay, reason: str) -> None:
        self.status = reason

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.status = "paid"

    @timeout("slow")
    def on_slow(self) -> None:
        self.status = "slow"


@pytest.fixture
def runtime(tmp_path: Path, clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime(tmp_path / "store", shop, clock=clock, durability="none") as runtime:
        yield runtime


def test_a_backup_taken_in_the_middle_of_the_work_is_whole_and_goes_on_to_finish_it(
    runtime: Runtime, tmp_path: Path, clock: VirtualClock
) -> None:
    acknowledged: list[str] = []
    may_end = threading.Event()

    def place() -> None:
        number = 0
        while number < 200 or not may_end.is_set():
            number += 1
            runtime.tell_many([Place(f"o{number}-{place}") for place in range(5)])
            acknowledged.extend(f"o{number}-{place}" for place in range(5))

    caller = threading.Thread(target=place)
    caller.start()
    expected = {}
    for name in ("first", "second"):
        before = list(acknowledged)
        runtime.backup(tmp_path / name)
        expected[name] = before
    may_end.set()
    caller.join()
    for name, orders in expected.items():
        assert verify(tmp_path / name) == []
        with Runtime(tmp_path / name, shop, clock=clock, durability="none") as restored:
            restored.settle(timeout=30)
            assert restored.verify() == []
            views = {order: restored.get(Fulfilment, order) for order in orders}
            assert {view.state["status"] for view in views.values() if view} <= {"paid"}
            assert all(views.values())
            restored.ask(Place("one-more"))
    runtime.settle(timeout=30)
    assert runtime.get(Fulfilment, "one-more") is None


def test_a_store_of_all_kinds_of_work_is_found_sound_at_every_stage(
    runtime: Runtime, clock: VirtualClock
) -> None:
    runtime.tell_many([Place(f"o{number}") for number in range(20)])
    runtime.settle(timeout=30)
    assert runtime.verify() == []
    parked = [one.id for one in runtime.parked()]
    assert len(parked) == 2
    runtime.skip(parked[0])
    runtime.retry(parked[1])
    runtime.settle(timeout=30)
    assert runtime.verify() == []
    assert runtime.move_timeout(Fulfilment, "o1", "slow", timedelta(hours=1))
    assert runtime.cancel_timeout(Fulfilment, "o2", "slow")
    assert runtime.refresh(Fulfilment, "o3") == 1
    assert runtime.verify() == []
    clock.advance(timedelta(days=1, hours=1))
    runtime.settle(timeout=30)
    assert runtime.verify() == []
    clock.advance(timedelta(days=1))
    runtime.settle(timeout=30)
    assert runtime.verify() == []


def test_a_learnt_key_that_the_index_lost_is_found_by_the_classes_of_the_runtime(
    tmp_path: Path, clock: VirtualClock, findings: list[StoreFinding]
) -> None:
    loose = Domain("loose")

    class Seen(Event):
        key: str

    class Before(ProcessManager, correlate="key"):
        key: str = ""
        mark: str = ""

        @handle(Seen, start=True)
        def on_seen(self, event: Seen) -> None:
            self.mark = f"m-{event.key}"

    class Later(ProcessManager, correlate="key"):
        key: str = ""
        mark: Indexed[str] = ""

        @handle(Seen, start=True)
        def on_seen(self, event: Seen) -> None:
            self.mark = f"m-{event.key}"

    Before.__name__ = Later.__name__ = Before.__qualname__ = Later.__qualname__ = "Keeper"
    loose.register(Seen, Before)
    with Runtime(tmp_path, loose, clock=clock) as runtime:
        runtime.publish(Seen("a"), stream="loose::feed-1")
        runtime.settle(timeout=30)
        assert runtime.verify() == []
    later = Domain("loose")
    later.register(Seen, Later)
    with Runtime(tmp_path, later, clock=clock) as runtime:
        (found,) = runtime.verify()
        assert found.problem == (
            "loose.Keeper a version 1: has mark='m-a', and the index does not find it by that"
        )
    findings.clear()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_runtime_that_only_reads_makes_backups_as_well(
    runtime: Runtime, tmp_path: Path, *, read_only: bool
) -> None:
    runtime.ask(Place("o1"))
    runtime.settle(timeout=30)
    with Runtime(tmp_path / "store", shop, read_only=True) as reader:
        (reader if read_only else runtime).backup(tmp_path / "copy")
        assert reader.verify() == []
    with Runtime(tmp_path / "copy", shop, read_only=True) as restored:
        assert restored.get(Fulfilment, "o1") is not None


def test_a_backup_into_a_folder_that_holds_something_is_refused(
    runtime: Runtime, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="is not empty"):
        runtime.backup(tmp_path)
    runtime.ask(Place("o1"))


@pytest.mark.parametrize("call", ["backup", "verify"])
def test_a_closed_runtime_is_neither_copied_nor_checked(call: str, tmp_path: Path) -> None:
    runtime = Runtime(tmp_path / "store", shop)
    runtime.close()
    arguments: list[Any] = [tmp_path / "copy"] if call == "backup" else []
    with pytest.raises(ClosedError):
        getattr(runtime, call)(*arguments)
    assert not (tmp_path / "copy").exists()
