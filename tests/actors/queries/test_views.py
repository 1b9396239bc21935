"""Views: of their class, copied, as JSON, and as people read them."""

import copy
import json
import pickle
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from procession import (
    Aggregate,
    AggregateView,
    Command,
    Domain,
    Event,
    InstanceView,
    InvalidMessage,
    Parked,
    ProcessManager,
    Runtime,
    StoredEvent,
    Timeout,
    Transition,
    UnknownCommand,
    UnknownEvent,
    UnreadableRecord,
    apply,
    handle,
    timeout,
)
from procession.testing import VirtualClock

WAIT = 20


class Place(Command):
    order: str
    total: Decimal


class Placed(Event):
    order: str
    total: Decimal


class Pay(Command, name="Bank.Pay.v2"):
    order: str


class Paid(Event, name="Bank.Paid.v2"):
    order: str


shop = Domain("shop")


@shop.register
class Order(Aggregate, identity="order"):
    totals: list[Decimal] = []

    @property
    def total(self) -> Decimal:
        return sum(self.totals, Decimal(0))

    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id, command.total)

    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        return Paid(self.id)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.totals.append(event.total)


@shop.register
class Fulfilment(ProcessManager, correlate="order"):
    order: str = ""
    totals: list[Decimal] = []

    @property
    def is_large(self) -> bool:
        return sum(self.totals, Decimal(0)) > 100

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.totals.append(event.total)
        self.issue(Pay(self.order))
        self.issue(Pay(self.order), after=timedelta(days=1))
        self.set_timeout("late", timedelta(hours=1))

    @handle(Paid)
    def on_paid(self, event: Paid) -> None:
        if self.order == "<b>":
            raise ValueError("no <i>luck</i>")

    @timeout("late")
    def on_late(self) -> None: ...


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=VirtualClock()) as made:
        made.ask(Place("o1", Decimal("120.5")))
        made.settle(WAIT)
        yield made


def test_a_view_has_a_copy_of_its_class_each_time_another(runtime: Runtime) -> None:
    view = runtime.get(Fulfilment, "o1")
    assert view is not None
    process = view.copy
    assert isinstance(process, Fulfilment)
    assert (process.id, process.version, process.is_large) == ("o1", 2, True)
    process.totals.clear()
    assert view.state["totals"] == view.copy.totals == [Decimal("120.5")]
    order = runtime.get(Order, "o1")
    assert order is not None
    assert (order.copy.id, order.copy.version, order.copy.total) == ("o1", 2, Decimal("120.5"))
    assert [one.copy.order for one in runtime.find(Fulfilment)] == ["o1"]
    assert runtime.wait(Fulfilment, "o1", until=lambda one: one.copy.is_large).id == "o1"


def test_a_copy_is_sealed(runtime: Runtime) -> None:
    view, order = runtime.get(Fulfilment, "o1"), runtime.get(Order, "o1")
    assert view is not None
    assert order is not None
    with pytest.raises(AttributeError, match=r"Fulfilment 'o1': self.order = .* `view.copy`"):
        view.copy.order = "o2"
    with pytest.raises(RuntimeError, match=r"self.issue.* changes nothing"):
        view.copy.issue(Pay("o1"))
    with pytest.raises(RuntimeError, match=r"self.set_timeout.* changes nothing"):
        view.copy.set_timeout("late", timedelta(1))
    with pytest.raises(RuntimeError, match=r"self.mark_as_complete.* changes nothing"):
        view.copy.mark_as_complete()
    with pytest.raises(RuntimeError, match="only while an event is being handled"):
        _ = view.copy.context
    with pytest.raises(AttributeError, match="outside @apply"):
        order.copy.totals = []


def test_a_view_can_be_copied_and_pickled_and_is_equal_by_what_it_shows(runtime: Runtime) -> None:
    view = runtime.get(Fulfilment, "o1")
    assert view is not None
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert other == view
        assert other.copy.is_large
    assert InstanceView("o1", view.state, 2, is_complete=False, status="running") == view


