"""What Prometheus reads is what the runtime says of itself."""

import http.client
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from procession import Domain, Event, ProcessManager, ReadOnlyStore, Retry, Runtime, handle, timeout
from procession.telemetry.metrics import COUNTERS, GAUGES, MEDIA_TYPE, MetricsCollector, exposed
from procession.testing import VirtualClock
from tests.actors.control.service import short_folder

yard = Domain("measured")


class Came(Event):
    ship: str


class Went(Event):
    ship: str


@yard.register
class Ship(ProcessManager, correlate="ship", retry=Retry(attempts=1)):
    ship: str = ""

    @handle(Came, start=True)
    def on_came(self, event: Came) -> None:
        if event.ship.startswith("bad"):
            raise RuntimeError("it sank")
        self.set_timeout("customs", timedelta(hours=1))

    @handle(Went, end=True)
    def on_went(self, event: Went) -> None: ...

    @timeout("customs")
    def on_customs(self) -> None: ...


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(yard, clock=clock) as runtime:
        for ship in ("a", "b", "c", "bad1", "bad2"):
            runtime.publish(Came(ship), stream=f"sea-{ship}")
        runtime.publish(Went("a"), stream="sea-a")
        runtime.settle(5)
        yield runtime


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (
            sample.name.removeprefix("procession_"),
            tuple(sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metrics_of(runtime: Runtime) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return read(exposed(runtime).decode())


def test_every_counter_and_gauge_of_stats_is_there_with_its_value(runtime: Runtime) -> None:
    found, stats = metrics_of(runtime), runtime.stats()
    elsewhere = {"running", "complete", "suspended", "commits", "commit_microseconds"}
    assert {*COUNTERS, *GAUGES} == set(stats) - elsewhere
    assert {name: found[f"{name}_total", ()] for name in COUNTERS} == {
        name: stats[name] for name in COUNTERS
    }
    assert {name: found[name, ()] for name in GAUGES} == {name: stats[name] for name in GAUGES}
    assert found["commit_seconds_count", ()] == stats["commits"] > 0
    assert found["commit_seconds_sum", ()] == stats["commit_microseconds"] / 1_000_000 > 0


def test_instances_are_counted_by_process_and_status_and_what_is_parked_by_error(
    runtime: Runtime,
) -> None:
    found = metrics_of(runtime)
    by_status = {
        dict(labels)["status"]: n for (name, labels), n in found.items() if name == "instances"
    }
    assert by_status == {"running": 2, "complete": 1, "suspended": 2}
    assert found["parked_now", (("error", "RuntimeError"), ("process", "measured.Ship"))] == 2


def test_health_is_there_with_the_file_the_backlog_and_what_is_not_well(
    runtime: Runtime, clock: VirtualClock
) -> None:
    clock.advance(timedelta(minutes=5))
    engine: Any = runtime._running
    [router] = engine.routers
    router._under_way[1] = 1
    found, health = metrics_of(runtime), runtime.health()
    router._under_way.clear()
    of_ships = (("process", "measured.Ship"),)
    assert found["backlog", of_ships] == health.backlog["measured.Ship"] == 6
    assert found["oldest_unhandled_seconds", of_ships] == 300
    assert found["file_bytes", ()] == health.map_used > 0
    assert found["file_limit_bytes", ()] == health.map_size
    assert found["overdue_timers", ()] == health.overdue_timers
    assert found["is_healthy", ()] == 0
    assert found["problems", (("problem", "parked"),)] == 1


def test_a_closed_runtime_says_nothing_and_disturbs_no_other_collector(runtime: Runtime) -> None:
    registry = CollectorRegistry()
    registry.register(MetricsCollector(runtime))
    assert list(registry.collect())
    runtime.close()
    assert list(registry.collect()) == []


def test_a_registry_does_not_ask_the_runtime_when_it_is_given_the_collector(
    runtime: Runtime,
) -> None:
    runtime.close()
    CollectorRegistry().register(MetricsCollector(runtime))


def test_a_runtime_in_which_nothing_runs_is_refused(tmp_path: Path) -> None:
    Runtime(tmp_path, yard).close()
    with (
        Runtime(tmp_path, read_only=True) as runtime,
        pytest.raises(ReadOnlyStore, match="give the collector the runtime of the service"),
    ):
        MetricsCollector(runtime)


def get(runtime: Runtime, path: str) -> tuple[int, str | None, str]:
    calling = socket.socket(socket.AF_UNIX)
    calling.connect(str(runtime.health().control))
    connection = http.client.HTTPConnection("store")
    connection.sock = calling
    with closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type"), answer.read().decode()


def test_the_control_face_answers_metrics_at_its_socket() -> None:
    with short_folder() as folder, Runtime(folder / "store", yard) as runtime:
        runtime.publish(Came("a"), stream="sea-a")
        runtime.settle(5)
        status, kind, text = get(runtime, "/metrics")
        assert (status, kind) == (200, MEDIA_TYPE)
        assert read(text)["transitions_total", ()] == 1
        assert re.search(r"^# HELP procession_transitions_total ", text, re.MULTILINE)


def test_without_the_library_the_control_face_has_no_metrics_and_answers_all_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "prometheus_client" else find(name, package)

    monkeypatch.setattr("procession.control.application.find_spec", without)
    with short_folder() as folder, Runtime(folder / "store", yard) as runtime:
        assert get(runtime, "/metrics")[0] == 404
        assert get(runtime, "/stats")[0] == 200
