"""The points at which a worker kills itself: every stage of a commit, of opening, and of closing.

The runtime knows nothing of this; its methods are wrapped here, in the process that is to die.
"""

import functools
import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

from procession.engine.command_queue import CommandQueue
from procession.engine.effect_feed import EffectFeeds
from procession.engine.engine import Engine
from procession.engine.instance_actor import InstanceActor
from procession.engine.journal import Journal
from procession.store import COMMITTED, FROM_OUTSIDE, LmdbStore, Store
from procession.store.lmdb.engine import LmdbEngine
from procession.store.lmdb.environment import Environment
from procession.store.open_commit import OpenCommit
from procession.store.postgresql.connection import Connection
from procession.store.postgresql.engine import PostgresEngine
from procession.store.postgresql.ownership import Ownership
from procession.store.postgresql.store import PostgresStore

BEFORE, AFTER = "before", "after"

METHODS: dict[str, tuple[type, str, str]] = {
    # Steps on their way to a commit, and the commit
    "a step handed over": (OpenCommit, "hand_over", AFTER),
    "a commit closing": (Store, "close_commit", BEFORE),
    "before the transaction": (Environment, "begin_write", BEFORE),
    "before LMDB's commit": (LmdbEngine, "_write", AFTER),
    "before the commit is sent": (PostgresEngine, "commit", BEFORE),
    "answered, the store not told": (PostgresEngine, "commit", AFTER),
    "committed, callers not told": (Store, "close_commit", AFTER),
    "callers told, effects not begun": (EffectFeeds, "look", BEFORE),
    "growing the map": (Environment, "grow", BEFORE),
    # Opening
    "making the store": (LmdbStore, "_check_format", AFTER),
    "tables made, without a format": (PostgresStore, "_check_format", BEFORE),
    "lease taken": (Ownership, "_take", AFTER),
    "store opened": (Store, "__init__", AFTER),
    "starting": (Engine, "start", BEFORE),
    "queue taken up": (CommandQueue, "_read_queue", AFTER),
    "instance rehydrated": (InstanceActor, "_load", AFTER),
    # Closing
    "closing": (Engine, "close", BEFORE),
    "everything in hand finished": (Engine, "_end", BEFORE),
    "writing checkpoints": (Journal, "write_checkpoints", BEFORE),
    "before the store is let go of": (Store, "close", BEFORE),
    "before the lease is let go of": (Ownership, "_release", BEFORE),
    "file cut to its size": (Environment, "_detach", BEFORE),
}

CHAIN = "in the middle of a chain"
ROWS = "some rows written"
TELLING = "in the middle of telling"
SENT = "sent, and not answered"
TABLES = "some tables made"

STEPS = ("a step handed over", CHAIN, "a commit closing")
TOLD = ("committed, callers not told", TELLING, "callers told, effects not begun")
COMMIT = (*STEPS, "before the transaction", ROWS, "before LMDB's commit", *TOLD)
SENDING = ("before the commit is sent", SENT, "answered, the store not told")
NEW = ("making the store", "growing the map", TABLES, "tables made, without a format")
OPENING = ("store opened", "starting", "queue taken up", "instance rehydrated")
CLOSING = (
    "closing",
    "everything in hand finished",
    "writing checkpoints",
    "before the store is let go of",
    "file cut to its size",
    "before the lease is let go of",
)
POINTS = (*COMMIT, *NEW[:2], *OPENING, *CLOSING[:-1])
"""Of a store in a folder."""

ONLY_DATABASE = (*SENDING, *NEW[2:], "lease taken", CLOSING[-1])
DATABASE_POINTS = (*ONLY_DATABASE, *STEPS, *TOLD, *OPENING, *CLOSING[:-2])
"""Of a store in PostgreSQL."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, count: int) -> None:
    """Die when that point is reached for the time that `count` says."""
    times = itertools.count(1)

    def reach() -> None:
        if next(times) == count:
            die()

    if point == CHAIN:
        _wrap_chains(reach)
    elif point == ROWS:
        _wrap_rows(reach)
    elif point == TELLING:
        _wrap_telling(reach)
    elif point == SENT:
        _wrap_sending(reach)
    elif point == TABLES:
        _wrap_tables(reach)
    else:
        _wrap(*METHODS[point], reach)


def _wrap(owner: type, name: str, when: str, reach: Callable[[], None]) -> None:
    method = getattr(owner, name)

    @functools.wraps(method)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if when == BEFORE:
            reach()
        answer = method(*arguments, **options)
        if when == AFTER:
            reach()
        return answer

    setattr(owner, name, wrapped)


def _wrap_chains(reach: Callable[[], None]) -> None:
    """A command was issued and carried out, and neither is on disk."""
    hand_over = OpenCommit.hand_over

    def link(ahead: OpenCommit, step: Any) -> Any:
        is_link = step.take in ahead._queued and step.take < FROM_OUTSIDE
        outcome = hand_over(ahead, step)
        if is_link and outcome is COMMITTED:
            reach()
        return outcome

    setattr(OpenCommit, hand_over.__name__, link)


def _wrap_rows(reach: Callable[[], None]) -> None:
    """One table is written, and the others are not."""
    write: Any = LmdbEngine._write

    def some(engine: LmdbEngine, txn: Any, puts: Any, deletes: Any) -> None:
        first = next(iter(puts))
        write(engine, txn, {first: puts[first]}, {})
        reach()
        others = {table: rows for table, rows in puts.items() if table != first}
        write(engine, txn, others, deletes)

    setattr(LmdbEngine, write.__name__, some)


def _wrap_sending(reach: Callable[[], None]) -> None:
    """The server has all of a commit, and what it makes of it nobody hears."""
    run, send = Connection.run, Connection._send
    committing: list[Connection] = []

    def note(connection: Connection, *calls: Any) -> Any:
        committing[:] = [connection] if b"fence(" in calls[0][0].sql else []
        return run(connection, *calls)

    def sent(connection: Connection) -> None:
        send(connection)
        if connection in committing:
            reach()

    setattr(Connection, run.__name__, note)
    setattr(Connection, send.__name__, sent)


def _wrap_tables(reach: Callable[[], None]) -> None:
    """The transaction that makes the tables is cut off."""
    one = Connection.one

    def made(connection: Connection, statement: Any, parameters: Any = ()) -> Any:
        answer = one(connection, statement, parameters)
        if statement.sql.startswith(b"CREATE TABLE"):
            reach()
        return answer

    setattr(Connection, one.__name__, made)


class _Last:
    """What waits for the disk, and is never told."""

    def __init__(self, waiting: Any, reach: Callable[[], None]) -> None:
        self._waiting = waiting
        self._reach = reach

    def durable(self) -> None:
        self._reach()
        self._waiting.durable()

    def failed(self, error: Any) -> Any:
        return self._waiting.failed(error)


def _wrap_telling(reach: Callable[[], None]) -> None:
    flush: Any = Journal.flush

    def half(journal: Journal) -> Any:
        with journal.lock:
            waiting: list[Any] = journal._waiting
            middle = len(waiting) // 2
            if len(waiting) > 1 and not isinstance(waiting[middle], _Last):
                waiting[middle] = _Last(waiting[middle], reach)
        return flush(journal)

    setattr(Journal, flush.__name__, half)