def test_views_are_plain_values_and_these_are_views_again(runtime: Runtime) -> None:
    runtime.ask(Place("<b>", Decimal(1)))
    runtime.settle(WAIT)
    views: list[tuple[Any, tuple[Any, ...]]] = [
        *((one, (Placed, Paid)) for one in runtime.events()),
        *((one, (Pay, Place)) for one in runtime.history(Fulfilment, "o1")),
        *((one, (Pay,)) for one in runtime.timeouts()),
        *((one, ()) for one in runtime.parked()),
    ]
    assert {type(one) for one, _ in views} == {StoredEvent, Transition, Timeout, Parked}
    for view, messages in views:
        told = json.loads(view.to_json())
        assert told == view.to_dict()
        # A state stays plain, since its class is not said.
        same = type(view).from_dict(told, *messages)
        assert same.to_dict() == told
        if not isinstance(view, Transition):
            assert same == view


def test_a_stored_event_says_what_it_is(runtime: Runtime) -> None:
    first = next(runtime.events())
    told = first.to_dict()
    assert told["event"] == {"order": "o1", "total": "120.5"}
    assert (told["type"], told["position"]) == ("shop.Placed.v1", 1)
    unknown = StoredEvent.from_dict(told).event
    assert unknown == UnknownEvent("shop.Placed.v1", {"order": "o1", "total": "120.5"})
    assert StoredEvent.from_dict(StoredEvent.from_dict(told).to_dict(), Placed) == first
    second = next(runtime.events(after=1)).to_dict()
    assert StoredEvent.from_dict(second, Placed, Paid).event == Paid("o1")


def test_a_transition_says_what_it_issued(runtime: Runtime) -> None:
    told = next(runtime.history(Fulfilment, "o1")).to_dict()
    assert told["state"] == {"order": "o1", "totals": ["120.5"]}
    assert told["commands"] == [{"type": "Bank.Pay.v2", "data": {"order": "o1"}}] * 2
    unknown = UnknownCommand("Bank.Pay.v2", {"order": "o1"})
    assert Transition.from_dict(told, Place).commands == (unknown, unknown)
    assert (
        Transition.from_dict(Transition.from_dict(told).to_dict(), Pay).commands == (Pay("o1"),) * 2
    )


def test_an_instance_and_an_aggregate_are_read_back_without_their_classes(runtime: Runtime) -> None:
    view, order = runtime.get(Fulfilment, "o1"), runtime.get(Order, "o1")
    assert view is not None
    assert order is not None
    same = InstanceView.from_dict(view.to_dict())
    assert (same.id, same.version, same.status) == ("o1", 2, "running")
    assert AggregateView.from_dict(order.to_dict()).state == {"totals": ["120.5"]}
    with pytest.raises(UnreadableRecord, match="made by from_dict"):
        _ = same.copy
    with pytest.raises(InvalidMessage, match="InstanceView: version is missing"):
        InstanceView.from_dict({"id": "o1", "state": {}})
    with pytest.raises(InvalidMessage, match="no mapping"):
        InstanceView.from_dict([])  # type: ignore[arg-type]


def test_what_cannot_be_read_says_so_as_plain_values_too() -> None:
    view: InstanceView[Any] = InstanceView.unread(ValueError("torn"), id="o1")
    assert view.to_dict() == {"id": "o1", "error": "ValueError: torn"}
    same: InstanceView[Any] = InstanceView.from_dict(view.to_dict())
    assert same == view
    with pytest.raises(UnreadableRecord, match="has no state"):
        _ = same.copy


def test_people_read_what_there_is(runtime: Runtime) -> None:
    view = runtime.get(Fulfilment, "o1")
    order = runtime.get(Order, "o1")
    assert view is not None
    assert order is not None
    assert repr(view.copy) == ("Fulfilment('o1', version=2, order='o1', totals=[Decimal('120.5')])")
    assert repr(order.copy) == "Order('o1', version=2, totals=[Decimal('120.5')])"
    assert repr(order) == (
        "AggregateView(id='o1', state={'totals': [Decimal('120.5')]}, version=2)"
    )
    assert repr(runtime).startswith("<Runtime of shop at ")
    assert repr(runtime).endswith(", open>")


def test_notebooks_show_a_table_in_which_nothing_is_taken_for_html(runtime: Runtime) -> None:
    runtime.ask(Place("<b>", Decimal(1)))
    runtime.settle(WAIT)
    [parked] = runtime.parked()
    html = parked._repr_html_()
    assert html.startswith("<table><caption>Parked</caption><tr><th>id</th>")
    assert "no &lt;i&gt;luck&lt;/i&gt;" in html
    assert "<b>" not in html
    assert "<i>" not in html
