"""Timeouts: setting, moving, cancelling and firing them while a million are pending.

    python -m bench.timeouts --pending 1000000 --each 100000

Every instance sets one timeout when it starts, due a second after that of the instance before it.
Then as many as `--each` says are moved far away, as many are cancelled, both in random order, so
that nearly every such step is one of a sleeping instance. Last, a virtual clock is moved on until
as many are due. The events lie ready before the process manager is started, so that the rates are
those of steps alone. That of setting is taken over the last `--each`, when the table is at its
largest. The slowest of the four rates is the figure. To be comparable from machine to machine it
is scaled: divided by what the bare loop (`bench.ceiling`) does in the same run, and multiplied by
the 25,000 orders a second for which the reach was set.

Memory has a figure of its own: anonymous memory with all pending against that with a tenth of
them, each in a fresh process. Timeouts that are kept in memory would show.
"""

from __future__ import annotations

import random
import time
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from procession import Domain, Event, ProcessManager, Runtime, handle, timeout
from procession.testing import VirtualClock

from .apart import apart
from .ceiling import BareLoop
from .feeding import lay_up, passing, steps_of
from .measure import Figure, program, run
from .memory import resident, settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SEED = 1
CEILING_ORDERS = 20_000
CEILING_AT_REACH = 25_000


class Armed(Event):
    case: str
    seconds: int


class Moved(Event):
    case: str
    seconds: int


class Disarmed(Event):
    case: str


outside = Domain("timeouts")
outside.register(Armed, Moved, Disarmed)

timeouts = Domain("timeouts")


@timeouts.register
class Reminder(ProcessManager, correlate="case", begin="origin"):
    case: str = ""
    reminded: int = 0

    @handle(Armed, start=True)
    def on_armed(self, event: Armed) -> None:
        self.set_timeout("remind", timedelta(seconds=event.seconds))

    @handle(Moved)
    def on_moved(self, event: Moved) -> None:
        self.set_timeout("remind", timedelta(seconds=event.seconds))

    @handle(Disarmed)
    def on_disarmed(self, event: Disarmed) -> None:
        self.cancel_timeout("remind")

    @timeout("remind")
    def on_remind(self) -> None:
        self.reminded += 1


class Found(NamedTuple):
    """Of one run."""

    set: float
    move: float
    cancel: float
    fire: float
    pending_bytes: int
    highest_bytes: int


def stream_of(event: Armed | Moved | Disarmed) -> str:
    return f"timeouts::case-{event.case}"


def fill(store: Path, pending: int, each: int) -> None:
    def events() -> Iterator[Armed | Moved | Disarmed]:
        names = [f"c{number:07d}" for number in range(pending)]
        for second, name in enumerate(names, start=1):
            yield Armed(name, second)
        # The first ones are left alone, for they are to fire.
        chosen = random.Random(SEED).sample(names[each:], 2 * each)
        for second, name in enumerate(chosen[:each], start=2 * pending):
            yield Moved(name, second)
        for name in chosen[each:]:
            yield Disarmed(name)

    lay_up(store, outside, events(), stream_of)


def work(store: Path, pending: int, each: int) -> Found:
    """Set, move, cancel and fire, from a store in which the events lie ready."""
    clock = VirtualClock()
    marks = [pending - each, pending, pending + each, pending + 2 * each]
    readings = []
    with Runtime(store, timeouts, clock=clock) as runtime:
        steps = steps_of(runtime)
        passed = []
        for mark in passing(steps, marks):
            passed.append(mark)
            readings.append(resident().anonymous)
        runtime.settle()
        at_rest = settled().anonymous
        first = steps()
        began = time.perf_counter()
        clock.advance(timedelta(seconds=each), settle=False)
        ((last, ended),) = passing(steps, [first + each])
        readings.append(resident().anonymous)
    set_, move, cancel = (
        (after - before) / (then - since) for (before, since), (after, then) in pairwise(passed)
    )
    fire = (last - first) / (ended - began)
    return Found(set_, move, cancel, fire, at_rest, max(readings))


def measure(folder: Path, pending: int, each: int) -> list[Figure]:
    with closing(BareLoop(folder / "ceiling")) as loop:
        ceiling = loop.run(CEILING_ORDERS)
    found: dict[int, Found] = {}
    for size in (pending // 10, pending):
        store, share = folder / str(size), min(each, size // 3)
        apart(fill, store, size, share)
        found[size] = apart(work, store, size, share)
    few, many = found.values()
    rates = {name: round(getattr(many, name)) for name in ("set", "move", "cancel", "fire")}
    return [
        Figure(
            row=11,
            what="slowest of setting, moving, cancelling and firing timeouts, scaled",
            value=round(min(rates.values()) * CEILING_AT_REACH / ceiling),
            unit="a second",
            reach=20_000,
            better="at least",
            details={
                "pending": pending,
                "each": each,
                "per_s": rates,
                "per_s_with_a_tenth_pending": {name: round(getattr(few, name)) for name in rates},
                "ceiling_orders_per_s": round(ceiling),
                "scaled_per_s": {
                    name: round(rate * CEILING_AT_REACH / ceiling) for name, rate in rates.items()
                },
            },
        ),
        Figure(
            row=11,
            what="memory with all timeouts pending, against a tenth of them",
            value=round(many.pending_bytes / few.pending_bytes, 3),
            unit="times",
            reach=1.3,
            better="at most",
            details={
                "few_bytes": few.pending_bytes,
                "many_bytes": many.pending_bytes,
                "few_highest_bytes": few.highest_bytes,
                "many_highest_bytes": many.highest_bytes,
            },
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("timeouts", __doc__)
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=100_000, help="at most a third of them")
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.pending, options.each))


if __name__ == "__main__":
    main()
