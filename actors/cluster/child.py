"""A process that runs some partitions for its parent."""

from __future__ import annotations

import gc
import logging
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..engine.ingress import Receipt
from ..model.whereabouts import domain_at
from ..store import Append, DividedStore, EventRecord, Step
from ..store.interrupts import Latch
from .links import Link
from .share import Share

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from ..engine.health import Health
    from ..store import CommandRecord
    from .partition_runtime import PartitionRuntime

__all__ = ["Task", "run"]

logger = logging.getLogger("procession")

COLLECTED = 10_000, 10, 10
"""How much comes between two runs of Python's cycle collector, as `gc.set_threshold` has it.

An order makes no circles, and what is in memory at a moment is much: looking through it as often as
Python does by itself takes a twentieth of the processor's time.
"""


class Task(Struct, frozen=True):
    """What a child is to run.

    Attributes:
        divided: the store
        numbers: of the partitions
        domains: where each domain is: its module, and its name there
        options: as for `Runtime`

    """

    divided: DividedStore
    numbers: list[int]
    domains: list[tuple[str, str]]
    options: dict[str, Any]


def run(task: Task, pipe: Connection) -> None:
    """Run until the parent says that it is over, or is gone; the target of the child's process."""
    # The terminal sends it to all of its processes, and the parent says what is to become of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(*COLLECTED)
    is_over = Latch()
    signal.signal(signal.SIGTERM, lambda *_: is_over.open())
    try:
        domains = tuple(domain_at(*place) for place in task.domains)
        share = Share(task.divided, task.numbers, domains, task.options)
    except BaseException as error:  # noqa: BLE001 - it is raised where the parent waits
        pipe.send(("refused", f"{type(error).__name__}: {error}", os.getpid()))
        return
    server = _Server(share)
    link = Link(pipe, server.handle, "the parent", is_over.open)
    pipe.send(("runs", "", os.getpid()))
    link.start()
    is_over.wait()
    share.close(timeout=server.timeout)
    link.close()


class _Server:
    """Carries out what the parent asks for."""

    def __init__(self, share: Share) -> None:
        self._parts = share.parts
        self.timeout: float | None = 30.0

    def handle(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Carry out a call: of a partition, whose number comes first."""
        number, *given = arguments
        return getattr(self, f"do_{name}")(self._parts[number], *given)

    @staticmethod
    def do_ask(part: PartitionRuntime, record: CommandRecord, is_remembered: bool) -> Any:
        return part.ask_record(record, is_remembered=is_remembered).get()

    @staticmethod
    def do_tell(part: PartitionRuntime, records: list[CommandRecord], is_given: bool) -> None:
        if is_given:
            steps = [Step(enqueue=[one], given=one) for one in records]
        else:
            steps = [Step(enqueue=records)]
        part.write_all([Receipt(step) for step in steps])

    @staticmethod
    def do_publish(
        part: PartitionRuntime, events: list[tuple[str, EventRecord, bool]]
    ) -> list[int]:
        works = [
            Receipt(Step(append=Append(stream, None, [record], unique=unique)))
            for stream, record, unique in events
        ]
        part.write_all(works)
        return [work.position for work in works]

    @staticmethod
    def do_settle(part: PartitionRuntime, timeout: float | None) -> None:
        part.settle(timeout)

    @staticmethod
    def do_has_taken_all(part: PartitionRuntime) -> bool:
        return part.has_taken_all

    @staticmethod
    def do_commit_count(part: PartitionRuntime) -> int:
        return part.commit_count

    @staticmethod
    def do_health(part: PartitionRuntime) -> Health:
        found = part.health()
        # What only reads a mapping cannot be sent.
        return replace(
            found,
            backlog=dict(found.backlog),
            oldest_unhandled=dict(found.oldest_unhandled),
            effects_backlog=dict(found.effects_backlog),
            projections_backlog=dict(found.projections_backlog),
            projections_lag=dict(found.projections_lag),
        )

    @staticmethod
    def do_runtime(
        part: PartitionRuntime, call: str, given: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        return getattr(part, call)(*given, **named)
