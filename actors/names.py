"""Names: ids, streams and categories."""

from __future__ import annotations

from enum import Enum
from uuid import UUID

from store import check_name

from .errors import InvalidMessage

__all__ = ["category_of", "check_stream", "id_of"]


SURELY_SHORT = 64
"""Ids of so few characters need no closer look."""


def id_of(value: object, where: str) -> str:
    """The text that names an instance or an aggregate, from a field's value.

    Args:
        value: text, a whole number, a UUID, or an enum member of one of these
        where: whose id it is, for the message

    Raises:
        InvalidMessage: the value cannot name anything
        InvalidName: the text is empty or too long

    """
    if (
        type(value) is str
        and 0 < len(value) <= SURELY_SHORT
        and value.isascii()
        and "\0" not in value
    ):
        return value
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, UUID) or (isinstance(value, int) and not isinstance(value, bool)):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidMessage(f"{where}: {value!r} is no id; ids are text, whole numbers or UUIDs")
    check_name(f"id {where}", value)
    return value


def category_of(stream: str) -> str:
    """The part of a stream's name before the first dash."""
    return stream.partition("-")[0]


def check_stream(stream: str) -> None:
    """Refuse a name that is not `category-id`.

    Raises:
        InvalidMessage: it is no stream's name
        InvalidName: it is too long to be a key, or cannot be one

    """
    if not isinstance(stream, str):
        raise InvalidMessage(f"stream={stream!r} is no text; give a str")
    check_name("stream", stream)
    category, dash, rest = stream.partition("-")
    if not (category and dash and rest):
        raise InvalidMessage(
            f'stream {stream!r} is no stream name; write "category-id", '
            f'such as "ecommerce::order-o1"'
        )
