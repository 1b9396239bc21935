"""The journal: the one writer. It gathers steps, commits them together, then tells the actors.

Nothing that a step made is let out before its commit: `PendingWrite.committed` is where replies,
issued commands and events go on their way, and it runs after the data is on disk.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from ..store import ClosedError, Outcome, Step, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..store import EventRecord, Store

__all__ = ["Journal", "PendingWrite"]

logger = logging.getLogger("procession")

FIRST_RETRY = 0.05
LAST_RETRY = 1.0


class PendingWrite(Struct, gc=False):
    """A step on its way to disk, and what follows once it is there.

    Attributes:
        step: what is to be written
        then: called with the outcome once the transaction is durable, if anything is to follow

    """

    step: Step
    then: Callable[[Outcome], None] | None = None

    def committed(self, outcome: Outcome) -> None:
        """The transaction is durable; `outcome` says whether this step is part of it."""
        if self.then is not None:
            self.then(outcome)

    def failed(self, error: StoreError) -> bool:
        """The transaction failed as a whole, and the store is as before.

        Returns:
            whether the journal is to write the step again

        """
        del error
        return True


class Journal:
    """Commits the steps of all actors.

    Args:
        store: where to
        largest_commit: most steps in one transaction
        waits: whether it waits a while before it tries again what the disk refused
        wake: makes a worker call `flush` soon
        published: called after each commit with the events it holds, in order of position
        told: called after each commit, when all its steps have been answered
        checkpoints: returns the routers' positions, to be written along

    """

    def __init__(
        self,
        store: Store,
        *,
        largest_commit: int,
        waits: bool = True,
        wake: Callable[[], None],
        published: Callable[[list[EventRecord]], None],
        told: Callable[[], None],
        checkpoints: Callable[[], dict[str, int]],
    ) -> None:
        self._store = store
        self._largest_commit = largest_commit
        self._wake = wake
        self._published = published
        self._told = told
        self._checkpoints = checkpoints
        self._written_checkpoints: dict[str, int] = {}
        self.pending: deque[PendingWrite] = deque()
        """Steps to be committed. A worker may add to it; any other thread calls `add`."""
        self._wants_checkpoints = False
        self._flushing = threading.Lock()
        self._retry_after = 0.0
        self._may_retry = threading.Event()
        if not waits:
            self._may_retry.set()
        self._closing = False
        self._is_over = False
        # Guards the refusing of what comes when it is over, and says which thread is at it.
        self._refusing = threading.Lock()
        self._refuser = 0
        self.has_given_up = False
        self.commits = 0
        self.steps = 0

    def add(self, work: PendingWrite) -> None:
        """Queue one step; steps of one actor are committed in the order they were added."""
        self.pending.append(work)
        self._wake()
        # Looked at last, so that either `abandon` finds the step, or this finds it abandoned.
        if self._is_over:
            self.abandon()

    def add_all(self, works: Sequence[PendingWrite]) -> None:
        """Queue steps that came together; a commit may still fall between them."""
        self.pending.extend(works)
        self._wake()
        if self._is_over:
            self.abandon()

    def nudge_checkpoints(self) -> None:
        """Have the routers' positions written even if no step comes."""
        self._wants_checkpoints = True
        self._wake()

    @property
    def is_committing(self) -> bool:
        """Whether a commit is on its way, or its outcome is being told."""
        return self._flushing.locked()

    @property
    def has_work(self) -> bool:
        """Whether there is something to commit."""
        return bool(self.pending) or self._wants_checkpoints

    def is_full(self) -> bool:
        """Whether there is enough for the largest commit."""
        return len(self.pending) >= self._largest_commit

    def flush(self) -> bool:
        """Commit what is queued, once. Returns whether there was anything."""
        if not self.has_work:
            return False
        if self._is_over:
            self.abandon()
            return False
        with self._flushing:
            batch = self._next_batch()
            if not (batch or self._wants_checkpoints):
                return False
            self._wants_checkpoints = False
            if self._retry_after and not self._closing:
                # The disk refused; asking again at once would only burn the processor.
                self._may_retry.wait(self._retry_after)
            try:
                outcomes = self._commit(batch)
            except StoreError as error:
                self._fail(batch, error)
            except Exception as error:
                logger.critical("a commit failed with an error of our own", exc_info=error)
                self._fail(batch, StoreError(f"a commit failed: {error!r}"))
            else:
                self._tell(batch, outcomes)
            return True

    def write_checkpoints(self) -> None:
        """Commit the routers' positions by themselves; for when everything else is done."""
        with self._flushing:
            checkpoints = self._changed_checkpoints()
            if checkpoints:
                self._store.commit([], checkpoints)
                self._written_checkpoints.update(checkpoints)

    def hurry(self) -> None:
        """From now on, give up when the disk refuses, instead of waiting and trying again."""
        self._closing = True
        self._may_retry.set()

    def abandon(self) -> None:
        """Answer what is still queued, and all that comes from now on: nothing is written."""
        self._is_over = True
        me = threading.get_ident()
        if self._refuser == me:
            # What was just refused led to another step; the loop below finds it.
            return
        with self._refusing:
            self._refuser = me
            try:
                self._refuse_all()
            finally:
                self._refuser = 0

    def _refuse_all(self) -> None:
        error = ClosedError("the runtime was closed before this could be written")
        while self.pending:
            self.pending.popleft().failed(error)

    def _next_batch(self) -> list[PendingWrite]:
        pending = self.pending
        size = min(len(pending), self._largest_commit)
        return [pending.popleft() for _ in range(size)]

    def _changed_checkpoints(self) -> dict[str, int]:
        written = self._written_checkpoints
        return {
            router: position
            for router, position in self._checkpoints().items()
            if written.get(router) != position
        }

    def _commit(self, batch: list[PendingWrite]) -> list[Outcome]:
        checkpoints = self._changed_checkpoints()
        outcomes = self._store.commit([work.step for work in batch], checkpoints)
        self._retry_after = 0.0
        self._written_checkpoints.update(checkpoints)
        self.commits += 1
        self.steps += len(batch)
        return outcomes

    def _tell(self, batch: list[PendingWrite], outcomes: list[Outcome]) -> None:
        events: list[EventRecord] = []
        for work, outcome in zip(batch, outcomes, strict=True):
            append = work.step.append
            if append is not None and outcome.is_committed:
                events += append.events
        if events:
            self._published(events)
        for work, outcome in zip(batch, outcomes, strict=True):
            work.committed(outcome)
        self._told()

    def _fail(self, batch: list[PendingWrite], error: StoreError) -> None:
        self._retry_after = min(max(FIRST_RETRY, self._retry_after * 2), LAST_RETRY)
        # Steps behind the failed ones stand on them, so they fail too.
        while self.pending:
            batch.append(self.pending.popleft())
        self.has_given_up = self._closing
        self.pending.extend([work for work in batch if work.failed(error)])
        # The error knows the frames it came through, which know the batch, whose steps may know
        # the error: such a circle would stay for ever, since steps are not looked at by Python's
        # cycle collector.
        batch.clear()
