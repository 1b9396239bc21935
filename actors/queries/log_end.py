"""What comes to the end of a store's logs, in one order: events, transitions, and what is parked.

How far a follower is, is a number for each log of each kind, which it takes along to go on from
there. Nothing else is kept, so memory does not depend on how far it is behind, and the store does
not know that there is one.
"""

from __future__ import annotations

import re
from heapq import merge, nlargest
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ..errors import InvalidMessage, Pruned, shown
from ..store import CorruptRecord, EventRecord, ParkedRecord, TransitionRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from ..store import Store

__all__ = ["KINDS", "Found", "Kind", "LogEnd", "Place", "place_of", "text_of"]

Kind: TypeAlias = Literal["event", "transition", "parked"]

KINDS: tuple[Kind, ...] = ("event", "transition", "parked")
"""Those that can be followed, each before what comes of it."""

Place: TypeAlias = dict[tuple[Kind, int], int]
"""How far one is: by kind and partition, the number of the newest that was seen."""

_PART = re.compile(r"(event|transition|parked)\.(\d{1,4}):(\d{1,18})")


class Found(NamedTuple):
    """One record, and where it is.

    Attributes:
        kind: of what
        partition: whose log has it; 0 of a store that is not divided
        number: its place in that log
        record: what is stored; a transition with the process manager's name and the instance's id;
            an error in the place of what cannot be read

    """

    kind: Kind
    partition: int
    number: int
    record: EventRecord | tuple[str, str, TransitionRecord] | ParkedRecord | CorruptRecord


