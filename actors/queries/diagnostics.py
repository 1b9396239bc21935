"""Why: what came of an event for everyone who listens to it, and what instances wait for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..clock import from_micros
from ..errors import InvalidMessage, UnknownMessage, UnreadableRecord
from ..model.code_ages import CodeAge, CodeAges
from ..model.design_rules import unheard_categories
from ..model.subscriptions import Subscriptions
from ..store import PASSED_OVER, CorruptRecord
from .pruned import refuse_pruned
from .reader import UNREADABLE, failed_starts
from .transitions import transition_of
from .views import Listed

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from datetime import datetime, timedelta

    from ..model.process_definition import ProcessDefinition
    from ..model.registry import Registry
    from ..model.subscriptions import LearntKey, Subscription
    from ..store import (
        Block,
        EventRecord,
        ParkedRecord,
        Store,
        TransitionRecord,
        UnmatchedRecord,
    )
    from .all_partitions import AllPartitions

__all__ = ["Explainer", "Explanation", "HeldEvent", "StuckInstance", "StuckInstances"]

CameOf: TypeAlias = Literal[
    "started",
    "stepped",
    "skipped: no instance",
    "skipped: complete",
    "skipped: by decision",
    "skipped",
    "held",
    "parked",
    "waiting behind a parked one",
    "waiting behind a retry",
    "waiting",
    "retrying",
    "not delivered yet",
    "not for us",
    "failed to correlate",
]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What came of one event for one instance. Its `str` says it in a line.

    Attributes:
        process: the process manager's name
        instance: the id that the event correlated to; None if it correlated to none
        how: by what, such as ``"event.order_id"``
        outcome: what came of it
        detail: more about that: the transition, the error, the number to retry or skip

    """

    process: str
    instance: str | None
    how: str
    outcome: CameOf
    detail: str = ""

    def __str__(self) -> str:
        who = self.process if self.instance is None else f"{self.process} {self.instance!r}"
        told = f" ({self.detail})" if self.detail else ""
        return f"{who}, by {self.how}: {self.outcome}{told}"


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that is held since no instance has its learnt key yet. Its `str` is a line.

    Attributes:
        event_id: of the event
        type: its wire name
        position: its place in the log
        time: when it was stored
        field: the learnt key by which it finds its instances
        values: what it names and no instance has
        until: when it is held no longer

    """

    event_id: str
    type: str
    position: int
    time: datetime
    field: str
    values: tuple[str, ...]
    until: datetime

    def __str__(self) -> str:
        named = " or ".join(map(repr, self.values))
        return (
            f"{self.event_id} ({self.type}) since {self.time:%Y-%m-%d %H:%M:%S}; waits for an "
            f"instance with {self.field} = {named}, until {self.until:%Y-%m-%d %H:%M:%S}"
        )


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StuckInstance(Listed):
    """An instance that has not moved for a while, and what it waits for. Its `str` is a line.

    Attributes:
        id: of the instance
        version: of its newest transition; 0 if it failed at its start
        handler: that made it; empty before the first
        time: when; of one that failed at its start, when the event came that should have started it
        timeouts: what is due, by name, with its time
        commands: commands that are held back, by id, with their times
        parked: the number of the parked event, timeout or refusal that suspends it
        error: of what is parked; or why the instance cannot be read, and then its id is known, and
            the rest as far as it could be read
        retry: when what failed is tried again
        code: whether today's code decided it: the ``"same"`` did, or an ``"older"`` or a
            ``"newer"`` one had a part in it since it started or was rebuilt for the last time; or
            it is ``"not comparable"``, since another version of Python compiled that code
        event: an event that is held, since no instance has its learnt key yet; then it is not known
            which instance waits for it, and the id is empty

    """

    id: str
    version: int
    handler: str
    time: datetime
    timeouts: dict[str, datetime]
    commands: dict[str, datetime]
    parked: int | None = None
    error: str | None = None
    retry: datetime | None = None
    code: CodeAge = "same"
    event: HeldEvent | None = None

    @property
    def waits_for_nothing(self) -> bool:
        """Whether nothing but a new event can move it."""
        return not (self.timeouts or self.commands or self.retry) and self.parked is None

    def __str__(self) -> str:
        try:
            version = self.version
        except UnreadableRecord:
            return f"{self.id}: cannot be read: {self.error}"
        if self.event is not None:
            return str(self.event)
        reasons = []
        if self.parked is not None:
            reasons.append(f"an operator to retry or skip {self.parked} ({self.error})")
        if self.retry is not None:
            reasons.append(f"another attempt at {self.retry:%Y-%m-%d %H:%M:%S}")
        reasons += [
            f"the timeout {name!r} at {due:%Y-%m-%d %H:%M:%S}"
            for name, due in self.timeouts.items()
        ]
        reasons += [
            f"the command {command_id} to leave at {due:%Y-%m-%d %H:%M:%S}"
            for command_id, due in self.commands.items()
        ]
        where = f"at version {version} ({self.handler})" if version else "failed at its start"
        return (
            f"{self.id}: {where} since "
            f"{self.time:%Y-%m-%d %H:%M:%S}; waits for {', '.join(reasons) or 'events only'}"
            f"{'; decided by older code' if self.code == 'older' else ''}"
        )


class Explainer:
    """Answers from the store what became of events.

    Args:
        store: where to look
        registry: who there is
        done: the position up to which a process manager's router is done, in the partition of that
            number

    """

    def __init__(
        self, store: AllPartitions, registry: Registry, done: Callable[[str, int], int]
    ) -> None:
        self._store = store
        self._registry = registry
        self._subscriptions = Subscriptions(registry)
        self._done = done

    def why(self, event_id: str) -> list[Explanation]:
        """What came of an event for everyone who listens to it.

        Also for those who would in another category of stream, if no other listens, or if one of
        the categories that they name is one that no event can have.

        Raises:
            UnknownMessage: there is no event of that id
            Pruned: it was pruned

        """
        position = self._store.position_of(event_id)
        if not position:
            raise UnknownMessage(
                f"no event has the id {event_id!r}; events() lists what there is, with the ids"
            )
        record = self._store.event_at(position)
        if record is None:
            refuse_pruned(self._store, position)
        assert record is not None
        rows = [
            row
            for subscription in self._subscriptions.to(record)
            for row in self._rows(subscription, record)
        ]
        rows += [
            Explanation(
                one.definition.name, None, "streams", "not for us", one.describe_streams(record)
            )
            for one in self._subscriptions.leaving_out(record)
            if not rows or self._unheard(one.definition)
        ]
        return rows

    def _unheard(self, definition: ProcessDefinition) -> list[str]:
        domains = self._registry.domains
        from_outside = [cls for one in domains for cls in (*one.messages, *one.externals)]
        return unheard_categories(
            definition,
            self._registry.aggregates.values(),
            from_outside,
            [one.name for one in domains],
        )

    def _rows(self, subscription: Subscription, record: EventRecord) -> Iterator[Explanation]:
        name, how = subscription.definition.name, subscription.describe(record)
        begun = self._store.begun_at(name, record)
        if begun is not None and record.position <= begun:
            position = self._store.local_position(begun)
            yield Explanation(name, None, how, "not for us", f"it began behind position {position}")
            return
        # Read first: what is done later is not taken for missing.
        places = self._store.copies_of(name, record)
        done = {one.position: self._is_done(name, one) for one in places}
        is_done = all(done.values())
        parked = _Parked(self._store, done)
        held = next((one for one in (self._held(name, at) for at in places) if one), None)
        unrouted = parked.find(name, "")
        if unrouted is not None:
            yield Explanation(name, None, how, "failed to correlate", _told(unrouted))
            return
        try:
            instances = subscription.instances_of(record, self._store.read_index)
            learnt = subscription.learnt_of(subscription.load(record))
            if learnt is not None:
                is_done &= all(self._store.event_for(name, one, record) for one in learnt[1])
            if learnt is not None and is_done:
                # One whose key is another by now may have had that one then.
                instances += [one for one in self._handled_by(name, record) if one not in instances]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            outcome: CameOf = "failed to correlate" if is_done else "not delivered yet"
            yield Explanation(name, None, how, outcome, f"{type(error).__name__}: {error}")
            return
        if held is not None:
            yield Explanation(name, None, how, "held", _until(held))
        elif not instances:
            yield Explanation(name, None, how, *self._for_none(name, learnt, parked, is_done))
        for instance in instances:
            here = self._store.event_for(name, instance, record)
            if here is None:
                detail = "it is on its way to another partition"
                yield Explanation(name, instance, how, "not delivered yet", detail)
                continue
            outcome, detail = self._came_of(
                subscription,
                instance,
                here,
                parked,
                learnt,
                is_done=done.get(here.position, False),
            )
            yield Explanation(name, instance, how, outcome, detail)

    def _is_done(self, process: str, record: EventRecord) -> bool:
        number, position = self._store.place_of(record.position)
        return self._done(process, number) >= position

    def _held(self, process: str, record: EventRecord) -> UnmatchedRecord | None:
        """The event as it is held for who learns its key; None if the row is damaged, too."""
        with suppress(CorruptRecord):
            return self._store.unmatched_at(process, record.position)
        return None

    @staticmethod
    def _for_none(
        process: str, learnt: LearntKey | None, parked: _Parked, is_done: bool
    ) -> tuple[CameOf, str]:
        """What is known of an event that is for no instance."""
        if not is_done:
            return "not delivered yet", ""
        decided = parked.find(process, "", decided=True)
        if (
            decided is not None
            and decided.decision is not None
            and decided.decision[0] in PASSED_OVER
        ):
            return "skipped: by decision", _by(decided)
        if learnt is None or not learnt[1]:
            return "not for us", ""
        return "not for us", "no instance had learnt that key in time"

    def _handled_by(self, process: str, record: EventRecord) -> Iterator[str]:
        """The instances of a process manager that an event made a transition in."""
        for _, instance in self._store.scan_started(process):
            # One that cannot be read says nothing of the others.
            with suppress(CorruptRecord):
                if not isinstance(instance, str):
                    continue
                here = self._store.event_for(process, instance, record)
                if here is not None and (
                    transition_of(self._store, process, instance, here)[0] is not None
                ):
                    yield instance

    def _came_of(
        self,
        subscription: Subscription,
        instance: str,
        record: EventRecord,
        parked: _Parked,
        learnt: LearntKey | None,
        *,
        is_done: bool,
    ) -> tuple[CameOf, str]:
        definition = subscription.definition
        # What still waits is looked at before what was done, so that an event on its way from
        # the one to the other is seen in the second.
        waits = self._waits(definition, instance, record, parked)
        transition, before = transition_of(self._store, definition.name, instance, record)
        if transition is not None:
            return self._made(definition, instance, transition)
        if waits is not None:
            return waits
        aside = parked.find(definition.name, instance)
        if aside is not None:
            return "parked", _told(aside)
        if not is_done:
            return "not delivered yet", ""
        decided = parked.find(definition.name, instance, decided=True)
        if (
            decided is not None
            and decided.decision is not None
            and decided.decision[0] in PASSED_OVER
        ):
            return "skipped: by decision", _by(decided)
        if learnt is not None and not self._had(definition, instance, before, learnt):
            return self._learnt_later(definition, instance, before, learnt)
        if before is None:
            return "skipped: no instance", "it had not started"
        if before.is_complete:
            return "skipped: complete", f"since version {before.version}"
        if learnt is not None:
            return "skipped", "its error was passed over, or its learnt key was another by then"
        return "skipped", "its error was passed over"

    def _had(
        self,
        definition: ProcessDefinition,
        instance: str,
        before: TransitionRecord | None,
        learnt: LearntKey,
    ) -> bool:
        """Whether an instance may have had a learnt key when an event came."""
        # Timeouts and refusals that came behind the event are not told from those before it.
        while before is not None:
            if _has(definition, before, learnt):
                return True
            if before.position:
                return False
            before = self._store.transition_at(definition.name, instance, before.version - 1)
        return False

    def _made(
        self, definition: ProcessDefinition, instance: str, transition: TransitionRecord
    ) -> tuple[CameOf, str]:
        """What a transition was to its instance."""
        detail = f"version {transition.version} by {transition.handler}"
        if definition.stateless:
            return "stepped", detail
        before = self._store.transition_at(definition.name, instance, transition.version - 1)
        is_first = before is None or before.is_complete
        return ("started" if is_first else "stepped"), detail

    def _waits(
        self,
        definition: ProcessDefinition,
        instance: str,
        record: EventRecord,
        parked: _Parked,
    ) -> tuple[CameOf, str] | None:
        """What is known of an event that an instance has neither handled nor passed over."""
        block, positions = self._store.read_waiting(
            definition.name, instance, record.position - 1, 1
        )
        if block is not None and block.position == record.position:
            if block.kind == "retry":
                return "retrying", f"attempt {block.attempts + 1} at {_moment(block.due)}"
            aside = parked.find(definition.name, instance)
            return "parked", str(block.parked) if aside is None else _told(aside)
        if record.position not in positions:
            return None
        if block is None:
            last = self._store.last_transition(definition.name, instance)
            if last is None and definition.early == "hold":
                return "held", "until the instance starts"
            return "waiting", "it is about to be taken up"
        if block.kind == "retry":
            return "waiting behind a retry", f"of {self._of(block)} at {_moment(block.due)}"
        return "waiting behind a parked one", f"{self._of(block)}, parked as {block.parked}"

    def _of(self, block: Block) -> str:
        if block.position:
            return f"the event at {self._store.local_position(block.position)}"
        return f"the timeout {block.name!r}" if block.name else "a refusal"

    def _learnt_later(
        self,
        definition: ProcessDefinition,
        instance: str,
        before: TransitionRecord | None,
        learnt: LearntKey,
    ) -> tuple[CameOf, str]:
        version = 0 if before is None else before.version
        for later in self._store.scan_transitions(definition.name, instance, version):
            if later.is_complete and _has(definition, later, learnt):
                return (
                    "skipped: complete",
                    f"since version {later.version}, which has {learnt[0]!r}",
                )
            if _has(definition, later, learnt):
                break
        return "not for us", f"it learnt {learnt[0]!r} only after the event had come"


class StuckInstances:
    """Finds in a store what does not move.

    Args:
        store: where to look; of a divided one, one partition
        now: the time, in microseconds

    """

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    def stuck(self, definition: ProcessDefinition, since: timedelta) -> Iterator[StuckInstance]:
        """Instances that are not complete and have not moved for a time, in the order of starts.

        Before them the events that came so long ago and are held for who learns their keys, and
        those that failed at their start, in order of id.
        """
        before = self._now() - round(since.total_seconds() * 1_000_000)
        process = definition.name
        yield from self._held_events(process, before)
        failed = failed_starts(self._store, process)
        ages = CodeAges(self._store, definition)
        for name in sorted(failed):
            yield from self._stuck(definition, name, before, ages)
        for number, found in self._store.scan_started(process):
            if isinstance(found, CorruptRecord):
                yield StuckInstance.unread(found, id=f"started with transition {number}")
            elif found not in failed:
                yield from self._stuck(definition, found, before, ages)

    def _held_events(self, process: str, before: int) -> Iterator[StuckInstance]:
        for held in self._store.scan_unmatched(process):
            try:
                record = self._store.event_at(held.position)
            except CorruptRecord as error:
                yield StuckInstance.unread(error, id=f"held at position {held.position}")
                continue
            if record is not None and record.time <= before:
                time, until = from_micros(record.time), from_micros(held.until)
                event = HeldEvent(
                    record.event_id,
                    record.type,
                    record.position,
                    time,
                    held.field,
                    tuple(held.values),
                    until,
                )
                yield StuckInstance("", 0, "", time, {}, {}, event=event)

    def _stuck(
        self, definition: ProcessDefinition, name: str, before: int, ages: CodeAges
    ) -> Iterator[StuckInstance]:
        """An instance, if it is stuck, or cannot be read."""
        try:
            last = self._store.last_transition(definition.name, name)
            block = self._store.block_of(definition.name, name)
            if last is not None and (last.is_complete or last.time > before):
                return
            since = self._came(block) if last is None else last.time
            if since is not None and since <= before:
                stuck = self._waiting(definition, name, last, block, since)
                yield stuck if last is None else replace(stuck, code=ages.of_instance(name, last))
        except UNREADABLE as error:
            yield StuckInstance.unread(error, id=name)

    def _came(self, block: Block | None) -> int | None:
        """When what an instance failed at its start came; None if nothing did."""
        if block is None:
            return None
        with suppress(CorruptRecord):
            event = self._store.event_at(block.position)
            if event is not None:
                return event.time
        aside = self._store.parked_as(block.parked)
        return 0 if aside is None else aside.time

    def _waiting(
        self,
        definition: ProcessDefinition,
        name: str,
        last: TransitionRecord | None,
        block: Block | None,
        since: int,
    ) -> StuckInstance:
        parked = error = retry = None
        if block is not None and block.kind == "retry":
            retry = from_micros(block.due)
        elif block is not None:
            parked = block.parked
            aside = self._store.parked_as(parked)
            if aside is not None:
                error = f"{aside.error_type}: {aside.error_text}"
        timers = {} if last is None else last.timers or {}
        now = self._now()
        return StuckInstance(
            id=name,
            version=0 if last is None else last.version,
            handler="" if last is None else last.handler,
            time=from_micros(since),
            timeouts={
                what: from_micros(due)
                for what, due in timers.items()
                if what in definition.timeouts
            },
            # One whose time has come has left.
            commands={
                what: from_micros(due)
                for what, due in timers.items()
                if what not in definition.timeouts and due > now
            },
            parked=parked,
            error=error,
            retry=retry,
        )


class _Parked:
    """What was parked of one event, wherever it is; looked for once, when it is asked for."""

    def __init__(self, store: AllPartitions, positions: Container[int]) -> None:
        self._store = store
        self._positions = positions
        self._found: dict[bool, dict[tuple[str, str], ParkedRecord]] = {}

    def find(self, process: str, instance: str, *, decided: bool = False) -> ParkedRecord | None:
        """The newest record for an instance; ``""`` for an event that found none."""
        if decided not in self._found:
            self._found[decided] = {
                (one.process, one.instance): one for one in self._read(decided=decided)
            }
        return self._found[decided].get((process, instance))

    def _read(self, *, decided: bool) -> Iterator[ParkedRecord]:
        for one in self._store.scan_parked(decided=decided):
            if one.position in self._positions and not one.effect:
                yield one


def _has(definition: ProcessDefinition, transition: TransitionRecord, learnt: LearntKey) -> bool:
    """Whether a transition leaves a learnt key that an event names, as far as can be told."""
    field, values = learnt
    try:
        keys = definition.state.key_of(field, definition.state_of(transition)[field])
    except (InvalidMessage, UnknownMessage):
        # Not by today's class.
        return True
    return any(value in keys for value in values)


def _until(held: UnmatchedRecord) -> str:
    named = " or ".join(map(repr, held.values))
    return f"until an instance has {held.field!r} = {named}, or {_moment(held.until)} has come"


def _by(decided: ParkedRecord) -> str:
    assert decided.decision is not None
    by = decided.decision[2] or "an operator"
    ended = ", who ended the instance" if decided.decision[0] == "end" else ""
    return f"by {by}{ended}, of what was parked as {decided.number}"


def _told(parked: ParkedRecord) -> str:
    return f"{parked.number}: {parked.error_type}: {parked.error_text}"


def _moment(micros: int) -> str:
    return f"{from_micros(micros):%Y-%m-%d %H:%M:%S}"
