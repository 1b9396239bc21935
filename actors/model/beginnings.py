"""Where a process manager begins that is new to a store: at the origin of the log, or later.

A class that is added to a running service would act on all that the log holds. So it says where it
begins, unless the log holds nothing that it handles. The store keeps where each began.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..clock import from_micros, to_micros
from ..errors import BeginUndecided
from ..store import CorruptRecord, EventRecord
from .subscriptions import Subscription

if TYPE_CHECKING:
    from ..store import Reads, Store
    from .process_definition import ProcessDefinition
    from .registry import Registry

__all__ = ["BEGIN", "beginnings", "begun_at", "handled_in", "mend_for", "warn_of_pruned"]

logger = logging.getLogger("procession")

BEGIN = "begin:"
"""What stands before the name of the checkpoint which says behind which position one began."""


def begun_at(store: Reads, process: str) -> int | None:
    """The position behind which a process manager began; None if it is new to the store."""
    return store.stored_checkpoint(f"{BEGIN}{process}")


def beginnings(store: Store, registry: Registry, now: int) -> dict[str, int]:
    """The positions behind which the process managers begin, or began, by name.

    Args:
        store: that is to be opened for writing
        registry: all classes
        now: the time, in microseconds

    Raises:
        BeginUndecided: some are new to the store, which holds events that they handle, and do not
            say where they begin; or they begin at a time that has not come

    """
    found: dict[str, int] = {}
    wrong: list[str] = []
    counts: dict[str, int] = {}
    for definition in registry.processes.values():
        position = begun_at(store, definition.name)
        if position is None:
            try:
                position = _first_begin(store, registry, definition, now)
            except BeginUndecided as error:
                wrong.append(str(error))
                counts |= error.counts
                continue
            warn_of_pruned(store, definition.name, position)
        found[definition.name] = position
    if wrong:
        raise BeginUndecided("\n".join(wrong), counts)
    return found


def warn_of_pruned(store: Store, process: str, position: int) -> None:
    """Say in the log if events were pruned behind a position that a class begins from."""
    pruned = store.pruned_up_to().events
    if pruned > position:
        logger.warning(
            "%s goes through the log from position %s on, of which events were pruned up to "
            "position %s: it does not see those, and what they would have begun is not there",
            process,
            f"{position:,}",
            f"{pruned:,}",
        )


def handled_in(store: Store, registry: Registry, definition: ProcessDefinition) -> int:
    """How many events a store holds that a process manager handles or acts after.

    Raises:
        CorruptRecord: a count is damaged

    """
    subscriptions = [
        Subscription(definition, registry, handlers)
        for handlers in (definition.handlers, definition.effects)
    ]
    return sum(
        count
        for of, names, count in store.read_counts()
        if of == "event" and any(one.listens_to(_stand_in(*names)) for one in subscriptions)
    )


def mend_for(definition: ProcessDefinition) -> str:
    """What to write in a class that does not say where it begins."""
    cls = definition.cls.__name__
    return (
        f'write `class {cls}(ProcessManager, begin="now", ...)` to handle what is stored from now '
        f'on, `begin="origin"` to handle all of it, commands and after-effects included, or give '
        f"a datetime with a zone to handle what was stored from then on; if {cls} is a class "
        f'under a new name, keep the old one with `name="..."`'
    )


def _first_begin(store: Store, registry: Registry, definition: ProcessDefinition, now: int) -> int:
    begin, cls = definition.begins, definition.cls.__qualname__
    if begin == "origin":
        return 0
    if begin == "now":
        return store.last_position()
    if begin is None:
        try:
            count = handled_in(store, registry, definition)
        except CorruptRecord as error:
            raise BeginUndecided(
                f"{cls} is new to the store, and how many events the store holds that it handles "
                f"cannot be read: {error}. To open it, {mend_for(definition)}",
                {},
            ) from error
        if count:
            raise BeginUndecided(
                f"{cls} is new to the store, which holds {count:,} events that it handles, and "
                f"does not say where it begins; {mend_for(definition)}",
                {definition.name: count},
            )
        return 0
    moment = to_micros(begin)
    if moment > now:
        raise BeginUndecided(
            f"{cls} begins at {begin}, which has not come: it is {from_micros(now)}. What is "
            f'stored until then would be handled as well; write `begin="now"`, or a time that '
            f"has come",
            {},
        )
    return store.position_before(moment)


def _stand_in(category: str, kind: str) -> EventRecord:
    """An event of a type in a category, for who asks whether such are listened to."""
    return EventRecord(kind, category, 0, 0, b"", "", "")
