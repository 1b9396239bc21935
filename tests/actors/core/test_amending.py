"""An operator gives fields other values: checked, written down, found by, and kept by a rebuild."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from procession import (
    AlreadyDecided,
    Domain,
    Event,
    Indexed,
    InvalidMessage,
    MovedOn,
    ProcessManager,
    Retry,
    Runtime,
    UnknownInstance,
    handle,
    timeout,
)
from procession.testing import VirtualClock

DAY = timedelta(days=1)
STREAM = "feed::order-1"


class Ordered(Event):
    order: str
    total: Decimal = Decimal(0)
    fail: bool = False


class Priced(Event):
    order: str
    times: int = 1


class Paid(Event):
    payment: str


class Closed(Event):
    order: str


shop = Domain("shop")


@shop.register
class Order(ProcessManager, correlate="order"):
    order: str = ""
    total: Decimal = Decimal(0)
    rate: int = 0
    payment: Indexed[str] = ""
    parcels: Indexed[set[str]] = set()
    by: str = ""
    log: list[str] = []

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        if event.fail:
            raise ValueError("no start")
        self.total = event.total
        self.set_timeout("late", DAY)

    @handle(Priced)
    def on_priced(self, event: Priced) -> None:
        self.total = self.total * event.times / self.rate
        self.log.append(f"priced {self.total}")

    @handle(Paid, correlate={"payment": "payment"})
    def on_paid(self, event: Paid) -> None:
        self.log.append("paid")

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None:
        self.log.append("closed")

    @timeout("late")
    def on_late(self) -> None:
        self.log.append(f"late, 1/{1 // self.rate}")


shop.register(Ordered, Priced, Paid, Closed)


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=clock) as opened:
        yield opened
        assert opened.verify() == []


def send(runtime: Runtime, *events: Event) -> None:
    for event in events:
        runtime.publish(event, stream=STREAM)
    runtime.settle(timeout=10)


def view_of(runtime: Runtime, order: str = "o1") -> Any:
    view = runtime.get(Order, order)
    assert view is not None
    return view


def test_an_amendment_is_a_transition_that_says_who_changed_what(
    runtime: Runtime, clock: VirtualClock
) -> None:
    send(runtime, Ordered("o1", Decimal(7)))
    assert runtime.amend(Order, "o1", by="ann", rate=2, total=9) == 2
    view = view_of(runtime)
    assert (view.version, view.status, view.state["rate"]) == (2, "running", 2)
    assert view.state["total"] == Decimal(9)
    assert type(view.state["total"]) is Decimal, "brought as a message's field is"
    first, last = runtime.history(Order, "o1")
    assert (last.handler, last.cause, last.by) == ("amend", "operator", "ann")
    assert last.note == "rate, total amended by ann"
    assert (first.by, first.note) == (None, None)
    assert [one.name for one in runtime.timeouts()] == ["late"], "what is due stays"
    clock.advance(2 * DAY)
    runtime.settle(timeout=10)
    assert view_of(runtime).state["log"] == ["late, 1/0"]


def test_what_does_not_fit_is_refused_and_changes_nothing(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    with pytest.raises(InvalidMessage, match=r"has no field 'rat'; it has order, total, rate"):
        runtime.amend(Order, "o1", rat=2)
    with pytest.raises(InvalidMessage, match=r"Order.order says which instance it is"):
        runtime.amend(Order, "o1", order="o2")
    with pytest.raises(InvalidMessage, match=r"Order.rate is not valid"):
        runtime.amend(Order, "o1", rate="2")
    with pytest.raises(InvalidMessage, match="nothing of Order was to be amended"):
        runtime.amend(Order, "o1", by="ann")
    with pytest.raises(InvalidMessage, match="names no person"):
        runtime.amend(Order, "o1", by=7, rate=2)  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match="is no version of an instance"):
        runtime.amend(Order, "o1", version=0, rate=2)
    with pytest.raises(UnknownInstance, match="'o2'"):
        runtime.amend(Order, "o2", rate=2)
    assert view_of(runtime).version == 1


def test_a_field_that_is_called_as_an_argument_is_given_in_a_mapping(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    runtime.amend(Order, "o1", {"by": "carol"}, by="ann", rate=2)
    state = view_of(runtime).state
    assert (state["by"], state["rate"]) == ("carol", 2)


def test_what_is_given_stays_the_callers_own(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    mine = ["a"]
    runtime.amend(Order, "o1", log=mine)
    mine.append("b")
    send(runtime, Paid("none"))
    assert view_of(runtime).state["log"] == ["a"]


def test_learnt_keys_are_indexed_anew_and_meet_what_was_held_for_them(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"), Paid("p1"))
    assert view_of(runtime).state["log"] == []
    runtime.amend(Order, "o1", payment="p1", parcels={"x", "y"})
    runtime.settle(timeout=10)
    assert view_of(runtime).state["log"] == ["paid"], "it was held for that key"
    assert [one.id for one in runtime.find(Order, parcels="y")] == ["o1"]
    runtime.amend(Order, "o1", payment="p2", parcels={"x"})
    assert list(runtime.find(Order, parcels="y")) == []
    send(runtime, Paid("p2"))
    assert view_of(runtime).state["log"] == ["paid", "paid"]


def test_with_retry_what_it_failed_at_is_tried_again_with_the_new_values(runtime: Runtime) -> None:
    send(runtime, Ordered("o1", Decimal(8)), Priced("o1"), Priced("o1", times=3))
    (parked,) = runtime.parked()
    runtime.amend(Order, "o1", rate=2, retry=True, by="ann")
    runtime.settle(timeout=10)
    view = view_of(runtime)
    assert (view.status, view.state["log"]) == ("running", ["priced 4", "priced 6"])
    (decided,) = runtime.parked(decided=True)
    assert (decided.id, decided.decision, decided.decided_by) == (parked.id, "retry", "ann")
    with pytest.raises(AlreadyDecided):
        runtime.skip(parked.id)


def test_without_retry_it_stays_parked_until_it_is_retried(runtime: Runtime) -> None:
    send(runtime, Ordered("o1", Decimal(8)), Priced("o1"))
    (parked,) = runtime.parked()
    runtime.amend(Order, "o1", rate=2)
    assert view_of(runtime).status == "suspended"
    runtime.retry(parked.id)
    runtime.settle(timeout=10)
    assert view_of(runtime).state["log"] == ["priced 4"]


def test_a_parked_timeout_is_tried_again_with_the_new_values(
    runtime: Runtime, clock: VirtualClock
) -> None:
    send(runtime, Ordered("o1"))
    clock.advance(2 * DAY)
    runtime.settle(timeout=10)
    assert view_of(runtime).status == "suspended"
    runtime.amend(Order, "o1", rate=1, retry=True)
    runtime.settle(timeout=10)
    view = view_of(runtime)
    assert (view.status, view.state["log"]) == ("running", ["late, 1/1"])
    assert list(runtime.timeouts()) == []


def test_one_that_waits_for_another_attempt_is_tried_at_once(clock: VirtualClock) -> None:
    domain = Domain("waiting")

    @domain.register
    class Trying(ProcessManager, correlate="order", retry=Retry(first=DAY, maximum=DAY)):
        order: str = ""
        rate: int = 0
        log: list[int] = []

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            pass

        @handle(Priced)
        def on_priced(self, event: Priced) -> None:
            self.log.append(event.times // self.rate)

    domain.register(Ordered, Priced)
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        send(runtime, Ordered("o1"), Priced("o1", times=5), Priced("o1", times=7))
        runtime.amend(Trying, "o1", rate=1, retry=True)
        runtime.settle(timeout=10)
        view = runtime.get(Trying, "o1")
        assert view is not None
        assert view.state["log"] == [5, 7]
        assert list(runtime.timeouts()) == []
        assert runtime.verify() == []


def test_an_operator_who_saw_another_version_is_told_and_nothing_is_done(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"))
    outcomes: list[object] = []

    def amend(rate: int) -> None:
        try:
            outcomes.append(runtime.amend(Order, "o1", version=1, rate=rate))
        except MovedOn as error:
            outcomes.append((error.expected, error.version))

    threads = [threading.Thread(target=amend, args=(rate,)) for rate in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["(1, 2)", "2"]
    assert view_of(runtime).version == 2


def test_one_that_has_ended_is_amended_and_stays_complete(runtime: Runtime) -> None:
    send(runtime, Ordered("o1"), Closed("o1"))
    runtime.amend(Order, "o1", rate=3)
    view = view_of(runtime)
    assert (view.status, view.state["rate"], view.version) == ("complete", 3, 3)
    assert runtime.counts(Order)["shop.Order"].complete == 1


def test_an_instance_that_failed_at_its_start_has_nothing_to_amend(runtime: Runtime) -> None:
    send(runtime, Ordered("o1", fail=True))
    with pytest.raises(UnknownInstance, match="retry or skip what is parked of it"):
        runtime.amend(Order, "o1", rate=2)


def test_a_rebuild_keeps_amendments_where_they_were_made(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        send(runtime, Ordered("o1", Decimal(8)))
        clock.advance(timedelta(hours=1))
        runtime.amend(Order, "o1", rate=2, by="ann")
        clock.advance(timedelta(hours=1))
        send(runtime, Priced("o1"))
        runtime.amend(Order, "o1", total=100, log=["amended"])
        clock.advance(timedelta(hours=1))
        send(runtime, Priced("o1"))
    with Runtime(tmp_path, shop, clock=clock) as runtime:
        before = view_of(runtime).state
        assert (before["total"], before["log"]) == (Decimal(50), ["amended", "priced 50"])
        for since in (None, "origin"):
            assert runtime.refresh(Order, "o1", since=since) == 1
            assert view_of(runtime).state == before
        runtime.rebuild(Order)
        assert view_of(runtime).state == before
        assert runtime.verify() == []


def test_a_large_state_is_amended_and_grows_on(runtime: Runtime) -> None:
    send(runtime, Ordered("o1", Decimal(8)))
    runtime.amend(Order, "o1", rate=1, log=["x" * 100] * 30)
    send(runtime, Priced("o1"), Priced("o1"))
    runtime.amend(Order, "o1", rate=2)
    send(runtime, Priced("o1"))
    log = view_of(runtime).state["log"]
    assert (len(log), log[-1]) == (33, "priced 4")
    assert runtime.refresh(Order, "o1") == 1
    assert view_of(runtime).state["log"] == log
