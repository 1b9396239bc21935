"""How all partitions are, put together from how each is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import reduce
from typing import TYPE_CHECKING

from ..engine.health import Health, HealthProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

__all__ = ["down", "together"]


def together(found: Mapping[int, Health], problems: Iterable[HealthProblem]) -> Health:
    """One health for all partitions: sums, and of what cannot be added the worst.

    Args:
        found: of those that answered, by partition; at least one
        problems: of those that did not

    """
    named = {
        number: replace(
            one, problems=tuple(replace(each, partition=number) for each in one.problems)
        )
        for number, one in found.items()
    }
    whole = reduce(_added, named.values())
    return replace(whole, problems=(*problems, *whole.problems))


def down(partition: int, why: str) -> HealthProblem:
    """That a partition does not answer."""
    return HealthProblem("partition_down", why, partition)


def _added(one: Health, other: Health) -> Health:
    behind = max(one, other, key=lambda each: each.reader_commits_behind)
    refused = max(one, other, key=lambda each: each.last_disk_error_at or _begin(each))
    return Health(
        time=max(one.time, other.time),
        problems=(*one.problems, *other.problems),
        failing_since=_earliest(one.failing_since, other.failing_since),
        failing_commits=max(one.failing_commits, other.failing_commits),
        disk_errors=one.disk_errors + other.disk_errors,
        last_disk_error=refused.last_disk_error,
        last_disk_error_at=refused.last_disk_error_at,
        reader_process=behind.reader_process,
        reader_commits_behind=behind.reader_commits_behind,
        overdue_timers=one.overdue_timers + other.overdue_timers,
        overdue_by=max(one.overdue_by, other.overdue_by),
        backlog=_summed(one.backlog, other.backlog),
        oldest_unhandled=_longest(one.oldest_unhandled, other.oldest_unhandled),
        effects_backlog=_summed(one.effects_backlog, other.effects_backlog),
        projections_backlog=_summed(one.projections_backlog, other.projections_backlog),
        projections_lag=_longest(one.projections_lag, other.projections_lag),
        parked=one.parked + other.parked,
        suspended=one.suspended + other.suspended,
        map_size=one.map_size + other.map_size,
        map_used=one.map_used + other.map_used,
        # The store is backed up when all of it is.
        last_backup=min(one.last_backup, other.last_backup, key=lambda each: each.time)
        if one.last_backup and other.last_backup
        else None,
        scrubbed_at=min(one.scrubbed_at, other.scrubbed_at)
        if one.scrubbed_at and other.scrubbed_at
        else None,
        scrubbed_rows=one.scrubbed_rows + other.scrubbed_rows,
        scrub_findings=(*one.scrub_findings, *other.scrub_findings),
    )


def _begin(health: Health) -> datetime:
    """Before all that a runtime can have met."""
    return health.time.replace(year=1)


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    total = Counter(one)
    total.update(other)
    return dict(total)


def _longest(one: Mapping[str, timedelta], other: Mapping[str, timedelta]) -> dict[str, timedelta]:
    none = timedelta()
    return {name: max(one.get(name, none), other.get(name, none)) for name in {**one, **other}}
