"""Promises 2, 4, 5 and 7: a worker is killed again and again, and nothing is lost or doubled."""

import random
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import IO

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from checker import Findings  # noqa: E402 - the path comes first
from shop import Fulfilment, PlaceOrder, shop  # noqa: E402

from actors import Runtime  # noqa: E402
from store import LmdbStore, Step, backup, compact  # noqa: E402

KILLS = 32


def start(store: Path, run: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / "worker.py"), str(store), f"r{run:02d}"],
        stdout=subprocess.PIPE,
        text=True,
    )


def read_some(lines: IO[str], count: int) -> set[str]:
    """At most so many acknowledgements; fewer if the process ends by itself."""
    found = set()
    for _ in range(count):
        line = lines.readline()
        if not line.endswith("\n"):
            break
        found.add(line.strip())
    return found


def kill(worker: subprocess.Popen[str]) -> set[str]:
    """Kill it, and take what it acknowledged before it died."""
    worker.kill()
    assert worker.stdout is not None
    with worker.stdout:
        rest = {line.strip() for line in worker.stdout if line.endswith("\n")}
    worker.wait()
    return rest


def finish(runtime: Runtime, orders: set[str]) -> None:
    """Wait for the retries that are due in a few milliseconds."""
    pending = threading.Event()
    for _ in range(1_000):
        views = [runtime.get(Fulfilment, order) for order in orders]
        if all(view is not None and view.is_complete for view in views):
            return
        pending.wait(0.02)
        runtime.settle(timeout=60)


def test_a_worker_killed_at_random_moments_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effects = tmp_path / "effects"
    monkeypatch.setenv("EFFECTS", str(effects))
    moments = random.Random(20_240_229)
    store = tmp_path / "store"
    acknowledged: set[str] = set()
    for run in range(KILLS):
        worker = start(store, run)
        assert worker.stdout is not None
        # From the middle of opening and recovery to well into the flow of orders.
        count = moments.choice((0, 1, 2, 5, 20, 60, 150)) + moments.randrange(10)
        acknowledged |= read_some(worker.stdout, count)
        acknowledged |= kill(worker)
        acknowledged.discard("open")
        if (store / "data.mdb").exists() and run:
            assert Findings(str(store), acknowledged).wrong == []
    assert len(acknowledged) > 200, "the worker was killed before it did anything"

    with Runtime(store, shop) as runtime:
        runtime.settle(timeout=60)
        finish(runtime, acknowledged)
        assert runtime.stats()["parked"] == 0
        for order in acknowledged:
            process = runtime.get(Fulfilment, order)
            assert process is not None
            assert process.is_complete
            assert list(runtime.history(Fulfilment, order))[-1].state == process.state

    after = Findings(str(store), acknowledged)
    assert after.wrong == []
    assert after.complete == after.orders >= acknowledged
    told = set(effects.read_text(encoding="utf-8").split())
    assert after.orders <= told, "an after-effect was lost"
    # All that can happen did, or this run has shown nothing about it.
    assert {"gift", "refused", "failed", "delivered", "timeout"} <= after.happened


def test_a_copy_made_while_another_process_writes_is_whole_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    worker = start(tmp_path / "store", 0)
    assert worker.stdout is not None
    try:
        acknowledged = read_some(worker.stdout, 50) - {"open"}
        backup(tmp_path / "store", tmp_path / "copy")
        compact(tmp_path / "store", tmp_path / "small")
    finally:
        kill(worker)
    for copy in (tmp_path / "copy", tmp_path / "small"):
        assert Findings(str(copy), acknowledged).wrong == []
        with Runtime(copy, shop) as runtime:
            runtime.settle(timeout=60)
            finish(runtime, acknowledged)
        assert Findings(str(copy), acknowledged).wrong == []


def test_the_checker_finds_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kill test means something only if its checker can fail."""
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    with Runtime(tmp_path, shop) as runtime:
        runtime.ask(PlaceOrder("o1", Decimal(1)))
        runtime.settle(timeout=10)
    assert Findings(str(tmp_path), {"o1"}).wrong == []
    assert "lost" in Findings(str(tmp_path), {"o1", "o2"}).wrong[0]
    with LmdbStore(tmp_path) as store:
        last = store.last_transition("killed.Fulfilment", "o1")
        assert last is not None
        last.version += 1
        store.commit([Step(process="killed.Fulfilment", instance="o1", transition=last)])
    wrong = " ".join(Findings(str(tmp_path), {"o1"}).wrong)
    assert "took an event twice" in wrong
    assert "went on after its end" in wrong
