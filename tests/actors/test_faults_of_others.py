"""Faults that other systems of this kind were seen to have, each with the test that it is not here.

What else was seen is in the tests of what it is about: promises, correlation, starts, contexts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import types
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Runtime,
    handle,
    rejected,
)
from procession.store import LmdbStore


class Ordered(Event):
    order_id: str | None


class Paid(Event):
    order_id: str
    amount: int = 1


class Closed(Event):
    order_id: str


def go(runtime: Runtime, *events: Event) -> None:
    """Publish events and let everything happen that they cause."""
    runtime.publish_many(events, stream="feed::x-1")
    runtime.settle(timeout=20)


def state(runtime: Runtime, cls: type[ProcessManager], name: str = "o1") -> dict[str, Any]:
    view = runtime.get(cls, name)
    assert view is not None, f"there is no {cls.__name__} {name!r}"
    return view.state


def make(name: str, body: dict[str, Any], **options: Any) -> type[ProcessManager]:
    """A process manager class that a test puts together."""
    options["correlate"] = "order_id"
    return types.new_class(name, (ProcessManager,), options, lambda space: space.update(body))


class Order(ProcessManager, correlate="order_id", restart=True, begin="origin"):
    order_id: str | None = ""
    log: list[str] = []

    # What a test wants to happen when it is paid.
    on_payment: ClassVar[Any] = None

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.log.append("ordered")

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        self.log.append(f"paid {event.amount}")
        if Order.on_payment is not None:
            Order.on_payment(self, event)

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None:
        self.log.append("closed")


@pytest.fixture(autouse=True)
def no_hook() -> Any:
    yield
    Order.on_payment = None


@pytest.fixture
def shop() -> Domain:
    domain = Domain("shop")
    domain.register(Order)
    return domain


# Starts and keys


def test_a_start_that_is_delivered_twice_runs_its_handler_once(shop: Domain) -> None:
    with Runtime.ephemeral(shop) as runtime:
        for _ in range(2):
            runtime.publish(Ordered("o1"), stream="feed::x-1", event_id="e1")
        runtime.settle(timeout=10)
        assert state(runtime, Order)["log"] == ["ordered"]


def test_a_null_key_makes_no_instance_called_none(shop: Domain) -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered(None), Ordered("o1"))
        assert runtime.get(Order, "None") is None
        assert runtime.stats()["not_for_us"] == 1
        assert state(runtime, Order)["log"] == ["ordered"]


def test_a_key_that_is_used_again_begins_with_nothing_of_the_earlier_run(
    shop: Domain, tmp_path: Path
) -> None:
    with Runtime(tmp_path, shop) as runtime:
        go(runtime, Ordered("o1"), Paid("o1", 1), Closed("o1"))
        go(runtime, Ordered("o1"), Paid("o1", 2))
        assert state(runtime, Order)["log"] == ["ordered", "paid 2"]
    with Runtime(tmp_path, shop) as runtime:
        go(runtime, Paid("o1", 3))
        assert state(runtime, Order)["log"] == ["ordered", "paid 2", "paid 3"]


# Values in state


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


PLUS_TWO = timezone(timedelta(hours=2))

VALUES: dict[str, tuple[Any, Any]] = {
    "decimal": (Decimal, Decimal("1.10")),
    "decimals": (list[Decimal], [Decimal("1.10"), Decimal("-0.000")]),
    "prices": (dict[str, Decimal], {"a": Decimal("2.50")}),
    "naive": (datetime, datetime(2024, 2, 29, 12, 0, 0, 1)),  # noqa: DTZ001 - that is the point
    "aware": (datetime, datetime(2024, 2, 29, 12, tzinfo=UTC)),
    "elsewhere": (datetime, datetime(2024, 2, 29, 12, tzinfo=PLUS_TWO)),
    "times": (list[datetime], [datetime(2024, 2, 29, 12, tzinfo=UTC), datetime(2024, 1, 1)]),  # noqa: DTZ001
    "by_day": (dict[date, Decimal], {date(2024, 2, 29): Decimal("1.0")}),
    "spans": (list[timedelta], [timedelta(days=-1, microseconds=1)]),
    "colour": (Colour, Colour.GREEN),
    "colours": (dict[Colour, Size], {Colour.RED: Size.LARGE}),
    "key": (UUID, UUID(int=7)),
    "keys": (set[UUID], {UUID(int=1), UUID(int=2)}),
    "frozen": (frozenset[int], frozenset({1, 2})),
    "pair": (tuple[int, str], (1, "a")),
    "many": (tuple[Decimal, ...], (Decimal("0.10"), Decimal(2))),
    "raw": (bytes, b"\0\xff"),
    "maybe": (datetime | None, None),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_in_state_is_stored_and_is_the_same_after_a_restart(
    tmp_path: Path, name: str
) -> None:
    hint, value = VALUES[name]

    def keep(self: Any, event: Paid) -> None:
        self.found.append(self.value)
        self.value = value

    body: dict[str, Any] = {
        "__annotations__": {
            "value": hint | None,
            "found": types.GenericAlias(list, (hint | None,)),
        },
        "__module__": __name__,
        "value": None,
        "found": [],
        "keep": handle(Paid, start=True)(keep),
    }
    keeper = make("Keeper", body)
    domain = Domain("values")
    domain.register(keeper)
    with Runtime(tmp_path, domain, durability="none") as runtime:
        go(runtime, Paid("o1"))
    with Runtime(tmp_path, domain, durability="none") as runtime:
        go(runtime, Paid("o1"))
        found = state(runtime, keeper)
        assert list(runtime.parked()) == []
    for one in (found["value"], found["found"][1]):
        assert repr(one) == repr(value)
        assert type(one) is type(value)


# Classes that change


def changed(**fields: tuple[Any, Any]) -> tuple[Domain, type[ProcessManager]]:
    """A process manager of one name, with fields that differ from version to version."""

    def on_paid(self: Any, event: Paid) -> None:
        self.count += event.amount

    body: dict[str, Any] = {name: default for name, (_, default) in fields.items()}
    body |= {
        "__annotations__": {name: hint for name, (hint, _) in fields.items()},
        "__module__": __name__,
        "on_paid": handle(Paid, start=True)(on_paid),
    }
    cls = make("Changing", body)
    domain = Domain("changes")
    domain.register(cls)
    return domain, cls


def test_a_field_that_was_added_has_its_default_and_one_that_was_removed_is_no_matter(
    tmp_path: Path,
) -> None:
    domain, cls = changed(count=(int, 0), gone=(str, "x"))
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Paid("o1"))
    domain, cls = changed(count=(int, 0), tags=(list[str], ["new"]), limit=(Decimal, Decimal(5)))
    with Runtime(tmp_path, domain) as runtime:
        assert state(runtime, cls) == {"count": 1, "tags": ["new"], "limit": Decimal(5)}
        go(runtime, Paid("o1"))
        assert state(runtime, cls) == {"count": 2, "tags": ["new"], "limit": Decimal(5)}
        assert [one.state["tags"] for one in runtime.history(cls, "o1")] == [["new"], ["new"]]


def test_an_instance_whose_state_no_longer_fits_is_parked_and_delays_no_other(
    tmp_path: Path,
) -> None:
    domain, cls = changed(count=(int, 0), total=(str, "none"))
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Paid("o1"))
    domain, cls = changed(count=(int, 0), total=(int, 0))
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Paid("o1"), Paid("o2"))
        assert state(runtime, cls, "o2") == {"count": 1, "total": 0}
        [parked] = runtime.parked()
        assert (parked.instance, "total" in parked.error) == ("o1", True)
    # Nothing is lost: with the class as it was, it goes on.
    domain, cls = changed(count=(int, 0), total=(str, "none"))
    with Runtime(tmp_path, domain) as runtime:
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert state(runtime, cls)["count"] == 2


# Two process managers


class Brittle(ProcessManager, correlate="order_id"):
    count: int = 0

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None: ...

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        raise ValueError("never")


@pytest.mark.parametrize("classes", [(Order, Brittle), (Brittle, Order)])
def test_one_process_manager_that_fails_drops_no_event_of_another_whichever_comes_first(
    classes: tuple[type[ProcessManager], ...],
) -> None:
    domain = Domain("shop")
    for cls in classes:
        domain.register(cls)
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Paid("o1", 1), Paid("o1", 2))
        assert state(runtime, Order)["log"] == ["ordered", "paid 1", "paid 2"]
        view = runtime.get(Brittle, "o1")
        assert view is not None
        assert view.status == "suspended"


PROGRAM = """
from procession import ALL, Aggregate, Command, Domain, Event, ProcessManager, Runtime, handle
class Happened(Event):
    key: str
