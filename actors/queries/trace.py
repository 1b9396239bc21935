"""What an event belongs to: all that one beginning led to, as a tree."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..clock import from_micros
from ..errors import UnknownMessage
from ..model.completions import stream_for
from ..model.subscriptions import Subscriptions
from ..store import (
    BY_PEOPLE,
    ENDS,
    CorruptRecord,
    effect_id_at,
    place_of_effect,
    place_of_issue,
    place_of_transition,
    transition_id_at,
)
from .pruned import refuse_pruned
from .transitions import transition_of
from .views import error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ..model.registry import Registry
    from ..model.subscriptions import Subscription
    from ..store import EffectRecord, EventRecord, TransitionRecord
    from .all_partitions import AllPartitions

__all__ = ["TraceNode", "Tracer"]


@dataclass(frozen=True, slots=True, repr=False)
class TraceNode:
    """One link of a chain. Its `str` is the whole tree from here, one line for each node.

    Attributes:
        kind: ``"command"``, ``"event"``, ``"transition"``, or ``"effect"``: an `@after` method
            that issued commands
        id: its id; of a transition, ``<process>-<instance>@<version>``; of an effect,
            ``<process>-<instance>@after<position>``
        type: the wire name, or the handler of a transition or an effect; empty for a command from
            outside, of which the store keeps only the id once it is carried out
        process: of a transition or an effect, or of the one that issued a command
        instance: the same
        position: of an event
        time: when it was stored or issued; None for a command from outside
        children: what it led to
        note: why a command was refused, which timeout was due, or why what stood here cannot be
            read; of that, its position or its instance is known at most

    """

    kind: Literal["command", "event", "transition", "effect"]
    id: str
    type: str
    process: str | None = None
    instance: str | None = None
    position: int | None = None
    time: datetime | None = None
    children: tuple[TraceNode, ...] = ()
    note: str = ""

    def walk(self) -> Iterator[tuple[int, TraceNode]]:
        """This node and all below it, each before its children, with its depth from 0."""
        todo = [(0, self)]
        while todo:
            depth, node = todo.pop()
            yield depth, node
            todo += [(depth + 1, child) for child in reversed(node.children)]

    def __str__(self) -> str:
        return "\n".join("  " * depth + node.line for depth, node in self.walk())

    def __repr__(self) -> str:
        # Not with the children: a chain may be longer than Python can nest.
        return f"<TraceNode {self.line}, {len(self.children)} children>"

    @property
    def line(self) -> str:
        """This node alone, in words."""
        parts: list[str] = [self.kind]
        if self.kind in {"transition", "effect"}:
            parts += [self.id, f"({self.type})"]
        elif self.type:
            parts += [self.type, f"({self.id})"]
        else:
            parts.append(self.id)
        if self.position is not None:
            parts.append(f"at {self.position}")
        if self.note:
            parts.append(f"- {self.note}")
        return " ".join(parts)


_BY_OPERATOR = ENDS | {"amend"}
"""Handlers of what an operator did that belongs into a chain."""


class Tracer:
    """Puts a chain together from the store.

    Nothing is indexed by correlation id. The way up follows causation ids. The way down asks, of
    each event, the process managers that listen to it now, and, of each command, the stream of its
    aggregate from the moment it was issued; so a chain costs about what it is long, wherever it is
    in the log. Only for a command that no aggregate of this runtime takes is the log itself
    searched, from where the command was issued to where its first event is, or to the end.
    """

    def __init__(self, store: AllPartitions, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def trace(self, wanted: str) -> TraceNode:
        """The chain that an event is in, or that a command from outside began.

        Raises:
            UnknownMessage: nothing has that id
            Pruned: the event was pruned

        """
        record = self._record(wanted)
        if record is not None:
            return _Chain(self._store, self._registry).around(record)
        result = self._store.result_of(wanted)
        if result is not None and result.first_position:
            first = self._store.event_at(result.first_position)
            if first is None:
                refuse_pruned(self._store, result.first_position)
                return TraceNode("command", wanted, "", note="the events that it made were pruned")
            return _Chain(self._store, self._registry).around(first)
        if result is not None:
            refused = "" if result.refusal is None else f"refused: {result.refusal}"
            return TraceNode("command", wanted, "", note=refused)
        raise UnknownMessage(
            f"no event has the id {wanted!r}, and no command of that id was carried out; "
            f"events() lists what there is, with the ids"
        )

    def _record(self, event_id: str) -> EventRecord | None:
        position = self._store.position_of(event_id)
        record = self._store.event_at(position) if position else None
        if position and record is None:
            refuse_pruned(self._store, position)
        return record


class _Issuer(NamedTuple):
    """Who issued a command: an instance, at that version of it, which had seen so much."""

    process: str
    instance: str
    version: int
    seen: int
    time: int


class _Node:
    """A node while its children are being gathered."""

    def __init__(self, made: Callable[[tuple[TraceNode, ...]], TraceNode]) -> None:
        self.made = made
        self.children: list[_Node] = []


class _Chain:
    """One chain while it is being put together."""

    def __init__(self, store: AllPartitions, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._subscriptions = Subscriptions(registry)
        self._correlation_id = ""
        # The transitions on the way up from what was asked for, by their causes. They belong to
        # the tree even where classes have changed and the way down would miss them.
        self._known: dict[str, dict[tuple[str, str], TransitionRecord]] = {}
        self._transitions: dict[tuple[str, str, int], _Node] = {}
        self._todo: list[Callable[[], None]] = []
        # What stands above the first event that could be read, and cannot be read itself.
        self._damage: TraceNode | None = None

    def around(self, record: EventRecord) -> TraceNode:
        self._correlation_id = record.correlation_id
        first = self._climb(record)
        if first.causation_id is None:
            root = self._event(first)
        else:
            command_id = first.causation_id
            # What comes from outside has no depth.
            note = "what issued it was pruned" if first.depth else ""
            root = _Node(
                lambda made: TraceNode("command", command_id, "", note=note, children=made)
            )
            root.children += self._guarded(self._siblings(first), f"beside {first.event_id}")
        if self._damage is not None:
            above = self._damage
            top = _Node(lambda made: replace(above, children=made))
            top.children.append(root)
            root = top
        while self._todo:
            self._todo.pop()()
        return _frozen(root)

    # Up

    def _climb(self, record: EventRecord) -> EventRecord:
        """The first event of the chain; what was passed on the way is noted."""
        # An event of a command from outside has no depth, whatever id the command was given.
        while record.causation_id is not None and record.depth:
            try:
                cause = self._cause_of_command(record.causation_id)
            except CorruptRecord as error:
                self._damage = _unread("event", f"cause of {record.causation_id}", error)
                break
            if cause is None:
                break
            record = cause
        return record

    def _cause_of_command(self, command_id: str) -> EventRecord | None:
        """The event before an issued command, or before an end; None if it came from outside."""
        effect = self._effect(command_id)
        if effect is not None:
            return self._store.event_at(effect.position)
        issuer = self._issuer(command_id) or self._ended(command_id)
        while issuer is not None:
            process, instance, transition = issuer
            self._known.setdefault(transition.cause, {})[process, instance] = transition
            record = self._event_that_caused(transition)
            if record is not None:
                return record
            if transition.cause.startswith("timeout:") or transition.cause in BY_PEOPLE:
                # It shares its correlation with the transition before it.
                before = self._store.transition_at(process, instance, transition.version - 1)
                issuer = None if before is None else (process, instance, before)
            else:
                effect = self._effect(transition.cause)
                if effect is not None:
                    return self._store.event_at(effect.position)
                issuer = self._issuer(transition.cause)
        return None

    def _effect(self, command_id: str) -> EffectRecord | None:
        """The after-effect that issued a command, as its id says, if it really did."""
        issue = place_of_effect(command_id)
        if issue is None:
            return None
        effect = self._store.effect_at(issue.position, issue.process, issue.instance)
        if effect is None or all(one[0] != command_id for one in effect.commands):
            return None
        return effect

    def _event_that_caused(self, transition: TransitionRecord) -> EventRecord | None:
        return self._store.event_at(transition.position) if transition.position else None

    def _issuer(self, command_id: str) -> tuple[str, str, TransitionRecord] | None:
        """The transition that issued a command, as its id says, if it really did."""
        issue = place_of_issue(command_id)
        if issue is None:
            return None
        issuer = self._store.transition_at(issue.process, issue.instance, issue.version)
        if issuer is None or all(one[0] != command_id for one in issuer.commands):
            return None
        return issue.process, issue.instance, issuer

    def _ended(self, transition_id: str) -> tuple[str, str, TransitionRecord] | None:
        """The transition that ended an instance, if an event names it as its cause."""
        place = place_of_transition(transition_id)
        if place is None:
            return None
        ended = self._store.transition_at(*place)
        return None if ended is None else (place[0], place[1], ended)

    def _told_of_end(
        self, process: str, instance: str, transition: TransitionRecord
    ) -> Iterator[EventRecord]:
        """The event that an instance has ended, if there is one: a class may have listened."""
        cause = transition_id_at(process, instance, transition.version)
        told = self._store.scan_stream(stream_for(process, instance))
        return (event for event in told if event.causation_id == cause)

    def _siblings(self, first: EventRecord) -> Iterator[EventRecord]:
        """All events of the command that made this one."""
        version = first.version
        while version > 1:
            before = self._store.event_in(first.stream, version - 1)
            if before is None or not _have_one_command(before, first):
                break
            version -= 1
        yield from takewhile(
            lambda one: _have_one_command(one, first),
            self._store.scan_stream(first.stream, version - 1),
        )

    # Down

    def _event(self, record: EventRecord) -> _Node:
        node = _Node(
            lambda made: TraceNode(
                "event",
                record.event_id,
                record.type,
                position=self._store.local_position(record.position),
                time=from_micros(record.time),
                children=made,
            )
        )
        self._todo.append(lambda: self._follow_event(node, record))
        return node

    def _guarded(self, records: Iterator[EventRecord], where: str) -> Iterator[_Node]:
        """Nodes of events; the last says so, if one of them cannot be read."""
        try:
            for record in records:
                yield self._event(record)
        except CorruptRecord as error:
            yield _leaf(_unread("event", where, error))

    def _follow_event(self, node: _Node, record: EventRecord) -> None:
        found = dict(self._known.get(record.event_id, {}))
        for subscription in self._subscriptions.to(record):
            name = subscription.definition.name
            try:
                instances = self._instances(subscription, record)
            except CorruptRecord as error:
                node.children.append(_leaf(_unread("transition", name, error)))
                continue
            for instance in instances:
                try:
                    here = self._store.event_for(name, instance, record)
                    if here is None:
                        continue
                    transition, _ = transition_of(self._store, name, instance, here)
                except CorruptRecord as error:
                    unread = _unread("transition", f"{name}-{instance}", error)
                    node.children.append(_leaf(replace(unread, process=name, instance=instance)))
                    continue
                if transition is not None:
                    found[name, instance] = transition
        for (process, instance), transition in found.items():
            made = self._transition(process, instance, transition)
            if made is None:
                continue
            node.children.append(made)
            try:
                self._follow_later(made, process, instance, transition)
            except CorruptRecord as error:
                unread = _unread("transition", f"{process}-{instance}", error)
                made.children.append(_leaf(replace(unread, process=process, instance=instance)))
        try:
            names = [one.name for one in self._registry.processes.values()]
            node.children += map(self._acted, self._store.effects_after(record, names))
        except CorruptRecord as error:
            node.children.append(_leaf(_unread("effect", f"after {record.event_id}", error)))

    def _acted(self, effect: EffectRecord) -> _Node:
        """A node for an after-effect with all that it issued."""
        process, instance = effect.process, effect.instance
        node = _Node(
            lambda made: TraceNode(
                "effect",
                effect_id_at(process, instance, self._store.local_position(effect.position)),
                effect.handler,
                process,
                instance,
                time=from_micros(effect.time),
                children=made,
            )
        )
        issuer = _Issuer(process, instance, effect.version, effect.position, effect.time)
        node.children += [self._command(issuer, command) for command in effect.commands]
        return node

    def _instances(self, subscription: Subscription, record: EventRecord) -> list[str]:
        try:
            return subscription.instances_of(record, self._store.read_index)
        except CorruptRecord:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the event was parked; `why` tells so
            return []

    def _transition(
        self, process: str, instance: str, transition: TransitionRecord
    ) -> _Node | None:
        """A node for a transition with all that it issued; None if it is in the tree already."""
        key = (process, instance, transition.version)
        if key in self._transitions or transition.correlation_id != self._correlation_id:
            return None
        note = transition.note or ""
        if transition.cause.startswith("timeout:"):
            note = transition.cause.replace(":", " ", 1)
        node = _Node(
            lambda made: TraceNode(
                "transition",
                transition_id_at(process, instance, transition.version),
                transition.handler,
                process,
                instance,
                time=from_micros(transition.time),
                children=made,
                note=note,
            )
        )
        self._transitions[key] = node
        issuer = _Issuer(process, instance, transition.version, transition.seen, transition.time)
        node.children += [self._command(issuer, command) for command in transition.commands]
        if transition.is_complete:
            told = self._told_of_end(process, instance, transition)
            node.children += self._guarded(told, f"the end of {instance}")
        return node

    def _follow_later(
        self, node: _Node, process: str, instance: str, transition: TransitionRecord
    ) -> None:
        """Timeouts, and operators, continue the chain of the transition before them."""
        newest = node
        for later in self._store.scan_transitions(process, instance, transition.version):
            is_timeout = later.cause.startswith("timeout:")
            if not (is_timeout or later.cause in BY_PEOPLE) or (
                later.correlation_id != self._correlation_id
            ):
                return
            if not is_timeout and later.handler not in _BY_OPERATOR:
                continue
            made = self._transition(process, instance, later)
            if made is None:
                return
            setter = None
            if is_timeout:
                version = self._setter(later, process, instance)
                setter = self._transitions.get((process, instance, version))
            (setter or newest).children.append(made)
            newest = made

    def _setter(self, transition: TransitionRecord, process: str, instance: str) -> int:
        """The version of the transition that set the timeout which made this one."""
        name = transition.cause.removeprefix("timeout:")
        due: int | None = None
        for version in range(transition.version - 1, 0, -1):
            before = self._store.transition_at(process, instance, version)
            found = None if before is None else (before.timers or {}).get(name)
            if before is None or found is None or (due is not None and found != due):
                return version + 1
            # An operator may have moved it, which is not setting it.
            due = None if before.cause in BY_PEOPLE else found
        return 1

    def _command(self, issuer: _Issuer, command: tuple[str, str, bytes]) -> _Node:
        command_id, kind, data = command
        process, instance = issuer.process, issuer.instance
        refused: list[str] = []
        node = _Node(
            lambda made: TraceNode(
                "command",
                command_id,
                kind,
                process,
                instance,
                time=from_micros(issuer.time),
                children=made,
                note="".join(refused),
            )
        )

        where = f"made by {command_id}"

        def follow() -> None:
            made = list(self._guarded(self._made_by(issuer.seen, kind, data, command_id), where))
            node.children += made
            if made:
                return
            try:
                refusal = self._refusal(process, instance, issuer.version, kind, command_id)
            except CorruptRecord as error:
                unread = _unread("transition", f"{process}-{instance}", error)
                node.children.append(_leaf(replace(unread, process=process, instance=instance)))
                return
            told = None if refusal is None else self._transition(process, instance, refusal)
            if refusal is not None and told is not None:
                refused.append(f"refused: {refusal.note or ''}")
                node.children.append(told)
                self._follow_later(told, process, instance, refusal)

        self._todo.append(follow)
        return node

    def _refusal(
        self, process: str, instance: str, version: int, kind: str, command_id: str
    ) -> TransitionRecord | None:
        """What the refusal of a command did to the instance that issued it."""
        definition = self._registry.process_named(process)
        if definition is not None and kind not in {
            self._registry.name_of(one) for one in definition.rejections
        }:
            return None
        for later in self._store.scan_transitions(process, instance, version):
            if later.cause == command_id:
                return later
        return None

    # Reading

    def _made_by(self, seen: int, kind: str, data: bytes, command_id: str) -> Iterator[EventRecord]:
        """The events that an issued command made."""
        yield from self._run(self._events_after(seen, kind, data), command_id)

    def _events_after(self, position: int, kind: str, data: bytes) -> Iterator[EventRecord]:
        """Where the events of a command are: in its aggregate's stream, or in the log."""
        try:
            command = self._registry.load_command(kind, data)
            stream = self._registry.taker_of(type(command)).stream_of(command)
        except Exception:  # noqa: BLE001 - its classes are not here, or are other ones by now
            return self._store.scan_log(position)
        is_beside = self._store.is_beside(stream, position)
        after = self._version_after(stream, position) if is_beside else 0
        return self._store.scan_stream(stream, after)

    def _version_after(self, stream: str, position: int) -> int:
        """The last version of a stream that is not behind a position."""

        def is_behind(version: int) -> bool:
            event = self._store.event_in(stream, version)
            return event is None or event.position > position

        last = 1
        while not is_behind(last):
            last *= 2
        return bisect_left(range(1, last), True, key=is_behind)

    @staticmethod
    def _run(records: Iterator[EventRecord], command_id: str) -> Iterator[EventRecord]:
        """The events that an issued command made; they are next to each other."""
        has_begun = False
        for record in records:
            if record.causation_id == command_id and record.depth:
                has_begun = True
                yield record
            elif has_begun:
                return


def _unread(
    kind: Literal["event", "transition", "effect"], what: str, error: CorruptRecord
) -> TraceNode:
    """In the place of what cannot be read."""
    return TraceNode(kind, what, "", note=f"cannot be read: {error_of(error)}")


def _leaf(node: TraceNode) -> _Node:
    return _Node(lambda _: node)


def _have_one_command(one: EventRecord, other: EventRecord) -> bool:
    """Whether one command made both; one from outside may have the id of an issued one."""
    return one.causation_id == other.causation_id and bool(one.depth) == bool(other.depth)


def _frozen(root: _Node) -> TraceNode:
    """The tree, from its leaves up; a chain may be longer than Python can nest calls."""
    order = [root]
    for node in order:
        order += node.children
    made: dict[int, TraceNode] = {}
    for node in reversed(order):
        made[id(node)] = node.made(tuple(made[id(child)] for child in node.children))
    return made[id(root)]
