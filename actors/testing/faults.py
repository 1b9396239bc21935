"""Where a simulated run goes wrong: handlers and commits that fail, crashes, things brought again.

These stand where the runtime's own instance actor, aggregate actor and store stand, do the same,
and ask first whether something is to go wrong this time.
"""

from __future__ import annotations

import weakref
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..core.carry_out import CommandDelivered
from ..core.stimuli import EventDelivered
from ..engine.aggregate_actor import AggregateActor, CommandMessage
from ..engine.command_queue import CommandQueue
from ..engine.instance_actor import InstanceActor, InstanceMessage
from ..model.aggregate_definition import AggregateDefinition
from ..model.plans import AggregatePlan
from ..store import Duplicate, LmdbStore, StoreError, category_of, id_in_stream
from .telling import carried_out, handled, short

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from ..authoring.aggregate import Aggregate
    from ..authoring.decorators import Handler
    from ..authoring.process_manager import ProcessManager
    from ..core.carry_out import CommandDecision
    from ..core.decision import Decision
    from ..engine.aggregate_actor import AggregateShare
    from ..engine.instance_actor import InstanceShare
    from ..messages.types import Command, Event
    from ..model.process_definition import ProcessDefinition
    from ..store import Outcome, Step

__all__ = [
    "Crash",
    "InjectedFailure",
    "InjectedStoreError",
    "RepeatedCommand",
    "RuntimeBroke",
    "SimulatedAggregate",
    "SimulatedInstance",
    "SimulatedStore",
    "Watch",
]


class InjectedFailure(Exception):
    """A handler failed because the simulation had it fail."""


class Crash(BaseException):
    """The simulated process is gone. No handler can catch it as an error of its own."""


class InjectedStoreError(StoreError):
    """A commit failed because the simulation had it fail."""


class RuntimeBroke(BaseException):
    """The runtime itself failed, not what runs on it."""


class Watch(Protocol):
    """What the parts ask and tell of the simulation."""

    def accident(self, *kinds: str) -> str:
        """The accident of one of these kinds that is to happen now, or nothing."""
        ...

    def note(self, text: str, is_detail: bool = False) -> None:
        """Note in words what happened."""
        ...

    def brought(self, kind: str, what: str, again: Callable[[], None]) -> None:
        """Note what can be brought again, and how."""
        ...


class SimulatedStore(LmdbStore):
    """A store whose commits can fail, before or after they are durable."""

    def __init__(self, path: str | os.PathLike[str], watch: Watch) -> None:
        super().__init__(path, durability="none", store_id="0" * 32)
        # Whoever forgets to close a simulation leaves nothing behind, if nobody holds on to it.
        self._watch: Watch = weakref.proxy(watch)

    def commit(
        self, steps: Sequence[Step], checkpoints: Mapping[str, int] | None = None
    ) -> list[Outcome]:
        size = f"{len(steps)} step{'' if len(steps) == 1 else 's'}"
        accident = self._watch.accident("crash_before_commit", "crash_after_commit", "commit_fails")
        if accident == "commit_fails":
            self._watch.note(f"a commit of {size} fails: nothing of it is kept")
            raise InjectedStoreError("the disk refused, as the simulation had it do")
        if accident == "crash_before_commit":
            self._watch.note(f"crash inside a commit of {size}: nothing of it is kept")
            raise Crash
        try:
            outcomes = super().commit(steps, checkpoints)
        except StoreError:
            raise
        except Exception as error:
            raise RuntimeBroke(f"a commit failed: {error!r}") from error
        if accident == "crash_after_commit":
            self._watch.note(
                f"crash inside a commit of {size}: all of it is kept, and nobody was told"
            )
            raise Crash
        done = sum(outcome.is_committed for outcome in outcomes)
        beside = f", {len(steps) - done} of them done before" if done < len(steps) else ""
        self._watch.note(f"commit of {size}{beside}", True)
        return outcomes


