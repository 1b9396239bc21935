"""A process that reads the rows of the store again and again, and what it finds."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ..store import ClosedError, DamagedStore, ReaderProcess, StoreError, StoreFinding
from ..store.interrupts import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["ScrubReport", "Scrubber"]

MOST_FINDINGS = 100
"""Findings that are kept of one pass."""

PATIENCE = 1.0
"""Seconds to wait for its end; a process that waits for a disk ends when the disk answers."""


class ScrubReport(NamedTuple):
    """What a scrub has come to.

    Attributes:
        passed_at: when all rows had been looked at the last time, in microseconds; None before
        rows: how many these were
        findings: of the last pass and the one in hand, at most a hundred of each
        stopped: why it goes on no more; None while it does

    """

    passed_at: int | None = None
    rows: int = 0
    findings: tuple[StoreFinding, ...] = ()
    stopped: StoreError | None = None


class Scrubber:
    """Has a process of its own look at some rows a second.

    Args:
        path: the store's folder
        rows_a_second: at most
        now: tells the time in microseconds

    """

    def __init__(self, path: Path, rows_a_second: int, now: Callable[[], int]) -> None:
        # Replaced whole, so that a thread that reads it needs no lock.
        self.report = ScrubReport()
        self._path = path
        self._rows_a_second = rows_a_second
        self._now = now
        self._last: dict[StoreFinding, None] = {}
        self._met: dict[StoreFinding, None] = {}
        self._is_closed = False
        self._process: ReaderProcess | None = None
        self._thread: threading.Thread | None = None

    def start(self, changed: Callable[[], object]) -> None:
        """Begin; what has changed is told by a thread of its own.

        Raises:
            StoreError: no process could be started
            NoThread: no thread could be started

        """
        process = ReaderProcess(self._path, "scrub", rows_a_second=self._rows_a_second)
        thread = threading.Thread(
            target=self._listen, args=(process, changed), name="procession-scrub", daemon=True
        )
        try:
            start_thread(thread)
        except BaseException:
            process.end()
            raise
        self._process, self._thread = process, thread

    def end(self) -> None:
        """Have it end, and wait for nothing."""
        self._is_closed = True
        if self._process is not None:
            self._process.kill()

    def wait(self) -> None:
        """Wait until it has ended, a second at most: until then it has the store open."""
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _listen(self, process: ReaderProcess, changed: Callable[[], object]) -> None:
        with process:
            try:
                for message in process.messages():
                    if self._learn(message):
                        self._tell(changed)
            except StoreError as error:
                self._stop(error, changed)
            else:
                self._stop(StoreError("the process that scrubs the store has ended"), changed)

    def _learn(self, message: dict[str, Any]) -> bool:
        """Take in what the process said; returns whether it is to be told at once."""
        known = len(self._findings())
        if "passed" in message:
            self._last, self._met = self._met, {}
            self.report = ScrubReport(self._now(), message["passed"], self._findings())
            return len(self._last) != known
        if len(self._met) < MOST_FINDINGS:
            self._met[StoreFinding(*message["finding"])] = None
            self.report = self.report._replace(findings=self._findings())
        return not known

    def _findings(self) -> tuple[StoreFinding, ...]:
        return tuple({**self._last, **self._met})

    def _stop(self, error: StoreError, changed: Callable[[], object]) -> None:
        if self._is_closed:
            return
        if isinstance(error, DamagedStore):
            self._met[StoreFinding("store", "", str(error))] = None
        self.report = self.report._replace(findings=self._findings(), stopped=error)
        self._tell(changed)

    @staticmethod
    def _tell(changed: Callable[[], object]) -> None:
        # The runtime may be closed at this moment.
        with suppress(ClosedError):
            changed()
