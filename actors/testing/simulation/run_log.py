"""What happened in a simulated run: one line for each turn, with the simulated time."""

from __future__ import annotations

from collections import UserList
from typing import TYPE_CHECKING, NamedTuple

from .wording import elapsed

if TYPE_CHECKING:
    from .simulated_clock import SimulatedClock

__all__ = ["Line", "RunLog", "Trace"]


class Line(NamedTuple):
    """One turn.

    `after` is the time since the start of the run in microseconds; `is_detail` says that it only
    moved something within the runtime.
    """

    turn: int
    after: int
    text: str
    is_detail: bool

    def __str__(self) -> str:
        return f"{self.turn:>4}  {elapsed(self.after)}  {self.text}"


class Trace(UserList[Line]):
    """The turns of one run. As text, it leaves out the turns that only moved something within."""

    @property
    def essential(self) -> Trace:
        """Without the turns that only moved something within."""
        return Trace(line for line in self if not line.is_detail)

    def __str__(self) -> str:
        return "\n".join(map(str, self.essential))


class RunLog:
    """Counts the turns of one run, and writes down what the parts of the simulation tell."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.turn = 0
        self.trace = Trace()
        self._clock = clock

    def note(self, text: str, is_detail: bool = False) -> None:
        """Add a line about the turn in hand."""
        self.trace.append(Line(self.turn, self._clock.elapsed, text, is_detail))
