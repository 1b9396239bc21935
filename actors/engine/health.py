"""Whether all is well with a running engine: what an operator looks at, and hears of in the log.

Each change is told once. Nothing here waits: it reads what others keep, and a few rows.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..clock import from_micros
from ..store import MOST_OVERDUE, ClosedError, StoreError, StoreGauges
from ..store.interrupts import uninterrupted
from .scrubber import ScrubReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from .effect_feed import EffectFeeds
    from .journal import Journal
    from .lanes import Lanes
    from .projection_feeds import ProjectionFeeds
    from .router import Router
    from .scrubber import Scrubber
    from .services import Services

__all__ = ["Backup", "Health", "HealthProblem", "HealthWatch"]

logger = logging.getLogger("procession")

LATE = timedelta(minutes=1)
"""How late the oldest timer may be before it is a problem."""

FAR_BEHIND = 1_000
"""Commits that the oldest reader may be behind before it is a problem."""

LOG_PATIENCE = 1.0
"""Seconds that a caller waits until a change is logged."""

LOOK_EVERY = 60_000_000
"""Microseconds between two looks that no change of the commits asks for."""


@dataclass(frozen=True, slots=True)
class HealthProblem:
    """Something that is not well.

    Attributes:
        name: ``"commits_failing"``, ``"store_unreadable"``, ``"store_damaged"``,
            ``"scrub_stopped"``, ``"reader_behind"``, ``"timers_overdue"``,
            ``"projection_behind"`` or ``"parked"``; of a divided store also ``"lane_damaged"``,
            ``"lane_long"`` or ``"partition_down"``
        detail: more about it, in words; nothing of what was handled
        partition: of a divided store, which partition it is of

    """

    name: str
    detail: str
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Backup:
    """The newest backup of a store that it was told of.

    Attributes:
        time: of the moment that it shows
        path: its folder

    """

    time: datetime
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a runtime is at one moment.

    Attributes:
        time: the moment
        problems: what is not well, at most one of each name; of a divided store, one for each
            partition
        failing_since: when the first of the commits failed that have failed in a row; None if the
            newest commit succeeded
        failing_commits: how many these are
        disk_errors: how many commits the disk refused since the runtime was opened
        last_disk_error: what it said the last time; empty if it never did
        last_disk_error_at: when that was
        reader_process: the process of the oldest reader that is behind the store; None without one
        reader_commits_behind: how many commits it is behind; no page that was freed since is used
            again
        overdue_timers: how many timers are due and not done with, those of suspended instances
            among them; at most a thousand
        overdue_by: how late the oldest of them is
        backlog: by process manager, how many events its instances are not done with
        oldest_unhandled: by process manager, how long the oldest of these has waited since it was
            stored, if there is one
        effects_backlog: by process manager, how many events its after-effects are not done with
        projections_backlog: by projection, how many events of the log are not in its tables
        projections_lag: by projection, how long the oldest of these has waited since it was stored,
            if there is one
        parked: how many things are parked
        suspended: how many instances these suspend
        map_size: bytes of the file that may be used before it grows; 0 without a file
        map_used: bytes of it that are used
        last_backup: of this store, by a running runtime or by `procession backup`
        scrubbed_at: when the scrub had looked at all rows the last time; None without one
        scrubbed_rows: how many these were
        scrub_findings: what it found in its last pass and in the one in hand, at most a hundred
            of each
        control: the socket at which the command `procession` finds this runtime; None without one
        control_problem: why there is none though there should be one; empty otherwise
        page: where browsers find the page of this runtime; None without one
        page_problem: why there is none though there should be one; empty otherwise

    """

    time: datetime
    problems: tuple[HealthProblem, ...]
    failing_since: datetime | None
    failing_commits: int
    disk_errors: int
    last_disk_error: str
    last_disk_error_at: datetime | None
    reader_process: int | None
    reader_commits_behind: int
    overdue_timers: int
    overdue_by: timedelta
    backlog: Mapping[str, int]
    oldest_unhandled: Mapping[str, timedelta]
    effects_backlog: Mapping[str, int]
    projections_backlog: Mapping[str, int]
    projections_lag: Mapping[str, timedelta]
    parked: int
    suspended: int
    map_size: int
    map_used: int
    last_backup: Backup | None
    scrubbed_at: datetime | None
    scrubbed_rows: int
    scrub_findings: tuple[str, ...]
    control: Path | None = None
    control_problem: str = ""
    page: str | None = None
    page_problem: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    @property
    def map_share(self) -> float:
        """Which part of the map is used, from 0 to 1."""
        return self.map_used / self.map_size if self.map_size else 0.0


