"""What one sees of a simulation: the words of the runtime, answered from the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from ..clock import to_micros
from ..store import verify_open
from .turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..authoring.aggregate import Aggregate
    from ..authoring.process_manager import ProcessManager
    from ..queries.views import (
        AggregateView,
        InstanceView,
        Parked,
        StoredEvent,
        Timeout,
        Transition,
    )
    from ..store import StoreFinding
    from .telling import Trace

__all__ = ["Looking"]


class Looking(Turns):
    """Reads what is on disk."""

    @property
    def now(self) -> datetime:
        """The simulated time."""
        return self._clock.now()

    @property
    def trace(self) -> Trace:
        """What happened so far, a line for each turn. As text, it is for people to read."""
        return self._trace

    @property
    def turns(self) -> int:
        """How many turns there were."""
        return self._turn

    @property
    def is_through(self) -> bool:
        """Whether everything in the program was brought."""
        return all(client.is_through for client in self._clients)

    def knows(self, cls: type[ProcessManager]) -> bool:
        """Whether the process manager is in one of the domains."""
        return cls in self._registry.processes

    @overload
    def get(self, cls: type[ProcessManager], id: object) -> InstanceView | None: ...

    @overload
    def get(self, cls: type[Aggregate], id: object) -> AggregateView | None: ...

    def get(
        self,
        cls: type[ProcessManager | Aggregate],
        id: object,  # noqa: A002 - the public word
    ) -> InstanceView | AggregateView | None:
        """One instance or aggregate as it is on disk, or None if nothing happened to it yet."""
        return self._reader.get(cls, id)

    def history(self, cls: type[ProcessManager], id: object) -> Iterator[Transition]:  # noqa: A002
        """The transitions of one instance, oldest first."""
        return self._reader.history(cls, id)

    def find(
        self,
        cls: type[ProcessManager],
        *,
        complete: bool | None = None,
        suspended: bool | None = None,
        **fields: Any,
    ) -> Iterator[InstanceView]:
        """The instances of a process manager, in order of id."""
        return self._reader.find(cls, fields, complete=complete, suspended=suspended)

    def events(
        self, stream_or_category: str | None = None, *, after: int = 0
    ) -> Iterator[StoredEvent]:
        """Stored events in order of position."""
        return self._reader.events(stream_or_category, after)

    def timeouts(
        self,
        cls: type[ProcessManager] | None = None,
        id: object = None,  # noqa: A002
        *,
        before: datetime | None = None,
    ) -> Iterator[Timeout]:
        """What is due later, in order of time."""
        return self._reader.timeouts(cls, id, before)

    def parked(self, *, decided: bool = False) -> Iterator[Parked]:
        """What could not be handled, the oldest first."""
        return self._reader.parked(decided=decided)

    def verify(self) -> list[StoreFinding]:
        """Check the whole store; returns all that is wrong."""
        return verify_open(self._store, now=to_micros(self.now)).findings

    def stats(self) -> dict[str, int]:
        """Counters since the last crash, and gauges."""
        return self._engine.stats()
