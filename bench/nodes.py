"""Many partitions of one PostgreSQL database, all of one node, against few.

    python -m bench.nodes --orders 16000 --at-once 2000 16000 --partitions 64 256

The three-step orders of `bench.postgresql` are handed over by `tell_many`, so many at once, to a
store of eight partitions and to one of more, each in a process of its own, with the server in
common. Of two thousand at once, each of 256 partitions has eight. Each round runs all of them, and
the figures are medians of the rounds' ratios. Then each store is opened once more, and the trips of
that are counted, which no other load disturbs. Without a server there are no figures, and the
program says so.
"""

from __future__ import annotations

import stat
import time
from statistics import median
from tempfile import gettempdir
from typing import TYPE_CHECKING, NamedTuple

from procession import Runtime
from procession.store.postgresql.connection import Connection
from tests.postgresql import new_server, programs

from .apart import apart
from .measure import Figure, present, program, run
from .postgresql import ITS_OWN, WARM_UP
from .three_step_order import order
from .workload import OrderFulfillment, shop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from procession.store.postgresql.connection import Call

FEW = 8


class Took(NamedTuple):
    """What some orders took, by how many were told at once, and opening the store again."""

    rates: dict[int, float]
    cpus: dict[int, float]
    """Microseconds of this process an order."""
    complete: int
    opening_s: float
    opening_trips: int


class _Trips:
    """Counts what all connections send and wait for."""

    def __init__(self) -> None:
        self.count = 0
        counted = Connection.run

        def run_counted(connection: Connection, *calls: Call) -> object:
            self.count += 1
            return counted(connection, *calls)

        Connection.run = run_counted  # type: ignore[method-assign,assignment]


def carry_out(url: str, partitions: int, orders: int, loads: Sequence[int]) -> Took:
    """Carry out orders in a new store, and open it again; in a process of its own."""
    rates, cpus = {}, {}
    with Runtime(url, shop, partitions=partitions) as runtime:
        runtime.tell_many([order(10**8 + number) for number in range(WARM_UP)])
        runtime.settle()
        for which, at_once in enumerate(loads):
            made = [order(which * 10**7 + number) for number in range(orders)]
            began, cpu = time.perf_counter(), time.process_time()
            for start in range(0, orders, at_once):
                runtime.tell_many(made[start : start + at_once])
            runtime.settle()
            rates[at_once] = orders / (time.perf_counter() - began)
            cpus[at_once] = (time.process_time() - cpu) / orders * 1e6
        complete = runtime.counts(OrderFulfillment)["ecommerce.OrderFulfillment"].complete
    trips = _Trips()
    began = time.perf_counter()
    with Runtime(url, shop):
        opening, count = time.perf_counter() - began, trips.count
    return Took(rates, cpus, complete - WARM_UP, opening, count)


def measure(
    folder: Path, orders: int, partitions: Sequence[int], loads: Sequence[int], rounds: int
) -> list[Figure]:
    # Beside the folder, which is this user's alone: the server may run as another one.
    beside = folder.parent if folder.parent.stat().st_mode & stat.S_IXOTH else gettempdir()
    with new_server(str(beside), **ITS_OWN) as server:
        all_rounds = [
            {
                count: apart(carry_out, server.new_url(without_tables=True), count, orders, loads)
                for count in (FEW, *partitions)
            }
            for _ in range(rounds)
        ]
    figures: list[Figure] = []
    for count in partitions:
        few, many = ([one[which] for one in all_rounds] for which in (FEW, count))
        figures += [_rate(count, at_once, orders, few, many) for at_once in loads]
        figures.append(
            Figure(
                row=30,
                what=f"trips in which a node opens {count} partitions, for each of them",
                value=round(median(one.opening_trips / count for one in many), 2),
                unit="trips",
                reach=2,
                better="at most",
                details={
                    "trips": [one.opening_trips for one in many],
                    "trips_few": [one.opening_trips for one in few],
                    "opening_s": [round(one.opening_s, 2) for one in many],
                },
            )
        )
    return figures


def _rate(
    partitions: int, at_once: int, orders: int, few: Sequence[Took], many: Sequence[Took]
) -> Figure:
    ratios = [
        there.rates[at_once] / here.rates[at_once] for here, there in zip(few, many, strict=True)
    ]
    return Figure(
        row=30,
        what=f"orders a second with {partitions} partitions on one node, against {FEW}, "
        f"told {at_once:,} at once",
        value=round(median(ratios), 3),
        unit="times",
        reach=0.8,
        better="at least",
        details={
            "orders": orders,
            "complete": many[0].complete,
            "orders_per_s": [round(one.rates[at_once]) for one in many],
            "orders_per_s_few": [round(one.rates[at_once]) for one in few],
            "cpu_us_per_order": [round(one.cpus[at_once]) for one in many],
            "cpu_us_per_order_few": [round(one.cpus[at_once]) for one in few],
        },
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("nodes", __doc__)
    parser.add_argument("--orders", type=int, default=16_000, help="of each load, in each store")
    parser.add_argument("--at-once", type=int, nargs="+", default=[2_000, 16_000])
    parser.add_argument("--partitions", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    if programs() is None:
        present([], as_json=options.json, skipped="PostgreSQL is not here; install it")
    else:
        run(
            options,
            lambda folder: measure(
                folder, options.orders, options.partitions, options.at_once, options.rounds
            ),
        )


if __name__ == "__main__":
    main()
