"""Resuming: a step of an instance that sleeps, against a step of one that is awake.

    python -m bench.resuming --instances 100000

A backlog is laid up: one event that starts each instance, then one more for each, in random order.
It is worked off twice, from two copies of the store, each in a fresh process: once with room for
all to be awake, once with room for a thousand, so that each instance that takes its second event
has to be read from the log first. The time from the first of the second events to the last,
divided by their number, is the time of a step; the ratio of the two is the figure.

It is fair because nothing is published meanwhile: the time is that of steps and their commits
alone. In the second run an instance that happens to be awake still is one in a hundred.
"""

from __future__ import annotations

import random
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

from procession import Runtime

from .apart import apart
from .cases import Noted, Opened, case_id, cases, outside, stream_of
from .feeding import lay_up, passing, steps_of
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SEED = 1


def fill(store: Path, instances: int) -> None:
    def events() -> Iterator[Opened | Noted]:
        names = [case_id(number) for number in range(instances)]
        yield from map(Opened, names)
        random.Random(SEED).shuffle(names)
        yield from map(Noted, names)

    lay_up(store, outside, events(), stream_of)


def seconds_of_a_step(store: Path, instances: int, max_awake: int) -> tuple[float, int]:
    """Of the second event of each instance; and how many were passivated on the way."""
    with Runtime(store, cases, max_awake=max_awake, idle_timeout=timedelta(days=1)) as runtime:
        (before, began), (after, ended) = passing(steps_of(runtime), [instances, 2 * instances])
        passivated = runtime.stats()["passivated"]
    return (ended - began) / (after - before), passivated


def measure(folder: Path, instances: int, max_awake: int) -> list[Figure]:
    apart(fill, folder / "awake", instances)
    shutil.copytree(folder / "awake", folder / "asleep")
    awake, _ = apart(seconds_of_a_step, folder / "awake", instances, 2 * instances)
    asleep, passivated = apart(seconds_of_a_step, folder / "asleep", instances, max_awake)
    return [
        Figure(
            row=6,
            what="a step of a sleeping instance, against one of an awake instance",
            value=round(asleep / awake, 3),
            unit="times",
            reach=2,
            better="at most",
            details={
                "instances": instances,
                "may_be_awake": max_awake,
                "passivated": passivated,
                "awake_us_per_step": round(awake * 1e6, 2),
                "asleep_us_per_step": round(asleep * 1e6, 2),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("resuming", __doc__)
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--max-awake", type=int, default=1_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.instances, options.max_awake))


if __name__ == "__main__":
    main()
