"""Events that made no transition, and would make one if given code had been there.

Today's code lets such an event pass: it does not handle its type, finds another instance for it, or
one that does not take it. The given code decides it from what is stored that the instance was when
the event came. Left out is what is set aside, what has not come yet, what was stored before the
process manager began or anything was pruned, what was there when an instance was rebuilt, and what
finds its instances by a learnt key: who had it then is not kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from ..core.process_state import ProcessState
from ..engine.router import SENT
from ..errors import Erased, InvalidMessage, UnknownMessage, type_of_error
from ..model.beginnings import begun_at
from ..store import BY_PEOPLE, PRUNED, TransitionRecord, erased_at
from .differences import Found, issued_by, said_of
from .retaking import TIMEOUT, Retaking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..model.plans import ProcessPlan
    from ..store import EventRecord, PageReads
    from .outcomes import Outcome

__all__ = ["TakenUp", "Untaken"]

PAGE = 256
"""Transitions that are read at a time."""

MOST_KNOWN = 200_000
"""Positions of transitions that are remembered, about; each instance counts for some."""

OF_INSTANCE = 16
"""How many positions an instance counts for besides its own."""

ALL = (1 << 63) - 1


class TakenUp(NamedTuple):
    """An event that would be taken up.

    Attributes:
        instance: that takes it up; empty of one that cannot be correlated
        version: that its transition would have
        handler: the method
        found: what comes of it
        is_steady: whether it does once more

    """

    instance: str
    version: int
    handler: str
    found: Found
    is_steady: bool = True


class _Known(NamedTuple):
    """What is known of the transitions of an instance.

    Attributes:
        positions: of the events that made them, in order
        covered: up to which position it cannot be said what it took
        is_running: whether it has begun, and is not complete

    """

    positions: array[int]
    covered: int
    is_running: bool


class Untaken:
    """Tries a process manager on the events of one store that made no transition in it.

    Args:
        plan: of the process manager, with the code that decides
        stores: one, or the partitions of a divided store; they are only read
        number: which of them has the events
        is_live: whether only instances count that are running
        taken: positions of events that are known to have made their only transition; what is asked
            for is taken out

    """

    def __init__(
        self,
        plan: ProcessPlan,
        stores: Sequence[PageReads],
        number: int,
        taken: set[int],
        *,
        is_live: bool,
    ) -> None:
        self.name = plan.name
        self._plan = plan
        self._stores = stores
        self._number = number
        self._is_live = is_live
        self._taken = taken
        self._retakings = [Retaking(plan, one) for one in stores]
        store = stores[number]
        self._after, self._until = _span(plan, store)
        self._sent_up_to = store.checkpoint(f"{SENT}{plan.name}")
        self._known: dict[str, _Known] = {}
        self._size = 0

    def listens_to(self, record: EventRecord) -> bool:
        """Whether an event is one that is looked at, unless it is known that it was taken."""
        taken, position = self._taken, record.position
        if position in taken:
            taken.remove(position)
            return False
        return (
            self._after < position <= self._until
            # One that another partition has found an instance for was taken as such.
            and record.sent_to is None
            and record.sent_for in {"", self.name}
            and self._plan.subscription.listens_to(record)
        )

    def of(self, record: EventRecord) -> Iterator[TakenUp]:
        """What comes of an event that is looked at, in whom it made no transition.

        Raises:
            CorruptRecord: what is stored of an instance is damaged

        """
        name, subscription = self.name, self._plan.subscription
        store = self._stores[self._number]
        if subscription.finds_by_learnt_key(record):
            return
        try:
            instances = subscription.instances_of(record, store.read_index)
        except Erased:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what comes of it
            if not store.is_set_aside(name, "", record.position):
                why = type_of_error(error)
                how, said = f"{record.type} raises {why}", f"{record.event_id}: {why}: {error}"
                found = Found("taken up", f"{record.type} {why}", how, "no transition", said)
                yield TakenUp("", 0, self._handler(record), found)
            return
        for instance in instances:
            of = self._number
            if store.partition is not None and not self._plan.definition.stateless:
                of = store.partition.of(instance)
            taken_up = self._of_instance(instance, of, record)
            if taken_up is not None:
                yield taken_up

    def _handler(self, record: EventRecord) -> str:
        handler = self._plan.subscription.handler_of(record)
        return "" if handler is None else handler.name

    def _of_instance(self, instance: str, of: int, record: EventRecord) -> TakenUp | None:
        name, position = self.name, record.position
        if of != self._number and not self._is_for_another(of, record):
            return None
        store, known = self._stores[of], self._known_of(instance, of)
        if self._is_live and not known.is_running:
            return None
        if of == self._number:
            place = bisect_left(known.positions, position)
            is_taken = place < len(known.positions) and known.positions[place] == position
            if is_taken or position <= known.covered:
                return None
            if store.is_set_aside(name, instance, position):
                return None
        elif known.covered:
            return None
        found: TakenUp | None = None
        for before in self._befores(instance, of, record):
            taken_up = self._tried(instance, of, before, record)
            if taken_up is None:
                return None
            found = found or taken_up
        return found

    def _is_for_another(self, of: int, record: EventRecord) -> bool:
        """Whether an event was never sent to the partition of an instance that it is for now."""
        here, there = self._stores[self._number], self._stores[of]
        return (
            not record.sent_for
            and record.position <= self._sent_up_to
            and here.last_sent(of) <= there.cursor_of(self._number)
            and not there.positions_of_copies(self.name, record.stream, record.version)
        )

    # What the instance was

    def _known_of(self, instance: str, of: int) -> _Known:
        known = self._known.pop(instance, None)
        if known is None:
            known = self._read(instance, of)
            self._size += len(known.positions) + OF_INSTANCE
        # Those that were asked for last are at the end.
        self._known[instance] = known
        while self._size > MOST_KNOWN and len(self._known) > 1:
            oldest = self._known.pop(next(iter(self._known)))
            self._size -= len(oldest.positions) + OF_INSTANCE
        return known

    def _read(self, instance: str, of: int) -> _Known:
        store, name = self._stores[of], self.name
        positions, covered, version, is_running = array("Q"), 0, 0, False
        while True:
            page = store.read_transitions(name, instance, version, PAGE)
            for one in page:
                if one.position:
                    positions.append(one.position)
                elif one.cause == PRUNED or erased_at(one.state) is not None:
                    covered = ALL
                elif one.cause in BY_PEOPLE and one.handler == "rebuild":
                    covered = max(covered, one.seen)
                is_running = not one.is_complete
            if len(page) < PAGE:
                break
            version = page[-1].version
        # Of those that waited, the order is another.
        return _Known(array("Q", sorted(positions)), covered, is_running)

    def _befores(
        self, instance: str, of: int, record: EventRecord
    ) -> Iterator[TransitionRecord | None]:
        """What the instance may have been when an event came: after each of these transitions.

        Refusals that came behind the event are not told from those before it.
        """
        store, name = self._stores[of], self.name

        def is_later(version: int) -> bool:
            one = store.stored_transition(name, instance, version)
            if one is None:
                return False
            return one.seen >= record.position if of == self._number else one.time > record.time

        later = bisect_left(range(1, store.version_of(name, instance) + 1), True, key=is_later) + 1
        if of == self._number:
            yield from self._while_it_waited(instance, record, later)
        last = store.transition_at(name, instance, later - 1) if later > 1 else None
        while last is not None:
            if last.position or of != self._number:
                yield last
                return
            before = None
            if last.version > 1:
                before = store.transition_at(name, instance, last.version - 1)
            if not _is_due_behind(last, before, record):
                yield last
            last = before
        yield None

    def _while_it_waited(
        self, instance: str, record: EventRecord, version: int
    ) -> Iterator[TransitionRecord]:
        """The transitions that may have been made while an event waited behind what had failed."""
        found: list[TransitionRecord] = []
        has_waited = False
        for one in self._stores[self._number].scan_transitions(self.name, instance, version - 1):
            if one.position > record.position:
                break
            found.append(one)
            has_waited = has_waited or one.position > 0
        if has_waited:
            yield from found

    def _tried(
        self, instance: str, of: int, last: TransitionRecord | None, record: EventRecord
    ) -> TakenUp | None:
        """What comes of an event after a transition; None if it makes none."""
        try:
            before = ProcessState.after(self._plan.definition, instance, last)
        except (InvalidMessage, UnknownMessage):
            # It is told of the instance.
            return None
        retaking = self._retakings[of]
        # What the event would have made is not stored, so only its cause is there.
        made = TransitionRecord(
            before.version + 1,
            record.time,
            "",
            False,
            record.event_id,
            record.correlation_id,
            record.position,
            b"",
            position=record.position,
        )
        outcome = retaking.retake(before, made, record)
        if not _is_taken(outcome):
            return None
        again = retaking.retake(before, made, record)
        starts = not before.version or before.is_complete
        how = f"{record.type} starts an instance" if starts else f"{record.type} is handled"
        said, subject = "", record.type
        if outcome.transition is None:
            how, said = f"{record.type} {outcome.how}", outcome.said
            subject = f"{record.type} {outcome.subject}"
        elif not outcome.reached:
            issued = issued_by(self._plan, outcome.transition)
            said = said_of(issued) if issued else "no commands"
        found = Found("taken up", subject, how, "no transition", f"{record.event_id}: {said}")
        return TakenUp(
            instance, made.version, self._handler(record), found, is_steady=_is_taken(again)
        )


def _is_taken(outcome: Outcome) -> bool:
    """Whether an event would not just pass: it makes a transition, or would be parked."""
    if outcome.transition is not None:
        return True
    return outcome.kind in {"refusals", "unreadable"} and not outcome.is_skipped


def _is_due_behind(
    made: TransitionRecord, before: TransitionRecord | None, record: EventRecord
) -> bool:
    """Whether a timeout made a transition, and was due behind an event."""
    name = made.cause.removeprefix(TIMEOUT)
    due = (before.timers or {}).get(name) if before is not None and name != made.cause else None
    return due is not None and due >= record.time


def _span(plan: ProcessPlan, store: PageReads) -> tuple[int, int]:
    """Between which positions the events are that are looked at."""
    pruned = store.pruned_up_to().events
    begun = begun_at(store, plan.name)
    if begun is not None:
        return max(begun, pruned), store.checkpoint(plan.name)
    # It is new to the store: what it begins with is what it takes up.
    begins = plan.definition.begins
    return pruned, store.last_position() if begins == "origin" else 0
