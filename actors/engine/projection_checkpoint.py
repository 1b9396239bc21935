"""A checkpoint in the runtime's own store, for projections that have no database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..authoring.projection_database import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..authoring.projection_database import Tables
    from ..store import Store

__all__ = ["PREFIX", "StoreConnection", "projections_in"]

PREFIX = "project:"
"""What stands before the name of the checkpoint which says how far a projection is."""


def projections_in(store: Store) -> Iterator[str]:
    """The names of the projections that a store's log was folded by."""
    for name, _ in store.scan_checkpoints():
        if name.startswith(PREFIX):
            yield name.removeprefix(PREFIX)


class StoreConnection:
    """Stands for a connection where there is no database: commits are the runtime's own.

    The position that the feed has is written with the next commit of the store. An event may come
    again after a crash, and nothing that a handler did is undone.

    Args:
        store: what tells the store from others
        version: of the class
        position: up to which the log was handled

    """

    is_exact = False
    handle: Any = None

    def __init__(self, store: str, version: int, position: int) -> None:
        self._checkpoint = self._open = Checkpoint(store, version, 1, position)

    def make(self) -> None:
        """Nothing is to be made."""

    def begin(self, tables: Tables) -> Checkpoint | None:
        return self.checkpoint(tables)

    def checkpoint(self, tables: Tables) -> Checkpoint | None:
        del tables
        return self._checkpoint

    def set_checkpoint(self, tables: Tables, checkpoint: Checkpoint) -> None:
        del tables
        self._open = checkpoint

    def drop_checkpoint(self, tables: Tables) -> None:
        """Nothing is beside it."""

    def positions_done(self, tables: Tables) -> set[int]:
        del tables
        return set()

    def note_done(self, tables: Tables, position: int) -> None:
        """It is not kept: the event may come again."""

    def forget_done(self, tables: Tables, positions: Iterable[int]) -> None:
        """As `note_done`."""

    def save(self) -> None:
        """Nothing is undone."""

    def keep(self) -> None:
        """As `save`."""

    def go_back(self) -> None:
        """As `save`."""

    def swap(self, names: Iterable[tuple[str, str]]) -> None:
        """There are no tables."""

    def drop(self, names: Iterable[str]) -> None:
        """As `swap`."""

    def commit(self) -> None:
        self._checkpoint = self._open

    def roll_back(self) -> None:
        self._open = self._checkpoint

    def close(self) -> None:
        """Nothing is open."""
