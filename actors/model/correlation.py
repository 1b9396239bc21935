"""How an event names the instances that it is for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard, get_args, get_origin, get_type_hints

from ..authoring.decorators import ALL, Correlate, Handler
from ..errors import DefinitionError
from ..messages.identifiers import id_of

if TYPE_CHECKING:
    from ..authoring.state import StateType
    from ..messages.types import Event

__all__ = ["Correlation"]


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
        self._are_texts = False
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
        elif inspect.iscoroutinefunction(way):
            raise DefinitionError(
                f"{self.where}: correlate={way!r} is `async def`, and nothing would await it; "
                f"write a plain function"
            )
        elif callable(way):
            self._function = way
        else:
            raise DefinitionError(
                f"{self.where}: correlate={way!r} is no field name, mapping, function or ALL"
            )

    def ids(self, event: Event) -> list[str]:
        """The ids, or the learnt values, that an event names; each once."""
        read = self._function
        if read is None:
            if self._is_all:
                return ["all"]
            value = getattr(event, self._field)
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

    @property
    def field_of_event(self) -> str:
        """The field of the event that names the instances; empty if a function does, or all."""
        return self._field

    def own_field(self, event: Event, instance: str) -> tuple[str, Any]:
        """The field that is set when an instance starts, and its value: that instance's id."""
        if not self._field:
            return "", None
        value = getattr(event, self._field)
        if _is_many(value):
            if self._are_texts:
                # Not looked for among many, once for each of them.
                return self.own, instance
            value = next((o for o in value if o is not None and id_of(o, "") == instance), instance)
        return self.own, value

    def describe(self) -> str:
        """In words, for explanations."""
        if self._is_all:
            return "ALL"
        if self._function is not None:
            return f"function {getattr(self._function, '__name__', self._function)!r}"
        if self.learnt:
            return f"learnt key {self.own!r} = event.{self._field}"
        return f"event.{self._field}"

    def _take_mapping(self, way: Mapping[str, str], owner: type, state: StateType) -> None:
        if len(way) != 1:
            raise DefinitionError(
                f"{self.where}: correlate={way!r} must map one field of the process manager "
                f"to one of the event"
            )
        self.own, self._field = next(iter(way.items()))
        if self.own not in state.fields:
            raise DefinitionError(
                f"{self.where}: correlate={way!r}, but {owner.__qualname__} has no "
                f'field {self.own!r}; declare `{self.own}: str = ""`'
            )

    def _check_field(self, way: object, handler: Handler) -> None:
        fields = handler.subject.__struct_fields__
        self._are_texts = _holds_texts(handler.subject, self._field)
        if self._field not in fields:
            raise DefinitionError(
                f"{self.where}: correlate={way!r}, but {handler.subject.__name__} has no field "
                f"{self._field!r}; it has {', '.join(fields) or 'none'}. Name one of these, or "
                f"give this handler a `correlate=` of its own"
            )


def _holds_texts(cls: type, field: str) -> bool:
    """Whether a field is annotated as several texts, each of which is an id as it is."""
    try:
        hint = get_type_hints(cls).get(field)
    except NameError:
        # An annotation that is known in a function only; the ids are looked at one by one then.
        return False
    return get_args(hint)[:1] == (str,) and get_origin(hint) is not dict


def _is_many(value: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes))
