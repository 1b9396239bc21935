"""The actor of one aggregate: a command in, events out, a reply when they are on disk."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pykka
from msgspec import Struct

from ..core.carry_out import CommandDecision, CommandDelivered, carry_out, refuse_command
from ..errors import UnknownMessage
from ..messages.types import Event, UnknownEvent
from ..store import CommandResult, Duplicate
from .durable_actor import DurableActor

if TYPE_CHECKING:
    from ..authoring.aggregate import Aggregate
    from ..model.plans import AggregatePlan
    from ..store import Outcome, Store, StoreError
    from .services import Services

__all__ = ["AggregateActor", "AggregateShare", "CommandGiver", "CommandMessage", "load_aggregate"]

logger = logging.getLogger("procession")

PAGE = 256


class CommandMessage(Struct, gc=False):
    """A command on its way to its aggregate; `reply` is the future of the caller who asked."""

    stimulus: CommandDelivered
    reply: pykka.Future[list[Event]] | None = None


class CommandGiver(Protocol):
    """What an aggregate tells the command queue; called by the journal, in order."""

    def done(self, delivered: CommandDelivered, decision: CommandDecision) -> None:
        """A command is carried out, refused or parked, and that is durable."""
        ...

    def answer(self, future: pykka.Future[list[Event]], result: CommandResult) -> None:
        """Reply with what came of a command when it was carried out before."""
        ...

    def discard(self, delivered: CommandDelivered) -> None:
        """Take a command off the queue that was carried out under its id before."""
        ...


@dataclass(frozen=True, slots=True)
class AggregateShare:
    """What all aggregates of one class share.

    Attributes:
        services: of the engine
        plan: of the class
        giver: the command queue, which counts the commands that it took from disk

    """

    services: Services
    plan: AggregatePlan
    giver: CommandGiver


class AggregateActor(DurableActor[CommandMessage, CommandDecision]):
    """Holds one aggregate's state, and has a step decided for each command.

    Args:
        share: what all aggregates of its class share
        stream: its stream

    """

    __slots__ = ("_aggregate", "_share", "stream")

    def __init__(self, share: AggregateShare, stream: str) -> None:
        super().__init__(share.services.dispatcher, share.services.journal)
        self._share = share
        self.stream = stream
        self._aggregate: Aggregate | None = None

    def forget(self) -> None:
        """Drop the state in memory; the next command has it read from the log."""
        self._aggregate = None

    def on_receive(self, message: CommandMessage) -> None:
        """Have one command decided, and hand its step over."""
        share, delivered = self._share, message.stimulus
        services, plan = share.services, share.plan
        aggregate, version = self._aggregate, None
        try:
            if aggregate is None:
                aggregate = self._aggregate = load_aggregate(plan, self.stream, services.store)
            version = aggregate._own.version  # noqa: SLF001 - a friend
            delivered.now = services.now()
            decision = carry_out(plan, aggregate, delivered)
        except BaseException as error:
            # Some events may have been applied before the refusal; the log has none of them.
            self.is_stale = True
            delivered.now = services.now()
            delivered.is_awaited = message.reply is not None
            decision = refuse_command(plan, delivered, error, version)
            if decision.outcome == "parked":
                logger.warning("command %s was parked", delivered.record.command_id, exc_info=error)
        self.hand(message, decision, decision.step)

    # Called by the journal

    def finish(self, message: CommandMessage, decision: CommandDecision, outcome: Outcome) -> None:
        """Reply, and tell the command queue that the command is done."""
        self.finished += 1
        delivered, giver = message.stimulus, self._share.giver
        if type(outcome) is Duplicate:
            # Memory ran ahead with something that took effect before; the log knows better.
            self.is_stale = True
            if delivered.record.sequence:
                # It came in several times under one id; the others are still in the queue.
                giver.discard(delivered)
        giver.done(delivered, decision)
        if message.reply is not None:
            self._reply(message.reply, decision, outcome)
        # An error knows the frames that it came through, and these know the decision. Such a
        # circle would stay, since decisions are not looked at by Python's cycle collector.
        decision.refusal = message.reply = None

    def tell_failure(self, message: CommandMessage, error: StoreError) -> bool:
        """The disk refused; a caller who waits is told, and may ask again."""
        if message.reply is None:
            return False
        self.finished += 1
        message.reply.set_exception((type(error), error, error.__traceback__))
        message.reply = None
        return True

    def _reply(
        self, future: pykka.Future[list[Event]], decision: CommandDecision, outcome: Outcome
    ) -> None:
        refusal, append = decision.refusal, decision.step.append
        if isinstance(outcome, Duplicate):
            self._share.giver.answer(future, outcome.result or CommandResult())
        elif refusal is not None:
            future.set_exception((type(refusal), refusal, refusal.__traceback__))
        elif append is None:
            future.set([])
        else:
            registry = self._share.plan.registry
            future.set([one.message or registry.load_event(one) for one in append.events])


def load_aggregate(plan: AggregatePlan, stream: str, store: Store) -> Aggregate:
    """An aggregate as its stream left it, from its newest snapshot and the events behind that.

    Args:
        plan: of its class
        stream: its stream, which may be empty
        store: where the stream is

    Raises:
        UnknownMessage: the stream holds an event that no class here can be read as
        InvalidMessage: an event does not fit its class

    """
    definition, registry = plan.definition, plan.registry
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
