"""Has each write of a small program fail, one after the other, and looks at what is left."""

import errno
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from procession import Runtime, StoreError
from procession.store import LmdbStore
from procession.store.verify.verify import verify_path
from tests.disks.failing import compiled
from tests.disks.shop import Fulfilment, shop
from tests.disks.worker import ORDERS

ROOT = Path(__file__).parents[2]

FOR_GOOD = 1 << 30

KINDS = {
    "EIO, once": (1, errno.EIO),
    "EIO, five in a row": (5, errno.EIO),
    "EIO, for good": (FOR_GOOD, errno.EIO),
    "full, once": (1, errno.ENOSPC),
    "full, five in a row": (5, errno.ENOSPC),
    "full, for good": (FOR_GOOD, errno.ENOSPC),
    "half of it, then full": (1, 0),
}
"""How many writes fail, and with what; with 0, a part of what was to be written is."""

LONGEST = 120
"""Seconds after which a worker counts as one that hangs."""


@dataclass
class Tally:
    """What came of all runs."""

    runs: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    unsound: int = 0
    raw: int = 0
    hung: int = 0
    died: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.wrong


class Campaign:
    """Runs of the small program, each with another write that fails.

    Args:
        folder: for the stores, one after the other
        kinds: of failures, by their names in `KINDS`
        every: of so many writes one fails
        tell: called after each run with how many there were

    """

    def __init__(
        self,
        folder: Path,
        kinds: Iterable[str] = KINDS,
        every: int = 1,
        tell: Callable[[int], object] = lambda runs: None,
    ) -> None:
        self.folder = folder
        self.kinds = tuple(kinds)
        self.every = every
        self.tell = tell
        self.tally = Tally()
        self.environment = compiled(folder)

    def run(self) -> Tally:
        for kind in self.kinds:
            first = 1
            while self.try_one(kind, first):
                first += self.every
                self.tell(self.tally.runs.total())
        return self.tally

    def try_one(self, kind: str, first: int) -> bool:
        """One run; returns whether the program has so many writes."""
        count, number = KINDS[kind]
        store = self.folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        where = f"{kind}, write {first}"
        worker = [sys.executable, "-m", "tests.disks.worker", str(store)]
        try:
            done = subprocess.run(
                [*worker, str(first), str(count), str(number)],
                check=False,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=self.environment,
                timeout=LONGEST,
            )
        except subprocess.TimeoutExpired:
            self.tally.hung += 1
            self.tally.wrong.append(f"{where}: hung")
            return True
        if done.returncode:
            self.tally.died += 1
            self.tally.wrong.append(f"{where}: ended with {done.returncode}: {done.stderr}")
            return True
        told = json.loads(done.stdout)
        if not told["failed"]:
            return False
        self.tally.runs[kind] += 1
        self.tally.refused.update(told["refused"])
        self.tally.acknowledged += len(told["acknowledged"])
        self.tally.raw += len(told["raw"])
        self.tally.wrong += [f"{where}: {one}" for one in told["raw"]]
        if count != FOR_GOOD and len(told["acknowledged"]) != 2 * ORDERS:
            self.tally.wrong.append(f"{where}: it did not recover: {told}")
        self.look(store, told["acknowledged"], where)
        return True

    def look(self, store: Path, acknowledged: list[str], where: str) -> None:
        """Check what a run has left; then go on with it, and check again."""
        if not (store / "data.mdb").exists():
            if acknowledged:
                self.lose(f"{where}: the store is gone")
            return
        try:
            # What the opening that failed has left may be no store yet; it becomes one.
            LmdbStore(store).close()
            self.verify(store, where)
            with Runtime(store, shop) as runtime:
                runtime.settle(timeout=LONGEST)
                self.check(runtime, acknowledged, where)
            self.verify(store, where)
        except StoreError as error:
            self.tally.unsound += 1
            self.tally.wrong.append(f"{where}: it cannot be opened again: {error}")

    def verify(self, store: Path, where: str) -> None:
        findings = verify_path(store).findings
        if findings:
            self.tally.unsound += 1
            self.tally.wrong.append(f"{where}: {findings}")

    def check(self, runtime: Runtime, acknowledged: list[str], where: str) -> None:
        """Everything that was acknowledged is there, and nothing twice."""
        made = Counter((type(one.event).__name__, one.stream) for one in runtime.events())
        found = {one.id: one.state for one in runtime.find(Fulfilment)}
        for name in acknowledged:
            state = found.get(name.removeprefix("gift-"), {"placed": 0, "paid": 0})
            if name.startswith("gift-"):
                is_there = made["GiftNoted", f"gifts-{name}"] > 0
            else:
                is_there = bool(state["placed"] and state["paid"])
            if not is_there:
                self.lose(f"{where}: {name}, of {state}")
        for instance, state in found.items():
            if max(state["placed"], state["paid"], state["gifts"]) > 1:
                self.double(f"{where}: {instance} has {state}")
        for (kind, stream), times in made.items():
            if times > 1:
                self.double(f"{where}: {times} times {kind} in {stream}")

    def lose(self, what: str) -> None:
        self.tally.lost += 1
        self.tally.wrong.append(f"lost: {what}")

    def double(self, what: str) -> None:
        self.tally.doubled += 1
        self.tally.wrong.append(f"doubled: {what}")
