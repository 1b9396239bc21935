"""Kills a service whose log is folded into a table, and into documents, at random moments, and
compares them with the log.

    python -m tests.kill.projections --kills 1000 --seed 1
    python -m tests.kill.projections --kills 60 --postgresql

Each run publishes events, some of whose handlers fail now and then, and makes the table and the
documents anew now and then. After each kill the documents on disk must equal a fold of the events
that are said to be in them. In the end one process settles; then the table and the documents must
equal a fold of the log, with no event twice, and no after-effect of all runs may have read them
without its event.
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
from typing import TYPE_CHECKING, NamedTuple

from procession import Runtime
from tests.kill.campaign import wait_for_the_end_of_connections
from tests.kill.projections_worker import NUMBERS, Counted, Kept, Sums, opened, summed, tables, work
from tests.postgresql import new_server, programs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from procession import StoredEvent
    from procession.store import DocumentSet, Store
    from tests.postgresql import Server

# Each worker is forked from a process that has imported what it needs, and has no threads.
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["tests.kill.projections_worker"])

KEPT = "tables.Kept"
MANY = 1_000_000
"""More documents than there are."""

PER_STORE = 50
"""Kills before a store is worked off and another one is begun."""


class Outcome(NamedTuple):
    """What a campaign came to."""

    kills: int
    events: int
    documents: int
    reads: int
    stale: int
    rebuilt: int
    wrong: list[str]

    @property
    def is_well(self) -> bool:
        return not (self.stale or self.wrong)


def campaign(folder: Path, kills: int, seed: int, server: Server | None = None) -> Outcome:
    """Run and kill so many times, on one store after the other.

    Args:
        folder: where the stores and the tables are
        kills: how many
        seed: of what is random
        server: of PostgreSQL, in which the stores are instead

    """
    chance = random.Random(seed)
    said: Counter[str] = Counter()
    wrong: list[str] = []
    events = compared = 0
    for first in range(0, kills, PER_STORE):
        path, store = folder / f"tables-{first}.db", str(folder / f"store-{first}")
        if server is not None:
            # What a worker had on its way may come to its end before the next one has the store.
            store = f"{server.new_url(without_tables=True)}&wait_for_owner=60"
        for run in range(first, min(first + PER_STORE, kills)):
            said += _one_run(store, path, run, chance, wrong)
            if server is not None:
                wait_for_the_end_of_connections(server)
            compared += _check_documents(store, run, wrong)
        events += _check(store, path, said, wrong)
    reads = said["fresh"] + said["stale"]
    return Outcome(kills, events, compared, reads, said["stale"], said["rebuilt"], wrong)


def _one_run(
    store: str, path: Path, run: int, chance: random.Random, wrong: list[str]
) -> Counter[str]:
    """One worker until it is killed; how often it said what."""
    said: Counter[str] = Counter()
    left = chance.choice((1, 2, 5, 20, 60, 150)) + chance.randrange(10)
    mine, others = forks.Pipe(duplex=False)
    worker = forks.Process(target=work, args=(store, str(path), run, others))
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


def _check_documents(store: str, run: int, wrong: list[str]) -> int:
    """Compare what a kill left of documents with the log; returns how many there are."""
    compared = 0
    with Runtime(store, tables, read_only=True) as runtime:
        reading = runtime._store
        for made in reading.document_sets(KEPT):
            if made.state == "gone":
                continue
            found = _documents_of(reading, made.generation)
            in_them = [one for one in runtime.events() if _is_in(reading, made, one)]
            if found != _documents_for(in_them):
                wrong.append(
                    f"{store}, run {run}: the {made.state} documents, up to {made.position}, have "
                    f"{found}, and the log says {_documents_for(in_them)}"
                )
            compared += len(found)
    return compared


def _documents_of(reading: Store, generation: int) -> dict[str, int]:
    return {
        key: NUMBERS.load(packed)
        for key, packed in reading.read_documents(KEPT, generation, "", None, MANY)
    }


def _is_in(reading: Store, made: DocumentSet, stored: StoredEvent) -> bool:
    """Whether an event is said to be in documents; what was set aside is in new ones anyway."""
    if stored.position in made.done:
        return True
    is_aside = made.state == "live" and reading.is_set_aside(KEPT, stored.stream, stored.position)
    return stored.position <= made.position and not is_aside


def _documents_for(events: Iterable[StoredEvent]) -> dict[str, int]:
    """What documents are to say of events."""
    sums = _sums_of(events)
    found = {f"sum/{key}": total for key, total in sums.items()}
    newest: dict[str, tuple[int, int]] = {}
    for stored in events:
        event = stored.event
        assert isinstance(event, Counted)
        newest[event.key] = stored.position, event.value
        found[f"taken/{stored.position}"] = event.value
    return found | {f"newest/{key}/{at}": value for key, (at, value) in newest.items()}


def _sums_of(events: Iterable[StoredEvent]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for stored in events:
        event = stored.event
        assert isinstance(event, Counted)
        sums[event.key] = summed(sums.get(event.key), event.value)
    return sums


def _check(store: str, path: Path, said: Counter[str], wrong: list[str]) -> int:
    """Settle, and compare the table and the documents with the log; returns how many events."""
    os.environ["TABLES"] = str(path)
    with opened(store, lambda word: said.update([word])) as runtime:
        while runtime.stats()["suspended"] or _waits(runtime):
            threading.Event().wait(0.01)
        runtime.read(Sums, timeout=60)
        runtime.read(Kept, timeout=60)
        wrong += [f"{store}: parked {one}" for one in runtime.parked()]
        events = list(runtime.events())
        kept = dict(runtime.documents(Kept).items())
        wrong += [f"{store}: {one}" for one in runtime.verify()]
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("select key, total from sums").fetchall())
        taken = [row for (row,) in connection.execute("select position from taken order by 1")]
    connection.close()
    sums, documents = _sums_of(events), _documents_for(events)
    if found != sums:
        wrong.append(f"{store}: the table has {found}, and the log says {sums}")
    if taken != [one.position for one in events]:
        wrong.append(f"{store}: {len(taken)} events are in the table, and {len(events)} stored")
    if kept != documents:
        wrong.append(f"{store}: the documents have {kept}, and the log says {documents}")
    return len(events)


def _waits(runtime: Runtime) -> bool:
    """Whether a stream of a projection waits for another attempt."""
    runtime.settle(timeout=60)
    return any(True for name in ("tables.Sums", KEPT) for _ in runtime._store.scan_held(name))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kill.projections",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true", help="of a server that is started")
    arguments = parser.parse_args()
    if arguments.postgresql and programs() is None:
        parser.error("there is no PostgreSQL here: no initdb and postgres on PATH")
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="procession-kill-"))
        server = stack.enter_context(new_server()) if arguments.postgresql else None
        outcome = campaign(Path(folder), arguments.kills, arguments.seed, server)
    for name, value in outcome._asdict().items():
        shown = len(value) if isinstance(value, list) else value
        print(f"{name:<20}{shown:>10,}")
    print(f"{'seconds':<20}{time.perf_counter() - began:>10,.1f}")
    for wrong in outcome.wrong:
        print(wrong)
    return 0 if outcome.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