class LogEnd:
    """Looks at the end of logs again and again.

    What belongs to one kind and one partition comes in its order. The rest is in order of time, an
    event before the transitions that it made and before what is parked of it.

    Args:
        stores: of the partitions, in order
        kinds: what is looked for
        place: how far one is; without a kind and partition, at the end as it is now
        is_wanted: whether a record is one that is looked for

    Attributes:
        place: how far it is: all up to there was given, or is not wanted

    """

    def __init__(
        self,
        stores: Sequence[Store],
        kinds: Collection[Kind],
        place: Mapping[tuple[Kind, int], int],
        is_wanted: Callable[[Found], bool],
    ) -> None:
        self._stores = stores
        self._is_wanted = is_wanted
        wanted = [
            (kind, number) for kind in KINDS if kind in kinds for number in range(len(stores))
        ]
        self.place: Place = {
            one: place[one] if one in place else self._newest(*one) for one in wanted
        }
        # How far what was pruned is passed over.
        self._passed: Place = {
            one: 0 if number else self._pruned(*one) for one, number in self.place.items()
        }

    def look(self) -> Iterator[Found]:
        """What is new, up to where the logs end when the look begins.

        Raises:
            Pruned: something was pruned that was not found yet

        """
        self._refuse_pruned()
        # Causes last, so that those of all that is found are found as well.
        ends = {one: self._newest(*one) for one in reversed(self.place)}
        sources = [self._numbered(*one, ends[one]) for one in self.place]
        for _, found in merge(*sources, key=lambda pair: pair[0]):
            self.place[found.kind, found.partition] = found.number
            if self._is_wanted(found):
                yield found
        for one, end in ends.items():
            self.place[one] = max(self.place[one], end)

    def go_back(self, count: int) -> None:
        """Have the newest of each kind come again, of all partitions together.

        Args:
            count: how many; of those that were pruned none comes

        """
        for kind in dict.fromkeys(kind for kind, _ in self.place):
            self._go_back(kind, count)
        self.pass_pruned()

    def _go_back(self, kind: Kind, count: int) -> None:
        ends = {number: end for (of, number), end in self.place.items() if of == kind}
        if len(ends) == 1 or not count:
            for number, end in ends.items():
                self.place[kind, number] = max(0, end - count)
            return
        # Of each log its share of them, and more of those all of which are among them.
        depth = max(1, 2 * count // len(ends))
        times: dict[int, list[tuple[int, int, int]]] = {}
        asked, first = list(ends), (0, 0, 0)
        while asked:
            for number in asked:
                self.place[kind, number] = max(0, ends[number] - depth)
                times[number] = [
                    (time, number, found.number)
                    for time, found in self._numbered(kind, number, ends[number])
                ]
            newest = nlargest(count, chain.from_iterable(times.values()))
            first = newest[-1] if len(newest) == count else (0, 0, 0)
            asked = [
                number
                for number, seen in times.items()
                # One that cannot be read has the time of the one before it, if that was looked at.
                if self.place[kind, number] and not (seen and seen[0][0] > 0 and seen[0] < first)
            ]
            depth *= 2
        for number, end in ends.items():
            among = [place for time, _, place in times[number] if (time, number, place) >= first]
            self.place[kind, number] = min(among, default=end + 1) - 1

    def pass_pruned(self) -> None:
        """Go on past all that is pruned by now."""
        self._passed = {one: self._pruned(*one) for one in self.place}

    def _refuse_pruned(self) -> None:
        for one, number in self.place.items():
            newest = self._pruned(*one)
            if newest > max(number, self._passed[one]):
                kind, partition = one
                where = f" of partition {partition}" * (len(self._stores) > 1)
                raise Pruned(
                    f"what is followed goes on behind the {kind} {number}{where}, and some behind "
                    f"it were pruned, up to {newest}, before they were told of; an archive may "
                    f"have them, and past_pruned=True goes on with what is there"
                )

    def _pruned(self, kind: Kind, partition: int) -> int:
        marks = self._stores[partition].pruned_up_to()
        if kind == "event":
            return marks.events
        return marks.transitions if kind == "transition" else marks.parked

    def _newest(self, kind: Kind, partition: int) -> int:
        store = self._stores[partition]
        if kind == "event":
            return store.last_position()
        return (
            store.last_transition_number() if kind == "transition" else store.last_parked_number()
        )

    def _numbered(self, kind: Kind, partition: int, end: int) -> Iterator[tuple[int, Found]]:
        """Those of one log up to its end with their times; of what is damaged, that before it."""
        time, after = 0, self.place[kind, partition]
        if after >= end:
            return
        for number, record in self._scanned(kind, self._stores[partition], after, end):
            if number > end:
                return
            if isinstance(record, tuple):
                time = record[2].time
            elif not isinstance(record, CorruptRecord):
                time = record.time
            yield time, Found(kind, partition, number, record)

    @staticmethod
    def _scanned(
        kind: Kind, store: Store, after: int, end: int
    ) -> Iterator[
        tuple[int, EventRecord | tuple[str, str, TransitionRecord] | ParkedRecord | CorruptRecord]
    ]:
        if kind == "event":
            return store.scan_log_through(after)
        if kind == "transition":
            return store.scan_all_transitions(after)
        return _parked(store, after, end)


def _parked(
    store: Store, after: int, end: int
) -> Iterator[tuple[int, ParkedRecord | CorruptRecord]]:
    """What is parked, and what was until it was decided, by number."""
    for number in range(after + 1, end + 1):
        try:
            # In this order: it goes from the one table to the other.
            record = store.parked_as(number) or store.decided_as(number)
        except CorruptRecord as error:
            yield number, error
        else:
            if record is not None:
                yield number, record


def text_of(place: Mapping[tuple[Kind, int], int]) -> str:
    """How far one is, as text without spaces."""
    return ",".join(f"{kind}.{partition}:{number}" for (kind, partition), number in place.items())


def place_of(text: str, kinds: Collection[Kind], partitions: int) -> Place:
    """How far one is, as `text_of` said it.

    Args:
        text: what it said
        kinds: what is followed
        partitions: how many logs there are of each kind

    Raises:
        InvalidMessage: the text is none, or of a follower of other kinds or partitions

    """
    parts = [_PART.fullmatch(part) for part in text.split(",")]
    place: Place = {
        (one[1], int(one[2])): int(one[3])  # type: ignore[misc] # the pattern has the kinds
        for one in parts
        if one is not None
    }
    wanted = {(kind, number) for kind in kinds for number in range(partitions)}
    if None in parts or place.keys() != wanted:
        raise InvalidMessage(
            f"after={shown(text)} is not how far a follower of {' and '.join(sorted(kinds))} is in "
            f"{partitions} partition{'s' * (partitions != 1)}; give the `position` of one that "
            f"follows the same"
        )
    return place
