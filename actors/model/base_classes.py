"""Handlers for classes that others are derived from, which they would not be called for.

A message is for the handler of its own class: its wire name leads there, and has no parents. So a
method that is marked for a base class would never be called for the classes derived from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..authoring.marks import called
from ..errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..authoring.marks import Handler
    from ..messages.types import Message

__all__ = ["derived_beside", "refuse_unheard"]


def refuse_unheard(
    owner: type, handlers: Mapping[type, Handler], classes: Iterable[type[Message]]
) -> None:
    """Refuse handlers of a base class, if classes derived from it have none.

    Args:
        owner: the class that has the handlers
        handlers: of one role, by the class that each is for
        classes: that may come

    Raises:
        DefinitionError: one of them is derived from a class that is handled, and not handled

    """
    for cls in classes:
        if cls in handlers:
            continue
        for base, handler in handlers.items():
            if issubclass(cls, base) and _type_of(cls) != _type_of(base):
                new = f"@{handler.role}({cls.__name__})"
                raise DefinitionError(
                    f"{owner.__qualname__}.{handler.name}: {called(handler)} is for "
                    f"{base.__name__} itself, so the method would not be called for "
                    f"{cls.__name__}, which is derived from it; write `{new}` above the method as "
                    f"well, or have a method of its own for {cls.__name__}"
                )


def derived_beside(classes: Iterable[type[Message]]) -> Iterator[type[Message]]:
    """The classes that are written beside a class, and derived from it.

    Those written elsewhere, as in a test, may have nothing to do with a design.
    """
    for base in classes:
        todo = base.__subclasses__()
        while todo:
            cls = todo.pop()
            todo += cls.__subclasses__()
            if _place_of(cls) == _place_of(base):
                yield cls


def _place_of(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__.rpartition(".")[0]


def _type_of(cls: type) -> str:
    """What two versions of a type have in common; one may be derived from the other."""
    name: str | None = getattr(cls, "__wire_name__", None)
    return cls.__name__ if name is None else name.split(".")[1]
