"""The field of a process manager that names its instance, set from the instance's id."""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

from ..errors import DefinitionError, InvalidMessage, shown
from ..messages.identifiers import id_of
from ..store import InvalidName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["OwnField", "can_be_set"]


class OwnField:
    """A field that is set when an instance starts, to the id or to a part of it.

    Args:
        name: of the field
        hint: its annotation
        where: what starts instances, for messages

    Raises:
        DefinitionError: no id can become a value of that type

    """

    __slots__ = ("_called", "_readers", "_where", "name")

    def __init__(self, name: str, hint: Any, where: str) -> None:
        self.name = name
        self._where = where
        self._called = hint.__name__ if isinstance(hint, type) else str(hint)
        # A text is an id as it is, and nothing is asked of it.
        self._readers = None if hint is str else tuple(_readers_of(hint))
        if self._readers == ():
            raise DefinitionError(
                f"{where}: {name!r} is set to the instance's id at its start, and no id can become "
                f"{self._called}; annotate it as str, int, UUID or an enum, or let `correlate` "
                f"name another field"
            )

    def value_of(self, text: str) -> Any:
        """The id, or a part of it, as a value of the field's type.

        Raises:
            InvalidMessage: it cannot be one

        """
        if self._readers is None:
            return text
        for read in self._readers:
            try:
                value = read(text)
                if id_of(value, self.name) == text:
                    return value
            except (LookupError, ValueError, InvalidMessage, InvalidName):
                continue
        raise InvalidMessage(
            f"{self._where}: the id {shown(text)} cannot become {self._called}, as the field "
            f"{self.name!r} is annotated; return an id that can, or annotate the field as str"
        )


def can_be_set(hint: Any) -> bool:
    """Whether an id can become a value of that type."""
    return next(_readers_of(hint), None) is not None


def _readers_of(hint: Any) -> Iterator[Callable[[str], Any]]:
    """What makes a value of a text, for each type that a field may have."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _readers_of(get_args(hint)[0])
    elif isinstance(hint, NewType):
        yield from _readers_of(hint.__supertype__)
    elif origin in {Union, types.UnionType}:
        for one in get_args(hint):
            yield from _readers_of(one)
    elif origin is Literal:
        yield _by_id(get_args(hint))
    elif hint in {str, typing.Any}:
        yield str
    elif hint in {int, UUID}:
        yield hint
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield _by_id(hint)


def _by_id(values: Iterable[Any]) -> Callable[[str], Any]:
    """Finds the value whose id a text is."""
    found: dict[str, Any] = {}
    for one in values:
        try:
            found[id_of(one, "")] = one
        except (InvalidMessage, InvalidName):
            continue
    return found.__getitem__
