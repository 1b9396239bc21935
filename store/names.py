"""The names that are in a store: each is written once, and known in memory from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .records import NameKind

__all__ = ["KnownNames"]


class KnownNames:
    """What the table `names` holds, and what the commit under way adds to it.

    Args:
        names: what the table holds when the store is opened

    """

    def __init__(self, names: Iterable[tuple[NameKind, str]]) -> None:
        self.events: set[str] = set()
        self.commands: set[str] = set()
        self.processes: set[str] = set()
        self._of_kind = {
            "event": self.events,
            "command": self.commands,
            "process": self.processes,
        }
        self.fresh: list[tuple[NameKind, str]] = []
        """Names that the commit under way is the first to write."""
        for kind, name in names:
            # Of another kind is only what is damaged, which a check of the store reports.
            if kind in self._of_kind:
                self._of_kind[kind].add(name)

    def add(self, kind: NameKind, name: str) -> None:
        """Note a name that the table does not hold yet."""
        self._of_kind[kind].add(name)
        self.fresh.append((kind, name))

    def add_process(self, name: str) -> None:
        """Note the name of a process manager; a command from outside has none."""
        if name and name not in self.processes:
            self.add("process", name)

    def keep(self) -> None:
        """The commit is on disk."""
        self.fresh.clear()

    def take_back(self) -> None:
        """The commit failed, and what it added with it."""
        for kind, name in self.fresh:
            self._of_kind[kind].discard(name)
        self.fresh.clear()
