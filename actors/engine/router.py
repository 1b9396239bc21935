"""The router of one process manager: which instances an event is for, in order of position."""

from __future__ import annotations

import logging
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

from ..core.failures import parked_event
from ..core.ports import UNREADABLE
from ..core.stimuli import EventDelivered
from ..errors import EarlyEvent
from ..messages.identifiers import is_plain_id
from ..store import EventRecord, Step
from .instance_actor import InstanceActor, InstanceMessage, InstanceShare
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.decision import Decision
    from ..model.plans import ProcessPlan
    from ..model.subscriptions import Shortcut
    from ..store import CommandRecord
    from .ahead_reads import AheadReads
    from .residency import Sending
    from .services import Services
    from .timers import TimerService

__all__ = ["Router"]

logger = logging.getLogger("procession")

PAGE = 256
"""Most events and deliveries of one turn, so that the others have theirs."""

NOTHING, ROOM, TEACHERS, ALL = "nothing", "room", "teachers", "all"
"""What a router waits for before it takes more."""

STRIDE = 10_000
"""Events that may pass a router by before it has its checkpoint written for their sake."""


class Router(PooledActor):
    """Pulls events from the log and hands them to instance actors, never waiting for one.

    Its inbox is the log: it takes as many events as may be under way and leaves the rest there. An
    event reaches the inboxes of its instances after every event before it. Events are handled in
    any order; `done_up_to` is the position up to which all are, and is what is stored.

    Args:
        plan: of the process manager
        services: of the engine
        reads: the log with all that was handed over
        timers: brings timeouts to the instances
        enqueue: takes the commands that instances issue
        make_actor: of an instance
        max_in_flight: most deliveries that are under way at once

    """

    is_part = True

    def __init__(
        self,
        plan: ProcessPlan,
        services: Services,
        reads: AheadReads,
        timers: TimerService,
        enqueue: Callable[[list[CommandRecord]], None],
        make_actor: Callable[[InstanceShare, str], InstanceActor],
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(services.dispatcher)
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self._services = services
        self._journal = services.journal
        self._residency = services.residency
        self._reads = reads
        self._timers = timers
        self._events = services.event_buffer
        self._max_in_flight = max_in_flight
        share = InstanceShare(services, plan, reads, timers, enqueue, self.counts)
        self.wake_instance: Callable[[str], InstanceActor] = partial(make_actor, share)
        definition = plan.definition
        self._learns = any(one.learnt for one in definition.correlations.values())
        self._shortcuts = _Shortcuts(plan, is_off=self._learns)
        self.is_closed = False
        self.start_over(services.store.checkpoint(plan.name))

    def start_over(self, position: int) -> None:
        """Forget what is under way, and go on behind a position.

        Called with the journal's lock held, if anything runs.
        """
        self._position = position
        # Positions under way, in order, and in how many instances each is still to be handled.
        self._under_way: dict[int, int] = {}
        # Positions under way whose handlers may teach an instance a key.
        self._teaching: set[int] = set()
        self._in_hand = 0
        # What is left of an event for more instances than there was room for.
        self._rest: deque[Sending] = deque()
        # What was read of the log and not taken yet, in order.
        self._read: deque[EventRecord] = deque()
        # Whether it takes nothing until there is room, until no event under way may teach an
        # instance a key, or until none is under way.
        self._waits_for = NOTHING
        self._asked_for = position
        # The position that what is due waits for, or 0.
        self._awaited = 0

    @property
    def done_up_to(self) -> int:
        """The position up to which everything was handed over; exact with the journal's lock."""
        for position in self._under_way:
            return position - 1
        return self._position

    @property
    def routed_up_to(self) -> int:
        """The position up to which everything is in the inboxes of the instances that it is for."""
        # What is left of an event is of the newest that was taken.
        return self._position - bool(self._rest)

    def has_routed(self, position: int) -> bool:
        """Whether all up to a position is routed; when not, the timers hear once it is."""
        if self.routed_up_to >= position:
            return True
        self._awaited = self._awaited or position
        # It may have come there before it could see that it is waited for.
        return self.routed_up_to >= position

    def has_work(self) -> bool:
        """Whether there are new events and room for them."""
        return (
            (self._position < self._events.last or bool(self._rest))
            and self._waits_for is NOTHING
            and not self.is_closed
        )

    def work(self) -> None:
        """Take what there is room for, and send it to the instances that it is for."""
        if self.is_closed:
            return
        generation = self._journal.generation
        room = min(PAGE, self._max_in_flight - self._in_hand)
        if room <= 0:
            with self._journal.lock:
                self._wait_for(ROOM)
            return
        taken = self._take_rest(room) if self._rest else self._take_events(room)
        messages = taken.messages
        asleep = self._residency.asleep([one[:2] for one in messages])
        if asleep:
            self._reads.gather_instances(asleep)
        with self._journal.lock:
            if generation != self._journal.generation:
                self._read.clear()
                return
            for record, error in taken.unreadable:
                self._set_aside(record, error)
            self._under_way.update(taken.under_way)
            self._teaching.update(taken.teaching)
            self._in_hand += len(messages)
            self._rest.extend(taken.rest)
            self._position = taken.position
            self._journal.has_notes = True
            self._residency.send(messages)
            self._wait_for(taken.waits_for)
        if self._awaited and self.routed_up_to >= self._awaited:
            self._awaited = 0
            self._timers.ring()
        if self._position >= self._asked_for + STRIDE:
            # No other commit may come for a long time, and these need not be looked at again.
            self._asked_for = self._position
            self._journal.nudge_checkpoints()

    def _wait_for(self, what: str) -> None:
        """Take nothing until that is so, unless it is so by now; with the journal's lock."""
        self._waits_for = NOTHING if self._is_so(what) else what

    def _is_so(self, what: str) -> bool:
        if what is ROOM:
            # Not for one at a time.
            return self._in_hand <= self._max_in_flight // 2
        return not (self._teaching if what is TEACHERS else self._under_way)

    @property
    def in_flight(self) -> int:
        """Deliveries that are under way."""
        return self._in_hand

    def send(self, instance: str, message: InstanceMessage) -> None:
        """Give a message to an instance; any thread may call this, and nudges afterwards."""
        self._residency.send([(self.plan.name, instance, self.wake_instance, message)])

    def deliveries(self, record: EventRecord) -> list[tuple[str, EventDelivered]]:
        """Everything that an event is to be delivered as, with the instances that it is for.

        Raises:
            EarlyEvent: it names a learnt key that an instance which is held up may come to know
            Exception: it cannot be read or correlated

        """
        subscription = self.plan.subscription
        event = subscription.load(record)
        named, learnt = subscription.route(record, event, self._reads.read_index)
        if len(named) == 1:
            return [(named[0], EventDelivered(record, event, learnt))]
        if learnt is not None and not named and learnt[1]:
            self._refuse_early(record, learnt)
        # One instance may change what is inside its copy; the others have their own.
        is_shared = event is not record.message
        return [
            (instance, EventDelivered(record, event, learnt, is_shared=is_shared))
            for instance in named
        ]

    def done(self, message: InstanceMessage, decision: Decision) -> None:
        """What an instance made of an event was handed over; with the journal's lock."""
        del decision
        stimulus = message.stimulus
        assert type(stimulus) is EventDelivered
        position = stimulus.record.position
        under_way = self._under_way
        left = under_way[position] - 1
        if left:
            under_way[position] = left
        else:
            del under_way[position]
            self._teaching.discard(position)
        self._in_hand -= 1
        if self._waits_for is not NOTHING and self._is_so(self._waits_for):
            self._waits_for = NOTHING
            self.wake()

    # In its turn

    def _take_rest(self, room: int) -> _Taken:
        """Go on with an event that is for many; those behind it wait."""
        taken = _Taken(self._position)
        while self._rest and room:
            room -= 1
            taken.messages.append(self._rest.popleft())
        return taken

    def _take_events(self, room: int) -> _Taken:
        taken = _Taken(self._position)
        listens_to, shortcuts = self.plan.subscription.listens_to, self._shortcuts
        messages, under_way, read = taken.messages, taken.under_way, self._read
        kind, wake = self.plan.name, self.wake_instance
        if not read:
            read.extend(self._events.after(self._position, room))
        while read and len(messages) < room:
            record = read[0]
            shortcut = shortcuts[record.type]
            if shortcut is not None:
                event = record.message
                if type(event) is shortcut.cls:
                    name = getattr(event, shortcut.field)
                    if type(name) is str and is_plain_id(name):
                        # As `_route` comes to, for nearly all events.
                        taken.position = position = record.position
                        under_way[position] = 1
                        message = InstanceMessage(EventDelivered(record, event), self)
                        messages.append((kind, name, wake, message))
                        read.popleft()
                        continue
            if record.type == UNREADABLE:
                # The router cannot tell for whom it is.
                taken.unreadable.append((record, record.message))
            elif listens_to(record):
                if self._learns:
                    taken.waits_for = self._what_to_wait_for(record, taken)
                    if taken.waits_for is not NOTHING:
                        break
                self._route(record, taken)
            taken.position = record.position
            read.popleft()
        taken.rest = messages[room:]
        del messages[room:]
        return taken

    def _route(self, record: EventRecord, taken: _Taken) -> None:
        try:
            deliveries = self.deliveries(record)
        except BaseException as error:  # noqa: BLE001 - a person must see it, whatever it is
            taken.unreadable.append((record, error))
            return
        if not deliveries:
            self.counts["not_for_us"] += 1
            return
        taken.under_way[record.position] = len(deliveries)
        if type(deliveries[0][1].event) in self.plan.definition.teachers:
            taken.teaching.add(record.position)
        name, wake = self.plan.name, self.wake_instance
        taken.messages += [
            (name, instance, wake, InstanceMessage(delivered, self))
            for instance, delivered in deliveries
        ]

    def _refuse_early(self, record: EventRecord, learnt: tuple[str, list[str]]) -> None:
        name, (field, values) = self.plan.name, learnt
        if self._reads.any_blocked(name):
            raise EarlyEvent(
                f"no instance of {name} has {field!r} = "
                f"{' or '.join(map(repr, values))}, but one that is suspended or waits to try "
                f"again may come to know it; retry this {record.type} when it has gone on, or "
                f"skip it"
            )

    def _what_to_wait_for(self, record: EventRecord, taken: _Taken) -> str:
        """Whether an instance may be about to learn the key that this event names.

        An event that finds its instances by a learnt key waits until those before it that may
        teach one are handed over. One that finds no instance waits for all: not every way of
        setting a field can be seen in the code.
        """
        if not (self._under_way or taken.under_way):
            return NOTHING
        try:
            event = self.plan.subscription.load(record)
            if self.plan.subscription.learnt_of(event) is None:
                return NOTHING
            if self._teaching or taken.teaching:
                return TEACHERS
            return NOTHING if self.deliveries(record) else ALL
        except EarlyEvent:
            return ALL
        except Exception:  # noqa: BLE001 - it is routed, and parked there
            return NOTHING

    def _set_aside(self, record: EventRecord, error: BaseException) -> None:
        """Park an event that cannot be read or correlated; it delays no other."""
        name = self.plan.name
        logger.warning("%s: event %s was parked", name, record.event_id, exc_info=error)
        self.counts["parked"] += 1
        parked = parked_event(error, name, "", record, self._services.now())
        self._journal.lay(Step(park=parked))


class _Shortcuts(dict[str, "Shortcut | None"]):
    """By type of event, each found when the first of them comes."""

    def __init__(self, plan: ProcessPlan, *, is_off: bool) -> None:
        super().__init__()
        self._subscription = plan.subscription
        self._is_off = is_off

    def __missing__(self, wire_type: str) -> Shortcut | None:
        found = None if self._is_off else self._subscription.shortcut(wire_type)
        self[wire_type] = found
        return found


class _Taken:
    """What one turn takes from the log."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.messages: list[Sending] = []
        self.rest: list[Sending] = []
        self.under_way: dict[int, int] = {}
        self.teaching: set[int] = set()
        self.unreadable: list[tuple[EventRecord, BaseException]] = []
        self.waits_for = NOTHING
