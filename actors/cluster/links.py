"""Calls between two processes through a pipe: either asks the other, and each answers in any order.

The pipe is one that the parent made for its child, so both are the same program of the same user.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..engine.pending_replies import PendingReplies, ReplyFuture
from ..errors import PartitionDown
from ..store.interrupts import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

__all__ = ["Link"]

THREADS = 64
"""Calls that one side carries out at once."""


class _Raised:
    """An error on its way: its class is made anew without its constructor, which may want more."""

    def __init__(self, error: BaseException) -> None:
        self._kind = type(error)
        self._arguments = error.args
        self._more = {name: value for name, value in vars(error).items() if name != "__notes__"}

    def made(self) -> BaseException:
        error = self._kind.__new__(self._kind)
        error.args = self._arguments
        vars(error).update(self._more)
        return error


class Link:
    """One end of a pipe.

    Args:
        pipe: the end
        handle: carries out a call of the other side: its name and its arguments
        other: what is at the other end, in words, for errors
        ended: called when the other side is gone

    """

    def __init__(
        self,
        pipe: Connection,
        handle: Callable[[str, tuple[Any, ...]], Any],
        other: str,
        ended: Callable[[], None],
    ) -> None:
        self._pipe = pipe
        self._handle = handle
        self._other = other
        self._ended = ended
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._replies = PendingReplies()
        self._waiting: dict[int, ReplyFuture[Any]] = {}
        self._is_over = False
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="procession-link")
        self._reader = threading.Thread(target=self._read, name="procession-link", daemon=True)

    def start(self) -> None:
        """Read from now on."""
        start_thread(self._reader)

    def call(self, name: str, *arguments: Any) -> ReplyFuture[Any]:
        """Have the other side do something; what it answers or raises is in the future."""
        future: ReplyFuture[Any] = ReplyFuture.within(self._replies)
        number = next(self._numbers)
        self._waiting[number] = future
        try:
            self._send(("call", number, name, arguments))
        except (OSError, ValueError):
            self._fail_all()
        # Looked at last, so that either the reader finds it, or this finds the reader gone.
        if self._is_over:
            self._fail_all()
        return future

    def _send(self, message: tuple[Any, ...]) -> None:
        with self._sending:
            self._pipe.send(message)

    def _read(self) -> None:
        try:
            while True:
                kind, number, *said = self._pipe.recv()
                if kind == "call":
                    self._threads.submit(self._carry_out, number, *said)
                else:
                    self._take_answer(number, *said)
        except (EOFError, OSError):
            pass
        finally:
            self._is_over = True
            self._fail_all()
            self._threads.shutdown(wait=False)
            self._ended()

    def _carry_out(self, number: int, name: str, arguments: tuple[Any, ...]) -> None:
        try:
            answer = ("answer", number, True, self._handle(name, arguments))
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
            answer = ("answer", number, False, _Raised(error))
        try:
            self._send(answer)
        except OSError:
            # The caller is gone.
            return
        except Exception as error:  # noqa: BLE001 - what cannot be sent is told, and why
            told = TypeError(f"{name}: the answer cannot be sent to another process: {error}")
            self._send(("answer", number, False, _Raised(told)))

    def _take_answer(self, number: int, is_value: bool, answer: Any) -> None:
        future = self._waiting.pop(number, None)
        if future is None:
            return
        if is_value:
            future.set(answer)
        else:
            error = answer.made()
            future.set_exception((type(error), error, None))

    def _fail_all(self) -> None:
        while self._waiting:
            try:
                _, future = self._waiting.popitem()
            except KeyError:
                return
            error = PartitionDown(
                f"{self._other} ended before it answered, and is started again: what was asked may "
                f"have been carried out or not; ask again, with the same id if it had one"
            )
            future.set_exception((PartitionDown, error, None))

    def close(self) -> None:
        """End it; what waits is told."""
        self._pipe.close()
