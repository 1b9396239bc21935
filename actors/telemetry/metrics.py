"""What Prometheus sees of a runtime, read when it asks: nothing is counted a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from ..store import ClosedError, ReadOnlyStore
from .conventions import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from ..engine.health import Health
    from ..queries.views import Counts

__all__ = ["MEDIA_TYPE", "Measured", "MetricsCollector", "exposed"]

MEDIA_TYPE = CONTENT_TYPE_LATEST
"""Of what `exposed` returns."""

STATUSES = ("running", "complete", "suspended")

COUNTERS = {
    "transitions": "Transitions of instances.",
    "seen_again": "Events that came a second time, to no effect.",
    "not_for_us": "Events by learnt keys that were for no instance in the end.",
    "not_in_streams": "Events of types that are handled, in streams that are not listened to.",
    "skipped_early": "Events that came before a start, and were skipped.",
    "skipped_complete": "Events that came after an end, and were skipped.",
    "skipped_unmatched": "Events by learnt keys that no instance learnt in time.",
    "skipped_error": "Events that on_error skipped.",
    "waiting": "Events that were set aside behind something that holds up their instance.",
    "held": "Events that were set aside until their instance starts.",
    "retries": "Attempts at steps that are tried again.",
    "parked": "Steps and commands that were parked.",
    "commands": "Queued commands that were carried out, refused or parked.",
    "rejected": "Commands that were refused.",
    "effects": "After-effects that were carried out.",
    "effects_retried": "Attempts at after-effects that are tried again.",
    "effects_parked": "After-effects that were parked.",
    "projected": "Events that projections wrote into their tables.",
    "projections_retried": "Attempts of projections that are tried again.",
    "projections_parked": "Events that projections could not write, and that were parked.",
    "passivated": "Instances and aggregates that were dropped from memory.",
    "pruned_instances": "Instances that were complete and were pruned.",
    "pruned_events": "Events that were pruned.",
    "steps": "Steps that were committed.",
}
"""Those of `Runtime.stats` that are counters, with what each counts."""

GAUGES = {
    "awake": "Instances and aggregates in memory.",
    "in_flight": "Events and commands in hand.",
    "events": "Events in the log.",
}
"""The others that are about the whole runtime."""


class Measured(Protocol):
    """What is looked at of a runtime."""

    @property
    def is_read_only(self) -> bool: ...

    def stats(self) -> dict[str, int]: ...

    def counts(self) -> dict[str, Counts]: ...

    def health(self) -> Health: ...


class MetricsCollector(Collector):
    """Says how a runtime is, each time that it is asked.

    Give it to a registry of `prometheus_client`, of which one per service is enough::

        REGISTRY.register(MetricsCollector(runtime))

    Asking takes as long with a million instances as with ten. Of one that is closed nothing is
    said.

    Args:
        runtime: whose it is

    Raises:
        ReadOnlyStore: it was opened with `read_only=True`, so that nothing runs

    """

    def __init__(self, runtime: Measured) -> None:
        if runtime.is_read_only:
            raise ReadOnlyStore(
                "the runtime was opened with read_only=True, where nothing runs that could be "
                "measured; give the collector the runtime of the service"
            )
        self._runtime = runtime

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that a registry does not ask the runtime when it is given this."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        runtime = self._runtime
        try:
            stats, counts, health = runtime.stats(), runtime.counts(), runtime.health()
        except ClosedError:
            # The registry has other collectors as well, which are to go on.
            return
        yield from _of_processes(counts)
        yield from _of_all(stats)
        yield from _of_health(health)


def exposed(runtime: Measured) -> bytes:
    """All metrics of a runtime as text, as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(MetricsCollector(runtime))
    return generate_latest(registry)


def _of_processes(counts: Mapping[str, Counts]) -> Iterator[Metric]:
    instances = _gauge("instances", "Instances by status.", ["process", "status"])
    parked = _gauge("parked_now", "What waits for an operator.", ["process", "error"])
    for process, one in counts.items():
        # What is parked of no process manager has no instances.
        for status in STATUSES if process else ():
            instances.add_metric([process, status], getattr(one, status))
        by_error: dict[str, int] = {}
        for kind, count in one.parked.items():
            by_error[kind.error] = by_error.get(kind.error, 0) + count
        for error, count in by_error.items():
            parked.add_metric([process, error], count)
    yield instances
    yield parked


def _of_all(stats: Mapping[str, int]) -> Iterator[Metric]:
    for name, what in COUNTERS.items():
        yield CounterMetricFamily(f"{METRICS}_{name}", what, value=stats[name])
    for name, what in GAUGES.items():
        yield _gauge(name, what, value=stats[name])
    yield SummaryMetricFamily(
        f"{METRICS}_commit_seconds",
        "Commits, and the seconds that the disk took for them.",
        count_value=stats["commits"],
        sum_value=stats["commit_microseconds"] / 1_000_000,
    )


def _of_health(health: Health) -> Iterator[Metric]:
    backlog = _gauge("backlog", "Events that instances are not done with.", ["process"])
    for process, count in health.backlog.items():
        backlog.add_metric([process], count)
    yield backlog
    what = "Events that after-effects are not done with."
    effects = _gauge("effects_backlog", what, ["process"])
    for process, count in health.effects_backlog.items():
        effects.add_metric([process], count)
    yield effects
    what = "Events that are not in the tables of a projection."
    behind = _gauge("projections_backlog", what, ["projection"])
    for projection, count in health.projections_backlog.items():
        behind.add_metric([projection], count)
    yield behind
    what = "How long the oldest event has waited that is not in the tables of a projection."
    lag = _gauge("projections_lag_seconds", what, ["projection"])
    for projection, age in health.projections_lag.items():
        lag.add_metric([projection], age.total_seconds())
    yield lag
    what = "How long the oldest event has waited that instances are not done with."
    oldest = _gauge("oldest_unhandled_seconds", what, ["process"])
    for process, age in health.oldest_unhandled.items():
        oldest.add_metric([process], age.total_seconds())
    yield oldest
    yield _gauge("overdue_timers", "Timers that are due and not done.", value=health.overdue_timers)
    late = health.overdue_by.total_seconds()
    yield _gauge("overdue_seconds", "How late the oldest of them is.", value=late)
    yield _gauge("file_bytes", "Bytes of the store's file in use.", value=health.map_used)
    yield _gauge("file_limit_bytes", "Bytes it may have before it grows.", value=health.map_size)
    what = "How many commits the disk has refused in a row."
    yield _gauge("failing_commits", what, value=health.failing_commits)
    refused = CounterMetricFamily(
        f"{METRICS}_disk_errors", "Commits that the disk refused.", value=health.disk_errors
    )
    yield refused
    problems = _gauge("problems", "What is not well, by name.", ["problem"])
    for problem in health.problems:
        problems.add_metric([problem.name], 1)
    yield problems
    yield _gauge("is_healthy", "1 if all is well.", value=int(health.is_healthy))


def _gauge(
    name: str, what: str, labels: list[str] | None = None, value: float | None = None
) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{METRICS}_{name}", what, labels=labels, value=value)
