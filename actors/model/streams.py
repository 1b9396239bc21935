"""The streams that a class listens to, as it names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..authoring.aggregate import Aggregate
from ..errors import DefinitionError, shown
from ..store import InvalidName, category_of, check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_streams"]


def check_streams(where: str, streams: Iterable[object], *, is_given: bool) -> None:
    """Refuse what is neither a category nor an aggregate.

    Args:
        where: the class that names them
        streams: what it names
        is_given: whether it names any at all

    Raises:
        DefinitionError: one of them is neither, or there is none

    """
    if is_given and not tuple(streams):
        raise DefinitionError(
            f"{where}: streams is empty, so nothing would be listened to; name a category or "
            f"an aggregate class, or remove it to listen to all"
        )
    for stream in streams:
        is_class = isinstance(stream, type) and issubclass(stream, Aggregate)
        if not is_class and not isinstance(stream, str):
            raise DefinitionError(
                f"{where}: streams has {stream!r}; give categories such as "
                f'"ecommerce::order", or aggregate classes'
            )
        if isinstance(stream, str) and "-" in stream:
            raise DefinitionError(
                f"{where}: streams has {stream!r}, which is one stream; give its category, "
                f"{category_of(stream)!r}"
            )
        if isinstance(stream, str):
            try:
                check_name("category", stream)
            except InvalidName as error:
                raise DefinitionError(
                    f"{where}: streams has {shown(stream)}, which no event can have: {error}"
                ) from error
