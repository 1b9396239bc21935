"""One process manager rehearsed on plain dictionaries: what a step would write is kept in memory.

What an event does to an instance is decided in `core` and nowhere else. Here the decisions stand on
a log that is a list; no actor runs, nothing is awaited and nothing is on disk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from ..core.decide import take
from ..core.decision import EMPTY, Decision
from ..core.operations import operate
from ..core.process_state import ProcessState
from ..core.stimuli import CommandRefused, EventDelivered, TimeoutDue
from ..errors import EarlyEvent, UnknownInstance, UnknownMessage
from ..messages.codec import dump
from ..store import EventRecord, RefusalRecord, TimerRecord, UnmatchedRecord, event_id_at

if TYPE_CHECKING:
    from ..core.ports import Link
    from ..core.stimuli import Amend, End, Stimulus
    from ..messages.types import Command, Event
    from ..model.plans import ProcessPlan
    from ..model.subscriptions import LearntKey
    from ..store import CommandRecord, Step, StepExtras, TransitionRecord

__all__ = ["Change", "Happened", "Rehearsal"]


@dataclass(slots=True)
class Change:
    """One transition, as its step would have written it.

    `issued` has each command with the time it is due, 0 for at once; `set` the timeouts that were
    set, with theirs; `cancelled` those that were taken back, and `withdrawn` the commands.
    """

    instance: str
    transition: TransitionRecord
    issued: list[tuple[Command, int]] = field(default_factory=list)
    set: dict[str, int] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    withdrawn: list[Command] = field(default_factory=list)


class Happened(NamedTuple):
    """What came of something in one instance."""

    instance: str
    outcome: str


class Rehearsal:
    """Decides what happens to the instances of one process manager, one thing at a time.

    It is the log that the decisions read, too.

    Args:
        plan: of the process manager
        now: the time, in microseconds

    """

    def __init__(self, plan: ProcessPlan, now: int) -> None:
        self.time = now
        self.changes: list[Change] = []
        """Every transition there was."""
        self.states: dict[str, ProcessState] = {}
        self._plan = plan
        self._log: list[EventRecord] = []
        self._held: dict[str, list[int]] = {}
        self._keys: dict[tuple[str, str], set[str]] = {}
        self._unmatched: list[UnmatchedRecord] = []
        self._held_back: dict[str, TimerRecord] = {}
        self._due = ""
        self._timeouts: dict[tuple[str, str], TimerRecord] = {}
        self._issued: list[tuple[Command, CommandRecord]] = []

    # What happens

    def publish(self, event: Event, stream: str, headers: bytes | None = None) -> list[Happened]:
        """An event comes; returns what came of it for each instance that it is for.

        Raises:
            InvalidMessage: a field does not fit its annotation
            Exception: what a handler raised

        """
        plan = self._plan
        data, shared = dump(event)
        version = 1 + sum(one.stream == stream for one in self._log)
        event_id = event_id_at(stream, version)
        record = EventRecord(
            plan.registry.name_of(type(event), plan.definition),
            stream,
            version,
            self.time,
            data,
            event_id,
            self._log[0].event_id if self._log else event_id,
            headers=headers,
            position=len(self._log) + 1,
            message=shared,
        )
        self._log.append(record)
        subscription = plan.subscription
        instances, learnt = subscription.route(record, subscription.load(record), self._read_index)
        found = self._take_unmatched(record, learnt, instances) if learnt else []
        return found + [
            self._decide(one, EventDelivered(record, subscription.load(record), learnt))
            for one in instances
        ]

    def _take_unmatched(
        self, record: EventRecord, learnt: LearntKey, instances: list[str]
    ) -> list[Happened]:
        """What becomes of an event that names a learnt key which no instance has."""
        definition, (field, values) = self._plan.definition, learnt
        missing = [one for one in values if not self._read_index(definition.name, field, one)]
        if not missing or (definition.unmatched != "hold" and instances):
            return []
        if definition.unmatched == "park":
            raise EarlyEvent(
                f"no instance of {definition.name} has {field!r} = "
                f"{' or '.join(map(repr, missing))}, which this {record.type} names"
            )
        if definition.unmatched == "skip":
            return [Happened("", "skipped_unmatched")]
        until = self.time + definition.hold_for // timedelta(microseconds=1)
        self._unmatched.append(
            UnmatchedRecord(
                definition.name, record.position, field, missing, until, list(instances)
            )
        )
        return [Happened("", "unmatched")] if not instances else []

    def _meet(self, instance: str, field: str, value: str) -> bool:
        """Have what was held for a key wait for the instance that has learnt it."""
        is_met = False
        for one in self._unmatched:
            if one.field == field and value in one.values and self.time < one.until:
                one.values.remove(value)
                if instance not in one.taken:
                    one.taken.append(instance)
                    self._held.setdefault(instance, []).append(one.position)
                    is_met = True
        return is_met

    def fall_due(self, name: str) -> list[Happened]:
        """A timeout's time has come; nothing comes of it if no instance has set it.

        Raises:
            ValueError: several instances have set it

        """
        having = [one for one in self.states.values() if name in (one.timers or ())]
        for one, other in pairwise(having):
            raise ValueError(
                f"both {one.instance!r} and {other.instance!r} have set the timeout {name!r}, so "
                f"it is not clear whose is due; let the scenario speak of one instance"
            )
        found: list[Happened] = []
        self._due = name
        for one in having:
            due = (one.timers or {})[name]
            self.time = max(self.time, due)
            self._let_leave()
            timer = self._timeouts[one.instance, name]
            found.append(self._decide(one.instance, TimeoutDue(timer)))
        return found

    def refuse(self, command: Command, reason: str) -> list[Happened]:
        """An aggregate refuses a command that was issued before.

        Raises:
            UnknownMessage: no instance issued it

        """
        for issued, record in reversed(self._issued):
            if issued == command:
                refusal = CommandRefused(RefusalRecord(record, reason, sequence=1))
                return [self._decide(record.instance or "", refusal)]
        raise UnknownMessage(
            f"{self._plan.definition.cls.__qualname__} has not issued {command!r}, so no aggregate "
            f"can have refused it; give first what makes it issue that"
        )

    def operate(self, operation: End | Amend) -> list[Happened]:
        """An operator ends or amends the one instance that there is.

        Raises:
            UnknownInstance: there is none
            ValueError: there are several
            AlreadyEnded: it is to be ended, and is complete
            Exception: what its method raised

        """
        started = [one for one in self.states.values() if one.version]
        name = self._plan.definition.cls.__qualname__
        if not started:
            raise UnknownInstance(f"no instance of {name} has started; give first what starts one")
        for one, other in pairwise(started):
            raise ValueError(
                f"both {one.instance!r} and {other.instance!r} of {name} have started, so it is "
                f"not clear which one is meant; let the scenario speak of one instance"
            )
        (state,) = started
        operation.now = self.time
        decision = operate(self._plan, state, operation, self)
        waiting = self._keep(state.instance, decision)
        while waiting:
            self._decide(state.instance, waiting.popleft())
        return [Happened(state.instance, "transitions")]

    def _decide(self, instance: str, stimulus: Stimulus) -> Happened:
        """Decide about a stimulus, and then about the events that it lets go on."""
        outcome = ""
        waiting: deque[Stimulus] = deque([stimulus])
        while waiting:
            one = waiting.popleft()
            one.now = self.time
            decision = Decision(self.states.get(instance) or ProcessState(instance), EMPTY)
            decision.step = take(self._plan, decision, one, self)
            outcome = outcome or decision.outcome
            # What still waited is among it.
            waiting = self._keep(instance, decision) or waiting
        return Happened(instance, outcome)

    def _keep(self, instance: str, decision: Decision) -> deque[Stimulus]:
        """Go on from what was decided; returns what goes on with it, if anything does."""
        self.states[instance] = decision.state
        self._write(decision.step)
        held = self._held.get(instance)
        extras = decision.step.extras
        if not ((decision.reload or (extras is not None and extras.is_met)) and held):
            return deque()
        self.states[instance] = replace(decision.state, to_take_up=len(held), holds_early=False)
        return deque(EventDelivered(self.event_at(at), was_held=True) for at in sorted(held))

    def _let_leave(self) -> None:
        for name in [name for name, one in self._held_back.items() if one.due <= self.time]:
            del self._held_back[name]

    def _write(self, step: Step) -> None:
        """What a commit does."""
        extras = step.extras
        if step.wait:
            self._held.setdefault(step.instance, []).append(step.wait)
        if extras is not None and extras.unwait:
            self._held[step.instance].remove(extras.unwait)
        if step.transition is None:
            return
        change = Change(step.instance, step.transition)
        self.changes.append(change)
        records = {one.command_id: (one, 0) for one in step.enqueue or ()}
        if extras is not None:
            records |= self._write_extras(step.instance, extras, change)
        # In the order in which they were issued, whether held back or not.
        for command_id, kind, data in step.transition.commands:
            if command_id in records:
                record, due = records[command_id]
                command = self._plan.registry.load_command(kind, data)
                change.issued.append((command, due))
                self._issued.append((command, record))

    def _write_extras(
        self, instance: str, extras: StepExtras, change: Change
    ) -> dict[str, tuple[CommandRecord, int]]:
        """Note what is due later; returns the commands among it."""
        registry = self._plan.registry
        for timer in extras.cancel:
            held = self._held_back.pop(timer.name, None)
            if held is not None and held.command is not None:
                command = registry.load_command(held.command.type, held.command.data)
                change.withdrawn.append(command)
        commands: dict[str, tuple[CommandRecord, int]] = {}
        for timer in extras.timers:
            if timer.command is None:
                change.set[timer.name] = timer.due
                self._timeouts[instance, timer.name] = timer
            else:
                self._held_back[timer.name] = timer
                commands[timer.name] = timer.command, timer.due
        change.cancelled = [
            one.name
            for one in extras.cancel
            if one.name in self._plan.definition.timeouts and one.name not in change.set
        ]
        for key, before, after in extras.index:
            if before is not None:
                self._keys[key, before].discard(instance)
            if after is not None:
                self._keys.setdefault((key, after), set()).add(instance)
                extras.is_met |= self._meet(instance, key, after)
        return commands

    def _read_index(self, process: str, key: str, value: str) -> list[str]:
        del process
        return sorted(self._keys.get((key, value), ()))

    # What decisions read

    def event_at(self, position: int) -> EventRecord:
        return self._log[position - 1]

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        return self._log[after : after + limit]

    def set_aside(self, process: str, instance: str) -> frozenset[int]:
        """Nothing is parked here; what waits is held."""
        del process
        return frozenset(self._held.get(instance, ()))

    def undecided_of(self, process: str, instance: str) -> list[int]:
        """None: what would be parked is raised."""
        del process, instance
        return []

    def event_of(self, transition: TransitionRecord) -> EventRecord | None:
        return self.event_at(transition.position) if transition.position else None

    def link_before(self, event: EventRecord) -> Link | None:
        """Events come from outside here."""
        del event
        return None

    def effect_at(self, position: int, process: str, instance: str) -> None:
        """None: after-effects do not run in a rehearsal."""

    def stored_transition(
        self, process: str, instance: str, version: int
    ) -> TransitionRecord | None:
        found = self.transitions(process, instance)
        return next((one for one in found if one.version == version), None)

    def refusal(self, sequence: int) -> RefusalRecord | None:
        """A refusal is taken at once, so none is left."""
        del sequence
        return None

    def held_back(self, timer: TimerRecord) -> CommandRecord | None:
        held = self._held_back.get(timer.name)
        return None if held is None else held.command

    def timer_of(self, timer: TimerRecord) -> TimerRecord | None:
        """The timeout that the scenario speaks of; no other one is due."""
        return self._timeouts[timer.instance, timer.name] if timer.name == self._due else None

    def transitions(self, process: str, instance: str) -> list[TransitionRecord]:
        del process
        return [one.transition for one in self.changes if one.instance == instance]