class Do(Command):
    key: str
class Done(Event):
    key: str
class Doer(Aggregate, identity="key"):
    @handle(Do)
    def do(self, command: Do) -> Done:
        return Done(self.id)
class P1(ProcessManager, correlate="key"):
    @handle(Happened, start=True)
    def on_happened(self, event: Happened) -> None:
        self.issue(Do("p1"))
class P2(P1):
    @handle(Happened, start=True)
    def on_happened(self, event: Happened) -> None:
        self.issue(Do("p2"))
class P3(P1):
    @handle(Happened, start=True)
    def on_happened(self, event: Happened) -> None:
        raise ValueError
domain = Domain("seeds")
domain.register(Doer, P3, P2, P1)
with Runtime.ephemeral(domain, workers=1) as runtime:
    runtime.publish(Happened("a"), stream="feed-1")
    runtime.settle(timeout=10)
    print([(e.type, e.stream) for e in runtime.events()], len(list(runtime.parked())))
"""


def test_what_happens_does_not_depend_on_the_hash_seed() -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        for seed in ("0", "1", "2")
    ]
    outputs = {program.communicate(timeout=30)[0] for program in programs}
    assert len(outputs) == 1
    assert "seeds::doer-p1" in outputs.pop()


# What cannot be read


def test_an_event_that_cannot_be_read_delays_nobody(tmp_path: Path, shop: Domain) -> None:
    class Odd(Event, name="shop.Paid.v1"):
        order_id: str
        amount: str

    odd = Domain("shop")
    odd.register(Odd)
    with Runtime(tmp_path, odd) as runtime:
        runtime.publish(Odd("o1", "five"), stream="feed::x-1")
    with Runtime(tmp_path, shop) as runtime:
        go(runtime, Ordered("o1"), Ordered("o2"), Paid("o1", 1), Paid("o2", 2))
        assert state(runtime, Order)["log"] == ["ordered", "paid 1"]
        assert state(runtime, Order, "o2")["log"] == ["ordered", "paid 2"]
        [parked] = runtime.parked()
        assert "`$.amount`" in parked.error


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_correlation_that_fails_in_whatever_way_delays_nobody(error: BaseException) -> None:
    def correlate(event: Paid) -> str:
        if event.amount == 13:
            raise error
        return event.order_id

    class Counting(ProcessManager, correlate=correlate):
        count: int = 0

        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None:
            self.count += event.amount

    domain = Domain("shop")
    domain.register(Counting)
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Paid("o1", 1), Paid("o1", 13), Paid("o1", 2), Paid("o2", 5))
        assert state(runtime, Counting) == {"count": 3}
        assert state(runtime, Counting, "o2") == {"count": 5}
        assert len(list(runtime.parked())) == 1


def holding(payment: type[Event] | None) -> tuple[Domain, type[ProcessManager]]:
    """A process manager of one name that holds payments, of whatever class, until the start."""

    def on_ordered(self: Any, event: Ordered) -> None: ...

    def on_payment(self: Any, event: Any) -> None:
        self.count += event.amount

    body: dict[str, Any] = {
        "__annotations__": {"count": int},
        "__module__": __name__,
        "count": 0,
        "on_ordered": handle(Ordered, start=True)(on_ordered),
    }
    if payment is not None:
        body["on_payment"] = handle(payment)(on_payment)
    cls = make("Waiting", body, early="hold")
    domain = Domain("shop")
    domain.register(cls)
    return domain, cls


def test_a_held_event_that_can_no_longer_be_read_is_parked_when_its_turn_comes(
    tmp_path: Path,
) -> None:
    class Before(Event, name="shop.Paid.v1"):
        order_id: str
        sum: int

    class After(Event, name="shop.Paid.v1"):
        order_id: str
        amount: int

    domain, cls = holding(Before)
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Before("o1", 5))
    domain, cls = holding(After)
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Ordered("o1"), Ordered("o2"), After("o2", 2))
        assert state(runtime, cls, "o2") == {"count": 2}
        [parked] = runtime.parked()
        assert (parked.instance, "`amount`" in parked.error) == ("o1", True)
        runtime.skip(parked.id)
        go(runtime, After("o1", 7))
        assert state(runtime, cls, "o1") == {"count": 7}


def test_a_held_event_whose_handler_was_removed_is_skipped_when_its_turn_comes(
    tmp_path: Path,
) -> None:
    domain, cls = holding(Paid)
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Paid("o1", 5))
    domain, cls = holding(None)
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Ordered("o1"))
        view = runtime.get(cls, "o1")
        assert view is not None
        assert (view.version, view.status) == (1, "running")
    with LmdbStore(tmp_path) as store:
        assert store.read_waiting("shop.Waiting", "o1", 0, 10) == (None, [])


# Registering


def test_one_class_in_two_domains_works_in_either_and_is_refused_in_both_at_once() -> None:
    one, other = Domain("one"), Domain("other")
    one.register(Order)
    other.register(Order)
    for domain in (one, other):
        with Runtime.ephemeral(domain) as runtime:
            go(runtime, Ordered("o1"), Paid("o1", 1))
            assert state(runtime, Order)["log"] == ["ordered", "paid 1"]
            assert [e.type.partition(".")[0] for e in runtime.events()] == [domain.name] * 2
    with pytest.raises(DefinitionError, match="Order is in the domains one and other"):
        Runtime.ephemeral(one, other)


def test_registering_again_and_running_again_changes_nothing(shop: Domain, tmp_path: Path) -> None:
    for number in range(3):
        shop.register(Order)
        with Runtime(tmp_path / str(number), shop, shop) as runtime:
            go(runtime, Ordered("o1"), Paid("o1", 1))
            assert state(runtime, Order)["log"] == ["ordered", "paid 1"]
            assert runtime.stats()["transitions"] == 2


def test_two_runtimes_of_one_domain_do_not_get_into_each_others_way(
    shop: Domain, tmp_path: Path
) -> None:
    with Runtime(tmp_path / "a", shop) as one, Runtime(tmp_path / "b", shop) as other:
        go(one, Ordered("o1"), Paid("o1", 1))
        go(other, Ordered("o1"), Paid("o1", 2))
        assert state(one, Order)["log"] == ["ordered", "paid 1"]
        assert state(other, Order)["log"] == ["ordered", "paid 2"]


# Mailboxes and crashes


def test_nothing_is_dropped_when_actors_are_passivated_all_the_time(shop: Domain) -> None:
    names = [f"o{number}" for number in range(25)]
    with Runtime.ephemeral(shop, max_awake=1, workers=4) as runtime:
        for name in names:
            # One after the other, so that each makes room for the next.
            go(runtime, Ordered(name))
        for amount in range(20):
            for name in names:
                runtime.publish(Paid(name, amount), stream="feed::x-1")
        runtime.settle(timeout=20)
        for name in names:
            assert state(runtime, Order, name)["log"] == [
                "ordered",
                *(f"paid {amount}" for amount in range(20)),
            ]
        assert runtime.stats()["passivated"] > 0


class Ship(Command):
    order_id: str


class Shipped(Event):
    order_id: str


class Store(Aggregate, identity="order_id"):
    hook: ClassVar[Any] = None

    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        if Store.hook is not None:
            Store.hook(self)
        if command.order_id == "refused":
            raise Rejected("there is none left")
        return Shipped(self.id)


class Shipping(ProcessManager, correlate="order_id"):
    log: list[str] = []

    hook: ClassVar[Any] = None

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.issue(Ship(self.id))

    @handle(Shipped)
    def on_shipped(self, event: Shipped) -> None:
        self.log.append("shipped")
        if Shipping.hook is not None:
            Shipping.hook(self)

    @rejected(Ship)
    def on_refused(self, command: Ship, reason: str) -> None:
        self.log.append(reason)
        if Shipping.hook is not None:
            Shipping.hook(self)


@pytest.mark.parametrize("name", ["o1", "refused"])
@pytest.mark.parametrize("where", [Store, Shipping])
def test_what_was_under_way_at_a_crash_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    # A commit closes when there is nothing more to do, however slow the machine is.
    monkeypatch.setattr("procession.engine.journal.PATIENCE", 60.0)
    domain = Domain("shop")
    domain.register(Store, Shipping)
    reached, release = threading.Event(), threading.Event()

    def block(_: object) -> None:
        reached.set()
        release.wait(20)

    where.hook = block
    try:
        with Runtime(tmp_path / "store", domain) as runtime:
            runtime.publish(Ordered(name), stream="feed::x-1")
            assert reached.wait(10)
            # What a crash would leave behind now: a command or a reply that nobody has seen.
            (tmp_path / "crashed").mkdir()
            shutil.copy(tmp_path / "store" / "data.mdb", tmp_path / "crashed" / "data.mdb")
            release.set()
    finally:
        where.hook = None
    with LmdbStore(tmp_path / "crashed") as store:
        queued = [one.type for one in store.read_queue(0, 10)]
        told = len(store.read_refusals(0, 10)), [one.type for one in store.read_log(1, 10)]
    assert queued == (["shop.Ship.v1"] if where is Store else [])
    if where is Shipping:
        assert told == ((1, []) if name == "refused" else (0, ["shop.Shipped.v1"]))
    with Runtime(tmp_path / "crashed", domain) as runtime:
        runtime.settle(timeout=10)
        expected = "there is none left" if name == "refused" else "shipped"
        assert state(runtime, Shipping, name) == {"log": [expected]}


def test_held_events_that_were_being_taken_up_at_a_crash_are_taken_up_by_the_next_run(
    tmp_path: Path,
) -> None:
    class Slow(ProcessManager, correlate="order_id", early="hold"):
        amounts: list[int] = []

        hook: ClassVar[Any] = None

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(Paid)
        def on_paid(self, event: Paid) -> None:
            if Slow.hook is not None:
                Slow.hook(self)
            self.amounts.append(event.amount)

    domain = Domain("shop")
    domain.register(Slow)
    reached, release = threading.Event(), threading.Event()

    def block(_: object) -> None:
        reached.set()
        release.wait(20)

    with Runtime(tmp_path / "store", domain) as runtime:
        go(runtime, *(Paid("o1", number) for number in range(5)))
        Slow.hook = block
        runtime.publish(Ordered("o1"), stream="feed::x-1")
        assert reached.wait(10)
        # Another instance's step has the router's position written meanwhile.
        runtime.publish(Ordered("o2"), stream="feed::x-1")
        while runtime.get(Slow, "o2") is None:
            threading.Event().wait(0.005)
        runtime.publish(Ordered("o3"), stream="feed::x-1")
        (tmp_path / "crashed").mkdir()
        shutil.copy(tmp_path / "store" / "data.mdb", tmp_path / "crashed" / "data.mdb")
        release.set()
    Slow.hook = None
    with Runtime(tmp_path / "crashed", domain) as runtime:
        runtime.settle(timeout=10)
        assert state(runtime, Slow) == {"amounts": [0, 1, 2, 3, 4]}
    with LmdbStore(tmp_path / "crashed") as store:
        assert store.read_waiting("shop.Slow", "o1", 0, 10) == (None, [])
