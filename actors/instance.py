"""The actor of one process instance: an event in, a step out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from store import (
    CommandRecord,
    Committed,
    EventRecord,
    Outcome,
    Step,
    TransitionRecord,
)

from .durable import DurableActor, Errand
from .parking import parked_event

if TYPE_CHECKING:
    from .messages import Event
    from .process_manager import ProcessManager
    from .router import Router

__all__ = ["Delivery", "InstanceActor"]

logger = logging.getLogger("procession")


class Delivery(Errand, kw_only=True, gc=False):
    """An event on its way to one instance.

    `event` is this instance's own copy. `came_of` is what happened: a key of the router's
    counters.
    """

    record: EventRecord
    event: Event
    came_of: str = ""

    def finish(self, outcome: Outcome) -> None:
        """Tell the router, and send the commands on."""
        router = self.actor.router
        if isinstance(outcome, Committed):
            router.counts[self.came_of] += 1
            if self.step.enqueue:
                router.courier.queued(self.step.enqueue)
        router.handled.append(self.record.position)


class InstanceActor(DurableActor):
    """Holds one instance's state, and makes a step of each event.

    Args:
        router: of the instance's process manager; has what all its instances share
        instance: the correlation id

    """

    # None until the process is started, and while it must be made anew from `_state`.
    _process: ProcessManager | None = None
    _is_loaded = False
    _is_complete = False
    _is_suspended = False
    # The highest position that this instance has handled or put aside.
    _seen = 0
    # The newest transition's state, to return to when a handler fails.
    _state = b""
    _version = 0

    def __init__(self, router: Router, instance: str) -> None:
        super().__init__(router.dispatcher, router.journal)
        self.router = router
        self.instance = instance
        self.idle_timeout = router.definition.idle_timeout

    def forget(self) -> None:
        """Drop the state in memory; the next errand reads it from the log."""
        self._is_loaded = False
        self._process = None

    def on_receive(self, message: Delivery) -> None:
        """Handle one event."""
        try:
            step = self._step(message)
        except BaseException as error:  # noqa: BLE001 - whatever it is, a person must see it
            # What the handler did to the object is undone by making it anew.
            self._process = None
            step = self._park(message, error)
        self.hand(message, step)

    def _step(self, delivery: Delivery) -> Step:
        if not self._is_loaded:
            self._load()
        record, definition = delivery.record, self.router.definition
        if record.position <= self._seen:
            return self._skip(delivery, "seen_again")
        if self._is_suspended:
            self._seen = record.position
            delivery.came_of = "waiting"
            return Step(process=definition.name, instance=self.instance, wait=record.position)
        if self._is_complete:
            return self._skip(delivery, "skipped_complete")
        handler = definition.handlers[type(delivery.event)]
        process = self._process
        if process is None:
            if self._version:
                process = definition.restore(self.instance, self._version, self._state)
            elif handler.start:
                process = definition.begin(self.instance, delivery.event)
            else:
                return self._skip(delivery, "skipped_early")
            self._process = process
        process._event = record  # noqa: SLF001 - a friend: it gives the object its event
        handler.function(process, delivery.event)
        return self._transition(delivery, process, handler.name, is_end=handler.end)

    def _transition(
        self, delivery: Delivery, process: ProcessManager, handler: str, *, is_end: bool
    ) -> Step:
        record, router = delivery.record, self.router
        definition = router.definition
        is_complete = is_end or process._complete  # noqa: SLF001 - a friend
        version = self._version + 1
        state = definition.state.dump(process.__dict__)
        now = router.now()
        commands: list[tuple[str, str, bytes]] = []
        queued: list[CommandRecord] = []
        for number, (command, data) in enumerate(process._commands):  # noqa: SLF001 - a friend
            kind = router.catalog.name_of(type(command))
            command_id = f"{definition.name}-{self.instance}@{version}.{number}"
            commands.append((command_id, kind, data))
            queued.append(
                CommandRecord(
                    command_id,
                    kind,
                    router.catalog.taker_of(type(command)).stream_of(command),
                    now,
                    data,
                    record.correlation_id,
                    record.event_id,
                    definition.name,
                    self.instance,
                    version,
                )
            )
        process._commands.clear()  # noqa: SLF001
        process._event = None  # noqa: SLF001
        process._version = self._version = version  # noqa: SLF001
        self._seen = record.position
        self._state = state
        self._is_complete = is_complete
        delivery.came_of = "transitions"
        return Step(
            process=definition.name,
            instance=self.instance,
            transition=TransitionRecord(
                version,
                now,
                handler,
                is_complete,
                record.event_id,
                record.correlation_id,
                record.position,
                state,
                commands,
            ),
            enqueue=queued,
        )

    def _skip(self, delivery: Delivery, why: str) -> Step:
        # An empty step still goes through the journal: what it was decided by may not be on
        # disk yet, and the router must not be told before it is.
        delivery.came_of = why
        return Step()

    def _park(self, delivery: Delivery, error: BaseException) -> Step:
        definition, record = self.router.definition, delivery.record
        logger.warning(
            "%s %r: event %s was parked",
            definition.name,
            self.instance,
            record.event_id,
            exc_info=error,
        )
        self._is_suspended = True
        self._seen = max(self._seen, record.position)
        delivery.came_of = "parked"
        return Step(
            process=definition.name,
            instance=self.instance,
            park=parked_event(error, definition.name, self.instance, record, self.router.now()),
        )

    def _load(self) -> None:
        """Rehydrate from the newest transition."""
        # Marked first: an instance whose log cannot be read is suspended, not read for ever.
        self._is_loaded = True
        name, store = self.router.definition.name, self.router.store
        last = store.last_transition(name, self.instance)
        self._process = None
        if last is None:
            self._version, self._state, self._seen, self._is_complete = 0, b"", 0, False
        else:
            self._version, self._state, self._seen = last.version, last.state, last.seen
            self._is_complete = last.is_complete
        waiting = store.last_waiting(name, self.instance)
        self._is_suspended = waiting > 0
        self._seen = max(self._seen, waiting)
