"""The actor of one aggregate: a command in, events out, a reply when they are on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..core.carry_out import CommandDecision, CommandDelivered, carry_out, refuse_command
from ..errors import IdReused, InfiniteLoopError, Pruned, UnknownMessage
from ..messages.reply import Reply
from ..messages.types import Event, UnknownEvent
from ..store import (
    COMMITTED,
    CommandRecord,
    CommandResult,
    Conflict,
    Duplicate,
    IdTaken,
    Outcome,
    StoreError,
)
from .durable_actor import DurableActor, damaged
from .failure_log import Failure
from .given_ids import judged
from .journal import Waiting

if TYPE_CHECKING:
    import pykka

    from ..authoring.aggregate import Aggregate
    from ..model.plans import AggregatePlan
    from ..store import EventRecord
    from .ahead_reads import AheadReads
    from .services import Services

__all__ = ["AggregateActor", "AggregateShare", "CommandGiver", "CommandMessage", "load_aggregate"]

PAGE = 256


class StreamReads(Protocol):
    """Where an aggregate is loaded from."""

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        """Events of one stream in order of version, behind a version."""
        ...

    def read_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        """The version and state of an aggregate's newest snapshot."""
        ...

    def last_version(self, stream: str) -> int:
        """The version of a stream's newest event, which may be pruned."""
        ...

    def may_be_pruned(self) -> bool:
        """Whether anything was ever pruned."""
        ...


class CommandMessage(CommandDelivered, gc=False):
    """A command on its way to its aggregate.

    Attributes:
        reply: the future of the caller who asked
        is_repeated: whether the store said before that the aggregate was not at its version

    """

    reply: pykka.Future[Reply[Event]] | None = None
    is_repeated: bool = False


class CommandGiver(Protocol):
    """What an aggregate tells the command queue."""

    def done(self, delivered: CommandDelivered, decision: CommandDecision) -> None:
        """What came of a command was handed over; called in order, with the journal's lock."""
        ...

    def discard(self, delivered: CommandDelivered) -> None:
        """Take a command off the queue that was carried out under its id before; likewise."""
        ...

    def answer(
        self, future: pykka.Future[Reply[Event]], result: CommandResult, command_id: str
    ) -> None:
        """Reply with what came of a command when it was carried out before."""
        ...


@dataclass(frozen=True, slots=True)
class AggregateShare:
    """What all aggregates of one class share.

    Attributes:
        services: of the engine
        plan: of the class
        reads: the log with all that was handed over
        giver: the command queue, which counts the commands that it took from disk

    """

    services: Services
    plan: AggregatePlan
    reads: AheadReads
    giver: CommandGiver


class AggregateActor(DurableActor[CommandMessage]):
    """Holds one aggregate's state, and has a step decided for each command.

    Args:
        share: what all aggregates of its class share
        stream: its stream

    """

    __slots__ = ("_aggregate", "_share", "stream")

    def __init__(self, share: AggregateShare, stream: str) -> None:
        # No `super()`, which takes as long as all that is done here.
        DurableActor.__init__(self, share.services.dispatcher, share.services.journal)
        self._share = share
        self.stream = stream
        self._aggregate: Aggregate | None = None

    def forget(self) -> None:
        """Drop the state in memory; the next command has it read from the log."""
        self._aggregate = None

    def on_receive(self, message: CommandMessage) -> None:
        """Have one command decided, and hand its step over."""
        generation = self.journal.generation
        share = self._share
        services, plan = share.services, share.plan
        aggregate, version = self._aggregate, None
        try:
            if aggregate is None:
                # Only this actor adds to its stream, so no lock is needed.
                if services.store.ahead.is_new_stream(self.stream):
                    aggregate = self._aggregate = plan.definition.begin(self.stream)
                else:
                    aggregate = self._aggregate = load_aggregate(plan, self.stream, share.reads)
            version = aggregate._own.version  # noqa: SLF001 - a friend
            decision = carry_out(plan, aggregate, message)
        except BaseException as error:  # noqa: BLE001 - a person must see it, whatever it is
            if not (version is not None and plan.definition.is_as_before(aggregate, version)):
                # Some events may have been applied before the refusal; the log has none of them.
                self._aggregate = None
            is_awaited = message.reply is not None
            now = services.now()
            decision = refuse_command(plan, message, error, version, now=now, is_awaited=is_awaited)
            if decision.outcome == "parked":
                record = message.record
                failure = Failure(
                    error=error,
                    handler=record.type,
                    event=record.command_id,
                    process=plan.definition.category,
                    instance=self.stream.removeprefix(f"{plan.definition.category}-"),
                )
                services.failures.tell(failure)
        self.hand(message, decision, generation)

    def hand(self, message: CommandMessage, decision: CommandDecision, generation: int) -> None:
        """Hand a step over."""
        if not self.journal.hand_over(self, message, decision, generation):
            self.cut_off(message)

    def settle(self, message: CommandMessage, decision: CommandDecision, outcome: Outcome) -> None:
        """What a step brings about in memory, in order; called with the journal's lock."""
        giver = self._share.giver
        if outcome is not COMMITTED:
            # Memory ran ahead with something that took effect before, or the stream was written by
            # another part of the runtime; the log knows better.
            self._aggregate = None
            if type(outcome) is Conflict:
                self._decide_again(message, outcome)
                return
            if message.record.sequence:
                # It came in several times under one id; the others are still in the queue.
                giver.discard(message)
        giver.done(message, decision)
        # An error knows the frames that it came through, and these know the message and the
        # decision. Such a circle would stay, since Python's cycle collector looks at neither.
        reply = message.reply
        if reply is None:
            decision.refusal = None
        else:
            message.reply = None
            plan = self._share.plan
            self.journal.wait(_Reply(giver, plan, reply, decision, outcome, message.record))

    def _decide_again(self, message: CommandMessage, conflict: Conflict) -> None:
        if not message.is_repeated:
            message.is_repeated = True
            self.envelopes.insert(0, message)
            return
        error = damaged(conflict)
        if message.reply is None:
            raise error
        self.spoilt(message, error)


