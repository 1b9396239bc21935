"""A store that was pruned is taken apart into partitions, which answer what it answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import lmdb
import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Pruned,
    Rejected,
    Runtime,
    handle,
)
from procession.store import DamagedStore, copy
from procession.testing import VirtualClock
from tests.actors.engine.test_pruning import DAY, Place, Returned, Shipped, named, shop
from tests.postgresql import shared_server

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 4
WAIT = 30
EARLY, LATE = [f"o{number}" for number in range(8)], [f"o{number}" for number in range(8, 12)]


@pytest.fixture(params=["folder", "database"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the divided store is to be."""
    if request.param == "database":
        return shared_server().new_url(without_tables=True)
    return str(tmp_path / "divided")


def place(runtime: Runtime, names: list[str]) -> None:
    for name in names:
        runtime.tell(Place(order_id=name), command_id=f"place-{name}")
    runtime.settle(WAIT)


def ship(runtime: Runtime, names: list[str]) -> None:
    """From outside, all in one stream."""
    for name in names:
        runtime.publish(Shipped(order_id=name), stream="post-1", event_id=f"s-{name}")
    runtime.settle(WAIT)


def pruned_store(folder: Path, clock: VirtualClock, *, ids: bool, late: bool) -> None:
    """Orders of which most were pruned, some with all that was known of them; one runs."""
    with Runtime(folder, shop(), clock=clock, control=False) as runtime:
        place(runtime, EARLY)
        ship(runtime, EARLY[:5])
        clock.advance(3 * DAY)
        runtime.prune(before=clock.now())
        ship(runtime, EARLY[5:7])
        clock.advance(3 * DAY)
        runtime.prune(before=clock.now(), ids_before=clock.now() - 2 * DAY if ids else None)
        if late:
            place(runtime, LATE)
            ship(runtime, LATE[:2])
        assert runtime.verify() == []


def said_of(runtime: Runtime, domain: Any) -> dict[str, Any]:
    """What it says of all that was ever there, without positions."""
    said: dict[str, Any] = {}
    for name in (*EARLY, *LATE):
        for cls in ("Fulfil", "Order", "Payment"):
            view = runtime.get(named(domain, cls), name)
            said[f"{cls} {name}"] = view
        said[f"history {name}"] = [
            (one.version, one.handler, one.state, one.is_complete, one.cause, one.time)
            for one in runtime.history(named(domain, "Fulfil"), name)
        ]
        for category in ("shop::order", "shop::payment"):
            said[f"{category} {name}"] = [
                (one.version, one.event_id, one.event, one.time)
                for one in runtime.events(f"{category}-{name}")
            ]
    said["post"] = [(one.version, one.event_id, one.event) for one in runtime.events("post-1")]
    said["found"] = sorted(one.id for one in runtime.find(named(domain, "Fulfil")))
    said["counts"] = {name: one.instances for name, one in runtime.counts().items()}
    return said


def answer(runtime: Runtime, name: str) -> tuple[object, ...]:
    """What comes of acts that were done before."""
    events = len(list(runtime.events("post-1")))
    try:
        asked: object = runtime.ask(Place(order_id=name), command_id=f"place-{name}")
    except Pruned:
        asked = Pruned
    except Rejected as error:
        asked = str(error)
    runtime.settle(WAIT)
    ship(runtime, [name])
    runtime.publish(Returned(receipt=f"r-{name}"), stream=f"back-{name}")
    runtime.settle(WAIT)
    return asked, len(list(runtime.events("post-1"))) - events


@pytest.mark.parametrize("late", [True, False], ids=["with newer ones", "hardly anything left"])
@pytest.mark.parametrize("ids", [True, False], ids=["ids forgotten", "ids kept"])
def test_a_pruned_store_that_is_divided_answers_what_it_answered(
    tmp_path: Path, target: str, *, ids: bool, late: bool
) -> None:
    clock, domain = VirtualClock(), shop()
    pruned_store(tmp_path / "whole", clock, ids=ids, late=late)
    copy(tmp_path / "whole", target, partitions=PARTITIONS)
    options: dict[str, Any] = {"clock": clock, "control": False}
    with (
        Runtime(tmp_path / "whole", domain, **options) as whole,
        Runtime(target, domain, **options) as divided,
    ):
        assert said_of(divided, domain) == said_of(whole, domain)
        assert divided.verify() == []
        for name in (*EARLY, *LATE):
            assert answer(divided, name) == answer(whole, name), name
        for runtime in (whole, divided):
            runtime.refresh(named(domain, "Fulfil"))
        assert said_of(divided, domain) == said_of(whole, domain)
        assert divided.verify() == []
        clock.advance(5 * DAY)
        for runtime in (whole, divided):
            runtime.prune(before=clock.now(), ids_before=clock.now() - timedelta(hours=1))
        assert divided.verify() == []
        new = [f"new-{number}" for number in range(6)]
        for runtime in (whole, divided):
            place(runtime, new)
            ship(runtime, new)
        assert divided.verify() == []
        for name in new:
            view = divided.get(named(domain, "Fulfil"), name)
            assert view is not None
            assert view.is_complete, name


