"""Looking at a store: what `get`, `history` and `events` answer, beside a writer or without one."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, cast

from ..authoring.process_manager import ProcessManager
from ..clock import from_micros, to_micros
from ..core.amending import actor_in
from ..engine.aggregate_actor import load_aggregate
from ..errors import Erased, InvalidMessage, UnknownMessage, shown
from ..messages.codec import differ, load_headers
from ..messages.identifiers import id_of, plain_text
from ..model.plans import AggregatePlan
from ..model.subscriptions import Subscription
from ..store import (
    PRUNED,
    CorruptRecord,
    EventRecord,
    InvalidName,
    ParkedRecord,
    category_of,
    check_name,
)
from .pruned import refuse_pruned_behind, unpruned
from .views import (
    AggregateView,
    Counts,
    Erasure,
    InstanceTransition,
    InstanceView,
    Moment,
    Parked,
    ParkedKind,
    StoredEvent,
    Timeout,
    Transition,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from ..authoring.aggregate import Aggregate
    from ..model.aggregate_definition import AggregateDefinition
    from ..model.process_definition import ProcessDefinition
    from ..model.registry import Registry
    from ..store import ErasureRecord, Store, TimerRecord, TransitionRecord
    from .log_end import Found

__all__ = ["UNREADABLE", "Reader", "erasure_of", "failed_starts"]

NEVER = (1 << 63) - 1

UNREADABLE = (CorruptRecord, Erased, InvalidMessage, UnknownMessage)
"""What is raised about one record; a listing goes on past it."""


class Reader:
    """Answers questions from the store alone, so that only what is on disk is seen."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def get(
        self, cls: type[ProcessManager | Aggregate], name: object
    ) -> InstanceView | AggregateView | None:
        """One instance or aggregate, or None if nothing ever happened to it."""
        if issubclass(type(cls), type) and issubclass(cls, ProcessManager):
            process = self._registry.process(cls)
            return self._instance(process, process.id_of(name))
        aggregate = self._registry.aggregate(cast("type[Aggregate]", cls))
        return self._aggregate(aggregate, id_of(name, f"for {cls.__name__}"))

    def history(self, cls: type[ProcessManager], name: object) -> Iterator[Transition]:
        """The transitions of one instance, oldest first."""
        definition = self._registry.process(cls)
        return self._transitions(definition, definition.id_of(name))

    def at(self, cls: type[ProcessManager], name: object, version: int) -> Moment | None:
        """One instance as a transition left it, or None if nothing ever happened to it."""
        definition = self._registry.process(cls)
        instance = definition.id_of(name)
        last = self._store.last_transition(definition.name, instance)
        if last is None:
            return None
        if type(version) is not int or not 1 <= version <= last.version:
            raise ValueError(
                f"version={shown(version)}: {definition.name} {instance!r} has the versions 1 to "
                f"{last.version}"
            )
        known: list[StoredEvent] = []
        for record in self._store.scan_transitions(definition.name, instance):
            event = self._store.event_at(record.position) if record.position else None
            if event is not None:
                known.append(self._event(event))
            if record.version == version:
                break
        load = self._registry.load_command
        return Moment(
            instance,
            definition.state_of(record),
            record.version,
            record.is_complete,
            from_micros(record.time),
            record.handler,
            record.cause,
            tuple(load(kind, data) for _, kind, data in record.commands),
            {
                what: from_micros(due)
                for what, due in (record.timers or {}).items()
                if what in definition.timeouts
            },
            tuple(known),
            _cls=definition.cls,
            _personal=definition.state.personal,
        )

    def events(
        self, stream_or_category: str | None, after: int, *, past_pruned: bool = False
    ) -> Iterator[StoredEvent]:
        """Events of the log, of a category, or of a stream, in order of position."""
        if not issubclass(type(after), int) or not 0 <= after <= NEVER:
            raise InvalidMessage(f"after={shown(after)} is no position; give a whole number from 0")
        if stream_or_category is None:
            return self._log(None, self._behind(after, past_pruned=past_pruned))
        name = plain_text(stream_or_category)
        if name is None:
            raise InvalidMessage(
                f"{shown(stream_or_category)} is no stream or category; give a str"
            )
        check_name("stream or category", name)
        if "-" in name:
            # Its versions say where it has gaps.
            return self._stream(name, after)
        return self._log(name, self._behind(after, past_pruned=past_pruned))

    def _behind(
        self, after: int, *, past_pruned: bool
    ) -> Iterator[tuple[int, EventRecord | CorruptRecord]]:
        """The log behind a position; from the beginning on, it is what there is."""
        if not after or past_pruned:
            return self._store.scan_log_through(after)
        refuse_pruned_behind(self._store, after)
        return unpruned(self._store, after)

    def find(
        self,
        cls: type[ProcessManager],
        fields: Mapping[str, Any],
        *,
        complete: bool | None,
        suspended: bool | None,
    ) -> Iterator[InstanceView]:
        """Instances by completion, suspension and the values of fields."""
        if not issubclass(type(cls), type):
            raise TypeError(f"find: {shown(cls)} is no class; give a process manager")
        if not issubclass(cls, ProcessManager):
            raise TypeError(
                f"find lists the instances of process managers, and {cls.__qualname__} is none; "
                f"use events() with its category to see which aggregates there are"
            )
        definition = self._registry.process(cls)
        unknown = fields.keys() - definition.state.fields.keys()
        if unknown:
            raise TypeError(
                f"find: {cls.__qualname__} has no field {min(unknown)!r}; "
                f"it has {', '.join(definition.state.fields) or 'none'}"
            )
        return self._found(definition, fields, complete=complete, suspended=suspended)

    def _found(
        self,
        definition: ProcessDefinition,
        fields: Mapping[str, Any],
        *,
        complete: bool | None,
        suspended: bool | None,
    ) -> Iterator[InstanceView]:
        names = self._candidates(definition, fields, complete, suspended)
        return self.found_among(definition, names, fields, complete=complete, suspended=suspended)

    def found_among(
        self,
        definition: ProcessDefinition,
        names: Iterable[str | CorruptRecord],
        fields: Mapping[str, Any],
        *,
        complete: bool | None,
        suspended: bool | None,
    ) -> Iterator[InstanceView]:
        """Those of some instances that are as they are looked for."""
        for name in names:
            if isinstance(name, CorruptRecord):
                yield InstanceView.unread(name)
                continue
            try:
                last = self._store.last_transition(definition.name, name)
                if complete not in {None, last is not None and last.is_complete}:
                    continue
                if last is not None and last.cause == PRUNED:
                    continue
                state = self._state(definition, name, last)
                if any(_is_other(definition, state, *one) for one in fields.items()):
                    continue
                view = self._view(definition, name, last, state)
            except UNREADABLE as error:
                # Whether it is one of those that are looked for is not known.
                view = self._unread(definition, name, error)
            if view is not None and (
                view.error is not None or suspended in {None, view.status == "suspended"}
            ):
                yield view

    def _candidates(
        self,
        definition: ProcessDefinition,
        fields: Mapping[str, Any],
        complete: bool | None,
        suspended: bool | None,
    ) -> Iterator[str | CorruptRecord]:
        """The instances to look at, by the shortest way."""
        for field in definition.state.indexed:
            # A key that is not set, or no id, is not in the index: then all are looked at.
            with suppress(InvalidMessage, InvalidName):
                if field in fields:
                    key = id_of(fields[field], field)
                    return self._store.scan_index(definition.name, field, key)
        if suspended:
            return iter(sorted(self._store.scan_blocked(definition.name)))
        started = (one for _, one in self._store.scan_started(definition.name))
        if complete:
            return started
        # Those are few, and rarely is one among them that never started.
        others = failed_starts(self._store, definition.name)
        # Without those of them that start while others are listed.
        return chain(sorted(others), (one for one in started if one not in others))

    def passed(
        self, definition: ProcessDefinition, name: str, seen: int | None
    ) -> Iterator[InstanceView]:
        """An instance as each transition left it behind the one that was seen, and as it is now.

        Args:
            definition: of the process manager
            name: of the instance
            seen: the version of the newest that was seen; with None, only as it is now

        """
        store, process = self._store, definition.name
        last = store.last_transition(process, name)
        if last is not None and seen is not None and last.version > seen:
            last = None
            for record in store.scan_transitions(process, name, seen):
                if last is not None:
                    state, is_complete = self._state(definition, name, last), last.is_complete
                    status: Literal["running", "complete"] = (
                        "complete" if is_complete else "running"
                    )
                    yield InstanceView(
                        name,
                        state,
                        last.version,
                        is_complete,
                        status,
                        _cls=definition.cls,
                        _personal=definition.state.personal,
                    )
                last = record
        view = self._view(definition, name, last, self._state(definition, name, last))
        if view is not None:
            yield view

    def _instance(self, definition: ProcessDefinition, name: str) -> InstanceView | None:
        last = self._store.last_transition(definition.name, name)
        return self._view(definition, name, last, self._state(definition, name, last))

    def _state(
        self, definition: ProcessDefinition, name: str, last: TransitionRecord | None
    ) -> dict[str, Any]:
        """The fields after a transition; before the first, those that a start sets."""
        if last is not None and last.cause == PRUNED:
            return {}
        if last is not None:
            return definition.state_of(last)
        block = self._store.block_of(definition.name, name)
        record = None if block is None else self._store.event_at(block.position)
        if record is not None:
            subscription = Subscription(definition, self._registry, definition.handlers)
            # If it cannot be read, or has no handler any more, that is why it failed.
            with suppress(*UNREADABLE):
                return definition.begin(name, subscription.load(record)).__dict__
        return definition.state.fresh()

    def _view(
        self,
        definition: ProcessDefinition,
        name: str,
        last: TransitionRecord | None,
        state: dict[str, Any],
    ) -> InstanceView | None:
        block = self._store.block_of(definition.name, name)
        if last is None and block is None:
            return None
        status: Literal["running", "complete", "suspended"] = "running"
        if block is not None and block.kind == "parked":
            status = "suspended"
        elif last is not None and last.is_complete:
            status = "complete"
        version, is_complete = (0, False) if last is None else (last.version, last.is_complete)
        pruned_at = None
        if last is not None and last.cause == PRUNED:
            pruned_at = from_micros(last.time)
        return InstanceView(
            name,
            state,
            version,
            is_complete,
            status,
            pruned_at=pruned_at,
            _cls=definition.cls,
            _personal=definition.state.personal,
        )

    def _unread(self, definition: ProcessDefinition, name: str, error: Exception) -> InstanceView:
        """An instance that cannot be read; its newest transition may tell something."""
        known: dict[str, Any] = {"id": name}
        with suppress(CorruptRecord):
            last = self._store.last_transition(definition.name, name)
            if last is not None:
                known |= {"version": last.version, "is_complete": last.is_complete}
        return InstanceView.unread(error, **known)

    def _aggregate(self, definition: AggregateDefinition, name: str) -> AggregateView | None:
        plan = AggregatePlan(definition, self._registry)
        stream = f"{definition.category}-{name}"
        aggregate = load_aggregate(plan, stream, self._store)
        if not aggregate.version:
            return None
        is_pruned = self._store.event_in(stream, aggregate.version) is None and (
            self._store.read_snapshot(stream) is None
        )
        state = {} if is_pruned else dict(aggregate.__dict__)
        return AggregateView(
            name,
            state,
            aggregate.version,
            is_pruned=is_pruned,
            _cls=definition.cls,
            _personal=definition.state.personal,
        )

    def counts(self, cls: type[ProcessManager] | None) -> dict[str, Counts]:
        """How many instances there are, and what is parked, by the names of process managers."""
        wanted = None if cls is None else self._registry.process(cls).name
        names = [one.name for one in self._registry.processes.values()]
        statuses: dict[str, dict[str, int]] = {name: {} for name in names}
        parked: dict[str, dict[ParkedKind, int]] = {}
        for of, (process, *kind), count in self._store.read_counts():
            if of == "instance":
                statuses.setdefault(process, {})[kind[0]] = count
            elif of == "parked":
                parked.setdefault(process, {})[ParkedKind(*kind)] = count
        return {
            name: Counts(**statuses.get(name, {}), parked=parked.get(name, {}))
            for name in {**statuses, **parked}
            if wanted in {None, name}
        }

    def parked(self, *, decided: bool) -> Iterator[Parked]:
        """What is parked, or was until an operator decided."""
        for number, record in self._store.scan_parked_through(decided=decided):
            if isinstance(record, CorruptRecord):
                yield Parked.unread(record, id=number)
                continue
            yield _parked(record, record.number)

    def erasures(self) -> Iterator[Erasure]:
        """What was erased, the oldest first."""
        return map(erasure_of, self._store.scan_erasures())

    def timeouts(
        self, cls: type[ProcessManager] | None, name: object, before: datetime | None
    ) -> Iterator[Timeout]:
        """What is due later, in order of time."""
        definition = None if cls is None else self._registry.process(cls)
        process = None if definition is None else definition.name
        instance = None
        if name is not None:
            instance = definition.id_of(name) if definition else id_of(name, "of the instance")
        until = NEVER if before is None else to_micros(before)
        for due, timer in self._store.scan_timers_through(until):
            if isinstance(timer, CorruptRecord):
                # Whose it is is not known, so it may be this one's.
                yield Timeout.unread(timer, due=from_micros(due))
                continue
            if process not in {None, timer.process} or instance not in {None, timer.instance}:
                continue
            yield self._timeout(timer)

    def _timeout(self, timer: TimerRecord) -> Timeout:
        held = timer.command
        known: dict[str, Any] = {
            "process": timer.process,
            "instance": timer.instance,
            "name": timer.name,
            "kind": timer.kind,
            "due": from_micros(timer.due),
        }
        try:
            if held is not None:
                known["command"] = self._registry.load_command(held.type, held.data)
        except UNREADABLE as error:
            return Timeout.unread(error, **known)
        return Timeout(**known)

    def _transitions(self, definition: ProcessDefinition, name: str) -> Iterator[Transition]:
        for version, record in self._store.scan_transitions_through(definition.name, name):
            if isinstance(record, CorruptRecord):
                yield Transition.unread(record, version=version)
            else:
                yield self._transition(definition, record)

    def _transition(self, definition: ProcessDefinition, record: TransitionRecord) -> Transition:
        known = _known_of(record)
        try:
            known |= self._read_of(definition, record)
        except UNREADABLE as error:
            return Transition.unread(error, **known)
        return Transition(**known)

    def _read_of(self, definition: ProcessDefinition, record: TransitionRecord) -> dict[str, Any]:
        """What a transition says of a class's own: its commands, and the state after it."""
        load = self._registry.load_command
        commands = tuple(load(kind, data) for _, kind, data in record.commands)
        state = {} if record.cause == PRUNED else definition.state_of(record)
        return {"commands": commands, "state": state, "_personal": definition.state.personal}

    # What is found at the end of the log

    def found(self, found: Found, partitions: int) -> StoredEvent | InstanceTransition | Parked:
        """A record as it is shown to a follower of the runtime.

        Args:
            found: in this reader's log
            partitions: how many there are

        """
        record = found.record
        if isinstance(record, EventRecord):
            return self._event(record)
        if isinstance(record, tuple):
            return self._moved(found.partition, *record)
        parked_id = found.number * partitions + found.partition
        if isinstance(record, ParkedRecord):
            return _parked(record, parked_id)
        if found.kind == "event":
            return StoredEvent.unread(record, position=found.number, partition=found.partition)
        if found.kind == "parked":
            return Parked.unread(record, id=parked_id)
        return InstanceTransition.unread(record, partition=found.partition)

    def _moved(
        self, partition: int, process: str, instance: str, record: TransitionRecord
    ) -> InstanceTransition:
        known = _known_of(record)
        known |= {"process": process, "instance": instance, "partition": partition}
        try:
            definition = self._registry.process_named(process)
            if definition is None:
                raise UnknownMessage(f"the class of {process} is in no domain of this runtime")
            if record.base:
                # It is stored as what changed.
                whole = self._store.transition_at(process, instance, record.version)
                record = record if whole is None else whole
            known |= self._read_of(definition, record)
        except UNREADABLE as error:
            return InstanceTransition.unread(error, **known)
        return InstanceTransition(**known)

    def _stream(self, stream: str, after: int) -> Iterator[StoredEvent]:
        for version, record in self._store.scan_stream_through(stream):
            if isinstance(record, CorruptRecord):
                # Its position is not known, so it may be behind.
                yield StoredEvent.unread(record, stream=stream, version=version)
            elif record.position > after:
                yield self._event(record)

    def _log(
        self, category: str | None, log: Iterable[tuple[int, EventRecord | CorruptRecord]]
    ) -> Iterator[StoredEvent]:
        for position, record in log:
            if isinstance(record, CorruptRecord):
                # Its category is not known, so it may be this one.
                yield StoredEvent.unread(record, position=position)
            elif (category is None or category_of(record.stream) == category) and (
                # A copy is told of where it is an event of its stream.
                not record.sent_for
            ):
                yield self._event(record)

    def _event(self, record: EventRecord) -> StoredEvent:
        known: dict[str, Any] = {
            "event_id": record.event_id,
            "type": record.type,
            "stream": record.stream,
            "version": record.version,
            "position": record.position,
            "time": from_micros(record.time),
            "correlation_id": record.correlation_id,
            "causation_id": record.causation_id,
            "headers": load_headers(record.headers),
        }
        if self._store.partition is not None:
            known["partition"] = self._store.partition.number
        try:
            return StoredEvent(event=self._registry.load_event(record), **known)
        except UNREADABLE as error:
            return StoredEvent.unread(error, **known)


