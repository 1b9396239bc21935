"""Refuses what is no id and no stream's name, before it becomes part of a key."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from uuid import UUID

from ..errors import InvalidMessage, UnknownMessage, shown
from ..store import category_of, check_name, id_in_stream

__all__ = ["check_stream", "id_of", "is_plain_id", "looked_for", "plain_text"]


SURELY_SHORT = 64
"""Ids of so few characters need no closer look."""

LONGEST_LOOKED_FOR = 500
"""Bytes: more than a stream's name and a version."""

LONGEST_NUMBER = 4_000
"""Bits of a number that may be an id: more digits than an id has room for."""


@lru_cache(maxsize=4_096)
def is_plain_id(text: str) -> bool:
    """Whether a text is an id without a closer look; it is asked for with each event."""
    return 0 < len(text) <= SURELY_SHORT and text.isascii() and "\0" not in text


def id_of(value: object, where: str) -> str:
    """The text that names an instance or an aggregate, from a field's value.

    Args:
        value: text, a whole number, a UUID, or an enum member of one of these
        where: whose id it is, for the message

    Raises:
        InvalidMessage: the value cannot name anything
        InvalidName: the text is empty or too long

    """
    if type(value) is str and is_plain_id(value):
        return value
    # By their types alone: what a value says of itself may be anything.
    if issubclass(type(value), Enum):
        assert isinstance(value, Enum)
        value = value.value
    kind = type(value)
    if issubclass(kind, UUID):
        assert isinstance(value, UUID)
        value = UUID.__str__(value)
    elif issubclass(kind, int) and not issubclass(kind, bool):
        assert isinstance(value, int)
        # Longer ones are no ids in any case, and some cannot be written out.
        value = int.__repr__(value) if int.bit_length(value) <= LONGEST_NUMBER else value
    name = plain_text(value)
    if name is None:
        raise InvalidMessage(
            f"{where}: {shown(value)} is no id; ids are text, whole numbers or UUIDs"
        )
    check_name(f"id {where}", name)
    return name


def plain_text(value: object) -> str | None:
    """Text as a plain `str`, whose own methods cannot do anything else; None if it is none."""
    return str.__str__(value) if issubclass(type(value), str) else None


def looked_for(value: object) -> str:
    """An id of an event or a command that a caller asks for, which may be any text.

    Raises:
        UnknownMessage: nothing can have that id

    """
    name = plain_text(value)
    try:
        size = 0 if name is None else len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if name is None or not 0 < size <= LONGEST_LOOKED_FOR:
        raise UnknownMessage(f"nothing has the id {shown(value)}; ids are text, as tell() returns")
    return name


def check_stream(stream: object) -> str:
    """Refuse a name that is not `category-id`; returns it.

    Raises:
        InvalidMessage: it is no stream's name
        InvalidName: it is too long to be a key, or cannot be one

    """
    name = plain_text(stream)
    if name is None:
        raise InvalidMessage(f"stream={shown(stream)} is no text; give a str")
    check_name("stream", name)
    if not (category_of(name) and id_in_stream(name)):
        raise InvalidMessage(
            f'stream {name!r} is no stream name; write "category-id", such as "ecommerce::order-o1"'
        )
    return name