@pytest.mark.parametrize("table", ["log", "tombstones", "transitions"])
def test_what_is_missing_and_was_not_pruned_is_found(tmp_path: Path, table: str) -> None:
    pruned_store(tmp_path / "whole", VirtualClock(), ids=False, late=True)
    with lmdb.Environment(str(tmp_path / "whole"), max_dbs=64) as env:
        rows = env.open_db(table.encode())
        with env.begin(write=True) as txn, txn.cursor(rows) as cursor:
            # One before the newest.
            assert cursor.last()
            assert cursor.prev()
            cursor.delete()
    with pytest.raises(DamagedStore, match=r"has nothing at|comes where|is at position"):
        copy(tmp_path / "whole", tmp_path / "divided", partitions=2)
    assert not (tmp_path / "divided").exists()


class Make(Command):
    order_id: str


class First(Event):
    order_id: str


class Second(Event):
    order_id: str


class Third(Event):
    order_id: str


class Fourth(Event):
    order_id: str


MADE = First, Second, Third, Fourth


def works(handled: list[type[Event]]) -> Domain:
    """A command makes four events, of which a process manager handles some and keeps none."""
    domain = Domain("works")

    @domain.register
    class Work(Aggregate, identity="order_id", snapshot_every=3):
        @handle(Make)
        def make(self, command: Make) -> list[Event]:
            return [one(order_id=self.id) for one in MADE]

    def handler(of: type[Event]) -> Any:
        def on_made(self: Any, event: Event) -> None:
            del self, event

        return handle(of, start=True)(on_made)

    for one in MADE:
        domain.register(one)
    handlers = {f"on_{one.__name__}": handler(one) for one in handled}
    base: Any = ProcessManager
    domain.register(type(base)("Follow", (base,), handlers, correlate="order_id", retention=DAY))
    return domain


@pytest.mark.parametrize(
    "handled", [[First], [Second], [Third], [First, Second], [Second, Third], [First, Third]]
)
def test_what_a_command_made_is_known_although_some_of_it_was_pruned_and_forgotten(
    tmp_path: Path, handled: list[type[Event]]
) -> None:
    domain, clock = works(handled), VirtualClock()
    names = [f"o{number}" for number in range(6)]
    with Runtime(tmp_path / "whole", domain, clock=clock, control=False) as runtime:
        for name in names:
            runtime.ask(Make(name), command_id=f"make-{name}")
        runtime.settle(WAIT)
        clock.advance(30 * DAY)
        runtime.prune(before=clock.now(), ids_before=clock.now())
        for name in names[:2]:
            runtime.ask(Make(name), command_id=f"again-{name}")
        runtime.settle(WAIT)
        events = sorted(event.event_id for event in runtime.events())
    copy(tmp_path / "whole", tmp_path / "divided", partitions=2)
    places = tmp_path / "whole", tmp_path / "divided"
    answers = []
    for place in places:
        with Runtime(place, domain, clock=clock, control=False) as runtime:
            assert runtime.verify() == []
            assert sorted(event.event_id for event in runtime.events()) == events
            answers.append([told_again(runtime, f"make-{name}", name) for name in names])
            answers[-1] += [told_again(runtime, f"again-{name}", name) for name in names[:2]]
    assert answers[0] == answers[1]


def told_again(runtime: Runtime, command_id: str, name: str) -> object:
    try:
        return [type(one) for one in runtime.ask(Make(name), command_id=command_id)]
    except Pruned:
        return Pruned


def test_a_store_is_divided_of_whose_events_no_instance_has_taken_any(tmp_path: Path) -> None:
    domain = Domain("mail")

    class Sent(Event):
        order_id: str

    class Read(Event):
        order_id: str

    @domain.register
    class Mail(ProcessManager, correlate="order_id", retention=DAY):
        @handle(Sent, start=True)
        def on_sent(self, event: Sent) -> None: ...

        @handle(Read)
        def on_read(self, event: Read) -> None: ...

    clock = VirtualClock()
    with Runtime(tmp_path / "whole", domain, clock=clock, control=False) as runtime:
        for number in range(8):
            runtime.publish(Read(f"o{number}"), stream=f"in-{number}")
        runtime.settle(WAIT)
        clock.advance(30 * DAY)
        runtime.prune(before=clock.now())
    copy(tmp_path / "whole", tmp_path / "divided", partitions=4)
    with Runtime(tmp_path / "divided", domain, clock=clock, control=False) as runtime:
        runtime.publish(Sent("o1"), stream="in-1")
        runtime.settle(WAIT)
        assert runtime.get(Mail, "o1") is not None
        assert runtime.verify() == []
