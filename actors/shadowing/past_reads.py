"""What a decision reads when it is taken again: the log, with timers as they were by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.ahead_reads import event_at
from ..store import CommandRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store import (
        EffectRecord,
        EventRecord,
        Reads,
        TimerRecord,
        TransitionRecord,
    )

__all__ = ["PastReads"]


class PastReads:
    """Answers as the log had it when a transition was made.

    Args:
        store: which is only read

    """

    def __init__(self, store: Reads) -> None:
        self._store = store
        self._transition: TransitionRecord | None = None
        self._event: EventRecord | None = None
        self._due: TimerRecord | None = None

    def set_to(
        self, transition: TransitionRecord, event: EventRecord | None, due: TimerRecord | None
    ) -> None:
        """Answer from now on as it was when that transition was made.

        Args:
            transition: as it is stored
            event: that made it, if one did
            due: the timeout that made it, if one did

        """
        self._transition, self._event, self._due = transition, event, due

    def event_at(self, position: int) -> EventRecord:
        return event_at(self._store, position)

    def event_of(self, transition: TransitionRecord) -> EventRecord | None:
        if transition is self._transition:
            return self._event
        return self._store.event_at(transition.position) if transition.position else None

    def effect_at(self, position: int, process: str, instance: str) -> EffectRecord | None:
        return self._store.effect_at(position, process, instance)

    def stored_transition(
        self, process: str, instance: str, version: int
    ) -> TransitionRecord | None:
        return self._store.stored_transition(process, instance, version)

    def transitions(self, process: str, instance: str) -> Iterator[TransitionRecord]:
        return self._store.scan_transitions(process, instance)

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        return self._store.read_log(after, limit)

    def held_back(self, timer: TimerRecord) -> CommandRecord | None:
        """Any command, if it had not left by then, as the transition says."""
        assert self._transition is not None
        if timer.name not in (self._transition.timers or ()):
            return None
        return CommandRecord(timer.name, "", "", timer.due, b"", "")

    def timer_of(self, timer: TimerRecord) -> TimerRecord | None:
        """The timeout in hand; whatever else was due then had been dealt with."""
        due = self._due
        return due if due is not None and due.name == timer.name else None

    def link_before(self, event: EventRecord) -> None:
        """None: whether a chain comes back to itself was decided then."""
        del event

    def refusal(self, sequence: int) -> None:
        """None: what is taken again is at hand."""
        del sequence

    def set_aside(self, process: str, instance: str) -> frozenset[int]:
        """None: what made a transition was set aside no more."""
        del process, instance
        return frozenset()

    def undecided_of(self, process: str, instance: str) -> list[int]:
        """None, as above."""
        del process, instance
        return []
