"""Erasures at any moment, among crashes, failures, repeats and other orders."""

from collections import Counter
from datetime import timedelta

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Erased,
    Event,
    Indexed,
    ProcessManager,
    after,
    handle,
    rejected,
    timeout,
)
from procession.store import erased_at
from procession.testing import FAULTS, Simulation, explore

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


class Thank(Command):
    order: str


class Thanked(Event):
    order: str


shop = Domain("shop")


@shop.register
class Desk(Aggregate, identity="order", category="desk"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id)

    @handle(Thank)
    def thank(self, command: Thank) -> Thanked:
        return Thanked(self.id)


@shop.register
class Till(Aggregate, identity="order", category="till", snapshot_every=2):
    @handle(Pay)
    def pay(self, command: Pay) -> Payment:
        return Payment(self.id, f"key of {self.id}")


@shop.register
class Fulfilment(ProcessManager, correlate="order", restart=True):
    order: str = ""
    payments: int = 0
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
        if self.payments == 3:
            self.mark_as_complete()

    @rejected(Pay)
    def on_unpaid(self, command: Pay, reason: str) -> None:
        self.payments += 1

    @handle(Thanked, correlate={"key": "order"})
    def on_thanked(self, event: Thanked) -> None: ...

    @after(Payment)
    def tell(self, event: Payment) -> None:
        self.issue(Thank(self.order))

    @timeout("late")
    def on_late(self) -> None:
        self.issue(Pay(self.order))


ORDERS = ("o1", "o2")
PROGRAM = [[Place(order), 3 * DAY, Place(order)] for order in ORDERS]


def an_erased_instance_never_comes_back(run: Simulation) -> None:
    store = run._world.store
    for order in ORDERS:
        was_erased = False
        for record in store.scan_transitions("shop.Fulfilment", order):
            assert not was_erased, (order, record.version, record.handler)
            was_erased = (record.note or "").startswith("erased by ")
        if was_erased:
            assert [one for one in run.timeouts(Fulfilment, order) if one.kind == "timeout"] == []


def nothing_is_done_twice(run: Simulation) -> None:
    caused = Counter(
        (one.stream, one.causation_id) for one in run.events() if one.causation_id is not None
    )
    assert [cause for cause, count in caused.items() if count > 1] == []


def what_was_erased_is_erased(run: Simulation) -> None:
    """Of those that came to their end; what came to a stream later is new."""
    store = run._world.store
    for erasure in store.scan_erasures():
        if not erasure.is_done:
            continue
        if erasure.kind == "instance":
            records = store.scan_transitions(erasure.name, erasure.id)
            assert all(erased_at(one.state) is not None for one in records)
        else:
            events = list(store.scan_stream(erasure.id))
            assert all(erased_at(one.data) is not None for one in events)


def the_store_is_sound(run: Simulation) -> None:
    assert run.verify() == []


@pytest.mark.parametrize("faults", [("order", "erasure"), (*FAULTS, "erasure")], ids=str)
def test_erasures_at_any_moment_bring_nothing_back_and_do_nothing_twice(
    faults: tuple[str, ...],
) -> None:
    explore(
        shop,
        PROGRAM,
        [an_erased_instance_never_comes_back, nothing_is_done_twice],
        at_end=[what_was_erased_is_erased, the_store_is_sound],
        faults=faults,
        allow_parked=True,
        max_examples=25,
    )


def test_an_operator_erases_in_a_simulation() -> None:
    with Simulation(shop) as run:
        run.tell(Place("o1"))
        run.settle()
        run.erase(Fulfilment, "o1", by="ann")
        run.erase(stream="shop::till-o1", by="ann")
        run.settle()
        with pytest.raises(Erased):
            run.get(Fulfilment, "o1")
        with pytest.raises(Erased):
            run.get(Till, "o1")
        what_was_erased_is_erased(run)
        # Another start, which would begin a run of an instance that had ended.
        run.tell(Place("o1"))
        run.settle()
        an_erased_instance_never_comes_back(run)
        nothing_is_done_twice(run)
