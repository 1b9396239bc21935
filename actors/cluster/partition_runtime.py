"""A runtime of one partition of a divided store."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ..engine.admin import Admin
from ..engine.erasing import Erasing
from ..errors import AlreadyDecided, AlreadyEnded, MovedOn
from ..runtime import Runtime, raise_all
from ..store.interrupts import uninterrupted

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from ..engine.engine import Options
    from ..engine.ingress import Receipt
    from ..engine.lanes import Neighbour
    from ..engine.leader_watch import LeaderWatch
    from ..engine.pending_replies import ReplyFuture
    from ..model.domain import Domain
    from ..model.process_definition import ProcessDefinition
    from ..queries.views import InstanceView
    from ..store import CommandRecord, CommandResult, Durability, PayloadCodec, StorageEngine, Store

__all__ = ["AS_LARGE", "PartitionRuntime"]

AS_LARGE = 8
"""As so many stores that are not divided, at most, all partitions take memory."""

_asked_as: ContextVar[str] = ContextVar("procession_asked_as", default="")
"""The id of what an operator asked for through another process, while it is carried out."""


class PartitionRuntime(Runtime):
    """As `Runtime`, for what belongs to one partition.

    Args:
        store: of the partition, open; it is closed with the runtime
        neighbours: the others by number; without them, the partition is only read
        domains: whose classes to run
        watch: looks after the leaders of all partitions of this process that are not only read
        options: as for `Runtime`

    """

    def __init__(
        self,
        store: Store,
        neighbours: Mapping[int, Neighbour] | None,
        *domains: Domain,
        watch: LeaderWatch | None = None,
        **options: Any,
    ) -> None:
        self._given = store
        self._watch_of_all = watch
        self._others = neighbours
        options |= {"control": False, "read_only": neighbours is None}
        super().__init__(store.location or "", *domains, **options)

    def _open_store(
        self,
        path: str | os.PathLike[str] | StorageEngine,
        durability: Durability,
        codec: PayloadCodec | None,
        *,
        read_only: bool,
    ) -> Store:
        del path, durability, codec, read_only
        return self._given

    @property
    def store(self) -> Store:
        """The store of the partition, as it was given."""
        return self._given

    def _engine_options(self, options: Options) -> Options:
        partition = self._given.partition
        assert partition is not None
        # Hundreds of partitions would keep millions awake for as long as an idle one stays so.
        share = -(-AS_LARGE * options.max_awake // partition.count)
        return replace(options, max_awake=min(options.max_awake, share))

    def _leader_watch(self) -> LeaderWatch | None:
        return self._watch_of_all

    def _neighbours(self) -> Mapping[int, Neighbour] | None:
        return self._others

    def nudge(self, source: int) -> None:
        """Tell the partition that there is more in the lane from another one; on any thread."""
        engine = self._running
        if engine is not None and engine.lanes is not None:
            engine.lanes.nudge(source)

    def try_lanes_again(self) -> None:
        """Look at lanes once more that could not be read; on any thread."""
        engine = self._running
        if engine is not None and engine.lanes is not None:
            engine.lanes.try_again()

    @property
    def is_elsewhere(self) -> bool:
        """Whether another node, of those that share a database, runs it, or none."""
        return False

    @property
    def has_taken_all(self) -> bool:
        """Whether all that the others have sent it, durably, was taken, durably."""
        engine = self._running
        return engine is None or engine.lanes is None or engine.lanes.is_empty

    def done(self, process: str) -> int:
        """The position up to which a process manager's router is done, as far as is known here."""
        return self._done(process)

    def process_names(self) -> list[str]:
        """The names of the process managers whose classes are here, or whom the store knows."""
        found = {one.name for one in self._registry.processes.values()}
        return sorted(
            found | {name for kind, name in self._store.scan_names() if kind == "process"}
        )

    def note_backup(self, now: int, target: str | os.PathLike[str]) -> None:
        """Keep when the whole divided store was backed up last, and where to."""
        self._note_backup(now, target)

    @property
    def commit_count(self) -> int:
        """How many commits the partition has had."""
        return self._store.commit_count

    @property
    def has_callers(self) -> bool:
        """Whether a caller waits for an answer."""
        engine = self._running
        return engine is not None and len(engine.services.replies) > 0

    def result_of(self, command_id: str) -> CommandResult | None:
        """What came of a command whose id is remembered, if it was carried out."""
        return self._store.result_of(command_id)

    def once(self, call: str, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Carry out what an operator asks for through another process, if that was not done yet.

        Args:
            call: an id that stands for it; the step that it makes takes the id
            name: of the method
            given: its arguments
            named: those by keyword

        """
        if self._store.given_command(call) is None:
            token = _asked_as.set(call)
            try:
                return getattr(self, name)(*given, **named)
            except (AlreadyDecided, AlreadyEnded, MovedOn):
                # It may have been written twice, and carried out meanwhile.
                if self._store.given_command(call) is None:
                    raise
            finally:
                _asked_as.reset(token)
        if name in {"end", "amend"}:
            return self.get(*given[:2]).version
        return True if name in {"move_timeout", "cancel_timeout"} else None

    def erase_here(
        self,
        kind: Literal["instance", "stream", "subject"],
        process: str,
        which: str,
        by: str | None,
    ) -> None:
        """Erase what this partition has of what is erased in all of them."""
        erasing = Erasing(self._engine("erase"), self._store)
        uninterrupted(partial(erasing.again, kind, process, which, by), "procession-erase")

    def _operations(self, call: str) -> Admin:
        return Admin(self._engine(call), self._store, _asked_as.get())

    def read_index(self, process: str, field: str, value: str) -> list[str]:
        """The instances, of any partition, whose learnt key has a value that belongs here."""
        return self._store.read_index(process, field, value)

    def find_among(
        self,
        definition: ProcessDefinition,
        names: list[str],
        fields: Mapping[str, Any],
        complete: bool | None,
        suspended: bool | None,
    ) -> Iterator[InstanceView]:
        """Those of some instances of this partition that are as they are looked for."""
        return self._reader.found_among(
            definition, names, fields, complete=complete, suspended=suspended
        )

    def ask_record(self, record: CommandRecord, *, is_remembered: bool) -> ReplyFuture[Any]:
        """Have a command carried out whose record another process made."""
        return self._ask_record(self._engine("ask"), record, is_remembered=is_remembered)

    def write_all(self, works: list[Receipt]) -> None:
        """Write steps that another process made, and wait until they are durable.

        Raises:
            IdReused: the ids of some stand for something else; the others are written

        """
        receipts = self._write_many(self._engine("tell"), works)
        receipts.wait()
        raise_all(receipts.reused)
