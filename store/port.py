"""The port: the few calls that the runtime needs of a store.

A store keeps the global log, the streams, the transition logs, the queue of commands, what was
parked, and the routers' checkpoints. It knows nothing of actors or of typed messages. A step is
one call's worth of work, every append carries the version it expects, and a conflict is an
answer, so that a store with many writers (PostgreSQL, say) can stand behind the same calls.

Lists that could be long are read in pages: `after` is exclusive, `limit` the most rows.
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

    def read_log(self, after: int, limit: int) -> list[EventRecord]:
        """Events of the global log in order of position."""
        ...

    def read_stream(self, stream: str, after: int, limit: int) -> list[EventRecord]:
        """Events of one stream in order of version; `after` is a version."""
        ...

    def position_of(self, event_id: str) -> int:
        """The position of the event with that id, or 0."""
        ...

    def last_transition(self, process: str, instance: str) -> TransitionRecord | None:
        """The newest transition of one instance, which holds its state."""
        ...

    def read_transitions(
        self, process: str, instance: str, after: int, limit: int
    ) -> list[TransitionRecord]:
        """Transitions of one instance in order of version; `after` is a version."""
        ...

    def read_instances(
        self, process: str, after: str, limit: int
    ) -> list[tuple[str, TransitionRecord]]:
        """Instances of one process manager in order of id, each with its newest transition."""
        ...

    def read_queue(self, after: int, limit: int) -> list[CommandRecord]:
        """Commands not yet carried out, in order of sequence.

        Commands that instances issued have sequences from 1; those from outside have sequences
        above `FROM_OUTSIDE`.
        """
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

    def read_parked(self, after: int, limit: int, *, decided: bool = False) -> list[ParkedRecord]:
        """What is parked, or what was until somebody decided, in order of its number."""
        ...

    def last_waiting(self, process: str, instance: str) -> int:
        """The highest position that waits until the instance may take it, or 0."""
        ...

    def read_waiting(
        self, process: str, instance: str, after: int, limit: int
    ) -> tuple[Block | None, list[int]]:
        """Why an instance takes nothing, if so, and the positions that wait, in order."""
        ...

    def read_waiting_instances(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        """Instances for which events wait and nothing blocks, by process and id."""
        ...

    def last_parked(self, process: str, instance: str) -> int:
        """The highest position that is parked at an instance, or was skipped, or 0."""
        ...

    def any_blocked(self, process: str) -> bool:
        """Whether an instance of that process manager takes nothing, since something failed."""
        ...

    def read_timers(self, after: bytes, until: int, limit: int) -> list[tuple[bytes, TimerRecord]]:
        """Timers due at or before `until`, in order of time, each with the key to go on after."""
        ...

    def read_index(self, process: str, field: str, value: str) -> list[str]:
        """The instances whose learnt key has that value, in order of id."""
        ...

    def read_refusals(self, after: int, limit: int) -> list[RefusalRecord]:
        """Refusals that their instances were not yet told of, in order of sequence."""
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
