"""A projection's events: read from the log behind the journal, written into tables in batches.

What fails is set aside by stream, in the same rows as what fails in an instance: the projection
stands for the process manager, and the stream for the instance. So retries, parking, decisions of
operators and recovery are the same. Rows that set something aside are durable before a checkpoint
goes past it, and an event that is taken up later is noted in the tables' own database.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from ..authoring.context import Context
from ..authoring.documents import Documents
from ..authoring.projection import Projection
from ..authoring.projection_database import Checkpoint, Tables
from ..clock import from_micros
from ..core.decision import Decision
from ..core.failures import is_final, parked_at_stream
from ..core.ports import UNREADABLE
from ..core.process_state import ProcessState
from ..core.stimuli import RetryDue
from ..errors import DefinitionError, StreamHeldUp
from ..store import (
    Block,
    ClosedError,
    CorruptRecord,
    DocumentChanges,
    Step,
    StepExtras,
    StoreError,
    TimerRecord,
    erased_at,
)
from .ahead_reads import event_at
from .document_connection import DocumentConnection
from .failure_log import Failure
from .instance_watches import InstanceWatch
from .journal import PendingWrite
from .pending_replies import ReplyFuture
from .projection_checkpoint import PREFIX, StoreConnection
from .recent_documents import RecentDocuments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..authoring.decorators import Handler
    from ..authoring.projection_database import Connection
    from ..model.plans import ProjectionPlan
    from ..store import EventRecord, Outcome
    from .instance_actor import InstanceMessage
    from .services import Services
    from .timers import TimerService

__all__ = ["BATCH", "ProjectionFeed", "ahead_of", "handle"]

BATCH = 256
"""Events that are written in one transaction, at most."""

STRIDE = 10_000
"""Events without a handler that may pass before the position is written for their sake."""

RECENT = 4 << 20
"""Bytes of documents that are known from one batch to the next, of a database elsewhere."""

FIRST_WAIT = 100_000
LAST_WAIT = 10_000_000
"""Microseconds before a database that failed is tried again: at first, and at most."""


class ProjectionFeed:
    """Writes one projection; one thread at a time calls `work`.

    Args:
        plan: of the projection
        services: of the engine
        timers: brings retries when they are due
        call: has `work` called, if there is any; any thread may call it
        has_moved: told when the tables are further, or the database fails or does no more
        renew: makes the tables anew that another version of the class made; None if an operator is
            to have that done

    """

    def __init__(
        self,
        plan: ProjectionPlan,
        services: Services,
        timers: TimerService,
        call: Callable[[], None],
        has_moved: Callable[[], None],
        renew: Callable[[], object] | None,
    ) -> None:
        self.plan = plan
        self.definition = plan.definition
        self.name = plan.name
        self._services = services
        self._store = services.store
        self._timers = timers
        self._call = call
        self._has_moved = has_moved
        self._renew = renew
        partition = services.store.partition
        self.tables = Tables(plan.name, 0 if partition is None else partition.number)
        secret = services.store.secret()
        self.store_id = hashlib.blake2b(secret, digest_size=16, person=b"projection").hexdigest()
        self.lock = threading.Lock()
        """Held by who writes the tables that are read, or puts others into their place."""
        self.lock_beside = threading.Lock()
        """Held by who writes what is being made beside these; taken behind `lock`."""
        self.position = services.store.checkpoint(f"{PREFIX}{plan.name}")
        """Up to which the log is in the tables, as far as is known."""
        self.end = services.store.last_position()
        """Up to which the log is durable."""
        self.is_closed = False
        self.is_outdated = False
        """Whether the tables were made by another version of the class, and are to be made anew."""
        self.failing_since: int | None = None
        """Since when its database fails, in microseconds; None if it does not."""
        self.last_error = ""
        self.again_at: int | None = None
        """When a database that fails is tried again."""
        self._waits = FIRST_WAIT
        self._connection: Connection | None = None
        # Of documents that nothing writes but batches and, with `lock` held, erasing.
        self._recent = RecentDocuments(RECENT if services.store.is_remote else 0)
        # Whether the database has said how far the tables are.
        self._is_known = False
        self._checkpoint = Checkpoint(self.store_id, self.definition.version, 1, 0)
        # What is in documents that are on their way to disk.
        self._coming: int | None = None
        self._is_careful = False
        # Streams of which something is set aside, with the first position of that.
        self._held: dict[str, int] | None = None
        # Positions that are noted in the database.
        self._done: set[int] = set()
        self._inbox: deque[tuple[str, InstanceMessage | None]] = deque()
        # Steps that were given to the journal, and those that are durable.
        self._written = self._durable = 0
        self._watches: set[InstanceWatch] = set()
        self.counts = {"projected": 0, "retries": 0, "parked": 0}

    # From other threads

    @property
    def backlog(self) -> int:
        """Events of the log that are not in the tables."""
        return max(0, self.end - self.position)

    @property
    def trouble(self) -> str:
        """Why it does not go on, as people read it; empty if it does."""
        if self.is_outdated:
            return "its tables are of another version"
        if self.failing_since is None:
            return ""
        since = from_micros(self.failing_since).isoformat()
        return f"its database fails since {since}: {self.last_error}"

    def take(self, stream: str, message: InstanceMessage) -> None:
        """Have a stream looked at of which something is set aside."""
        self._inbox.append((stream, message))
        self._call()

    def has_work(self) -> bool:
        """Whether there is something to do now."""
        if self.is_closed or self._written != self._durable:
            return False
        if self.again_at is not None and self._services.now() < self.again_at:
            return False
        if not self._is_known:
            return True
        if self._coming is not None:
            return True
        if self.is_outdated:
            return self._renew is not None
        return bool(self._inbox) or self.position < self.end

    @contextmanager
    def watching(self) -> Iterator[InstanceWatch]:
        """Be told of each step ahead, for as long as the block lasts."""
        watch, replies = InstanceWatch(), self._services.replies
        try:
            self._watches.add(watch)
            replies.add(watch)
            yield watch
        finally:
            replies.remove(watch)
            self._watches.discard(watch)

    def has(self, position: int) -> bool:
        """Whether the event at a position is in the tables, with all before it.

        Raises:
            StreamHeldUp: what is parked in its stream holds it up

        """
        if self.is_outdated or self.position < position:
            return False
        event = self._store.event_at(position)
        if event is None or not (self._is_for_us(event) and self._holds(event.stream)):
            return True
        block, waiting = self._store.read_waiting(self.name, event.stream, position - 1, 1)
        if block is None:
            block = self._store.block_of(self.name, event.stream)
        is_held = position in waiting or (block is not None and block.position == position)
        if is_held and block is not None and block.kind == "parked":
            raise StreamHeldUp(self.name, event.stream, position, block.parked)
        return not is_held

    # For who makes the tables anew

    @property
    def partition(self) -> int | None:
        """Of a divided store, the partition whose log it reads."""
        return None if self._store.partition is None else self._store.partition.number

    @property
    def beside(self) -> Tables:
        """Which tables are being made beside those that are read."""
        return Tables(self.tables.projection, self.tables.part, is_beside=True)

    def now(self) -> int:
        """The time, in microseconds."""
        return self._services.now()

    def last_position(self) -> int:
        """Up to which the log is durable."""
        return self._store.last_position()

    def is_to_write(self, record: EventRecord) -> bool:
        """Whether an event belongs into the tables: one that an operator skipped does not."""
        if record.type == UNREADABLE or not self._is_for_us(record):
            return False
        store = self._store
        if not store.may_set_aside():
            return True
        return not store.is_passed_over(self.name, record.stream, record.position)

    def streams_held(self) -> list[str]:
        """The streams of which something is set aside."""
        return list(self._store.scan_held(self.name))

    def positions_set_aside(self) -> Iterator[int]:
        """The positions of what is set aside in all streams."""
        for stream in self.streams_held():
            yield from self._set_aside_in(stream)

    def _set_aside_in(self, stream: str) -> Iterator[int]:
        block = self._store.block_of(self.name, stream)
        if block is not None:
            yield block.position
        yield from self._store.scan_waiting(self.name, stream)

    def wait_until_durable(self) -> None:
        """Wait until all is on disk that sets events aside.

        Raises:
            ClosedError: the runtime was closed meanwhile

        """
        with self.watching() as watch:
            while True:
                latch = watch.renewed()
                if self._written == self._durable:
                    return
                latch.wait()

    def wait_until_taken_up(self) -> None:
        """Wait until all that came to be looked at was; not if the database fails meanwhile.

        Raises:
            ClosedError: the runtime was closed meanwhile

        """
        with self.watching() as watch:
            while True:
                latch = watch.renewed()
                is_over = self._is_known and not self._inbox and self._written == self._durable
                if is_over or self.failing_since is not None or self.is_closed:
                    return
                latch.wait()

    def begin_anew(self, by: str | None) -> None:
        """Go on with other tables, in which all is that was set aside; with `lock` held.

        Args:
            by: who had them made; recorded with what was parked

        """
        self._let_go()
        self._is_known = False
        for stream in self.streams_held():
            block = self._store.block_of(self.name, stream)
            if block is not None:
                extras = StepExtras(unblock=True)
                if block.kind == "parked":
                    extras.unpark, extras.decision = block.parked, ("retry", self.now(), by)
                else:
                    extras.due = TimerRecord(block.due, self.name, stream, "retry", "retry")
                step = Step(process=self.name, instance=stream, wait=block.position, extras=extras)
                self._write(stream, [step], None, is_over=False)
            # It is found to be in the tables.
            self._inbox.append((stream, None))
        self._call()

    def _holds(self, stream: str) -> bool:
        return self._held is None or stream in self._held

    def erase(
        self, kind: Literal["instance", "stream", "subject"], process: str, name: str
    ) -> None:
        """Have the class take out of its tables what was erased; any thread may call this.

        Raises:
            Exception: what the database said

        """
        cls = self.definition.cls
        if cls.erase is Projection.erase:
            return
        # A batch that was read before is written by then.
        with self.lock, self.lock_beside:
            while self.definition.documents is not None and self._written != self._durable:
                self.write_at_once(Step())
            self._recent.clear()
            connection = self.connect()
            try:
                connection.make()
                # Without a checkpoint there are no tables yet.
                for tables in (self.tables, self.beside):
                    found = connection.checkpoint(tables)
                    if found is not None:
                        suffix = f"__{found.generation}" if tables.is_beside else ""
                        self.definition.made(connection.handle, suffix).erase(kind, process, name)
                connection.commit()
            except BaseException:
                with suppress(Exception):
                    connection.roll_back()
                raise
            finally:
                connection.close()

    # One thing at a time

    def work(self) -> None:
        """Do one thing: take up a stream that was set aside, or a batch of the log."""
        try:
            if self._is_known and self.is_outdated and self._renew is not None:
                self.again_at = None
                self._renew()
            with self.lock:
                self._work()
        except Exception as error:  # noqa: BLE001 - what is no handler's is the database's
            self._let_go()
            if not self.is_closed and not isinstance(error, ClosedError):
                self._fail(error)
        except BaseException:
            self._let_go()
            raise

    def _work(self) -> None:
        if self._coming is not None:
            position, self._coming = self._coming, None
            self._move(position)
        connection = self._connected()
        if self._written != self._durable:
            # That there are documents is on its way to disk.
            return
        if not self.is_outdated and self._has_come():
            if self._take_up(connection, *self._inbox[0]):
                self._inbox.popleft()
        elif self.position < self.end and not self.is_outdated:
            self._take_batch(connection)
        if self.failing_since is not None:
            self.failing_since, self._waits = None, FIRST_WAIT
            self._has_moved()
        self._open_watches()

    def _has_come(self) -> bool:
        """Whether the first in the inbox is a stream of which all is written up to what waits.

        Otherwise what waits would overtake what comes before it in the log.
        """
        inbox, held = self._inbox, self._held or {}
        for _ in range(len(inbox)):
            if held.get(inbox[0][0], 0) <= self.position:
                return True
            inbox.rotate(-1)
        return False

    def _fail(self, error: Exception) -> None:
        now = self._services.now()
        self.again_at, self._waits = now + self._waits, min(LAST_WAIT, self._waits * 2)
        self.last_error = f"{type(error).__name__}: {error}"
        if self.failing_since is None:
            self.failing_since = now
        failure = Failure(
            error=error,
            handler="its database",
            process=self.name,
            outcome="retried",
            next_try=self.again_at,
        )
        self._services.failures.tell(failure)
        self._has_moved()
        self._open_watches()

    def _connected(self) -> Connection:
        """The connection; another one after the database has failed."""
        self.again_at = None
        if self._held is None:
            self._held = {stream: min(self._set_aside_in(stream)) for stream in self.streams_held()}
        if self._connection is None:
            connection = self._connect(self._write_documents, self._recent)
            self._connection = connection
            connection.make()
            found = connection.checkpoint(self.tables)
            if found is None:
                version = self.definition.version
                found = Checkpoint(self.store_id, version, 1, 0)
                connection.set_checkpoint(self.tables, found)
                self.definition.made(connection.handle, "").create()
            self._done = connection.positions_done(self.tables)
            connection.commit()
            self.adopt(found)
        return self._connection

    def connect(self) -> Connection:
        """Open another connection to the database, whose commits are durable when they return."""
        return self._connect(
            lambda changes: self.write_at_once(Step(extras=StepExtras(documents=changes))),
            RecentDocuments(0),
        )

    def _connect(
        self, write: Callable[[DocumentChanges], None], recent: RecentDocuments
    ) -> Connection:
        database = self.definition.database
        if isinstance(database, Documents):
            return DocumentConnection(
                database, self.name, self.store_id, self._store, write, recent
            )
        if database is not None:
            return database.connect()
        return StoreConnection(self.store_id, self.definition.version, self.position)

    def adopt(self, found: Checkpoint) -> None:
        """Go on from what the database says.

        Raises:
            DefinitionError: the tables are of another store's log
            StoreError: they are ahead of the log

        """
        if found.store != self.store_id:
            raise DefinitionError(
                f"the tables of {self.name} were folded from the log of another store; use another "
                f"database, or have them made anew: runtime.rebuild({self.definition.cls.__name__})"
            )
        if found.position > self._store.last_position():
            raise StoreError(
                f"the tables of {self.name} go up to position {found.position}, and the log to "
                f"{self._store.last_position()}: the store is older than they are. Go back to a "
                f"backup of both, or have them made anew: "
                f"runtime.rebuild({self.definition.cls.__name__})"
            )
        self._checkpoint, self._is_known, self._coming = found, True, None
        self.is_outdated = found.version != self.definition.version
        self._move(found.position)

    def _move(self, position: int) -> None:
        self.position = position
        self._open_watches()
        self._has_moved()

    def _open_watches(self) -> None:
        for watch in tuple(self._watches):
            watch.open()

    def _let_go(self) -> None:
        """Undo what was not committed, and open another connection for what comes next."""
        connection, self._connection = self._connection, None
        self._is_careful = False
        self._recent.clear()
        if connection is not None:
            # What has failed may fail at this as well.
            with suppress(Exception):
                connection.roll_back()
            with suppress(Exception):
                connection.close()

    def end_here(self) -> None:
        """Let go of the database; on the thread that called `work`."""
        self._let_go()

    # The log

    def _take_batch(self, connection: Connection) -> None:
        records = self.read(self.position, min(BATCH, self.end - self.position))
        ours = [one for one in records if self._is_for_us(one)]
        fresh = self._without_set_aside(ours)
        if fresh is None:
            return
        # What was pruned at the end of the log is not there to be read.
        last = records[-1].position if records else self.end
        if not fresh and last < self._checkpoint.position + STRIDE:
            self._move(last)
            return
        if not self._begin(connection):
            return
        failed: dict[str, tuple[int, Step]] = {}
        ahead = None if self._is_careful else ahead_of(self.plan, connection, self.now)
        for number, record in enumerate(fresh):
            if record.stream in failed:
                continue
            try:
                if ahead is not None:
                    ahead(fresh, number)
                handle(self.plan, connection, record, self.now(), is_saved=self._is_careful)
            except BaseException as error:  # noqa: BLE001 - whatever it is, a person must see it
                if connection.is_exact and not self._is_careful:
                    connection.roll_back()
                    # Once more, event by event, to tell which ones fail.
                    self._is_careful = True
                    return
                if connection.is_exact:
                    # What this raises is the database's.
                    connection.go_back()
                failed[record.stream] = record.position, self._failed(record, error, 1)
                if not connection.is_exact:
                    # What comes before it is written, and is not to be written again.
                    last = record.position - 1
                    break
        self._is_careful = False
        if failed and connection.is_exact:
            connection.roll_back()
        else:
            self._commit_up_to(connection, last, len(fresh))
        if failed:
            self._set_aside([(stream, *one) for stream, one in failed.items()])

    def read(self, after: int, limit: int) -> list[EventRecord]:
        """Events of the log; in the place of one that is damaged stands one of type `UNREADABLE`.

        Raises:
            StoreError: they cannot be read

        """
        try:
            return self._store.read_log(after, limit)
        except CorruptRecord:
            return [event_at(self._store, one) for one in range(after + 1, after + limit + 1)]

    def _is_for_us(self, record: EventRecord) -> bool:
        # A copy that another partition sent is in no stream here, and what was erased says nothing.
        return record.type == UNREADABLE or (
            not record.sent_for
            and self.plan.listening.listens_to(record)
            and erased_at(record.data) is None
        )

    def _without_set_aside(self, records: list[EventRecord]) -> list[EventRecord] | None:
        """Those that can be written; None if rows are to be written first that set others aside."""
        store, name, held = self._store, self.name, self._held or {}
        may_be = store.may_set_aside()
        fresh: list[EventRecord] = []
        steps: list[tuple[str, int, Step]] = []
        for record in records:
            stream, position = record.stream, record.position
            if position in self._done:
                continue
            if may_be and store.is_set_aside(name, stream, position):
                # It waits, or was skipped.
                continue
            if record.type == UNREADABLE:
                steps.append(("", position, self._failed(record, record.message, 1)))
            elif position > held.get(stream, position):
                step = Step(process=name, instance=stream, wait=position)
                steps.append((stream, position, step))
            else:
                fresh.append(record)
        if steps:
            self._set_aside(steps)
            return None
        return fresh

    def _begin(self, connection: Connection) -> bool:
        """Begin a transaction; false if others have moved the tables since."""
        found = connection.begin(self.tables)
        if found == self._checkpoint:
            return True
        connection.roll_back()
        if found is None:
            raise DefinitionError(
                f"the tables of {self.name} have lost their checkpoint; have them made anew: "
                f"runtime.rebuild({self.definition.cls.__name__})"
            )
        self.adopt(found)
        return False

    def _commit_up_to(self, connection: Connection, position: int, count: int) -> None:
        old = self._checkpoint
        new = Checkpoint(old.store, old.version, old.generation, position)
        connection.set_checkpoint(self.tables, new)
        # Those that nothing sets aside any more, and that do not come again.
        gone = {one for one in self._done if one <= position and not self._is_set_aside_at(one)}
        connection.forget_done(self.tables, gone)
        connection.commit()
        self._done -= gone
        self._checkpoint = new
        self.counts["projected"] += count
        if self._written == self._durable:
            self._move(position)
        else:
            self._coming = position
        if not connection.is_exact:
            self._services.journal.nudge_checkpoints()

    def _is_set_aside_at(self, position: int) -> bool:
        event = self._store.event_at(position)
        return event is not None and self._store.is_set_aside(self.name, event.stream, position)

    # What is set aside

    def _take_up(
        self, connection: Connection, stream: str, message: InstanceMessage | None
    ) -> bool:
        """Write what is set aside of a stream, if nothing holds it up any more.

        Returns:
            false if others have moved the tables, so that it is to be looked at again

        """
        store, name = self._store, self.name
        block, waiting = store.read_waiting(name, stream, 0, BATCH)
        due: TimerRecord | None = None
        attempt = 1
        positions = list(waiting)
        if block is not None:
            stimulus = None if message is None else message.stimulus
            is_due = isinstance(stimulus, RetryDue) and stimulus.timer.due == block.due
            if block.kind != "retry" or not is_due:
                self._answer(message)
                return True
            due = TimerRecord(block.due, name, stream, "retry", "retry")
            attempt = block.attempts + 1
            positions.insert(0, block.position)
        if not positions:
            assert self._held is not None
            self._held.pop(stream, None)
            self._answer(message)
            return True
        if not self._begin(connection):
            return False
        done: list[int] = []
        failed: Step | None = None
        for position in positions:
            record = event_at(store, position)
            if position not in self._done and erased_at(record.data) is None:
                try:
                    if record.type == UNREADABLE:
                        raise record.message  # noqa: TRY301 - as what a handler raises
                    handle(self.plan, connection, record, self.now(), attempt, is_saved=True)
                except BaseException as error:  # noqa: BLE001 - as in a batch
                    connection.go_back()
                    failed = self._failed(record, error, attempt)
                    break
                connection.note_done(self.tables, position)
            done.append(position)
            attempt = 1
        connection.commit()
        self._done.update(done)
        self.counts["projected"] += len(done)
        steps = list(self._steps_of(stream, done, failed, block, due, positions))
        is_over = failed is None and len(waiting) < BATCH
        self._write(stream, steps, message, is_over=is_over)
        if failed is None and not is_over:
            self._inbox.append((stream, None))
        return True

    def _steps_of(
        self,
        stream: str,
        done: list[int],
        failed: Step | None,
        block: Block | None,
        due: TimerRecord | None,
        positions: list[int],
    ) -> Iterator[Step]:
        """What is written when events of a stream were taken up, in order."""
        is_first = block is not None
        for position in done:
            extras = StepExtras(unwait=position)
            if is_first:
                extras = StepExtras(due=due, unblock=True)
            is_first = False
            yield Step(process=self.name, instance=stream, extras=extras)
        if failed is not None:
            extras = failed.extras or StepExtras()
            if is_first:
                extras.due = due
            else:
                extras.unwait = positions[len(done)]
            failed.extras = extras
            yield failed

    def _failed(self, record: EventRecord, error: BaseException, attempt: int) -> Step:
        """What becomes of an event that failed: it is tried again, or parked with its stream."""
        name, stream, now = self.name, record.stream, self._services.now()
        is_unread = record.type == UNREADABLE
        wait = None
        if isinstance(error, Exception) and not (is_unread or is_final(error)):
            wait = self.plan.wait(stream, record.event_id, attempt)
        method = "reading"
        if not is_unread:
            handler = self.plan.listening.handler_of(record)
            method = "reading" if handler is None else handler.name
        due = None if wait is None else now + round(wait.total_seconds() * 1_000_000)
        failure = Failure(
            error=error,
            handler=method,
            event=record.event_id,
            process=name,
            instance=stream,
            attempt=attempt,
            outcome="parked" if due is None else "retried",
            next_try=due,
        )
        self._services.failures.tell(failure)
        step = Step(process=name, instance=stream)
        if due is not None:
            self.counts["retries"] += 1
            block = Block("retry", record.position, "", 0, attempt, due)
            timer = TimerRecord(due, name, stream, "retry", "retry")
            step.extras = StepExtras(block=block, timers=[timer])
            return step
        self.counts["parked"] += 1
        blocks = not is_unread
        step.park = parked_at_stream(error, name, record, method, attempt, now, blocks=blocks)
        if blocks:
            step.extras = StepExtras(block=Block("parked", record.position, "", 0, attempt))
        return step

    def _set_aside(self, steps: Iterable[tuple[str, int, Step]]) -> None:
        """Write what sets events aside; the feed goes on when that is durable."""
        assert self._held is not None
        for stream, position, step in steps:
            if stream:
                self._go_before(stream, position, step)
            self._write(stream, [step], None, is_over=False)

    def _go_before(self, stream: str, position: int, step: Step) -> None:
        """Have what holds a stream up wait behind an event that comes before it and failed now."""
        assert self._held is not None
        first = self._held.get(stream)
        self._held[stream] = position if first is None else min(first, position)
        old = self._store.block_of(self.name, stream) if first is not None else None
        if old is None or old.position < position:
            return
        step.wait, extras = old.position, step.extras
        assert extras is not None
        if old.kind == "retry":
            timer = TimerRecord(old.due, self.name, stream, "retry", "retry")
            extras.cancel = [timer]
        else:
            extras.unblock, extras.unpark = True, old.parked
            extras.decision = ("retry", self.now(), None)

    def _write(
        self, stream: str, steps: list[Step], message: InstanceMessage | None, *, is_over: bool
    ) -> None:
        works: list[PendingWrite] = []
        for step in steps:
            is_last = step is steps[-1]
            works.append(
                _Write(
                    step,
                    feed=self,
                    message=message if is_last else None,
                    released=stream if is_over and is_last else "",
                )
            )
        self._written += len(works)
        self._services.journal.add_all(works)

    def _write_documents(self, changes: DocumentChanges) -> None:
        """Write documents; the feed goes on when they are durable."""
        step = Step(extras=StepExtras(documents=changes))
        self._written += 1
        self._services.journal.add(_Write(step, feed=self))

    def write_at_once(self, step: Step) -> None:
        """Write a step behind all that was written before, and return when it is durable.

        Raises:
            StoreError: the disk refused
            ClosedError: the runtime was closed before that

        """
        reply: ReplyFuture[None] = ReplyFuture.within(self._services.replies)
        self._services.journal.add(_AtOnce(step, reply=reply))
        reply.get()

    def _answer(self, message: InstanceMessage | None) -> None:
        """Tell who brought a message that there was nothing to do."""
        if message is not None and message.giver is not None:
            journal = self._services.journal
            with journal.lock:
                self.handed_over(message, Step())
                journal.has_notes = True
            self._services.dispatcher.nudge()

    # Called by the journal

    def handed_over(self, message: InstanceMessage | None, step: Step) -> None:
        """A step was laid into the open commit; with the journal's lock held."""
        if step.extras is not None and step.extras.timers:
            self._timers.notice(step.extras.timers)
        if message is not None and message.giver is not None:
            giver, message.giver = message.giver, None
            giver.done(message, Decision(ProcessState(step.instance), step))

    def is_durable(self, released: str) -> None:
        """A step is on disk."""
        if released and self._held is not None:
            self._held.pop(released, None)
        self._durable += 1
        if self._written == self._durable:
            self._open_watches()
            self._call()