class _Reply(Waiting, gc=False):
    """An answer that waits for the disk."""

    giver: CommandGiver
    plan: AggregatePlan
    future: pykka.Future[Reply[Event]]
    decision: CommandDecision
    outcome: Outcome
    record: CommandRecord
    error: InfiniteLoopError | None = None

    def hear(self, correlation_id: str, error: InfiniteLoopError) -> None:
        """What the command led to has no end: the caller is told, though the command is done."""
        if correlation_id == self.record.correlation_id:
            self.error = error

    def durable(self) -> None:
        future, decision = self.future, self.decision
        refusal, append = decision.refusal, decision.step.append
        outcome: Outcome | IdReused = self.outcome
        if type(outcome) is IdTaken:
            outcome = judged(self.plan.registry, outcome, self.record)
        if self.error is not None:
            future.set_exception((type(self.error), self.error, None))
        elif isinstance(outcome, IdReused):
            future.set_exception((IdReused, outcome, None))
        elif type(outcome) is Duplicate:
            self.giver.answer(future, outcome.result or CommandResult(), self.record.command_id)
        elif refusal is not None:
            future.set_exception((type(refusal), refusal, refusal.__traceback__))
        else:
            load = self.plan.registry.load_event
            records = append.events if append is not None else ()
            reply = Reply(
                [one.message or load(one) for one in records],
                position=records[-1].position if records else 0,
                command_id=self.record.command_id,
            )
            future.set(reply)
        # An error knows the frames that it came through, and these know the decision. Such a
        # circle would stay, since decisions are not looked at by Python's cycle collector.
        decision.refusal = None

    def failed(self, error: StoreError) -> bool:
        """The disk refused; the caller is told, and may ask again."""
        self.decision.refusal = None
        self.future.set_exception((type(error), error, error.__traceback__))
        return False


def load_aggregate(plan: AggregatePlan, stream: str, reads: StreamReads) -> Aggregate:
    """An aggregate as its stream left it, from its newest snapshot and the events behind that.

    Args:
        plan: of its class
        stream: its stream, which may be empty
        reads: where the stream is

    Raises:
        UnknownMessage: the stream holds an event that no class here can be read as
        InvalidMessage: an event does not fit its class
        Pruned: the events behind its snapshot are gone, and the snapshot does not fit its class

    """
    definition, registry = plan.definition, plan.registry
    aggregate = definition.begin(stream)
    if reads.may_be_pruned() and _began_behind_pruned(plan, aggregate, stream, reads):
        pass
    elif definition.snapshots.every:
        # Most streams that are asked for are new ones, which have no snapshot to look for.
        if not reads.last_version(stream):
            return aggregate
        snapshot = reads.read_snapshot(stream)
        if snapshot is not None:
            definition.recall(aggregate, *snapshot)
    while True:
        page = reads.read_stream(stream, aggregate.version, PAGE)
        for record in page:
            event = registry.load_event(record)
            if type(event) is UnknownEvent:
                raise UnknownMessage(
                    f"{definition.cls.__qualname__} cannot be loaded: version {record.version} of "
                    f"{stream!r} is a {record.type}, which nothing here can read; "
                    f"{registry.mend_for(record.type)}"
                )
            definition.evolve(aggregate, event)
            aggregate._own.weight += len(record.data)  # noqa: SLF001 - a friend
        if len(page) < PAGE:
            return aggregate


def _began_behind_pruned(
    plan: AggregatePlan, aggregate: Aggregate, stream: str, reads: StreamReads
) -> bool:
    """Begin where the events begin that were not pruned: from a snapshot, or as a new one.

    Returns:
        false if nothing was pruned of its stream

    Raises:
        Pruned: the snapshot does not fit its class

    """
    first = reads.read_stream(stream, 0, 1)
    before = first[0].version - 1 if first else reads.last_version(stream)
    if not before:
        return False
    snapshot = reads.read_snapshot(stream)
    if snapshot is None:
        # It was pruned whole, and its versions go on.
        aggregate._own.version = before  # noqa: SLF001 - a friend
        return True
    plan.definition.recall(aggregate, *snapshot, whoever_made_it=True)
    if aggregate.version != snapshot[0]:
        raise Pruned(
            f"{stream!r} cannot be loaded: its events up to version {snapshot[0]} were pruned, and "
            f"the snapshot that stands for them does not fit {plan.definition.cls.__qualname__} as "
            f"it is now. Give the fields back their names and types, or defaults to new ones"
        )
    return True
