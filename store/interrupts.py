"""Waiting, and working, so that an interrupt leaves no lock taken.

A signal lands in the main thread, between any two instructions: its handler runs there, and the one
of Ctrl-C raises. A lock that Python code takes by hand, as `Condition`, `Event` and `queue.Queue`
do, then stays taken now and then, and the next thread that wants it waits for ever. What is safe:

- a `with` block on a lock of `threading` itself, whose taking and giving back are one instruction;
- `Latch`, which leaves nothing but a lock that no other thread waits for;
- another thread, where no signal lands: `uninterrupted`.
"""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from .errors import NoThread

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bell", "Latch", "Sleeper", "apart", "start_thread", "uninterrupted"]

T = TypeVar("T")

NAP = 0.5
"""Seconds that the main thread sleeps at most before it looks for signals."""


class Sleeper(Protocol):
    """What is let go when a latch opens: the lock of a thread, or what wakes an event loop."""

    def release(self) -> None:
        """Let it go on; on the thread that opens the latch."""
        ...


class Latch:
    """Shut until it is opened, once and for all; any thread may wait for it."""

    __slots__ = ("_sleepers", "is_open")

    def __init__(self) -> None:
        self.is_open = False
        self._sleepers: list[Sleeper] = []

    def open(self) -> None:
        """Let all go on who wait, and who will."""
        # Set first: a thread that is not among the sleepers yet looks at it when it is.
        self.is_open = True
        sleepers = self._sleepers
        while sleepers:
            try:
                sleeper = sleepers.pop()
            except IndexError:
                # Another thread opens it as well.
                return
            sleeper.release()

    def call(self, sleeper: Sleeper) -> None:
        """Have something let go when it is open, or at once if it is."""
        self._sleepers.append(sleeper)
        if self.is_open:
            self.open()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is open.

        Args:
            timeout: most seconds, or None for as long as it takes

        Returns:
            whether it is open

        """
        if self.is_open:
            return True
        # Each waits for a lock of its own, which it never gives back.
        mine = threading.Lock()
        mine.acquire()
        self._sleepers.append(mine)
        left = threading.TIMEOUT_MAX if timeout is None else timeout
        is_main = threading.get_ident() == threading.main_thread().ident
        while left > 0 and not self.is_open:
            # A signal that comes right before a thread sleeps does not wake it, and its handler
            # waits until the thread does.
            nap = min(left, NAP if is_main else threading.TIMEOUT_MAX)
            left -= nap
            if mine.acquire(timeout=nap):
                break
        return self.is_open


class Bell:
    """A condition that threads may ring which may be interrupted; those who wait must not be.

    All of it is called with the lock held. `threading.Condition` forgets a waiter when it has woken
    it: an interrupt between the two leaves one that takes the next call for itself.

    Args:
        lock: what is waited for changes with it held only

    """

    def __init__(self, lock: threading.Lock) -> None:
        self.lock = lock
        self._sleepers: list[threading.Lock] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock until it is rung; returns whether it was, and in time."""
        mine = threading.Lock()
        mine.acquire()
        self._sleepers.append(mine)
        self.lock.release()
        try:
            return mine.acquire(timeout=-1 if timeout is None else timeout)
        finally:
            self.lock.acquire()
            self._sleepers.remove(mine)

    def notify(self) -> None:
        """Wake one of those who sleep."""
        for sleeper in self._sleepers:
            # One that was woken before is on its way, and looks at everything anew.
            if sleeper.locked():
                sleeper.release()
                return

    def notify_all(self) -> None:
        """Wake all who sleep."""
        for sleeper in self._sleepers:
            if sleeper.locked():
                sleeper.release()


def start_thread(thread: threading.Thread) -> None:
    """Start a thread; not from one that may be interrupted, which waits for an `Event` meanwhile.

    Raises:
        NoThread: the operating system starts none

    """
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThread(
            f"{thread.name} could not be started: {error}. Let this user, or this container, have "
            f"more threads (ulimit -u, pids.max), or have this process use fewer"
        ) from error


class _Errand(Generic[T]):
    """A call that another thread makes for the main thread."""

    def __init__(self, call: Callable[[], T], undo: Callable[[T], object] | None) -> None:
        self._call = call
        self._undo = undo
        self._ended = Latch()
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._is_given_up = False

    def run(self) -> None:
        if self._was_given_up():
            return
        try:
            self._results.append(self._call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
            self._error = error
        self._ended.open()
        if self._was_given_up():
            self.undo()

    def _was_given_up(self) -> bool:
        """Whether it was by now, which another thread decides."""
        return self._is_given_up

    def wait(self, timeout: float | None) -> T:
        if not self._ended.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._results[0]

    def give_up(self) -> None:
        """The caller was interrupted, and does not get the result."""
        # Both threads set what they know before they look at what the other one knows.
        self._is_given_up = True
        if self._ended.is_open:
            self.undo()

    def undo(self) -> None:
        undo = self._undo
        while undo is not None and self._results:
            try:
                result = self._results.pop()
            except IndexError:
                # The other thread has it.
                return
            undo(result)


def uninterrupted(
    call: Callable[[], T],
    name: str,
    *,
    undo: Callable[[T], object] | None = None,
    timeout: float | None = None,
) -> T:
    """Do what takes more than a `with` block on a thread where no signal lands.

    An interrupt ends the waiting for it, and not the call, which comes to its end by itself.

    Args:
        call: what to do; made at once if this thread is not the main one
        name: of the thread
        undo: is given the result if the caller was interrupted and does not get it
        timeout: most seconds to wait on the main thread, or None for as long as it takes

    Returns:
        what the call returned

    Raises:
        TimeoutError: time ran out; the call goes on
        BaseException: what the call raised

    """
    if threading.get_ident() != threading.main_thread().ident:
        return call()
    return apart(call, name, undo=undo, timeout=timeout)


def apart(
    call: Callable[[], T],
    name: str,
    *,
    undo: Callable[[T], object] | None = None,
    timeout: float | None = None,
) -> T:
    """As `uninterrupted`, on another thread in any case, so that `timeout` holds in any case."""
    errand = _Errand(call, undo)

    def start() -> None:
        # Here, and not in the caller's thread: starting waits for an `Event`, and an interrupt
        # is lost in what Python calls when a `Thread` goes away.
        try:
            threading.Thread(target=errand.run, name=name, daemon=True).start()
        except RuntimeError:
            errand.run()

    try:
        try:
            _thread.start_new_thread(start, ())
        except RuntimeError:
            # There is no other thread to be had.
            errand.run()
        return errand.wait(timeout)
    except BaseException:
        errand.give_up()
        raise
