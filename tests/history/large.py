"""A long log through import and export: what it takes of memory and of time."""

from __future__ import annotations

import multiprocessing
import resource
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple

from domain_examples.loan_application.process import bank
from procession.exporting import export
from procession.importing import import_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import SimpleQueue

START = datetime(2012, 1, 1, tzinfo=UTC)
STEPS = ("A_SUBMITTED", "W_CALL", "O_CREATED", "W_CHECK", "A_ACTIVATED")
MAP = "domain_examples/loan_application/mapping.toml"


KIB = 1_024


class Taken(NamedTuple):
    """What it took: bytes in memory at the highest, and seconds.

    Attributes:
        own: that belong to the process alone
        all: with pages of files, as those of the store, which the system takes back when it needs
            room
        seconds: of the clock

    """

    own: int
    all: int
    seconds: float


def write_log(path: Path, events: int) -> None:
    """Write a log of loans in which a thousand are open at a time, in order of time."""
    with path.open("w") as file:
        file.write("seq,time,case,activity,lifecycle,resource,amount_requested\n")
        for seq in range(1, events + 1):
            wave, place = divmod(seq - 1, 1_000 * len(STEPS))
            case = wave * 1_000 + place % 1_000
            moment = START + timedelta(minutes=seq)
            step = STEPS[place // 1_000]
            file.write(f"{seq},{moment.isoformat()},{case},{step},COMPLETE,,{seq}\n")


def bring(folder: Path, events: int) -> None:
    """Import so many events."""
    write_log(folder / "log.csv", events)
    import_file(folder / "log.csv", folder / "store", bank, mapping=MAP, durability="none")


def write(folder: Path, kind: str) -> None:
    """Export what was imported."""
    export(folder / "store", folder / "out", kind=kind)


def taken(call: Callable[..., object], *given: object) -> Taken:
    """What a call takes in a process of its own."""
    context = multiprocessing.get_context("spawn")
    said: SimpleQueue[Taken] = context.SimpleQueue()
    process = context.Process(target=_tell, args=(said, call, given))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{call} ended with {process.exitcode}")
    return said.get()


def _tell(said: SimpleQueue[Taken], call: Callable[..., object], given: tuple[object, ...]) -> None:
    begun, own, is_done = time.perf_counter(), [0], Event()

    def watch() -> None:
        while not is_done.wait(0.02):
            own.append(max(own.pop(), _own()))

    watching = Thread(target=watch)
    watching.start()
    try:
        call(*given)
    finally:
        is_done.set()
    watching.join()
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    said.put(Taken(own[0], highest, time.perf_counter() - begun))


def _own() -> int:
    """Bytes of this process that are of no file, as Linux counts them."""
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in one]
    return int(line.split()[1]) * KIB
