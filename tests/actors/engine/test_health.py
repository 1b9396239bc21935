"""Whether all is well: what `health()` says, also after reopening, and what it tells the log."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import (
    Backup,
    ClosedError,
    Domain,
    Event,
    Health,
    ProcessManager,
    ReadOnlyStore,
    Runtime,
    StoreError,
    StoreFull,
    after,
    handle,
    timeout,
)
from procession.engine.health import FAR_BEHIND
from procession.store import DictionaryEngine, LmdbStore, StoreGauges
from procession.testing import VirtualClock

WAIT = 30
SECRET = "sesame-4711"

yard = Domain("yard")


class Came(Event):
    ship: str
    cargo: str = SECRET


class Unloaded(Event):
    ship: str
    cargo: str = SECRET


@yard.register
class Ship(ProcessManager, correlate="ship"):
    ship: str = ""

    fails: ClassVar[bool] = False
    gate: ClassVar[threading.Event] = threading.Event()

    @handle(Came, start=True)
    def came(self, event: Came) -> None:
        self.set_timeout("leaves", timedelta(hours=1))

    @handle(Unloaded)
    def unloaded(self, event: Unloaded) -> None:
        if Ship.fails:
            raise ValueError(event.cargo)

    @timeout("leaves")
    def leaves(self) -> None:
        pass

    @after(Unloaded)
    def report(self, event: Unloaded) -> None:
        Ship.gate.wait(WAIT)


@pytest.fixture(autouse=True)
def nothing_fails() -> Iterator[None]:
    Ship.fails, Ship.gate = False, threading.Event()
    Ship.gate.set()
    yield
    Ship.gate.set()


def send(runtime: Runtime, *events: Event) -> None:
    for event in events:
        runtime.publish(event, stream="yard::quay-1")


def suspend(runtime: Runtime, *ships: str) -> None:
    Ship.fails = True
    for ship in ships:
        send(runtime, Came(ship), Unloaded(ship))
    runtime.settle(timeout=WAIT)
    Ship.fails = False


def names(health: Health) -> list[str]:
    return [one.name for one in health.problems]


def changes(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (one.__dict__["problem"], one.__dict__["change"])
        for one in caplog.records
        if "problem" in one.__dict__
    ]


def test_a_runtime_with_which_all_is_well_says_so(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path / "store", yard, clock=clock) as runtime:
        send(runtime, Came("a"), Unloaded("a"))
        runtime.settle(timeout=WAIT)
        health = runtime.health()
        assert health.is_healthy
        assert health.problems == ()
        assert health.time == clock.now()
        assert health.backlog == {"yard.Ship": 0}
        assert health.effects_backlog == {"yard.Ship": 0}
        assert (health.parked, health.suspended, health.overdue_timers) == (0, 0, 0)
        assert (health.failing_since, health.disk_errors) == (None, 0)
        assert 0 < health.map_used < health.map_size
        assert health.map_share == health.map_used / health.map_size
        assert health.last_backup is None
        with pytest.raises(FrozenInstanceError):
            health.parked = 1  # type: ignore[misc]


def test_a_store_in_no_file_has_health_without_a_map() -> None:
    with Runtime(DictionaryEngine(), yard) as runtime:
        health = runtime.health()
        assert health.is_healthy
        assert (health.map_size, health.map_share) == (0, 0.0)


# What is parked


def test_what_is_parked_and_suspended_is_counted_also_after_reopening(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "store"
    with Runtime(path, yard, clock=clock) as runtime:
        suspend(runtime, "a", "b", "c")
        health = runtime.health()
        assert (health.parked, health.suspended) == (3, 3)
        assert names(health) == ["parked"]
        first = next(runtime.parked())
        runtime.skip(first.id)
        assert runtime.health().suspended == 2
    with Runtime(path, yard, clock=clock) as runtime:
        health = runtime.health()
        assert (health.parked, health.suspended) == (2, 2)
        for one in list(runtime.parked()):
            runtime.retry(one.id)
        runtime.settle(timeout=WAIT)
        assert runtime.health().is_healthy


@given(st.lists(st.sampled_from(["suspend", "skip", "retry", "fails", "refuse", "reopen"])))
def test_the_gauges_are_what_the_store_lists_whatever_happened(moves: list[str]) -> None:
    engine = DictionaryEngine()
    runtime, ships = Runtime(engine, yard), 0
    try:
        for move in moves:
            store: Any = runtime._store
            if move == "suspend":
                suspend(runtime, f"s{ships}")
                ships += 1
            elif move == "reopen":
                runtime.close()
                engine = engine.reopened()
                runtime = Runtime(engine, yard)
            elif move == "refuse":
                close = store.close_commit

                def refuse(checkpoints: Any = None, store: Any = store, close: Any = close) -> None:
                    store.close_commit = close
                    store.drop_commit()
                    raise StoreError("no")

                parked = list(runtime.parked())
                if parked:
                    store.close_commit = refuse
                    with suppress(StoreError):
                        runtime.skip(parked[0].id)
            else:
                Ship.fails = move == "fails"
                for one in list(runtime.parked())[:1]:
                    (runtime.skip if move == "skip" else runtime.retry)(one.id)
                runtime.settle(timeout=WAIT)
                Ship.fails = False
            listed, health = list(runtime.parked()), runtime.health()
            suspended = list(runtime.find(Ship, suspended=True))
            assert (health.parked, health.suspended) == (len(listed), len(suspended))
    finally:
        runtime.close()


# Commits


class Disk:
    """Refuses commits for as long as it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        close_commit, disk = LmdbStore.close_commit, self

        def close(store: LmdbStore, checkpoints: Any = None) -> None:
            if disk.is_full:
                store.drop_commit()
                raise StoreFull("no room on the disk")
            close_commit(store, checkpoints)

        monkeypatch.setattr(LmdbStore, "close_commit", close)


