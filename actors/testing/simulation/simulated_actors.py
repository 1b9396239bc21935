"""Instances and aggregates whose handlers can fail, and to which things can be brought again.

These stand where the runtime's own instance actor and aggregate actor stand, do the same, and ask
first whether something is to go wrong this time.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.stimuli import EventDelivered
from ...engine.aggregate_actor import AggregateActor, CommandMessage
from ...engine.command_queue import CommandQueue
from ...engine.instance_actor import InstanceActor, InstanceMessage
from ...model.aggregate_definition import AggregateDefinition
from ...model.plans import AggregatePlan
from ...store import Conflict, Duplicate, category_of, id_in_stream
from .faults import InjectedFailure
from .reached import HandlerId
from .wording import carried_out, handled, short, subject_of

if TYPE_CHECKING:
    from ...authoring.aggregate import Aggregate
    from ...authoring.decorators import Handler
    from ...authoring.process_manager import ProcessManager
    from ...core.carry_out import CommandDecision
    from ...core.decision import Decision
    from ...engine.aggregate_actor import AggregateShare
    from ...engine.instance_actor import InstanceShare
    from ...messages.types import Command, Event
    from ...model.process_definition import ProcessDefinition
    from ...store import Outcome
    from .faults import Faults

__all__ = ["SimulatedAggregate", "SimulatedInstance"]


class SimulatedInstance(InstanceActor):
    """An instance whose handlers can fail, and which can be given an event again."""

    def __init__(self, faults: Faults, share: InstanceShare, instance: str) -> None:
        plan = copy(share.plan)
        plan.definition = _failing(plan.definition, faults)
        super().__init__(replace(share, plan=plan), instance)
        self._faults = faults
        self._given = share
        self._name = plan.definition.cls.__name__

    def on_receive(self, message: InstanceMessage) -> None:
        stimulus = message.stimulus
        if message.giver is not None and isinstance(stimulus, EventDelivered):
            record, share, instance = stimulus.record, self._given, self.instance
            event = None if stimulus.event is None else share.plan.subscription.load(record)
            wake = partial(SimulatedInstance, self._faults, share)

            def again() -> None:
                message = InstanceMessage(EventDelivered(record, event, stimulus.learnt))
                share.services.residency.send([((share.plan.name, instance), wake, message)])

            what = f"{short(record.type)} to {self._name} {instance}"
            self._faults.brought("repeat_event", what, again)
        super().on_receive(message)

    def hand(self, message: InstanceMessage, decision: Decision, generation: int) -> None:
        self._faults.overtake()
        name, stimulus = f"{self._name} {self.instance}", message.stimulus
        self._faults.note(*handled(name, stimulus, decision))
        what = subject_of(stimulus)
        self._faults.reached.met(self._name, self.instance, what, decision.outcome)
        super().hand(message, decision, generation)


def _failing(definition: ProcessDefinition, faults: Faults) -> ProcessDefinition:
    """The same process manager, with handlers that can fail."""
    failing = copy(definition)
    can_fail = partial(_can_fail, definition.cls, faults)
    failing.handlers = {one: can_fail(it) for one, it in definition.handlers.items()}
    failing.timeouts = {one: can_fail(it) for one, it in definition.timeouts.items()}
    failing.endings = {one: can_fail(it) for one, it in definition.endings.items()}
    failing.rejections = {one: can_fail(it) for one, it in definition.rejections.items()}
    return failing


def _can_fail(owner: type, faults: Faults, handler: Handler) -> Handler:
    name = HandlerId.of(owner, handler)

    def call(process: ProcessManager, *arguments: Any) -> None:
        accident = "" if process.context.refreshing else faults.handler_accident(name)
        if accident != "fails_before":
            handler.function(process, *arguments)
        if accident:
            before_or_after = "after" if accident == "fails_after" else "before"
            raise InjectedFailure(f"{handler.name} failed {before_or_after} it ran")

    return replace(handler, function=call)


class SimulatedAggregate(AggregateActor):
    """An aggregate whose handlers can fail, and which can be given a command again."""

    def __init__(self, faults: Faults, share: AggregateShare, stream: str) -> None:
        plan = AggregatePlan(_FailingAggregate(share.plan.definition, faults), share.plan.registry)
        super().__init__(replace(share, plan=plan), stream)
        self._faults = faults
        self._given = share
        self._name = plan.definition.cls.__name__

    def on_receive(self, message: CommandMessage) -> None:
        record = message.record
        if record.sequence and not isinstance(message, _RepeatedCommand):
            share, stream, is_from_outside = self._given, self.stream, message.is_from_outside
            wake = partial(SimulatedAggregate, self._faults, share)

            def again() -> None:
                repeated = _RepeatedCommand(record, is_from_outside)
                share.services.residency.send([((category_of(stream), stream), wake, repeated)])

            what = f"{short(record.type)} to {self._name} {id_in_stream(stream)}"
            self._faults.brought("repeat_command", what, again)
        super().on_receive(message)

    def hand(self, message: CommandMessage, decision: CommandDecision, generation: int) -> None:
        self._faults.overtake()
        text = carried_out(message.record, self._name, decision)
        # What was brought again mostly finds that there is nothing left to do.
        self._faults.note(text, is_detail=isinstance(message, _RepeatedCommand))
        super().hand(message, decision, generation)

    def settle(self, message: CommandMessage, decision: CommandDecision, outcome: Outcome) -> None:
        if isinstance(message, _RepeatedCommand) and type(outcome) is not Conflict:
            if type(outcome) is Duplicate:
                self.forget()
                return
            self._faults.note(f"what was brought again came first: {short(message.record.type)}")
            # The command queue counts the one it sent, which will find nothing left to do.
            giver = self._given.giver
            assert isinstance(giver, CommandQueue)
            giver.counts["commands"] -= 1
            giver.in_flight += 1
        super().settle(message, decision, outcome)


class _FailingAggregate(AggregateDefinition):
    """The same aggregate, with a decision that can fail."""

    def __init__(self, definition: AggregateDefinition, faults: Faults) -> None:
        self.__dict__.update(definition.__dict__)
        self._definition = definition
        self._faults = faults

    def decide(self, aggregate: Aggregate, command: Command) -> list[tuple[Event, bytes, Any]]:
        handler = self.handlers.get(type(command))
        if handler is None:
            return self._definition.decide(aggregate, command)
        accident = self._faults.handler_accident(HandlerId.of(self.cls, handler))
        if accident == "fails_before":
            raise InjectedFailure("the aggregate failed before its handler ran")
        made = self._definition.decide(aggregate, command)
        if accident:
            raise InjectedFailure("the aggregate failed after its handler ran")
        return made


class _RepeatedCommand(CommandMessage, gc=False):
    """A queued command that is brought to its aggregate again."""
