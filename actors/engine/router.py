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
from ..store import EventRecord, Step
from .instance_actor import InstanceActor, InstanceMessage, InstanceShare
from .journal import PendingWrite
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.decision import Decision
    from ..core.ports import Reads
    from ..model.plans import ProcessPlan
    from ..store import CommandRecord, Outcome
    from .services import Services
    from .timers import TimerService

__all__ = ["Router"]

logger = logging.getLogger("procession")

PAGE = 256

STRIDE = 10_000
"""Events that may pass a router by before it has its checkpoint written for their sake."""


class Router(PooledActor):
    """Pulls events from the log and hands them to instance actors, never waiting for one.

    Its inbox is the log: it takes as many events as may be under way and leaves the rest on disk.
    Events finish in any order; `done` is the position up to which all are, and is what is stored.

    Args:
        plan: of the process manager
        services: of the engine
        reads: what decisions ask of the log
        timers: brings timeouts to the instances
        enqueue: takes the commands that instances issue
        make_actor: of an instance
        max_in_flight: most events that are under way at once

    """

    def __init__(
        self,
        plan: ProcessPlan,
        services: Services,
        reads: Reads,
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
        self._store = services.store
        self._events = services.event_buffer
        self._max_in_flight = max_in_flight
        share = InstanceShare(services, plan, reads, timers, enqueue, self.wake, self.counts)
        self.wake_instance: Callable[[str], InstanceActor] = partial(make_actor, share)
        definition = plan.definition
        self._learns = any(one.learnt for one in definition.correlations.values())
        # Positions under way whose handlers may teach an instance a key.
        self._teaching: set[int] = set()
        # Positions that an instance is done with; the journal adds them.
        self._handled: deque[int] = deque()
        # Positions under way, in order, and how many instances still have each in hand.
        self._under_way: dict[int, int] = {}
        self._position = self._store.checkpoint(plan.name)
        self._asked_for = 0
        # Whether the next event waits until those before it are done.
        self._waits = False
        self.done_up_to = self._position
        """The position up to which everything is handled."""
        self.is_closed = False

    def has_work(self) -> bool:
        """Whether events were handled, or there are new ones and room for them."""
        return bool(self._handled) or (
            self._position < self._events.last
            and len(self._under_way) < self._max_in_flight
            and not (self._waits and self._under_way)
            and not self.is_closed
        )

    def work(self) -> None:
        """Note what is done, then take more."""
        self._waits = False
        self._note_handled()
        if self.is_closed:
            return
        room = min(PAGE, self._max_in_flight - len(self._under_way))
        if room > 0:
            routed: list[tuple[str, EventDelivered]] = []
            listens_to = self.plan.subscription.listens_to
            for record in self._events.after(self._position, room):
                if record.type == UNREADABLE:
                    # The router cannot tell for whom it is.
                    self._set_aside(record, record.message)
                elif listens_to(record):
                    if self._learns and self._must_wait(record):
                        self._waits = True
                        break
                    routed += self._route(record)
                self._position = record.position
            name, wake = self.plan.name, self.wake_instance
            self._services.residency.send(
                [
                    (name, instance, wake, InstanceMessage(delivered, self))
                    for instance, delivered in routed
                ]
            )
        self._note_done()

    @property
    def in_flight(self) -> int:
        """Events that are under way."""
        return len(self._under_way)

    def send(self, instance: str, message: InstanceMessage) -> None:
        """Give a message to an instance; any thread may call this, and nudges afterwards."""
        self._services.residency.send([(self.plan.name, instance, self.wake_instance, message)])

    def deliveries(self, record: EventRecord) -> list[tuple[str, EventDelivered]]:
        """Everything that an event is to be delivered as, with the instances that it is for.

        Raises:
            EarlyEvent: it names a learnt key that an instance which is held up may come to know
            Exception: it cannot be read or correlated

        """
        subscription = self.plan.subscription
        event = subscription.load(record)
        named, learnt = subscription.route(record, event, self._store.read_index)
        if len(named) == 1:
            return [(named[0], EventDelivered(record, event, learnt))]
        if learnt is not None and not named and learnt[1]:
            self._refuse_early(record, learnt)
        # One instance may change what is inside its copy; the others have their own.
        return [
            (
                instance,
                EventDelivered(
                    record,
                    event if number == len(named) else subscription.load(record),
                    learnt,
                ),
            )
            for number, instance in enumerate(named, 1)
        ]

    # Called by the journal

    def done(self, message: InstanceMessage, decision: Decision) -> None:
        """An instance is done with an event."""
        del decision
        stimulus = message.stimulus
        assert type(stimulus) is EventDelivered
        self._handled.append(stimulus.record.position)

    # In its turn

    def _refuse_early(self, record: EventRecord, learnt: tuple[str, list[str]]) -> None:
        name, (field, values) = self.plan.name, learnt
        if self._store.any_blocked(name):
            raise EarlyEvent(
                f"no instance of {name} has {field!r} = "
                f"{' or '.join(map(repr, values))}, but one that is suspended or waits to try "
                f"again may come to know it; retry this {record.type} when it has gone on, or "
                f"skip it"
            )

    def _must_wait(self, record: EventRecord) -> bool:
        """Whether an instance may be about to learn the key that this event names.

        An event that finds its instances by a learnt key waits until those before it that may
        teach one are done. One that finds no instance waits for all: not every way of setting a
        field can be seen in the code.
        """
        if not self._under_way:
            return False
        try:
            event = self.plan.subscription.load(record)
            if self.plan.subscription.learnt_of(event) is None:
                return False
            return bool(self._teaching) or not self.deliveries(record)
        except EarlyEvent:
            return True
        except Exception:  # noqa: BLE001 - it is routed, and parked there
            return False

    def _note_handled(self) -> None:
        under_way = self._under_way
        handled = self._handled
        while handled:
            position = handled.popleft()
            left = under_way[position] - 1
            if left:
                under_way[position] = left
            else:
                del under_way[position]
                self._teaching.discard(position)

    def _note_done(self) -> None:
        self.done_up_to = next(iter(self._under_way)) - 1 if self._under_way else self._position
        if self.done_up_to >= self._asked_for + STRIDE:
            # No other commit may come for a long time, and these need not be looked at again.
            self._asked_for = self.done_up_to
            self._services.journal.nudge_checkpoints()

    def _route(self, record: EventRecord) -> list[tuple[str, EventDelivered]]:
        try:
            deliveries = self.deliveries(record)
        except BaseException as error:  # noqa: BLE001 - a person must see it, whatever it is
            self._set_aside(record, error)
            return []
        if not deliveries:
            self.counts["not_for_us"] += 1
            return []
        self._under_way[record.position] = len(deliveries)
        if type(deliveries[0][1].event) in self.plan.definition.teachers:
            self._teaching.add(record.position)
        return deliveries

    def _set_aside(self, record: EventRecord, error: BaseException) -> None:
        """Park an event that cannot be read or correlated; it delays no other."""
        name, position = self.plan.name, record.position
        logger.warning("%s: event %s was parked", name, record.event_id, exc_info=error)
        self._under_way[position] = 1
        self.counts["parked"] += 1

        def note(outcome: Outcome) -> None:
            del outcome
            self._handled.append(position)

        parked = parked_event(error, name, "", record, self._services.now())
        self._services.journal.add(PendingWrite(Step(park=parked), note))
