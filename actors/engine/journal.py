"""The journal: the one writer. Steps are handed over to it in order, and it commits them together.

What is handed over is in force at once for all that stands on it: events reach the routers, and
commands their aggregates, while they are on their way to disk together. What leaves the runtime
waits for the disk: `Waiting.durable` is where replies go on their way.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..clock import seconds
from ..core.decision import EMPTY
from ..store import (
    COMMITTED,
    ClosedError,
    Conflict,
    CorruptRecord,
    Outcome,
    Step,
    StoreError,
)
from .failure_log import Failure
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..errors import InfiniteLoopError
    from ..store import EventRecord, Store
    from .crossing import Sender
    from .failure_log import FailureLog
    from .pooled_actor import Scheduler

__all__ = ["PATIENCE_OF_MANY", "CommitFaults", "Intake", "Journal", "PendingWrite", "Waiting"]

FIRST_RETRY = 0.05
LAST_RETRY = 1.0

PATIENCE = 0.01
"""Seconds that a step may wait for its commit while a caller waits for the step."""

PATIENCE_OF_MANY = 0.05
"""The same for steps of a caller who hands over many at once."""

FEW_PARTITIONS = 8
"""With more of them the threads of a store's partitions wait for their turns that much longer, and
so may the steps of such a caller, who waits for all of them."""

LONGEST_PATIENCE = 0.5
"""What it comes to at most."""

LARGEST_SIZE = 1 << 23
"""Bytes of rows after which a commit closes."""

PAGE = 64
"""Writes from other threads that are handed over in one turn."""


class CommitFaults(Struct, frozen=True):
    """What the disk refused; another one stands in its place whenever that changes.

    Attributes:
        failing_since: when the first of the commits failed that failed in a row, up to now, in
            microseconds; None if the newest one succeeded
        in_a_row: how many these are
        count: how many failed since the journal was made
        last_error: what was said of the newest of them
        last_time: when that was, in microseconds

    """

    failing_since: int | None = None
    in_a_row: int = 0
    count: int = 0
    last_error: str = ""
    last_time: int = 0

    def with_one_more(self, error: StoreError, now: int) -> CommitFaults:
        """After another commit failed."""
        since = now if self.failing_since is None else self.failing_since
        return CommitFaults(since, self.in_a_row + 1, self.count + 1, str(error), now)


class CommitCounts(Struct):
    """What was committed since the journal was made.

    Attributes:
        commits: transactions
        steps: in these
        microseconds: that the disk took for them

    """

    commits: int = 0
    steps: int = 0
    microseconds: int = 0


class Waiting(Struct, gc=False):
    """What waits until what was handed over before it is durable."""

    def durable(self) -> None:
        """It is."""
        raise NotImplementedError

    def failed(self, error: StoreError) -> bool:
        """Nothing of the commit was kept.

        Returns:
            whether it is a write that is to be handed over again

        """
        raise NotImplementedError

    def hear(self, correlation_id: str, error: InfiniteLoopError) -> None:
        """A chain was stopped that began in the same commit; with the journal's lock held."""


class PendingWrite(Waiting, gc=False):
    """A step of no actor's, from any thread, and what follows it.

    Attributes:
        step: what is to be written
        then: called with the outcome once it is durable, if anything is to follow
        outcome: what handing over came to
        patience: seconds after which the commit closes at the latest

    """

    step: Step
    then: Callable[[Outcome], None] | None = None
    outcome: Outcome | None = None
    patience: float = PATIENCE

    def handed_over(self, outcome: Outcome) -> None:
        """It was laid into the open commit, or refused; called with the journal's lock held."""
        self.outcome = outcome

    def durable(self) -> None:
        """The commit is on disk."""
        if self.then is not None:
            assert self.outcome is not None
            self.then(self.outcome)

    def failed(self, error: StoreError) -> bool:
        """Nothing of the commit was kept; the journal is to write it again."""
        del error
        return True


class _Call(Waiting, gc=False):
    """Something to be done once all is durable, or gone."""

    call: Callable[[], None]

    def durable(self) -> None:
        self.call()

    def failed(self, error: StoreError) -> bool:
        del error
        self.call()
        return False


