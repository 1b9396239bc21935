"""Which fields of a capsule are masked, and every place in which their values stand.

The values of a masked field are learnt from all records first. Then each of them is replaced
wherever it stands: in the field, in copies in states and other messages, in texts such as errors.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec
from msgspec.structs import replace

from ..messages.fields import hints_of
from ..messages.personal import personal_of
from ..store import category_of, id_in_stream
from .errors import CapsuleError
from .file import Masked
from .stand_ins import StandIns, is_short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..model.registry import Registry
    from ..store import CommandRecord, EventRecord, Excerpt, TransitionRecord

__all__ = ["Fields", "Masking"]

_unpack = msgspec.msgpack.Decoder().decode
_pack = msgspec.msgpack.Encoder().encode

_VERSION = re.compile(r"\.v\d+$")


class Fields:
    """The fields whose values are masked.

    Args:
        registry: the classes
        told: beside those that are marked as personal, each as ``Type.field``: of an event, a
            command, an aggregate or a process manager, by the name of its class or its name in the
            store

    Raises:
        CapsuleError: no class has such a name, or it has no such field

    """

    def __init__(self, registry: Registry, told: Iterable[str]) -> None:
        self._fields: dict[str, dict[str, tuple[Any, ...]]] = {}
        self._of: dict[str, str] = {}
        classes = _classes(registry)
        for one in (*_personal(registry), *told):
            name, dot, field = one.rpartition(".")
            cls = classes.get(_short(name))
            if not dot or cls is None:
                raise CapsuleError(
                    f"--mask {one}: no class of these domains has that name; write Type.field, as "
                    f"in OrderPlaced.customer"
                )
            hints = {each: hint for each, hint in hints_of(cls).items() if each[0] != "_"}
            if field not in hints:
                raise CapsuleError(
                    f"--mask {one}: {cls.__name__} has no field {field!r}; it has "
                    f"{', '.join(hints) or 'none'}"
                )
            self._fields.setdefault(_short(name), {})[field] = _choices(hints[field])

    def __bool__(self) -> bool:
        return bool(self._fields)

    def of(self, type_name: str) -> dict[str, tuple[Any, ...]]:
        """The masked fields of what the store calls so, each with the values that it may have."""
        short = self._of.get(type_name)
        if short is None:
            short = self._of[type_name] = _short(type_name)
        return self._fields.get(short, {})


def _personal(registry: Registry) -> Iterator[str]:
    """The fields that the classes mark as personal."""
    for name, cls in registry.classes().items():
        yield from (f"{name}.{field}" for field in personal_of(cls))
    for definition in registry.processes.values():
        yield from (f"{definition.cls.__name__}.{field}" for field in definition.state.personal)


def _classes(registry: Registry) -> dict[str, type]:
    found: dict[str, type] = {}
    for name, cls in registry.classes().items():
        found[_short(name)] = found[cls.__name__] = cls
    for one in (*registry.processes, *registry.aggregates):
        found[one.__name__] = one
    return found


def _short(name: str) -> str:
    """The name of a class, of its name in the store."""
    return _VERSION.sub("", name).rpartition(".")[2]


def _choices(hint: Any) -> tuple[Any, ...]:
    """All plain values of an annotation that allows a few only; none of others."""
    found: list[Any] = []
    for one in (hint, *_inside(hint)):
        if get_origin(one) is Literal:
            found += get_args(one)
        elif isinstance(one, type) and issubclass(one, Enum):
            found += [each.value for each in one]
    return tuple(found)


def _inside(hint: Any) -> Iterator[Any]:
    for one in get_args(hint):
        if get_origin(hint) is not Literal:
            yield one
            yield from _inside(one)


class Masking:
    """The masking of one capsule.

    Args:
        fields: which are masked
        registry: the classes, which must be able to read what they could read before
        ids: whether also what is an id is masked, in the names of streams and instances too

    """

    def __init__(self, fields: Fields, registry: Registry, *, ids: bool) -> None:
        self._stand_ins = StandIns()
        self._fields = fields
        self._registry = registry
        self._ids = ids
        self._counts: dict[str, list[int]] = {}
        self._own_ids: set[str] = set()
        self._classes = {one.name: one.cls.__name__ for one in registry.processes.values()}
        self._categories = {one.category: one.cls.__name__ for one in registry.aggregates.values()}

    def mask(self, excerpts: list[Excerpt]) -> None:
        """Replace the values of masked fields in all records, wherever they stand.

        Raises:
            CapsuleError: what is masked would not fit its class any more

        """
        if not self._fields:
            return
        for one in excerpts:
            self._note_ids(one)
        if not self._ids:
            self._stand_ins.keep(self._own_ids)
        for one in excerpts:
            self._learn_all(one)
        self._stand_ins.made(self._own_ids if self._ids else set())
        for one in excerpts:
            self._replace(one)

    def told(self) -> dict[str, Masked]:
        """What was masked, by field."""
        return {
            field: Masked(values - kept, kept, short)
            for field, (values, kept, short) in self._counts.items()
        }

    def id_of(self, text: str) -> str:
        """An id as it is in the capsule."""
        return self._id(text) if self._ids else text

    # Learning

    def _note_ids(self, excerpt: Excerpt) -> None:
        """By what events find their streams and instances, unless that is to be masked too."""
        own = self._own_ids
        own.update(id_in_stream(one) or one for one in excerpt.streams)
        own.update(id_in_stream(one.stream) for one in excerpt.events.values())
        own.update(instance for _, instance in excerpt.instances)
        own.update(excerpt.events[one].event_id for one in excerpt.given_events)
        own.update(excerpt.commands)
        own.discard("")
        for process, _, one in excerpt.transitions.values():
            definition = self._registry.process_named(process)
            if definition is not None and definition.state.indexed:
                keys = definition.state.keys_of(definition.state_of(one))
                own.update(value for values in keys.values() for value in values)

    def _learn_all(self, excerpt: Excerpt) -> None:
        """The values of masked fields."""
        for event in excerpt.events.values():
            self._learn(event.type, event.data)
        for command in _commands_in(excerpt):
            self._learn(command.type, command.data)
        for _, kind, data in _issued_in(excerpt):
            self._learn(kind, data)
        for process, _, one in excerpt.transitions.values():
            self._learn(self._classes.get(process, process), one.state)
        for stream, (_, state) in excerpt.snapshots.items():
            self._learn(self._categories.get(category_of(stream), ""), state)

    def _learn(self, type_name: str, packed: bytes) -> None:
        masked = self._fields.of(type_name)
        if not masked:
            return
        values = _unpack(packed)
        for field, choices in masked.items():
            counts = self._counts.setdefault(f"{_short(type_name) or type_name}.{field}", [0, 0, 0])
            for leaf in _leaves(values.get(field)):
                self._stand_ins.learn(leaf, choices)
                is_kept = self._stand_ins.is_kept(leaf)
                counts[0] += 1
                counts[1] += is_kept
                counts[2] += not is_kept and is_short(leaf)

    # Replacing

    def _replace(self, excerpt: Excerpt) -> None:
        """All values by their stand-ins, wherever they are."""
        in_text = self._stand_ins.in_text
        for event in excerpt.events.values():
            event.data = self._event(event)
            event.headers = self._blob(event.headers)
        for command in _commands_in(excerpt):
            command.data = self._command(command.type, command.data)
            command.headers = self._blob(command.headers)
        for timer in excerpt.timers:
            timer.headers = self._blob(timer.headers)
        for block in excerpt.blocks.values():
            block.headers = self._blob(block.headers)
        for refusal in excerpt.refusals.values():
            refusal.reason = in_text(refusal.reason)
        for parked in (*excerpt.parked.values(), *excerpt.decided.values()):
            parked.error_text = in_text(parked.error_text)
            if parked.decision is not None:
                what, when, by = parked.decision
                parked.decision = what, when, by and in_text(by)
        for given in excerpt.commands.values():
            if given.result is not None:
                given.result.error = self._blob(given.result.error)
                given.result.refusal = given.result.refusal and in_text(given.result.refusal)
        for effect in excerpt.effects.values():
            effect.commands = self._issued(effect.commands)
        for stream, (version, state) in excerpt.snapshots.items():
            owner = self._categories.get(category_of(stream), "")
            excerpt.snapshots[stream] = version, self._payload(owner, state, None)
        for process, _, one in excerpt.transitions.values():
            one.commands = self._issued(one.commands)
            one.note = one.note and in_text(one.note)
            one.headers = self._blob(one.headers)
            one.state = self._state(process, one)
        if self._ids:
            self._rename(excerpt)

    def _event(self, event: EventRecord) -> bytes:
        def load(data: bytes) -> object:
            return self._registry.load_event(replace(event, data=data))

        return self._payload(event.type, event.data, load)

    def _state(self, process: str, one: TransitionRecord) -> bytes:
        definition = self._registry.process_named(process)

        def load(state: bytes) -> object:
            return None if definition is None else definition.state_of(replace(one, state=state))

        return self._payload(self._classes.get(process, process), one.state, load)

    def _issued(self, commands: list[tuple[str, str, bytes]]) -> list[tuple[str, str, bytes]]:
        return [(one, kind, self._command(kind, data)) for one, kind, data in commands]

    def _command(self, kind: str, data: bytes) -> bytes:
        return self._payload(kind, data, lambda one: self._registry.load_command(kind, one))

    def _payload(
        self, type_name: str, packed: bytes, load: Callable[[bytes], object] | None
    ) -> bytes:
        """A message or a state with all values replaced; it is read as before."""
        masked = self._fields.of(type_name)
        values = _unpack(packed)
        made = _pack(
            {
                name: self._masked(value, masked[name])
                if name in masked
                else self._stand_ins.followed(value)
                for name, value in values.items()
            }
        )
        if made == packed or load is None:
            return made
        if _error_of(load, packed) is None:
            error = _error_of(load, made)
            if error is not None:
                raise CapsuleError(
                    f"{type_name} with what is masked would not fit its class any more: {error}; "
                    f"mask other fields, or none of a type that takes few values only"
                ) from error
        return made

    def _masked(self, value: Any, choices: tuple[Any, ...]) -> Any:
        if isinstance(value, dict):
            return {name: self._masked(one, choices) for name, one in value.items()}
        if isinstance(value, list):
            return [self._masked(one, choices) for one in value]
        return self._stand_ins.learn(value, choices)

    def _blob(self, packed: bytes | None) -> bytes | None:
        return None if packed is None else _pack(self._stand_ins.followed(_unpack(packed)))

    # Ids

    def _rename(self, excerpt: Excerpt) -> None:
        """Streams, instances and ids, in which masked values stand."""
        own = self._id
        for event in excerpt.events.values():
            event.stream, event.event_id = own(event.stream), own(event.event_id)
            event.correlation_id = own(event.correlation_id)
            event.causation_id = event.causation_id and own(event.causation_id)
            event.sent_to = event.sent_to and [own(one) for one in event.sent_to]
        for command in _commands_in(excerpt):
            command.command_id, command.stream = own(command.command_id), own(command.stream)
            command.correlation_id = own(command.correlation_id)
            command.causation_id = command.causation_id and own(command.causation_id)
            command.instance = command.instance and own(command.instance)
        for place, (process, instance, one) in excerpt.transitions.items():
            one.cause, one.correlation_id = own(one.cause), own(one.correlation_id)
            one.commands = [(own(name), kind, data) for name, kind, data in one.commands]
            if one.timers is not None:
                one.timers = {own(name): due for name, due in one.timers.items()}
            excerpt.transitions[place] = process, own(instance), one
        for effect in excerpt.effects.values():
            effect.instance = own(effect.instance)
            effect.commands = [(own(name), kind, data) for name, kind, data in effect.commands]
        for timer in excerpt.timers:
            timer.instance, timer.name = own(timer.instance), own(timer.name)
        for parked in (*excerpt.parked.values(), *excerpt.decided.values()):
            parked.instance, parked.cause = own(parked.instance), own(parked.cause)
        for held in excerpt.unmatched:
            held.values, held.taken = [*map(own, held.values)], [*map(own, held.taken)]
        for given in excerpt.commands.values():
            given.stream = own(given.stream)
        excerpt.commands = {own(name): one for name, one in excerpt.commands.items()}
        excerpt.snapshots = {own(name): one for name, one in excerpt.snapshots.items()}
        excerpt.effects = {
            (position, process, own(name)): one
            for (position, process, name), one in excerpt.effects.items()
        }
        excerpt.owed = {
            (process, position, own(name)): one
            for (process, position, name), one in excerpt.owed.items()
        }
        excerpt.blocks = {
            (process, own(name)): one for (process, name), one in excerpt.blocks.items()
        }
        excerpt.waiting = {(process, own(name), one) for process, name, one in excerpt.waiting}
        excerpt.instances = {(process, own(name)) for process, name in excerpt.instances}
        excerpt.indexed = {(process, own(name)) for process, name in excerpt.indexed}
        excerpt.streams = {own(name) for name in excerpt.streams}

    def _id(self, text: str) -> str:
        """An id; the category or the process manager that it begins with stays."""
        head, dash, tail = text.partition("-")
        if text.startswith("timeout:"):
            return text
        if dash and (head in self._categories or head in self._classes):
            return head + dash + self._stand_ins.in_text(tail)
        return self._stand_ins.in_text(text)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif value is not None:
        yield value


def _commands_in(excerpt: Excerpt) -> Iterator[CommandRecord]:
    """The commands that are on their way."""
    yield from excerpt.queue.values()
    yield from (one.command for one in excerpt.refusals.values())
    yield from (one.command for one in excerpt.timers if one.command is not None)
    for there in (excerpt.parked, excerpt.decided):
        yield from (one.command for one in there.values() if one.command is not None)


def _issued_in(excerpt: Excerpt) -> Iterator[tuple[str, str, bytes]]:
    """The commands that were issued, as they are recorded."""
    for _, _, one in excerpt.transitions.values():
        yield from one.commands
    for effect in excerpt.effects.values():
        yield from effect.commands


def _error_of(load: Callable[[bytes], object], packed: bytes) -> Exception | None:
    try:
        load(packed)
    except Exception as error:  # noqa: BLE001 - users' code reads what older versions wrote
        return error
    return None
