"""Runtimes that break what is promised, each in one place."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from procession.core import carry_out, decide, failures
from procession.core.stimuli import EventDelivered
from procession.engine import aggregate_actor
from procession.engine.command_queue import CommandQueue
from procession.engine.engine import Engine
from procession.engine.ingress import Receipt
from procession.engine.instance_actor import InstanceActor
from procession.engine.journal import Journal
from procession.engine.residency import Residency
from procession.engine.router import Router
from procession.store import Step
from procession.store.open_commit import OpenCommit
from procession.testing.simulation.answer import Answer

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


def once(durable: Callable[[Receipt], None]) -> Callable[[Receipt], None]:
    """As `Receipt.durable`, for receipts that are told of it more than once."""
    told: list[Receipt] = []

    def broken(self: Receipt) -> None:
        if all(self is not one for one in told):
            told.append(self)
            durable(self)

    return broken


def changed_step(patch: pytest.MonkeyPatch, change: Callable[[Step], None]) -> None:
    """Have every step of an instance's handler changed before it is handed over."""
    make = decide._transition

    def broken(*arguments: Any) -> Step:
        step = make(*arguments)
        change(step)
        return step

    patch.setattr(decide, "_transition", broken)


@breaks("2: the commands of a step are not written")
def _(patch: pytest.MonkeyPatch) -> None:
    def change(step: Step) -> None:
        step.enqueue = None

    changed_step(patch, change)


@breaks("2: the commands of a step are written a commit later")
def _(patch: pytest.MonkeyPatch) -> None:
    hand_over, flush = OpenCommit.hand_over, Journal.flush
    late: list[Step] = []

    def broken(self: OpenCommit, step: Step) -> Any:
        if step.transition is not None and step.enqueue:
            late.append(Step(enqueue=step.enqueue))
            step.enqueue = None
        return hand_over(self, step)

    def and_late(self: Journal) -> bool:
        done = flush(self)
        engine: Any = self._durable.__self__  # type: ignore[attr-defined] # an engine's method
        while late:
            step = late.pop(0)
            with self.lock:
                self.lay(step)
                engine.command_queue.queued(step.enqueue)
        return done

    patch.setattr(OpenCommit, "hand_over", broken)
    patch.setattr(Journal, "flush", and_late)


@breaks("5: a command whose handler has not returned when a commit closes gets no row")
def _(patch: pytest.MonkeyPatch) -> None:
    net_effect = OpenCommit.net_effect

    def broken(self: OpenCommit, checkpoints: Any) -> Any:
        self._queued.clear()
        return net_effect(self, checkpoints)

    patch.setattr(OpenCommit, "net_effect", broken)


@breaks("5: numbers are not put back when a commit fails")
def _(patch: pytest.MonkeyPatch) -> None:
    begin_again = OpenCommit.begin_again

    def broken(self: OpenCommit, counters: Any) -> None:
        del counters
        begin_again(self, self.counters)

    patch.setattr(OpenCommit, "begin_again", broken)


@breaks("5: a step of before a failed commit is taken all the same")
def _(patch: pytest.MonkeyPatch) -> None:
    start_over = InstanceActor.start_over

    def broken(self: InstanceActor) -> None:
        envelopes, unreported = list(self.envelopes), self._unreported
        start_over(self)
        self.envelopes[:], self._unreported = envelopes, unreported
        self.is_stale = False

    patch.setattr(InstanceActor, "start_over", broken)


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
    fail = failures.fail

    def broken(plan: Any, decision: Any, stimulus: Any, error: Any) -> Step:
        process = decision.process
        step = fail(plan, decision, stimulus, error)
        decision.state.values = None if process is None else process.__dict__
        return step

    patch.setattr(decide, "fail", broken)


@breaks("3: events are given out in the wrong order")
def _(patch: pytest.MonkeyPatch) -> None:
    send = Residency.send

    def broken(self: Residency, messages: Any, **keywords: Any) -> None:
        send(self, list(messages)[::-1], **keywords)

    patch.setattr(Residency, "send", broken)


@breaks("4: that an event was handled is not written")
def _(patch: pytest.MonkeyPatch) -> None:
    def change(step: Step) -> None:
        assert step.transition is not None
        step.transition.seen = 0

    changed_step(patch, change)


@breaks("4: an event that comes again is handled again")
def _(patch: pytest.MonkeyPatch) -> None:
    take = decide._take_event

    def broken(plan: Any, decision: Any, stimulus: Any, reads: Any) -> Step:
        decision.state.seen = 0
        return take(plan, decision, stimulus, reads)

    patch.setattr(decide, "_take_event", broken)


