"""Acts on many things: they go on by themselves, and browsers look how far they are."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from ..errors import UnknownMessage
from ..store.interrupts import start_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..control.plain import Plain

__all__ = ["Act", "Acts"]

MOST_RESULTS = 50
"""Rows of what was refused that are kept; all are counted."""

MOST_KEPT = 100
"""Acts that can be looked at, the newest."""


class Act:
    """One act on many things.

    Args:
        verdict: what is done
        by: who asked
        back: the path of the page that it was asked on
        total: how many things there are, if that is known
        rows: what comes of each; to go through them is to act

    Attributes:
        done: how many were done
        refused: how many were not
        why: the first rows of those
        error: what ended it before its end
        is_over: whether nothing more comes

    """

    def __init__(
        self, verdict: str, by: str, back: str, total: int | None, rows: Iterator[Plain]
    ) -> None:
        self.verdict = verdict
        self.by = by
        self.back = back
        self.total = total
        self.done = 0
        self.refused = 0
        self.why: list[Plain] = []
        self.error: Exception | None = None
        self._rows = rows
        self._ended = threading.Event()

    @property
    def is_over(self) -> bool:
        return self._ended.is_set()

    def wait(self, seconds: float) -> None:
        """Wait until it is over, or for so long."""
        self._ended.wait(seconds)

    def carry_out(self) -> None:
        """Do it."""
        try:
            for row in self._rows:
                if row.get("done", True):
                    self.done += 1
                    continue
                self.refused += 1
                if len(self.why) < MOST_RESULTS:
                    self.why.append(row)
        except Exception as error:  # noqa: BLE001 - the visitor is told
            self.error = error
        finally:
            self._ended.set()


class Acts:
    """The acts that were begun last, by their ids."""

    def __init__(self) -> None:
        self._acts: dict[str, Act] = {}

    def begin(self, act: Act) -> str:
        """Have an act carried out on a thread of its own; returns its id."""
        name = secrets.token_urlsafe(12)
        self._acts[name] = act
        if len(self._acts) > MOST_KEPT:
            self._acts.pop(next(iter(self._acts)), None)
        start_thread(threading.Thread(target=act.carry_out, name="procession-act", daemon=True))
        return name

    def called(self, name: str) -> Act:
        """The act with this id.

        Raises:
            UnknownMessage: there is none, or it is too long ago

        """
        act = self._acts.get(name)
        if act is None:
            raise UnknownMessage("this act is over, and what came of it is not kept any more")
        return act
