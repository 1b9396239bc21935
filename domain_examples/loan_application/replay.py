"""Putting the log's events into the store, and waiting until all of them are handled.

Nothing here knows whether an earlier run was cut off: each event has an id made of its `seq`, and
what is published again under the same id is stored once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procession import TimedOut

from .process import CATEGORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from procession import Runtime

    from .process import Activity
    from .progress import Progress

__all__ = ["publish", "settle"]

TOGETHER = 1_024
"""Events published at once: enough to share a disk write, few enough to tell how far it got."""


def publish(
    runtime: Runtime, activities: Iterable[Activity], progress: Progress, *, copies: int = 1
) -> int:
    """Publish every event, each as often as `copies` says.

    Args:
        runtime: where to
        activities: the events, in the order of the log
        progress: is told what is on disk
        copies: how often; the result is the same

    Returns:
        how many events there were

    """
    published = 0
    for together in _batches(activities):
        runtime.publish_many(
            (activity for activity in together for _ in range(copies)),
            stream=_stream_of,
            event_id=_event_id_of,
        )
        published += len(together)
        progress.show(f"published {published:,} events")
    return published


def settle(runtime: Runtime, progress: Progress) -> None:
    """Wait until every event is handled."""
    while True:
        try:
            return runtime.settle(timeout=0.5)
        except TimedOut:
            progress.show(f"settling: {runtime.stats()['transitions']:,} transitions in this run")


def _batches(activities: Iterable[Activity]) -> Iterator[list[Activity]]:
    together: list[Activity] = []
    for activity in activities:
        together.append(activity)
        if len(together) == TOGETHER:
            yield together
            together = []
    if together:
        yield together


def _stream_of(event: Activity) -> str:
    return f"{CATEGORY}-{event.case}"


def _event_id_of(event: Activity) -> str:
    return f"bpi2012-{event.seq}"
