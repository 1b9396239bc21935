"""What a projection needs of the database that its tables are in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Checkpoint", "Connection", "Database", "Tables"]


class Checkpoint(Struct, frozen=True):
    """What a database says of a projection: how far its tables are, and whose they are.

    Attributes:
        store: what tells the store from others whose log they are folded from
        version: of the class that made them
        generation: which making of them this is, from 1
        position: up to which the log is in them

    """

    store: str
    version: int
    generation: int
    position: int


class Tables(Struct, frozen=True):
    """Which tables of a projection are meant: those that are read, or those beside them.

    Attributes:
        projection: its name
        part: of a divided store, the number of the partition; 0 without partitions
        is_beside: whether they are being made beside those that are read

    """

    projection: str
    part: int = 0
    is_beside: bool = False


class Connection(Protocol):
    """One connection to a database, in which a transaction is begun, and ends, again and again."""

    is_exact: bool
    """Whether what handlers write is kept or lost with the checkpoint."""

    handle: Any
    """What handlers get as `self.db`."""

    def make(self) -> None:
        """Make what checkpoints are kept in, if it is missing, and begin."""
        ...

    def begin(self, tables: Tables) -> Checkpoint | None:
        """Begin a transaction that alone writes these tables; None if they are new."""
        ...

    def checkpoint(self, tables: Tables) -> Checkpoint | None:
        """As `begin`, within a transaction that was begun."""
        ...

    def set_checkpoint(self, tables: Tables, checkpoint: Checkpoint) -> None:
        """Say how far the tables are."""
        ...

    def drop_checkpoint(self, tables: Tables) -> None:
        """Forget how far the tables are, with all that was noted of them."""
        ...

    def positions_done(self, tables: Tables) -> set[int]:
        """The positions that `note_done` noted and that were not forgotten."""
        ...

    def note_done(self, tables: Tables, position: int) -> None:
        """An event is in the tables that was set aside, whatever the checkpoint says."""
        ...

    def forget_done(self, tables: Tables, positions: Iterable[int]) -> None:
        """Those need not be noted any more."""
        ...

    def save(self) -> None:
        """Set a point to go back to."""
        ...

    def keep(self) -> None:
        """Go on without that point."""
        ...

    def go_back(self) -> None:
        """Undo what was done since that point, and go on without it."""
        ...

    def swap(self, names: Iterable[tuple[str, str]]) -> None:
        """Put tables into the places of others, which are gone then: the old name, the new one."""
        ...

    def drop(self, names: Iterable[str]) -> None:
        """Remove tables, if they are there."""
        ...

    def commit(self) -> None:
        """Keep all since `begin`."""
        ...

    def roll_back(self) -> None:
        """Undo all since `begin`."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Database(Protocol):
    """Where a projection's tables are: `DbApi`, `SqlAlchemy`, or one of a user's own."""

    def connect(self) -> Connection:
        """Open a connection, for the thread that calls this."""
        ...
