"""Going through what msgspec says of a type, and of the types inside of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WITH_FIELDS", "every_type_in", "inside_of"]

WITH_FIELDS = (
    inspect.StructType,
    inspect.DataclassType,
    inspect.TypedDictType,
    inspect.NamedTupleType,
)


def every_type_in(described: inspect.Type) -> Iterator[inspect.Type]:
    """A type and those inside of it, each once: a class may have fields of its own kind."""
    seen: set[int] = set()
    waiting = [described]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += inside_of(one)


def inside_of(one: inspect.Type) -> Iterator[inspect.Type]:
    """The types directly inside of one."""
    if isinstance(one, inspect.Metadata):
        yield one.type
    elif isinstance(one, inspect.UnionType):
        yield from one.types
    elif isinstance(one, inspect.DictType):
        yield from (one.key_type, one.value_type)
    elif isinstance(one, inspect.TupleType):
        yield from one.item_types
    elif isinstance(one, inspect.CollectionType):
        yield one.item_type
    elif isinstance(one, WITH_FIELDS):
        yield from (field.type for field in one.fields)
