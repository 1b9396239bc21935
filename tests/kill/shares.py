"""Kills a service of several processes on a divided store, as a whole and in parts, at random.

    python -m tests.kill.shares --kills 100 --partitions 8 --processes 4 --seed 1

Each run tells orders of the order example, and cases whose messages cross between partitions. After
some acknowledgements one of its processes is killed, or the parent, with which the others end by
themselves. What was told before is not told again. In the end one process opens the store and
settles; then each order and each case that was acknowledged must have come to its end once, and
each partition must be sound.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from domain_examples.order_fulfilment import (
    OrderCompleted,
    OrderFulfilment,
    OrderPlaced,
    PaymentCharged,
    ShipmentCreated,
    StockReserved,
    shop,
)
from procession import Runtime
from procession.store import LockedStore, divided_at, verify
from tests.actors.cluster.crossing import Case, Made, NoteMade, crossing

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKER = Path(__file__).with_name("shares_worker.py")
PATIENCE = 120
ONCE = (OrderPlaced, StockReserved, PaymentCharged, ShipmentCreated, OrderCompleted)


class Outcome(NamedTuple):
    """What a campaign came to."""

    kills: int
    of_parents: int
    told: int
    lost: list[str]
    doubled: list[str]
    findings: list[str]

    @property
    def is_well(self) -> bool:
        return not (self.lost or self.doubled or self.findings)


def campaign(store: Path, kills: int, partitions: int, processes: int, seed: int) -> Outcome:
    """Run and kill until there were so many kills."""
    chance = random.Random(seed)
    told: list[str] = []
    done = parents = run = 0
    while done < kills:
        run += 1
        arguments = [str(store), str(run), str(partitions), str(processes)]
        _wait_until_free(store)
        with subprocess.Popen(
            [sys.executable, str(WORKER), *arguments], stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            killed, was_parent = _one_run(worker, worker.stdout, chance, told, kills - done)
        done += killed
        parents += was_parent
    _wait_until_free(store)
    return Outcome(done, parents, len(told), *_checked(store, told))


def _one_run(
    worker: subprocess.Popen[str],
    lines: IO[str],
    chance: random.Random,
    told: list[str],
    left: int,
) -> tuple[int, bool]:
    """Read what a worker says, and kill one of its processes now and then."""
    children: list[int] = []
    killed, next_kill = 0, chance.randrange(1, 40)
    for line in lines:
        word, *said = line.split()
        if word == "runs":
            children = list(map(int, said))
        elif word == "told":
            told += said
            next_kill -= 1
        if next_kill <= 0 and killed < left:
            next_kill = chance.randrange(1, 60)
            victim = chance.choice([worker.pid, *children])
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            killed += 1
            if victim == worker.pid:
                return killed, True
            # Those that were started in its place are not known here.
            children.remove(victim)
    return killed, False


def _wait_until_free(store: Path) -> None:
    """Wait until the processes of the last run have ended with their parent."""
    if divided_at(store) is None:
        return
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            Runtime(store, shop, crossing).close()
        except LockedStore:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the processes of a parent that was killed have not ended")


def _checked(store: Path, told: list[str]) -> tuple[list[str], list[str], list[str]]:
    lost, doubled = [], []
    with Runtime(store, shop, crossing) as runtime:
        runtime.settle(timeout=PATIENCE)
        events: dict[str, Counter[type]] = {}
        for stored in runtime.events():
            event = stored.event
            name = getattr(event, "order_id", None) or getattr(event, "case", None)
            if isinstance(event, NoteMade):
                name = event.note.removeprefix("note-").rsplit("-", 3)[0]
            events.setdefault(str(name), Counter())[type(event)] += 1
        for name in told:
            order, case = runtime.get(OrderFulfilment, name), runtime.get(Case, name)
            counts = events.get(name, Counter())
            expected = {**dict.fromkeys(ONCE, 1), Made: 2, NoteMade: 2}
            is_over = (
                order is not None
                and order.is_complete
                and case is not None
                and len(case.state["made"]) == 2
            )
            if not is_over or any(counts[kind] < count for kind, count in expected.items()):
                lost.append(name)
            if any(counts[kind] > count for kind, count in expected.items()):
                doubled.append(name)
    divided = divided_at(store)
    assert divided is not None
    findings = [
        str(one)
        for partition in divided.partitions()
        for one in verify(divided.folder_of(partition.number))
    ]
    return lost, doubled, findings


def main(arguments: Sequence[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        outcome = campaign(
            Path(folder) / "store",
            options.kills,
            options.partitions,
            options.processes,
            options.seed,
        )
    print(
        f"{outcome.kills} kills, {outcome.of_parents} of them of the parent; "
        f"{outcome.told} orders and as many cases acknowledged; lost {len(outcome.lost)}, "
        f"doubled {len(outcome.doubled)}, findings of verify {len(outcome.findings)}"
    )
    for one in (*outcome.lost[:5], *outcome.doubled[:5], *outcome.findings[:5]):
        print(f"  {one}")
    return 0 if outcome.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
