"""A runtime that scrubs its store: a process of its own reads it, and `health` tells of it."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from procession import Domain, Event, ProcessManager, Runtime, StoreError, handle
from procession.engine.scrubber import Scrubber
from procession.store import DictionaryEngine
from procession.testing import VirtualClock
from tests.actors.engine.test_shutdown import until

FAST = 1_000_000

yard = Domain("scrubbed")


class Came(Event):
    ship: str


@yard.register
class Ship(ProcessManager, correlate="ship"):
    ship: str = ""

    @handle(Came, start=True)
    def came(self, event: Came) -> None:
        pass


@pytest.fixture
def runtime(tmp_path: Path, clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime(tmp_path / "store", yard, clock=clock, scrub=FAST) as runtime:
        runtime.publish(Came("s1"), stream="scrubbed::ship-s1")
        runtime.settle(timeout=20)
        yield runtime


def child_of(runtime: Runtime) -> int:
    scrubber = runtime._running._scrubber  # type: ignore[union-attr]
    assert scrubber is not None
    assert scrubber._process is not None
    return scrubber._process._process.pid


class Row:
    """A row of the file that can be damaged, and mended, under the runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self.engine: Any = runtime._store._engine
        ((self.key, self.sound),) = self.engine.range("started", b"\0", b"\xff" * 512, 1)

    def damage(self) -> None:
        self.put(self.sound[:-1] + bytes([self.sound[-1] ^ 1]))

    def mend(self) -> None:
        self.put(self.sound)

    def put(self, value: bytes) -> None:
        assert self.engine.commit({"started": {self.key: value}}, {}).outcome == "committed"


def test_health_says_when_all_rows_had_been_looked_at(runtime: Runtime) -> None:
    until(lambda: runtime.health().scrubbed_at is not None)
    health = runtime.health()
    assert health.scrubbed_at == runtime.clock.now()
    assert health.scrubbed_rows > 5
    assert health.scrub_findings == ()
    assert health.is_healthy


def test_what_is_damaged_is_told_by_health_and_the_log_until_it_is_mended(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "procession")
    row = Row(runtime)
    row.damage()
    # By the log, which nothing asked for.
    until(lambda: any("store_damaged began" in one.getMessage() for one in caplog.records))
    health = runtime.health()
    (problem,) = health.problems
    assert problem.name == "store_damaged"
    assert "checksum" in problem.detail
    assert len(health.scrub_findings) == 1
    assert health.scrub_findings[0].startswith("started ")
    row.mend()
    until(lambda: any("store_damaged ended" in one.getMessage() for one in caplog.records))
    assert runtime.health().is_healthy


def test_a_scrub_that_is_killed_is_told_and_the_runtime_goes_on(runtime: Runtime) -> None:
    until(lambda: runtime.health().scrubbed_at is not None)
    os.kill(child_of(runtime), signal.SIGKILL)
    until(lambda: not runtime.health().is_healthy)
    (problem,) = runtime.health().problems
    assert problem.name == "scrub_stopped"
    assert "killed by SIGKILL" in problem.detail
    runtime.publish(Came("s2"), stream="scrubbed::ship-s2")
    runtime.settle(timeout=20)
    assert runtime.get(Ship, "s2") is not None


def test_one_that_damage_ends_calls_the_store_damaged(runtime: Runtime) -> None:
    until(lambda: runtime.health().scrubbed_at is not None)
    os.kill(child_of(runtime), signal.SIGBUS)
    until(lambda: not runtime.health().is_healthy)
    damaged, stopped = runtime.health().problems
    assert (damaged.name, stopped.name) == ("store_damaged", "scrub_stopped")
    assert "killed by SIGBUS" in damaged.detail


def test_closing_ends_the_process_and_the_thread(tmp_path: Path, clock: VirtualClock) -> None:
    runtime = Runtime(tmp_path, yard, clock=clock, scrub=1)
    child = child_of(runtime)
    assert any(one.name == "procession-scrub" for one in threading.enumerate())
    runtime.close()
    assert not any(one.name == "procession-scrub" for one in threading.enumerate())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_without_the_option_there_is_no_process(tmp_path: Path) -> None:
    with Runtime(tmp_path, yard) as runtime:
        health = runtime.health()
        assert (health.scrubbed_at, health.scrubbed_rows, health.scrub_findings) == (None, 0, ())
        assert not any(one.name == "procession-scrub" for one in threading.enumerate())


@pytest.mark.parametrize("scrub", [0, -1, 1.5, True, "100"])
def test_what_is_no_number_of_rows_is_refused(tmp_path: Path, scrub: Any) -> None:
    with pytest.raises(ValueError, match="give a whole number of rows a second"):
        Runtime(tmp_path / "store", yard, scrub=scrub)
    assert not (tmp_path / "store").exists()


def test_what_is_no_folder_or_is_only_read_is_not_scrubbed(tmp_path: Path) -> None:
    Runtime(tmp_path, yard).close()
    for place, read_only in ((DictionaryEngine(), False), (tmp_path, True)):
        with pytest.raises(ValueError, match="a store in a folder that is open for writing"):
            Runtime(place, yard, scrub=100, read_only=read_only)


def test_a_process_that_cannot_be_started_keeps_the_runtime_from_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("multiprocessing.spawn.get_executable", lambda: b"/nowhere/python")
        with pytest.raises(StoreError, match="no process could be started"):
            Runtime(tmp_path, yard, scrub=100)
    # Nothing is left of the attempt.
    Runtime(tmp_path, yard).close()


def test_findings_are_those_of_the_last_pass_and_the_one_in_hand() -> None:
    moments = iter(range(1, 9))
    scrubber = Scrubber(Path("unused"), 1, lambda: next(moments))

    def said(**message: object) -> tuple[bool, tuple[str, ...]]:
        is_told = scrubber._learn(message)
        return is_told, tuple(one.key for one in scrubber.report.findings)

    assert said(finding=["log", "1", "?"]) == (True, ("1",))
    assert said(finding=["log", "2", "?"]) == (False, ("1", "2"))
    assert said(passed=10) == (False, ("1", "2"))
    assert said(finding=["log", "2", "?"]) == (False, ("1", "2"))
    # The first is mended.
    assert said(passed=10) == (True, ("2",))
    assert said(passed=10) == (True, ())
    assert said(passed=11) == (False, ())
    assert (scrubber.report.passed_at, scrubber.report.rows) == (4, 11)
