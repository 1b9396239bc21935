"""The life of one instance through given code, beside its life as it is stored.

Each step is decided from the state that is stored before it, which is what a running instance meets
when the code is deployed; so a difference is that of its own handler. Where the given code would
have left another state, that state is led along as well: what differs because of it alone is said
to follow.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from msgspec.structs import replace

from ..core.process_state import ProcessState
from ..errors import Erased, InvalidMessage, UnknownMessage
from ..store import erased_at, is_issued_by
from .differences import Found, differences
from .outcomes import Outcome
from .retaking import TIMEOUT, Retaking, is_by_people

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model.plans import ProcessPlan
    from ..store import EventRecord, Reads, TransitionRecord
    from .outcomes import Kind

__all__ = ["Life", "LifeReads", "Lives", "Noted", "stored_life"]

PAGE = 256
"""Transitions that are read at a time, and the events that made them."""

MOST_TAKEN = 100_000
"""Positions of events that are remembered, until the log comes to them."""

About: TypeAlias = "tuple[Kind, str]"
"""What a difference is about: its kind and its subject."""

_ABOUT_STATE = frozenset({"state", "timeouts"})
"""What of a difference the steps behind it meet again."""

_UNREADABLE = (InvalidMessage, UnknownMessage)


class Noted(NamedTuple):
    """What was found at one transition.

    Attributes:
        transition: as it is stored
        found: what differs
        is_steady: whether it is the same when it is decided once more
        follows: whether it comes of an earlier difference of the instance's state alone

    """

    transition: TransitionRecord
    found: Found
    is_steady: bool = True
    follows: bool = False


class Life:
    """What came of going through one instance.

    Attributes:
        steps: how many transitions were decided again
        last: the newest transition; None of an instance without any
        noted: all that was found
        reached: the transitions whose handlers reached outside, each with what for
        refused: those that the refusal of a command made

    """

    __slots__ = ("last", "noted", "reached", "refused", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.last: TransitionRecord | None = None
        self.noted: list[Noted] = []
        self.reached: list[tuple[TransitionRecord, str]] = []
        self.refused: list[TransitionRecord] = []


class Lives:
    """Goes through instances of one process manager.

    Args:
        plan: of the process manager, with the code that decides
        store: which is only read

    """

    def __init__(self, plan: ProcessPlan, store: Reads) -> None:
        self._plan = plan
        self._store = store
        self._retaking = Retaking(plan, store)
        self.handled: set[str] = set()
        """The methods that were tried."""
        # By what, and by the types of what.
        self._noted: set[tuple[str, str]] = set()
        self.taken: set[int] = set()
        """Positions of events that are for one instance, and made a transition in it."""

    def of(self, instance: str) -> Life:
        """Go through an instance.

        Raises:
            CorruptRecord: what is stored of it is damaged

        """
        life, along = Life(), _Along(self._plan, instance, self._retaking)
        for transition, event in stored_life(self._store, self._plan.name, instance):
            life.last = transition
            if is_by_people(transition) or _is_erased(transition, event):
                along.skip(transition)
                continue
            life.steps += 1
            self._note_handler(transition, event)
            if event is None and not transition.cause.startswith(TIMEOUT):
                life.refused.append(transition)
            along.step(life, transition, event)
            if event is not None and self._retaking.is_for_one and len(self.taken) < MOST_TAKEN:
                self.taken.add(event.position)
        if life.last is not None and not life.last.is_complete:
            life.noted += self._left_behind(instance, life.last)
        return life

    def _note_handler(self, transition: TransitionRecord, event: EventRecord | None) -> None:
        kind = event.type if event is not None else "", transition.handler
        if kind in self._noted:
            return
        self._noted.add(kind)
        handler = None if event is None else self._plan.subscription.handler_of(event)
        # Methods for timeouts and refusals rarely get another name.
        self.handled.add(transition.handler if handler is None else handler.name)

    def _left_behind(self, instance: str, last: TransitionRecord) -> Iterator[Noted]:
        """What a running instance has, and the code can do nothing with."""
        definition = self._plan.definition
        try:
            definition.restore(instance, last.version, last.state, last.state_version)
        except _UNREADABLE as error:
            how = "its state cannot be read"
            yield Noted(last, Found("unreadable", "state", how, str(error), ""))
        for name in last.timers or ():
            if name not in definition.timeouts and not is_issued_by(
                name, self._plan.name, instance
            ):
                how = f"the timeout {name} is due, and has no handler"
                yield Noted(last, Found("unhandled", f"timeout:{name}", how, "", ""))


class LifeReads(Protocol):
    """What the life of an instance is read from: a store, or all partitions of one."""

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        """Transitions of an instance with higher versions, oldest first."""
        ...

    def read_events(self, positions: list[int]) -> list[EventRecord]:
        """The events at these positions."""
        ...


def stored_life(
    store: LifeReads, process: str, instance: str
) -> Iterator[tuple[TransitionRecord, EventRecord | None]]:
    """The transitions of an instance, oldest first, each with the event that made it, if one did.

    Raises:
        CorruptRecord: what is stored of it is damaged

    """
    version = 0
    while True:
        page = store.read_transitions(process, instance, version, PAGE)
        positions = [one.position for one in page if one.position]
        events = {one.position: one for one in store.read_events(positions)}
        for one in page:
            yield one, events[one.position] if one.position else None
        if len(page) < PAGE:
            return
        version = page[-1].version


class _Along:
    """One instance on its way, by what is stored and by what the code would have left."""

    def __init__(self, plan: ProcessPlan, instance: str, retaking: Retaking) -> None:
        self._plan = plan
        self._instance = instance
        self._retaking = retaking
        self._before = ProcessState(instance)
        # The state that the code would have left, and what of it is known to differ.
        self._other: ProcessState | None = None
        self._known: set[About] = set()

    def skip(self, transition: TransitionRecord) -> None:
        """Go past what an operator did or erased; from there on all is as it is stored."""
        self._before = self._after(transition)
        self._other = None

    def step(self, life: Life, transition: TransitionRecord, event: EventRecord | None) -> None:
        was = Outcome(transition)
        now, noted = self._compared(self._before, was, event)
        if now.reached:
            life.reached += [(transition, one) for one in dict.fromkeys(now.reached)]
        own = {(one.found.kind, one.found.subject) for one in noted} if noted else set()
        if self._other is not None:
            noted += self._follow(self._other, was, event, own)
        elif now.state is not None and any(kind in _ABOUT_STATE for kind, _ in own):
            self._lead(now.state, own)
        life.noted += noted
        if not noted and now.state is not None and _is_as_stored(now.state, transition):
            # What it holds was read back, so it need not be read again.
            self._before = now.state
        else:
            self._before = self._after(transition)

    def _compared(
        self, before: ProcessState, was: Outcome, event: EventRecord | None
    ) -> tuple[Outcome, list[Noted]]:
        """Decide again; where something differs, once more, to tell what is by chance."""
        assert was.transition is not None
        now = self._retaking.retake(before, was.transition, event)
        if now.reached or now.is_erased:
            # What it would have done outside is not known, and so is what comes of it.
            return replace(now, state=None), []
        found = differences(self._plan, self._instance, was, now)
        if not found:
            return now, []
        # The first handler may have changed what was read back of the fields.
        unread = replace(before, values=None)
        again = self._retaking.retake(unread, was.transition, event)
        between = differences(self._plan, self._instance, now, again)
        by_chance = {(one.kind, one.subject) for one in between}
        is_one_made = now.transition is not None and again.transition is not None
        noted = [
            Noted(
                was.transition,
                one,
                not by_chance or (is_one_made and (one.kind, one.subject) not in by_chance),
            )
            for one in found
        ]
        known = {(one.kind, one.subject) for one in found}
        noted += [
            Noted(was.transition, one, is_steady=False)
            for one in between
            if (one.kind, one.subject) not in known
        ]
        return now, noted

    def _follow(
        self,
        other: ProcessState,
        was: Outcome,
        event: EventRecord | None,
        own: set[About],
    ) -> list[Noted]:
        """What differs since the state before it would have been another."""
        transition = was.transition
        assert transition is not None
        name = transition.cause.removeprefix("timeout:")
        is_unset = name != transition.cause and name not in (other.timers or ())
        if is_unset or other.is_complete:
            # What is stored would not have come to it, so no more can be said.
            self._other = None
            return []
        now, noted = self._compared(other, was, event)
        differing = {(one.found.kind, one.found.subject) for one in noted}
        fresh = [
            one._replace(follows=True)
            for one in noted
            if (one.found.kind, one.found.subject) not in own | self._known
        ]
        if now.state is None:
            self._other = None
        else:
            self._lead(now.state, differing)
        return fresh

    def _lead(self, state: ProcessState, differing: set[About]) -> None:
        self._known = {one for one in differing if one[0] in _ABOUT_STATE}
        self._other = state if self._known else None

    def _after(self, transition: TransitionRecord) -> ProcessState:
        # Fields that do not fit the class are told of where they are read.
        with suppress(*_UNREADABLE, Erased):
            return ProcessState.after(self._plan.definition, self._instance, transition)
        return ProcessState(
            self._instance,
            transition.version,
            transition.seen,
            transition.is_complete,
            transition.state,
            transition.state_version,
            transition.timers,
            correlation_id=transition.correlation_id,
            run=transition.run,
        )


def _is_erased(transition: TransitionRecord, event: EventRecord | None) -> bool:
    """Whether something that is to be compared, or that made it, is not kept any more."""
    if event is not None and erased_at(event.data) is not None:
        return True
    if erased_at(transition.state) is not None:
        return True
    # Most transitions issue one command or none.
    for _, _, data in transition.commands:  # noqa: SIM110 - `any` would cost a generator
        if erased_at(data) is not None:
            return True
    return False


def _is_as_stored(state: ProcessState, transition: TransitionRecord) -> bool:
    return (
        state.fields == transition.state
        and state.fields_version == transition.state_version
        and (state.timers or None) == (transition.timers or None)
    )
