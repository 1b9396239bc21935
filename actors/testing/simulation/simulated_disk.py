"""A disk that errs: the storage engine below a simulated store, whose commits may come to anything.

What can be seen above LMDB is simulated, and not what it does below: its two meta pages have a
commit whole or not at all, also when the power is cut in the middle of a page. A commit can be
refused, it can be there although the disk said that it failed, and while the disk is not synced, a
power cut takes back the last of those that were made.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ...store import StoreError, Ticket
from ...store.layout.schema import COMMITS
from ...store.storage_engine import NOTHING
from .faults import Crash, InjectedFailingDisk, InjectedStoreFull, RuntimeBroke

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ...store import (
        DictionaryEngine,
        Durability,
        EngineReads,
        EngineSnapshot,
        StorageEngine,
        TakenOver,
    )
    from .faults import Faults

__all__ = ["SimulatedDisk"]

UNSYNCED = 8
"""How many of the newest commits a power cut may take back, at most, where none is synced."""

READS = 4
"""How often the number of a commit cannot be read, at most, behind an error."""


class _Undo(NamedTuple):
    """What takes a commit back."""

    puts: dict[str, dict[bytes, bytes]]
    deletes: dict[str, list[bytes]]
    rewritten: dict[str, dict[bytes, bytes]]


class SimulatedDisk:
    """Stands above the tables, and asks first whether a commit is to go wrong.

    Satisfies `StorageEngine`.

    Args:
        tables: where the rows are
        faults: of the run
        durability: as for `Runtime`; with ``"fsync"`` a power cut takes back nothing that a commit
            was acknowledged for
        fence: what a commit is refused with, which is looked at in its transaction

    """

    read_only = False
    is_remote = False

    def __init__(
        self,
        tables: DictionaryEngine,
        faults: Faults,
        durability: Durability,
        fence: Callable[[], TakenOver | None] = lambda: None,
    ) -> None:
        self._tables = tables
        self._fence = fence
        self._faults = faults
        self._durability = durability
        self._unsynced: deque[_Undo] = deque(maxlen=UNSYNCED)
        self._unreadable = 0
        self.check_usable: Callable[[], None] = tables.check_usable
        self.check_owner: Callable[[], None] = tables.check_owner
        self.range = tables.range
        self.newest = tables.newest
        self.close: Callable[[], None] = tables.close

    def reopened(self) -> SimulatedDisk:
        """Another one on the same tables, for a store that is opened again; closes this one."""
        other = SimulatedDisk(self._tables.reopened(), self._faults, self._durability)
        other._unsynced = self._unsynced
        return other

    @property
    def writer_reads(self) -> EngineReads:
        """The same reads."""
        return self

    @property
    def is_synced(self) -> bool:
        """Whether a power cut takes back nothing that was acknowledged."""
        return self._durability == "fsync"

    def get_many(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        if self._unreadable and ("meta", COMMITS) in keys:
            self._unreadable -= 1
            self._faults.note("the disk does not say which commit is the newest", True)
            raise InjectedFailingDisk("the disk could not be read, as the simulation had it do")
        return self._tables.get_many(keys)

    def snapshot(self) -> AbstractContextManager[EngineSnapshot]:
        return self._tables.snapshot()

    def commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]] = NOTHING,
    ) -> Ticket:
        refusal = self._fence()
        if refusal is not None:
            self._faults.note("a commit is refused, since another node has taken over")
            return Ticket("failed", refusal)
        accident = self._faults.deviations.take("disk_error", "disk_full", "torn", "power_cut")
        if accident is None:
            return self._commit(puts, deletes, rewritten)
        if accident.name == "disk_full":
            self._faults.note("the disk is full: nothing of a commit is kept")
            return Ticket("failed", InjectedStoreFull("no room, as the simulation had it be"))
        if accident.name == "power_cut":
            self._cut_power(puts, deletes, rewritten, accident.which)
        error = InjectedFailingDisk("the disk failed, as the simulation had it do")
        is_kept = accident.name == "torn" and accident.which % 2 == 0
        if accident.name == "torn":
            self._unreadable = accident.which // 2 % (READS + 1)
        self._faults.note(
            f"the disk fails in a commit: {'all' if is_kept else 'nothing'} of it is kept, and "
            f"it does not say so"
        )
        if is_kept:
            kept = self._commit(puts, deletes, rewritten)
            if kept.outcome != "committed":
                return kept
        return Ticket("unknown", error)

    def _cut_power(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]],
        which: int,
    ) -> None:
        if not self.is_synced:
            self.lose(which)
        elif which % 2:
            self._faults.note("the power is cut behind a commit: all of it is kept")
            self._commit(puts, deletes, rewritten)
        else:
            self._faults.note("the power is cut inside a commit: nothing of it is kept")
        raise Crash(self._faults)

    def lose(self, which: int) -> None:
        """Take back some of the commits that were not synced, as a power cut does."""
        count = which % (len(self._unsynced) + 1)
        for _ in range(count):
            undo = self._unsynced.pop()
            self._tables.commit(undo.puts, undo.deletes, undo.rewritten)
        self._unsynced.clear()
        lost = ("nothing", "the newest commit")[count] if count < 2 else f"{count} commits"
        self._faults.note(f"the power is cut: {lost} of what was not synced is gone")

    def _commit(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]],
    ) -> Ticket:
        undo = None if self.is_synced else self._undo_of(puts, deletes, rewritten)
        try:
            ticket = self._tables.commit(puts, deletes, rewritten)
        except StoreError as error:
            # No row can come in the place of another one, unless two write the same tables.
            raise RuntimeBroke(f"a commit does not fit what is there: {error}") from error
        if undo is not None and ticket.outcome == "committed":
            self._unsynced.append(undo)
        return ticket

    def _undo_of(
        self,
        puts: Mapping[str, Mapping[bytes, bytes]],
        deletes: Mapping[str, Collection[bytes]],
        rewritten: Mapping[str, Mapping[bytes, bytes]],
    ) -> _Undo:
        touched = [(table, key) for table, rows in puts.items() for key in rows]
        touched += [(table, key) for table, gone in deletes.items() for key in gone]
        undo = _Undo({}, {}, {})
        for table, rows in rewritten.items():
            found = self._tables.get_many([(table, key) for key in rows])
            undo.rewritten[table] = {
                key: raw for key, raw in zip(rows, found, strict=True) if raw is not None
            }
        for (table, key), before in zip(touched, self._tables.get_many(touched), strict=True):
            if before is None:
                undo.deletes.setdefault(table, []).append(key)
            else:
                undo.puts.setdefault(table, {})[key] = before
        return undo


if TYPE_CHECKING:

    def _satisfies_the_seam(disk: SimulatedDisk) -> StorageEngine:
        return disk
