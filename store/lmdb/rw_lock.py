"""A lock for the memory map: many read, or one changes it; those who read take no lock of others.

A reader has a lock of its own, its token, which is known here and held while the reader reads. The
thread that changes the map shuts the entrance, then takes the token of each reader, which is to
wait for that reader. So a reader can be interrupted anywhere: the `with` block gives its token
back. And a signal handler may read while the thread that it interrupts reads: if it waits at the
entrance for a change that waits for its own thread, the change gives way.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from ..interrupts import Latch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RWLock"]

PATIENCE = 0.02
"""Seconds that a change keeps the entrance shut while it waits for one who reads."""

PAUSE = 0.005
"""Seconds that the entrance is open between two such attempts."""


class RWLock:
    """Lets many read, or one change the map; LMDB forbids both at once in a process.

    Who reads does it in this way, and begins anew if it is not let in::

        token = lock.token()
        with token:
            if lock.lets_in(token):
                ...
        lock.leave(token)
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._entrance = threading.Lock()
        self._tokens: set[threading.Lock] = set()
        self._is_shut = False
        self.waits_until_free = False
        """Whether a thread waits until no other one reads."""
        self.is_over = False

    # For those who read

    def token(self) -> threading.Lock:
        """A lock to be held while one reads."""
        token = threading.Lock()
        self._tokens.add(token)
        return token

    def lets_in(self, token: threading.Lock) -> bool:
        """Whether one may read who holds that token now."""
        return not self._is_shut and token in self._tokens

    def leave(self, token: threading.Lock) -> None:
        """Forget a token; that of an interrupted reader is forgotten with the next change."""
        self._tokens.discard(token)

    def wait_at_entrance(self) -> None:
        """Wait until the change is over, or gives way."""
        with self._entrance:
            pass

    # For those who change it

    def wait_until_free(self) -> None:
        """Wait until no thread reads, keeping none from it."""
        self.waits_until_free = True
        for token in tuple(self._tokens):
            with token:
                pass
        self.waits_until_free = False

    @contextlib.contextmanager
    def alone_at_once(self) -> Iterator[bool]:
        """As `alone`, if no thread reads now; says whether that is so."""
        with self._changing:
            held = self._shut(0)
            try:
                yield held is not None
            finally:
                if held is not None:
                    self._open(held)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changing:
            while (held := self._shut(PATIENCE)) is None:
                Latch().wait(PAUSE)
            try:
                yield
            finally:
                self._open(held)

    def _shut(self, patience: float) -> list[threading.Lock] | None:
        """Shut the entrance, and take the tokens of all; None if a reader did not end in time."""
        held: list[threading.Lock] = []
        self._entrance.acquire()
        # First: a reader that holds a token, and sees this not yet, is known here.
        self._is_shut = True
        for token in tuple(self._tokens):
            if not token.acquire(timeout=patience):
                self._open(held)
                return None
            held.append(token)
        self._tokens.difference_update(held)
        return held

    def _open(self, held: list[threading.Lock]) -> None:
        self._is_shut = False
        self._entrance.release()
        for token in held:
            token.release()
