"""An instance as it was, with the aggregates that it had to do with, laid into another store."""

from __future__ import annotations

from collections import deque
from heapq import merge
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from ..core.decide import changed_keys
from ..errors import InvalidMessage, UnknownInstance, UnknownMessage
from ..model.beginnings import BEGIN
from ..store import (
    Append,
    CommandRecord,
    EventRecord,
    Step,
    StepExtras,
    StoreError,
    TimerRecord,
    event_id_at,
    is_issued_by,
    place_of_issue,
)
from .replaying import LifeReads, stored_life

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model.process_definition import ProcessDefinition
    from ..model.registry import Registry
    from ..store import Store, TransitionRecord

__all__ = ["lay_fork"]


class ForkReads(LifeReads, Protocol):
    """What a fork is made of: all partitions of a store, or the one."""

    def scan_stream(self, stream: str) -> Iterator[EventRecord]:
        """The events of a stream."""
        ...

    def is_beside(self, stream: str, position: int) -> bool:
        """Whether a stream is in the log that a position is of."""
        ...


def lay_fork(
    store: ForkReads,
    registry: Registry,
    definition: ProcessDefinition,
    instance: str,
    version: int,
    target: Store,
) -> None:
    """Lay an instance as a transition left it into another store, ready to go on.

    With it go the streams of all events that it had handled, and of the aggregates that it had sent
    commands to, up to what had happened by then. Commands whose answer had not come by then are in
    the queue, and what was due later is due. Other instances are left behind.

    Of what other partitions have, what had happened by then is told by what the instance handled
    later, by what its later commands caused, and else by time.

    Args:
        store: which is only read; all its partitions
        registry: reads what is stored
        definition: of the process manager
        instance: its id
        version: of the transition
        target: a new store, to be written to

    Raises:
        UnknownInstance: there is no such instance, or it has no such version
        StoreError: the target is not empty

    """
    if target.last_position() or target.last_sequences()[0]:
        raise StoreError("the store of a fork holds something already; give a place for a new one")
    life: list[tuple[TransitionRecord, EventRecord | None]] = []
    later: set[tuple[str, int]] = set()
    later_causes: set[str] = set()
    for transition, event in stored_life(store, definition.name, instance):
        if transition.version <= version:
            life.append((transition, event))
        elif event is not None:
            later.add((event.stream, event.version))
        else:
            later_causes.add(transition.cause)
    if not life or life[-1][0].version != version:
        raise UnknownInstance(f"{definition.name} {instance!r} has no version {version}")
    _Fork(store, registry, definition, instance, life, later, later_causes).lay(target)


