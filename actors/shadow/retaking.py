"""One transition of an instance, decided again by given code as it was decided then."""

from __future__ import annotations

from bdb import BdbQuit
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..core.amending import BY_OPERATOR, actor_in
from ..core.decide import take
from ..core.decision import EMPTY, Decision
from ..core.ending import ended_by, run_end
from ..core.failures import fail
from ..core.past import issued_command, stimulus_of
from ..core.ports import UNREADABLE
from ..core.stimuli import End, EventDelivered
from ..errors import InvalidMessage, UnknownMessage, type_of_error
from ..store import BY_PEOPLE, CorruptRecord, TimerRecord
from .guard import guarded
from .outcomes import Outcome
from .past_reads import PastReads

if TYPE_CHECKING:
    from ..core.process_state import ProcessState
    from ..core.stimuli import CommandRefused, TimeoutDue
    from ..model.plans import ProcessPlan
    from ..store import EventRecord, Store, TransitionRecord

__all__ = ["Retaking", "is_by_people"]

ATTEMPTS = 10
"""Most attempts at one cause: the log does not say which of them made its transition."""

_OF_READING = (InvalidMessage, UnknownMessage, CorruptRecord)

_WHY = {
    "skipped_early": "it comes before the start",
    "held": "it comes before the start",
    "skipped_complete": "it comes after the end",
    "not_for_us": "the instance has another learnt key",
}


def is_by_people(transition: TransitionRecord) -> bool:
    """Whether an operator made a transition, and no method of the class had a part in it."""
    return transition.cause in BY_PEOPLE and transition.handler != "ended"


class Retaking:
    """Decides the transitions of one process manager's instances again, each by itself.

    Args:
        plan: of the process manager, with the code that decides
        store: which is only read
        is_guarded: whether handlers reach nothing outside

    """

    def __init__(self, plan: ProcessPlan, store: Store, *, is_guarded: bool = True) -> None:
        self._plan = plan
        self._is_guarded = is_guarded
        self._reads = PastReads(store)

    def retake(
        self, before: ProcessState, transition: TransitionRecord, event: EventRecord | None
    ) -> Outcome:
        """Decide again what made a transition.

        Args:
            before: the instance before it
            transition: as it is stored
            event: that made it, if one did

        """
        if not self._is_guarded:
            return self._retake(before, transition, event)
        with guarded() as refused:
            outcome = self._retake(before, transition, event)
        return outcome._replace(reached=tuple(refused)) if refused else outcome

    def _retake(
        self, before: ProcessState, transition: TransitionRecord, event: EventRecord | None
    ) -> Outcome:
        plan = self._plan
        before = _as_before(before, transition)
        due = _due(before, transition)
        timer = TimerRecord(due, plan.name, before.instance, "", "timeout")
        name = transition.cause.removeprefix("timeout:")
        if event is None and name != transition.cause:
            timer.name = name
            if name not in (before.timers or ()):
                before = replace(before, timers={**(before.timers or {}), name: due})
        self._reads.set_to(transition, event, timer if timer.name else None)
        decision = Decision(before, EMPTY)
        try:
            if transition.cause == BY_OPERATOR:
                return self._end_again(decision, transition)
            stimulus = stimulus_of(
                plan, before.instance, transition, due, self._reads, refreshing=False
            )
            if stimulus is None:
                kind = self._kind_of(before, transition, event)
                return Outcome(None, "unhandled", kind, f"{kind} has no handler")
            if isinstance(stimulus, EventDelivered):
                why = self._passed_by(before, stimulus)
                if why:
                    return Outcome(None, "passed over", stimulus.record.type, why)
            return self._decided(before, stimulus)
        except (KeyboardInterrupt, BdbQuit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what comes of it
            return self._refused(before, decision, error)

    def _kind_of(
        self, before: ProcessState, transition: TransitionRecord, event: EventRecord | None
    ) -> str:
        """What made a transition, as it is counted."""
        if event is not None:
            return event.type
        cause = transition.cause
        command = issued_command(self._plan, before.instance, cause, self._reads)
        return cause if command is None else f"the refusal of {command.type}"

    def _passed_by(self, before: ProcessState, stimulus: EventDelivered) -> str:
        """Why an event would not come to the instance; the key by which it does is noted."""
        record, event, subscription = stimulus.record, stimulus.event, self._plan.subscription
        assert event is not None
        if record.type == UNREADABLE:
            raise record.message
        if not subscription.listens_to(record):
            return "its stream is not listened to"
        if record.sent_to is not None:
            # The partition that sent it found the instance.
            stimulus.learnt = subscription.learnt_of(event)
            return ""

        def read_index(process: str, field: str, value: str) -> list[str]:
            del process
            state = self._plan.definition.state
            values = before.restore(self._plan.definition).__dict__
            return [before.instance] if value in state.key_of(field, values[field]) else []

        instances, stimulus.learnt = subscription.route(record, event, read_index)
        return "" if before.instance in instances else "it is for another instance"

    def _decided(
        self, before: ProcessState, stimulus: EventDelivered | TimeoutDue | CommandRefused
    ) -> Outcome:
        plan = self._plan
        for attempt in range(1, ATTEMPTS + 1):
            decision = Decision(before, EMPTY, attempt=attempt)
            try:
                decision.step = take(plan, decision, stimulus, self._reads)
                break
            except (KeyboardInterrupt, BdbQuit):
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                decision.step = fail(plan, decision, stimulus, error)
                if decision.outcome != "retries":
                    break
                # What the handler did to the fields is undone.
                before = replace(before, values=None)
        if decision.error is not None:
            return self._refused(before, decision, decision.error)
        made = decision.step.transition
        if made is None:
            kind = stimulus.record.type if isinstance(stimulus, EventDelivered) else "timeout"
            return Outcome(
                None, "passed over", kind, _WHY.get(decision.outcome, decision.outcome)
            )
        return Outcome(made, state=decision.state)

    def _end_again(self, decision: Decision, transition: TransitionRecord) -> Outcome:
        by = actor_in(transition)
        reason = (transition.note or "").removeprefix(ended_by(by))
        end = End(reason, by, now=transition.time)
        step = run_end(self._plan, decision, end, self._reads)
        return Outcome(step.transition, state=decision.state)

    def _refused(
        self, before: ProcessState, decision: Decision, error: BaseException
    ) -> Outcome:
        kind, said = type_of_error(error), f"{type_of_error(error)}: {error}"
        if decision.process is not None or not isinstance(error, _OF_READING):
            return Outcome(None, "refusals", kind, f"raises {kind}", said)
        try:
            replace(before, values=None).restore(self._plan.definition)
        except _OF_READING:
            return Outcome(None, "unreadable", "state", "its state cannot be read", said)
        return Outcome(None, "unreadable", kind, "what happened cannot be read", said)


def _as_before(state: ProcessState, transition: TransitionRecord) -> ProcessState:
    """The instance so that what made the transition is new to it, though it waited then."""
    if 0 < transition.position <= state.seen or state.version != transition.version - 1:
        seen = min(state.seen, max(0, transition.position - 1))
        return replace(state, seen=seen, version=transition.version - 1)
    return state


def _due(before: ProcessState, transition: TransitionRecord) -> int:
    name = transition.cause.removeprefix("timeout:")
    return (before.timers or {}).get(name, transition.time)
