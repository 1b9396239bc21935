"""What a command says comes of it: the events of ``class Pay(Command[Paid | Failed])``."""

from __future__ import annotations

import sys
import typing
from types import SimpleNamespace, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from ..errors import DefinitionError, shown
from .types import Command, Event

__all__ = ["events_said_by"]


def events_said_by(cls: type[Command[Any]]) -> tuple[type[Event], ...]:
    """The events that a command says come of it; none if it says nothing, or `Any`.

    Raises:
        DefinitionError: it says something that is no event, or is not known

    """
    for base in cls.__mro__:
        for alias in base.__dict__.get("__orig_bases__", ()):
            if get_origin(alias) is Command:
                [said] = get_args(_resolved(alias, base)) or (Any,)
                return _events(said, base)
    return ()


def _resolved(alias: Any, cls: type) -> Any:
    said = SimpleNamespace(__annotations__={"said": alias})
    # Code that is run by `exec` has no module, and then names are of no use.
    names = getattr(sys.modules.get(cls.__module__), "__dict__", {})
    try:
        return typing.get_type_hints(said, names)["said"]
    except NameError as error:
        raise DefinitionError(
            f"{cls.__qualname__}: Command[...] names {error.name!r}, which is not known in its "
            f"module; define or import it there"
        ) from error


def _events(said: Any, cls: type) -> tuple[type[Event], ...]:
    if said is Any or isinstance(said, TypeVar):
        return ()
    alternatives = get_args(said) if get_origin(said) in {Union, UnionType} else (said,)
    for one in alternatives:
        if not (isinstance(one, type) and issubclass(one, Event)):
            raise DefinitionError(
                f"{cls.__qualname__}: Command[...] has {shown(one)}, which is no event; name the "
                f"events that come of it, such as `Command[Paid | Failed]`"
            )
    return tuple(alternatives)