class _Fork:
    """What goes into the other store."""

    def __init__(
        self,
        store: ForkReads,
        registry: Registry,
        definition: ProcessDefinition,
        instance: str,
        life: list[tuple[TransitionRecord, EventRecord | None]],
        later: set[tuple[str, int]],
        later_causes: set[str],
    ) -> None:
        self._store = store
        self._registry = registry
        self._definition = definition
        self._instance = instance
        self._life = life
        self._later = later
        self._last = life[-1][0]
        # Of each stream, the newest that the instance handled.
        self._handled: dict[str, int] = {}
        for _, event in life:
            if event is not None:
                newest = max(self._handled.get(event.stream, 0), event.version)
                self._handled[event.stream] = newest
        self._commands = {
            one.command_id: one for each, event in life for one in self._issued_by(each, event)
        }
        # Of what was issued, whose answer came by then, and whose came later.
        self._answered: set[str] = set()
        self._answered_later: set[str] = self._commands.keys() & later_causes

    def lay(self, target: Store) -> None:
        places: dict[tuple[str, int], int] = {}
        for event in self._in_order():
            is_given = event.event_id != event_id_at(event.stream, event.version)
            event.event_id = event.event_id if is_given else ""
            if event.depth and event.causation_id not in self._commands:
                # What another instance caused begins here.
                event.causation_id, event.depth = None, 0
            append = Append(event.stream, event.version - 1, [event], unique=is_given)
            target.hand_over(Step(append=append))
            places[event.stream, event.version] = event.position
        seen = 0
        for transition, cause in self._life:
            position = 0 if cause is None else places[cause.stream, cause.version]
            seen = max(seen, position)
            target.hand_over(self._step(transition, position, seen))
        last = len(places)
        checkpoints = dict.fromkeys((one.name for one in self._registry.processes.values()), last)
        checkpoints |= {f"{BEGIN}{name}": 0 for name in list(checkpoints)}
        target.close_commit(checkpoints)

    def _issued_by(
        self, transition: TransitionRecord, event: EventRecord | None
    ) -> Iterator[CommandRecord]:
        for command_id, kind, data in transition.commands:
            try:
                command = self._registry.load_command(kind, data)
                name, stream = self._registry.address(command)
            except (InvalidMessage, UnknownMessage):
                # No class here takes it any more.
                continue
            yield CommandRecord(
                command_id,
                name if name == self._registry.name_today(kind) else kind,
                stream,
                transition.time,
                data,
                transition.correlation_id,
                transition.cause,
                self._definition.name,
                self._instance,
                transition.version,
                headers=transition.headers if event is None else event.headers,
            )

    def _in_order(self) -> Iterator[EventRecord]:
        """The events of all streams that are concerned, as the instance met them."""
        streams = dict.fromkeys(self._handled)
        streams |= dict.fromkeys(one.stream for one in self._commands.values())
        left = {stream: deque(self._events_of(stream)) for stream in streams}
        for _, event in self._life:
            if event is not None:
                there = left[event.stream]
                while there and there[0].version <= event.version:
                    yield there.popleft()
        yield from merge(*left.values(), key=lambda one: one.time)

    def _events_of(self, stream: str) -> Iterator[EventRecord]:
        """The events of a stream up to what had happened by then."""
        for event in self._store.scan_stream(stream):
            if self._is_later(event):
                if event.causation_id in self._commands:
                    self._answered_later.add(event.causation_id)
                break
            self._answered.add(event.causation_id or "")
            yield event

    def _is_later(self, event: EventRecord) -> bool:
        last = self._last
        if event.version <= self._handled.get(event.stream, 0):
            return False
        if (event.stream, event.version) in self._later:
            return True
        if not self._store.is_beside(event.stream, last.seen):
            return event.time > last.time or self._comes_of_it(event)
        if event.position <= last.seen:
            return False
        if last.position or last.time < event.time:
            return True
        # A timeout comes behind all that was stored by then, and before what comes of it.
        return self._comes_of_it(event)

    def _comes_of_it(self, event: EventRecord) -> bool:
        """Whether a command caused an event that the last transition issued, or a later one."""
        issue = place_of_issue(event.causation_id or "")
        own = (self._definition.name, self._instance)
        return issue is not None and issue[:2] == own and issue.version >= self._last.version

    def _step(self, transition: TransitionRecord, position: int, seen: int) -> Step:
        is_last = transition is self._last
        timers = transition.timers or {}
        laid = replace(
            transition, position=position, seen=seen, base=0, change=None, weight=0, code=0
        )
        queued = [
            self._commands[command_id]
            for command_id, _, _ in transition.commands
            if command_id in self._commands
            and command_id not in timers
            and (is_last or command_id in self._answered_later - self._answered)
        ]
        step = Step(None, self._definition.name, self._instance, laid, queued)
        if is_last:
            step.extras = StepExtras(timers=list(self._timers(timers)), index=self._keys(laid))
        return step

    def _timers(self, timers: dict[str, int]) -> Iterator[TimerRecord]:
        name, instance = self._definition.name, self._instance
        for what, due in timers.items():
            if what in self._commands:
                yield TimerRecord(due, name, instance, what, "command", self._commands[what])
            elif not is_issued_by(what, name, instance):
                yield TimerRecord(due, name, instance, what, "timeout")

    def _keys(self, last: TransitionRecord) -> list[tuple[str, str | None, str | None]]:
        state = self._definition.state
        if not state.indexed:
            return []
        return changed_keys(None, state.keys_of(self._definition.state_of(last)))
