"""A part of what is stored, gone through by one process."""

from __future__ import annotations

import math
import sys
from collections import Counter
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec import Struct

from ..model.plans import ProcessPlan
from ..store import CorruptRecord, PageReads, category_of, id_in_stream
from .replaying import Lives
from .report import Findings
from .streams import Streams
from .untaken import Untaken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..model.registry import Registry
    from ..store import EventRecord, Store, TransitionRecord

__all__ = ["Part", "go_through"]

T = TypeVar("T")

TOGETHER = 128
"""Places in the log, or of transitions, that one process takes in a row and reads at once."""


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
        """Whether this process takes what has that number among those that are chosen."""
        return self.sample is None or turn // TOGETHER % self.of == self.number

    def pages(
        self, read: Callable[[int, int], list[tuple[int, T]]]
    ) -> Iterator[list[tuple[int, T]]]:
        """The pages of a table that this process reads: its share of them.

        All are read for a sample, since which are chosen is counted.

        Args:
            read: reads what is behind a place in a table, at most so many

        """
        of = self.of if self.sample is None else 1
        place = self.number * TOGETHER if of > 1 else 0
        while page := read(place, TOGETHER):
            if of == 1:
                yield page
                place = page[-1][0]
                continue
            # There may be gaps.
            share = (page[0][0] - 1) // TOGETHER
            if share % of == self.number:
                yield [one for one in page if (one[0] - 1) // TOGETHER == share]
            # The next one of this process.
            place = (share + of - (share - self.number) % of) * TOGETHER


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
    findings = Findings()
    # Whether a chain is too long was decided then.
    plans = [
        ProcessPlan(one, registry, max_chain=sys.maxsize) for one in registry.processes.values()
    ]
    done = 0
    with ExitStack() as stack:
        reads = [stack.enter_context(PageReads(one)) for one in stores]
        streams = Streams(registry, reads)
        for number in range(len(stores)):
            place = _Place(reads, number, streams, part, findings)
            instances = _Instances(place, plans)
            log = _Log(place, instances.untaken(), registry)
            for count in _side_by_side(instances, log):
                for one in reads:
                    one.turn()
                done += count
                told(done)
            findings.handled |= instances.handled
    findings.handled |= streams.handled
    return findings


def _side_by_side(instances: _Instances, log: _Log) -> Iterator[int]:
    """Go through both as they came to be, so that what they have in common is read once.

    Yields:
        page by page, how many instances and events it had

    """
    done = 0
    ratio = instances.last_number() / max(1, log.last_position())
    for page in log.pages():
        for _ in instances.up_to(page[-1][0] * ratio):
            done += 1
            if done >= TOGETHER:
                yield done
                done = 0
        yield done + log.go_through(page)
        done = 0
    for _ in chain(instances.up_to(math.inf), log.go_through_chosen()):
        done += 1
        if done >= TOGETHER:
            yield done
            done = 0
    yield done


class _Place(NamedTuple):
    """One store that is gone through.

    Attributes:
        stores: one, or the partitions of a divided store
        number: which of them
        streams: goes through aggregates, and has refused commands carried out again
        part: what of it is gone through
        findings: takes up what is found

    """

    stores: Sequence[PageReads]
    number: int
    streams: Streams
    part: Part
    findings: Findings

    @property
    def store(self) -> PageReads:
        """The one."""
        return self.stores[self.number]

    def whole(self, number: int) -> int:
        """A place in its log or among its transitions, as one in those of all stores."""
        return number * len(self.stores) + self.number


class _Instances:
    """The instances of one store.

    Args:
        place: which, and what takes up what is found
        plans: of the process managers, with the code that decides

    """

    def __init__(self, place: _Place, plans: Sequence[ProcessPlan]) -> None:
        self._place = place
        self._store, self._part, self._findings = place.store, place.part, place.findings
        self._begun = [_Begun(one, place.store, place.part) for one in plans]

    @property
    def handled(self) -> set[tuple[str, str]]:
        """The methods that were tried, by process manager."""
        return {(one.name, handler) for one in self._begun for handler in one.lives.handled}

    def untaken(self) -> list[Untaken]:
        """What tries the process managers on the events that made no transition in these."""
        return [
            Untaken(
                one.plan,
                self._place.stores,
                self._place.number,
                one.lives.taken,
                is_live=self._part.is_live,
            )
            for one in self._begun
        ]

    def last_number(self) -> int:
        """The number of the newest transition."""
        return self._store.last_transition_number()

    def up_to(self, number: float) -> Iterator[None]:
        """Go through the instances that began with a transition up to that number, one by one."""
        for begun in self._begun:
            while begun.first is not None and begun.first[0] <= number:
                self._go_through(begun, *begun.first)
                begun.first = next(begun.rest, None)
                yield

    def _go_through(self, begun: _Begun, number: int, instance: str | CorruptRecord) -> None:
        findings, name = self._findings, begun.name
        place = self._place.whole(number)
        if isinstance(instance, CorruptRecord):
            findings.instances += 1
            findings.add_damaged(f"started with transition {number}", instance)
            return
        try:
            if self._part.is_live and _is_complete(self._store, name, instance):
                return
            life = begun.lives.of(instance)
            findings.add_life(name, instance, place, life)
            for made in life.refused:
                _refuse_again(findings, self._place.streams, place, made)
        except CorruptRecord as error:
            findings.instances += 1
            findings.add_damaged(instance, error)


class _Begun:
    """The instances of one process manager that this process takes, by where they began."""

    def __init__(self, plan: ProcessPlan, store: PageReads, part: Part) -> None:
        self.plan = plan
        self.name = plan.name
        self.lives = Lives(plan, store)
        self.rest = self._all(store, part)
        self.first = next(self.rest, None)

    def _all(self, store: PageReads, part: Part) -> Iterator[tuple[int, str | CorruptRecord]]:
        stride = part.strides.get(self.name, 1)
        pages = part.pages(partial(store.read_started_through, self.name))
        for count, started in enumerate(chain.from_iterable(pages)):
            turn, rest = divmod(count, stride)
            if not rest and part.is_mine(turn):
                yield started


def _is_complete(store: PageReads, process: str, instance: str) -> bool:
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
        place: which, and what takes up what is found
        untaken: tries process managers on its events
        registry: the classes that decide

    """

    def __init__(self, place: _Place, untaken: Sequence[Untaken], registry: Registry) -> None:
        self._place = place
        self._store, self._part, self._findings = place.store, place.part, place.findings
        self._registry = registry
        self._domains = {one.name for one in registry.domains}
        self._untaken = untaken
        # What is chosen for a sample, and what that is counted by.
        self._most = (
            None if place.part.sample is None else -(-place.part.sample // len(place.stores))
        )
        self._chosen: dict[str, _Chosen] = {}
        self._of_type: Counter[tuple[str, str]] = Counter()
        self._read = 0

    def last_position(self) -> int:
        """The position of the newest event."""
        return self._store.last_position()

    def pages(self) -> Iterator[list[tuple[int, EventRecord | CorruptRecord]]]:
        """What this process reads of the log."""
        return self._part.pages(self._store.read_log_through)

    def go_through(self, page: Iterable[tuple[int, EventRecord | CorruptRecord]]) -> int:
        """Go through some of it; gives how many events of it were this process's."""
        done = 0
        for position, record in page:
            is_mine = self._most is None or self._part.is_mine(self._read)
            self._read += 1
            done += is_mine
            place = self._place.whole(position)
            if isinstance(record, CorruptRecord):
                if is_mine:
                    self._findings.add_damaged(f"the event at position {place}", record)
                continue
            if not record.sent_for and (record.version == 1 or self._is_first(record)):
                if self._most is None:
                    self._go_through_stream(record, place)
                else:
                    chosen = self._chosen.setdefault(
                        category_of(record.stream), _Chosen(self._most)
                    )
                    chosen.add((record, place))
            listening = [one for one in self._untaken if one.listens_to(record)]
            if listening and self._takes(record):
                self._try_event(listening, record, place)
        return done

    def _takes(self, record: EventRecord) -> bool:
        """Whether an event is one that this process tries."""
        if self._most is None:
            return True
        kind = category_of(record.stream), record.type
        number, rest = divmod(self._of_type[kind], self._part.event_strides.get(kind, 1))
        self._of_type[kind] += 1
        return not rest and self._part.is_mine(number)

    def go_through_chosen(self) -> Iterator[None]:
        """Go through the streams that were chosen for a sample, one by one."""
        for chosen in self._chosen.values():
            for turn, (first, place) in enumerate(chosen.taken):
                if self._part.is_mine(turn):
                    self._go_through_stream(first, place)
                    yield

    def _is_first(self, record: EventRecord) -> bool:
        """Whether a later event is the first of its stream that is there."""
        return (
            self._store.may_be_pruned()
            and self._store.event_in(record.stream, record.version - 1) is None
        )

    def _go_through_stream(self, first: EventRecord, place: int) -> None:
        stream = first.stream
        category, _, name = stream.partition("-")
        owner = self._registry.owner_of(stream)
        if owner is None:
            # What was published has no cause, and what is others' has another domain.
            if first.causation_id is not None and category.rpartition("::")[0] in self._domains:
                self._findings.add_gone_stream(category, name, place)
            return
        try:
            life = self._place.streams.of(owner, first, self._store)
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
