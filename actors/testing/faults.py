"""Where a simulated run goes wrong: handlers and commits that fail, crashes, things brought again.

These stand where the runtime's own instance actor, aggregate actor and store stand, do the same,
and ask first whether something is to go wrong this time.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..core.stimuli import Delivery, InstanceStimulus
from ..engine.aggregate_actor import AggregateActor, Request
from ..engine.instance_actor import InstanceActor
from ..store import Duplicate, LmdbStore, StoreError, id_in_stream
from .telling import carried_out, handled, short

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from ..authoring.cause import Cause
    from ..authoring.decorators import Handler
    from ..engine.command_queue import CommandQueue
    from ..engine.durable_actor import Stimulus
    from ..engine.router import Router
    from ..model.aggregate_definition import AggregateDefinition
    from ..store import Outcome, Step

__all__ = [
    "Crash",
    "InjectedFailure",
    "InjectedStoreError",
    "RepeatedDelivery",
    "RepeatedRequest",
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

    def __init__(self, router: Router, watch: Watch, instance: str) -> None:
        super().__init__(router, instance)
        self._watch = watch

    def on_receive(self, message: InstanceStimulus) -> None:
        if type(message) is Delivery:
            record, router = message.record, self.router
            event = None if message.event is None else router.load(record)
            again = RepeatedDelivery(record=record, event=event, learnt=message.learnt)
            self._watch.brought(
                "repeat_event",
                f"{short(record.type)} to {router.definition.cls.__name__} {self.instance}",
                lambda: router.send(self.instance, again),
            )
        super().on_receive(message)

    def hand(self, stimulus: Stimulus, step: Step) -> None:
        if isinstance(stimulus, InstanceStimulus):
            self._watch.note(*handled(self, stimulus, step))
        super().hand(stimulus, step)

    def _run(
        self,
        stimulus: InstanceStimulus,
        cause: Cause,
        handler: Handler,
        arguments: tuple[Any, ...],
        *rest: Any,
    ) -> Step:
        handler = self._faulty(handler)
        return super()._run(stimulus, cause, handler, arguments, *rest)

    def _faulty(self, handler: Handler) -> Handler:
        accident = self._watch.accident("fails_before", "fails_after")
        return replace(handler, function=failing(handler, accident)) if accident else handler


def failing(handler: Handler, accident: str) -> Callable[..., Any]:
    """A handler that raises before or after it has run."""

    def fail(*arguments: Any) -> None:
        if accident == "fails_after":
            handler.function(*arguments)
        raise InjectedFailure(
            f"{handler.name} failed {'after' if accident == 'fails_after' else 'before'} it ran"
        )

    return fail


class SimulatedAggregate(AggregateActor):
    """An aggregate whose handlers can fail."""

    def __init__(
        self,
        command_queue: CommandQueue,
        definition: AggregateDefinition,
        watch: Watch,
        stream: str,
    ) -> None:
        super().__init__(command_queue, definition, stream)
        self._watch = watch

    def on_receive(self, message: Request) -> None:
        if type(message) is Request and message.command.sequence:
            again = RepeatedRequest(
                command=message.command,
                is_from_outside=message.is_from_outside,
                watch=self._watch,
            )
            command_queue, command = self.command_queue, message.command
            name = self._definition.cls.__name__
            self._watch.brought(
                "repeat_command",
                f"{short(command.type)} to {name} {id_in_stream(command.stream)}",
                lambda: command_queue.send(again),
            )
        super().on_receive(message)

    def hand(self, stimulus: Stimulus, step: Step) -> None:
        if isinstance(stimulus, Request):
            text = carried_out(stimulus, self._definition.cls.__name__, step)
            # What was brought again mostly finds that there is nothing left to do.
            self._watch.note(text, is_detail=isinstance(stimulus, RepeatedRequest))
        super().hand(stimulus, step)

    def _step(self, request: Request) -> Step:
        accident = self._watch.accident("fails_before", "fails_after")
        if accident == "fails_before":
            raise InjectedFailure("the aggregate failed before its handler ran")
        step = super()._step(request)
        if accident:
            raise InjectedFailure("the aggregate failed after its handler ran")
        return step


class RepeatedDelivery(Delivery, kw_only=True, gc=False):
    """An event that is brought to its instance again; nobody waits for it."""

    def done(self, router: Router) -> None:
        """The router knows of one only."""


class RepeatedRequest(Request, kw_only=True, gc=False):
    """A queued command that is brought to its aggregate again."""

    watch: Any

    def finish(self, outcome: Outcome) -> None:
        if type(outcome) is Duplicate:
            self.actor.is_stale = True
            return
        self.watch.note(f"what was brought again came first: {short(self.command.type)}")
        super().finish(outcome)
        # The command queue counts the one it sent, which will find nothing left to do.
        self.actor.command_queue.finished -= 1
