"""Runtimes that break what is promised, each in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import procession.core.decide
import procession.engine.instance_actor
from procession.engine.aggregate_actor import AggregateActor
from procession.engine.command_queue import CommandQueue
from procession.engine.ingress import Receipt
from procession.engine.instance_actor import InstanceActor
from procession.engine.journal import Journal
from procession.engine.residency import Residency
from procession.engine.router import Router
from procession.store import LmdbStore, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

__all__ = ["SABOTAGE"]

SABOTAGE: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}
"""What each breaks, and how."""


def breaks(what: str) -> Callable[[Callable[[pytest.MonkeyPatch], None]], None]:
    def note(break_it: Callable[[pytest.MonkeyPatch], None]) -> None:
        SABOTAGE[what] = break_it

    return note


def changed_step(patch: pytest.MonkeyPatch, change: Callable[[Step], None]) -> None:
    """Have every step of an instance's handler changed before it is handed over."""
    make = procession.core.decide.make_step

    def broken(*arguments: Any) -> Step:
        step = make(*arguments)
        change(step)
        return step

    patch.setattr(procession.engine.instance_actor, "make_step", broken)


@breaks("2: the commands of a step are not written")
def _(patch: pytest.MonkeyPatch) -> None:
    def change(step: Step) -> None:
        step.enqueue = None

    changed_step(patch, change)


@breaks("2: the commands of a step are written a commit later")
def _(patch: pytest.MonkeyPatch) -> None:
    commit = LmdbStore.commit

    def broken(self: Any, steps: list[Step], checkpoints: Any = None) -> Any:
        late = self.__dict__.pop("late", [])
        commit(self, late)
        self.late = []
        for step in steps:
            if step.transition is not None and step.enqueue:
                self.late.append(Step(enqueue=step.enqueue))
                step.enqueue = None
        return commit(self, steps, checkpoints)

    patch.setattr(LmdbStore, "commit", broken)


@breaks("2: the timeouts of a step are not written")
def _(patch: pytest.MonkeyPatch) -> None:
    def change(step: Step) -> None:
        if step.extras is not None:
            step.extras.timers = [one for one in step.extras.timers if one.kind == "command"]

    changed_step(patch, change)


@breaks("2: a timeout that was cancelled stays")
def _(patch: pytest.MonkeyPatch) -> None:
    def change(step: Step) -> None:
        if step.extras is not None:
            step.extras.cancel = []

    changed_step(patch, change)


@breaks("2: memory is not set back when a handler fails")
def _(patch: pytest.MonkeyPatch) -> None:
    fail = InstanceActor._fail

    def broken(self: Any, stimulus: Any, error: Any, cause: Any, attempt: Any, *rest: Any) -> Step:
        step = fail(self, stimulus, error, cause, attempt, *rest)
        self._process = rest[0] if rest else None
        return step

    patch.setattr(InstanceActor, "_fail", broken)


@breaks("3: events are given out in the wrong order")
def _(patch: pytest.MonkeyPatch) -> None:
    send = Residency.send

    def broken(self: Residency, stimuli: Any) -> None:
        send(self, list(stimuli)[::-1])

    patch.setattr(Residency, "send", broken)


@breaks("4: that an event was handled is not written")
def _(patch: pytest.MonkeyPatch) -> None:
    def change(step: Step) -> None:
        assert step.transition is not None
        step.transition.seen = 0

    changed_step(patch, change)


@breaks("4: an event that comes again is handled again")
def _(patch: pytest.MonkeyPatch) -> None:
    deliver = InstanceActor.deliver

    def broken(self: InstanceActor, delivery: Any) -> Step:
        self.seen = 0
        return deliver(self, delivery)

    patch.setattr(InstanceActor, "deliver", broken)


@breaks("4: a command stays in the queue when it was carried out")
def _(patch: pytest.MonkeyPatch) -> None:
    make = AggregateActor._step

    def broken(self: AggregateActor, request: Any) -> Step:
        step = make(self, request)
        step.take = 0
        return step

    patch.setattr(AggregateActor, "_step", broken)


@breaks("5: what was in the queue is forgotten in a crash")
def _(patch: pytest.MonkeyPatch) -> None:
    resume = CommandQueue.resume

    def broken(self: CommandQueue) -> None:
        resume(self)
        for lane in (self._issued, self._told):
            lane.taken = lane.newest

    patch.setattr(CommandQueue, "resume", broken)


@breaks("5: a router notes events as done that are still under way")
def _(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Router) -> None:
        self.done = self._position

    patch.setattr(Router, "_note_done", broken)


@breaks("5: a client is answered before it is on disk")
def _(patch: pytest.MonkeyPatch) -> None:
    add = Journal.add

    def broken(self: Journal, work: Any) -> None:
        if type(work) is Receipt and hasattr(work.receipts, "is_there"):
            work.receipts.count()
        add(self, work)

    committed = Receipt.committed

    def silent(self: Receipt, outcome: Any) -> None:
        if not hasattr(self.receipts, "is_there"):
            committed(self, outcome)
        elif self.step.enqueue and outcome.is_committed:
            self.receipts.command_queue.queued(self.step.enqueue)

    patch.setattr(Journal, "add", broken)
    patch.setattr(Receipt, "committed", silent)


@breaks("5: what came before its start is dropped instead of held")
def _(patch: pytest.MonkeyPatch) -> None:
    early = InstanceActor._early

    def broken(self: InstanceActor, delivery: Any, taken: Any) -> Step:
        if self.router.definition.early == "hold":
            return self._skip(delivery, "skipped_early", taken)
        return early(self, delivery, taken)

    patch.setattr(InstanceActor, "_early", broken)


@breaks("5: a learnt key is not written")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(procession.core.decide, "learn", lambda actor, process, extras: extras)


@breaks("5: nobody is told of a refusal")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CommandQueue, "tell_refusal", lambda self, refusal: None)


@breaks("5: nobody sees what is parked")
def _(patch: pytest.MonkeyPatch) -> None:
    park = InstanceActor._park

    def broken(self: Any, *arguments: Any, **keywords: Any) -> Step:
        step = park(self, *arguments, **keywords)
        step.park = None
        return step

    patch.setattr(InstanceActor, "_park", broken)


@breaks("6: who waits to try again holds up a whole process manager")
def _(patch: pytest.MonkeyPatch) -> None:
    report = InstanceActor.report

    def broken(self: InstanceActor, position: int) -> None:
        if self._block is None:
            report(self, position)

    patch.setattr(InstanceActor, "report", broken)


@breaks("7: an instance is read from an older transition")
def _(patch: pytest.MonkeyPatch) -> None:
    load = InstanceActor._load

    def broken(self: InstanceActor) -> None:
        load(self)
        if self.version > 1:
            name, store = self.router.definition.name, self.router.store
            older = store.read_transitions(name, self.instance, self.version - 2, 1)[0]
            self.state = older.state

    patch.setattr(InstanceActor, "_load", broken)


@breaks("8: a router takes more in hand than it may")
def _(patch: pytest.MonkeyPatch) -> None:
    make = Router.__init__

    def broken(self: Router, *arguments: Any, **keywords: Any) -> None:
        make(self, *arguments, **keywords | {"max_in_flight": 1_000})

    patch.setattr(Router, "__init__", broken)
