"""The port: the few calls that the runtime needs of a store.

A store keeps the global log, the streams, the transition logs, the queue of commands, what was
parked, and the routers' checkpoints. It knows nothing of actors or of typed messages. A step is
one call's worth of work, every append carries the version it expects, and a conflict is an
answer, so that a store with many writers (PostgreSQL, say) can stand behind the same calls.

What could be long is scanned: an iterator reads some at a time, keeps nothing open in between, and
comes to what is damaged after all that is before it. `after` is exclusive. `read_*` is for a caller
who wants a bounded batch at once; `limit` is the most rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .records import (
        Block,
        CommandRecord,
        CommandResult,
        EventRecord,
        NameKind,
        Outcome,
        ParkedRecord,
        RefusalRecord,
        Step,
        TimerRecord,
        TransitionRecord,
    )

__all__ = ["Store"]


class Store(Protocol):
    """Durable state. `commit` is called by one thread at a time, the rest by any."""

    def commit(
        self, steps: Sequence[Step], checkpoints: Mapping[str, int] | None = None
    ) -> list[Outcome]:
        """Write steps in one durable transaction, in order; each whole or not at all.

        Args:
            steps: what to write; their records get their positions and sequences
            checkpoints: routers' names and the position up to which each is done

        Returns:
            one outcome for each step; `Conflict` and `Duplicate` steps left no trace

        Raises:
            StoreError: the transaction failed; none of the steps was written

        """
        ...

    def last_position(self) -> int:
        """The position of the newest event, or 0."""
        ...

    def event_at(self, position: int) -> EventRecord | None:
        """The event at a position of the global log."""
        ...

    def event_in(self, stream: str, version: int) -> EventRecord | None:
        """The event that is that version of a stream."""
        ...

    def position_of(self, event_id: str) -> int:
        """The position of the event with that id, or 0."""
        ...

    def scan_log(self, after: int = 0) -> Iterator[EventRecord]:
        """Events of the global log in order of position."""
        ...

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        """As `scan_log`, at most so many at once: what a reader of the log's end has room for."""
        ...

    def scan_stream(self, stream: str, after: int = 0) -> Iterator[EventRecord]:
        """Events of one stream in order of version; `after` is a version."""
        ...

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        """As `scan_stream`, at most so many."""
        ...

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        """The newest transition of one instance, which holds its state."""
        ...

    def transition_at(self, process: str, instance: str, version: int) -> TransitionRecord | None:
        """The transition that brought one instance to a version."""
        ...

    def scan_transitions(
        self, process: str, instance: str, after: int = 0
    ) -> Iterator[TransitionRecord]:
        """Transitions of one instance in order of version; `after` is a version."""
        ...

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        """As `scan_transitions`, at most so many."""
        ...

    def scan_instances(
        self, process: str, after: str = ""
    ) -> Iterator[tuple[str, TransitionRecord]]:
        """Instances of one process manager in order of id, each with its newest transition."""
        ...

    def scan_queue(self, after: int = 0) -> Iterator[CommandRecord]:
        """Commands not yet carried out, in order of sequence.

        Commands that instances issued have sequences from 1; those from outside have sequences
        above `FROM_OUTSIDE`.
        """
        ...

    def read_queue(self, after: int, limit: int) -> list[CommandRecord]:
        """As `scan_queue`, at most so many: what may be under way at once."""
        ...

    def last_sequences(self) -> tuple[int, int]:
        """The newest sequence of an issued command, and of one from outside."""
        ...

    def result_of(self, command_id: str) -> CommandResult | None:
        """What came of the command with that id, if it came from outside and was carried out."""
        ...

    def checkpoint(self, router: str) -> int:
        """The position up to which that router is done, or 0."""
        ...

    def scan_checkpoints(self) -> Iterator[tuple[str, int]]:
        """All routers that have a checkpoint, each with the position up to which it is done."""
        ...

    def parked_as(self, number: int) -> ParkedRecord | None:
        """What is parked under a number and not yet decided."""
        ...

    def scan_parked(self, after: int = 0, *, decided: bool = False) -> Iterator[ParkedRecord]:
        """What is parked, or what was until a person decided, in order of its number."""
        ...

    def last_parked(self, process: str, instance: str) -> int:
        """The highest position that is parked at an instance, or was skipped, or 0."""
        ...

    def block_of(self, process: str, instance: str) -> Block | None:
        """Why an instance takes nothing, if so."""
        ...

    def any_blocked(self, process: str) -> bool:
        """Whether an instance of that process manager takes nothing, since something failed."""
        ...

    def last_waiting(self, process: str, instance: str) -> int:
        """The highest position that waits until the instance may take it, or 0."""
        ...

    def scan_waiting(self, process: str, instance: str, after: int = 0) -> Iterator[int]:
        """Positions of events that wait until the instance may take them, in order."""
        ...

    def read_waiting(
        self, process: str, instance: str, after: int, limit: int
    ) -> tuple[Block | None, list[int]]:
        """Why an instance takes nothing, if so, and the positions that wait, in order."""
        ...

    def scan_ready(self) -> Iterator[tuple[str, str]]:
        """Instances for which events wait and nothing blocks, by process and id."""
        ...

    def scan_timers(self, until: int, after: bytes = b"") -> Iterator[tuple[bytes, TimerRecord]]:
        """Timers due at or before `until`, in order of time, each with the key to go on after."""
        ...

    def scan_index(self, process: str, field: str, value: str) -> Iterator[str]:
        """The instances whose learnt key has that value, in order of id."""
        ...

    def read_index(self, process: str, field: str, value: str) -> list[str]:
        """As `scan_index`, all at once, as they are at one moment."""
        ...

    def refusal_at(self, sequence: int) -> RefusalRecord | None:
        """The refusal with that number, if its instance was not yet told of it."""
        ...

    def scan_refusals(self, after: int = 0) -> Iterator[RefusalRecord]:
        """Refusals that their instances were not yet told of, in order of sequence."""
        ...

    def read_refusals(self, after: int, limit: int) -> list[RefusalRecord]:
        """As `scan_refusals`, at most so many."""
        ...

    def read_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        """The version and state of an aggregate's newest snapshot."""
        ...

    def scan_names(self) -> Iterator[tuple[NameKind, str]]:
        """The names that were ever stored, by kind: types of events and commands, and processes."""
        ...

    def close(self) -> None:
        """Let go of the store. Everything else raises `ClosedError` afterwards."""
        ...
