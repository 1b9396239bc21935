"""Kills a service that runs the order example: one process, several on a divided folder, or nodes
that share a database.

    python -m tests.kill.orders process --kills 100
    python -m tests.kill.orders processes --kills 100
    python -m tests.kill.orders nodes --kills 100

The domain is that of `domain_examples`, unchanged; beside each order a case is opened, whose
messages cross between partitions. After some acknowledgements a process is killed: the only one,
one of several or their parent, or a node. Another one goes on at once. What was acknowledged is not
told again. In the end one process opens the store and settles; then each order and each case that
was acknowledged must have come to its end, each event of it once, and the store must be sound.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from domain_examples.order_fulfilment import OrderCompleted, OrderFulfilment, shop
from procession import Runtime
from procession.store import LockedStore
from tests.actors.cluster.crossing import Case, Made, NoteMade, Opened, crossing
from tests.kill.order_kinds import events_of
from tests.postgresql import new_server, programs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORKER = Path(__file__).with_name("orders_worker.py")
PATIENCE = 120
CROSSING = Counter[type]({Opened: 1, Made: 2, NoteMade: 2})


class House(NamedTuple):
    """What the service runs on.

    Attributes:
        services: how many run at once
        partitions: of the store
        processes: of each service

    """

    services: int
    partitions: int
    processes: int


HOUSES = {"process": House(1, 1, 1), "processes": House(1, 8, 4), "nodes": House(3, 8, 1)}


class Outcome(NamedTuple):
    """What a campaign came to."""

    kills: int
    of_whole_services: int
    told: int
    errors: Counter[str]
    lost: list[str]
    doubled: list[str]
    findings: list[str]

    @property
    def is_well(self) -> bool:
        return not (self.lost or self.doubled or self.findings)


class _Service:
    """A worker, and what it has said."""

    def __init__(self, place: str, name: str, house: House) -> None:
        self.processes: list[int] = []
        self.told: list[str] = []
        self.errors = Counter[str]()
        self._has_said = threading.Condition()
        arguments = (place, name, str(house.partitions), str(house.processes))
        self.worker = subprocess.Popen(
            [sys.executable, str(WORKER), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.worker.stdout is not None
        with self.worker.stdout as lines:
            for line in lines:
                word, *said = line.split()
                with self._has_said:
                    if word == "runs":
                        self.processes = list(map(int, said))
                    elif word == "told":
                        self.told += said
                    else:
                        self.errors.update(said)
                    self._has_said.notify_all()

    def wait(self, more: int) -> None:
        """Return when so many more were acknowledged."""
        wanted = len(self.told) + more
        with self._has_said:
            done = self._has_said.wait_for(
                lambda: self.processes and len(self.told) >= wanted, PATIENCE
            )
        assert done, f"{len(self.told)} of {wanted} were told in {PATIENCE} seconds"

    def kill(self, process: int) -> bool:
        """Kill one of its processes; whether that was the worker itself."""
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        # Those that are started in its place are not known here.
        self.processes.remove(process)
        if process == self.worker.pid:
            self.end()
            return True
        return False

    def end(self) -> None:
        """Wait until it has ended, which it does when it is told no more."""
        assert self.worker.stdin is not None
        self.worker.stdin.close()
        self.worker.wait(PATIENCE)
        self._reader.join(PATIENCE)


def campaign(place: str, house: House, kills: int, seed: int) -> Outcome:
    """Run and kill until there were so many kills."""
    chance = random.Random(seed)
    whole, ended = 0, list[_Service]()
    running = [_Service(place, f"s{number}", house) for number in range(house.services)]
    try:
        for _ in range(kills):
            service = chance.choice(running)
            service.wait(chance.randrange(1, 20))
            if service.kill(chance.choice(service.processes)):
                whole += 1
                ended.append(service)
                name = f"s{len(running) + len(ended)}"
                running[running.index(service)] = _Service(place, name, house)
        for service in running:
            service.wait(1)
    finally:
        for service in running:
            service.end()
    told, errors = list[str](), Counter[str]()
    for service in (*ended, *running):
        told += service.told
        errors += service.errors
    return Outcome(kills, whole, len(told), errors, *_checked(place, told))


@contextmanager
def _settled(place: str) -> Iterator[Runtime]:
    """The store, once the processes of a parent that was killed have ended with it."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with Runtime(place, shop, crossing) as runtime:
                runtime.settle(timeout=PATIENCE)
                yield runtime
                return
        except LockedStore:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _checked(place: str, told: list[str]) -> tuple[list[str], list[str], list[str]]:
    lost, doubled = [], []
    with _settled(place) as runtime:
        happened: dict[str, Counter[type]] = {}
        for stored in runtime.events():
            event = stored.event
            name = getattr(event, "order_id", None) or getattr(event, "case", None)
            if isinstance(event, NoteMade):
                name = event.note.removeprefix("note-").rsplit("-", 3)[0]
            happened.setdefault(str(name), Counter())[type(event)] += 1
        for name in told:
            found = happened.get(name, Counter())
            expected = Counter[type](events_of(name)) + CROSSING
            if expected - found or not _is_over(runtime, name):
                lost.append(name)
            if found - expected:
                doubled.append(name)
        parked = [f"parked: {one}" for one in runtime.parked()]
        return lost, doubled, [*map(str, runtime.verify()), *parked]


def _is_over(runtime: Runtime, name: str) -> bool:
    order, case = runtime.get(OrderFulfilment, name), runtime.get(Case, name)
    end = "completed" if OrderCompleted in events_of(name) else "cancelled"
    return (
        order is not None
        and order.is_complete
        and order.state["status"] == end
        and case is not None
        and len(case.state["made"]) == CROSSING[Made]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("on", choices=HOUSES, help="what the service runs on")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        if options.on == "nodes":
            if programs() is None:
                parser.error("there is no PostgreSQL here: no initdb and postgres on PATH")
            place = stack.enter_context(new_server()).new_url(without_tables=True)
        else:
            place = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "store")
        began = time.perf_counter()
        outcome = campaign(place, HOUSES[options.on], options.kills, options.seed)
    print(
        f"{outcome.kills} kills, {outcome.of_whole_services} of them of whole services; "
        f"{outcome.told} orders and as many cases acknowledged; lost {len(outcome.lost)}, "
        f"doubled {len(outcome.doubled)}, findings {len(outcome.findings)}; "
        f"{time.perf_counter() - began:.0f} seconds"
    )
    for error, count in outcome.errors.items():
        print(f"  callers saw {error}: {count}")
    for one in (*outcome.lost[:5], *outcome.doubled[:5], *outcome.findings[:5]):
        print(f"  {one}")
    return 0 if outcome.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
