"""What a failed attempt leaves in the log: a line with fields, and nothing of what was handled.

The text of an error may quote a payload, and so may its notes and whatever it was raised from. So a
line says the error's type and its place in the code; the text is in what is parked, and in what
`on_error` is given.
"""

from __future__ import annotations

import logging
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..clock import from_micros
from ..errors import place_of_error, type_of_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Kind: TypeAlias = tuple[str, str, str]

__all__ = ["Failure", "FailureLog"]

logger = logging.getLogger("procession")

INTERVAL = 1_000_000
"""Microseconds between two lines of one kind, at least."""

KINDS = 1_024
"""Kinds that are kept in mind, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt that failed.

    Attributes:
        error: what was raised
        handler: the name of what raised it, as people know it
        event: the id of what was handled
        process: the process manager's name; for a command, the aggregate's category
        instance: its id
        attempt: 1 for the first
        outcome: what becomes of it: ``"parked"``, ``"retried"``, ``"skipped"`` or ``"failed"``
        next_try: when it is tried again, in microseconds; None if it is not
        text: what may be said of the error besides its type and place, by who knows that it holds
            nothing of what was handled
        level: of the line

    """

    error: BaseException
    handler: str
    event: str = ""
    process: str = ""
    instance: str = ""
    attempt: int = 1
    outcome: str = "parked"
    next_try: int | None = None
    text: str = ""
    level: int = logging.WARNING


class FailureLog:
    """Writes the lines: at most one a second of each kind, which says how many were left out.

    A kind is a process manager, a handler and a type of error. Any thread may call it.

    Args:
        now: tells the time, in microseconds

    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self._lock = threading.Lock()
        # By kind: when its last line was written, and how many were left out since.
        self._kinds: dict[Kind, tuple[int, int]] = {}

    def tell(self, failure: Failure) -> None:
        """An attempt failed."""
        error = failure.error
        kind = failure.process, failure.handler, type_of_error(error)
        left_out = self._may_write(kind)
        if left_out is None:
            return
        place = place_of_error(error)
        next_try = None if failure.next_try is None else from_micros(failure.next_try).isoformat()
        fields = {
            "process_manager": failure.process,
            "instance": failure.instance,
            "event": failure.event,
            "attempt": failure.attempt,
            "error": kind[2],
            "next_try": next_try,
            "handler": failure.handler,
            "place": place,
            "outcome": failure.outcome,
            "left_out": left_out,
        }
        owner = f"{failure.process} {failure.instance!r}: " if failure.process else ""
        event = f" at {failure.event}" if failure.event else ""
        then = f"{failure.outcome}, next try {next_try}" if next_try else failure.outcome
        logger.log(
            failure.level,
            "%s%s failed%s, attempt %d: %s%s, raised at %s; %s%s",
            owner,
            failure.handler,
            event,
            failure.attempt,
            kind[2],
            f" ({failure.text})" if failure.text else "",
            place,
            then,
            _besides(left_out),
            extra=fields,
        )

    def tell_fault(self, what: str, error: BaseException) -> None:
        """Something failed that is no handler: a fault of the runtime's own, or of the store.

        Args:
            what: did so, in words
            error: what was raised; the lines of code that it came through are told

        """
        kind = "", what, type_of_error(error)
        left_out = self._may_write(kind)
        if left_out is None:
            return
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.critical(
            "%s: %s, raised at %s%s\n%s",
            what,
            kind[2],
            place_of_error(error),
            _besides(left_out),
            frames,
            extra={"error": kind[2], "place": place_of_error(error), "left_out": left_out},
        )

    def close(self) -> None:
        """Say what was left out and not told of yet."""
        with self._lock:
            kinds, self._kinds = self._kinds, {}
        for (process, handler, error), (_, left_out) in kinds.items():
            if left_out:
                logger.warning(
                    "%s%s failed with %s%s",
                    f"{process}: " if process else "",
                    handler,
                    error,
                    _besides(left_out),
                    extra={
                        "process_manager": process,
                        "handler": handler,
                        "error": error,
                        "left_out": left_out,
                    },
                )

    def _may_write(self, kind: Kind) -> int | None:
        """How many of a kind were left out before this one; None if this one is as well."""
        now = self.now()
        with self._lock:
            before = self._kinds.pop(kind, None)
            if before is None:
                if len(self._kinds) >= KINDS:
                    # The one of which the last line is the oldest.
                    del self._kinds[next(iter(self._kinds))]
                self._kinds[kind] = now, 0
                return 0
            last, left_out = before
            # A clock that was set back must not silence it.
            if last <= now < last + INTERVAL:
                self._kinds[kind] = last, left_out + 1
                return None
            self._kinds[kind] = now, 0
            return left_out


def _besides(left_out: int) -> str:
    return f" ({left_out} more like it were left out)" if left_out else ""
