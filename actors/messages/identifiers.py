"""Refuses what is no id and no stream's name, before it becomes part of a key."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID

from ..errors import InvalidMessage, UnknownMessage, shown
from ..store import MAX_NAME_BYTES, category_of, check_name, id_in_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "check_stream",
    "composite_id",
    "fitting_id",
    "id_of",
    "is_plain_id",
    "looked_for",
    "parts_of_id",
    "plain_text",
]


SURELY_SHORT = 64
"""Ids of so few characters need no closer look."""

LONGEST_LOOKED_FOR = 500
"""Bytes: more than a stream's name and a version."""

LONGEST_NUMBER = 4_000
"""Bits of a number that may be an id: more digits than an id has room for."""

KEPT = 160
"""Bytes of the beginning of an id that is shortened: people know it by these."""


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


def composite_id(parts: Iterable[object], where: str) -> str:
    """The id of an instance that several values name together, such as ``o1/i7``.

    A slash in a part is written ``~1``, and a tilde ``~0``, as a JSON pointer has it: other parts
    give another id, whatever characters they hold. What is too long is shortened.

    Args:
        parts: each as for `id_of`
        where: whose id it is, for the message

    Raises:
        InvalidMessage: a part cannot name anything
        InvalidName: a part is empty or too long

    """
    texts = [id_of(part, where) for part in parts]
    return fitting_id("/".join(one.replace("~", "~0").replace("/", "~1") for one in texts))


def parts_of_id(text: str) -> list[str]:
    """The parts of a composite id, as text; none if it was not made of parts, or was shortened."""
    if _SHORTENED.search(text):
        return []
    parts = text.split("/")
    if not all(parts) or any(_UNESCAPED.search(one) for one in parts):
        return []
    return [one.replace("~1", "/").replace("~0", "~") for one in parts]


_UNESCAPED = re.compile("~(?![01])")


def fitting_id(text: str) -> str:
    """A text that may be too long for an id, as an id: its beginning and a digest, if it is.

    Different texts have different ids: one that looks shortened is given a digest as well.
    """
    packed = text.encode(errors="surrogatepass")
    if len(packed) <= MAX_NAME_BYTES and not _SHORTENED.search(text):
        return text
    digest = blake2b(packed, digest_size=16).hexdigest()
    return f"{packed[:KEPT].decode(errors='ignore')}~#{digest}"


_SHORTENED = re.compile(r"~#[0-9a-f]{32}\Z")
"""How the ids end that were shortened; in a composite one, a 0 or a 1 follows each tilde."""


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
