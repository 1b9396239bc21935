"""Where the time of one three-step order goes, in microseconds.

    python -m bench.step_by_step --orders 10000

The functions at which one part of the work ends and another begins are timed, each without those
below it. The timing itself costs; how much is measured on an empty function, and taken off. One
worker thread runs, so the parts come one after the other; what the calling thread spends is a part
of its own. What is left is the dispatcher between the turns, and waiting.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from procession import Runtime
from procession.core import decide
from procession.engine import aggregate_actor
from procession.engine.aggregate_actor import AggregateActor
from procession.engine.command_queue import CommandQueue
from procession.engine.ingress import Ingress
from procession.engine.instance_actor import InstanceActor
from procession.engine.journal import Journal
from procession.engine.residency import Residency
from procession.engine.router import Router
from procession.model.aggregate_definition import AggregateDefinition
from procession.store import LmdbStore
from procession.store.open_commit import OpenCommit

from .measure import program
from .workload import PlaceOrder, shop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOGETHER = 2_000

PARTS: tuple[tuple[str, Any, str], ...] = (
    ("the caller: checks, packs, gives ids", Ingress, "command"),
    ("command queue: takes commands, finds aggregates", CommandQueue, "work"),
    ("router: takes events, correlates", Router, "work"),
    ("waking actors, giving them stimuli", Residency, "send"),
    ("aggregate: reads its stream", aggregate_actor, "load_aggregate"),
    ("aggregate: handler, applying, packing", AggregateDefinition, "decide"),
    ("aggregate: the rest of its turns", AggregateActor, "on_receive"),
    ("instance: reads its log", InstanceActor, "_load"),
    ("instance: transition and commands, packing", decide, "_transition"),
    ("instance: handler, the rest of its turns", InstanceActor, "on_receive"),
    ("journal: order, what follows in memory", Journal, "hand_over"),
    ("open commit: checks, numbers, rows", OpenCommit, "hand_over"),
    ("commit: LMDB writes pages and syncs", LmdbStore, "close_commit"),
    ("telling those who wait that it is on disk", Journal, "flush"),
)


class Stopwatch:
    """Adds up how long each part took, without the parts that it called."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._inside = threading.local()
        self._own = self._cost()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that does the same, and is timed."""
        clock = time.perf_counter
        self.seconds[part], self.calls[part] = 0.0, 0

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            inside = self._inside
            outer = getattr(inside, "below", 0.0)
            inside.below = 0.0
            began = clock()
            try:
                return function(*args, **kwargs)
            finally:
                whole = clock() - began
                self.seconds[part] += whole - inside.below
                self.calls[part] += 1
                inside.below = outer + whole

        return wrapped

    def net(self, part: str) -> float:
        """Seconds of a part, without what the timing took."""
        return max(0.0, self.seconds[part] - self.calls[part] * self._own)

    def _cost(self) -> float:
        """Seconds that the timing of one call adds to the part itself."""
        nothing = self.timed("nothing", lambda: None)
        for _ in range(50_000):
            nothing()
        return self.seconds.pop("nothing") / self.calls.pop("nothing")


def measure(folder: Path, orders: int) -> dict[str, float]:
    """Microseconds of an order, by part."""
    watch = Stopwatch()
    with ExitStack() as patches:
        for part, owner, name in PARTS:
            timed = watch.timed(part, getattr(owner, name))
            patches.enter_context(patch.object(owner, name, timed))
        commands = [PlaceOrder(f"o{number:07d}", "c1", Decimal(99)) for number in range(orders)]
        with Runtime(folder, shop, workers=1) as runtime:
            began = time.perf_counter()
            for start in range(0, orders, TOGETHER):
                runtime.tell_many(commands[start : start + TOGETHER])
            runtime.settle()
            whole = time.perf_counter() - began
    found = {part: round(watch.net(part) / orders * 1e6, 1) for part, *_ in PARTS}
    timing = sum(watch.calls.values()) * 2 * watch._own  # noqa: SLF001 - half of it is outside
    rest = whole - timing - sum(found.values()) * orders / 1e6
    return {**found, "between turns, and waiting": round(max(0.0, rest) / orders * 1e6, 1)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("step_by_step", __doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    options = parser.parse_args(arguments)
    with TemporaryDirectory(dir=options.folder) as folder:
        found = measure(Path(folder, "store"), options.orders)
    if options.json:
        print(json.dumps({"orders": options.orders, "microseconds": found}))
        return
    for part, microseconds in found.items():
        print(f"{microseconds:8.1f}  {part}")
    print(f"{sum(found.values()):8.1f}  together")


if __name__ == "__main__":
    main()
