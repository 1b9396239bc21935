"""Many actors on few threads.

Pykka's own actors have a thread each: 2,800 can be started a second. Here an actor is an inbox
that stands in a run queue while it holds messages, and a worker thread gives each its turn.

One worker leads: it takes turns from the queue and, when the queue is empty, calls `on_idle`,
which is where the journal commits. Python runs one thread at a time anyway, and a second busy one
makes every call into LMDB slower (thirty times, measured), since each offers the interpreter to
the other thread. Only when the leader is held up by a handler that blocks does another worker take
over the lead; the first one goes back to the bench when its handler returns.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ..clock import seconds
from ..store import NoThread
from ..store.interrupts import Bell, Latch, start_thread
from .leader_watch import LeaderWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .event_loops import EventLoops
    from .pooled_actor import PooledActor

__all__ = ["Dispatcher"]

logger = logging.getLogger("procession")

SPARE = 16
"""Threads for each worker asked for, when those are all blocked in handlers."""


_threads = threading.local()
"""Says of a thread whether it gives actors their turns, whichever runtime's they are."""


class Dispatcher:
    """Worker threads and the run queue.

    Args:
        workers: threads that may be in a handler at once. When all of these are blocked, up to
            `SPARE` times as many help out; with 1 there is never a second thread
        on_idle: called by the leader when the run queue is empty; returns whether it did anything
        on_error: called with the actor and the exception when a turn raises, which no user's
            code should be able to cause
        has_more: whether `on_idle` has something to do, so that it is called even while the
            leader is blocked and no actor waits for its turn
        watch: sees whether the leader is blocked, of other dispatchers too; one of its own if it
            is not given

    """

    def __init__(
        self,
        workers: int,
        on_idle: Callable[[], bool],
        on_error: Callable[[PooledActor, BaseException], None],
        has_more: Callable[[], bool] = bool,
        watch: LeaderWatch | None = None,
    ) -> None:
        self.lock = threading.Lock()
        self._on_idle = on_idle
        self.is_commit_due = False
        """Whether `on_idle` is to be called although actors wait for their turns."""
        self.commit_by: float | None = None
        """When it is to be called at the latest, by `seconds`."""
        self._on_error = on_error
        self._has_more = has_more
        self.ready: deque[PooledActor] = deque()
        # Those for whose turn a caller waits. They go before every second one of the others.
        self.urgent: deque[PooledActor] = deque()
        # Those that other threads bring; they are put into the run queue by the leader.
        self._outside: deque[PooledActor] = deque()
        # Callers take its bare lock, since a `with` block on that is safe from interrupts.
        self._bell = Bell(threading.Lock())
        # Of those who wait until something holds, which is looked at with the lock held.
        self._latches: set[Latch] = set()
        self._leader: int | None = None
        self.turns = 0
        # Whose turn it is, or was last.
        self._in_turn: PooledActor | None = None
        self._leads = 0
        self._watch = watch or LeaderWatch()
        self._busy = 0
        self._busy_outside: set[object] = set()
        self._benched = 0
        self.work_waits = False
        self._is_idling = False
        self._stopping = False
        self._nobody_waits = False
        self._is_abandoned = False
        self._most = workers if workers == 1 else workers * SPARE
        self._threads: list[threading.Thread] = []
        self._alive: set[threading.Thread] = set()
        self._handling = threading.local()

    # For actors

    def schedule(self, actor: PooledActor) -> None:
        """Put an actor at the end of the run queue, unless it stands there already."""
        with self.lock:
            self.schedule_locked(actor)
        if self._leader is None:
            self._call()

    def schedule_locked(self, actor: PooledActor, *, is_urgent: bool = False) -> None:
        """As `schedule`, for a caller who holds `lock` and calls `nudge` when it has let go.

        Args:
            actor: that has something to do
            is_urgent: whether a caller waits for it

        """
        if not actor.scheduled:
            actor.scheduled = True
            (self.urgent if is_urgent or actor.is_urgent else self.ready).append(actor)
            self.work_waits = True

    def schedule_from_outside(self, actor: PooledActor) -> None:
        """As `schedule`, for a thread that may be interrupted anywhere."""
        self._outside.append(actor)
        self.nudge()

    def nudge(self) -> None:
        """Make sure that some worker looks at the run queue and calls `on_idle`."""
        self.work_waits = True
        if self._leader is None:
            self._call()

    def _call(self) -> None:
        """Wake a thread for the lead."""
        with self._bell.lock:
            self._bell.notify()

    @property
    def is_worker(self) -> bool:
        """Whether the calling thread is one of the workers, and must therefore not wait."""
        return getattr(self._handling, "worker", False)

    # For the runtime

    @staticmethod
    def is_any_worker() -> bool:
        """Whether the calling thread is a worker of some runtime, and so in a handler of it."""
        return getattr(_threads, "is_worker", False)

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Count the calling thread as one that is in a handler, as long as the block lasts."""
        self._handling.worker = _threads.is_worker = True
        try:
            yield
        finally:
            self._handling.worker = _threads.is_worker = False

    def start(self) -> None:
        """Start the first thread; more come when it is blocked.

        Raises:
            NoThread: the operating system starts none

        """
        with self._bell.lock:
            self._add_thread()
        if self._most > 1:
            self._watch.join(self)

    def note_outside(self, who: object, *, is_busy: bool) -> None:
        """Note whether other threads, whose work may come to actors, are doing something."""
        with self._bell.lock:
            if is_busy:
                self._busy_outside.add(who)
            else:
                self._busy_outside.discard(who)
            self._note_quiet()

    def wait_quiet(self, timeout: float | None) -> bool:
        """Wait until the run queue is empty and no thread is doing anything.

        Args:
            timeout: seconds, or None for as long as it takes

        Returns:
            whether it became quiet in time

        """
        self._wait_until(self._may_go_on, timeout)
        with self._bell.lock:
            return self._is_quiet()

    async def wait_quiet_in_loop(self, loops: EventLoops, timeout: float | None) -> bool:
        """As `wait_quiet`, in a coroutine."""
        end = None if timeout is None else seconds() + timeout
        for latch in self._looks(self._may_go_on):
            if not await loops.opened(latch, None if end is None else end - seconds()):
                break
        with self._bell.lock:
            return self._is_quiet()

    def _may_go_on(self) -> bool:
        return self._nobody_waits or self._is_quiet()

    def send_away(self) -> None:
        """Have `wait_quiet` return at once from now on; for those who wait while it is closed."""
        with self._bell.lock:
            self._nobody_waits = True
            self._tell_waiting()

    def drain(self, timeout: float | None) -> bool:
        """As `wait_quiet`, for the thread that closes the engine."""
        return self._wait_until(self._is_quiet, timeout)

    def stop(self, timeout: float | None = None) -> list[threading.Thread]:
        """End the threads after the turns in hand. Messages left in inboxes are not handled.

        Args:
            timeout: most seconds to wait for the turns in hand, or None for as long as it takes

        Returns:
            the threads whose turns are not over; each ends when its turn is

        """
        with self._bell.lock:
            self._stopping = True
            self._bell.notify_all()
        self._watch.leave(self)
        self._wait_until(lambda: not self._alive, timeout)
        with self._bell.lock:
            late = [thread for thread in self._threads if thread in self._alive]
            self._is_abandoned = bool(late)
        for thread in self._threads:
            if thread not in late:
                thread.join()
        return late

    def _wait_until(self, holds: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until something holds that is looked at with the lock held; whether it came to."""
        end = None if timeout is None else seconds() + timeout
        for latch in self._looks(holds):
            if not latch.wait(None if end is None else end - seconds()):
                with self._bell.lock:
                    return holds()
        return True

    def _looks(self, holds: Callable[[], bool]) -> Iterator[Latch]:
        """Look whether something holds, with the lock held, each time that it may; until it does.

        Yields:
            what opens when it may

        """
        while True:
            latch = Latch()
            self._latches.add(latch)
            try:
                with self._bell.lock:
                    if holds():
                        return
                    if self._leader is None and not self._stopping:
                        # A thread that brought something may have been interrupted before it
                        # called.
                        self._bell.notify()
                yield latch
            finally:
                self._latches.discard(latch)

    def _tell_waiting(self) -> None:
        """Have those look again who wait until something holds; called with the lock held."""
        for latch in tuple(self._latches):
            latch.open()

    @property
    def _has_turns(self) -> bool:
        """Whether an actor waits for its turn."""
        return bool(self.ready or self.urgent or self._outside)

    def _is_quiet(self) -> bool:
        return not (self.work_waits or self._has_turns or self._busy or self._busy_outside)

    # The workers

    def _add_thread(self) -> None:
        thread = threading.Thread(
            target=self._work, name=f"procession-worker-{len(self._threads)}", daemon=True
        )
        # It waits for the lock that the caller holds.
        start_thread(thread)
        self._threads.append(thread)
        self._alive.add(thread)
        self._benched += 1

    def _add_help(self) -> None:
        """Add a thread while others are blocked; without it, what waits goes on when they do."""
        try:
            self._add_thread()
        except NoThread:
            logger.exception("no more threads help out while handlers block")
            self._most = len(self._threads)

    def _work(self) -> None:
        self._handling.worker = _threads.is_worker = True
        me = threading.get_ident()
        try:
            while self._sit_on_bench(me):
                try:
                    self._lead(me)
                except BaseException:
                    # The engine must not be left with a leader that has ended, and wait for ever.
                    logger.critical("a worker met an error of our own, and goes on", exc_info=True)
                    self._hand_back(me)
        finally:
            if self._is_abandoned:
                # No caller waits for this thread any more; what its turn left is refused.
                self._on_idle()
            with self._bell.lock:
                self._alive.discard(threading.current_thread())
                self._tell_waiting()

    def _sit_on_bench(self, me: int) -> bool:
        """Wait until this thread has the lead; False when it is time to end."""
        with self._bell.lock:
            while not (self._stopping or (self._leader is None and self.work_waits)):
                self._bell.wait()
            if self._stopping:
                return False
            self._benched -= 1
            self._leader = me
            self._leads += 1
            self._busy += 1
        self._watch.wake()
        return True

    # For the watch

    @property
    def progress(self) -> int:
        """Another number as soon as the leader, or its turn, is another."""
        return self._leads + self.turns

    @property
    def is_led(self) -> bool:
        """Whether a thread has the lead."""
        return self._leader is not None

    @property
    def is_held_up(self) -> bool:
        """Whether something waits while the leader is in a turn."""
        return (self._has_turns or self._has_more()) and not self._is_idling

    @property
    def is_in_part(self) -> bool:
        """Whether the turn is that of a part of the engine."""
        return self._in_turn is not None and self._in_turn.is_part

    def relieve(self, progress: int) -> bool:
        """Have another thread take the lead, unless there is progress by now, or no thread."""
        with self._bell.lock:
            if self._leader is None or self._stopping or self.progress != progress:
                return False
            if not self._benched and len(self._threads) < self._most:
                self._add_help()
            if not self._benched:
                return False
            self._leader = None
            self.work_waits = True
            self._bell.notify()
            return True

    # The leader

    def _lead(self, me: int) -> None:
        """Give actors their turns for as long as this thread has the lead."""
        ready, urgent, outside = self.ready, self.urgent, self._outside
        while self._leader == me and not self._stopping:
            self.work_waits = False
            if outside:
                self._let_in()
            # Read once: a thread that led before this one may be closing the commit.
            by = self.commit_by
            if self.is_commit_due or (by is not None and seconds() >= by):
                self._idle()
            try:
                if urgent and (self.turns % 2 or not ready):
                    actor = urgent.popleft()
                else:
                    actor = ready.popleft()
            except IndexError:
                if self._idle() or ready or urgent or outside:
                    continue
                if self._leave(me):
                    return
                continue
            self._in_turn = actor
            self.turns += 1
            try:
                actor.take_turn()
            except BaseException as error:  # noqa: BLE001 - a worker outlives any actor
                self._on_error(actor, error)
        self._hand_back(me)

    def _hand_back(self, me: int) -> None:
        """Go back to the bench, and have another thread look at what there is to do."""
        with self._bell.lock:
            self._busy -= 1
            self._benched += 1
            if self._leader == me:
                self._leader = None
            # A turn that outlasted its thread's lead may have left something to commit.
            self.work_waits = True
            self._bell.notify()

    def _let_in(self) -> None:
        """Put into the run queue what other threads brought."""
        # Another thread that leads as well, for a moment, takes some of them.
        with self.lock, suppress(IndexError):
            while True:
                self.schedule_locked(self._outside.popleft())

    def _idle(self) -> bool:
        # A commit is progress, however long it takes: with a second thread running beside it, it
        # would take many times as long.
        self._is_idling = True
        try:
            return self._on_idle()
        finally:
            self._is_idling = False

    def _leave(self, me: int) -> bool:
        """Give up the lead, unless work came in meanwhile."""
        with self._bell.lock:
            if self._leader == me:
                self._leader = None
                # Looked at after the lead is given up: `nudge` sets it before it reads the lead,
                # so one of the two always sees the other.
                if self.work_waits and not self._stopping:
                    self._leader = me
                    return False
            self._busy -= 1
            self._benched += 1
            self._note_quiet()
            return True

    def _note_quiet(self) -> None:
        if self._is_quiet():
            self._tell_waiting()