@breaks("4: a command stays in the queue when it was carried out")
def _(patch: pytest.MonkeyPatch) -> None:
    carry = carry_out.carry_out

    def broken(plan: Any, aggregate: Any, delivered: Any) -> Any:
        decision = carry(plan, aggregate, delivered)
        decision.step.take = 0
        return decision

    patch.setattr(aggregate_actor, "carry_out", broken)


@breaks("5: what was in the queue is forgotten in a crash")
def _(patch: pytest.MonkeyPatch) -> None:
    start_over = CommandQueue.start_over

    def broken(self: CommandQueue) -> None:
        start_over(self)
        for lane in (self._issued, self._told):
            lane.taken = lane.newest

    patch.setattr(CommandQueue, "start_over", broken)


@breaks("5: a router notes events as done that are still under way")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Router, "done_up_to", property(lambda router: router._position))


@breaks("5: a client is answered before it is on disk")
def _(patch: pytest.MonkeyPatch) -> None:
    handed_over = Receipt.handed_over

    def broken(self: Receipt, outcome: Any) -> None:
        handed_over(self, outcome)
        if isinstance(self.receipts, Answer):
            self.durable()

    patch.setattr(Receipt, "handed_over", broken)
    patch.setattr(Receipt, "durable", once(Receipt.durable))


@breaks("5: what came before its start is dropped instead of held")
def _(patch: pytest.MonkeyPatch) -> None:
    early = decide._come_early

    def broken(plan: Any, decision: Any, stimulus: Any) -> Step:
        if plan.definition.early == "hold":
            return decide._skip(plan, decision, "skipped_early")
        return early(plan, decision, stimulus)

    patch.setattr(decide, "_come_early", broken)


@breaks("5: a learnt key is not written")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "changed_keys", lambda before, keys: [])


@breaks("5: no instance is told of a refusal")
def _(patch: pytest.MonkeyPatch) -> None:
    done = CommandQueue.done

    def broken(self: CommandQueue, delivered: Any, decision: Any) -> None:
        decision.step.extras = None
        done(self, delivered, decision)

    patch.setattr(CommandQueue, "done", broken)


@breaks("5: what is parked is not written")
def _(patch: pytest.MonkeyPatch) -> None:
    park = failures._park

    def broken(*arguments: Any, **keywords: Any) -> Step:
        step = park(*arguments, **keywords)
        step.park = None
        return step

    patch.setattr(failures, "_park", broken)


@breaks("6: who waits to try again holds up a whole process manager")
def _(patch: pytest.MonkeyPatch) -> None:
    settle = InstanceActor.settle

    def broken(self: InstanceActor, message: Any, decision: Any, outcome: Any) -> None:
        if decision.state.block is not None and type(message.stimulus) is EventDelivered:
            message.giver = None
        settle(self, message, decision, outcome)

    patch.setattr(InstanceActor, "settle", broken)


@breaks("7: an instance is read from an older transition")
def _(patch: pytest.MonkeyPatch) -> None:
    load = InstanceActor._load

    def broken(self: InstanceActor) -> None:
        load(self)
        if self.state.version > 1:
            name, reads = self._share.plan.name, self._share.reads
            older = list(reads.transitions(name, self.instance))[-2]
            self.state.fields = older.state

    patch.setattr(InstanceActor, "_load", broken)


@breaks("8: a router takes more in hand than it may")
def _(patch: pytest.MonkeyPatch) -> None:
    make = Router.__init__

    def broken(self: Router, *arguments: Any, **keywords: Any) -> None:
        make(self, *arguments, **keywords | {"max_in_flight": 1_000})

    patch.setattr(Router, "__init__", broken)


@breaks("12: an event goes before a timeout that was due before it was stored")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_due_before", lambda *arguments: None)


@breaks("12: a run is told of what an ended one asked for")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_is_of_ended_run", lambda *arguments: False)


@breaks("12: a timeout overtakes what was stored before it was due")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "_has_routed", lambda *arguments: True)


@breaks("5: who learns a key does not get what was held for it")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OpenCommit, "_meet", lambda self, step, field, value: False)


@breaks("5: what is held is let go at once")
def _(patch: pytest.MonkeyPatch) -> None:
    make = Router.__init__

    def broken(self: Router, *arguments: Any, **keywords: Any) -> None:
        make(self, *arguments, **keywords)
        patch.setattr(self.plan.definition, "hold_for", timedelta())

    patch.setattr(Router, "__init__", broken)


@breaks("3: what was held comes when there is nothing else to do")
def _(patch: pytest.MonkeyPatch) -> None:
    settle = InstanceActor.settle

    def broken(self: InstanceActor, message: Any, decision: Any, outcome: Any) -> None:
        extras = decision.step.extras
        if extras is not None:
            extras.is_met = False
        settle(self, message, decision, outcome)

    patch.setattr(InstanceActor, "settle", broken)
