"""Kills a service whose log is folded into a table at random moments, and compares the two.

    python -m tests.kill.projections --kills 1000 --seed 1

Each run publishes events, some of whose handlers fail now and then, and makes the tables anew now
and then. In the end one process settles; then the table must equal a fold of the log, with no event
twice, and no after-effect of all runs may have read a table without its event.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from procession import Runtime
from procession.store import verify
from tests.kill.projections_worker import PRIME, Counted, Reader, Sums, tables, work

# Each worker is forked from a process that has imported what it needs, and has no threads.
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["tests.kill.projections_worker"])

PER_STORE = 50
"""Kills before a store is worked off and another one is begun."""


class Outcome(NamedTuple):
    """What a campaign came to."""

    kills: int
    events: int
    reads: int
    stale: int
    rebuilt: int
    wrong: list[str]

    @property
    def is_well(self) -> bool:
        return not (self.stale or self.wrong)


def campaign(folder: Path, kills: int, seed: int) -> Outcome:
    """Run and kill so many times, on one store after the other."""
    chance = random.Random(seed)
    said: Counter[str] = Counter()
    wrong: list[str] = []
    events = 0
    for first in range(0, kills, PER_STORE):
        store, path = folder / f"store-{first}", folder / f"tables-{first}.db"
        for run in range(first, min(first + PER_STORE, kills)):
            said += _one_run(store, path, run, chance, wrong)
        events += _check(store, path, said, wrong)
    return Outcome(
        kills, events, said["fresh"] + said["stale"], said["stale"], said["rebuilt"], wrong
    )


def _one_run(
    store: Path, path: Path, run: int, chance: random.Random, wrong: list[str]
) -> Counter[str]:
    """One worker until it is killed; how often it said what."""
    said: Counter[str] = Counter()
    left = chance.choice((1, 2, 5, 20, 60, 150)) + chance.randrange(10)
    mine, others = forks.Pipe(duplex=False)
    worker = forks.Process(target=work, args=(str(store), str(path), run, others))
    worker.start()
    others.close()
    # What was said when it is killed is read to its end, which may be cut off.
    with contextlib.suppress(EOFError, OSError):
        while True:
            word, _, rest = mine.recv().partition(" ")
            said[word] += 1
            if word == "failed":
                wrong.append(f"{store}, run {run}: {rest}")
            left -= 1
            if not left:
                worker.kill()
    mine.close()
    worker.join()
    return said


def _check(store: Path, path: Path, said: Counter[str], wrong: list[str]) -> int:
    """Settle, and compare the table with the log; returns how many events there are."""
    os.environ["TABLES"] = str(path)
    Reader.told = lambda word: said.update([word])
    fold: dict[str, int] = {}
    positions: list[int] = []
    with Runtime(store, tables, durability="os", control=False) as runtime:
        while runtime.stats()["suspended"] or _waits(runtime):
            threading.Event().wait(0.01)
        runtime.read(Sums, timeout=60)
        wrong += [f"{store}: parked {one}" for one in runtime.parked()]
        for stored in runtime.events():
            event = stored.event
            assert isinstance(event, Counted)
            before = fold.get(event.key)
            fold[event.key] = event.value if before is None else (before * 3 + event.value) % PRIME
            positions.append(stored.position)
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("select key, total from sums").fetchall())
        taken = [row for (row,) in connection.execute("select position from taken order by 1")]
    connection.close()
    if found != fold:
        wrong.append(f"{store}: the table has {found}, and the log says {fold}")
    if taken != positions:
        wrong.append(f"{store}: {len(taken)} events are in the table, and {len(positions)} stored")
    wrong += [f"{store}: {one}" for one in verify(store)]
    return len(positions)


def _waits(runtime: Runtime) -> bool:
    """Whether a stream of the projection waits for another attempt."""
    runtime.settle(timeout=60)
    return any(True for _ in runtime._store.scan_held("tables.Sums"))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kill.projections",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="procession-kill-") as folder:
        outcome = campaign(Path(folder), arguments.kills, arguments.seed)
    for name, value in outcome._asdict().items():
        shown = len(value) if isinstance(value, list) else value
        print(f"{name:<20}{shown:>10,}")
    print(f"{'seconds':<20}{time.perf_counter() - began:>10,.1f}")
    for wrong in outcome.wrong:
        print(wrong)
    return 0 if outcome.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
