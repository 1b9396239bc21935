"""A program as plain data, so that the word that pins a run can hold what a strategy made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..store import EventRecord

from ..messages.codec import dump, dump_headers, load_headers
from ..messages.types import Command
from .outside import Publish

if TYPE_CHECKING:
    from ..model.registry import Catalog
    from .outside import Item, Program

__all__ = ["program_from", "program_to"]


def program_to(catalog: Catalog, program: Program) -> list[Any]:
    """The program as MessagePack has it."""
    return [
        [_item_to(catalog, item) for item in one]
        if isinstance(one, Sequence)
        else _item_to(catalog, one)
        for one in program
    ]


def program_from(catalog: Catalog, packed: list[Any]) -> list[Any]:
    """The program that `program_to` packed."""
    return [
        [_item_from(catalog, item) for item in one]
        if isinstance(one, list)
        else _item_from(catalog, one)
        for one in packed
    ]


def _item_to(catalog: Catalog, item: Any) -> dict[str, Any]:
    if isinstance(item, timedelta):
        return {"wait": item // timedelta(microseconds=1)}
    if isinstance(item, Command):
        return {"tell": catalog.name_of(type(item)), "data": dump(item)[0]}
    if not isinstance(item, Publish):
        item = Publish(item)
    packed: dict[str, Any] = {
        "publish": catalog.name_of(type(item.event)),
        "data": dump(item.event)[0],
    }
    given = {"stream": item.stream, "id": item.event_id, "headers": dump_headers(item.headers)}
    return packed | {name: value for name, value in given.items() if value is not None}


def _item_from(catalog: Catalog, packed: dict[str, Any]) -> Item:
    if "wait" in packed:
        return timedelta(microseconds=packed["wait"])
    if "tell" in packed:
        return catalog.load_command(packed["tell"], packed["data"])
    record = EventRecord(packed["publish"], "packed-1", 1, 0, packed["data"], "", "")
    headers = packed.get("headers")
    return Publish(
        catalog.load_event(record),
        packed.get("stream"),
        packed.get("id"),
        None if headers is None else load_headers(headers),
    )
