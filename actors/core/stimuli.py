"""What instance actors are asked to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..store import Besides, Committed, EventRecord, RefusalRecord, TimerRecord

from ..engine.durable_actor import Errand
from .replay import adjust, refresh

if TYPE_CHECKING:
    from ..store import Outcome, Step

    from ..messages.types import Event
    from ..engine.router import Router

__all__ = ["Delivery", "InstanceErrand", "Look", "Refresh", "TimerDue", "Told"]


class InstanceErrand(Errand, kw_only=True, gc=False):
    """Base of them all. `came_of` is what happened: a key of the router's counters."""

    came_of: str = ""
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
            router.counts[self.came_of] += 1
            step = self.step
            if step.enqueue:
                router.courier.queued(step.enqueue)
            besides = step.besides
            if besides is not None and besides.timers:
                router.timekeeper.notice(besides.timers)
        else:
            # What it was for is gone, so memory ran ahead with something that was done before.
            self.actor.is_stale = True
            self.came_of = "nothing"
        self.done(router)

    def done(self, router: Router) -> None:
        """Tell whoever gave the errand."""


class Delivery(InstanceErrand, kw_only=True, gc=False):
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


class TimerDue(InstanceErrand, kw_only=True, gc=False):
    """A timeout is due, or a failed event is to be tried again."""

    timer: TimerRecord
    key: bytes
    is_put_off: bool = False

    def carry_out(self) -> Step:
        # What an attempt before came to, whose step was not committed, counts no more.
        self.is_put_off, self.came_of = False, ""
        step: Step = self.actor.ring(self)
        return step

    def done(self, router: Router) -> None:
        if self.is_put_off:
            router.timekeeper.put_off(self.key, self.timer)
        else:
            router.timekeeper.finished(self.key)


class Told(InstanceErrand, kw_only=True, gc=False):
    """An aggregate refused a command that the instance issued.

    `taking_up` is who counts it, if it was left by an earlier run.
    """

    refusal: RefusalRecord
    taking_up: Any = None

    def carry_out(self) -> Step:
        step: Step = self.actor.tell_refusal(self)
        return step

    def done(self, router: Router) -> None:
        del router
        if self.taking_up is not None:
            self.taking_up.finished += 1


class Look(InstanceErrand, kw_only=True, gc=False):
    """Something was changed in the store for this instance: read it.

    `taking_up` is who counts it, if an earlier run left it to do.
    """

    taking_up: Any = None

    def carry_out(self) -> Step:
        step: Step = self.actor.look()
        return step

    def done(self, router: Router) -> None:
        del router
        if self.taking_up is not None:
            self.taking_up.finished += 1


class Refresh(InstanceErrand, kw_only=True, gc=True):
    """Rebuild the state from the events; `reply_to` gets whether there was anything."""

    needs_disk: ClassVar[bool] = True

    def carry_out(self) -> Step:
        step: Step = refresh(self.actor)
        self.came_of = "nothing" if step.transition is None else "refreshed"
        return step

    def done(self, router: Router) -> None:
        del router
        if self.came_of != "failed":
            self.reply_to.set(self.came_of == "refreshed")


class Adjust(InstanceErrand, kw_only=True, gc=True):
    """An operator moves what is due to another time, or cancels it with 0."""

    name: str
    due: int
    by: str | None
    needs_disk: ClassVar[bool] = True

    def carry_out(self) -> Step:
        step: Step = adjust(self.actor, self.name, self.due, self.by)
        self.came_of = "nothing" if step.transition is None else "adjusted"
        return step

    def done(self, router: Router) -> None:
        del router
        if self.came_of != "failed":
            self.reply_to.set(self.came_of == "adjusted")


def merged(taken: Besides | None, made: Besides | None) -> Besides | None:
    """What a step takes and what it makes, in one."""
    if taken is None or made is None:
        return taken or made
    made.due = taken.due
    made.cancel = [*taken.cancel, *made.cancel]
    made.unwait = taken.unwait
    made.told = taken.told
    made.unblock = taken.unblock
    return made
