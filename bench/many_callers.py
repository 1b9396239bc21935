"""Many callers: what 64 threads that ask get done, against one.

    python -m bench.many_callers --seconds 5

So many threads at once ask one command after the other, each waiting for its reply, for a few
seconds; every ask goes to an aggregate of its own. Replies a second of the most threads against
those of one are the figure: commands that come together share a commit, and this tells how well.

It is fair because all run in the same process on the same disk, one after the other, and a reply
counts only when it is durable. The callers are threads of the same interpreter: what they spend is
taken from the runtime, as it would be in a service.
"""

from __future__ import annotations

import itertools
import threading
import time
from statistics import median
from typing import TYPE_CHECKING

from procession import Runtime

from .cases import Count, counters
from .measure import SERIES, Figure, percentile, program, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

QUANTILES = [*range(1, 100), 99.5, 99.9]


def latencies(runtime: Runtime, threads: int, seconds: float) -> tuple[list[float], float]:
    """How long each ask took, and replies a second."""
    found: list[list[float]] = [[] for _ in range(threads)]
    start = threading.Barrier(threads + 1)
    clock = time.perf_counter

    def call(caller: int) -> None:
        mine = found[caller]
        start.wait()
        end = clock() + seconds
        for turn in itertools.count():
            began = clock()
            if began >= end:
                return
            runtime.ask(Count(f"{threads}.{caller}.{turn}"))
            mine.append(clock() - began)

    callers = [threading.Thread(target=call, args=(caller,)) for caller in range(threads)]
    for caller in callers:
        caller.start()
    start.wait()
    began = clock()
    for caller in callers:
        caller.join()
    elapsed = clock() - began
    together = [one for mine in found for one in mine]
    return together, len(together) / elapsed


def measure(folder: Path, threads: Sequence[int], seconds: float) -> list[Figure]:
    details: dict[str, object] = {}
    rates: list[float] = []
    quantiles: list[list[float]] = []
    with Runtime(folder / "store", counters) as runtime:
        latencies(runtime, 1, seconds / 10)  # the first asks find everything cold
        for number in threads:
            times, rate = latencies(runtime, number, seconds)
            rates.append(rate)
            quantiles.append([round(percentile(times, share) * 1e6, 1) for share in QUANTILES])
            details[f"{number}_threads"] = {
                "asks_per_s": round(rate),
                "median_us": round(median(times) * 1e6),
                "p99_us": round(percentile(times, 99) * 1e6),
            }
    details[SERIES] = {
        "columns": ["percent", *(f"{number}_threads_us" for number in threads)],
        "points": list(zip(QUANTILES, *quantiles, strict=True)),
    }
    return [
        Figure(
            row=9,
            what="replies a second to the most callers, against one",
            value=round(rates[-1] / rates[0], 2),
            unit="times",
            reach=10,
            better="at least",
            details=details,
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("many_callers", __doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each number of threads")
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.threads, options.seconds))


if __name__ == "__main__":
    main()
