"""What this node and the others write to one another, in one thread that looks at the database."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine.pending_replies import PendingReplies, ReplyFuture
from ..store import StoreError
from ..store.interrupts import start_thread
from .outage import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..store.postgresql.calls import Calls
    from .answering import Answering
    from .call_format import CallFormat

__all__ = ["Correspondence"]

SHORTEST, WAITING, LONGEST = 0.000_5, 0.002, 0.02
"""Seconds between two looks: while there is something, while something is waited for, and else."""

AFTER_AN_ERROR = 0.1

SWEEP_EVERY = 3_000
"""Looks after which answers to nodes that are gone are cleared up."""


class _Asked(NamedTuple):
    part: int
    kind: str
    request: bytes
    finish: Callable[[Any], Any]
    future: ReplyFuture[Any]


class Correspondence:
    """Writes calls and answers, and looks for those of other nodes and for commits.

    Args:
        calls: the rows
        owned: the partitions that this node owns now
        others: the partitions that it does not own now
        answering: carries out what others ask
        moved: called with the partitions of others that have new commits
        form: reads answers

    """

    def __init__(
        self,
        calls: Calls,
        owned: Callable[[], Collection[int]],
        others: Callable[[], Collection[int]],
        answering: Answering,
        moved: Callable[[list[int]], None],
        form: CallFormat,
    ) -> None:
        self._calls = calls
        self._owned = owned
        self._others = others
        self._answering = answering
        self._moved = moved
        self._form = form
        self._seen: dict[int, bytes] = {}
        self._to_write: deque[_Asked] = deque()
        self._waiting: dict[int, _Asked] = {}
        self._replies = PendingReplies()
        self._wake = threading.Event()
        self._is_over = False
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="procession-answers")
        self._outage = Outage("the calls of other nodes cannot be looked at")
        self._thread = threading.Thread(target=self._keep, name="procession-calls", daemon=True)

    def start(self) -> None:
        """Begin."""
        start_thread(self._thread)

    def call(
        self, part: int, kind: str, request: bytes, finish: Callable[[Any], Any]
    ) -> ReplyFuture[Any]:
        """Have the owner of a partition carry out a call.

        Args:
            part: which partition
            kind: what for
            request: with what
            finish: makes what the caller gets of what was answered

        """
        future: ReplyFuture[Any] = ReplyFuture.within(self._replies)
        self._to_write.append(_Asked(part, kind, request, finish, future))
        self._wake.set()
        return future

    def wake(self) -> None:
        """There is something to write."""
        self._wake.set()

    def _keep(self) -> None:
        pause, count = SHORTEST, 0
        while not self._is_over:
            self._wake.wait(pause)
            self._wake.clear()
            count += 1
            try:
                has_moved = self._turn()
                if not count % SWEEP_EVERY:
                    self._calls.sweep()
            except StoreError as error:
                self._outage.failed(error)
                pause = AFTER_AN_ERROR
                continue
            self._outage.went_well()
            longest = WAITING if self._waiting else LONGEST
            pause = SHORTEST if has_moved else min(2 * pause, longest)

    def _turn(self) -> bool:
        """Write and look once; whether there was anything."""
        answers = self._answering.take_answers()
        if answers:
            self._calls.answer(answers)
            self._answering.forget(answers)
        asked = list(self._to_write)
        if asked:
            # If its answer is lost, they are written again, and carried out once.
            ids = self._calls.write([(one.part, one.kind, one.request) for one in asked])
            for number, one in zip(ids, asked, strict=True):
                self._to_write.popleft()
                self._waiting[number] = one
        # What this node commits itself it knows.
        seen = self._calls.see(self._owned(), self._others(), self._answering.known, self._waiting)
        for call in seen.calls:
            self._answering.take(call)
        moved = [part for part, commit in seen.commits.items() if self._seen.get(part) != commit]
        for part in moved:
            self._seen[part] = seen.commits[part]
        if moved:
            self._moved(moved)
        for number, answer in seen.answers.items():
            self._threads.submit(self._finish, self._waiting.pop(number), answer)
        if seen.answers:
            self._calls.drop(seen.answers)
        return bool(asked or answers or seen.calls or seen.answers or moved)

    def _finish(self, one: _Asked, raw: bytes) -> None:
        try:
            value, error = self._form.answer_from(raw)
            if error is None:
                one.future.set(one.finish(value))
                return
        except Exception as failure:  # noqa: BLE001 - it is raised where the caller waits
            error = failure
        one.future.set_exception((type(error), error, None))

    def close(self) -> None:
        """End it; who waits is told."""
        self._is_over = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._threads.shutdown()
        self._replies.close()
