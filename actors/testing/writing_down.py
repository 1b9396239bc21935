"""A program as plain data, so that the word that pins a run can hold what a strategy made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..messages.codec import dump, dump_headers, load_headers
from ..messages.types import Command
from ..store import EventRecord
from .outside import Publish

if TYPE_CHECKING:
    from ..model.registry import Registry
    from .outside import Item, Program

__all__ = ["program_from", "program_to"]


def program_to(registry: Registry, program: Program) -> list[Any]:
    """The program as MessagePack has it."""
    return [
        [_item_to(registry, item) for item in one]
        if isinstance(one, Sequence)
        else _item_to(registry, one)
        for one in program
    ]


def program_from(registry: Registry, packed: list[Any]) -> list[Any]:
    """The program that `program_to` packed."""
    return [
        [_item_from(registry, item) for item in one]
        if isinstance(one, list)
        else _item_from(registry, one)
        for one in packed
    ]


def _item_to(registry: Registry, item: Any) -> dict[str, Any]:
    if isinstance(item, timedelta):
        return {"wait": item // timedelta(microseconds=1)}
    if isinstance(item, Command):
        return {"tell": registry.name_of(type(item)), "data": dump(item)[0]}
    if not isinstance(item, Publish):
        item = Publish(item)
    packed: dict[str, Any] = {
        "publish": registry.name_of(type(item.event)),
        "data": dump(item.event)[0],
    }
    given = {"stream": item.stream, "id": item.event_id, "headers": dump_headers(item.headers)}
    return packed | {name: value for name, value in given.items() if value is not None}


def _item_from(registry: Registry, packed: dict[str, Any]) -> Item:
    if "wait" in packed:
        return timedelta(microseconds=packed["wait"])
    if "tell" in packed:
        return registry.load_command(packed["tell"], packed["data"])
    record = EventRecord(packed["publish"], "packed-1", 1, 0, packed["data"], "", "")
    headers = packed.get("headers")
    return Publish(
        registry.load_event(record),
        packed.get("stream"),
        packed.get("id"),
        None if headers is None else load_headers(headers),
    )
