"""What the runtime raises. The base, `ProcessionError`, and all about the disk are in `store`."""

from __future__ import annotations

import pykka

from store import ProcessionError

__all__ = [
    "DefinitionError",
    "InvalidMessage",
    "Rejected",
    "TimedOut",
    "UnknownMessage",
    "WaitingInHandler",
]


class Rejected(ProcessionError):
    """A command is refused: raise it in an aggregate's handler.

    Args:
        reason: why, in words for whoever sent the command

    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class DefinitionError(ProcessionError, TypeError):
    """A class cannot work as it is written: which one, where in it, and the mend."""


class InvalidMessage(ProcessionError, ValueError):
    """An event, a command or a state does not fit its annotations; nothing was stored."""


class UnknownMessage(ProcessionError, LookupError):
    """Nothing registered takes this command, or knows this event or class."""


class TimedOut(ProcessionError, pykka.Timeout, TimeoutError):
    """The time given to `ask` or `settle` ran out. What was accepted goes on all the same."""


class WaitingInHandler(ProcessionError, RuntimeError):
    """A handler called something that waits, which would hold up every other instance."""
