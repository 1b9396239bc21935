"""Coroutines that ask at once, against batches of futures and against a thread for each call.

    python -m bench.coroutines --callers 1000 --rounds 20

So many coroutines of one event loop ask one command after the other, each waiting for its reply;
every ask goes to an aggregate of its own. Beside them as many futures are asked for and then waited
for, batch after batch, which is the most that one thread gets done; and as many coroutines ask by
`asyncio.to_thread`, which is what a service does without `AsyncRuntime`. Replies a second of the
coroutines against those of the futures are the one figure, against those of the threads the other.

It is fair because all run in the same process on the same disk, by turns, and a reply counts only
when it is durable. The best turn of each counts.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from procession import AsyncRuntime, Runtime

from .cases import Count, counters
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

numbers = itertools.count()


def new() -> Count:
    """A command for an aggregate of its own."""
    return Count(f"c{next(numbers)}")


async def ask_in_turn(ask: Callable[[Count], Awaitable[object]], callers: int, rounds: int) -> None:
    async def call() -> None:
        for _ in range(rounds):
            await ask(new())

    await asyncio.gather(*(call() for _ in range(callers)))


def ask_in_batches(runtime: Runtime, callers: int, rounds: int) -> None:
    for _ in range(rounds):
        futures = [runtime.ask(new(), block=False) for _ in range(callers)]
        for future in futures:
            future.get()


def rate(replies: int, began: float) -> float:
    return replies / (time.perf_counter() - began)


async def rates(
    runtime: Runtime, callers: int, rounds: int, turns: int
) -> tuple[float, float, float]:
    """Replies a second of the best turn: of coroutines, of futures, of a thread for each call."""
    best = [0.0, 0.0, 0.0]
    async with AsyncRuntime.over(runtime) as face:

        async def ask(command: Count) -> object:
            return await face.ask(command)

        async def ask_on_thread(command: Count) -> object:
            return await asyncio.to_thread(runtime.ask, command)

        for _ in range(turns):
            began = time.perf_counter()
            await ask_in_turn(ask, callers, rounds)
            best[0] = max(best[0], rate(callers * rounds, began))
            began = time.perf_counter()
            ask_in_batches(runtime, callers, rounds)
            best[1] = max(best[1], rate(callers * rounds, began))
            began = time.perf_counter()
            # It is slow, and as fast in one round as in many.
            await ask_in_turn(ask_on_thread, callers, 1)
            best[2] = max(best[2], rate(callers, began))
    return best[0], best[1], best[2]


def measure(folder: Path, callers: int, rounds: int, turns: int) -> list[Figure]:
    with Runtime(folder / "store", counters) as runtime:
        ask_in_batches(runtime, callers, 1)  # the first asks find everything cold
        coroutines, futures, threads = asyncio.run(rates(runtime, callers, rounds, turns))
    details: dict[str, object] = {
        "callers": callers,
        "coroutines_asks_per_s": round(coroutines),
        "futures_asks_per_s": round(futures),
        "to_thread_asks_per_s": round(threads),
    }
    return [
        Figure(
            row=25,
            what="replies a second to coroutines that ask at once, against batches of futures",
            value=round(coroutines / futures, 2),
            unit="times",
            reach=0.8,
            better="at least",
            details=details,
        ),
        Figure(
            row=25,
            what="replies a second to coroutines that ask at once, against asyncio.to_thread",
            value=round(coroutines / threads, 2),
            unit="times",
            reach=5,
            better="at least",
            details=details,
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("coroutines", __doc__)
    parser.add_argument("--callers", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=20, help="asks of each caller in a turn")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args(arguments)
    run(
        options,
        lambda folder: measure(folder, options.callers, options.rounds, options.turns),
    )


if __name__ == "__main__":
    main()
