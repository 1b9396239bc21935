"""The router: events go to their instances in order of position, and none waits without reason.

The test gives the router its turns and says when an instance is done, so that no thread decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from procession import Domain, Event, Indexed, ProcessManager, handle
from procession.core.ports import UNREADABLE
from procession.engine.event_buffer import EventBuffer
from procession.engine.router import Router
from procession.engine.services import Services
from procession.model.plans import ProcessPlan
from procession.model.registry import Registry
from procession.store import Committed, EventRecord, StoreError

if TYPE_CHECKING:
    from procession.engine.instance_actor import InstanceMessage
    from procession.engine.journal import PendingWrite

MOST = 4

hall = Domain("hall")


class Booked(Event):
    booking: str


class Invoiced(Event):
    bookings: list[str]
    invoice: str


class Billed(Event):
    booking: str
    invoice: str


class Paid(Event):
    invoice: str


class Renamed(Event):
    booking: str


def bookings_of(event: Invoiced) -> list[str]:
    if not event.bookings:
        raise ValueError("an invoice is for a booking")
    return event.bookings


@hall.register
class Booking(ProcessManager, correlate="booking"):
    booking: str = ""
    invoice: Indexed[str] = ""

    @handle(Booked, start=True)
    def on_booked(self, event: Booked) -> None: ...

    @handle(Invoiced, correlate=bookings_of)
    def on_invoiced(self, event: Invoiced) -> None:
        self.invoice = event.invoice

    @handle(Billed)
    def on_billed(self, event: Billed) -> None:
        """No handler runs here: the world says who knows an invoice, and no code sets it."""

    @handle(Paid, correlate={"invoice": "invoice"})
    def on_paid(self, event: Paid) -> None: ...


hall.register(Renamed)


@dataclass
class World:
    """A router on a log, with instances that are done when the test says so.

    It is the store, the residency and the journal that the router knows.
    """

    log: list[EventRecord] = field(default_factory=list)
    learnt: dict[str, list[str]] = field(default_factory=dict)
    """The instances that know an invoice."""
    is_any_suspended: bool = False
    sent: list[tuple[int, str]] = field(default_factory=list)
    """Which events went to which instances, in order."""
    parked: list[PendingWrite] = field(default_factory=list)
    router: Router = field(init=False)

    def __post_init__(self) -> None:
        self._messages: dict[tuple[int, str], InstanceMessage] = {}
        me: Any = self
        nothing: Any = None
        make_actor: Any = SimpleNamespace
        dispatcher: Any = SimpleNamespace(schedule=lambda actor: None)
        registry = Registry([hall])
        self.buffer = EventBuffer(me, 100)
        self.router = Router(
            ProcessPlan(registry.process(Booking), registry, max_chain=100),
            Services(registry, me, dispatcher, me, me, self.buffer, nothing, lambda: 0),
            nothing,
            nothing,
            nothing,
            make_actor,
            max_in_flight=MOST,
        )

    # As the store

    def last_position(self) -> int:
        return len(self.log)

    def checkpoint(self, name: str) -> int:
        del name
        return 0

    def read_index(self, process: str, name: str, value: str) -> list[str]:
        del process, name
        return self.learnt.get(value, [])

    def any_blocked(self, process: str) -> bool:
        del process
        return self.is_any_suspended

    # As the residency

    def send(self, messages: list[tuple[str, str, object, InstanceMessage]]) -> None:
        for _, instance, _, message in messages:
            stimulus: Any = message.stimulus
            place = stimulus.record.position, instance
            self._messages[place] = message
            self.sent.append(place)

    # As the journal

    def add(self, write: PendingWrite) -> None:
        self.parked.append(write)

    # What a test does

    def commit(self, *events: Event | StoreError) -> None:
        """Events come to the log; an error stands for one that is damaged."""
        for event in events:
            position = len(self.log) + 1
            kind = (
                UNREADABLE if isinstance(event, StoreError) else f"hall.{type(event).__name__}.v1"
            )
            record = EventRecord(kind, "hall::x-1", position, 0, b"", f"e{position}", "")
            record.position, record.message = position, event
            self.log.append(record)
            self.buffer.extend([record])

    def turn(self) -> list[tuple[int, str]]:
        """Give the router a turn.

        Returns:
            what it sent in it

        """
        before = len(self.sent)
        self.router.work()
        return self.sent[before:]

    def be_done(self, position: int, instance: str) -> None:
        """An instance is done with an event, and the journal tells the router."""
        decision: Any = None
        self.router.done(self._messages.pop((position, instance)), decision)

    @property
    def parked_positions(self) -> list[int]:
        """Where the events are that the router set aside."""
        return [write.step.park.position for write in self.parked if write.step.park is not None]


@pytest.fixture
def world() -> World:
    return World()


# Going on


def test_it_sends_events_in_order_and_waits_for_no_instance(world: World) -> None:
    world.commit(Booked("a"), Booked("b"), Booked("a"))
    assert world.turn() == [(1, "a"), (2, "b"), (3, "a")]
    assert not world.router.has_work()


def test_it_takes_no_more_events_than_may_be_under_way(world: World) -> None:
    world.commit(*(Booked(f"b{number}") for number in range(1, MOST + 3)))
    assert len(world.turn()) == MOST
    assert not world.router.has_work()
    world.be_done(2, "b2")
    assert world.router.has_work()
    assert world.turn() == [(MOST + 1, f"b{MOST + 1}")]


def test_an_event_of_a_type_that_its_process_manager_does_not_handle_passes(world: World) -> None:
    world.commit(Renamed("a"), Booked("a"))
    assert world.turn() == [(2, "a")]


def test_what_is_done_ends_before_the_oldest_event_that_is_under_way(world: World) -> None:
    world.commit(Booked("a"), Booked("b"), Booked("c"))
    world.turn()
    assert world.router.done_up_to == 0
    world.be_done(2, "b")
    world.turn()
    assert world.router.done_up_to == 0
    world.be_done(1, "a")
    world.turn()
    assert world.router.done_up_to == 2


def test_an_event_for_several_instances_is_done_when_all_of_them_are(world: World) -> None:
    world.commit(Invoiced(["a", "b"], "i"))
    assert world.turn() == [(1, "a"), (1, "b")]
    world.be_done(1, "a")
    world.turn()
    assert world.router.done_up_to == 0
    world.be_done(1, "b")
    world.turn()
    assert world.router.done_up_to == 1


def test_a_router_that_is_closed_takes_no_more_events(world: World) -> None:
    world.router.is_closed = True
    world.commit(Booked("a"))
    assert not world.router.has_work()
    assert world.turn() == []


# Keys that instances learn


def test_an_event_whose_key_no_instance_has_yet_waits_for_all_before_it(world: World) -> None:
    assert Billed not in world.router.plan.definition.teachers
    world.commit(Billed("a", "i"), Booked("b"), Paid("i"), Booked("c"))
    assert world.turn() == [(1, "a"), (2, "b")]
    world.be_done(2, "b")
    assert world.turn() == []
    world.learnt["i"] = ["a"]
    world.be_done(1, "a")
    assert world.turn() == [(3, "a"), (4, "c")]


def test_an_event_waits_until_every_instance_that_may_learn_its_key_is_done(world: World) -> None:
    assert Invoiced in world.router.plan.definition.teachers
    world.commit(Invoiced(["a", "b"], "i"), Paid("i"))
    assert world.turn() == [(1, "a"), (1, "b")]
    world.learnt["i"] = ["a"]
    world.be_done(1, "a")
    assert world.turn() == []
    world.learnt["i"] = ["a", "b"]
    world.be_done(1, "b")
    assert world.turn() == [(2, "a"), (2, "b")]


def test_an_event_whose_key_is_known_waits_for_none_that_teaches_nothing(world: World) -> None:
    world.learnt["i"] = ["a"]
    world.commit(Booked("b"), Paid("i"))
    assert world.turn() == [(1, "b"), (2, "a")]


def test_a_router_that_waits_has_no_work_until_an_instance_is_done(world: World) -> None:
    world.commit(Booked("b"), Paid("i"))
    world.turn()
    assert not world.router.has_work()
    world.be_done(1, "b")
    assert world.router.has_work()


def test_an_event_whose_key_no_instance_has_is_for_none_once_those_before_it_are_done(
    world: World,
) -> None:
    world.commit(Booked("b"), Paid("i"), Booked("c"))
    world.turn()
    world.be_done(1, "b")
    assert world.turn() == [(3, "c")]
    assert world.router.counts["not_for_us"] == 1


# What cannot be routed


def test_a_damaged_event_is_parked_and_delays_none_behind_it(world: World) -> None:
    world.commit(StoreError("damaged"), Booked("a"))
    assert world.turn() == [(2, "a")]
    assert world.parked_positions == [1]
    world.be_done(2, "a")
    world.turn()
    assert world.router.done_up_to == 0
    world.parked[0].committed(Committed())
    world.turn()
    assert world.router.done_up_to == 2


def test_an_event_that_correlates_with_an_error_is_parked_and_delays_none_behind_it(
    world: World,
) -> None:
    world.commit(Booked("a"), Invoiced([], "i"), Booked("c"))
    assert world.turn() == [(1, "a"), (3, "c")]
    assert world.parked_positions == [2]


def test_an_event_that_cannot_be_read_is_parked_at_once_though_its_type_names_a_learnt_key(
    world: World,
) -> None:
    world.commit(Booked("a"), Paid("i"), Booked("c"))
    world.log[1].message, world.log[1].data = None, b"no message"
    assert world.turn() == [(1, "a"), (3, "c")]
    assert world.parked_positions == [2]


def test_an_event_whose_key_a_suspended_instance_may_learn_is_parked(world: World) -> None:
    world.is_any_suspended = True
    world.commit(Paid("i"))
    assert world.turn() == []
    assert world.parked_positions == [1]


def test_an_event_waits_for_those_before_it_whatever_other_instance_is_suspended(
    world: World,
) -> None:
    world.is_any_suspended = True
    world.commit(Billed("a", "i"), Paid("i"))
    assert world.turn() == [(1, "a")]
    assert world.parked_positions == []
    world.learnt["i"] = ["a"]
    world.be_done(1, "a")
    assert world.turn() == [(2, "a")]
