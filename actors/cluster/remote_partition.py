"""A partition that another process runs: it is read here, and asked there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..engine.ingress import Ingress, Receipt
from ..engine.instance_watches import open_all
from ..engine.pending_replies import PendingReplies
from ..errors import IdReused
from ..queries.process_wait import ProcessWait
from ..store.interrupts import Latch
from .partition_runtime import PartitionRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..engine.event_loops import EventLoops
    from ..engine.health import Health
    from ..engine.pending_replies import ReplyFuture
    from ..engine.projection_rebuild import ProjectionProgress
    from ..engine.pruning import PruningReport
    from ..engine.rebuilding import RebuildProgress
    from ..model.domain import Domain
    from ..queries.views import Erasure
    from ..store import CommandRecord, EventRecord, Store

__all__ = ["RemotePartition", "bare"]


class RemotePartition(PartitionRuntime):
    """As `PartitionRuntime`, whose engine is in another process.

    Args:
        store: of the partition, open for reading
        call: has the other process carry out a call, by name and arguments
        domains: whose classes the other process runs
        options: as for `Runtime`

    """

    def __init__(
        self,
        store: Store,
        call: Callable[..., ReplyFuture[Any]],
        *domains: Domain,
        **options: Any,
    ) -> None:
        super().__init__(store, None, *domains, **options)
        self._call = call
        self._ingress = Ingress(self._registry, self.clock, store.secret())
        self._commits: set[Latch] = set()

    # Asking for something

    def _asking(
        self, command: Any, command_id: str | None, headers: Mapping[str, Any] | None
    ) -> ReplyFuture[Any]:
        is_remembered = command_id is not None
        record = self._ingress.command(command, command_id, headers, is_remembered=is_remembered)
        return self._call("ask", bare(record), is_remembered)

    def _telling(
        self, command: Any, command_id: str | None, headers: Mapping[str, Any] | None
    ) -> tuple[Any, str]:
        record = self._ingress.command(command, command_id, headers)
        call = self._call("tell", [bare(record)], command_id is not None)
        return _RemoteReceipts(call), record.command_id

    def _write_commands(self, records: list[CommandRecord], *, are_given: bool) -> Any:
        return _RemoteReceipts(self._call("tell", [bare(one) for one in records], are_given))

    def _publishing(
        self, event: Any, stream: str, event_id: Any, headers: Any, *, as_import: bool
    ) -> tuple[Any, Any]:
        work = self._ingress.publication(event, stream, event_id, headers, as_import=as_import)
        receipts = _RemoteReceipts(self._call("publish", [_published(work)]))
        return receipts, receipts

    def _write_events(self, works: list[Receipt]) -> tuple[Any, Callable[[], list[int]]]:
        call = self._call("publish", [_published(one) for one in works])
        return _RemoteReceipts(call), call.get

    def settle(self, timeout: float | None = None) -> None:
        self._call("settle", timeout).get()

    def _waiting(
        self, cls: Any, name: object, until: Any, timeout: float | None
    ) -> tuple[Any, float | None]:
        definition = self._registry.process(cls)
        instance = definition.id_of(name)
        return _RemoteWait(self, definition, instance, until), timeout

    def has_moved(self) -> None:
        """The other process has committed something; any thread may call this."""
        open_all(self._commits)

    def next_commit(self) -> Latch:
        """What opens when the other process has committed something."""
        latch = Latch()
        self._open_with_commit(latch)
        return latch

    def _open_with_commit(self, latch: Latch) -> None:
        self._commits.add(latch)

    # Deciding, and what only the engine knows

    def retry(self, parked_id: int, *, by: str | None = None) -> None:
        self._call("runtime", "retry", (parked_id,), {"by": by}).get()

    def skip(self, parked_id: int, *, by: str | None = None) -> None:
        self._call("runtime", "skip", (parked_id,), {"by": by}).get()

    def move_timeout(self, cls: Any, id: object, name: str, when: Any, *, by: Any = None) -> bool:
        given = (cls, id, name, when)
        return bool(self._call("runtime", "move_timeout", given, {"by": by}).get())

    def cancel_timeout(self, cls: Any, id: object, name: str, *, by: Any = None) -> bool:
        return bool(self._call("runtime", "cancel_timeout", (cls, id, name), {"by": by}).get())

    def end(self, cls: Any, id: object, **given: Any) -> int:
        return int(self._call("runtime", "end", (cls, id), given).get())

    def amend(self, cls: Any, id: object, fields: Any = None, /, **given: Any) -> int:
        return int(self._call("runtime", "amend", (cls, id, fields), given).get())

    def erase(self, cls: Any = None, id: object = None, **given: Any) -> Erasure:
        erased: Erasure = self._call("runtime", "erase", (cls, id), given).get()
        return erased

    def erase_here(self, kind: Any, process: str, which: str, by: str | None) -> None:
        self._call("runtime", "erase_here", (kind, process, which, by), {}).get()

    def read(
        self,
        cls: Any,
        *,
        after: Any = None,
        stream: str | None = None,
        timeout: float | None = None,
    ) -> int:
        del stream
        given = {"after": after, "timeout": timeout}
        return int(self._call("runtime", "read", (cls,), given).get())

    def refresh(
        self,
        cls: Any,
        id: object = None,
        *,
        since: Any = None,
        by: Any = None,
        on_progress: Any = None,
    ) -> int:
        if on_progress is not None:
            raise TypeError("refresh: on_progress=… is told nothing of what another process does")
        given = {"since": since, "by": by}
        return int(self._call("runtime", "refresh", (cls, id), given).get())

    def prune(self, *, before: Any, ids_before: Any = None, archive: Any = None) -> PruningReport:
        given = {"before": before, "ids_before": ids_before, "archive": archive}
        found: PruningReport = self._call("runtime", "prune", (), given).get()
        return found

    def rebuild(self, cls: Any, *, by: Any = None, on_progress: Any = None) -> Any:
        # The function stays here: how far it is, is told once for a partition.
        progress: RebuildProgress | ProjectionProgress = self._call(
            "runtime", "rebuild", (cls,), {"by": by}
        ).get()
        if on_progress is not None:
            on_progress(progress)
        return progress

    def note_backup(self, now: int, target: str | os.PathLike[str]) -> None:
        self._call("runtime", "note_backup", (now, os.fspath(target)), {}).get()

    def health(self) -> Health:
        found: Health = self._call("health").get()
        return found

    def stats(self) -> dict[str, int]:
        found: dict[str, int] = self._call("runtime", "stats", (), {}).get()
        return found

    @property
    def has_taken_all(self) -> bool:
        return bool(self._call("has_taken_all").get())

    @property
    def commit_count(self) -> int:
        return int(self._call("commit_count").get())


class _RemoteReceipts:
    """Waits for what another process writes; as `Receipts`, and as the one `Receipt` in it."""

    def __init__(self, call: ReplyFuture[Any]) -> None:
        self._call = call
        self.reused: list[IdReused] = []

    def wait(self) -> None:
        """Return when it is on disk."""
        try:
            self._call.get()
        except IdReused as error:
            self.reused.append(error)

    async def waited(self) -> None:
        """As `wait`, in a coroutine."""
        await self._call.awaited()
        self.wait()

    @property
    def position(self) -> int:
        """Of the one event that was published."""
        positions: list[int] = self._call.get()
        return positions[0]


class _RemoteWait(ProcessWait[Any]):
    """Looks at an instance whenever the process that runs it has committed something."""

    def __init__(self, part: RemotePartition, definition: Any, instance: str, until: Any) -> None:
        self._part = part
        self._pending = PendingReplies()
        super().__init__(None, part._reader, definition, instance, until)  # type: ignore[arg-type]

    @property
    def loops(self) -> EventLoops:
        return self._pending.loops

    def looks(self) -> Iterator[Latch]:
        seen: int | None = None
        while True:
            # First, so that no commit falls between the look and the wait.
            latch = self._part.next_commit()
            self._part._refuse_closed()
            for view in self._reader.passed(self._definition, self._instance, seen):
                self.view, seen = view, view.version
                if self._is_there(view):
                    return
            yield latch


def bare(record: CommandRecord) -> CommandRecord:
    """Without what only this process can share."""
    return replace(record, message=None)


def _published(work: Receipt) -> tuple[str, EventRecord, bool]:
    append = work.step.append
    assert append is not None
    return append.stream, replace(append.events[0], message=None), append.unique
