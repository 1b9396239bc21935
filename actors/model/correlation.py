"""How an event names the instances that it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard, get_origin, get_type_hints

from ..authoring.decorators import ALL, Correlate, Handler, refuse_async
from ..errors import DefinitionError, InvalidMessage, shown
from ..messages.identifiers import composite_id, id_of, parts_of_id
from .own_field import OwnField, can_be_set

if TYPE_CHECKING:
    from ..authoring.state import StateType
    from ..messages.types import Event

__all__ = ["Correlation", "key_of"]


def key_of(way: object) -> tuple[str, ...]:
    """The fields of a process manager that name an instance together; none if one way does."""
    return (
        tuple(way) if isinstance(way, tuple) or (isinstance(way, Mapping) and len(way) > 1) else ()
    )


class Correlation:
    """How one event class names the instances of one process manager.

    Args:
        owner: the process manager's class, for messages
        state: its fields
        handler: of the event
        default: the class's own way

    Raises:
        DefinitionError: it cannot work

    """

    def __init__(
        self, owner: type, state: StateType, handler: Handler, default: Correlate | None
    ) -> None:
        self.where = f"{owner.__qualname__}.{handler.name}"
        self._function: Callable[[Any], Any] | None = None
        self.key: tuple[str, ...] = ()
        """The fields of the process manager that name an instance together, if several do."""
        self._fields: tuple[str, ...] = ()
        self._is_all = False
        self.own = self._field = ""
        self.learnt = ""
        """The field of the process manager by which instances are found, if it is a learnt one."""
        way = handler.correlate if handler.correlate is not None else default
        if way is None:
            raise DefinitionError(
                f"{self.where}: nothing says which instance a {handler.subject.__name__} is for; "
                f"give `correlate=` to the class or to this handler, such as a field of the event"
            )
        if way is ALL:
            self._is_all = True
        elif isinstance(way, str):
            self.own = self._field = way
            self._check_field(way, handler)
        elif key_of(way):
            self._take_key(way, owner, state, handler, key_of(default))
        elif isinstance(way, Mapping):
            self._take_mapping(way, owner, state)
            self._check_field(way, handler)
            if self.own in state.indexed:
                self.learnt = self.own
                if handler.start:
                    raise DefinitionError(
                        f"{self.where}: {self.own!r} is learnt by an instance that is running, so "
                        f"it cannot tell which one to start; correlate the start by the id"
                    )
        elif callable(way):
            refuse_async(f"{self.where}: correlate={way!r}", way, "write a plain function")
            self._function = way
        else:
            raise DefinitionError(
                f"{self.where}: correlate={way!r} is no field name, tuple of them, mapping, "
                f"function or ALL"
            )
        if not self._fields:
            self.key = key_of(default)
        self._own_fields = self._fields_to_set(state, handler, default)

    @property
    def sets(self) -> tuple[str, ...]:
        """The fields of the process manager that are set when an instance starts."""
        return tuple(one.name for one in self._own_fields)

    def ids(self, event: Event) -> list[str]:
        """The ids, or the learnt values, that an event names; each once."""
        read = self._function
        if read is None:
            if self._is_all:
                return ["all"]
            if self._fields:
                return list(self._parts_of(event))
            value = getattr(event, self._field)
        elif self.key:
            return list(self._parts_of(event))
        else:
            value = read(event)
        if isinstance(value, str):
            return [id_of(value, self.where)]
        if value is None:
            return []
        if _is_many(value):
            found = [id_of(one, self.where) for one in value if one is not None]
            return list(dict.fromkeys(found))
        return [id_of(value, self.where)]

    def _parts_of(self, event: Event) -> dict[str, tuple[Any, ...]]:
        """The ids that an event names where several fields do, each with its parts.

        Text that a function returns is an id as it is, and has no parts.
        """
        if self._function is None:
            value: Any = tuple(getattr(event, field) for field in self._fields)
        else:
            value = self._function(event)
        many = [value] if isinstance(value, tuple) or not _is_many(value) else value
        found: dict[str, tuple[Any, ...]] = {}
        for one in many:
            if isinstance(one, tuple):
                if len(one) != len(self.key):
                    raise InvalidMessage(
                        f"{self.where}: {shown(one)} has {len(one)} parts, and an id has "
                        f"{len(self.key)}: {', '.join(self.key)}; return a tuple of these, or a "
                        f"list of such tuples"
                    )
                if None not in one:
                    found[composite_id(one, self.where)] = one
            elif one is not None:
                found[id_of(one, self.where)] = ()
        return found

    @property
    def field_of_event(self) -> str:
        """The field of the event that names the instances; empty if a function does, or all."""
        return self._field

    def own_fields(self, event: Event, instance: str) -> Iterable[tuple[str, Any]]:
        """The fields that are set when an instance starts, with their values: its id, or its parts.

        Raises:
            InvalidMessage: the id does not fit the type of a field, or has other parts

        """
        if not self.key:
            return [(one.name, one.value_of(instance)) for one in self._own_fields]
        parts = self._texts_of(event, instance)
        return [(one.name, one.value_of(parts[one.name])) for one in self._own_fields]

    def _texts_of(self, event: Event, instance: str) -> dict[str, str]:
        """The parts of an id, by the fields of the class that they are for."""
        given: tuple[Any, ...] = ()
        if self._fields or self._function is not None:
            # One that was shortened has its parts in the event alone.
            given = self._parts_of(event).get(instance, ())
        texts = [id_of(one, self.where) for one in given] or parts_of_id(instance)
        if len(texts) != len(self.key):
            raise InvalidMessage(
                f"{self.where}: the id {shown(instance)} starts an instance, and is not made of "
                f"{', '.join(self.key)}; return a tuple of these"
            )
        return dict(zip(self.key, texts, strict=True))

    def _fields_to_set(
        self, state: StateType, handler: Handler, default: object
    ) -> tuple[OwnField, ...]:
        """Those that name an instance: by the class's own way, and by the handler's, if it has one.

        A learnt key is not among them: an instance has it from an event, and not from its id.
        """
        names = self.key or _own_of(default, state)
        if not self.key and self.own and not self.learnt:
            names = (*names, self.own)
        hints = {one: state.fields[one] for one in names if one in state.fields}
        return tuple(
            OwnField(one, hint, self.where)
            for one, hint in hints.items()
            # One that starts nothing may read a field of the event that is called as another here.
            if handler.start or can_be_set(hint)
        )

    def describe(self) -> str:
        """In words, for explanations."""
        if self._is_all:
            return "ALL"
        if self._function is not None:
            return f"function {getattr(self._function, '__name__', self._function)!r}"
        if self.learnt:
            return f"learnt key {self.own!r} = event.{self._field}"
        if self._fields:
            return f"({', '.join(f'event.{field}' for field in self._fields)})"
        return f"event.{self._field}"

    def _take_mapping(self, way: Mapping[str, str], owner: type, state: StateType) -> None:
        if not way:
            raise DefinitionError(
                f"{self.where}: correlate={way!r} must map a field of the process manager "
                f"to one of the event"
            )
        self.own, self._field = next(iter(way.items()))
        self._check_own(self.own, way, owner, state)

    def _take_key(
        self,
        way: object,
        owner: type,
        state: StateType,
        handler: Handler,
        declared: tuple[str, ...],
    ) -> None:
        """Several fields name an instance together; the class says in which order."""
        named = dict(way) if isinstance(way, Mapping) else {one: one for one in key_of(way)}
        self.key = key_of(way)
        if (
            len(named) < len(self.key)
            or len(named) < 2
            or not all(isinstance(text, str) for pair in named.items() for text in pair)
        ):
            raise DefinitionError(
                f"{self.where}: correlate={way!r} must name two fields or more, each once; for "
                f'one field, write its name, such as correlate="order_id"'
            )
        if declared and set(declared) != set(named):
            raise DefinitionError(
                f"{self.where}: correlate={way!r} names other fields than the class, whose "
                f"instances are named by {', '.join(declared)}; map these to fields of the event"
            )
        self.key = declared or self.key
        self._fields = tuple(named[own] for own in self.key)
        for own, field in zip(self.key, self._fields, strict=True):
            self._check_own(own, way, owner, state)
            if own in state.indexed:
                raise DefinitionError(
                    f"{self.where}: {own!r} is a learnt key, and finds instances by itself; "
                    f"leave it out of correlate={way!r}, or remove its `Indexed`"
                )
            self._check_is_field(field, way, handler)
            if _is_container(handler.subject, field):
                raise DefinitionError(
                    f"{self.where}: correlate={way!r}, and {handler.subject.__name__}.{field} "
                    f"holds many values; give a function that returns a list of tuples, one for "
                    f"each instance"
                )

    def _check_own(self, own: str, way: object, owner: type, state: StateType) -> None:
        if own not in state.fields:
            raise DefinitionError(
                f"{self.where}: correlate={way!r}, but {owner.__qualname__} has no "
                f'field {own!r}; declare `{own}: str = ""`'
            )

    def _check_field(self, way: object, handler: Handler) -> None:
        self._check_is_field(self._field, way, handler)

    def _check_is_field(self, field: str, way: object, handler: Handler) -> None:
        fields = handler.subject.__struct_fields__
        if field not in fields:
            raise DefinitionError(
                f"{self.where}: correlate={way!r}, but {handler.subject.__name__} has no field "
                f"{field!r}; it has {', '.join(fields) or 'none'}. Name one of these, or "
                f"give this handler a `correlate=` of its own"
            )


def _own_of(way: object, state: StateType) -> tuple[str, ...]:
    """The one field that the class's own way names, if it names the instance."""
    if isinstance(way, str):
        return (way,)
    # A learnt key names a running instance only.
    own = next(iter(way), "") if isinstance(way, Mapping) else ""
    return (own,) if own and own not in state.indexed else ()


def _is_container(cls: type, field: str) -> bool:
    """Whether a field is annotated as one that holds many values, which are no part of an id."""
    hint = _hint_of(cls, field)
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, (list, tuple, set, frozenset, dict))


def _hint_of(cls: type, field: str) -> Any:
    try:
        return get_type_hints(cls).get(field)
    except NameError:
        # An annotation that is known in a function only; the values are looked at one by one then.
        return None


def _is_many(value: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes))
