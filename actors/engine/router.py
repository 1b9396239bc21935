"""The router of one process manager: which instances an event is for, in order of position."""

from __future__ import annotations

import logging
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

from ..core.failures import parked_event
from ..core.stimuli import Delivery, InstanceStimulus
from ..errors import EarlyEvent, UnknownMessage
from ..messages.codec import codecs
from ..messages.identifiers import id_of
from ..model.upcasting import split
from ..store import Step, category_of, place_of_issue
from .dispatcher import PooledActor
from .event_buffer import UNREADABLE
from .instance_actor import InstanceActor

if TYPE_CHECKING:
    from ..authoring.decorators import Handler
    from ..messages.types import Event
    from ..model.process_definition import ProcessDefinition
    from ..store import EventRecord, Outcome, StoreError
    from .command_queue import CommandQueue
    from .event_buffer import EventBuffer
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
        definition: of the process manager
        command queue: takes the commands that instances issue
        tail: where events come from
        categories: of the streams that are listened to; None for all
        max_in_flight: most events that are under way at once
        max_chain: the longest chain of events and commands

    """

    def __init__(
        self,
        definition: ProcessDefinition,
        command_queue: CommandQueue,
        event_buffer: EventBuffer,
        categories: frozenset[str] | None,
        *,
        max_in_flight: int,
        max_chain: int,
    ) -> None:
        super().__init__(command_queue.dispatcher)
        self.definition = definition
        self.command_queue = command_queue
        self.journal = command_queue.journal
        self.store = command_queue.store
        self.registry = command_queue.registry
        self.now = command_queue.now
        self.max_chain = max_chain
        self.timer_service: TimerService
        self._categories = categories
        self._residency = command_queue.residency
        self._event_buffer = event_buffer
        self._max_in_flight = max_in_flight
        self._wake_instance = partial(InstanceActor, self)
        # How each event that is handled here is read: other domains' classes may differ.
        self._readers = self.registry.readers_of(definition, definition.handlers)
        # By wire names, and by wire names without their versions.
        self._handlers: dict[str, Handler] = {}
        for event, handler in definition.handlers.items():
            name = self.registry.name_of(event, definition)
            self._handlers[name] = self._handlers[split(name)[0]] = handler
        self._learns = any(one.learnt for one in definition.correlations.values())
        # Positions under way whose handlers may teach an instance a key.
        self._teaching: set[int] = set()
        self.handled: deque[int] = deque()
        """Positions that an instance is done with; the journal adds them."""
        # Positions under way, in order, and how many instances still have each in hand.
        self._under_way: dict[int, int] = {}
        self._position = self.store.checkpoint(definition.name)
        self._asked_for = 0
        # Whether the next event waits until those before it are done.
        self._waits = False
        self.done = self._position
        self.is_closed = False
        self.counts: Counter[str] = Counter()

    def has_work(self) -> bool:
        """Whether events were handled, or there are new ones and room for them."""
        return bool(self.handled) or (
            self._position < self._event_buffer.last
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
            routed: list[Delivery] = []
            for record in self._event_buffer.after(self._position, room):
                if record.type == UNREADABLE:
                    # Nobody can tell for whom it is.
                    self._set_aside(record, record.message)
                elif self._readers[record.type] is not None and self._listens_to(record):
                    if self._learns and self._must_wait(record):
                        self._waits = True
                        break
                    routed += self._route(record)
                self._position = record.position
            name, wake = self.definition.name, self._wake_instance
            self._residency.send([(name, one.actor, wake, one) for one in routed])
        self._note_done()

    @property
    def in_flight(self) -> int:
        """Events that are under way."""
        return len(self._under_way)

    def send(self, instance: str, stimulus: InstanceStimulus) -> None:
        """Give a stimulus to an instance; any thread may call this, and nudges afterwards."""
        self._residency.send([(self.definition.name, instance, self._wake_instance, stimulus)])

    def load(self, record: EventRecord) -> Event:
        """A copy of a stored event, as this process manager's class for it.

        Raises:
            InvalidMessage: what is stored does not fit the class
            UnknownMessage: it is of a version that nothing turns into that of the class, or is
                not handled any more

        """
        reader = self._readers[record.type]
        if reader is None:
            raise UnknownMessage(
                f"{self.definition.name} has no handler for {record.type} any more; write one, "
                f"or skip the event"
            )
        message: Event | None = record.message
        if message is not None and reader is codecs[type(message)]:
            return message
        return reader.load(record.data)

    def handler_of(self, record: EventRecord) -> Handler | None:
        """The handler of a stored event; None if there is none any more."""
        return self._handlers.get(record.type) or self._handlers.get(split(record.type)[0])

    def learnt_of(self, event: Event) -> tuple[str, list[str]] | None:
        """The learnt key by which an event finds its instances, and the values it names."""
        correlation = self.definition.correlations.get(type(event))
        if correlation is None or not correlation.learnt:
            return None
        return correlation.learnt, correlation.ids(event)

    def instances_of(self, record: EventRecord) -> list[Delivery]:
        """Everything that an event is to be delivered as."""
        event = self.load(record)
        if self.definition.stateless:
            # The id of an event in a stream with a long name may be too long for an instance.
            name = id_of(record.event_id, self.definition.name)
            return [Delivery(record=record, event=event, actor=name)]
        correlation = self.definition.correlations[type(event)]
        named = correlation.ids(event)
        if not correlation.learnt:
            if len(named) == 1:
                return [Delivery(record=record, event=event, actor=named[0])]
            learnt = None
        else:
            field, values = learnt = correlation.learnt, named
            read = partial(self.store.read_index, self.definition.name, field)
            named = list(dict.fromkeys(one for value in values for one in read(value)))
            if not named and values and self.store.any_blocked(self.definition.name):
                raise EarlyEvent(
                    f"no instance of {self.definition.name} has {field!r} = "
                    f"{' or '.join(map(repr, values))}, but one that is suspended or waits to try "
                    f"again may come to know it; retry this {record.type} when it has gone on, or "
                    f"skip it"
                )
        found: list[Delivery] = []
        for instance in named:
            # One instance may change what is inside its copy; the others have their own.
            own = event if instance is named[-1] else self.load(record)
            found.append(Delivery(record=record, event=own, learnt=learnt, actor=instance))
        return found

    def cause_of(self, record: EventRecord) -> EventRecord | None:
        """The event before an event in its chain; None if an instance's command is not behind it.

        An event of a command from outside has no depth, whatever id the caller gave the command.
        """
        issue = place_of_issue(record.causation_id or "") if record.depth else None
        if issue is None:
            return None
        page = self.store.read_transitions(issue.process, issue.instance, issue.version - 1, 1)
        if not page or all(one[0] != record.causation_id for one in page[0].commands):
            return None
        position = page[0].position or self.store.position_of(page[0].cause)
        return self.store.read_log(position - 1, 1)[0] if position else None

    def _listens_to(self, record: EventRecord) -> bool:
        return self._categories is None or category_of(record.stream) in self._categories

    def _must_wait(self, record: EventRecord) -> bool:
        """Whether an instance may be about to learn the key that this event names.

        An event that finds its instances by a learnt key waits until those before it that may
        teach one are done. One that finds nobody waits for all: not every way of setting a field
        can be seen in the code.
        """
        if not self._under_way:
            return False
        try:
            event = self.load(record)
            if self.learnt_of(event) is None:
                return False
            return bool(self._teaching) or not self.instances_of(record)
        except Exception:  # noqa: BLE001 - it is routed, and parked there
            return False

    def _note_handled(self) -> None:
        under_way = self._under_way
        handled = self.handled
        while handled:
            position = handled.popleft()
            left = under_way[position] - 1
            if left:
                under_way[position] = left
            else:
                del under_way[position]
                self._teaching.discard(position)

    def _note_done(self) -> None:
        self.done = next(iter(self._under_way)) - 1 if self._under_way else self._position
        if self.done >= self._asked_for + STRIDE:
            # Nobody else may commit for a long time, and these need not be looked at again.
            self._asked_for = self.done
            self.journal.nudge_checkpoints()

    def _route(self, record: EventRecord) -> list[Delivery]:
        try:
            deliveries = self.instances_of(record)
        except BaseException as error:  # noqa: BLE001 - a person must see it, whatever it is
            self._set_aside(record, error)
            return []
        if not deliveries:
            self.counts["not_for_us"] += 1
            return []
        self._under_way[record.position] = len(deliveries)
        if type(deliveries[0].event) in self.definition.teachers:
            self._teaching.add(record.position)
        return deliveries

    def _set_aside(self, record: EventRecord, error: BaseException) -> None:
        logger.warning(
            "%s: event %s was parked", self.definition.name, record.event_id, exc_info=error
        )
        self._under_way[record.position] = 1
        self.counts["parked"] += 1
        self.journal.add(_Unroutable(self, record, error))


class _Unroutable:
    """An event that cannot be read or correlated: it is parked, and delays nobody."""

    def __init__(self, router: Router, record: EventRecord, error: BaseException) -> None:
        self._router = router
        self._position = record.position
        self.step = Step(park=parked_event(error, router.definition.name, "", record, router.now()))

    def committed(self, outcome: Outcome) -> None:
        del outcome
        self._router.handled.append(self._position)

    def failed(self, error: StoreError) -> None:
        del error
        self._router.journal.add(self)
