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
from ..core.process_state import ProcessState
from ..core.stimuli import End, EventDelivered
from ..errors import Erased, InvalidMessage, UnknownMessage, type_of_error
from ..store import BY_PEOPLE, CorruptRecord, TimerRecord
from .guard import guard
from .outcomes import Outcome
from .past_reads import PastReads

if TYPE_CHECKING:
    from ..core.stimuli import CommandRefused, TimeoutDue
    from ..model.plans import ProcessPlan
    from ..store import EventRecord, Reads, TransitionRecord

__all__ = ["TIMEOUT", "Retaking", "is_by_people"]

ATTEMPTS = 10
"""Most attempts at one cause: the log does not say which of them made its transition."""

TIMEOUT = "timeout:"
"""What the cause of a timeout's transition begins with; its name follows."""

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

    def __init__(self, plan: ProcessPlan, store: Reads, *, is_guarded: bool = True) -> None:
        self._plan = plan
        self._watch = guard() if is_guarded else None
        self._reads = PastReads(store)
        # The instance in hand, for who asks whether it has a learnt key.
        self._before = ProcessState("")
        self.is_for_one = False
        """Whether the last event is for the instance in hand alone, whatever it has learnt."""

    def retake(
        self, before: ProcessState, transition: TransitionRecord, event: EventRecord | None
    ) -> Outcome:
        """Decide again what made a transition.

        Args:
            before: the instance before it
            transition: as it is stored
            event: that made it, if one did

        """
        watch = self._watch
        if watch is None:
            return self._retake(before, transition, event)
        refused: list[str] = []
        watch.refused = refused
        try:
            outcome = self._retake(before, transition, event)
        finally:
            watch.refused = None
        return replace(outcome, reached=tuple(refused)) if refused else outcome

    def _retake(
        self, before: ProcessState, transition: TransitionRecord, event: EventRecord | None
    ) -> Outcome:
        plan, due, timer = self._plan, 0, None
        position, version = transition.position, transition.version - 1
        if 0 < position <= before.seen or before.version != version:
            # What made it is new to the instance, though it may have waited then.
            seen = min(before.seen, max(0, position - 1))
            before = replace(before, seen=seen, version=version)
        if event is None and transition.cause.startswith(TIMEOUT):
            before, timer = self._before_timeout(before, transition)
            due = timer.due
        self._reads.set_to(transition, event, timer)
        self._before = before
        try:
            if transition.cause == BY_OPERATOR:
                return self._end_again(before, transition)
            stimulus = stimulus_of(
                plan, before.instance, transition, due, self._reads, refreshing=False
            )
            if stimulus is None:
                kind = self._kind_of(before, transition, event)
                return Outcome(None, "unhandled", kind, f"{kind} has no handler")
            if type(stimulus) is EventDelivered:
                why = self._passed_by(before, stimulus)
                if why:
                    return Outcome(None, "passed over", stimulus.record.type, why)
            return self._decided(before, stimulus)
        except (KeyboardInterrupt, BdbQuit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what comes of it
            return self._refused(before, Decision(before, EMPTY), error)

    def _before_timeout(
        self, before: ProcessState, transition: TransitionRecord
    ) -> tuple[ProcessState, TimerRecord]:
        """The instance with the timeout that was due."""
        name, timers = transition.cause.removeprefix(TIMEOUT), before.timers or {}
        due = timers.get(name, transition.time)
        if name not in timers:
            before = replace(before, timers={**timers, name: due})
        return before, TimerRecord(due, self._plan.name, before.instance, name, "timeout")

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
        self.is_for_one = False
        if record.type == UNREADABLE:
            raise record.message
        if not subscription.listens_to(record):
            return "its stream is not listened to"
        if record.sent_to is not None:
            # The partition that sent it found the instance.
            stimulus.learnt = subscription.learnt_of(event)
            return ""

        instances, stimulus.learnt = subscription.route(record, event, self._read_index)
        if before.instance not in instances:
            return "it is for another instance"
        self.is_for_one = len(instances) == 1 and stimulus.learnt is None
        return ""

    def _read_index(self, process: str, field: str, value: str) -> list[str]:
        """The instance in hand, if it has the learnt key."""
        del process
        definition, before = self._plan.definition, self._before
        values = before.restore(definition).__dict__
        has_it = value in definition.state.key_of(field, values[field])
        return [before.instance] if has_it else []

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
            refused = self._refused(before, decision, decision.error)
            return replace(refused, is_skipped=decision.outcome == "skipped_error")
        made = decision.step.transition
        if made is None:
            kind = stimulus.record.type if isinstance(stimulus, EventDelivered) else "timeout"
            return Outcome(None, "passed over", kind, _WHY.get(decision.outcome, decision.outcome))
        return Outcome(made, state=decision.state)

    def _end_again(self, before: ProcessState, transition: TransitionRecord) -> Outcome:
        by, decision = actor_in(transition), Decision(before, EMPTY)
        reason = (transition.note or "").removeprefix(ended_by(by))
        end = End(reason, by, now=transition.time)
        try:
            step = run_end(self._plan, decision, end, self._reads)
        except Exception as error:  # noqa: BLE001 - as above
            return self._refused(before, decision, error)
        return Outcome(step.transition, state=decision.state)

    def _refused(self, before: ProcessState, decision: Decision, error: BaseException) -> Outcome:
        kind, said = type_of_error(error), f"{type_of_error(error)}: {error}"
        if decision.process is None and isinstance(error, Erased):
            return Outcome(None, "passed over", kind, "it was erased", said, is_erased=True)
        if decision.process is not None or not isinstance(error, _OF_READING):
            return Outcome(None, "refusals", kind, f"raises {kind}", said)
        try:
            replace(before, values=None).restore(self._plan.definition)
        except _OF_READING:
            return Outcome(None, "unreadable", "state", "its state cannot be read", said)
        return Outcome(None, "unreadable", kind, "what happened cannot be read", said)
