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
from procession.engine.engine import Engine
from procession.engine.instance_actor import InstanceActor
from procession.engine.journal import Journal
from procession.store import LmdbStore
from procession.store.lmdb.environment import Environment
from procession.store.open_commit import OpenCommit

BEFORE, AFTER = "before", "after"

METHODS: dict[str, tuple[type, str, str]] = {
    # A commit
    "before the transaction": (Environment, "begin_write", BEFORE),
    "some steps written": (OpenCommit, "hand_over", AFTER),
    "committed, nobody told": (LmdbStore, "close_commit", AFTER),
    "growing the map": (Environment, "grow", BEFORE),
    # Opening
    "making the store": (LmdbStore, "_check_format", AFTER),
    "store opened": (LmdbStore, "__init__", AFTER),
    "starting": (Engine, "start", BEFORE),
    "queue taken up": (CommandQueue, "_read_queue", AFTER),
    "instance rehydrated": (InstanceActor, "_load", AFTER),
    # Closing
    "closing": (Engine, "close", BEFORE),
    "everything in hand finished": (Engine, "_end", BEFORE),
    "writing checkpoints": (Journal, "write_checkpoints", BEFORE),
    "before the store is let go of": (LmdbStore, "close", BEFORE),
    "file cut to its size": (Environment, "_detach", BEFORE),
}

COMMIT = (
    "before the transaction",
    "some steps written",
    "before LMDB's commit",
    "committed, nobody told",
    "in the middle of telling",
)
NEW = ("making the store", "growing the map")
OPENING = ("store opened", "starting", "queue taken up", "instance rehydrated")
CLOSING = (
    "closing",
    "everything in hand finished",
    "writing checkpoints",
    "before the store is let go of",
    "file cut to its size",
)
POINTS = (*COMMIT, *NEW, *OPENING, *CLOSING)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, count: int) -> None:
    """Die when that point is reached for the time that `count` says."""
    times = itertools.count(1)

    def reach() -> None:
        if next(times) == count:
            die()

    if point == "before LMDB's commit":
        _wrap_transactions(reach)
    elif point == "in the middle of telling":
        _wrap_telling(reach)
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


class _Doomed:
    """A write transaction that is left, but not committed."""

    def __init__(self, transaction: Any, reach: Callable[[], None]) -> None:
        self._transaction = transaction
        self._reach = reach

    def __enter__(self) -> Any:
        return self._transaction.__enter__()

    def __exit__(self, *error: object) -> Any:
        self._reach()
        return self._transaction.__exit__(*error)


def _wrap_transactions(reach: Callable[[], None]) -> None:
    begin: Any = Environment.begin_write

    def doomed(environment: Environment) -> Any:
        return _Doomed(begin(environment), reach)

    setattr(Environment, begin.__name__, doomed)


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
