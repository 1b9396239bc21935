"""What the core may ask of its surroundings: a store, or the dictionaries of a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..store import (
        CommandRecord,
        EffectRecord,
        EventRecord,
        RefusalRecord,
        TimerRecord,
        TransitionRecord,
    )

__all__ = ["UNREADABLE", "Chain", "Link", "Reads"]

UNREADABLE = ""
"""The type of what stands for an event that cannot be read; its message is the error."""


class Link(NamedTuple):
    """A link of a chain: an event, and the transition which it made and which went on with it."""

    process: str
    instance: str
    version: int
    event: EventRecord


class Chain(Protocol):
    """Tells what came before an event."""

    def link_before(self, event: EventRecord) -> Link | None:
        """What issued the command that made an event; None if no event's handler did."""
        ...


class Reads(Chain, Protocol):
    """Answers with plain values, as the log has them at that moment."""

    def event_at(self, position: int) -> EventRecord:
        """The event at a position; one of the type `UNREADABLE` if it cannot be read."""
        ...

    def event_of(self, transition: TransitionRecord) -> EventRecord | None:
        """The event that made a transition; None if something else did."""
        ...

    def effect_at(self, position: int, process: str, instance: str) -> EffectRecord | None:
        """What the after-effect of the event at a position issued, if anything."""
        ...

    def stored_transition(
        self, process: str, instance: str, version: int
    ) -> TransitionRecord | None:
        """The transition that brought an instance to a version, with its state as it is stored.

        If it has a base, that is a change. None if there is no such version.
        """
        ...

    def refusal(self, sequence: int) -> RefusalRecord | None:
        """The refusal of that sequence, as long as its instance was not told of it."""
        ...

    def held_back(self, timer: TimerRecord) -> CommandRecord | None:
        """The command that a timer holds back; None once it has left."""
        ...

    def timer_of(self, timer: TimerRecord) -> TimerRecord | None:
        """That timer as it was set; None once it is done with, moved or cancelled."""
        ...

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        """Events in order of position; one of the type `UNREADABLE` where one cannot be read."""
        ...

    def set_aside(self, process: str, instance: str) -> frozenset[int]:
        """Positions that wait for an instance, are parked at it, or were skipped by decision."""
        ...

    def undecided_of(self, process: str, instance: str) -> list[int]:
        """Numbers of what is parked of the events that an instance was to handle."""
        ...

    def transitions(self, process: str, instance: str) -> Iterable[TransitionRecord]:
        """All transitions of an instance, oldest first."""
        ...
