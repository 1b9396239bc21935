"""How each partition of a divided store is, as its file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import from_micros
from ..queries.views import PartitionState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..store import Store
    from .partition_runtime import PartitionRuntime

__all__ = ["states_of"]


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
