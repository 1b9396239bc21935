"""A part of what is stored, gone through by one process."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from ..model.plans import ProcessPlan
from ..store import CorruptRecord, category_of, id_in_stream
from .replaying import Lives
from .report import Findings
from .streams import Streams
from .untaken import Untaken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..model.registry import Registry
    from ..store import EventRecord, Store, TransitionRecord

__all__ = ["Part", "go_through"]

TOGETHER = 64
"""Instances, streams or events that one process takes in a row."""

TOLD = 256
"""How many of them lie between two times that it is said how many there were."""


class Part(Struct, frozen=True):
    """What one process goes through.

    Attributes:
        number: which part it is
        of: how many parts there are
        strides: by process manager, every how many instances one is taken
        event_strides: by category and type, every how many events one is taken
        sample: most streams of a category; None for all
        is_live: whether only what is not complete is taken

    """

    number: int
    of: int
    strides: dict[str, int]
    event_strides: dict[tuple[str, str], int]
    sample: int | None
    is_live: bool

    def is_mine(self, turn: int) -> bool:
        """Whether this process takes what has that number."""
        return turn // TOGETHER % self.of == self.number


class _Told:
    """Says how much was done, now and then."""

    def __init__(self, told: Callable[[int], object]) -> None:
        self._told = told
        self._done = 0

    def add(self) -> None:
        self._done += 1
        if self._done % TOLD == 0:
            self._told(self._done)

    def end(self) -> None:
        self._told(self._done)


def go_through(
    stores: Sequence[Store], registry: Registry, part: Part, told: Callable[[int], object]
) -> Findings:
    """Decide the instances of a part again, and have its aggregates and its events decided.

    Args:
        stores: one, or the partitions of a divided store; they are only read
        registry: the classes that decide
        part: what of it
        told: is called with how many instances and events it went through, now and then

    Returns:
        what was found

    Raises:
        StoreError: a store cannot be read any more

    """
    findings, tell = Findings(), _Told(told)
    streams = Streams(registry, stores)
    # Whether a chain is too long was decided then.
    plans = [
        ProcessPlan(one, registry, max_chain=sys.maxsize) for one in registry.processes.values()
    ]
    for plan in plans:
        for index, store in enumerate(stores):
            lives = Lives(plan, store)
            for place, name in _instances(store, plan.name, part):
                tell.add()
                if isinstance(name, CorruptRecord):
                    findings.instances += 1
                    findings.add_damaged(f"started with transition {place}", name)
                    continue
                try:
                    if part.is_live and _is_complete(store, plan.name, name):
                        continue
                    life = lives.of(name)
                    findings.add_life(plan.name, name, place * len(stores) + index, life)
                    for made in life.refused:
                        _refuse_again(findings, streams, place * len(stores) + index, made)
                except CorruptRecord as error:
                    findings.instances += 1
                    findings.add_damaged(name, error)
            findings.handled |= {(plan.name, one) for one in lives.handled}
    for index in range(len(stores)):
        log = _Log(stores, index, registry, part, findings, tell)
        log.go_through(plans, streams)
    findings.handled |= streams.handled
    tell.end()
    return findings


def _instances(store: Store, process: str, part: Part) -> Iterator[tuple[int, str | CorruptRecord]]:
    stride = part.strides.get(process, 1)
    for count, started in enumerate(store.scan_started(process)):
        turn, rest = divmod(count, stride)
        if not rest and turn // TOGETHER % part.of == part.number:
            yield started


def _is_complete(store: Store, process: str, instance: str) -> bool:
    last = store.last_transition(process, instance)
    return last is not None and last.is_complete


def _refuse_again(findings: Findings, streams: Streams, place: int, made: TransitionRecord) -> None:
    """Carry out a command again whose refusal made a transition."""
    again = streams.refused_again(made)
    if again is not None:
        stream, met = again
        findings.commands += 1
        findings.add_met(category_of(stream), id_in_stream(stream), place, met)


class _Log:
    """The log of one store, by which its aggregates and the events that pass are found.

    Args:
        stores: one, or the partitions of a divided store
        number: which of them
        registry: the classes that decide
        part: what of it
        findings: takes up what is found
        tell: is told of each event

    """

    def __init__(
        self,
        stores: Sequence[Store],
        number: int,
        registry: Registry,
        part: Part,
        findings: Findings,
        tell: _Told,
    ) -> None:
        self._stores = stores
        self._number = number
        self._store = stores[number]
        self._registry = registry
        self._part = part
        self._findings = findings
        self._tell = tell
        self._domains = {one.name for one in registry.domains}
        self._may_be_pruned = self._store.may_be_pruned()

    def go_through(self, plans: Sequence[ProcessPlan], streams: Streams) -> None:
        """Go through all of it once."""
        untaken = [
            Untaken(one, self._stores, self._number, is_live=self._part.is_live) for one in plans
        ]
        chosen: dict[str, _Chosen] = {}
        of_type: Counter[tuple[str, str]] = Counter()
        begun = 0
        for turn, (position, record) in enumerate(self._store.scan_log_through()):
            is_mine = self._part.is_mine(turn)
            place = position * len(self._stores) + self._number
            if is_mine:
                self._tell.add()
            if isinstance(record, CorruptRecord):
                if is_mine:
                    self._findings.add_damaged(f"the event at position {place}", record)
                continue
            if not record.sent_for and self._is_first(record):
                if self._part.sample is None:
                    if self._part.is_mine(begun):
                        self._go_through_stream(streams, record, place)
                else:
                    most = -(-self._part.sample // len(self._stores))
                    of_category = chosen.setdefault(category_of(record.stream), _Chosen(most))
                    of_category.add((record, place))
                begun += 1
            listening = [one for one in untaken if one.listens_to(record)]
            if listening:
                kind = category_of(record.stream), record.type
                number, rest = divmod(of_type[kind], self._part.event_strides.get(kind, 1))
                of_type[kind] += 1
                if not rest and self._part.is_mine(number):
                    self._try_event(listening, record, place)
        for of_category in chosen.values():
            for turn, (first, place) in enumerate(of_category.taken):
                if self._part.is_mine(turn):
                    self._go_through_stream(streams, first, place)

    def _is_first(self, record: EventRecord) -> bool:
        """Whether an event is the first of its stream that is there."""
        if record.version == 1:
            return True
        return (
            self._may_be_pruned and self._store.event_in(record.stream, record.version - 1) is None
        )

    def _go_through_stream(self, streams: Streams, first: EventRecord, place: int) -> None:
        stream = first.stream
        category, name = category_of(stream), id_in_stream(stream)
        owner = self._registry.owner_of(stream)
        if owner is None:
            # What was published has no cause, and what is others' has another domain.
            if first.causation_id is not None and category.rpartition("::")[0] in self._domains:
                self._findings.add_gone_stream(category, name, place)
            return
        try:
            life = streams.of(owner, first, self._store)
        except CorruptRecord as error:
            self._findings.add_damaged(stream, error)
        else:
            self._findings.add_stream(category, name, place, life)

    def _try_event(self, untaken: Iterable[Untaken], record: EventRecord, place: int) -> None:
        for one in untaken:
            try:
                for taken_up in one.of(record):
                    self._findings.add_taken_up(one.name, place, taken_up)
            except CorruptRecord as error:
                self._findings.add_damaged(f"what {record.event_id} came to in {one.name}", error)


class _Chosen:
    """Some of many, evenly chosen, of which it is not known before how many there are.

    Args:
        most: how many at most

    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._stride = 1
        self._count = 0
        self.taken: list[tuple[EventRecord, int]] = []

    def add(self, one: tuple[EventRecord, int]) -> None:
        """Come by one more."""
        if self._count % self._stride == 0:
            if len(self.taken) == self._most:
                # Every other of them is as even a choice.
                self.taken = self.taken[::2]
                self._stride *= 2
            if self._count % self._stride == 0:
                self.taken.append(one)
        self._count += 1