class Decided(Protocol):
    """What an actor decided."""

    @property
    def step(self) -> Step:
        """What is to be written."""
        ...


class Handing(Protocol):
    """An actor that hands over what it decided."""

    commit: int
    """The number of the commit that its newest step is in."""

    def settle(self, message: Any, decision: Any, outcome: Outcome) -> None:
        """What a step brings about in memory, in order; called with the journal's lock."""
        ...

    def spoilt(self, message: Any, error: StoreError) -> None:
        """The step came to an error of our own; a caller who waits is told."""
        ...


class Journal:
    """Takes the steps of all actors in order, and commits them.

    Args:
        store: where to
        dispatcher: gives what comes from other threads its turn, and has a worker call `flush`
        largest_commit: most steps in one transaction
        waits: whether it waits a while before it tries again what the disk refused, and closes a
            commit early when a caller waits
        failures: tells of commits that failed
        now: the time in microseconds since 1970, which an event has that is handed over
        published: called with events that were handed over, in order of position
        checkpoints: returns how far the routers and the feeds are
        durable: called after each commit, with the lock held, before those who wait are told
        start_over: called after a commit failed, with the lock held: all that is not durable is to
            be forgotten
        sender: of a divided store, turns what steps make for other partitions into what they send
        partitions: how many the store has

    """

    def __init__(
        self,
        store: Store,
        dispatcher: Scheduler,
        *,
        largest_commit: int,
        waits: bool = True,
        failures: FailureLog,
        now: Callable[[], int],
        published: Callable[[list[EventRecord]], None],
        checkpoints: Callable[[], dict[str, int]],
        durable: Callable[[], None],
        start_over: Callable[[], None],
        sender: Sender | None = None,
        partitions: int = 1,
    ) -> None:
        self._store = store
        self._sender = sender
        self._dispatcher = dispatcher
        self._largest_commit = largest_commit
        self._now = now
        self._published = published
        self._checkpoints = checkpoints
        self._durable = durable
        self._start_over = start_over
        self._written_checkpoints: dict[str, int] = {}
        self.lock = threading.Lock()
        """Held while a step is handed over, a commit closes, or what was handed over is read."""
        self.number = 1
        """Of the open commit."""
        self.generation = 0
        """Of what is in memory: what was decided in an older one may stand on what is gone."""
        self.done_up_to: dict[str, int] = {}
        """Positions up to which routers and feeds are done, durably."""
        self.has_notes = False
        """Whether something waits to be told that all is durable, besides those that wait."""
        self._waiting: list[Waiting] = []
        self._spoilt: list[tuple[StoreError, list[Waiting]]] = []
        # That of the step for which the open commit closes earliest; 0 if it closes early for none.
        self._patience = PATIENCE if waits else 0.0
        self._wants_checkpoints = False
        self._flushing = threading.Lock()
        self._failures = failures
        self._retry_after = 0.0
        self.faults = CommitFaults()
        """What the disk refused; any thread may look."""
        self._may_retry = threading.Event()
        if not waits:
            self._may_retry.set()
        self._closing = False
        self.is_over = False
        """Whether nothing is written any more."""
        self.intake = Intake(dispatcher, self, partitions)
        """Takes in what comes from other threads."""
        self.has_given_up = False
        self.counts = CommitCounts()

    # Handing over

    def hand_over(
        self, actor: Handing, message: object, decision: Decided, generation: int
    ) -> bool:
        """Put a step into the order of all steps.

        Args:
            actor: whose step it is; it stays awake until the step is durable, and its `settle` is
                called with the outcome and the lock held, so that what follows in memory is in the
                same order
            message: what it was about
            decision: what was decided
            generation: what it was decided in

        Returns:
            False if it stands on what is gone, and is to be decided again

        """
        step = decision.step
        lock = self.lock
        # A `with` takes twice as long.
        lock.acquire()
        try:
            if generation != self.generation or self.is_over:
                return False
            if step is EMPTY:
                self.has_notes = True
                actor.settle(message, decision, COMMITTED)
                return True
            outcome = self.lay(step)
            if outcome is not None:
                actor.commit = self.number
                actor.settle(message, decision, outcome)
                return True
            error = self._spoilt[-1][0]
        finally:
            lock.release()
        actor.spoilt(message, error)
        return False

    def lay(self, step: Step) -> Outcome | None:
        """Lay a step into the open commit; for a caller who holds the lock.

        Returns:
            None if an error of our own has spoilt the open commit, of which nothing is kept

        """
        append, store = step.append, self._store
        # Most steps of a chain are for this partition for sure.
        if self._sender is not None and (step.enqueue or step.extras is not None):
            self._sender.send_away(step)
        events = append.events if append is not None else None
        if events:
            # Not when it was made: what was due meanwhile looked at the log before it was there.
            now = self._now()
            for event in events:
                event.time = now
        try:
            outcome = store.hand_over(step)
        except Exception as error:  # noqa: BLE001 - no step is half in force
            refused = self._refused(error)
            if refused is None:
                return None
            outcome = refused
        if events and outcome is COMMITTED:
            self._published(events)
        ahead = store.ahead
        if ahead.steps >= self._largest_commit or ahead.size >= LARGEST_SIZE:
            self._dispatcher.is_commit_due = True
        return outcome

    def _refused(self, error: Exception) -> Outcome | None:
        """What an error comes to; None if it has spoilt the open commit."""
        if isinstance(error, CorruptRecord):
            # What the step expects cannot be read; looking has changed nothing.
            return Conflict(str(error))
        self._failures.tell_fault("a step failed with an error of our own", error)
        self._store.drop_commit()
        # Those who waited for what is dropped; what comes behind is in a commit of its own.
        self._spoilt.append((StoreError(f"a commit failed: {error!r}"), self._waiting))
        self._waiting = []
        self.generation += 1
        self.number += 1
        # It is told before more is tried, which may fail as well.
        self._dispatcher.is_commit_due = True
        if not self.is_over:
            self._start_over()
        return None

    def wait(self, waiting: Waiting, patience: float = PATIENCE) -> None:
        """Have something told when all that was handed over is durable; with the lock held.

        Args:
            waiting: is told
            patience: seconds after which the commit closes at the latest

        """
        self._waiting.append(waiting)
        by = self._dispatcher.commit_by
        if self._patience and (by is None or patience < self._patience):
            by = min(by or math.inf, seconds() + patience)
            self._dispatcher.commit_by, self._patience = by, patience

    def commits_first(self) -> bool:
        """Whether the open commit is to close before a part looks at more.

        A caller waits for it, and would wait for the look as well, which is a trip. Those who wait
        for their turns are to be in the same commit.
        """
        dispatcher = self._dispatcher
        if not self._store.is_remote or dispatcher.commit_by is None or self._patience > PATIENCE:
            return False
        dispatcher.is_commit_due = not dispatcher.urgent
        return True

    def wait_if_open(self, waiting: Waiting) -> None:
        """As `wait`, from any thread, if not all that was handed over is durable."""
        with self.lock:
            if self._store.ahead.steps:
                self.wait(waiting)

    def tell_asker(self, correlation_id: str, error: InfiniteLoopError) -> None:
        """A chain was stopped; who asked for its beginning in the same commit hears of it."""
        with self.lock:
            for one in self._waiting:
                one.hear(correlation_id, error)

    def call_when_durable(self, call: Callable[[], None]) -> None:
        """Have something done when all that was handed over is durable, or gone."""
        with self.lock:
            self._waiting.append(_Call(call))
        self._dispatcher.nudge()

    def add(self, work: PendingWrite) -> None:
        """Have a step written; any thread may call this. Those of one thread stay in order."""
        self.add_all([work])

    def add_all(self, works: Sequence[PendingWrite]) -> None:
        """As `add`, for steps that came together; a commit may still fall between them."""
        self.intake.works.extend(works)
        self._dispatcher.schedule_from_outside(self.intake)
        # Looked at last, so that either `abandon` finds the steps, or this finds it abandoned.
        if self.is_over:
            self._refuse_all()

    def take_in(self, works: Sequence[PendingWrite]) -> None:
        """Hand over what came from other threads."""
        with self.lock:
            is_over = self.is_over
            if self._store.is_remote and not is_over:
                # Where it fails, each step reads by itself, and its caller hears of what it meets,
                # whatever that is.
                with suppress(Exception):
                    self._store.ahead.gather_steps([work.step for work in works])
            for work in () if is_over else works:
                self.wait(work, work.patience)
                outcome = self.lay(work.step)
                if outcome is not None:
                    work.handed_over(outcome)
        for work in works if is_over else ():
            work.failed(_closed())

    def nudge_checkpoints(self) -> None:
        """Have the routers' positions written even if no step comes."""
        self._wants_checkpoints = True
        self._dispatcher.nudge()

    # Closing commits

    @property
    def is_committing(self) -> bool:
        """Whether a commit is on its way, or its outcome is being told."""
        return self._flushing.locked()

    @property
    def is_awaited(self) -> bool:
        """Whether something waits until all is durable that was handed over."""
        return bool(self._waiting)

    @property
    def has_work(self) -> bool:
        """Whether there is something to commit, or to tell that all is durable."""
        return bool(
            self._store.ahead.steps
            or self._waiting
            or self.has_notes
            or self._wants_checkpoints
            or self._spoilt
            or self._store.is_unsure
        )

    @property
    def is_nearly_due(self) -> bool:
        """Whether the open commit is to close before more chains are begun."""
        by = self._dispatcher.commit_by
        return self._store.ahead.steps * 4 >= self._largest_commit * 3 or (
            by is not None and seconds() >= by - self._patience / 2
        )

    def flush(self) -> bool:
        """Close the open commit. Returns whether there was anything to do."""
        if not self.has_work:
            return False
        with self._flushing:
            if self._retry_after and not self._closing:
                # The disk refused; asking again at once would only burn the processor.
                self._may_retry.wait(self._retry_after)
            with self.lock:
                if self.is_over:
                    return False
                waiting, self._waiting = self._waiting, []
                self._dispatcher.is_commit_due, self._dispatcher.commit_by = False, None
                spoilt, self._spoilt = self._spoilt, []
                error = self._close_commit()
                if self._was_abandoned():
                    # It was closed while the disk did not answer, and all who wait were told.
                    return False
                self.number += 1
                if error is None:
                    # With the lock, since what comes behind is in the next commit.
                    self._durable()
                else:
                    self.generation += 1
                    # Until it is known whether it is there, what is read of the two is mixed: an
                    # instance could look damaged, and what is decided meanwhile is dropped.
                    self._dispatcher.is_commit_due = self._store.is_unsure
                    self._start_over()
            for why, gone in spoilt:
                self._tell_failure(gone, why)
            if error is None:
                for one in waiting:
                    one.durable()
            else:
                self._tell_failure(waiting, error)
        return True

    def _was_abandoned(self) -> bool:
        """Whether nothing is written any more, which another thread decides meanwhile."""
        return self.is_over

    def _close_commit(self) -> StoreError | None:
        steps = self._store.ahead.steps
        self.has_notes = False
        try:
            done = self._checkpoints()
            # Until it is known what is there, nothing can go on from it.
            if steps or self._wants_checkpoints or self._store.is_unsure:
                self._commit(done)
        except StoreError as error:
            self.faults = self.faults.with_one_more(error, self._failures.now())
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, the journal goes on
            self._failures.tell_fault("a commit failed with an error of our own", error)
            self._store.drop_commit()
            return StoreError(f"a commit failed: {error!r}")
        self.done_up_to = done
        self.counts.steps += steps
        return None

    def _commit(self, done: Mapping[str, int]) -> None:
        written = self._written_checkpoints
        changed = {name: place for name, place in done.items() if written.get(name) != place}
        self._wants_checkpoints = False
        started = seconds()
        self._store.close_commit(changed)
        self.counts.microseconds += round((seconds() - started) * 1_000_000)
        self._retry_after = 0.0
        if self.faults.in_a_row:
            self.faults = replace(self.faults, failing_since=None, in_a_row=0)
        written.update(changed)
        self.counts.commits += 1

    def _tell_failure(self, waiting: list[Waiting], error: StoreError) -> None:
        self._retry_after = min(max(FIRST_RETRY, self._retry_after * 2), LAST_RETRY)
        self.has_given_up = self._closing
        if self.faults.in_a_row:
            self._tell_refused(error)
        again = [one for one in waiting if one.failed(error)]
        # The error knows the frames it came through, which know the list, whose steps may know the
        # error: such a circle would stay for ever, since steps are not looked at by Python's cycle
        # collector.
        waiting.clear()
        self.add_all([one for one in again if isinstance(one, PendingWrite)])

    def _tell_refused(self, error: StoreError) -> None:
        """Say in the log that the disk refused a commit, and when it is tried again."""
        failures = self._failures
        next_try = None
        if not self._closing:
            next_try = failures.now() + round(self._retry_after * 1_000_000)
        failure = Failure(
            error=error,
            handler="a commit",
            attempt=self.faults.in_a_row,
            outcome="failed" if next_try is None else "retried",
            next_try=next_try,
            # What the disk said; the store says nothing of what was to be written.
            text=str(error),
            level=logging.ERROR,
        )
        failures.tell(failure)

    # The end

    def write_checkpoints(self) -> None:
        """Commit the routers' positions by themselves; for when everything else is done."""
        with self._flushing, self.lock:
            done = self._checkpoints()
            if any(self._written_checkpoints.get(name) != place for name, place in done.items()):
                self._commit(done)

    def hurry(self) -> None:
        """From now on, give up when the disk refuses, instead of waiting and trying again."""
        self._closing = True
        self._may_retry.set()

    def abandon(self) -> None:
        """Answer what still waits, and all that comes from now on: nothing is written."""
        # What handlers that still run make is refused.
        self.is_over = True
        waiting: list[Waiting] = []
        # A commit that the disk never answers has the lock. What waits for it is in the hand of the
        # thread that closes it, and the callers are told by their replies.
        if self.lock.acquire(timeout=PATIENCE):
            waiting, self._waiting = self._waiting, []
            self.lock.release()
        error = _closed()
        for one in waiting:
            one.failed(error)
        self._refuse_all()

    def _refuse_all(self) -> None:
        works = self.intake.works
        while works:
            # Another thread may be at it as well.
            try:
                work = works.popleft()
            except IndexError:
                return
            work.failed(_closed())


