"""Views as JSON has them, and as notebooks show them."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from ..messages.personal import masked, personal_of
from ..messages.plain import from_plain, plain
from ..messages.types import Command, Event, Message, UnknownCommand, UnknownEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["html_of", "plain_of", "revived"]

_TIMES = frozenset({"time", "due", "decided_at", "pruned_at"})


def plain_of(value: object, *, personal: bool) -> Any:
    """What a view has under a name, as JSON has it.

    Args:
        value: of the view
        personal: whether with what is marked as personal

    """
    if isinstance(value, tuple):
        return [plain_of(one, personal=personal) for one in value]
    if isinstance(value, UnknownEvent):
        return plain(value.data)
    if isinstance(value, UnknownCommand):
        return plain(value)
    if isinstance(value, Message):
        data = plain(value)
        if not personal:
            data = masked(data, personal_of(type(value)))
        # Of an event, the view has the type.
        return {"type": _type_of(type(value)), "data": data} if isinstance(value, Command) else data
    told = getattr(value, "to_dict", None)
    # One view may be in another.
    return plain(value) if told is None else told(personal=personal)


def revived(name: str, values: Mapping[str, Any], messages: Iterable[type[Message]]) -> Any:
    """What a view has under a name, of what it told.

    Raises:
        InvalidMessage: it does not fit

    """
    value = values[name]
    if value is None:
        return None
    if name in _TIMES:
        return from_plain(datetime, value, name)
    if name == "event":
        kind = str(values.get("type"))
        found = _class_of(kind, Event, messages)
        return UnknownEvent(kind, value) if found is None else found.from_dict(value)
    if name == "command":
        return _command(value, messages)
    if name in {"commands", "issued"}:
        return tuple(_command(one, messages) for one in value)
    return value


def _command(value: Mapping[str, Any], messages: Iterable[type[Message]]) -> Any:
    known = from_plain(UnknownCommand, value, "a command")
    found = _class_of(known.type, Command, messages)
    return known if found is None else found.from_dict(known.data)


def _class_of(
    name: str, base: type[Message], messages: Iterable[type[Message]]
) -> type[Message] | None:
    for cls in messages:
        short = name if cls.__wire_name__ else ".".join(name.split(".")[-2:])
        if issubclass(cls, base) and _type_of(cls) == short:
            return cls
    return None


def _type_of(cls: type[Message]) -> str:
    """The wire name of a class, without that of its domain unless it is pinned."""
    return cls.__wire_name__ or f"{cls.__name__}.v{cls.__wire_version__}"


def html_of(title: str, values: Mapping[str, object]) -> str:
    """A table of two columns, in which nothing that is stored is taken for HTML."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td><pre>{escape(_said(value))}</pre></td></tr>"
        for name, value in values.items()
    )
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def _said(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return "\n".join(f"{name}: {inner!r}" for name, inner in value.items())
    return value if isinstance(value, str) else _repr_of(value)


def _repr_of(value: object) -> str:
    """As `repr`, without what is marked as personal."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_repr_of, value))})"
    known = getattr(value, "masked", None)
    if known is not None:
        said = known()
    elif isinstance(value, Message) and (marked := personal_of(type(value))):
        said = masked({name: getattr(value, name) for name in value.__struct_fields__}, marked)
    else:
        return repr(value)
    inner = ", ".join(f"{name}={_repr_of(one)}" for name, one in said.items())
    return f"{type(value).__name__}({inner})"
