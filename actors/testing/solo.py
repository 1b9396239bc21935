"""One process manager by itself: the real router and instances, on plain dictionaries.

What an event does to an instance is decided in `InstanceActor` and nowhere else. Here it runs with
one object in the places of the dispatcher, the journal, the store, the command queue and the
timer service, which does at once what these do in time; nothing is awaited and nothing is on disk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..core.stimuli import CommandRefused, InstanceStimulus, TimerDue
from ..engine.instance_actor import InstanceActor
from ..engine.router import Router
from ..errors import UnknownMessage
from ..messages.codec import dump
from ..store import Committed, EventRecord, RefusalRecord, TimerRecord, event_id_at

if TYPE_CHECKING:
    from ..messages.types import Command, Event
    from ..model.process_definition import ProcessDefinition
    from ..model.registry import Registry
    from ..store import Block, CommandRecord, Step, StepExtras, TransitionRecord

__all__ = ["Change", "Solo"]


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


class _Instance(InstanceActor):
    """An instance whose errors reach the test instead of being tried again or parked."""

    def _fail(self, stimulus: InstanceStimulus, error: BaseException, *_: Any) -> Step:
        del stimulus
        raise error

    def _park(self, stimulus: InstanceStimulus, error: BaseException, *_: Any, **__: Any) -> Step:
        del stimulus
        raise error


class Solo:
    """Carries out what happens to the instances of one process manager, one thing at a time.

    Args:
        definition: of the process manager
        registry: of the domains
        now: the time, in microseconds

    """

    def __init__(self, definition: ProcessDefinition, registry: Registry, now: int) -> None:
        self.registry = registry
        self.time = now
        self.changes: list[Change] = []
        """Every transition there was."""
        self.instances: dict[str, _Instance] = {}
        # As an actor's journal, its list stays the same object.
        self.pending: list[Any] = []
        self._definition = definition
        self._ready: deque[Any] = deque()
        self._log: list[EventRecord] = []
        self._transitions: dict[str, TransitionRecord] = {}
        self._waiting: dict[str, list[int]] = {}
        self._keys: dict[tuple[str, str], set[str]] = {}
        self._held_back: dict[str, TimerRecord] = {}
        self._issued: list[tuple[Command, CommandRecord]] = []
        # Whatever the router asks of its surroundings, it asks here.
        everything: Any = self
        self.dispatcher = self.journal = self.store = self.residency = everything
        self._router = Router(
            definition, everything, everything, None, max_in_flight=1, max_chain=1
        )
        self._router.timer_service = everything

    # What happens

    def publish(self, event: Event, stream: str) -> list[InstanceStimulus]:
        """An event comes; returns what it was delivered as.

        Raises:
            InvalidMessage: a field does not fit its annotation
            Exception: what a handler raised

        """
        data, shared = dump(event)
        version = 1 + sum(one.stream == stream for one in self._log)
        event_id = event_id_at(stream, version)
        record = EventRecord(
            self.registry.name_of(type(event), self._definition),
            stream,
            version,
            self.time,
            data,
            event_id,
            self._log[0].event_id if self._log else event_id,
            position=len(self._log) + 1,
            message=shared,
        )
        self._log.append(record)
        return self._carry_out(self._router.instances_of(record))

    def fall_due(self, name: str) -> list[InstanceStimulus]:
        """A timeout's time has come; nothing is delivered if no instance has set it.

        Raises:
            ValueError: several instances have set it

        """
        having = [one for one in self.instances.values() if name in one.timers]
        for one, other in pairwise(having):
            raise ValueError(
                f"both {one.instance!r} and {other.instance!r} have set the timeout {name!r}, so "
                f"it is not clear whose is due; let the scenario speak of one instance"
            )
        for one in having:
            due = one.timers[name]
            self.time = max(self.time, due)
            self._let_leave()
            timer = TimerRecord(due, self._definition.name, one.instance, name, "timeout")
            return self._carry_out([TimerDue(timer=timer, key=b"", actor=one.instance)])
        return []

    def refuse(self, command: Command, reason: str) -> list[InstanceStimulus]:
        """An aggregate refuses a command that was issued before.

        Raises:
            UnknownMessage: no instance issued it

        """
        for issued, record in reversed(self._issued):
            if issued == command:
                refusal = RefusalRecord(record, reason, sequence=1)
                return self._carry_out([CommandRefused(refusal=refusal, actor=record.instance)])
        raise UnknownMessage(
            f"{self._definition.cls.__qualname__} has not issued {command!r}, so nobody can have "
            f"refused it; give first what makes it issue that"
        )

    def _carry_out(self, stimuli: list[Any]) -> list[InstanceStimulus]:
        for stimulus in stimuli:
            name = stimulus.actor
            actor = self.instances.get(name)
            if actor is None:
                actor = self.instances[name] = _Instance(self._router, name)
            stimulus.actor = actor
            actor.sent += 1
            actor.post(stimulus)
        while self._ready or self.pending:
            while self._ready:
                self._ready.popleft().take_turn()
            handed = self.pending.copy()
            self.pending.clear()
            for stimulus in handed:
                self._write(stimulus.step)
                stimulus.committed(Committed())
        return stimuli

    def _let_leave(self) -> None:
        for name in [name for name, one in self._held_back.items() if one.due <= self.time]:
            del self._held_back[name]

    def _write(self, step: Step) -> None:
        """What a commit does."""
        extras = step.extras
        if step.wait:
            self._waiting.setdefault(step.instance, []).append(step.wait)
        if extras is not None and extras.unwait:
            self._waiting[step.instance].remove(extras.unwait)
        if step.transition is None:
            return
        self._transitions[step.instance] = step.transition
        change = Change(step.instance, step.transition)
        self.changes.append(change)
        records = {one.command_id: (one, 0) for one in step.enqueue or ()}
        if extras is not None:
            records |= self._write_extras(step.instance, extras, change)
        # In the order in which they were issued, whether held back or not.
        for command_id, kind, data in step.transition.commands:
            if command_id in records:
                record, due = records[command_id]
                command = self.registry.load_command(kind, data)
                change.issued.append((command, due))
                self._issued.append((command, record))

    def _write_extras(
        self, instance: str, extras: StepExtras, change: Change
    ) -> dict[str, tuple[CommandRecord, int]]:
        """Note what is due later; returns the commands among it."""
        for timer in extras.cancel:
            held = self._held_back.pop(timer.name, None)
            if held is not None and held.command is not None:
                command = self.registry.load_command(held.command.type, held.command.data)
                change.withdrawn.append(command)
        commands: dict[str, tuple[CommandRecord, int]] = {}
        for timer in extras.timers:
            if timer.command is None:
                change.set[timer.name] = timer.due
            else:
                self._held_back[timer.name] = timer
                commands[timer.name] = timer.command, timer.due
        change.cancelled = [
            one.name
            for one in extras.cancel
            if one.name in self._definition.timeouts and one.name not in change.set
        ]
        for key, before, after in extras.index:
            if before is not None:
                self._keys[key, before].discard(instance)
            if after is not None:
                self._keys.setdefault((key, after), set()).add(instance)
        return commands

    # In the place of the dispatcher and the command queue

    def schedule(self, actor: object) -> None:
        # The router would look for more events; here they are brought to it.
        if isinstance(actor, _Instance):
            actor.scheduled = True
            self._ready.append(actor)

    def now(self) -> int:
        return self.time

    def queued(self, commands: list[CommandRecord]) -> None:
        """Nobody carries them out."""

    # In the place of the timer service

    def notice(self, timers: list[TimerRecord]) -> None:
        """Nothing rings by itself."""

    def finished(self, key: bytes) -> None:
        """As `notice`."""

    def release(self, process: str, instance: str) -> None:
        """As `notice`."""

    def held_back(self, timer: TimerRecord) -> CommandRecord | None:
        held = self._held_back.get(timer.name)
        return None if held is None else held.command

    # In the place of the store

    def checkpoint(self, router: str) -> int:
        del router
        return 0

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        del process
        return self._transitions.get(instance)

    def last_waiting(self, process: str, instance: str) -> int:
        del process
        return max(self._waiting.get(instance, ()), default=0)

    def read_waiting(
        self, process: str, instance: str, after: int, limit: int
    ) -> tuple[Block | None, list[int]]:
        del process
        positions = [one for one in self._waiting.get(instance, ()) if one > after]
        return None, positions[:limit]

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        return self._log[after : after + limit]

    def last_parked(self, process: str, instance: str) -> int:
        del process, instance
        return 0

    def any_blocked(self, process: str) -> bool:
        del process
        return False

    def read_index(self, process: str, field: str, value: str) -> list[str]:
        del process
        return sorted(self._keys.get((field, value), ()))

    def read_refusals(self, after: int, limit: int) -> list[RefusalRecord]:
        del after, limit
        return []
