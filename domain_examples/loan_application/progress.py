"""Telling how far the program is: a line that changes on a terminal, one a second elsewhere."""

from __future__ import annotations

import sys
from time import monotonic

__all__ = ["Progress"]

EVERY = 1.0
"""Seconds between two lines where they cannot be overwritten."""

BACK_TO_START, CLEAR_TO_END = "\r", "\x1b[K"


class Progress:
    """Writes to stderr, so that stdout has the figures and nothing else."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._is_line_open = False
        self._next = 0.0

    def show(self, text: str) -> None:
        """Say how far it is, unless that was said just now. The first time always shows."""
        if self._is_terminal:
            print(f"{BACK_TO_START}{text}{CLEAR_TO_END}", end="", file=sys.stderr, flush=True)
            self._is_line_open = True
        elif monotonic() >= self._next:
            self._next = monotonic() + EVERY
            self.say(text)

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if self._is_line_open:
            print(file=sys.stderr)
            self._is_line_open = False
        print(text, file=sys.stderr, flush=True)
