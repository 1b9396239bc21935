"""The router: events go to their instances in order of position, and none waits without reason.

The test gives the router its turns and says when an instance is done, so that no thread decides.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from procession import Domain, Event, Indexed, ProcessManager, Runtime, handle
from procession.clock import from_micros
from procession.core.ports import UNREADABLE
from procession.engine.event_buffer import EventBuffer
from procession.engine.failure_log import FailureLog
from procession.engine.instance_watches import InstanceWatches
from procession.engine.router import MOST_HELD, PAGE, Router
from procession.engine.services import Services
from procession.messages.codec import dump
from procession.model.plans import ProcessPlan
from procession.model.registry import Registry
from procession.store import COMMITTED, EventRecord, StoreError, UnmatchedRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from procession.core.stimuli import EventDelivered
    from procession.engine.instance_actor import InstanceMessage
    from procession.store import Outcome, ParkedRecord, Step

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

    It is the reads, the residency and the journal that the router knows.
    """

    max_in_flight: int = MOST

    log: list[EventRecord] = field(default_factory=list)
    learnt: dict[str, list[str]] = field(default_factory=dict)
    """The instances that know an invoice."""
    is_any_suspended: bool = False
    held: dict[int, UnmatchedRecord] = field(default_factory=dict)
    """The events that are held, by position."""
    held_before: int = 0
    """How many more are held."""
    now: int = 0
    rings_at: datetime | None = None
    sent: list[tuple[int, str]] = field(default_factory=list)
    """Which events went to which instances, in order."""
    parked: list[ParkedRecord] = field(default_factory=list)
    delivered: list[EventDelivered] = field(default_factory=list)
    awake: set[str] = field(default_factory=set)
    asked_for: list[list[str]] = field(default_factory=list)
    """Which instances were asked for together, before they were woken."""
    checkpoint_wishes: int = 0
    generation: int = 0
    has_notes: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    while_it_looks: Callable[[], None] | None = None
    """What happens in another thread while the router takes what it will send."""
    router: Router = field(init=False)

    def __post_init__(self) -> None:
        self._messages: dict[tuple[int, str], InstanceMessage] = {}
        me: Any = self
        nothing: Any = None
        make_actor: Any = SimpleNamespace
        store: Any = SimpleNamespace(
            checkpoint=lambda name: 0, ahead=me, partition=None, is_remote=False
        )
        self.scheduled: list[object] = []
        dispatcher: Any = SimpleNamespace(schedule=self.scheduled.append)
        registry = Registry([hall])
        self.buffer = EventBuffer(me, 100, 0)
        self.router = Router(
            ProcessPlan(registry.process(Booking), registry, max_chain=100),
            Services(
                registry,
                store,
                dispatcher,
                me,
                me,
                self.buffer,
                nothing,
                lambda: self.now,
                FailureLog(lambda: self.now),
                InstanceWatches(),
            ),
            me,
            nothing,
            nothing,
            make_actor,
            me,
            max_in_flight=self.max_in_flight,
        )

    # As the reads

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        return self.log[after : after + limit]

    def gather_instances(self, owners: list[tuple[str, str]]) -> None:
        if self.while_it_looks is not None:
            self.while_it_looks()
        self.asked_for.append([instance for _, instance in owners])

    def read_index(self, process: str, name: str, value: str) -> list[str]:
        del process, name
        return self.learnt.get(value, [])

    def any_blocked(self, process: str) -> bool:
        del process
        return self.is_any_suspended

    def count_unmatched(self, process: str) -> int:
        del process
        return self.held_before + len(self.held)

    def unmatched(self, process: str, limit: int) -> list[UnmatchedRecord]:
        del process
        return [one for _, one in sorted(self.held.items())][:limit]

    def event_at(self, position: int) -> EventRecord:
        return self.log[position - 1]

    # As the clock, and its alarm

    def alarm(self, ring: Callable[[], None]) -> World:
        del ring
        return self

    def set(self, moment: datetime) -> None:
        self.rings_at = moment

    @staticmethod
    def commits_first() -> bool:
        """As the journal of a store whose looks are no trips."""
        return False

    # As the residency

    def asleep(self, actors: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [one for one in actors if one[1] not in self.awake]

    def send(self, messages: list[tuple[tuple[str, str], object, InstanceMessage]]) -> None:
        assert self.lock.locked()
        for (_, instance), _, message in messages:
            stimulus: Any = message.stimulus
            place = stimulus.record.position, instance
            self._messages[place] = message
            self.delivered.append(stimulus)
            self.sent.append(place)

    # As the journal

    def lay(self, step: Step) -> Outcome:
        assert self.lock.locked()
        if step.extras is not None and step.extras.hold is not None:
            self.held[step.extras.hold.position] = step.extras.hold
        if step.extras is not None and step.extras.let_go:
            del self.held[step.extras.let_go]
        if step.park is not None:
            self.parked.append(step.park)
        return COMMITTED

    def nudge_checkpoints(self) -> None:
        self.checkpoint_wishes += 1

    # What a test does

    def hand_over(self, *events: Event | StoreError) -> None:
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
        """What an instance made of an event is handed over."""
        decision: Any = None
        with self.lock:
            self.router.done(self._messages.pop((position, instance)), decision)

    def lose(self, durable: int, done_up_to: int) -> None:
        """A commit fails: of the log only so much is left, and the router starts over."""
        with self.lock:
            del self.log[durable:]
            self.generation += 1
            self.buffer.start_over(durable)
            self.router.start_over(done_up_to, 0)

    @staticmethod
    def packed(message: object) -> bytes:
        """As an event is stored."""
        assert isinstance(message, Event)
        return dump(message)[0]

    @property
    def parked_positions(self) -> list[int]:
        """Where the events are that the router set aside."""
        return [one.position for one in self.parked]


@pytest.fixture
def world() -> World:
    return World()


# Going on


def test_it_sends_events_in_order_and_waits_for_no_instance(world: World) -> None:
    world.hand_over(Booked("a"), Booked("b"), Booked("a"))
    assert world.turn() == [(1, "a"), (2, "b"), (3, "a")]
    assert not world.router.has_work()


def test_it_takes_no_more_events_than_may_be_under_way(world: World) -> None:
    world.hand_over(*(Booked(f"b{number}") for number in range(1, MOST + 3)))
    assert len(world.turn()) == MOST
    assert world.turn() == []
    assert not world.router.has_work()
    # It goes on when there is room for several, and not for one at a time.
    world.be_done(2, "b2")
    assert not world.router.has_work()
    world.be_done(3, "b3")
    assert world.router.has_work()
    assert world.turn() == [(MOST + 1, f"b{MOST + 1}"), (MOST + 2, f"b{MOST + 2}")]


def test_an_event_of_a_type_that_its_process_manager_does_not_handle_passes(world: World) -> None:
    world.hand_over(Renamed("a"), Booked("a"))
    assert world.turn() == [(2, "a")]


def test_what_is_done_ends_before_the_oldest_event_that_is_under_way(world: World) -> None:
    world.hand_over(Booked("a"), Booked("b"), Booked("c"))
    world.turn()
    assert world.router.done_up_to == 0
    world.be_done(2, "b")
    world.turn()
    assert world.router.done_up_to == 0
    world.be_done(1, "a")
    world.turn()
    assert world.router.done_up_to == 2


def test_an_event_for_several_instances_is_done_when_all_of_them_are(world: World) -> None:
    world.hand_over(Invoiced(["a", "b"], "i"))
    assert world.turn() == [(1, "a"), (1, "b")]
    world.be_done(1, "a")
    world.turn()
    assert world.router.done_up_to == 0
    world.be_done(1, "b")
    world.turn()
    assert world.router.done_up_to == 1


def test_a_router_that_is_closed_takes_no_more_events(world: World) -> None:
    world.router.is_closed = True
    world.hand_over(Booked("a"))
    assert not world.router.has_work()
    assert world.turn() == []


def test_a_router_that_is_behind_takes_what_was_handed_over_first(world: World) -> None:
    world.hand_over(*(Booked(f"b{number}") for number in range(1, 300)))
    # So many that the oldest are read from the log.
    taken = []
    while world.router.has_work():
        for place in world.turn():
            taken.append(place)
            world.be_done(*place)
    assert taken == [(number, f"b{number}") for number in range(1, 300)]
    assert world.router.done_up_to == 299


def test_it_takes_a_page_in_one_turn_so_that_others_have_theirs() -> None:
    world = World(max_in_flight=10 * PAGE)
    world.hand_over(*(Booked(f"b{number}") for number in range(PAGE + 10)))
    assert [len(world.turn()), len(world.turn())] == [PAGE, 10]


def test_it_asks_at_once_for_all_that_sleep_and_for_no_other(world: World) -> None:
    world.awake = {"b"}
    world.hand_over(Booked("a"), Booked("b"), Booked("c"))
    world.turn()
    world.hand_over(Booked("b"))
    world.turn()
    assert world.asked_for == [["a", "c"]]


def test_what_was_sent_is_to_be_noted_by_the_journal(world: World) -> None:
    world.hand_over(Booked("a"))
    world.turn()
    assert world.has_notes


def test_its_position_is_written_now_and_then_though_no_event_is_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.engine.router.STRIDE", 10)
    for number in range(1, 31):
        world.hand_over(Renamed("a"))
        world.turn()
        assert world.checkpoint_wishes == number // 10


# An event for many


def test_an_event_for_more_instances_than_there_is_room_for_goes_to_them_in_pages(
    world: World,
) -> None:
    names = [f"b{number}" for number in range(3 * MOST)]
    world.hand_over(Invoiced(names, "i"), Booked("z"))
    sent: list[tuple[int, str]] = []
    while len(sent) < len(names):
        assert world.router.in_flight == 0
        page = world.turn()
        assert len(page) == MOST
        sent += page
        assert world.turn() == [], "there is no room"
        for place in page:
            assert world.router.done_up_to == 0
            world.be_done(*place)
    assert sent == [(1, name) for name in names]
    assert world.router.done_up_to == 1
    # Nothing behind it came first, in whatever page there was room.
    assert world.turn() == [(2, "z")]


def test_others_have_their_turns_between_the_pages_of_an_event_for_many() -> None:
    world = World(max_in_flight=10 * PAGE)
    names = [f"b{number:04}" for number in range(PAGE + 1)]
    world.hand_over(Invoiced(names, "i"), Booked("z"))
    assert world.turn() == [(1, name) for name in names[:PAGE]]
    assert world.router.has_work()
    assert world.turn() == [(1, names[PAGE])]
    assert world.turn() == [(2, "z")]


def test_an_event_that_was_read_for_many_is_said_to_be_shared(world: World) -> None:
    world.hand_over(Invoiced(["a", "b", "c"], "i"), Invoiced(["d"], "i"))
    for record in world.log:
        record.data, record.message = world.packed(record.message), None
    world.turn()
    assert [one.is_shared for one in world.delivered] == [True, True, True, False]


def test_what_one_instance_does_to_an_event_for_many_no_other_sees() -> None:
    domain = Domain("copies")

    @domain.register
    class Greedy(ProcessManager):
        seen: list[str] = []

        @handle(Invoiced, start=True, correlate=lambda event: list(event.bookings))
        def on_invoiced(self, event: Invoiced) -> None:
            self.seen = list(event.bookings)
            event.bookings.clear()

    with Runtime.ephemeral(domain) as runtime:
        runtime.publish(Invoiced(["a", "b", "c"], "i"), stream="hall::x-1")
        runtime.settle(timeout=10)
        for name in "abc":
            view = runtime.get(Greedy, name)
            assert view is not None
            assert view.state["seen"] == ["a", "b", "c"]


# Starting over


def test_a_router_that_starts_over_goes_on_behind_what_is_durable(world: World) -> None:
    world.hand_over(Booked("a"), Booked("b"), Booked("c"), Booked("d"))
    world.turn()
    world.be_done(1, "a")
    world.be_done(2, "b")
    world.lose(durable=3, done_up_to=1)
    assert (world.router.done_up_to, world.router.in_flight) == (1, 0)
    assert world.turn() == [(2, "b"), (3, "c")]
    world.hand_over(Booked("e"))
    assert world.turn() == [(4, "e")]


def test_a_router_that_waits_for_what_is_gone_waits_no_more(world: World) -> None:
    world.hand_over(Booked("b"), Paid("i"))
    world.turn()
    assert not world.router.has_work()
    world.lose(durable=2, done_up_to=0)
    assert world.turn() == [(1, "b")]
    world.be_done(1, "b")
    assert world.turn() == []
    assert list(world.held) == [2]


def test_the_rest_of_an_event_for_many_is_forgotten_with_it(world: World) -> None:
    world.hand_over(Invoiced([f"b{number}" for number in range(MOST + 2)], "i"))
    world.turn()
    world.lose(durable=0, done_up_to=0)
    assert world.turn() == []
    assert not world.router.has_work()
    world.hand_over(Booked("a"))
    assert world.turn() == [(1, "a")]


def test_what_it_took_before_all_was_forgotten_is_sent_to_nobody(world: World) -> None:
    def fail_meanwhile() -> None:
        world.while_it_looks = None
        world.lose(durable=1, done_up_to=0)

    world.while_it_looks = fail_meanwhile
    world.hand_over(Booked("a"), StoreError("damaged"), Booked("c"))
    assert world.turn() == []
    assert world.parked == []
    assert (world.router.done_up_to, world.router.in_flight) == (0, 0)
    assert world.turn() == [(1, "a")]


# Keys that instances learn


def test_an_event_whose_key_no_instance_has_yet_waits_for_all_before_it(world: World) -> None:
    assert Billed not in world.router.plan.definition.teachers
    world.hand_over(Billed("a", "i"), Booked("b"), Paid("i"), Booked("c"))
    assert world.turn() == [(1, "a"), (2, "b")]
    world.be_done(2, "b")
    assert world.turn() == []
    world.learnt["i"] = ["a"]
    world.be_done(1, "a")
    assert world.turn() == [(3, "a"), (4, "c")]


def test_an_event_waits_until_every_instance_that_may_learn_its_key_is_done(world: World) -> None:
    assert Invoiced in world.router.plan.definition.teachers
    world.hand_over(Invoiced(["a", "b"], "i"), Paid("i"))
    assert world.turn() == [(1, "a"), (1, "b")]
    world.learnt["i"] = ["a"]
    world.be_done(1, "a")
    assert world.turn() == []
    world.learnt["i"] = ["a", "b"]
    world.be_done(1, "b")
    assert world.turn() == [(2, "a"), (2, "b")]


def test_an_event_whose_key_is_known_waits_for_none_that_teaches_nothing(world: World) -> None:
    world.learnt["i"] = ["a"]
    world.hand_over(Booked("b"), Paid("i"))
    assert world.turn() == [(1, "b"), (2, "a")]


def test_a_router_that_waits_has_no_work_until_an_instance_is_done(world: World) -> None:
    world.hand_over(Booked("b"), Paid("i"))
    world.turn()
    assert not world.router.has_work()
    world.be_done(1, "b")
    assert world.router.has_work()


MINUTE = 60_000_000


def test_an_event_whose_key_no_instance_has_is_held_once_those_before_it_are_done(
    world: World,
) -> None:
    world.hand_over(Booked("b"), Paid("i"), Booked("c"))
    world.turn()
    assert world.held == {}
    world.be_done(1, "b")
    assert world.turn() == [(3, "c")]
    assert world.held == {2: UnmatchedRecord("hall.Booking", 2, "invoice", ["i"], MINUTE)}
    # It is in the commit in which the router's position passes it.
    assert world.router.done_up_to == 2
    assert world.router.counts["held"] == 1
    assert world.rings_at == from_micros(MINUTE)


def test_an_event_whose_key_was_taught_by_a_timeout_meanwhile_is_not_held(world: World) -> None:
    def learn_meanwhile() -> None:
        world.learnt["i"] = ["a"]

    world.while_it_looks = learn_meanwhile
    world.hand_over(Paid("i"), Booked("b"))
    assert world.turn() == []
    assert world.held == {}
    assert world.turn() == [(1, "a"), (2, "b")]


def test_what_is_held_is_let_go_when_its_time_is_up_and_the_alarm_is_set_for_the_next(
    world: World,
) -> None:
    world.hand_over(Paid("i"))
    world.turn()
    world.now = 10
    world.hand_over(Paid("j"))
    world.turn()
    world.now = MINUTE
    world.router.ring()
    assert world.router.has_work()
    world.turn()
    assert list(world.held) == [2]
    assert world.router.counts["skipped_unmatched"] == 1
    assert world.rings_at == from_micros(MINUTE + 10)
    assert not world.router.has_work()


def test_what_was_stored_before_the_time_was_up_is_handled_before_anything_is_let_go(
    world: World,
) -> None:
    world.hand_over(Paid("i"))
    world.turn()
    world.now = MINUTE
    world.hand_over(Booked("b"))
    world.router.ring()
    assert world.turn() == [(2, "b")]
    assert list(world.held) == [1]
    assert not world.router.has_work()
    # What comes later is not waited for.
    world.hand_over(Booked("c"))
    assert world.turn() == [(3, "c")]
    world.be_done(2, "b")
    world.turn()
    assert world.held == {}


def test_what_is_held_is_parked_when_its_time_is_up_while_an_instance_is_suspended(
    world: World,
) -> None:
    world.hand_over(Paid("i"))
    world.turn()
    world.now, world.is_any_suspended = MINUTE, True
    world.router.ring()
    world.turn()
    assert world.held == {}
    assert world.parked_positions == [1]


def test_more_than_may_be_held_is_skipped_and_counted(world: World) -> None:
    world.held_before = MOST_HELD - 1
    world.hand_over(Paid("i"), Paid("j"), Paid("k"))
    assert world.turn() == []
    assert list(world.held) == [1]
    assert world.router.counts["skipped_unmatched"] == 2


# What cannot be routed


def test_a_damaged_event_is_parked_and_delays_none_behind_it(world: World) -> None:
    world.hand_over(StoreError("damaged"), Booked("a"))
    assert world.turn() == [(2, "a")]
    assert world.parked_positions == [1]
    # It is set aside in the commit in which the router's position passes it.
    assert world.router.done_up_to == 1
    world.be_done(2, "a")
    assert world.router.done_up_to == 2


def test_an_event_that_correlates_with_an_error_is_parked_and_delays_none_behind_it(
    world: World,
) -> None:
    world.hand_over(Booked("a"), Invoiced([], "i"), Booked("c"))
    assert world.turn() == [(1, "a"), (3, "c")]
    assert world.parked_positions == [2]


def test_an_event_that_cannot_be_read_is_parked_at_once_though_its_type_names_a_learnt_key(
    world: World,
) -> None:
    world.hand_over(Booked("a"), Paid("i"), Booked("c"))
    world.log[1].message, world.log[1].data = None, b"no message"
    assert world.turn() == [(1, "a"), (3, "c")]
    assert world.parked_positions == [2]


def test_an_event_that_cannot_be_held_is_parked_if_a_suspended_instance_may_learn_its_key(
    world: World,
) -> None:
    world.is_any_suspended, world.held_before = True, MOST_HELD
    world.hand_over(Paid("i"))
    assert world.turn() == []
    assert world.parked_positions == [1]


def test_an_event_waits_for_those_before_it_whatever_other_instance_is_suspended(
    world: World,
) -> None:
    world.is_any_suspended = True
    world.hand_over(Billed("a", "i"), Paid("i"))
    assert world.turn() == [(1, "a")]
    assert world.parked_positions == []
    world.learnt["i"] = ["a"]
    world.be_done(1, "a")
    assert world.turn() == [(2, "a")]
