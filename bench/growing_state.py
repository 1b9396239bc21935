"""Growing states: a list that becomes longer with each event, beside a counter.

    python -m bench.growing_state --appends 10000

An event of 16 bytes is published that often, all for one instance, which keeps each in a list; and
to another one, which only counts them. The same is asked of two aggregates by commands, whose
states are kept as snapshots. Each of the four is done in a fresh process with a store of its own,
for all the appends and for a quarter of them. Told are the bytes of the store for an append, and
what the processor does for a step.

Two figures of each: the bytes of the store for all of it, beside which stands what an append takes
against one of the first quarter (1 is a store that grows with what is appended, and 4 one that
writes the whole state each time); and what a step of the growing state costs against one of the
counter.

It is fair because the counter has the same events in the same order. A step must look at the state
that a handler may have changed anywhere, so it may cost more the longer the list is; how much that
is, is what the second figure says.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, apply, handle

from .apart import apart
from .feeding import lay_up
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KINDS = "instance", "aggregate"

TOGETHER = 1_024


class Noted(Event):
    book: str
    entry: bytes


class Note(Command):
    book: str
    entry: bytes


class Written(Event):
    book: str
    entry: bytes


class Tally(Command):
    book: str
    entry: bytes


class Tallied(Event):
    book: str
    entry: bytes


outside = Domain("books")
outside.register(Noted)

books = Domain("books")
"""What grows."""

tallies = Domain("books")
"""What only counts."""

books.register(Noted)
tallies.register(Noted)


@books.register
class Book(ProcessManager, correlate="book", name="books.Keeper", begin="origin"):
    book: str = ""
    entries: list[bytes] = []

    @handle(Noted, start=True)
    def on_noted(self, event: Noted) -> None:
        self.entries.append(event.entry)


@tallies.register
class Tallying(ProcessManager, correlate="book", name="books.Keeper", begin="origin"):
    book: str = ""
    entries: int = 0

    @handle(Noted, start=True)
    def on_noted(self, event: Noted) -> None:
        self.entries += 1


@books.register
class Ledger(Aggregate, identity="book", category="ledger"):
    entries: list[bytes] = []

    @handle(Note)
    def note(self, command: Note) -> Written:
        return Written(self.id, command.entry)

    @apply(Written)
    def _written(self, event: Written) -> None:
        self.entries.append(event.entry)


@tallies.register
class Counter(Aggregate, identity="book", category="ledger"):
    entries: int = 0

    @handle(Tally)
    def tally(self, command: Tally) -> Tallied:
        return Tallied(self.id, command.entry)

    @apply(Tallied)
    def _tallied(self, event: Tallied) -> None:
        self.entries += 1


class Cost(NamedTuple):
    """Of one append."""

    store_bytes: float
    cpu_us: float


def entries(appends: int) -> Iterator[bytes]:
    return (b"%016d" % number for number in range(appends))


def grow(store: Path, kind: str, appends: int, *, grows: bool) -> Cost:
    """Append that often to one instance or aggregate."""
    domain = books if grows else tallies
    if kind == "instance":
        lay_up(
            store, outside, (Noted("b", one) for one in entries(appends)), lambda _: "books::in-1"
        )
    cpu = time.process_time()
    with Runtime(store, domain) as runtime:
        if kind == "aggregate":
            command = Note if grows else Tally
            runtime.tell_many(command("b", one) for one in entries(appends))
        runtime.settle()
        cpu = time.process_time() - cpu
        done = runtime.stats()["transitions" if kind == "instance" else "commands"]
    if done != appends:
        raise RuntimeError(f"{done:,} steps, where there should be {appends:,}")
    size = sum(file.stat().st_size for file in store.iterdir())
    return Cost(size / appends, cpu / appends * 1e6)


def measure(folder: Path, appends: int) -> list[Figure]:
    figures: list[Figure] = []
    for kind in KINDS:
        quarter, all_of_them, counting = (
            apart(grow, folder / f"{kind}{number}", kind, size, grows=grows)
            for number, (size, grows) in enumerate(
                [(appends // 4, True), (appends, True), (appends, False)]
            )
        )
        figures += [
            Figure(
                row=21,
                what=f"megabytes of the store for all that is added to an {kind}",
                value=round(all_of_them.store_bytes * appends / 1e6, 2),
                unit="MB",
                reach=20,
                better="at most",
                details={
                    "appends": appends,
                    "bytes_an_append": round(all_of_them.store_bytes),
                    "bytes_an_append_of_a_quarter": round(quarter.store_bytes),
                    "bytes_an_append_counting": round(counting.store_bytes),
                    "all_against_a_quarter": round(
                        all_of_them.store_bytes / quarter.store_bytes, 3
                    ),
                },
            ),
            Figure(
                row=21,
                what=f"a step of a growing {kind}, against one that counts",
                value=round(all_of_them.cpu_us / counting.cpu_us, 3),
                unit="times",
                reach=5,
                better="at most",
                details={
                    "cpu_us": round(all_of_them.cpu_us, 1),
                    "cpu_us_of_a_quarter": round(quarter.cpu_us, 1),
                    "cpu_us_counting": round(counting.cpu_us, 1),
                },
            ),
        ]
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("growing_state", __doc__)
    parser.add_argument("--appends", type=int, default=10_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.appends))


if __name__ == "__main__":
    main()