class HealthWatch:
    """Looks at the parts of an engine, and tells of what has changed.

    Args:
        services: of the engine
        routers: of all process managers
        effects: the feeds of after-effects
        projections: the feeds of projections
        scrubber: reads the store meanwhile, if it is read
        lanes: of a divided store, what comes from other partitions and goes there

    """

    def __init__(
        self,
        services: Services,
        routers: list[Router],
        effects: EffectFeeds,
        projections: ProjectionFeeds,
        scrubber: Scrubber | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self._store = services.store
        self._journal: Journal = services.journal
        self._now: Callable[[], int] = services.now
        self._routers = routers
        self._effects = effects
        self._projections = projections
        self._scrubber = scrubber
        self._lanes = lanes
        # The problems that were told of and are not over. Each change of it is one step to
        # Python's threads, so that of two who see the same change one tells of it.
        self._told: dict[str, object] = {}
        self._looked_at = self._now()
        self._was_failing = False

    def look_after_commit(self) -> None:
        """A commit succeeded or failed: look, if that has changed or it is a while ago."""
        is_failing = self._journal.faults.failing_since is not None
        # The clock may have been set back.
        is_due = abs(self._now() - self._looked_at) >= LOOK_EVERY
        if is_failing != self._was_failing or is_due:
            self._was_failing = is_failing
            self.look()

    def look(self) -> Health:
        """How it is now; what has changed since the last look is told.

        Raises:
            ClosedError: the store is closed

        """
        now = self._now()
        self._looked_at = now
        unreadable: StoreError | None = None
        try:
            gauges = self._store.gauges(now)
        except ClosedError:
            raise
        except StoreError as error:
            gauges, unreadable = StoreGauges(), error
        health = self._health(now, gauges, unreadable)
        self._tell(health)
        return health

    def _health(self, now: int, gauges: StoreGauges, unreadable: StoreError | None) -> Health:
        faults, reader, backup = self._journal.faults, gauges.oldest_reader, gauges.last_backup
        late = timedelta(microseconds=max(0, now - gauges.oldest_due if gauges.overdue else 0))
        scrub = ScrubReport() if self._scrubber is None else self._scrubber.report
        return Health(
            time=from_micros(now),
            problems=tuple(self._problems(gauges, unreadable, late, scrub)),
            failing_since=_moment(faults.failing_since),
            failing_commits=faults.in_a_row,
            disk_errors=faults.count,
            last_disk_error=faults.last_error,
            last_disk_error_at=_moment(faults.last_time or None),
            reader_process=None if reader is None else reader.process,
            reader_commits_behind=0 if reader is None else reader.commits_behind,
            overdue_timers=gauges.overdue,
            overdue_by=late,
            backlog=MappingProxyType({one.plan.name: one.backlog for one in self._routers}),
            oldest_unhandled=MappingProxyType(dict(self._oldest(now))),
            effects_backlog=MappingProxyType(self._effects.backlog()),
            projections_backlog=MappingProxyType(
                {one.name: one.backlog for one in self._projections}
            ),
            projections_lag=MappingProxyType(
                dict(self._ages(now, ((one.name, one.position) for one in self._projections)))
            ),
            parked=gauges.parked,
            suspended=gauges.suspended,
            map_size=gauges.map_size,
            map_used=gauges.map_used,
            last_backup=None if backup is None else Backup(from_micros(backup.time), backup.path),
            scrubbed_at=_moment(scrub.passed_at),
            scrubbed_rows=scrub.rows,
            scrub_findings=tuple(str(one) for one in scrub.findings),
        )

    def _oldest(self, now: int) -> Iterator[tuple[str, timedelta]]:
        waiting = [one for one in self._routers if one.backlog]
        return self._ages(now, ((one.plan.name, one.oldest - 1) for one in waiting))

    def _ages(self, now: int, done: Iterable[tuple[str, int]]) -> Iterator[tuple[str, timedelta]]:
        """How old the event is behind each position, if there is one, by name."""
        for name, position in done:
            # What cannot be read is told of where it is handled.
            with suppress(StoreError):
                event = self._store.event_at(position + 1)
                if event is not None:
                    yield name, timedelta(microseconds=max(0, now - event.time))

    def _problems(
        self,
        gauges: StoreGauges,
        unreadable: StoreError | None,
        late: timedelta,
        scrub: ScrubReport,
    ) -> Iterator[HealthProblem]:
        faults, reader = self._journal.faults, gauges.oldest_reader
        if faults.failing_since is not None:
            since = from_micros(faults.failing_since).isoformat()
            yield HealthProblem(
                "commits_failing",
                f"the disk has refused {faults.in_a_row} commits in a row since {since}: "
                f"{faults.last_error}",
            )
        if unreadable is not None:
            yield HealthProblem("store_unreadable", str(unreadable))
        if scrub.findings:
            yield HealthProblem(
                "store_damaged",
                f"{len(scrub.findings)} findings of the scrub, the first: {scrub.findings[0]}. "
                f"`procession verify` lists all that is wrong; go back to a backup",
            )
        if scrub.stopped is not None:
            yield HealthProblem("scrub_stopped", str(scrub.stopped))
        if reader is not None and reader.commits_behind >= FAR_BEHIND:
            yield HealthProblem(
                "reader_behind",
                f"process {reader.process} reads a state that is {reader.commits_behind} commits "
                f"old, so that no page that was freed since is used again and the file grows",
            )
        if late > LATE:
            count = f"{gauges.overdue}{' or more' if gauges.overdue == MOST_OVERDUE else ''}"
            yield HealthProblem("timers_overdue", f"{count} timers are due, the oldest by {late}")
        late_ones = list(self._late_projections())
        if late_ones:
            # One for all of them.
            yield HealthProblem("projection_behind", "; ".join(late_ones))
        if self._lanes is not None:
            if self._lanes.damage:
                # One for all of them, each with its partition.
                yield HealthProblem("lane_damaged", "; ".join(self._lanes.damage.copy().values()))
            if self._lanes.is_full:
                longest, size = self._lanes.longest()
                yield HealthProblem(
                    "lane_long",
                    f"partition {longest} has not taken {size:,} messages from here, so that no "
                    f"new command from outside is begun",
                )
        if gauges.parked:
            yield HealthProblem(
                "parked",
                f"{gauges.parked} things wait for a person to retry or skip them, and suspend "
                f"{gauges.suspended} instances",
            )

    def _late_projections(self) -> Iterator[str]:
        without = self._projections.open_gates()
        for feed in self._projections:
            then = "after-effects wait for it"
            if feed.name in without:
                then = "after-effects go on without it, and may read what is old"
            if feed.trouble:
                yield f"{feed.name}: {feed.trouble}; {then}"
            elif feed.name in without:
                yield f"{feed.name} is {feed.backlog} events behind; {then}"

    def _tell(self, health: Health) -> None:
        """Log each problem that began or ended since the last time."""
        there = {one.name: one for one in health.problems}
        if set(there) == set(self._told):
            return
        # Writing to a log takes locks, by hand. In a signal handler it may wait for the very thread
        # that waits for it here; then the line comes when that goes on.
        with suppress(TimeoutError):
            uninterrupted(
                lambda: self._log(there, health), "procession-health", timeout=LOG_PATIENCE
            )

    def _log(self, there: Mapping[str, HealthProblem], health: Health) -> None:
        for name, problem in there.items():
            mine = object()
            if self._told.setdefault(name, mine) is mine:
                _log("began", problem, health)
        for name in tuple(self._told):
            if name not in there and self._told.pop(name, None) is not None:
                _log("ended", HealthProblem(name, ""), health)


def _log(change: str, problem: HealthProblem, health: Health) -> None:
    fields = {
        "problem": problem.name,
        "change": change,
        "detail": problem.detail,
        "is_healthy": health.is_healthy,
    }
    detail = f": {problem.detail}" if problem.detail else ""
    rest = "all is well" if health.is_healthy else "not all is well"
    logger.warning("health: %s %s%s; %s", problem.name, change, detail, rest, extra=fields)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
