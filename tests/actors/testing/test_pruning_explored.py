"""Pruning among all that can go wrong: nothing comes back, and nothing is done twice."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    after,
    apply,
    handle,
)
from procession.engine.engine import Engine
from procession.store import DictionaryEngine, pruning
from procession.testing import Publish, Simulation, Tell, VirtualClock, explore


class Place(Command):
    order_id: str


class Pay(Command):
    order_id: str


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str


class Shipped(Event):
    order_id: str


def shop(told: list[str] | None = None, go_on: threading.Event | None = None) -> Domain:
    domain = Domain("shop")

    @domain.register
    class Order(Aggregate, identity="order_id"):
        @handle(Place)
        def place(self, command: Place) -> Placed:
            return Placed(order_id=self.id)

    @domain.register
    class Payment(Aggregate, identity="order_id", retention=timedelta(0)):
        is_paid: bool = False

        @handle(Pay)
        def pay(self, command: Pay) -> Paid:
            return Paid(order_id=self.id)

        @apply(Paid)
        def paid(self, event: Paid) -> None:
            self.is_paid = True

    @domain.register
    class Fulfil(ProcessManager, correlate="order_id"):
        order_id: str = ""

        @handle(Placed, start=True)
        def placed(self, event: Placed) -> None:
            self.issue(Pay(order_id=event.order_id))

        @handle(Paid)
        def paid(self, event: Paid) -> None:
            pass

        @handle(Shipped, end=True)
        def shipped(self, event: Shipped) -> None:
            pass

        @after(Shipped)
        def tell(self, event: Shipped) -> None:
            if go_on is not None:
                go_on.wait(10)
            if told is not None:
                told.append(event.order_id)

    return domain


PROGRAM = [
    [Tell(Place(order_id="o1"), command_id="c1"), Tell(Place(order_id="o1"), command_id="c1")],
    [
        Publish(Shipped(order_id="o1"), stream="post-1", event_id="s1"),
        Publish(Shipped(order_id="o1"), stream="post-1", event_id="s1"),
    ],
    [Tell(Place(order_id="o2"), command_id="c2")],
    [Publish(Shipped(order_id="o2"), stream="post-1", event_id="s2")],
]


class Archived:
    """What was pruned in a run, by position; a line may come twice."""

    def __init__(self) -> None:
        self.types: dict[int, str] = {}

    def __call__(self, lines: list[dict[str, Any]]) -> None:
        self.types.update((one["position"], one["type"]) for one in lines if "type" in one)

    def each_came_once(self, simulation: Simulation) -> None:
        """Whatever was pruned meanwhile: two orders, each paid and shipped once."""
        types = self.types | {one.position: one.type for one in simulation.events()}
        assert sorted(types) == list(range(1, 7))
        assert Counter(types.values()) == {
            "shop.Placed.v1": 2,
            "shop.Paid.v1": 2,
            "shop.Shipped.v1": 2,
        }


def explored(examples: int) -> Archived:
    archived = Archived()
    explore(
        shop(),
        PROGRAM,
        at_end=[archived.each_came_once],
        faults=("order", "time", "crash", "commit", "duplicate", "sleep", "disk", "pruning"),
        before_each=archived.types.clear,
        max_examples=examples,
        seed=1,
        allow_parked=True,
        archive=archived,
    )
    return archived


def test_whatever_goes_wrong_meanwhile_nothing_comes_back_and_nothing_is_done_twice() -> None:
    explored(examples=60)


def a_position_is_given_once() -> None:
    tables, clock = DictionaryEngine(), VirtualClock()
    for expected in (2, 4):
        with Runtime(tables, shop(), clock=clock, control=False, workers=1) as runtime:
            runtime.publish(Shipped(order_id="o1"), stream="post-1")
            last = runtime.publish(Shipped(order_id="o1"), stream="post-1")
            runtime.settle(5)
            runtime.prune(before=clock.now() + timedelta(days=1))
            assert last == expected
            assert list(runtime.verify()) == []
        tables = tables.beside()


def an_event_stays_until_its_after_effect_has_run() -> None:
    told: list[str] = []
    go_on = threading.Event()
    clock = VirtualClock()
    with Runtime(DictionaryEngine(), shop(told, go_on), clock=clock, control=False) as runtime:
        try:
            runtime.publish(Placed(order_id="o1"), stream="in-1")
            position = runtime.publish(Shipped(order_id="o1"), stream="in-1")
            runtime.publish(Placed(order_id="o2"), stream="in-1")
            report = runtime.prune(before=clock.now() + timedelta(days=1))
            assert report.instances == 0
            assert position in [one.position for one in runtime.events()]
        finally:
            go_on.set()
        runtime.settle(5)
        assert told == ["o1"]
        report = runtime.prune(before=clock.now() + timedelta(days=1))
        assert report.instances == 1
        assert position not in [one.position for one in runtime.events()]


def a_running_instance_keeps_its_events() -> None:
    clock = VirtualClock()
    with Runtime(DictionaryEngine(), shop(), clock=clock, control=False, workers=1) as runtime:
        runtime.publish(Placed(order_id="o1"), stream="in-1")
        runtime.publish(Placed(order_id="o2"), stream="in-1")
        runtime.settle(5)
        runtime.prune(before=clock.now() + timedelta(days=1))
        assert [one.version for one in runtime.events("in-1")] == [1, 2]
        assert list(runtime.verify()) == []


CHECKS: list[Callable[[], None]] = [
    a_position_is_given_once,
    an_event_stays_until_its_after_effect_has_run,
    a_running_instance_keeps_its_events,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_holds_of_pruning(check: Callable[[], None]) -> None:
    check()


def no_high_water_mark(patch: pytest.MonkeyPatch) -> None:
    """The newest event goes as well."""

    class Forgetful(pruning.Needed):
        def __init__(self, low: int, high: int) -> None:
            super().__init__(low, high + 1)

    patch.setattr(pruning, "Needed", Forgetful)


def no_checkpoint_of_effects(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Engine,
        "_all_done_up_to",
        lambda self, process: self.services.store.checkpoint(process),
    )


def nothing_is_needed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pruning.Needed, "add", lambda self, position: None)


FLAWS = [no_high_water_mark, no_checkpoint_of_effects, nothing_is_needed]


@pytest.mark.parametrize(
    ("flaw", "check"),
    list(zip(FLAWS, CHECKS, strict=True)),
    ids=lambda one: one.__name__,
)
def test_a_flaw_in_pruning_is_noticed(
    flaw: Callable[[pytest.MonkeyPatch], None],
    check: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    findings: list[object],
) -> None:
    flaw(monkeypatch)
    with pytest.raises(AssertionError):
        check()
    findings.clear()
