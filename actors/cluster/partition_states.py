"""How each partition of a divided store is, as its file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import from_micros
from ..queries.views import PartitionState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..store import Store
    from .partition_runtime import PartitionRuntime

__all__ = ["states_of"]


def states_of(
    stores: Sequence[Store], parts: Sequence[PartitionRuntime], processes: Mapping[int, int]
) -> list[PartitionState]:
    """How all are, one after the other; each file is read a few times, however many there are."""
    in_lanes = _in_lanes(stores)
    return [
        _state_of(number, store, part, processes.get(number), in_lanes[number])
        for number, (store, part) in enumerate(zip(stores, parts, strict=True))
    ]


def _state_of(
    number: int, own: Store, part: PartitionRuntime, process: int | None, in_lanes: int
) -> PartitionState:
    last = own.last_position()
    done = min((part.done(name) for name in part.process_names()), default=last)
    oldest = own.event_at(done + 1) if done < last else None
    return PartitionState(
        number,
        process,
        last,
        max(0, last - done),
        in_lanes,
        None if oldest is None else from_micros(oldest.time),
    )


def _in_lanes(stores: Sequence[Store]) -> list[int]:
    """How much others have sent to each that it has not taken."""
    # Before what was sent, so that no more was taken than was sent.
    taken = [store.cursors() for store in stores]
    found = [0] * len(stores)
    for source, store in enumerate(stores):
        for target, last in store.sent(len(stores)).items():
            found[target] += last - taken[target].get(source, 0)
    return found
