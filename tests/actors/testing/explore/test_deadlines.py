"""Promises with a deadline: what must come to be, and within how much time."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle, timeout
from procession.testing import (
    ALL_FAULTS,
    CounterExample,
    Publish,
    Simulation,
    ends_within,
    explore,
    within,
)

HOUR = timedelta(hours=1)

shop = Domain("shop")


class Place(Command):
    order_id: str


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str


@shop.register
class Order(Aggregate, identity="order_id"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id)


@shop.register
class Paying(ProcessManager, correlate="order_id", restart=True):
    order_id: str = ""

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.set_timeout("patience", 3 * HOUR)

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None: ...

    @timeout("patience")
    def on_patience(self) -> None:
        self.mark_as_complete()


PAID = Publish(Paid("o1"), stream="shop::desk-1")


def test_what_ends_within_its_time_passes_and_what_takes_longer_is_found() -> None:
    explore(shop, [Place("o1")], [ends_within(Paying, 3 * HOUR)], faults=())
    with pytest.raises(CounterExample, match="o1 is outstanding since 00:00:00") as raised:
        explore(shop, [Place("o1")], [ends_within(Paying, 2 * HOUR)], faults=())
    assert raised.value.invariant == "every_Paying_ends"


def test_time_that_passes_only_since_things_are_held_up_is_not_counted() -> None:
    program = [[Place("o1"), timedelta(days=9)], [2 * HOUR, Place("o2"), timedelta(days=3), PAID]]
    faults = [one for one in ALL_FAULTS if one != "resend"]
    explore(shop, program, [ends_within(Paying, 3 * HOUR)], faults=faults)


def test_an_instance_that_starts_anew_has_its_time_anew() -> None:
    program = [Place("o1"), HOUR, PAID, Place("o1"), 2 * HOUR, PAID]
    explore(shop, program, [ends_within(Paying, 2 * HOUR)], faults=())
    with pytest.raises(CounterExample, match=r"o1 \(run 2\) is outstanding since 01:"):
        explore(shop, program, [ends_within(Paying, HOUR)], faults=())


def test_what_is_left_when_nothing_is_due_any_more_never_comes() -> None:
    @within(timedelta(days=365))
    def every_order_is_paid(simulation: Simulation) -> set[str]:
        events = [one.event for one in simulation.events()]
        placed = {one.order_id for one in events if isinstance(one, Placed)}
        return placed - {one.order_id for one in events if isinstance(one, Paid)}

    explore(shop, [Place("o1"), PAID], [every_order_is_paid], faults=())
    with pytest.raises(
        CounterExample, match=r"o1 is outstanding .* nothing is due any more"
    ) as one:
        explore(shop, [Place("o1")], at_end=[every_order_is_paid], faults=())
    assert "every_order_is_paid does not hold when everything has settled" in str(one.value)


def test_a_horizon_that_ends_a_run_leaves_open_what_may_still_come() -> None:
    promise = ends_within(Paying, 3 * HOUR)
    explore(shop, [Place("o1")], [promise], faults=(), horizon=HOUR)


def test_a_promise_that_fails_by_itself_is_told_as_a_broken_one() -> None:
    @within(HOUR)
    def broken(simulation: Simulation) -> list[str]:
        raise LookupError("there is none")

    with pytest.raises(CounterExample, match="broken does not hold: LookupError: there is none"):
        explore(shop, [Place("o1")], [broken], faults=())


def test_what_yields_and_is_not_marked_is_told_and_never_passes_silently() -> None:
    def unmarked(simulation: Simulation) -> Iterator[str]:
        yield "o1"

    with pytest.raises(CounterExample, match=r"mark it with @within\(timedelta"):
        explore(shop, [Place("o1")], [unmarked], faults=())


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="is negative"):
        within(timedelta(-1))