class SimulatedInstance(InstanceActor):
    """An instance whose handlers can fail."""

    def __init__(self, watch: Watch, share: InstanceShare, instance: str) -> None:
        plan = copy(share.plan)
        plan.definition = _failing(plan.definition, watch)
        super().__init__(replace(share, plan=plan), instance)
        self._watch = watch

    def on_receive(self, message: InstanceMessage) -> None:
        stimulus = message.stimulus
        if message.giver is not None and isinstance(stimulus, EventDelivered):
            record, plan = stimulus.record, self._share.plan
            event = None if stimulus.event is None else plan.subscription.load(record)
            residency, name = self._share.services.residency, self.instance
            wake = partial(type(self), self._watch, self._share)

            def again() -> None:
                delivered = EventDelivered(record, event, stimulus.learnt)
                residency.send([(plan.name, name, wake, InstanceMessage(delivered))])

            what = f"{short(record.type)} to {plan.definition.cls.__name__} {name}"
            self._watch.brought("repeat_event", what, again)
        super().on_receive(message)

    def hand(self, message: InstanceMessage, decision: Decision, step: Step) -> None:
        name = self._share.plan.definition.cls.__name__
        self._watch.note(*handled(f"{name} {self.instance}", message.stimulus, decision))
        super().hand(message, decision, step)


def _failing(definition: ProcessDefinition, watch: Watch) -> ProcessDefinition:
    """The same process manager, with handlers that can fail."""
    failing = copy(definition)
    failing.handlers = {one: _can_fail(it, watch) for one, it in definition.handlers.items()}
    failing.timeouts = {one: _can_fail(it, watch) for one, it in definition.timeouts.items()}
    failing.rejections = {one: _can_fail(it, watch) for one, it in definition.rejections.items()}
    return failing


def _can_fail(handler: Handler, watch: Watch) -> Handler:
    def call(process: ProcessManager, *arguments: Any) -> None:
        context = process._unit.context  # noqa: SLF001 - a friend: it is set while refreshing
        is_refreshing = context is not None and context.refreshing
        accident = "" if is_refreshing else watch.accident("fails_before", "fails_after")
        if accident != "fails_before":
            handler.function(process, *arguments)
        if accident:
            before_or_after = "after" if accident == "fails_after" else "before"
            raise InjectedFailure(f"{handler.name} failed {before_or_after} it ran")

    return replace(handler, function=call)


class SimulatedAggregate(AggregateActor):
    """An aggregate whose handlers can fail."""

    def __init__(self, watch: Watch, share: AggregateShare, stream: str) -> None:
        plan = AggregatePlan(_FailingAggregate(share.plan.definition, watch), share.plan.registry)
        super().__init__(replace(share, plan=plan), stream)
        self._watch = watch

    def on_receive(self, message: CommandMessage) -> None:
        delivered = message.stimulus
        if delivered.record.sequence and not isinstance(message, RepeatedCommand):
            record = delivered.record
            residency, stream = self._share.services.residency, self.stream
            wake = partial(type(self), self._watch, self._share)

            def again() -> None:
                repeated = RepeatedCommand(CommandDelivered(record, delivered.is_from_outside))
                residency.send([(category_of(stream), stream, wake, repeated)])

            what = f"{short(record.type)} to {self._name} {id_in_stream(stream)}"
            self._watch.brought("repeat_command", what, again)
        super().on_receive(message)

    def hand(self, message: CommandMessage, decision: CommandDecision, step: Step) -> None:
        text = carried_out(message.stimulus.record, self._name, decision)
        # What was brought again mostly finds that there is nothing left to do.
        self._watch.note(text, is_detail=isinstance(message, RepeatedCommand))
        super().hand(message, decision, step)

    def finish(self, message: CommandMessage, decision: CommandDecision, outcome: Outcome) -> None:
        if isinstance(message, RepeatedCommand):
            if type(outcome) is Duplicate:
                self.finished += 1
                self.is_stale = True
                return
            record = message.stimulus.record
            self._watch.note(f"what was brought again came first: {short(record.type)}")
            # The command queue counts the one it sent, which will find nothing left to do.
            giver = self._share.giver
            assert isinstance(giver, CommandQueue)
            giver.finished -= 1
        super().finish(message, decision, outcome)

    @property
    def _name(self) -> str:
        return self._share.plan.definition.cls.__name__


class _FailingAggregate(AggregateDefinition):
    """The same aggregate, with a decision that can fail."""

    def __init__(self, definition: AggregateDefinition, watch: Watch) -> None:
        self.__dict__.update(definition.__dict__)
        self._definition = definition
        self._watch = watch

    def decide(self, aggregate: Aggregate, command: Command) -> list[tuple[Event, bytes, Any]]:
        accident = self._watch.accident("fails_before", "fails_after")
        if accident == "fails_before":
            raise InjectedFailure("the aggregate failed before its handler ran")
        made = self._definition.decide(aggregate, command)
        if accident:
            raise InjectedFailure("the aggregate failed after its handler ran")
        return made


class RepeatedCommand(CommandMessage, gc=False):
    """A queued command that is brought to its aggregate again."""
