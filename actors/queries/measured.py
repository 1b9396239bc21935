"""What happened on a design: how often each arrow was gone, how long that took, and by which ways.

One pass over what is stored. Memory depends on the design and not on how much that is: of each
arrow's waits a sample of a fixed size is kept, drawn with a fixed seed, so that the same store
gives the same figures; up to that size they are exact.
"""

from __future__ import annotations

from collections import Counter
from math import ceil
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..store import BY_PEOPLE, CorruptRecord, category_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ..store import Store, TransitionRecord

__all__ = ["Key", "Measured", "Part", "Waits", "measure"]

SAMPLE = 1_000
"""Waits that are kept of each arrow."""

MOST_VARIANTS = 1_000
"""Ways of one process manager that are told apart; the rest are counted together."""

LONGEST_WAY = 50
"""Steps of one way that are told apart; behind those stands a dot dot dot."""

Key: TypeAlias = tuple[str, ...]
"""An arrow: ``("handled", process, handler)``, with the event's type if the method has several;
``("timeout", process, name)``, ``("set", process, name)``, ``("issued", process, command)``, or
``("made", category, event)``."""


class Part(NamedTuple):
    """Which part of what is stored.

    Attributes:
        since: from then on, in microseconds; None for from the beginning
        until: before then; None for all
        code: only what that version of the code decided, by its number; None for all

    """

    since: int | None = None
    until: int | None = None
    code: int | None = None

    def has(self, time: int, code: int | None = None) -> bool:
        """Whether something of that time, decided by that code, belongs to it."""
        return (
            (self.since is None or time >= self.since)
            and (self.until is None or time < self.until)
            and (self.code is None or code is None or code == self.code)
        )


class Waits:
    """How often an arrow was gone, and how long the instance had waited for that.

    Args:
        key: of the arrow, by which the sample is drawn

    """

    def __init__(self, key: Key) -> None:
        self.count = 0
        self._timed = 0
        self._sample: list[int] = []
        self._chance = Random(repr(key))  # noqa: S311 - it draws a sample

    def add(self, wait: int | None) -> None:
        """It was gone once more, after so many microseconds; None where there was no wait."""
        self.count += 1
        if wait is None:
            return
        self._timed += 1
        if len(self._sample) < SAMPLE:
            self._sample.append(wait)
        else:
            place = self._chance.randrange(self._timed)
            if place < SAMPLE:
                self._sample[place] = wait

    def percentile(self, share: float) -> float | None:
        """The wait, in seconds, that so many were no longer than; None if there was none."""
        if not self._sample:
            return None
        ranked = sorted(self._sample)
        return ranked[max(0, ceil(share * len(ranked)) - 1)] / 1_000_000


class Measured:
    """What was found.

    Attributes:
        arrows: by their keys; one that is not here was never gone
        variants: of each process manager, by the handlers one after the other, how many of its
            runs ended that way
        ended: of each process manager, how many runs ended

    """

    def __init__(self) -> None:
        self.arrows: dict[Key, Waits] = {}
        self.variants: dict[str, Counter[str]] = {}
        self.ended: Counter[str] = Counter()
        self.unread = 0
        """Records that cannot be read; `verify` says which."""

    def note(self, key: Key, wait: int | None = None) -> None:
        """An arrow was gone."""
        waits = self.arrows.get(key)
        if waits is None:
            waits = self.arrows[key] = Waits(key)
        waits.add(wait)

    def note_way(self, process: str, way: str) -> None:
        """A run ended."""
        self.ended[process] += 1
        variants = self.variants.setdefault(process, Counter())
        if way in variants or len(variants) < MOST_VARIANTS:
            variants[way] += 1


def measure(
    stores: Sequence[Store],
    part: Part,
    today: Callable[[str], str],
    several: Collection[tuple[str, str]] = (),
) -> Measured:
    """Go through what is stored once.

    Args:
        stores: of the partitions
        part: which part of it
        today: the wire name as which a stored message is read
        several: process managers with their methods that handle several events

    """
    found = Measured()
    for store in stores:
        _pass_events(store, part, today, found)
        _pass_transitions(store, part, today, several, found)
    return found


def _pass_events(store: Store, part: Part, today: Callable[[str], str], found: Measured) -> None:
    if part.code is not None:
        # The code of a process manager decides none of them.
        return
    after = 0 if part.since is None else store.position_before(part.since)
    for _, event in store.scan_log_through(after):
        if isinstance(event, CorruptRecord):
            found.unread += 1
        elif not event.sent_for and part.has(event.time):
            found.note(("made", category_of(event.stream), today(event.type)))


def _pass_transitions(
    store: Store,
    part: Part,
    today: Callable[[str], str],
    several: Collection[tuple[str, str]],
    found: Measured,
) -> None:
    for _, row in store.scan_all_transitions():
        if isinstance(row, CorruptRecord):
            found.unread += 1
            continue
        process, instance, record = row
        if not part.has(record.time, record.code):
            continue
        try:
            before = None
            if record.version > record.run:
                before = store.stored_transition(process, instance, record.version - 1)
            _note_step(store, process, record, before, today, several, found)
            if record.is_complete and not (before is not None and before.is_complete):
                found.note_way(process, _way_to(store, process, instance, record))
        except CorruptRecord:
            found.unread += 1


def _note_step(
    store: Store,
    process: str,
    record: TransitionRecord,
    before: TransitionRecord | None,
    today: Callable[[str], str],
    several: Collection[tuple[str, str]],
    found: Measured,
) -> None:
    wait = None if before is None else max(0, record.time - before.time)
    if record.cause.startswith("timeout:"):
        found.note(("timeout", process, record.cause.partition(":")[2]), wait)
    elif record.cause not in BY_PEOPLE:
        key: Key = ("handled", process, record.handler)
        if (process, record.handler) in several and record.position:
            event = store.event_at(record.position)
            if event is not None:
                key = (*key, today(event.type))
        found.note(key, wait)
    for _, kind, _ in record.commands:
        found.note(("issued", process, today(kind)))
    known = {} if before is None else before.timers or {}
    for name, due in (record.timers or {}).items():
        if known.get(name) != due:
            found.note(("set", process, name))


def _way_to(store: Store, process: str, instance: str, last: TransitionRecord) -> str:
    """The handlers of a run, one after the other."""
    handlers = [last.handler]
    first = max(last.run, last.version - LONGEST_WAY + 1)
    for version in range(last.version - 1, first - 1, -1):
        one = store.stored_transition(process, instance, version)
        if one is not None and one.cause not in BY_PEOPLE:
            handlers.append(one.handler)
    if first > last.run:
        handlers.append("…")
    return " → ".join(reversed(handlers))