def _known_of(record: TransitionRecord) -> dict[str, Any]:
    """What a transition says without its class."""
    return {
        "version": record.version,
        "handler": record.handler,
        "is_complete": record.is_complete,
        "cause": record.cause,
        "time": from_micros(record.time),
        "correlation_id": record.correlation_id,
        "note": record.note,
        "by": actor_in(record),
    }


def _parked(record: ParkedRecord, parked_id: int) -> Parked:
    action, time, by = record.decision or (None, None, None)
    return Parked(
        id=parked_id,
        process=record.process,
        instance=record.instance,
        cause=record.cause,
        error=f"{record.error_type}: {record.error_text}",
        attempts=record.attempts,
        time=from_micros(record.time),
        handler=record.handler,
        place=record.place,
        decision=action,
        decided_at=None if time is None else from_micros(time),
        decided_by=by,
    )


_WHOLE = frozenset({list, tuple, set, frozenset, NoneType})
"""Of what type a value is that is looked for as the whole of a field that holds many."""


def erasure_of(record: ErasureRecord) -> Erasure:
    """What is shown of an erasure."""
    kind: Any = record.kind
    return Erasure(kind, record.name, record.id, from_micros(record.time), record.by)


def failed_starts(store: Store, process: str) -> set[str]:
    """The instances that failed before their first transition, and are suspended or tried again."""
    found = set()
    for name in store.scan_blocked(process):
        # One that cannot be read has started.
        with suppress(CorruptRecord):
            if store.last_transition(process, name) is None:
                found.add(name)
    return found


def _is_other(definition: ProcessDefinition, state: dict[str, Any], field: str, value: Any) -> bool:
    """Whether a field has not the value that is looked for; of a key that holds many, no member."""
    if field in definition.state.holding_many and type(value) not in _WHOLE:
        return all(differ(one, value) for one in state[field] or ())
    return differ(state[field], value)
