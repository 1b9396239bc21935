"""How each partition of a divided store is, as its file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..clock import from_micros

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from ..store import Store
    from .partition_runtime import PartitionRuntime

__all__ = ["PartitionState", "states_of"]


@dataclass(frozen=True, slots=True)
class PartitionState:
    """How one partition is.

    Attributes:
        number: which one
        process: the id of the process that runs it; None if it is only read here
        events: how many its log has, copies from other partitions among them
        backlog: how many of these the slowest of its process managers is not done with
        lane_backlog: how many messages other partitions have for it that it has not taken
        oldest_waiting: when the oldest event of its backlog was stored; None without one

    """

    number: int
    process: int | None
    events: int
    backlog: int
    lane_backlog: int
    oldest_waiting: datetime | None


def states_of(
    stores: Sequence[Store], parts: Sequence[PartitionRuntime], processes: Mapping[int, int]
) -> list[PartitionState]:
    """How all are, one after the other."""
    return [
        _state_of(number, stores, part, processes.get(number)) for number, part in enumerate(parts)
    ]


def _state_of(
    number: int, stores: Sequence[Store], part: PartitionRuntime, process: int | None
) -> PartitionState:
    own = stores[number]
    last = own.last_position()
    done = min((part.done(name) for name in part.process_names()), default=last)
    oldest = own.event_at(done + 1) if done < last else None
    return PartitionState(
        number,
        process,
        last,
        max(0, last - done),
        sum(_lanes_to(number, stores)),
        None if oldest is None else from_micros(oldest.time),
    )


def _lanes_to(number: int, stores: Sequence[Store]) -> Iterator[int]:
    for source, store in enumerate(stores):
        if source != number:
            # Before what was sent, so that no more was taken than was sent.
            taken = stores[number].cursor_of(source)
            yield store.last_sent(number) - taken
