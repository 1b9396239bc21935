"""Refusals: many commands that one aggregate refuses, and how many commits they take.

    python -m bench.refusals --asks 500

An aggregate is opened, and then closed by an event. A thread asks it that often to do what it no
longer does, without waiting for a reply, and then waits for all. The commits meanwhile are the
figure. A refusal writes nothing, so what is counted is how often a caller had to wait for
the disk before the next one could be decided: an aggregate that went back to the disk after each
refusal would take as many commits as there are asks. A round goes before it that is not counted.

It is fair because a refused command comes right after one that is carried out, each time: what the
refusals stand on is not durable yet.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from procession import Aggregate, Command, Domain, Event, Rejected, Runtime, apply, handle

from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

gates = Domain("gates")


class Shut(Command):
    gate: str


class WasShut(Event):
    gate: str


class Pass(Command):
    gate: str


@gates.register
class Gate(Aggregate, identity="gate"):
    is_shut: bool = False

    @handle(Shut)
    def shut(self, command: Shut) -> WasShut:
        return WasShut(self.id)

    @handle(Pass)
    def enter(self, command: Pass) -> None:
        if self.is_shut:
            raise Rejected("the gate is shut")

    @apply(WasShut)
    def _was_shut(self, event: WasShut) -> None:
        self.is_shut = True


def refuse(runtime: Runtime, gate: str, asks: int) -> tuple[int, float, float]:
    """Have so many commands refused.

    Returns:
        the commits, the processor's seconds, and the seconds

    """
    commits = runtime.stats()["commits"]
    began, cpu = time.perf_counter(), time.process_time()
    replies = [runtime.ask(Shut(gate), block=False)]
    replies += [runtime.ask(Pass(gate), block=False) for _ in range(asks)]
    refused = 0
    for reply in replies:
        try:
            reply.get()
        except Rejected:
            refused += 1
    if refused != asks:
        raise RuntimeError(f"{refused:,} were refused, where there should be {asks:,}")
    runtime.settle()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return runtime.stats()["commits"] - commits, cpu, seconds


def measure(folder: Path, asks: int) -> list[Figure]:
    with Runtime(folder / "store", gates) as runtime:
        refuse(runtime, "first", asks)
        commits, cpu, seconds = refuse(runtime, "second", asks)
    return [
        Figure(
            row=23,
            what="commits while one aggregate refuses many commands",
            value=commits,
            unit="commits",
            reach=3,
            better="at most",
            details={
                "asks": asks,
                "us_per_ask": round(seconds / asks * 1e6, 1),
                "cpu_us_per_ask": round(cpu / asks * 1e6, 1),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("refusals", __doc__)
    parser.add_argument("--asks", type=int, default=500)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.asks))


if __name__ == "__main__":
    main()
