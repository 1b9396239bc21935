"""What goes wrong inside a simulated process, and what may be brought to it once more."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from ...store import FailingDisk, StoreError, StoreFull
from .reached import Reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from .deviations import Deviations
    from .reached import HandlerId
    from .run_log import RunLog

__all__ = [
    "Crash",
    "Faults",
    "InjectedFailingDisk",
    "InjectedFailure",
    "InjectedStoreError",
    "InjectedStoreFull",
    "RuntimeBroke",
]

RECENT = 8
"""How many of the things that were brought last may be brought again."""


class InjectedFailure(Exception):
    """A handler failed because the simulation had it fail."""


class Crash(BaseException):
    """The simulated process is gone. No handler can catch it as an error of its own.

    Args:
        faults: of what was in the middle of a commit

    """

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults


class InjectedStoreError(StoreError):
    """A commit failed because the simulation had it fail."""


class InjectedFailingDisk(InjectedStoreError, FailingDisk):
    """The disk failed because the simulation had it fail."""


class InjectedStoreFull(InjectedStoreError, StoreFull):
    """The disk was full because the simulation had it be."""


class RuntimeBroke(BaseException):
    """The runtime itself failed, not what runs on it."""


class Faults:
    """Tells the simulated parts which of their accidents happens now.

    Args:
        deviations: from the ordinary run
        log: of the run

    Attributes:
        reached: what the run reached
        has_failed: whether a handler was made to fail, and may have been parked for it
        let_others: gives another actor its turn, or closes a commit, by a number that chooses

    """

    def __init__(self, deviations: Deviations, log: RunLog) -> None:
        self.deviations = deviations
        self._log = log
        self.note: Callable[..., None] = log.note
        self.reached = Reached(log)
        self.has_failed = False
        self._whole = self
        self.let_others: Callable[[int], None] = _nothing
        self._recent: dict[str, deque[tuple[str, Callable[[], None]]]] = {}

    def of(self, who: str) -> Faults:
        """The faults of one of several parts, which all have the same deviations and coverage.

        Args:
            who: stands before what the run log says of it

        """
        made = Faults(self.deviations, self._log)
        made.note = partial(_note_of, self._log, who)
        made.reached = self.reached.beside()
        made._whole = self
        return made

    def accident(self, *kinds: str) -> str:
        """The accident of one of these kinds that is to happen now, or nothing."""
        deviation = self.deviations.take(*kinds)
        return "" if deviation is None else deviation.name

    def handler_accident(self, handler: HandlerId) -> str:
        """How a handler that is about to run fails, or nothing."""
        accident = self.accident("fails_before", "fails_after")
        self.reached.ran(handler, accident)
        self._whole.has_failed = self._whole.has_failed or bool(accident)
        return accident

    def overtake(self) -> None:
        """Let others run while a handler has returned and its step is not handed over yet.

        This is what happens when a handler blocks its thread, and another thread takes over.
        """
        deviation = self.deviations.take("overtake")
        if deviation is not None:
            self.note("another thread takes over meanwhile", True)
            self.let_others(deviation.which)

    def brought(self, kind: str, what: str, again: Callable[[], None]) -> None:
        """Note what can be brought again by a deviation of that kind, and how."""
        self._recent.setdefault(kind, deque(maxlen=RECENT)).append((what, again))

    def bring_again(self) -> bool:
        """Have an actor given again what it was given of late, if a deviation says so."""
        for kind in ("repeat_event", "repeat_command"):
            recent = self._recent.get(kind)
            if recent and (one := self.deviations.take(kind)) is not None:
                what, again = recent[-1 - one.which % len(recent)]
                self.note(f"{what} is brought again")
                again()
                return True
        return False

    def forget(self) -> None:
        """Drop what cannot be brought again, since the process that it was brought to is gone."""
        self._recent.clear()


def _nothing(which: int) -> None:
    del which


def _note_of(log: RunLog, who: str, text: str, is_detail: bool = False) -> None:
    log.note(f"{who}: {text}", is_detail)
