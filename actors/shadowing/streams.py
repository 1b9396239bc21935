"""The stream of an aggregate through given code, beside what is stored of it.

Its events are applied one after the other, which is how the given code would load the aggregate.
A command that an instance issued is kept, and is carried out again by the aggregate as its events
had left it: what it makes now is compared with what it made. Of a command from outside the store
has a digest, so its events are applied and no more. A state is stored where there is a snapshot.
"""

from __future__ import annotations

from bdb import BdbQuit
from collections.abc import Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
from msgspec import Struct

from ..errors import InvalidMessage, UnknownMessage, type_of_error
from ..messages.types import UnknownEvent
from ..model.plans import AggregatePlan
from ..store import erased_at
from .answering import answer, between, kept_command, refusal, stored
from .differences import Found, dropped_fields, of_fields
from .guard import guard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..authoring.aggregate import Aggregate
    from ..model.aggregate_definition import AggregateDefinition
    from ..model.registry import Registry
    from ..store import EventRecord, PageReads, TransitionRecord
    from .answering import Answer, Answered, Kept

__all__ = ["Met", "StreamLife", "Streams"]

PAGE = 256
"""Events of a stream that are read at a time."""

MOST = 1_000
"""Events of a stream up to which a refused command is tried again: all are applied for it."""


class Met(NamedTuple):
    """What was found at one place of a stream.

    Attributes:
        version: of the event, or of the first that a command made or would make
        handler: the method
        found: what differs
        is_steady: whether it is the same when it is done once more

    """

    version: int
    handler: str
    found: Found
    is_steady: bool = True


class StreamLife:
    """What came of going through one stream.

    Attributes:
        events: how many were applied
        commands: how many were carried out again
        not_kept: how many made events, and are not kept
        met: all that was found
        reached: what methods reached for outside: the version, the method, and what for

    """

    __slots__ = ("commands", "events", "met", "not_kept", "reached")

    def __init__(self) -> None:
        self.events = 0
        self.commands = 0
        self.not_kept = 0
        self.met: list[Met] = []
        self.reached: list[tuple[int, str, str]] = []


class _Applied(Struct, frozen=True, gc=False):
    """What came of applying an event: what hinders it, the method, and what it reached for."""

    found: Found | None = None
    handler: str = ""
    reached: Sequence[str] = ()


