"""A lock for the memory map: many read, or one changes it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RWLock"]


class RWLock:
    """Lets many read, or one change the map; LMDB forbids both at once in a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._changing = threading.Lock()
        self._readers = 0
        self._closed = False
        self._awaited = 0
        self.is_over = False

    def enter(self) -> None:
        # The bare lock: its condition costs three times as much, and is rarely needed.
        with self._lock:
            while self._closed:
                self._condition.wait()
            self._readers += 1

    def leave(self) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers and (self._closed or self._awaited):
                self._condition.notify_all()

    def wait_until_free(self) -> None:
        """Wait until no thread reads, keeping none from it."""
        with self._condition:
            self._awaited += 1
            try:
                while self._readers:
                    self._condition.wait()
            finally:
                self._awaited -= 1

    @contextlib.contextmanager
    def alone_at_once(self) -> Iterator[bool]:
        """As `alone`, if no thread reads now; says whether that is so."""
        with self._changing:
            with self._condition:
                self._closed = is_alone = not self._readers
            try:
                yield is_alone
            finally:
                with self._condition:
                    self._closed = False
                    self._condition.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changing:
            with self._condition:
                self._closed = True
                while self._readers:
                    self._condition.wait()
            try:
                yield
            finally:
                with self._condition:
                    self._closed = False
                    self._condition.notify_all()
