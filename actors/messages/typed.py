"""What a person types, as a value of the type that a field has."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from ..errors import InvalidMessage

__all__ = ["typed"]


def typed(hint: Any, field: str, said: str) -> Any:
    """A value of a field's type.

    As text where the type can be read from it, which keeps a `Decimal` what was typed, and
    otherwise as JSON.

    Args:
        hint: the field's annotation
        field: its name
        said: what was typed

    Raises:
        InvalidMessage: it is no such value

    """
    with suppress(msgspec.ValidationError):
        return msgspec.convert(said, hint, strict=False)
    try:
        return msgspec.json.decode(said, type=hint)
    except msgspec.MsgspecError as error:
        raise InvalidMessage(f"{field}={said} does not fit: {error}") from error
