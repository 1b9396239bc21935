"""A long log through import and export: what it takes of memory and of time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from domain_examples.loan_application.process import bank
from procession.exporting import export
from procession.importing import import_file
from tests.history.peak import peak_memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2012, 1, 1, tzinfo=UTC)
STEPS = ("A_SUBMITTED", "W_CALL", "O_CREATED", "W_CHECK", "A_ACTIVATED")
MAP = "domain_examples/loan_application/mapping.toml"


class Taken(NamedTuple):
    """What it took: bytes at the highest, of Python's own, and seconds."""

    memory: int
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


def brought(folder: Path, events: int) -> Taken:
    """As `bring`, and what it took."""
    return _taken(lambda: bring(folder, events))


def written(folder: Path, kind: str) -> Taken:
    """Export what was imported."""
    return _taken(lambda: export(folder / "store", folder / "out", kind=kind))


def _taken(call: Callable[[], object]) -> Taken:
    begun = time.perf_counter()
    memory = peak_memory(call)
    return Taken(memory, time.perf_counter() - begun)
