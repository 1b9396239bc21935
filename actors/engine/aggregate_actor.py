"""The actor of one aggregate: a command in, events out, a reply when they are on disk."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..core.failures import parked_command
from ..errors import Rejected, UnknownMessage
from ..messages.types import UnknownCommand, UnknownEvent
from ..store import (
    Append,
    CommandRecord,
    CommandResult,
    Duplicate,
    EventRecord,
    Outcome,
    RefusalRecord,
    Step,
    StepExtras,
)
from .durable_actor import DurableActor, Stimulus

if TYPE_CHECKING:
    import pykka

    from ..authoring.aggregate import Aggregate
    from ..messages.types import Event
    from ..model.aggregate_definition import AggregateDefinition
    from ..model.registry import Registry
    from ..store import Store, StoreError
    from .command_queue import CommandQueue

__all__ = ["AggregateActor", "Request"]

logger = logging.getLogger("procession")

PAGE = 256


class Request(Stimulus, kw_only=True, gc=False):
    """A command on its way to its aggregate.

    `reply_to` is the future of whoever asked. `is_from_outside` says that the command's id was
    given to whoever sent it, or by them, and must be remembered.
    """

    command: CommandRecord
    reply_to: Any = None
    is_from_outside: bool = False
    refusal: BaseException | None = None
    decided_at: int | None = None
    """The version of the aggregate that decided; None before one did."""

    def finish(self, outcome: Outcome) -> None:
        """Reply, and tell the command queue that a queued command is done."""
        actor = self.actor
        if type(outcome) is Duplicate:
            # Memory ran ahead with something that took effect before; the log knows better.
            actor.is_stale = True
            if self.command.sequence:
                # It came in several times under one id; the others are still in the queue.
                actor.command_queue.discard(self.command)
        if self.command.sequence:
            actor.command_queue.finished += 1
        extras = self.step.extras
        if extras is not None and extras.refusal is not None:
            actor.command_queue.tell_refusal(extras.refusal)
        if self.reply_to is not None:
            self._reply(self.reply_to, outcome)
        # An error knows the frames it came through, and these know this request. Nobody would ever
        # find such a circle, since requests are not looked at by Python's cycle collector.
        self.refusal = self.reply_to = None

    def _reply(self, future: pykka.Future[list[Event]], outcome: Outcome) -> None:
        if isinstance(outcome, Duplicate):
            self.actor.command_queue.answer(future, outcome.result or CommandResult())
            return
        refusal = self.refusal
        if refusal is not None:
            future.set_exception((type(refusal), refusal, refusal.__traceback__))
        else:
            future.set(self._copies())

    def _copies(self) -> list[Event]:
        append = self.step.append
        if append is None:
            return []
        registry = self.actor.command_queue.registry
        return [record.message or registry.load_event(record) for record in append.events]

    def refuse(self, error: StoreError) -> bool:
        """The disk refused; whoever asked is told, and may ask again."""
        if self.reply_to is None:
            return False
        self.reply_to.set_exception((type(error), error, error.__traceback__))
        self.refusal = self.reply_to = None
        return True


class AggregateActor(DurableActor):
    """Holds one aggregate's state, and makes a step of each command.

    Args:
        command queue: has what all aggregates share
        definition: of the aggregate
        stream: its stream

    """

    __slots__ = ("_aggregate", "_definition", "_stream", "command_queue")

    def __init__(
        self, command_queue: CommandQueue, definition: AggregateDefinition, stream: str
    ) -> None:
        super().__init__(command_queue.dispatcher, command_queue.journal)
        self.command_queue = command_queue
        self._definition = definition
        self._stream = stream
        self._aggregate: Aggregate | None = None

    def forget(self) -> None:
        """Drop the state in memory; the next stimulus reads it from the log."""
        self._aggregate = None

    def on_receive(self, message: Request) -> None:
        """Carry out one command."""
        message.refusal = message.decided_at = None
        try:
            step = self._step(message)
        except BaseException as error:  # noqa: BLE001 - it goes to whoever asked, or is parked
            # Some events may have been applied before the refusal; the log has none of them.
            self.is_stale = True
            step = self._refused(message, error)
        self.hand(message, step)

    def _step(self, request: Request) -> Step:
        aggregate = self._aggregate
        if aggregate is None:
            aggregate = self._aggregate = load_aggregate(
                self._definition,
                self._stream,
                self.command_queue.store,
                self.command_queue.registry,
            )
        record = request.command
        command = record.message
        if command is None:
            command = self.command_queue.registry.load_command(record.type, record.data)
        if type(command) is UnknownCommand:
            raise UnknownMessage(
                f"{self._definition.cls.__qualname__} cannot carry out a {record.type}, which "
                f"nothing here can read; {self.command_queue.registry.mend_for(record.type)}"
            )
        request.decided_at = version = aggregate.version
        made = self._definition.decide(aggregate, command)
        append = Append(self._stream, version, [])
        step = Step(append, take=record.sequence)
        if request.is_from_outside:
            step.command_id, step.result = record.command_id, CommandResult()
        if made:
            now = self.command_queue.now()
            append.events = [
                EventRecord(
                    self.command_queue.registry.name_of(type(event)),
                    self._stream,
                    number,
                    now,
                    packed,
                    "",
                    record.correlation_id,
                    record.command_id,
                    depth=record.depth + 1 if record.process else 0,
                    message=shared,
                )
                for number, (event, packed, shared) in enumerate(made, version + 1)
            ]
            snapshot = self._definition.snapshot(aggregate)
            if snapshot is not None:
                step.extras = StepExtras(snapshot=snapshot)
        return step

    def _refused(self, request: Request, error: BaseException) -> Step:
        record = request.command
        request.refusal = error
        step = Step(take=record.sequence)
        if request.decided_at is not None:
            # It may have been decided by events that are not on disk after all, and then it is
            # decided again.
            step.append = Append(self._stream, request.decided_at, [])
        if isinstance(error, Rejected) and request.is_from_outside:
            step.command_id = record.command_id
            step.result = CommandResult(refusal=error.reason)
        if isinstance(error, Rejected) and record.process is None:
            # Refusing is an answer; whoever sent the command from outside may look it up.
            self.command_queue.counts["rejected"] += 1
        elif isinstance(error, Rejected) and self.command_queue.listens_to_refusal(record):
            self.command_queue.counts["rejected"] += 1
            step.process, step.instance = record.process or "", record.instance or ""
            step.extras = StepExtras(refusal=RefusalRecord(record, error.reason))
        elif request.reply_to is None:
            self.command_queue.counts["parked"] += 1
            logger.warning("command %s was parked", record.command_id, exc_info=error)
            step.park = parked_command(error, record, self.command_queue.now())
        return step


def load_aggregate(
    definition: AggregateDefinition, stream: str, store: Store, registry: Registry
) -> Aggregate:
    """An aggregate as its stream left it, from its newest snapshot and the events behind that.

    Args:
        definition: of its class
        stream: its stream, which may be empty
        store: where the stream is
        registry: knows the events' classes

    Raises:
        UnknownMessage: the stream holds an event that no class here can be read as
        InvalidMessage: an event does not fit its class

    """
    aggregate = definition.begin(stream)
    if definition.snapshots.every:
        # Most streams that are asked for are new ones, which have no snapshot to look for.
        if not store.read_stream(stream, 0, 1):
            return aggregate
        snapshot = store.read_snapshot(stream)
        if snapshot is not None:
            definition.recall(aggregate, *snapshot)
    while True:
        page = store.read_stream(stream, aggregate.version, PAGE)
        for record in page:
            event = registry.load_event(record)
            if type(event) is UnknownEvent:
                raise UnknownMessage(
                    f"{definition.cls.__qualname__} cannot be loaded: version {record.version} of "
                    f"{stream!r} is a {record.type}, which nothing here can read; "
                    f"{registry.mend_for(record.type)}"
                )
            definition.evolve(aggregate, event)
        if len(page) < PAGE:
            return aggregate