class Streams:
    """Goes through the streams of a store's aggregates.

    Args:
        registry: the classes that decide
        stores: one, or the partitions of a divided store; they are only read

    """

    def __init__(self, registry: Registry, stores: Sequence[PageReads]) -> None:
        self._registry = registry
        self._stores = stores
        self._watch = guard()
        self._plans = {
            one.category: AggregatePlan(one, registry) for one in registry.aggregates.values()
        }
        self.handled: set[tuple[str, str]] = set()
        """The methods that were tried, by category."""

    def of(
        self, definition: AggregateDefinition, first: EventRecord, store: PageReads
    ) -> StreamLife:
        """Go through a stream.

        Args:
            definition: of the aggregate
            first: of its events that are there
            store: where the stream is

        Raises:
            CorruptRecord: an event of it is damaged

        """
        life, plan, stream = StreamLife(), self._plans[definition.category], first.stream
        snapshot = store.read_snapshot(stream)
        aggregate = definition.begin(stream)
        for cause, records in _by_cause(store, first):
            if _is_any_erased(records):
                # What it came to is not known any more.
                break
            if records[0].version > aggregate.version + 1:
                # What made these may have made others, which were pruned.
                if not _began_behind(life, plan, aggregate, records[0], snapshot):
                    break
            elif cause is not None:
                self._carry_out_again(life, plan, aggregate, cause, records)
            for record in records:
                # The snapshot that stands for what was pruned may be of later.
                if record.version <= aggregate.version:
                    continue
                life.events += 1
                if not self._go_on(life, plan, aggregate, record):
                    return life
                if snapshot is not None and snapshot[0] == record.version:
                    self._compare_state(life, plan, aggregate, store, snapshot[1])
        return life

    # Events

    def _go_on(
        self, life: StreamLife, plan: AggregatePlan, aggregate: Aggregate, record: EventRecord
    ) -> bool:
        """Apply an event; false if that cannot be, so that the aggregate cannot be loaded."""
        applied = self._apply(plan, aggregate, record)
        if applied.reached:
            life.reached += [(record.version, applied.handler, one) for one in applied.reached]
        # What was published into its stream, and has no class, may have had none before.
        is_doubtful = record.causation_id is None and not applied.handler
        if applied.found is not None and not applied.reached and not is_doubtful:
            life.met.append(Met(record.version, applied.handler, applied.found))
        return applied.found is None

    def _apply(self, plan: AggregatePlan, aggregate: Aggregate, record: EventRecord) -> _Applied:
        kind, definition = self._registry.name_today(record.type), plan.definition
        try:
            event = self._registry.load_event(record)
        except (InvalidMessage, UnknownMessage) as error:
            return _Applied(Found("unreadable", kind, f"{kind} cannot be read", "", str(error)))
        if type(event) is UnknownEvent:
            mend = self._registry.mend_for(record.type)
            return _Applied(Found("unreadable", kind, f"{kind} has no class", "", mend))
        applier = definition.appliers.get(type(event))
        if applier is None:
            definition.evolve(aggregate, event)
            return _Applied()
        handler = getattr(applier, "__name__", "")
        self.handled.add((definition.category, handler))
        found, watch, refused = None, self._watch, list[str]()
        watch.refused = refused
        try:
            definition.evolve(aggregate, event)
        except (KeyboardInterrupt, BdbQuit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what comes of it
            why = type_of_error(error)
            how = f"raises {why} when {kind} is applied"
            found = Found("refusals", why, how, "", f"{why}: {error}")
        finally:
            watch.refused = None
        return _Applied(found, handler, tuple(dict.fromkeys(refused)) if refused else ())

    # States

    def _compare_state(
        self,
        life: StreamLife,
        plan: AggregatePlan,
        aggregate: Aggregate,
        store: PageReads,
        packed: bytes,
    ) -> None:
        """Compare what the events come to with the snapshot of what they came to."""
        state, (_, kept) = plan.definition.state, msgpack.unpackb(packed)
        try:
            now, values = state.exchange(dict(aggregate.__dict__))
            if now == kept:
                return
            before: dict[str, Any] = msgpack.unpackb(kept, strict_map_key=False)
            read = state.load(kept)
        except InvalidMessage as error:
            how = "its state is of other types"
            life.met.append(Met(aggregate.version, "", Found("state", "", how, "", str(error))))
            return
        # A new field has its default, and what its events make of it.
        was = {name: read.get(name, value) for name, value in before.items()}
        found = [*of_fields(was, values), *dropped_fields(was, values)]
        if found:
            again = self._loaded_again(plan, aggregate, store)
            by_chance = {one.subject for one in of_fields(values, again)}
            life.met += [
                Met(aggregate.version, "", one, is_steady=one.subject not in by_chance)
                for one in found
            ]

    def _loaded_again(
        self, plan: AggregatePlan, aggregate: Aggregate, store: PageReads
    ) -> dict[str, Any]:
        """The fields once more, by applying the same events."""
        stream = f"{plan.definition.category}-{aggregate.id}"
        again = plan.definition.begin(stream)
        for record in store.scan_stream(stream):
            if record.version > aggregate.version:
                break
            self._apply(plan, again, record)
        return plan.definition.state.exchange(dict(again.__dict__))[1]

    # Commands

    def _answered(
        self, plan: AggregatePlan, aggregate: Aggregate, kept: Kept, stream: str
    ) -> Answered:
        given = answer(plan, aggregate, kept, stream)
        if given.handler:
            self.handled.add((plan.definition.category, given.handler))
        return given

    def _carry_out_again(
        self,
        life: StreamLife,
        plan: AggregatePlan,
        aggregate: Aggregate,
        cause: str,
        records: list[EventRecord],
    ) -> None:
        """Carry out what made some events again, if it is kept."""
        kept = kept_command(self._stores, cause)
        if kept is None or erased_at(kept.data) is not None:
            life.not_kept += 1
            return
        life.commands += 1
        version, stream = records[0].version, records[0].stream
        now = self._answered(plan, aggregate, kept, stream)
        if now.answer.packed == [(one.type, one.data) for one in records] and not now.reached:
            return
        if now.reached:
            life.reached += [(version, now.handler, one) for one in now.reached]
            # What it would have done outside is not known, and so is what comes of it.
            return
        try:
            was = stored(self._registry, records)
        except (InvalidMessage, UnknownMessage):
            # It is told where the event is applied.
            return
        found = between(was, now.answer)
        if found:
            by_chance = self._by_chance(plan, aggregate, kept, stream, now.answer)
            life.met += [
                Met(version, now.handler, one, (one.kind, one.subject) not in by_chance)
                for one in found
            ]

    def _by_chance(
        self, plan: AggregatePlan, aggregate: Aggregate, kept: Kept, stream: str, now: Answer
    ) -> set[tuple[str, str]]:
        """What an answer differs in from itself."""
        again = self._answered(plan, aggregate, kept, stream).answer
        return {(one.kind, one.subject) for one in between(now, again)}

    def refused_again(self, transition: TransitionRecord) -> tuple[str, list[Met]] | None:
        """Carry out a command again that was refused, and whose instance was told.

        The log does not say at which version of its stream: at one between when the command was
        issued and when the instance was told. So a difference is one that is there at all of them.

        Args:
            transition: that the refusal made

        Returns:
            the stream, and what differs; None if the command cannot be tried

        Raises:
            CorruptRecord: what is stored is damaged

        """
        kept = kept_command(self._stores, transition.cause)
        if kept is None or erased_at(kept.data) is not None:
            return None
        try:
            command = self._registry.load_command(kept.type, kept.data)
            plan = self._plans[self._registry.taker_of(type(command)).category]
            stream = plan.definition.stream_of(command)
        except (InvalidMessage, UnknownMessage):
            # The instance tells of it.
            return None
        partition = self._stores[0].partition
        store = self._stores[0 if partition is None else partition.of_stream(stream)]
        records = store.read_stream(stream, 0, MOST)
        first = 0
        if partition is None:
            # The clocks of several machines are not the same to the microsecond.
            records = [one for one in records if one.time <= transition.time]
            first = sum(one.time < kept.time for one in records)
        if len(records) == MOST or (not records and store.last_version(stream)):
            return None
        if _is_any_erased(records):
            return None
        aggregate, found = plan.definition.begin(stream), list[Met]()
        for version in range(len(records) + 1):
            if version >= first:
                met = self._refused_at(plan, aggregate, kept, stream, transition.note or "")
                if not met:
                    return stream, []
                found = found or met
            if version < len(records):
                record = records[version]
                is_next = record.version == aggregate.version + 1
                if not is_next or self._apply(plan, aggregate, record).found:
                    return None
        return stream, found

    def _refused_at(
        self, plan: AggregatePlan, aggregate: Aggregate, kept: Kept, stream: str, reason: str
    ) -> list[Met]:
        """What differs if a refused command is carried out by an aggregate as it is."""
        now = self._answered(plan, aggregate, kept, stream)
        if now.reached:
            return []
        found = between(refusal(reason), now.answer)
        by_chance = self._by_chance(plan, aggregate, kept, stream, now.answer) if found else set()
        return [
            Met(aggregate.version + 1, now.handler, one, (one.kind, one.subject) not in by_chance)
            for one in found
        ]


def _by_cause(
    store: PageReads, first: EventRecord
) -> Iterable[tuple[str | None, list[EventRecord]]]:
    """The events of a stream from one of them on, together with those of the same cause."""
    rest = store.read_stream(first.stream, first.version, PAGE)
    if not rest:
        # Most streams have no more than that.
        return ((first.causation_id, [first]),)
    events = chain((first,), rest)
    if len(rest) == PAGE:
        events = chain(events, store.scan_stream(first.stream, rest[-1].version))
    groups = groupby(events, key=lambda one: one.causation_id)
    return ((cause, list(made)) for cause, made in groups)


def _is_any_erased(records: Iterable[EventRecord]) -> bool:
    for one in records:  # noqa: SIM110 - `any` would cost a generator, and most are one
        if erased_at(one.data) is not None:
            return True
    return False


def _began_behind(
    life: StreamLife,
    plan: AggregatePlan,
    aggregate: Aggregate,
    first: EventRecord,
    snapshot: tuple[int, bytes] | None,
) -> bool:
    """Begin where the events begin that were not pruned; false if that cannot be."""
    if snapshot is None:
        # It was pruned whole, and its versions went on.
        aggregate._own.version = first.version - 1  # noqa: SLF001 - a friend
        return True
    plan.definition.recall(aggregate, *snapshot, whoever_made_it=True)
    if aggregate.version == snapshot[0]:
        return True
    how = "the snapshot that stands for what was pruned cannot be read"
    life.met.append(Met(snapshot[0], "", Found("unreadable", "snapshot", how, "", "")))
    return False
