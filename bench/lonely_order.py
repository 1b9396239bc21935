"""A lonely order: one three-step order that comes when nothing else goes on.

    python -m bench.lonely_order --orders 500

One thread places an order by `ask` and waits with `settle` until it is complete; then it places the
next. Between them, in the same process and on the same disk, a bare environment commits as many
rows of the same sizes, with fsync. The two take turns, twenty-five of each, so that a disk that
becomes slower becomes so for both. Told are the commits of an order, as the runtime counts them,
and how long an order takes against one bare commit, by their medians.

It is fair because the rows are not guessed: a store is read before and after one order, and what
was added or changed is what the bare commit writes, behind what is there. Nothing is slower than a
sync here, so an order that takes two commits takes twice as long; one whose chain of events and
commands runs on in memory takes one.
"""

from __future__ import annotations

import time
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING

import lmdb

from procession import Runtime

from .measure import Figure, percentile, program, run
from .rows import Row, rows_of
from .three_step_order import order
from .workload import shop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BLOCK = 25
"""Orders, and then commits, that are taken in a row."""

WARM_UP = 50


class BareCommits:
    """One transaction for each commit, on an environment with LMDB's own defaults: fsync."""

    def __init__(self, folder: Path, rows: list[Row]) -> None:
        folder.mkdir()
        self._env = lmdb.Environment(str(folder), map_size=1 << 32, max_dbs=32)
        self._tables = {name: self._env.open_db(name.encode()) for name, _, _ in rows}
        self._rows = rows
        self._number = 0

    def commit(self) -> None:
        """Write rows of those tables and sizes, each behind all that are there."""
        with self._env.begin(write=True) as txn:
            for table, key, value in self._rows:
                self._number += 1
                behind = self._number.to_bytes(max(8, len(key)), "big")
                txn.put(behind, value, db=self._tables[table])

    def close(self) -> None:
        self._env.close()


def rows_of_one_order(store: Path) -> list[Row]:
    """What an order adds to a store in which there was one before, and changes there."""
    found: list[set[Row]] = []
    for number in range(2):
        with Runtime(store, shop) as runtime:
            runtime.ask(order(number))
            runtime.settle()
        found.append(set(rows_of(store)))
    before, after = found
    return sorted(after - before)


def measure(folder: Path, orders: int) -> list[Figure]:
    rows = rows_of_one_order(folder / "one")
    ordering: list[float] = []
    asking: list[float] = []
    committing: list[float] = []
    clock = time.perf_counter
    commits = 0
    with (
        closing(BareCommits(folder / "bare", rows)) as bare,
        Runtime(folder / "store", shop) as runtime,
    ):
        for first in range(0, WARM_UP + orders, BLOCK):
            if first == WARM_UP:
                commits = runtime.stats()["commits"]
            for number in range(first, first + BLOCK):
                command = order(number)
                began = clock()
                runtime.ask(command)
                asking.append(clock() - began)
                runtime.settle()
                ordering.append(clock() - began)
            for _ in range(BLOCK):
                began = clock()
                bare.commit()
                committing.append(clock() - began)
        commits = runtime.stats()["commits"] - commits
    del ordering[:WARM_UP], asking[:WARM_UP], committing[:WARM_UP]
    return [
        Figure(
            row=22,
            what="commits of an order that comes alone",
            value=round(commits / len(ordering), 3),
            unit="commits",
            reach=1.1,
            better="at most",
            details={"orders": len(ordering)},
        ),
        Figure(
            row=22,
            what="an order that comes alone, against one commit of the same rows",
            value=round(median(ordering) / median(committing), 3),
            unit="times",
            reach=2,
            better="at most",
            details={
                "rows": len(rows),
                "bytes": sum(len(row.key) + len(row.value) for row in rows),
                "order_ms": round(median(ordering) * 1e3, 3),
                "order_p99_ms": round(percentile(ordering, 99) * 1e3, 3),
                "ask_ms": round(median(asking) * 1e3, 3),
                "commit_ms": round(median(committing) * 1e3, 3),
                "commit_p99_ms": round(percentile(committing, 99) * 1e3, 3),
            },
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("lonely_order", __doc__)
    parser.add_argument("--orders", type=int, default=500)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.orders))


if __name__ == "__main__":
    main()
