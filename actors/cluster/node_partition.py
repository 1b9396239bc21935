"""A partition in a database: this node runs it, or another one that is asked through the database.

It may change hands at any time. Each call goes to who has it when it is made.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..authoring.projection import Projection
from ..clock import seconds
from ..engine.projection_rebuild import ProjectionProgress
from ..engine.pruning import PruningReport
from ..engine.rebuilding import RebuildProgress
from ..engine.replaying import replayed
from ..errors import PartitionDown
from ..queries.views import Erasure
from ..store import ClosedError
from ..store.interrupts import Latch
from .call_format import new_id
from .remote_partition import RemotePartition, bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..engine.health import Health
    from ..engine.pending_replies import ReplyFuture
    from ..model.domain import Domain
    from ..store import Store
    from .call_format import CallFormat
    from .partition_runtime import PartitionRuntime

__all__ = ["NodePartition"]

DRAIN = 10.0
"""Seconds that a partition which is handed over waits for answers that callers wait for."""

BRIEFLY = 0.002

DECISIONS = frozenset({"retry", "skip", "move_timeout", "cancel_timeout", "end", "amend"})
"""Calls that would do something else when they are carried out twice."""


def _by_owner(name: str, *, again: bool = False) -> Any:
    """A call that this node carries out if it owns the partition, and else the owner.

    Args:
        name: of the call
        again: whether it may be made once more when the partition changed hands meanwhile

    """
    there: Any = getattr(RemotePartition, name)

    def call(self: NodePartition, *given: Any, **named: Any) -> Any:
        while True:
            with self.using() as local:
                if local is None:
                    return there(self, *given, **named)
                if not again:
                    return getattr(local, name)(*given, **named)
            try:
                return getattr(local, name)(*given, **named)
            except ClosedError:
                self._refuse_closed()
                if self.local is local:
                    raise

    call.__name__ = name
    call.__doc__ = there.__doc__
    return call


class NodePartition(RemotePartition):
    """As `RemotePartition`, which this node may run itself.

    Args:
        number: of the partition
        store: of the partition, open for reading
        ask: has the owner carry out a call, as `Correspondence.call`
        form: writes calls
        domains: whose classes to run
        options: as for `Runtime`

    Attributes:
        local: what runs it here; None while another node does, or none

    """

    def __init__(
        self,
        number: int,
        store: Store,
        ask: Callable[[int, str, bytes, Callable[[Any], Any]], ReplyFuture[Any]],
        form: CallFormat,
        *domains: Domain,
        **options: Any,
    ) -> None:
        super().__init__(store, self._call_out, *domains, **options)
        self.number = number
        self._ask_owner = ask
        self._form = form
        self._uses = threading.Lock()
        self._users = 0
        self.local: PartitionRuntime | None = None

    @contextmanager
    def using(self) -> Iterator[PartitionRuntime | None]:
        """What runs it here, which is not closed before the block is over; None if nothing does."""
        with self._uses:
            local = self.local
            self._users += local is not None
        try:
            yield local
        finally:
            if local is not None:
                with self._uses:
                    self._users -= 1

    def leave(self, timeout: float | None) -> None:
        """Run it here no more: what callers wait for is answered first, and it is let go of.

        Args:
            timeout: as for `close`; with 0, no caller is waited for

        """
        with self._uses:
            local, self.local = self.local, None
        if local is None:
            return
        end = seconds() + (0.0 if timeout == 0 else DRAIN)
        while (self._users or local.has_callers) and seconds() < end:
            Latch().wait(BRIEFLY)
        local.close(timeout=timeout)

    def _call_out(self, name: str, *given: Any) -> ReplyFuture[Any]:
        self._refuse_closed()
        if name == "runtime" and given[0] in DECISIONS:
            name, given = "once", (new_id(), *given)
        request = self._form.packed(name, given)
        finish = (lambda value: value) if name != "ask" else (lambda _: self._replayed(given[0]))
        return self._ask_owner(self.number, name, request, finish)

    def _replayed(self, record: Any) -> Any:
        result = self._store.result_of(record.command_id)
        assert result is not None
        return replayed(self._store, self._registry, result, record.command_id)

    def _asking(
        self, command: Any, command_id: str | None, headers: Mapping[str, Any] | None
    ) -> ReplyFuture[Any]:
        with self.using() as local:
            if local is not None:
                return local._asking(command, command_id, headers)
        # It may be carried out by one owner after another, so that its id is always remembered.
        record = self._ingress.command(command, command_id, headers)
        return self._call("ask", bare(record), True)

    def _open_with_commit(self, latch: Latch) -> None:
        super()._open_with_commit(latch)
        with self.using() as local:
            if local is not None:
                local._open_with_commit(latch)

    _telling = _by_owner("_telling")
    _write_commands = _by_owner("_write_commands")
    _publishing = _by_owner("_publishing")
    _write_events = _by_owner("_write_events")
    settle = _by_owner("settle", again=True)
    retry = _by_owner("retry")
    skip = _by_owner("skip")
    move_timeout = _by_owner("move_timeout")
    cancel_timeout = _by_owner("cancel_timeout")
    end = _by_owner("end")
    amend = _by_owner("amend")
    erase_here = _by_owner("erase_here")
    read = _by_owner("read", again=True)
    refresh = _by_owner("refresh")
    note_backup = _by_owner("note_backup")
    stats = _by_owner("stats", again=True)

    @property
    def is_elsewhere(self) -> bool:
        """Whether another node runs it, or none."""
        return self.local is None

    def health(self) -> Health:
        with self.using() as local:
            if local is None:
                raise PartitionDown(f"partition {self.number} is another node's, which knows")
            return local.health()

    def erase(self, cls: Any = None, id: object = None, **given: Any) -> Erasure:
        with self.using() as local:
            if local is not None:
                return local.erase(cls, id, **given)
        # An answer of another node is data.
        return Erasure(**self._call("runtime", "erase", (cls, id), given).get())

    def prune(self, *, before: Any, ids_before: Any = None, archive: Any = None) -> PruningReport:
        with self.using() as local:
            if local is not None:
                return local.prune(before=before, ids_before=ids_before, archive=archive)
        # An answer of another node is data.
        given = {"before": before, "ids_before": ids_before, "archive": archive}
        return PruningReport(**self._call("runtime", "prune", (), given).get())

    def rebuild(self, cls: Any, *, by: Any = None, on_progress: Any = None) -> Any:
        with self.using() as local:
            if local is not None:
                return local.rebuild(cls, by=by, on_progress=on_progress)
        # An answer of another node is data.
        said = self._call("runtime", "rebuild", (cls,), {"by": by}).get()
        of = ProjectionProgress if issubclass(cls, Projection) else RebuildProgress
        progress = of(**said)
        if on_progress is not None:
            on_progress(progress)
        return progress

    @property
    def commit_count(self) -> int:
        with self.using() as local:
            if local is not None:
                return local.commit_count
        return super().commit_count
