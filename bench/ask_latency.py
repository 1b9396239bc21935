"""How long one `ask` takes, against the LMDB commit that it cannot do without.

    python -m bench.ask_latency --asks 4000

One thread asks, nothing else goes on: an aggregate that is not awake is found, answers a command
with one event, to which no process manager listens. Beside it, in the same process and on the same
disk, a bare environment commits rows of the same number and sizes, with fsync. The two take turns,
fifty of each, so that a disk that becomes slower becomes so for both. The ratio of the medians is
the figure.

It is fair because the rows are not guessed: a store is made, its tables are read before and after
one `ask`, and what was added is what the bare commit writes, with other numbers at the end of keys.
A row that is written again with every commit is written again here as well.
"""

from __future__ import annotations

import time
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from procession import Runtime
from procession.store.layout.frames import number

from .cases import Count, counters
from .measure import SERIES, Figure, percentile, program, run
from .rows import Row, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BLOCK = 50
"""Asks, and then commits, that are taken in a row."""

WARM_UP = 100

QUANTILES = [*range(1, 100), 99.5, 99.9]


class Written(NamedTuple):
    """What one `ask` writes."""

    new: list[Row]
    again: list[Row]
    """Rows that were there before, with another value."""


def rows_of_one_ask(store: Path) -> Written:
    """What one `ask` adds to a store, and what it changes there."""
    found: list[set[Row]] = []
    for name in ("n0000000", "n0000001"):
        with Runtime(store, counters) as runtime:
            runtime.ask(Count(name))
        found.append(set(rows_of(store)))
    before, after = found
    there = {(row.table, row.key) for row in before}
    rows = sorted(after - before)
    return Written(
        [row for row in rows if (row.table, row.key) not in there],
        [row for row in rows if (row.table, row.key) in there],
    )


class BareCommits:
    """One transaction for each commit, on an environment with LMDB's own defaults: fsync."""

    def __init__(self, folder: Path, written: Written) -> None:
        folder.mkdir()
        self._env = lmdb.Environment(str(folder), map_size=1 << 32, max_dbs=32)
        names = {row.table for rows in written for row in rows}
        tables = {name: self._env.open_db(name.encode()) for name in names}
        self._new = [(row.key[:-8], row.value, tables[row.table]) for row in written.new]
        self._again = [(row.key, row.value, tables[row.table]) for row in written.again]

    def commit(self, turn: int) -> None:
        with self._env.begin(write=True) as txn:
            for prefix, value, table in self._new:
                txn.put(prefix + number(turn), value, db=table)
            for key, value, table in self._again:
                txn.put(key, value, db=table)

    def close(self) -> None:
        self._env.close()


def measure(folder: Path, asks: int) -> list[Figure]:
    written = rows_of_one_ask(folder / "one")
    rows = written.new + written.again
    asking: list[float] = []
    committing: list[float] = []
    clock = time.perf_counter
    with (
        closing(BareCommits(folder / "bare", written)) as bare,
        Runtime(folder / "store", counters) as runtime,
    ):
        for first in range(0, WARM_UP + asks, BLOCK):
            commands = [Count(f"n{turn:07d}") for turn in range(first, first + BLOCK)]
            for command in commands:
                began = clock()
                runtime.ask(command)
                asking.append(clock() - began)
            for turn in range(first, first + BLOCK):
                began = clock()
                bare.commit(turn)
                committing.append(clock() - began)
    del asking[:WARM_UP], committing[:WARM_UP]
    shares = {"p99": 99, "p99_9": 99.9}
    return [
        Figure(
            row=8,
            what="one ask, against one commit of the same rows",
            value=round(median(asking) / median(committing), 3),
            unit="times",
            reach=2,
            better="at most",
            details={
                "asks": len(asking),
                "rows": len(rows),
                "bytes": sum(len(row.key) + len(row.value) for row in rows),
                "ask_us": round(median(asking) * 1e6),
                **{
                    f"ask_{name}_us": round(percentile(asking, share) * 1e6)
                    for name, share in shares.items()
                },
                "commit_us": round(median(committing) * 1e6),
                **{
                    f"commit_{name}_us": round(percentile(committing, share) * 1e6)
                    for name, share in shares.items()
                },
                SERIES: {
                    "columns": ["percent", "ask_us", "commit_us"],
                    "points": [
                        (
                            share,
                            round(percentile(asking, share) * 1e6, 1),
                            round(percentile(committing, share) * 1e6, 1),
                        )
                        for share in QUANTILES
                    ],
                },
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("ask_latency", __doc__)
    parser.add_argument("--asks", type=int, default=4_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.asks))


if __name__ == "__main__":
    main()
