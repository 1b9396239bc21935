"""What a runtime does when its surroundings fail: threads, readers, disks, and files."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    FailingDisk,
    LostStore,
    NoThread,
    ProcessManager,
    Runtime,
    TooManyReaders,
    handle,
)
from procession.testing import VirtualClock
from tests.actors.engine.test_shutdown import until
from tests.store.test_dead_readers import (
    READS_FOR_LONG,
    TAKES_ALL_PLACES,
    kill,
    reader,
    taken,
    used,
)
from tests.store.test_failing_disks import header_fails

shop = Domain("surroundings")


class Place(Command):
    order: str


class Placed(Event):
    order: str


@shop.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id)


@shop.register
class Fulfilment(ProcessManager, correlate="order"):
    order: str = ""

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        pass


@pytest.fixture
def runtime(tmp_path: Path, clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime(tmp_path / "store", shop, clock=clock) as runtime:
        runtime.ask(Place("o1"))
        runtime.settle(timeout=20)
        yield runtime


# Threads


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_runtime_that_gets_no_thread_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def few(thread: threading.Thread) -> None:
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    waits: list[object] = []
    wait_for = threading.Condition.wait_for

    def note(self: Any, until: Any, timeout: float | None = None) -> Any:
        waits.append(timeout)
        return wait_for(self, until, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", few)
        patch.setattr(threading.Condition, "wait_for", note)
        with pytest.raises(NoThread, match="can't start new thread"):
            Runtime(tmp_path, shop)
    # It waits for none but those that it has.
    assert [one for one in waits if one is None or one > 1.0] == []  # type: ignore[operator]
    # The store was let go of.
    with Runtime(tmp_path, shop) as runtime:
        runtime.ask(Place("o1"))


def test_a_runtime_goes_on_with_the_threads_it_has_when_it_gets_no_more(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    assert runtime._running is not None
    dispatcher = runtime._running.dispatcher
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        with dispatcher._bell.lock:
            dispatcher._add_help()
        assert "no more threads help out" in caplog.text
        runtime.ask(Place("o2"))
        runtime.settle(timeout=20)
    assert runtime.get(Fulfilment, "o2") is not None


# Readers


def test_the_place_of_a_reader_that_was_killed_is_given_back_while_the_runtime_goes_on(
    runtime: Runtime, tmp_path: Path, clock: VirtualClock
) -> None:
    with reader(tmp_path / "store", READS_FOR_LONG) as (_, process):
        kill(process)
    store: Any = runtime._store
    assert process.pid in taken(store)
    clock.advance(timedelta(seconds=1))
    runtime.ask(Place("o2"))
    runtime.settle(timeout=20)
    assert process.pid not in taken(store)


def test_when_all_places_are_taken_commands_are_carried_out_and_a_backup_is_told_why(
    runtime: Runtime, tmp_path: Path
) -> None:
    with reader(tmp_path / "store", TAKES_ALL_PLACES) as (_, culprit):
        for number in range(2, 20):
            runtime.ask(Place(f"o{number}"), timeout=20)
        runtime.settle(timeout=20)
        assert runtime.get(Fulfilment, "o19") is not None
        with pytest.raises(TooManyReaders, match=f"{culprit.pid}"):
            runtime.backup(tmp_path / "copy")
        kill(culprit)
    runtime.backup(tmp_path / "copy")
    assert used(tmp_path / "copy") > 0


# Disks


def test_a_runtime_whose_disk_failed_once_goes_on_by_itself(
    runtime: Runtime, tmp_path: Path
) -> None:
    with header_fails(tmp_path / "store"), pytest.raises(FailingDisk):
        runtime.ask(Place("o2"), timeout=20)
    assert runtime.get(Fulfilment, "o1") is not None
    runtime.ask(Place("o2"), timeout=20)
    runtime.settle(timeout=20)
    assert runtime.get(Fulfilment, "o2") is not None
    assert runtime.verify() == []


def test_a_runtime_whose_disk_fails_while_its_store_is_read_for_long_goes_on_after_that(
    runtime: Runtime, tmp_path: Path
) -> None:
    reads, may_end = threading.Event(), threading.Event()

    def read_for_long() -> None:
        with runtime._store.snapshot():
            reads.set()
            may_end.wait(60)

    other = threading.Thread(target=read_for_long)
    other.start()
    assert reads.wait(20)
    with header_fails(tmp_path / "store"):
        asked = runtime.ask(Place("o2"), block=False)
        store: Any = runtime._store
        until(lambda: store._file.environment._shared.gate.waits_until_free)
        may_end.set()
        other.join()
        with pytest.raises(FailingDisk):
            asked.get(timeout=20)
    runtime.ask(Place("o2"), timeout=20)
    runtime.settle(timeout=20)
    assert runtime.get(Fulfilment, "o2") is not None
    assert runtime.verify() == []


# Files


def test_a_runtime_whose_file_is_gone_acknowledges_nothing_more(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path / "store", shop)
    runtime.ask(Place("o1"))
    runtime.settle(timeout=20)
    (tmp_path / "store").rename(tmp_path / "away")
    for call in (
        lambda: runtime.ask(Place("o2"), timeout=20),
        lambda: runtime.tell(Place("o2")),
        lambda: runtime.publish(Placed("o2"), stream="feed::x-1"),
    ):
        with pytest.raises(LostStore):
            call()
    # What was acknowledged can still be read, and nothing else.
    assert runtime.get(Fulfilment, "o1") is not None
    assert runtime.get(Order, "o2") is None
    runtime.close()
    with Runtime(tmp_path / "away", shop) as found:
        found.settle(timeout=20)
        assert found.get(Fulfilment, "o1") is not None
