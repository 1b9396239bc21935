"""The processes that run a divided store: started, started again when they die, and ended."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..clock import seconds
from ..errors import PartitionDown
from ..store import ClosedError, StoreError
from ..store.interrupts import start_thread
from .child import Task, run
from .links import Link

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import SpawnProcess

    from ..engine.pending_replies import ReplyFuture
    from ..store import DividedStore

__all__ = ["Children"]

logger = logging.getLogger("procession")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a process that died is started again; longer each time that it dies soon."""

LONG_ENOUGH = 60.0
"""Seconds after which a process has not died soon."""

PATIENCE = 30.0
"""Seconds that a call waits for a process that is started again."""


class Children:
    """One process for each share of the partitions.

    Args:
        divided: the store
        count: of processes
        domains: where each domain is, as `where_is` says
        options: as for `Runtime`

    Raises:
        StoreError: one of them could not open its share; all are ended

    """

    def __init__(
        self,
        divided: DividedStore,
        count: int,
        domains: Sequence[tuple[str, str]],
        options: dict[str, Any],
    ) -> None:
        self._is_over = threading.Event()
        self._watches: list[threading.Thread] = []
        self._children = [
            _Child(Task(divided, list(range(number, divided.count, count)), list(domains), options))
            for number in range(count)
        ]
        self._of = {number: child for child in self._children for number in child.task.numbers}
        try:
            # At once, since each takes a while to import all that it needs.
            for child in self._children:
                child.start()
            for child in self._children:
                child.wait()
        except BaseException:
            self.close(timeout=0.0)
            raise
        self._watches = [
            threading.Thread(
                target=self._look_after, args=(child,), name="procession-parent", daemon=True
            )
            for child in self._children
        ]
        for watch in self._watches:
            start_thread(watch)

    def call(self, name: str, number: int, *arguments: Any) -> ReplyFuture[Any]:
        """Have the process of a partition carry out a call; waits while it is started again.

        Raises:
            PartitionDown: it does not come back
            ClosedError: all is closed

        """
        child = self._of[number]
        if not child.runs.wait(PATIENCE) or child.link is None:
            raise PartitionDown(
                f"the process of partition {number} has died and does not come back; its log says "
                f"why"
            )
        if self._is_over.is_set():
            raise ClosedError("the runtime is closed")
        return child.link.call(name, number, *arguments)

    def refuse_down(self, number: int) -> None:
        """Refuse to wait for a process that has died and is not back.

        Raises:
            PartitionDown: it is so

        """
        if not self._of[number].runs.is_set():
            raise PartitionDown(f"the process of partition {number} has died, and is started again")

    @property
    def processes(self) -> dict[int, int]:
        """The process of each partition, by its id."""
        return {number: child.pid for number, child in self._of.items()}

    def _look_after(self, child: _Child) -> None:
        """Start a process again whenever it has died."""
        pause = FIRST_PAUSE
        while True:
            started = seconds()
            child.process.join()
            child.runs.clear()
            if self._is_over.is_set():
                return
            logger.error(
                "the process %s of partitions %s has ended with exit code %s, and is started again",
                child.pid,
                ", ".join(map(str, child.task.numbers)),
                child.process.exitcode,
            )
            pause = (
                FIRST_PAUSE if seconds() - started > LONG_ENOUGH else min(2 * pause, LONGEST_PAUSE)
            )
            while not self._is_over.wait(pause):
                child.start()
                try:
                    child.wait()
                    if self._is_over.is_set():
                        # It was asked to end before there was this process.
                        child.end()
                    break
                except StoreError:
                    logger.exception("a process that died could not be started again")
                    pause = min(2 * pause, LONGEST_PAUSE)

    def close(self, *, timeout: float | None) -> None:
        """End all, each when it has finished what it has in hand.

        Args:
            timeout: most seconds to wait for handlers; None for as long as they take

        """
        self._is_over.set()
        for child in self._children:
            child.end()
        for place, child in enumerate(self._children):
            child.join(timeout, self._watches[place] if self._watches else None)


class _Child:
    """One process."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.link: Link | None = None
        self.pid = 0
        self.runs = threading.Event()

    def start(self) -> None:
        """Start it; `wait` says when it runs."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=run, args=(self.task, theirs), name="procession-share", daemon=True
        )
        self.process.start()
        # So that this end is closed when the process is gone.
        theirs.close()

    def wait(self) -> None:
        """Return when it has opened its partitions.

        Raises:
            StoreError: it could not

        """
        try:
            said, why, self.pid = self._pipe.recv()
        except EOFError:
            self.process.join()
            said, why = "refused", f"it ended with exit code {self.process.exitcode}"
        if said != "runs":
            raise StoreError(f"the process of partitions {self.task.numbers} cannot run: {why}")
        self.link = Link(
            self._pipe, _refuse, f"the process of partitions {self.task.numbers}", self.runs.clear
        )
        self.link.start()
        self.runs.set()

    def end(self) -> None:
        """Ask it to end."""
        if self.pid and self.process.is_alive():
            with suppress(ProcessLookupError):
                self.process.terminate()

    def join(self, timeout: float | None, watch: threading.Thread | None) -> None:
        """Wait for its end; it is killed when it takes too long.

        Args:
            timeout: seconds, as for `close`
            watch: the thread that waits for the process already: of two that wait for one process,
                the system tells only one of its end

        """
        if not hasattr(self, "process"):
            return
        waits_for: threading.Thread | SpawnProcess = self.process if watch is None else watch
        waits_for.join(timeout if timeout is None else timeout + 5.0)
        if waits_for.is_alive():
            logger.critical(
                "the process %s did not end within %s seconds, and is killed: what it had in hand "
                "is taken up when the store is opened next",
                self.pid,
                timeout,
            )
            self.process.kill()
            waits_for.join()
        if self.link is not None:
            self.link.close()


def _refuse(name: str, arguments: tuple[Any, ...]) -> Any:
    del arguments
    raise PartitionDown(f"the parent carries out no calls, and was asked for {name}")
