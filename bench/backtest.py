"""A real log in order of time: each event at its own moment, against the same without times.

    python -m bench.backtest

The loan log of `bench.real_log` is read into memory first. Then it goes through its process manager
twice, with fsync: published to a service, as `bench.real_log` does it; and by a `Backtest`, which
moves the clock to each event and lets all fire that is due before the next. Both take turns, in
stores of their own. Processor time of the second against that of the first is the figure, so that
others on the machine make little difference; the seconds that a caller waits are beside it.

It is fair because both store the same events under the same ids and make the same transitions. A
service takes 1,024 events at a time and handles them together; what drives the clock takes 256,
and handles one after the other.

The log lies in `../shared/eventlogs`; without it there is nothing to measure, and that is said.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

from domain_examples.loan_application.log_file import open_log
from domain_examples.loan_application.process import bank
from procession.importing import Backtest

from .measure import Figure, present, program, run
from .real_log import LOG, event_id_of, replayed, stream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from domain_examples.loan_application.process import Activity


class Taken(NamedTuple):
    """What one way took: seconds of the processor, and of the clock; and transitions."""

    cpu: float
    seconds: float
    transitions: int


def lived_again(store: Path, activities: Sequence[Activity]) -> int:
    """Transitions that come of the log in order of time."""
    with Backtest(store, bank) as backtest:
        backtest.publish_many(
            activities, stream=stream_of, time=lambda one: one.time, event_id=event_id_of
        )
        return backtest.counts.transitions


def taken(way: Callable[[], int]) -> Taken:
    cpu, began = time.process_time(), time.perf_counter()
    transitions = way()
    return Taken(time.process_time() - cpu, time.perf_counter() - began, transitions)


def measure(folder: Path, log: Path, events: int | None, tries: int) -> list[Figure]:
    with open_log(str(log)) as rows:
        activities = list(itertools.islice(rows, events))
    ratios: list[float] = []
    best: tuple[Taken, Taken] | None = None
    for number in range(tries):
        without = taken(lambda: replayed(folder / f"without{number}", activities)[1])  # noqa: B023
        with_times = taken(lambda: lived_again(folder / f"with{number}", activities))  # noqa: B023
        assert with_times.transitions == without.transitions
        ratios.append(with_times.cpu / without.cpu)
        if ratios[-1] == min(ratios):
            best = without, with_times
    assert best is not None
    without, with_times = best
    return [
        Figure(
            row=29,
            what="a real log in order of time, against the same without times",
            value=round(sorted(ratios)[len(ratios) // 2], 3),
            unit="times",
            reach=1.5,
            better="at most",
            details={
                "events": len(activities),
                "transitions": with_times.transitions,
                "tries": tries,
                "all": [round(one, 3) for one in ratios],
                "us_an_event": round(with_times.cpu / len(activities) * 1e6, 1),
                "us_an_event_without": round(without.cpu / len(activities) * 1e6, 1),
                "seconds": round(with_times.seconds, 1),
                "seconds_without": round(without.seconds, 1),
            },
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("backtest", __doc__)
    parser.add_argument("--log", type=type(LOG), default=LOG, help="a gzip CSV file")
    parser.add_argument("--events", type=int, help="only so many from its beginning")
    parser.add_argument("--tries", type=int, default=3)
    options = parser.parse_args(arguments)
    if not options.log.exists():
        present([], as_json=options.json, skipped="the log is not there")
        return
    run(options, lambda folder: measure(folder, options.log, options.events, options.tries))


if __name__ == "__main__":
    main()