class _Write(PendingWrite, gc=False, kw_only=True):
    """A step that sets an event aside, or takes up what was."""

    feed: ProjectionFeed
    message: InstanceMessage | None = None
    released: str = ""
    """The stream of which nothing is set aside then."""

    def handed_over(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.feed.handed_over(self.message, self.step)

    def durable(self) -> None:
        self.feed.is_durable(self.released)


class _AtOnce(PendingWrite, gc=False, kw_only=True):
    """A step that a thread waits for."""

    reply: ReplyFuture[None]

    def durable(self) -> None:
        self.reply.set()

    def failed(self, error: StoreError) -> bool:
        """It is for the thread to try again."""
        self.reply.set_exception((type(error), error, None))
        return False


def handle(
    plan: ProjectionPlan,
    connection: Connection,
    record: EventRecord,
    now: int,
    attempt: int = 1,
    suffix: str = "",
    *,
    is_saved: bool = False,
) -> None:
    """Write one event into the tables.

    Args:
        plan: of the projection
        connection: within a transaction
        record: the event
        now: the time, in microseconds
        attempt: 1 for the first
        suffix: what the names of the tables end with
        is_saved: whether a point is set to go back to, if this fails

    Raises:
        BaseException: what the handler raised, or that the event cannot be read

    """
    if is_saved:
        connection.save()
    handler: Handler | None = plan.listening.handler_of(record)
    event = plan.listening.load(record)
    assert handler is not None
    projection: Projection = plan.definition.made(connection.handle, suffix)
    projection._unit.context = Context.of(record, now, attempt)  # noqa: SLF001 - a friend
    handler.function(projection, event)
    if is_saved:
        connection.keep()


def ahead_of(
    plan: ProjectionPlan, connection: Connection, now: Callable[[], int], suffix: str = ""
) -> Callable[[Sequence[EventRecord], int], None] | None:
    """What reads documents before handlers ask for them; None where that saves no trip.

    Args:
        plan: of the projection
        connection: within a transaction
        now: tells the time, in microseconds
        suffix: what the names of the tables end with

    Returns:
        what is called with the events of a batch, each of which has a handler, and with the place
        of the first that is not handled yet; raises what `DocumentConnection.read_ahead` does

    """
    if not (isinstance(connection, DocumentConnection) and connection.is_remote):
        return None

    def read(records: Sequence[EventRecord], first: int) -> None:
        if connection.is_to_read_ahead:
            connection.read_ahead(
                records[first:],
                lambda record: handle(plan, connection, record, now(), suffix=suffix),
            )

    return read
