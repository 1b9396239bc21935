"""Learnt keys: events that find their instance by one, beside events that teach one.

    python -m bench.learnt_keys --parcels 10000

Each parcel is started by an event, then an event teaches it the number of its label, and then an
event is for whoever has that label. The events of one parcel are a few parcels apart, so that all
the way an event that finds comes right after one that teaches another instance. All are laid up
before the process manager is started. The same is done with the last kind of event naming the
parcel by its id, though the label is learnt all the same. Events a second of the processor's time,
found by a learnt key against found by id, are the figure.

It is fair because both write the same transitions and the same learnt keys. That nothing may pass
by an event that could teach the key it asks for is what the other one does without, and is in it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from procession import Domain, Event, Indexed, ProcessManager, Runtime, handle

from .apart import apart
from .feeding import lay_up
from .measure import Figure, program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

APART = 8
"""Parcels between two events of one parcel."""

KINDS = 3
"""Events of one parcel."""


class Packed(Event):
    parcel: str


class Labelled(Event):
    parcel: str
    label: str


class Scanned(Event):
    """Knows the label alone."""

    label: str


class Weighed(Event):
    """Knows the parcel."""

    parcel: str


outside = Domain("post")
outside.register(Packed, Labelled, Scanned, Weighed)

post = Domain("post")
post.register(Packed, Labelled, Scanned, Weighed)


@post.register
class Parcel(ProcessManager, correlate="parcel", begin="origin"):
    parcel: str = ""
    label: Indexed[str] = ""
    seen: int = 0

    @handle(Packed, start=True)
    def on_packed(self, event: Packed) -> None:
        """Be there."""

    @handle(Labelled)
    def on_labelled(self, event: Labelled) -> None:
        self.label = event.label

    @handle(Scanned, correlate={"label": "label"})
    def on_scanned(self, event: Scanned) -> None:
        self.seen += 1

    @handle(Weighed)
    def on_weighed(self, event: Weighed) -> None:
        self.seen += 1


class Cost(NamedTuple):
    """Of one run."""

    events_per_cpu_s: float
    events_per_s: float


def events(parcels: int, *, by_label: bool) -> Iterator[Event]:
    """All events of all parcels."""
    for number in range(parcels + 2 * APART):
        if number < parcels:
            yield Packed(f"p{number:07d}")
        if 0 <= number - APART < parcels:
            yield Labelled(f"p{number - APART:07d}", f"l{number - APART:07d}")
        if 0 <= (found := number - 2 * APART) < parcels:
            yield Scanned(f"l{found:07d}") if by_label else Weighed(f"p{found:07d}")


def work_off(store: Path, parcels: int, *, by_label: bool) -> Cost:
    lay_up(store, outside, events(parcels, by_label=by_label), lambda _: "post::day-1")
    count = KINDS * parcels
    began, cpu = time.perf_counter(), time.process_time()
    with Runtime(store, post) as runtime:
        runtime.settle()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        steps = runtime.stats()["transitions"]
    if steps != count:
        raise RuntimeError(f"{steps:,} steps, where there should be {count:,}")
    return Cost(count / cpu, count / seconds)


def measure(folder: Path, parcels: int) -> list[Figure]:
    by_id = apart(work_off, folder / "id", parcels, by_label=False)
    by_label = apart(work_off, folder / "label", parcels, by_label=True)
    return [
        Figure(
            row=19,
            what="events a second that a learnt key leads to, against the same by id",
            value=round(by_label.events_per_cpu_s / by_id.events_per_cpu_s, 3),
            unit="times",
            reach=0.5,
            better="at least",
            details={
                "parcels": parcels,
                "events": KINDS * parcels,
                "events_per_s_by_id": round(by_id.events_per_s),
                "events_per_s_by_learnt_key": round(by_label.events_per_s),
                "cpu_us_by_id": round(1e6 / by_id.events_per_cpu_s, 1),
                "cpu_us_by_learnt_key": round(1e6 / by_label.events_per_cpu_s, 1),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("learnt_keys", __doc__)
    parser.add_argument("--parcels", type=int, default=10_000)
    options = parser.parse_args(arguments)
    run(options, lambda folder: measure(folder, options.parcels))


if __name__ == "__main__":
    main()