class Intake(PooledActor):
    """Hands over what comes from other threads, in its turn.

    Args:
        dispatcher: gives it its turn
        journal: to which it hands over
        partitions: how many the store has

    """

    is_urgent = True
    is_part = True

    def __init__(self, dispatcher: Scheduler, journal: Journal, partitions: int) -> None:
        super().__init__(dispatcher)
        self._journal = journal
        # Not the journal's, since an object of more than thirty attributes is looked up in more
        # slowly, and every step does.
        self.patience_of_many = min(
            PATIENCE_OF_MANY * max(1.0, partitions / FEW_PARTITIONS), LONGEST_PATIENCE
        )
        """Seconds that a step may wait for its commit while a caller waits for many steps."""
        self.works: deque[PendingWrite] = deque()
        self._calls: deque[Callable[[], None]] = deque()

    def bring(self, call: Callable[[], None]) -> None:
        """Have something done in its turn, for a thread that may be interrupted anywhere."""
        self._calls.append(call)
        self.dispatcher.schedule_from_outside(self)

    def has_work(self) -> bool:
        """Whether there is something to take in."""
        return bool(self.works or self._calls)

    def work(self) -> None:
        """Hand over, a page at a time."""
        for _ in range(min(PAGE, len(self._calls))):
            self._calls.popleft()()
        size = min(PAGE, len(self.works))
        self._journal.take_in([self.works.popleft() for _ in range(size)])


def _closed() -> ClosedError:
    return ClosedError("the runtime was closed before this could be written")
