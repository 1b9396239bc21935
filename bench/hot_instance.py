"""A hot instance: one that takes 100,000 events, against a thousand that share them.

    python -m bench.hot_instance --events 100000

The events are laid up before the process manager is started, once all for one instance, once in
turn for a thousand. Steps a second from the first to the last of them, one against the thousand,
are the figure. It is fair because both work off the same number of the same events, and publishing
them is in neither's time. An instance that waited for each of its steps to be on disk before it
takes the next would show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procession import Runtime

from .cases import Noted, Opened, case_id, cases, outside, stream_of
from .feeding import lay_up, passing, steps_of
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def steps_per_s(store: Path, events: int, instances: int) -> float:
    """Of events that so many instances share."""

    def all_events() -> Iterator[Opened | Noted]:
        names = [case_id(number) for number in range(instances)]
        yield from map(Opened, names)
        for number in range(events):
            yield Noted(names[number % instances])

    lay_up(store, outside, all_events(), stream_of)
    with Runtime(store, cases) as runtime:
        marks = [instances, instances + events]
        (before, began), (after, ended) = passing(steps_of(runtime), marks)
    return (after - before) / (ended - began)


def measure(folder: Path, events: int, instances: int) -> list[Figure]:
    many = steps_per_s(folder / "many", events, instances)
    one = steps_per_s(folder / "one", events, 1)
    return [
        Figure(
            row=13,
            what="steps a second of one hot instance, against many that share its events",
            value=round(one / many, 3),
            unit="times",
            reach=0.5,
            better="at least",
            details={
                "events": events,
                "instances": instances,
                "steps_per_s_of_one": round(one),
                "steps_per_s_of_many": round(many),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("hot_instance", __doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--instances", type=int, default=1_000, help="that share them")
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.events, options.instances))


if __name__ == "__main__":
    main()
