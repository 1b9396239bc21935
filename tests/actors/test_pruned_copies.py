"""A store of which much was pruned is copied, compacted, moved and checked as any other."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    Personal,
    ProcessManager,
    Pruned,
    Rejected,
    Runtime,
    apply,
    handle,
)
from procession.store import backup, compact, copy, open_store
from procession.store.layout.schema import TABLES
from procession.store.verify.verify import verify_path
from procession.testing import VirtualClock
from tests.postgresql import shared_server

DAY = timedelta(days=1)

shop = Domain("shop")


class Place(Command):
    order: str
    customer: str


class Placed(Event):
    order: str
    customer: str


class Shipped(Event):
    order: str


class Returned(Event):
    receipt: str


class Rename(Command):
    customer: str
    name: Annotated[str, Personal]


class Renamed(Event):
    customer: str
    name: Annotated[str, Personal]


@shop.register
class Order(Aggregate, identity="order", retention=DAY):
    is_placed: bool = False

    @handle(Place)
    def place(self, command: Place) -> Placed:
        if self.is_placed:
            raise Rejected("was placed")
        return Placed(command.order, command.customer)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.is_placed = True


@shop.register
class Customer(Aggregate, identity="customer", snapshot_every=3):
    name: Annotated[str, Personal] = ""
    renamed: int = 0

    @handle(Rename)
    def rename(self, command: Rename) -> Renamed:
        return Renamed(command.customer, command.name)

    @apply(Renamed)
    def _renamed(self, event: Renamed) -> None:
        self.name, self.renamed = event.name, self.renamed + 1


@shop.register
class Fulfil(ProcessManager, correlate="order", retention=DAY, restart=True, late="skip"):
    order: str = ""
    receipt: Indexed[str] = ""

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.receipt = f"r-{event.order}"
        if event.order == "bad":
            raise ValueError("no stock")

    @handle(Returned, correlate={"receipt": "receipt"})
    def on_returned(self, event: Returned) -> None: ...

    @handle(Shipped, end=True)
    def on_shipped(self, event: Shipped) -> None: ...


def opened(place: str, clock: VirtualClock) -> Runtime:
    return Runtime(place, shop, clock=clock, durability="none", control=False)


def live(runtime: Runtime, *orders: str) -> None:
    for order in orders:
        runtime.ask(Place(order, "c1"), command_id=f"place-{order}")
        runtime.ask(Rename("c1", f"Ada of {order}"))
        runtime.publish(Shipped(order), stream=f"post-{order}", event_id=f"ship-{order}")
    runtime.settle(timeout=20)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(tmp_path: Path, clock: VirtualClock) -> str:
    """With tombstones, some of which were forgotten, a stream that was cut, and another run."""
    place = str(tmp_path / "s")
    with opened(place, clock) as runtime:
        live(runtime, "o1", "o2", "bad")
        for parked in runtime.parked():
            runtime.skip(parked.id)
        clock.advance(DAY)
        forgotten = clock.now()
        live(runtime, "o3", "o4")
        clock.advance(2 * DAY)
        runtime.prune(before=clock.now(), ids_before=forgotten)
        live(runtime, "o5")
        runtime.ask(Place("o3", "c1"))
        runtime.settle(timeout=20)
    return place


def is_sound(place: str) -> bool:
    return verify_path(place).findings == []


def rows_in(place: str) -> dict[str, list[tuple[bytes, bytes]]]:
    """All rows, but for those that say which store it is, and of its backups."""
    with open_store(place, read_only=True) as store, store.snapshot() as snapshot:
        found = {table: list(snapshot.scan(table)) for table in TABLES}
    found["meta"] = [row for row in found["meta"] if row[0] in {b"pruned", b"secret"}]
    return found


def told_of(runtime: Runtime) -> list[Any]:
    """What the runtime says of all that there is and was, but for ids that are random."""
    orders = [f"o{number}" for number in range(1, 7)]
    return [
        [(one.position, one.stream, one.version, one.event) for one in runtime.events()],
        [runtime.get(Fulfil, order) for order in orders],
        [(one.version, one.handler) for order in orders for one in runtime.history(Fulfil, order)],
        runtime.get(Customer, "c1"),
        runtime.counts(),
        list(runtime.parked(decided=True)),
    ]


def go_on(runtime: Runtime) -> list[Any]:
    """What comes of the same that comes once more, and of what is new."""
    with pytest.raises(Pruned, match="carried out before"):
        runtime.ask(Place("o4", "c1"), command_id="place-o4")
    said: list[Any] = [
        runtime.publish(Shipped("o4"), stream="post-o4", event_id="ship-o4"),
        # Of this one, nothing is known any more.
        runtime.publish(Shipped("o1"), stream="post-o1", event_id="ship-o1"),
        runtime.publish(Returned("r-o4"), stream="web-1"),
        runtime.ask(Rename("c1", "Byron")).position,
    ]
    live(runtime, "o6")
    runtime.clock.advance(3 * DAY)
    runtime.settle(timeout=20)
    return [*said, told_of(runtime)]


def by_backup(place: str, new: Callable[[], str]) -> str:
    backup(place, target := new())
    return target


def by_compacting(place: str, new: Callable[[], str]) -> str:
    compact(by_backup(place, new), target := new())
    compact(target)
    return target


def by_moving(place: str, new: Callable[[], str]) -> str:
    copy(place, database := shared_server().new_url())
    copy(database, target := new())
    return target


@pytest.mark.parametrize("taken", [by_backup, by_compacting, by_moving])
def test_a_copy_of_what_was_pruned_has_the_same_rows_and_goes_on_as_the_store_does(
    store: str, taken: Callable[..., str], tmp_path: Path, clock: VirtualClock
) -> None:
    places = (str(tmp_path / f"copy-{number}") for number in range(9))
    target = taken(store, places.__next__)
    assert is_sound(target)
    assert rows_in(target) == rows_in(store)
    now = clock.now()
    came_of_it = []
    for place in (store, target):
        its_clock = VirtualClock(now)
        with opened(place, its_clock) as runtime:
            assert runtime.get(Customer, "c1").state["renamed"] == 6  # type: ignore[union-attr]
            came_of_it.append([told_of(runtime), go_on(runtime)])
        assert is_sound(place)
    assert came_of_it[0] == came_of_it[1]


def test_a_backup_that_a_runtime_makes_while_it_prunes_is_sound(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with opened(str(tmp_path / "s"), clock) as runtime:
        for day in range(3):
            live(runtime, *(f"{day}-{number}" for number in range(3)))
            clock.advance(2 * DAY)
            runtime.prune(before=clock.now())
            runtime.backup(tmp_path / f"copy-{day}")
    for day in range(3):
        assert is_sound(str(tmp_path / f"copy-{day}"))


def test_a_person_is_erased_from_a_snapshot_whose_events_were_pruned(
    store: str, clock: VirtualClock
) -> None:
    with opened(store, clock) as runtime:
        runtime.erase(subject="c1")
        assert runtime.get(Customer, "c1").state == {  # type: ignore[union-attr]
            "name": "(erased)",
            "renamed": 6,
        }
        runtime.ask(Rename("c1", "Byron"))
    with opened(store, clock) as runtime:
        assert runtime.get(Customer, "c1").state == {  # type: ignore[union-attr]
            "name": "Byron",
            "renamed": 7,
        }
    assert is_sound(store)
    with open_store(store, read_only=True) as opened_store, opened_store.snapshot() as snapshot:
        rows = [row for table in TABLES for _, row in snapshot.scan(table)]
    assert not [row for row in rows if b"Ada" in row]
