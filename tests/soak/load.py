"""The work of the soak: who orders, who reads, who decides about what was parked, who backs up."""

import itertools
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from procession import Rejected, Runtime
from procession.store import StoreFinding
from tests.soak.measuring import Held
from tests.soak.reader import look
from tests.soak.shop import Handling, Place, Sent, mended, soaked

HERE = Path(__file__).parent

PATIENCE = 120
CUSTOMERS = 2
TOGETHER = 40
BETWEEN_BACKUPS = 40
"""Pauses."""


class Load:
    """Everything that goes on at once, until it is stopped.

    Args:
        folder: for the store and its backups
        pause: seconds that customers wait between rounds, so that it is an hour's work and not
            a day's
        retention: seconds that what is complete, and ids, are kept; None for ever

    """

    def __init__(self, folder: Path, pause: float, retention: float | None = None) -> None:
        self.path = folder / "store"
        self.errors: list[str] = []
        self.orders = self.backups = self.looks = self.decisions = self.refusals = 0
        self._folder = folder
        self._pause = pause
        self._ends = threading.Event()
        self.runtime = Runtime(
            self.path,
            soaked,
            workers=2,
            max_awake=200,
            idle_timeout=timedelta(milliseconds=50),
            max_in_flight=128,
        )
        self._meeting = threading.Barrier(CUSTOMERS, action=self._settle)
        self._threads = [
            *(threading.Thread(target=self._guarded, args=(self._order, n)) for n in (1, 2)),
            threading.Thread(target=self._guarded, args=(self._decide, 0)),
            threading.Thread(target=self._guarded, args=(self._look, 0)),
            threading.Thread(target=self._guarded, args=(self._back_up, 0)),
        ]
        if retention is not None:
            self._kept = timedelta(seconds=retention)
            self._threads.append(threading.Thread(target=self._guarded, args=(self._prune, 0)))
        for thread in self._threads:
            thread.start()
        self._reader = subprocess.Popen(
            [sys.executable, str(HERE / "reader.py"), str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def reader_holds(self) -> Held:
        """What the reader in the other process holds."""
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        self._reader.stdin.write("\n")
        self._reader.stdin.flush()
        return Held(*json.loads(self._reader.stdout.readline()))

    def stop(self) -> list[StoreFinding]:
        """End all work, and check the store."""
        self._ends.set()
        for thread in self._threads:
            thread.join()
        self._reader.communicate()
        if self._reader.returncode:
            self.errors.append(f"the reader ended with {self._reader.returncode}")
        try:
            self.runtime.settle(PATIENCE)
            return self.runtime.verify()
        finally:
            self.runtime.close()

    def _guarded(self, work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except threading.BrokenBarrierError:
            pass
        except Exception as error:  # noqa: BLE001 - it is told in the end
            self.errors.append(f"{work.__name__}: {error!r}")
            self._meeting.abort()

    def _settle(self) -> None:
        self.runtime.settle(PATIENCE)

    def _order(self, customer: int) -> None:
        numbers = itertools.count()

        def order() -> Place:
            number = next(numbers)
            return Place(f"o{customer}-{number}", number)

        while True:
            first = order()
            self.runtime.ask(first)
            try:
                self.runtime.ask(first)
            except Rejected:
                self.refusals += 1
            second = order()
            for _ in range(2):
                self.runtime.tell(second, command_id=second.order_id)
            self.runtime.tell_many([order() for _ in range(TOGETHER)])
            self.runtime.publish(Sent("nobody"), stream="soaked::elsewhere-1")
            self.orders += TOGETHER + 2
            self._ends.wait(self._pause)
            # Nobody gets ahead of the work, and everybody ends after the same round.
            self._meeting.wait()
            if self._ends.is_set():
                self._meeting.abort()
                return

    def _decide(self, _: int) -> None:
        """The operator: retries one, skips the next."""
        while not self._ends.wait(self._pause):
            for parked in self.runtime.parked():
                self.decisions += 1
                if parked.id % 2:
                    mended.add(parked.instance)
                    self.runtime.retry(parked.id, by="soak")
                    self.runtime.settle(PATIENCE)
                    mended.discard(parked.instance)
                else:
                    self.runtime.skip(parked.id, by="soak")

    def _look(self, _: int) -> None:
        """A reader beside the writer, in its own process."""
        while not self._ends.wait(self._pause):
            look(self.path, self.looks)
            for view in itertools.islice(self.runtime.find(Handling, suspended=True), 5):
                assert view.status
            self.looks += 1

    def _prune(self, _: int) -> None:
        while not self._ends.wait(BETWEEN_BACKUPS * self._pause):
            moment = self.runtime.clock.now() - self._kept
            self.runtime.prune(before=moment, ids_before=moment)

    def _back_up(self, _: int) -> None:
        while not self._ends.wait(BETWEEN_BACKUPS * self._pause):
            target = self._folder / "backup"
            self.runtime.backup(target)
            shutil.rmtree(target)
            self.backups += 1
