"""Which fields hold what is personal, whose it is, and what is shown or kept in its place.

`Annotated[str, Personal]` marks a field of a message or a state. What is shown to people outside of
the service's code is `masked`, and what was erased has the field's `erased` value.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

import msgspec

from ..errors import DefinitionError
from .fields import hints_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "ERASED_TEXT",
    "MASKED",
    "Personal",
    "PersonalField",
    "masked",
    "masked_within",
    "personal_in",
    "personal_of",
]

MASKED = "(personal)"
"""Shown in the place of a value."""

ERASED_TEXT = "(erased)"
"""In the place of a text that was erased."""


class Personal:
    """Marks a field whose value is personal: ``name: Annotated[str, Personal]``.

    It is masked wherever people look from outside of the service's code, and it goes when the
    person's data is erased. Mark a whole field; what is inside of one is not looked into.

    Args:
        subject: the name of the field, of the same message or state, that says whose it is. When it
            is not given, it is that of the instance or the aggregate, by its id

    """

    __slots__ = ("subject",)

    def __init__(self, *, subject: str | None = None) -> None:
        self.subject = subject

    def __repr__(self) -> str:
        return f"Personal(subject={self.subject!r})"


class PersonalField(NamedTuple):
    """A field that is marked.

    Attributes:
        subject: the field that says whose it is; None if it is that of the instance or stream
        erased: its value once it was erased, as plain values

    """

    subject: str | None
    erased: Any


def personal_in(where: str, hints: Mapping[str, Any]) -> dict[str, PersonalField]:
    """The fields that are marked, by name.

    Args:
        where: what errors call the class
        hints: the annotations, by field

    Raises:
        DefinitionError: a mark names no field, or the field can have no value once it was erased

    """
    found: dict[str, PersonalField] = {}
    for name, hint in hints.items():
        mark = _mark_of(hint)
        if mark is None:
            continue
        if mark.subject is not None and mark.subject not in hints:
            raise DefinitionError(
                f"{where}.{name}: Personal(subject={mark.subject!r}) names no field; "
                f"it has {', '.join(hints)}"
            )
        found[name] = PersonalField(mark.subject, _erased_value(f"{where}.{name}", hint))
    return found


@cache
def personal_of(cls: type[msgspec.Struct]) -> Mapping[str, PersonalField]:
    """The fields of a class of messages that are marked, by name.

    Raises:
        DefinitionError: as `personal_in`

    """
    hints = hints_of(cls)
    return personal_in(cls.__qualname__, {name: hints[name] for name in cls.__struct_fields__})


def _mark_of(hint: Any) -> Personal | None:
    for one in get_args(hint)[1:]:
        if one is Personal:
            return Personal()
        if isinstance(one, Personal):
            return one
    return None


_NOTHINGS: tuple[Any, ...] = (ERASED_TEXT, None, "", 0, False, b"", [], {})


def _erased_value(where: str, hint: Any) -> Any:
    """The first of what says nothing that the field can have."""
    for value in _NOTHINGS:
        try:
            msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=hint)
        except (msgspec.ValidationError, msgspec.DecodeError, TypeError):
            continue
        return value
    raise DefinitionError(
        f"{where} is marked as Personal, and has no value that says nothing, which it would have "
        f"once it was erased; write `| None` behind its type"
    )


def masked(values: Mapping[str, Any], personal: Collection[str]) -> dict[str, Any]:
    """The fields of a message or a state, with those masked that are personal.

    Args:
        values: by field
        personal: the names of the fields that are marked, as `personal_in` finds them

    """
    return {name: MASKED if name in personal else value for name, value in values.items()}


def masked_within(kind: Any, value: Any) -> Any:
    """A stored value, with what is marked as personal masked, however deep in it.

    Args:
        kind: the type of the value, of which it is as MessagePack or JSON has it
        value: what is stored

    """
    if isinstance(value, dict) and isinstance(kind, type) and _has_fields(kind):
        hints = hints_of(kind)
        return {
            name: MASKED
            if _mark_of(hints.get(name)) is not None
            else masked_within(hints.get(name), one)
            for name, one in value.items()
        }
    # Of what a list has, what a mapping has under its keys, or what there is if it is not None.
    for one in get_args(kind):
        if isinstance(value, dict) and get_origin(kind) is dict:
            value = {name: masked_within(one, held) for name, held in value.items()}
        elif isinstance(value, list):
            value = [masked_within(one, held) for held in value]
        else:
            value = masked_within(one, value)
    return value


def _has_fields(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct)
