"""Ends and amendments at any moment, among crashes, failures, repeats and other orders."""

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from procession import (
    Aggregate,
    AlreadyEnded,
    Command,
    Domain,
    Event,
    Indexed,
    MovedOn,
    ProcessManager,
    Runtime,
    ended,
    handle,
    timeout,
)
from procession.testing import FAULTS, Simulation, VirtualClock, explore

DAY = timedelta(days=1)


class Place(Command):
    order: str


class Placed(Event):
    order: str


class Pay(Command):
    order: str


class Payment(Event):
    order: str
    key: str


class Refund(Command):
    order: str


class Refunded(Event):
    order: str


shop = Domain("shop")


@shop.register
class Desk(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id)


@shop.register
class Till(Aggregate, identity="order"):
    @handle(Pay)
    def pay(self, command: Pay) -> Payment:
        return Payment(self.id, f"key of {self.id}")

    @handle(Refund)
    def refund(self, command: Refund) -> Refunded:
        return Refunded(self.id)


@shop.register
class Fulfilment(ProcessManager, correlate="order", restart=True):
    order: str = ""
    payments: int = 0
    refunds: int = 0
    key: Indexed[str] = ""

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.issue(Pay(self.order))
        self.issue(Pay(self.order), after=2 * DAY)
        self.set_timeout("late", DAY)

    @handle(Payment)
    def on_payment(self, event: Payment) -> None:
        self.payments += 1
        self.key = event.key
        if self.payments == 2:
            self.mark_as_complete()

    @handle(Refunded, correlate={"key": "order"})
    def on_refunded(self, event: Refunded) -> None:
        self.refunds += 1

    @timeout("late")
    def on_late(self) -> None:
        self.issue(Pay(self.order))

    @ended
    def give_back(self, reason: str) -> None:
        self.issue(Refund(self.order))


@shop.register
class Watch(ProcessManager, correlate="order"):
    order: str = ""
    seen: list[str] = []

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.seen.append("placed")

    @handle(Refunded)
    def on_refunded(self, event: Refunded) -> None:
        self.seen.append("refunded")


ORDERS = ("o1", "o2", "o3")
PROGRAM = [[Place(order), 3 * DAY, Place(order)] for order in ORDERS]


def histories(run: Simulation) -> list[list[tuple[str, bool]]]:
    return [
        [(one.handler, one.is_complete) for one in run.history(Fulfilment, order)]
        for order in ORDERS
    ]


def an_ended_instance_goes_on_with_a_start_only(run: Simulation) -> None:
    for order, history in zip(ORDERS, histories(run), strict=True):
        for (_, was_complete), (handler, _) in pairwise(history):
            assert not was_complete or handler == "on_placed", (order, history)


def each_end_is_made_good_once(run: Simulation) -> None:
    ends = [sum(handler == "ended" for handler, _ in one) for one in histories(run)]
    refunded = [one.event.order for one in run.events() if isinstance(one.event, Refunded)]
    assert [refunded.count(order) for order in ORDERS] == ends


def nothing_of_an_ended_instance_is_due(run: Simulation) -> None:
    for order in ORDERS:
        view = run.get(Fulfilment, order)
        if view is not None and view.is_complete:
            left = [one for one in run.timeouts(Fulfilment, order) if one.kind == "timeout"]
            assert left == []


def counts_are_those_that_are_there(run: Simulation) -> None:
    for cls in (Fulfilment, Watch):
        found = run.counts(cls)[f"shop.{cls.__name__}"]
        there = Counter(one.status for one in run.find(cls))
        kept = {"running": found.running, "complete": found.complete, "suspended": found.suspended}
        assert there == Counter(kept)


@pytest.mark.parametrize("faults", [("order", "operator"), (*FAULTS, "operator")], ids=str)
def test_ends_and_amendments_at_any_moment_break_no_promise(faults: tuple[str, ...]) -> None:
    coverage = explore(
        shop,
        PROGRAM,
        [
            an_ended_instance_goes_on_with_a_start_only,
            nothing_of_an_ended_instance_is_due,
            counts_are_those_that_are_there,
        ],
        at_end=[each_end_is_made_good_once],
        faults=faults,
        allow_parked=True,
        max_examples=80,
    )
    assert "Fulfilment.give_back" not in coverage.never, "each end runs it"


@pytest.mark.parametrize("seed", range(20))
def test_a_refresh_comes_to_the_same_after_ends_and_amendments(seed: int) -> None:
    faults = (*(one for one in FAULTS if one != "handler"), "operator")
    with Simulation(shop, program=PROGRAM, seed=seed, faults=faults) as run:
        run.run()
        assert run.verify() == []
        tables, clock = run._world._disk, VirtualClock(run.now)
        before = states(run)
    with Runtime(tables.reopened(), shop, clock=clock) as runtime:
        assert states(runtime) == before
        assert runtime.refresh(Fulfilment) + runtime.refresh(Watch) == len(before)
        assert states(runtime) == before
        assert runtime.verify() == []


def states(run: Simulation | Runtime) -> dict[str, Any]:
    return {
        f"{cls.__name__} {one.id}": (one.state, one.status)
        for cls in (Fulfilment, Watch)
        for one in run.find(cls)
    }


def test_an_operator_ends_and_amends_in_a_simulation() -> None:
    with Simulation(shop) as run:
        run.tell(Place("o1"))
        run.settle()
        assert run.amend(Fulfilment, "o1", payments=7, by="ann") == 3
        assert run.end(Fulfilment, "o1", reason="fraud", by="ann") == 4
        run.settle()
        view = run.get(Fulfilment, "o1")
        assert view is not None
        assert (view.status, view.state["payments"]) == ("complete", 7)
        assert [one.by for one in run.history(Fulfilment, "o1")] == [None, None, "ann", "ann"]
        with pytest.raises(AlreadyEnded):
            run.end(Fulfilment, "o1", reason="fraud")
        with pytest.raises(MovedOn):
            run.amend(Fulfilment, "o1", version=2, payments=1)
