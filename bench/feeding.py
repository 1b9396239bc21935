"""Feeding a runtime, and watching how far it is.

Two ways to feed. `feed` publishes to a runtime that works meanwhile, never far ahead of it, as a
service does that is at its limit. `lay_up` publishes into a store whose process manager does not
run yet; when it is opened with it, the runtime does steps and nothing else, and the time of a step
can be told from the time of publishing.

How far it is, is read from `stats()` every few milliseconds, which costs next to nothing.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from procession import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from procession import Domain, Event

__all__ = ["batched", "feed", "lay_up", "passing", "steps_of"]

TOGETHER = 1_024
"""Events that are published at once."""

AHEAD = 4_096
"""Most events that are published and not handled yet."""

LOOKS = 0.000_25, 0.005
"""Seconds between two looks: at first, and once it is clear that it takes a while."""

PATIENCE = 120.0
"""Seconds without any progress after which something must be wrong."""

T = TypeVar("T")
E = TypeVar("E", bound="Event")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of so many items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def steps_of(runtime: Runtime) -> Callable[[], int]:
    """A function that tells how many transitions there were since the runtime was opened."""
    return lambda: runtime.stats()["transitions"]


def passing(count: Callable[[], int], marks: Iterable[int]) -> Iterator[tuple[int, float]]:
    """Wait for a count to pass one mark after the other.

    Args:
        count: tells how far it is
        marks: ascending

    Yields:
        the count when a mark was seen to be passed, and the time (of `time.perf_counter`)

    Raises:
        TimeoutError: the count stands still

    """
    last, moved = -1, time.perf_counter()
    for mark in marks:
        look, longest = LOOKS
        while (found := count()) < mark:
            now = time.perf_counter()
            if found != last:
                last, moved = found, now
            elif now - moved > PATIENCE:
                raise TimeoutError(f"it stands still at {found:,} on its way to {mark:,}")
            time.sleep(look)
            look = min(2 * look, longest)
        yield found, time.perf_counter()


def feed(runtime: Runtime, events: Iterable[E], stream: Callable[[E], str]) -> None:
    """Publish events that each make one transition, never far ahead of these."""
    steps = steps_of(runtime)
    published = steps()
    for together in batched(events, TOGETHER):
        runtime.publish_many(together, stream=stream)
        published += len(together)
        for _ in passing(steps, [published - AHEAD]):
            pass


def lay_up(
    folder: Path, domain: Domain, events: Iterable[E], stream: Callable[[E], str], **options: Any
) -> None:
    """Publish events into a store while no process manager that handles them runs.

    It is not part of any figure, so it is synced once, at the end.
    """
    with Runtime(folder, domain, durability="os", **options) as runtime:
        for together in batched(events, 8 * TOGETHER):
            runtime.publish_many(together, stream=stream)
