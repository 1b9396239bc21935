"""What instance actors are asked to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..engine.durable_actor import Stimulus
from ..store import Committed, EventRecord, RefusalRecord, StepExtras, TimerRecord
from .replay import adjust, refresh

if TYPE_CHECKING:
    from ..engine.router import Router
    from ..messages.types import Event
    from ..store import Outcome, Step

__all__ = ["CommandRefused", "Delivery", "InstanceStimulus", "Refresh", "Reload", "TimerDue"]


class InstanceStimulus(Stimulus, kw_only=True, gc=False):
    """Base of them all. `came_of` is what happened: a key of the router's counters."""

    outcome: str = ""
    reply_to: Any = None
    """The future of an operator who waits, if one does."""

    needs_disk: ClassVar[bool] = False
    """Whether everything that the actor handed over must be on disk first."""

    def carry_out(self) -> Step:
        """Make the step; in the actor's turn."""
        raise NotImplementedError

    def finish(self, outcome: Outcome) -> None:
        """Let out what the step made. It is durable."""
        router: Router = self.actor.router
        if type(outcome) is Committed:
            router.counts[self.outcome] += 1
            step = self.step
            if step.enqueue:
                router.command_queue.queued(step.enqueue)
            extras = step.extras
            if extras is not None and extras.timers:
                router.timer_service.notice(extras.timers)
        else:
            # What it was for is gone, so memory ran ahead with something that was done before.
            self.actor.is_stale = True
            self.outcome = "nothing"
        self.done(router)

    def done(self, router: Router) -> None:
        """Tell whoever gave the stimulus."""


class Delivery(InstanceStimulus, kw_only=True, gc=False):
    """An event for one instance.

    `event` is this instance's own copy, None while it is still to be read. `learnt` is the field
    and the values by which the instance was found, if so. `is_waiting` says that it waited in the
    store, and not with the router.
    """

    record: EventRecord
    event: Event | None
    learnt: tuple[str, list[str]] | None = None
    is_waiting: bool = False

    def carry_out(self) -> Step:
        step: Step = self.actor.deliver(self)
        return step

    def done(self, router: Router) -> None:
        del router
        if not self.is_waiting:
            self.actor.report(self.record.position)


class TimerDue(InstanceStimulus, kw_only=True, gc=False):
    """A timeout is due, or a failed event is to be tried again."""

    timer: TimerRecord
    key: bytes
    is_put_off: bool = False

    def carry_out(self) -> Step:
        # What an attempt before came to, whose step was not committed, counts no more.
        self.is_put_off, self.outcome = False, ""
        step: Step = self.actor.ring(self)
        return step

    def done(self, router: Router) -> None:
        if self.is_put_off:
            router.timer_service.put_off(self.key, self.timer)
        else:
            router.timer_service.finished(self.key)


class CommandRefused(InstanceStimulus, kw_only=True, gc=False):
    """An aggregate refused a command that the instance issued.

    `taking_up` is who counts it, if it was left by an earlier run.
    """

    refusal: RefusalRecord
    recovery: Any = None

    def carry_out(self) -> Step:
        step: Step = self.actor.tell_refusal(self)
        return step

    def done(self, router: Router) -> None:
        del router
        if self.recovery is not None:
            self.recovery.finished += 1


class Reload(InstanceStimulus, kw_only=True, gc=False):
    """Something was changed in the store for this instance: read it.

    `taking_up` is who counts it, if an earlier run left it to do.
    """

    recovery: Any = None

    def carry_out(self) -> Step:
        step: Step = self.actor.look()
        return step

    def done(self, router: Router) -> None:
        del router
        if self.recovery is not None:
            self.recovery.finished += 1


class Refresh(InstanceStimulus, kw_only=True, gc=True):
    """Rebuild the state from the events; `reply_to` gets whether there was anything."""

    needs_disk: ClassVar[bool] = True

    def carry_out(self) -> Step:
        step: Step = refresh(self.actor)
        self.outcome = "nothing" if step.transition is None else "refreshed"
        return step

    def done(self, router: Router) -> None:
        del router
        if self.outcome != "failed":
            self.reply_to.set(self.outcome == "refreshed")


class Adjust(InstanceStimulus, kw_only=True, gc=True):
    """An operator moves what is due to another time, or cancels it with 0."""

    name: str
    due: int
    by: str | None
    needs_disk: ClassVar[bool] = True

    def carry_out(self) -> Step:
        step: Step = adjust(self.actor, self.name, self.due, self.by)
        self.outcome = "nothing" if step.transition is None else "adjusted"
        return step

    def done(self, router: Router) -> None:
        del router
        if self.outcome != "failed":
            self.reply_to.set(self.outcome == "adjusted")


def merged(taken: StepExtras | None, made: StepExtras | None) -> StepExtras | None:
    """What a step takes and what it makes, in one."""
    if taken is None or made is None:
        return taken or made
    made.due = taken.due
    made.cancel = [*taken.cancel, *made.cancel]
    made.unwait = taken.unwait
    made.told = taken.told
    made.unblock = taken.unblock
    return made
