"""The three-step order on a PostgreSQL database, beside LMDB on the same disk, in pairs.

    python -m bench.postgresql --orders 6000 --rounds 5

Orders are handed over by `tell_many`, two thousand at once. Each round runs them in a folder, in a
database, and in a database behind a proxy, with and without half a millisecond that each answer
takes longer; the figures are medians of the rounds' ratios. What the server's processes cost is
read from `/proc`. The server is the one that is found here, with its own settings, on the disk that
the folder is on. Without one there are no figures, and the program says so.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from procession import Runtime
from tests.postgresql import Server, new_server, programs

from .measure import Figure, percentile, present, program, run
from .three_step_order import TOGETHER, order
from .workload import OrderFulfillment, shop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DELAY = 0.000_5
"""Seconds that a trip takes longer, as in another building."""

ITS_OWN = {"shared_buffers": "128MB", "max_wal_size": "1GB"}
"""What a server has that is not told otherwise; those of the tests are small."""

WARM_UP = 200
"""Orders before those that are measured."""


@dataclass(slots=True)
class Run:
    """What one run came to."""

    rate: float
    client: float
    """Microseconds of this process an order."""
    server: float
    """Microseconds of the server's processes an order."""


def carry_out(place: str | Path, orders: int, server: Server | None = None) -> Run:
    """Carry out orders in a new store."""
    with Runtime(place, shop) as runtime:
        runtime.tell_many([order(10**6 + number) for number in range(WARM_UP)])
        runtime.settle()
        before = 0.0 if server is None else processor_time(server.pid)
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, orders, TOGETHER):
            end = min(start + TOGETHER, orders)
            runtime.tell_many([order(number) for number in range(start, end)])
        runtime.settle()
        seconds, client = time.perf_counter() - began, time.process_time() - cpu
        after = 0.0 if server is None else processor_time(server.pid)
        for number in (0, orders - 1):
            process = runtime.get(OrderFulfillment, order(number).order_id)
            assert process is not None
            assert process.is_complete
    return Run(orders / seconds, client / orders * 1e6, (after - before) / orders * 1e6)


def processor_time(parent: int) -> float:
    """Seconds that a process and its children have had, also those that have ended."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            # It has ended meanwhile.
            continue
        if int(entry.name) == parent:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == parent:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def slowed(server: Server, delay: float) -> Iterator[int]:
    """The port of a proxy in a process of its own."""
    command = [sys.executable, "-m", "tests.proxy", str(server.port), str(delay)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as proxy:
        assert proxy.stdout is not None
        assert proxy.stdin is not None
        try:
            yield int(proxy.stdout.readline())
        finally:
            proxy.stdin.close()


def asks(place: str | Path, count: int) -> tuple[list[float], list[int]]:
    """Seconds and trips of calls that come one after the other; each order ends before the next."""
    seconds: list[float] = []
    trips: list[int] = []
    with Runtime(place, shop) as runtime:
        engine: Any = runtime._store._engine  # noqa: SLF001 - trips are no public number
        for number in range(count):
            before = getattr(engine, "trips", 0)
            began = time.perf_counter()
            runtime.ask(order(number))
            seconds.append(time.perf_counter() - began)
            trips.append(getattr(engine, "trips", 0) - before)
            runtime.settle()
    return seconds, trips


def measure(folder: Path, orders: int, rounds: int, count: int) -> list[Figure]:
    # Beside the folder, which is this user's alone: the server may run as another one.
    beside = folder.parent if folder.parent.stat().st_mode & stat.S_IXOTH else gettempdir()
    with new_server(str(beside), **ITS_OWN) as server:
        pairs = [_round(folder / str(number), server, orders) for number in range(rounds)]
        seconds, trips = asks(server.new_url(), count)
    lmdb_seconds, _ = asks(folder / "asks", count)
    here, there, behind, slow = (list(one) for one in zip(*pairs, strict=True))
    return [
        Figure(
            row=26,
            what="orders a second on PostgreSQL, against LMDB",
            value=_median_ratio(there, here),
            unit="times",
            reach=0.4,
            better="at least",
            details={
                "orders": orders,
                "postgresql_orders_per_s": [round(one.rate) for one in there],
                "lmdb_orders_per_s": [round(one.rate) for one in here],
                "postgresql_cpu_us_per_order": [round(one.client) for one in there],
                "lmdb_cpu_us_per_order": [round(one.client) for one in here],
            },
        ),
        Figure(
            row=26,
            what="what an order has the processor of the server do",
            value=round(median(one.server for one in there), 1),
            unit="us",
            reach=110,
            better="at most",
            details={"of_each_round": [round(one.server) for one in there]},
        ),
        Figure(
            row=26,
            what="orders a second with 0.5 ms more for each trip, against without",
            value=_median_ratio(slow, behind),
            unit="times",
            reach=0.75,
            better="at least",
            details={
                "slow_orders_per_s": [round(one.rate) for one in slow],
                "orders_per_s": [round(one.rate) for one in behind],
            },
        ),
        Figure(
            row=26,
            what="trips of a call until its reply",
            value=median(trips),
            unit="trips",
            reach=3,
            better="at most",
            details={
                "asks": count,
                "median_ms": round(1000 * percentile(seconds, 50), 2),
                "lmdb_median_ms": round(1000 * percentile(lmdb_seconds, 50), 2),
            },
        ),
    ]


def _round(folder: Path, server: Server, orders: int) -> tuple[Run, Run, Run, Run]:
    here = carry_out(folder, orders)
    there = carry_out(server.new_url(), orders, server)
    both = []
    for delay in (0.0, DELAY):
        with slowed(server, delay) as port:
            schema = server.new_url().partition("schema=")[2]
            both.append(carry_out(server.url(schema, port), orders))
    return here, there, both[0], both[1]


def _median_ratio(ours: list[Run], theirs: list[Run]) -> float:
    return round(median(one.rate / other.rate for one, other in zip(ours, theirs, strict=True)), 3)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("postgresql", __doc__)
    parser.add_argument("--orders", type=int, default=6_000, help="in each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asks", type=int, default=300)
    options = parser.parse_args(arguments)
    if programs() is None:
        present([], as_json=options.json, skipped="PostgreSQL is not here; install it")
    else:
        run(
            options,
            lambda folder: measure(folder, options.orders, options.rounds, options.asks),
        )


if __name__ == "__main__":
    main()
