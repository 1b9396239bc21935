"""The router of one process manager: which instances an event is for, in order of position."""

from __future__ import annotations

import logging
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

from store import Step

from .dispatcher import PooledActor
from .instance import Delivery, InstanceActor
from .parking import parked_event

if TYPE_CHECKING:
    from store import EventRecord, Outcome, StoreError

    from .courier import Courier
    from .process_manager import ProcessDefinition
    from .tail import Tail

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
        courier: takes the commands that instances issue
        tail: where events come from
        max_in_flight: most events that are under way at once

    """

    def __init__(
        self, definition: ProcessDefinition, courier: Courier, tail: Tail, *, max_in_flight: int
    ) -> None:
        super().__init__(courier.dispatcher)
        self.definition = definition
        self.courier = courier
        self.journal = courier.journal
        self.store = courier.store
        self.catalog = courier.catalog
        self.now = courier.now
        self._population = courier.population
        self._tail = tail
        self._max_in_flight = max_in_flight
        self._wake_instance = partial(InstanceActor, self)
        self._types = {self.catalog.name_of(event) for event in definition.handlers}
        self.handled: deque[int] = deque()
        """Positions that an instance is done with; the journal adds them."""
        # Positions under way, in order, and how many instances still have each in hand.
        self._under_way: dict[int, int] = {}
        self._position = self.store.checkpoint(definition.name)
        self._asked_for = 0
        self.done = self._position
        self.is_closed = False
        self.counts: Counter[str] = Counter()

    def has_work(self) -> bool:
        """Whether events were handled, or there are new ones and room for them."""
        return bool(self.handled) or (
            self._position < self._tail.last
            and len(self._under_way) < self._max_in_flight
            and not self.is_closed
        )

    def work(self) -> None:
        """Note what is done, then take more."""
        self._note_handled()
        if self.is_closed:
            return
        room = min(PAGE, self._max_in_flight - len(self._under_way))
        if room > 0:
            for record in self._tail.after(self._position, room):
                self._position = record.position
                if record.type in self._types:
                    self._route(record)
        self._note_done()

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

    def _note_done(self) -> None:
        self.done = next(iter(self._under_way)) - 1 if self._under_way else self._position
        if self.done >= self._asked_for + STRIDE:
            # Nobody else may commit for a long time, and these need not be looked at again.
            self._asked_for = self.done
            self.journal.nudge_checkpoints()

    def _route(self, record: EventRecord) -> None:
        try:
            event = self.catalog.load_event(record)
            instances = self.definition.correlate(event)
        except BaseException as error:
            logger.warning(
                "%s: event %s was parked", self.definition.name, record.event_id, exc_info=error
            )
            self._under_way[record.position] = 1
            self.counts["parked"] += 1
            self.journal.add(_Unroutable(self, record, error))
            return
        if not instances:
            self.counts["not_for_us"] += 1
            return
        self._under_way[record.position] = len(instances)
        for instance in instances:
            # One instance may change what is inside its copy; the others have their own.
            own = event if instance is instances[-1] else self.catalog.load_event(record)
            self._population.send(
                self.definition.name,
                instance,
                self._wake_instance,
                Delivery(record=record, event=own),
            )


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
