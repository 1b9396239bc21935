"""Workers are killed one after the other, and what they leave on disk is checked each time."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from procession import Runtime
from tests.kill.checker import Acknowledged, Findings
from tests.kill.points import CHAIN, DATABASE_POINTS, NEW, POINTS, TABLES
from tests.kill.shop import Fulfilment, approve, shop
from tests.postgresql import Server

HERE = Path(__file__).parent

PER_STORE = 12
"""Kills before a store is worked off and another one is begun, so that checks stay short."""

AT_MOST = {
    "a step handed over": 400,
    CHAIN: 400,
    "a commit closing": 60,
    "before the transaction": 60,
    "some rows written": 60,
    "before LMDB's commit": 60,
    "before the commit is sent": 60,
    "sent, and not answered": 60,
    "answered, the store not told": 60,
    TABLES: 12,
    "committed, callers not told": 60,
    "in the middle of telling": 60,
    "callers told, effects not begun": 60,
    "instance rehydrated": 60,
}
"""The points that are reached often die there at a random time up to this one."""

RANDOM = "at random"

CONNECTIONS = "at random, connections ended before"
RESTART = "at random, the server cut off before"
FAULTS = (CONNECTIONS, RESTART)
"""What a server does to a worker that is killed at random a while later."""

CAN_HAPPEN = {"placed", "gift", "confirmed", "refused", "failed", "delivered", "timeout"}


@dataclass
class Tally:
    """What came of it all."""

    kills: Counter[str] = field(default_factory=Counter)
    not_reached: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    effects_missing: int = 0
    decided: int = 0
    wrong: list[str] = field(default_factory=list)
    happened: set[str] = field(default_factory=set)

    @property
    def is_well(self) -> bool:
        return not (self.wrong or self.lost or self.doubled or self.effects_missing)


def start(store: Path | str, run: int, *point: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / "worker.py"), str(store), str(run), *point],
        stdout=subprocess.PIPE,
        text=True,
    )


def read_some(lines: IO[str], count: int) -> list[str]:
    """At most so many lines; fewer if the process ends by itself."""
    found: list[str] = []
    while len(found) < count:
        line = lines.readline()
        if not line.endswith("\n"):
            break
        found.append(line.strip())
    return found


def rest(worker: subprocess.Popen[str]) -> list[str]:
    """What it says until it ends."""
    assert worker.stdout is not None
    with worker.stdout:
        lines = [line.strip() for line in worker.stdout if line.endswith("\n")]
    worker.wait()
    return lines


def kill(worker: subprocess.Popen[str]) -> list[str]:
    """Kill it, and take what it said before it died."""
    worker.kill()
    return rest(worker)


def finish(runtime: Runtime, orders: set[str], *, retries: bool = False) -> None:
    """Wait for the retries and held back commands that are due in a few milliseconds.

    Args:
        runtime: open, with no one else at it
        orders: that are to be complete, except those in which an operator skipped something
        retries: whether to have tried again what is parked

    """
    pending = threading.Event()
    left = set(orders)
    for _ in range(1_000):
        for parked in runtime.parked() if retries else ():
            approve(parked.instance)
            runtime.retry(parked.id)
        runtime.settle(timeout=60)
        left -= {one.instance for one in runtime.parked(decided=True) if one.decision == "skip"}
        views = {order: runtime.get(Fulfilment, order) for order in left}
        left = {one for one, view in views.items() if view is None or not view.is_complete}
        if not left:
            return
        pending.wait(0.02)


def plan(points: Sequence[str], kills: int, moments: random.Random) -> Iterator[str]:
    """Where each worker dies: everywhere at least once if there is room, and half at random."""
    chosen = list(points[:kills])
    while len(chosen) < kills:
        chosen.append(RANDOM if moments.random() < 0.5 else moments.choice(points))
    moments.shuffle(chosen)
    yield from chosen


def wait_for_the_end_of_connections(server: Server) -> None:
    """What a worker had sent when it was killed is carried out, or is not, before it is looked."""
    there = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'procession'"
    while server.ask(server.url("public"), there):
        pass


class Campaign:
    """Kills workers, on one store after the other.

    Args:
        folder: for stores and effects
        kills: how many
        seed: of the moments
        tell: called with the number of kills after each one
        operators: how many decide, in each worker, about what is parked; some orders are, then
        server: in whose database the stores are, each in a schema of its own; in folders without

    """

    def __init__(
        self,
        folder: Path,
        kills: int,
        seed: int,
        tell: Callable[[int], None] = lambda _: None,
        *,
        operators: int = 0,
        server: Server | None = None,
    ) -> None:
        self.tally = Tally()
        self._folder = folder
        self._moments = random.Random(seed)
        # What happens only in a new store is for the first worker of one.
        self._first: list[str] = []
        self._others: list[str] = []
        # What was once not reached as often as was asked dies when it is first reached.
        self._at_once: set[str] = set()
        points = POINTS if server is None else (*FAULTS, *DATABASE_POINTS)
        for point in plan(points, kills, self._moments):
            (self._first if point in NEW else self._others).append(point)
        self._tell = tell
        self._operators = operators
        self._server = server

    def run(self) -> Tally:
        stores = 0
        while self._first or self._others:
            self._one_store(f"store-{stores}")
            stores += 1
        return self.tally

    def _one_store(self, name: str) -> None:
        store = str(self._folder / name) if self._server is None else self._server.new_url()
        effects = self._folder / f"{name}.effects"
        effects.touch()
        os.environ["EFFECTS"] = str(effects)
        os.environ["OPERATORS"] = str(self._operators)
        acknowledged = Acknowledged()
        was_opened = False
        for run in range(PER_STORE):
            source = self._first if self._first and not run else self._others
            if not source:
                break
            point = source.pop()
            lines = self._one_kill(store, run, point)
            if point in self.tally.not_reached and point not in self._at_once:
                # Where little else runs, or much, there are fewer commits than were counted on.
                self._at_once.add(point)
                source.append(point)
            was_opened = was_opened or "open" in lines
            acknowledged.add(lines)
            # A store whose making was cut off is none yet, and nobody was told that it is.
            if was_opened and not self._check(store, acknowledged):
                return
            self._tell(self.tally.kills.total())
        self.tally.acknowledged += len(acknowledged)
        self.tally.decided += len(acknowledged.decided)
        self._work_off(store, acknowledged, effects)

    def _one_kill(self, store: str, run: int, point: str) -> list[str]:
        # What the one before it had on its way may come to its end first.
        place = store if self._server is None else f"{store}&wait_for_owner=60"
        if point in {RANDOM, *FAULTS}:
            worker = start(place, run)
            assert worker.stdout is not None
            lines: list[str] = []
            for fault in (point, RANDOM) if point in FAULTS else (RANDOM,):
                # From the middle of opening and recovery to well into the flow of orders.
                count = self._moments.choice((1, 2, 3, 10, 30, 80)) + self._moments.randrange(10)
                lines += read_some(worker.stdout, count)
                self._harm(fault)
            lines += kill(worker)
        else:
            most = 1 if point in self._at_once else AT_MOST.get(point, 1)
            count = self._moments.randint(1, most)
            worker = start(place, run, point, str(count))
            lines = rest(worker)
        if self._server is not None:
            wait_for_the_end_of_connections(self._server)
        if worker.returncode == -signal.SIGKILL:
            self.tally.kills[point] += 1
        elif worker.returncode == 0:
            self.tally.not_reached[point] += 1
        else:
            self.tally.wrong.append(f"a worker ended with {worker.returncode}, at {point}")
        return lines

    def _harm(self, fault: str) -> None:
        if self._server is not None and fault == CONNECTIONS:
            self._server.ask(
                self._server.url("public"),
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'procession'",
            )
        elif self._server is not None and fault == RESTART:
            self._server.stop()
            self._server.start()

    def _check(self, store: str, acknowledged: Acknowledged) -> bool:
        return self._note(Findings(store, acknowledged), store)

    def _note(self, findings: Findings, store: str) -> bool:
        self.tally.lost += findings.lost
        self.tally.doubled += findings.doubled
        self.tally.wrong += [f"{store}: {one}" for one in findings.wrong]
        self.tally.happened |= findings.happened
        return not findings.wrong

    def _work_off(self, store: str, acknowledged: Acknowledged, effects: Path) -> None:
        """The last run is not killed: everything comes to its end, once."""
        with Runtime(store, shop) as runtime:
            runtime.settle(timeout=60)
            # What was read while the server was away may have been parked.
            is_parked = self._operators > 0 or self._server is not None
            finish(runtime, acknowledged.orders, retries=is_parked)
            runtime.settle(timeout=60)
            if list(runtime.parked()):
                self.tally.wrong.append(f"{store}: something was parked")
        after = Findings(store, acknowledged)
        self._note(after, store)
        unfinished = (after.orders | acknowledged.orders) - after.complete - after.skipped
        if unfinished:
            self.tally.wrong.append(f"{store}: never finished: {sorted(unfinished)[:5]}")
        missing = after.orders - set(effects.read_text(encoding="utf-8").split())
        self.tally.effects_missing += len(missing)