def test_commits_that_fail_are_a_problem_until_one_succeeds(
    tmp_path: Path,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = Disk(monkeypatch)
    with Runtime(tmp_path / "store", yard, clock=clock) as runtime:
        began = clock.now()
        disk.is_full = True
        for _ in range(3):
            with pytest.raises(StoreFull):
                send(runtime, Came("a"))
        clock.advance(timedelta(seconds=90))
        health = runtime.health()
        assert names(health) == ["commits_failing"]
        assert "no room on the disk" in health.problems[0].detail
        assert health.failing_since == began
        assert health.failing_commits == health.disk_errors == 3
        assert (health.last_disk_error, health.last_disk_error_at) == ("no room on the disk", began)
        disk.is_full = False
        send(runtime, Came("a"))
        runtime.settle(timeout=WAIT)
        # It was told by itself.
        assert changes(caplog) == [("commits_failing", "began"), ("commits_failing", "ended")]
        health = runtime.health()
        assert health.is_healthy
        assert (health.failing_since, health.failing_commits, health.disk_errors) == (None, 0, 3)
        assert health.last_disk_error == "no room on the disk"
    assert len(changes(caplog)) == 2


def test_a_disk_that_refuses_for_long_has_a_line_in_the_log_each_second(
    tmp_path: Path,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = Disk(monkeypatch)
    with Runtime(tmp_path / "store", yard, clock=clock) as runtime:
        disk.is_full = True
        for _ in range(3):
            for _ in range(2):
                with pytest.raises(StoreFull):
                    send(runtime, Came("a"))
            clock.advance(timedelta(seconds=1))
        disk.is_full = False
    said = [one.__dict__ for one in caplog.records if one.__dict__.get("handler") == "a commit"]
    assert [(one["attempt"], one["left_out"]) for one in said[:3]] == [(1, 0), (3, 1), (5, 1)]
    assert "no room on the disk" in caplog.text


# Readers, timers, backlogs


def test_a_reader_that_is_far_behind_is_a_problem(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Runtime(tmp_path / "store", yard, clock=clock) as runtime:
        store: Any = runtime._store
        with store.snapshot():
            for number in range(3):
                send(runtime, Came(f"s{number}"))
            health = runtime.health()
            assert health.reader_process == os.getpid()
            assert health.reader_commits_behind >= 3
            assert health.is_healthy
            monkeypatch.setattr("procession.engine.health.FAR_BEHIND", 3)
            assert names(runtime.health()) == ["reader_behind"]
        health = runtime.health()
        assert (health.is_healthy, health.reader_process) == (True, None)
    assert FAR_BEHIND == 1_000


def test_timers_that_are_late_are_counted_with_the_lateness_of_the_oldest(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "store"
    with Runtime(path, yard, clock=clock) as runtime:
        suspend(runtime, "a", "b")
        clock.advance(timedelta(hours=1, seconds=30))
        health = runtime.health()
        # Those of suspended instances wait until they go on.
        assert (health.overdue_timers, health.overdue_by) == (2, timedelta(seconds=30))
        assert names(health) == ["parked"]
        clock.advance(timedelta(seconds=31))
        assert names(runtime.health()) == ["timers_overdue", "parked"]
        for one in list(runtime.parked()):
            runtime.skip(one.id)
        runtime.settle(timeout=WAIT)
        health = runtime.health()
        assert (health.overdue_timers, health.overdue_by) == (0, timedelta(0))


def test_the_backlog_of_each_router_and_its_effects_is_counted(clock: VirtualClock) -> None:
    with Runtime.ephemeral(yard, clock=clock) as runtime:
        Ship.gate.clear()
        send(runtime, Came("a"), Unloaded("a"), Unloaded("a"))
        engine: Any = runtime._running
        waited = threading.Event()
        while engine.health.look().effects_backlog["yard.Ship"] < 2:
            waited.wait(0.001)
        assert runtime.health().backlog == {"yard.Ship": 0}
        Ship.gate.set()
        runtime.settle(timeout=WAIT)
        assert runtime.health().effects_backlog == {"yard.Ship": 0}


def test_the_backlog_of_a_router_is_what_its_instances_have_not_handed_over(
    clock: VirtualClock,
) -> None:
    with Runtime.ephemeral(yard, clock=clock) as runtime:
        send(runtime, Came("a"))
        runtime.settle(timeout=WAIT)
        engine: Any = runtime._running
        router = engine.routers[0]
        router._under_way[1] = 1
        clock.advance(timedelta(seconds=30))
        health = runtime.health()
        assert health.backlog == {"yard.Ship": 1}
        assert health.oldest_unhandled == {"yard.Ship": timedelta(seconds=30)}
        del router._under_way[1]
        assert runtime.health().oldest_unhandled == {}


# Backups


def test_the_last_backup_is_known_also_after_reopening_and_in_no_copy_of_before(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path, copy = tmp_path / "store", tmp_path / "copy"
    with Runtime(path, yard, clock=clock) as runtime:
        send(runtime, Came("a"))
        made = Backup(clock.now(), str(copy))
        runtime.backup(copy)
        assert runtime.health().last_backup == made
    with Runtime(path, yard, clock=clock) as runtime:
        assert runtime.health().last_backup == made
    with Runtime(copy, yard, clock=clock) as runtime:
        assert runtime.health().last_backup is None


def test_a_backup_that_the_store_cannot_note_is_made_all_the_same(
    tmp_path: Path,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(store: LmdbStore, backup: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(LmdbStore, "note_backup", refuse)
    with Runtime(tmp_path / "store", yard, clock=clock) as runtime:
        send(runtime, Came("a"))
        runtime.backup(tmp_path / "copy")
    assert "the store could not note it: no room" in caplog.text
    with Runtime(tmp_path / "copy", yard, clock=clock) as runtime:
        assert len(list(runtime.events())) == 1


# Telling


def test_each_problem_is_told_when_it_begins_and_when_it_ends_and_without_payloads(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Runtime.ephemeral(yard, clock=clock) as runtime:
        suspend(runtime, "a")
        for _ in range(3):
            runtime.health()
        assert changes(caplog) == [("parked", "began")]
        runtime.skip(next(runtime.parked()).id)
        for _ in range(3):
            runtime.health()
        assert changes(caplog) == [("parked", "began"), ("parked", "ended")]
        assert caplog.records[-1].__dict__["is_healthy"] is True
        suspend(runtime, "b")
        runtime.health()
        assert changes(caplog)[2:] == [("parked", "began")]
    assert "health: parked ended; all is well" in caplog.text
    assert SECRET not in caplog.text


def test_the_engine_looks_by_itself_with_the_first_commit_after_a_minute(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Runtime.ephemeral(yard, clock=clock) as runtime:
        suspend(runtime, "a")
        assert changes(caplog) == []
        clock.advance(timedelta(minutes=1))
        send(runtime, Came("b"))
        runtime.settle(timeout=WAIT)
        assert changes(caplog) == [("parked", "began")]


def test_many_threads_that_look_at_once_tell_each_change_once(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Runtime.ephemeral(yard, clock=clock) as runtime:
        for _ in range(10):
            suspend(runtime, "a")
            gate = threading.Barrier(4)

            def look() -> None:
                gate.wait(WAIT)  # noqa: B023 - it ends within the loop
                runtime.health()

            threads = [threading.Thread(target=look) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAIT)
            runtime.skip(next(runtime.parked()).id)
            runtime.health()
    assert changes(caplog) == [("parked", "began"), ("parked", "ended")] * 10


def test_a_store_that_cannot_be_read_is_a_problem_and_no_error(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: LmdbStore, now: int) -> StoreGauges:
        raise StoreError("LMDB failed: input/output error")

    with Runtime.ephemeral(yard, clock=clock) as runtime:
        with monkeypatch.context() as patch:
            patch.setattr(LmdbStore, "gauges", refuse)
            health = runtime.health()
            assert names(health) == ["store_unreadable"]
            assert "input/output error" in health.problems[0].detail
        assert runtime.health().is_healthy


def test_health_may_be_asked_for_while_a_commit_hangs(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, gate = threading.Event(), threading.Event()
    close_commit = LmdbStore.close_commit

    def hang(store: LmdbStore, checkpoints: Any = None) -> None:
        entered.set()
        gate.wait(WAIT)
        close_commit(store, checkpoints)

    with Runtime(tmp_path / "store", yard, clock=clock) as runtime:
        monkeypatch.setattr(LmdbStore, "close_commit", hang)
        thread = threading.Thread(target=send, args=(runtime, Came("a")))
        thread.start()
        assert entered.wait(WAIT)
        assert runtime.health().is_healthy
        gate.set()
        thread.join(WAIT)


def test_what_does_not_run_has_no_health(tmp_path: Path) -> None:
    with Runtime(tmp_path / "store", yard) as runtime:
        pass
    with pytest.raises(ClosedError):
        runtime.health()
    with (
        Runtime(tmp_path / "store", yard, read_only=True) as reader,
        pytest.raises(ReadOnlyStore, match="health"),
    ):
        reader.health()
