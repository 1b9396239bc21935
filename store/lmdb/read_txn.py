"""Read transactions: short ones of their own, one that is kept between commits, and long ones."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

import lmdb

from ..errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from .shared_env import SharedEnv

    Txn: TypeAlias = lmdb.Transaction[bytes]

__all__ = ["Reading", "SharedReadTxn"]

T = TypeVar("T")

TRIES = 20
"""Transactions that are begun while another thread has the place that was given back for them."""


class Reading:
    """A read transaction while the map stays as it is.

    For threads in which no signal lands; see `Environment.look` for the others.

    Args:
        shared: what it reads
        kept: an ended transaction of before, whose place in LMDB's table of readers this one gets

    """

    __slots__ = ("_kept", "_shared", "_token", "txn")

    def __init__(self, shared: SharedEnv, kept: list[Txn] | None = None) -> None:
        self._shared = shared
        self._kept = kept

    def __enter__(self) -> Txn:
        shared = self._shared
        try:
            return self._enter()
        except lmdb.MapResizedError:
            shared.adopt_size()
        try:
            return self._enter()
        except lmdb.Error as error:
            raise shared.refused(error, "reading") from error

    def _enter(self) -> Txn:
        shared = self._shared
        gate = shared.gate
        while True:
            self._token = token = gate.token()
            token.acquire()
            if gate.lets_in(token):
                break
            self._leave()
            gate.wait_at_entrance()
        try:
            self.txn = txn = self._begin()
        except BaseException as error:
            self._leave()
            if isinstance(error, lmdb.Error) and not isinstance(error, lmdb.MapResizedError):
                raise shared.unreadable(error) from error
            raise
        return txn

    def _leave(self) -> None:
        self._shared.gate.leave(self._token)
        self._token.release()

    def _begin(self) -> Txn:
        shared = self._shared
        if not self._kept:
            return shared.begin_read()
        with shared.beginning:
            # No other transaction that is kept gets its place meanwhile.
            self._kept.clear()
            for _ in range(TRIES):
                with contextlib.suppress(lmdb.ReadersFullError):
                    return shared.env.begin()
                # One that a caller began has got it, and ends soon.
                shared.check_readers()
            return shared.env.begin()

    def __exit__(
        self, kind: object = None, error: BaseException | None = None, trace: object = None
    ) -> None:
        self.txn.abort()
        self._leave()
        if isinstance(error, lmdb.Error):
            raise self._shared.refused(error, "reading") from error


class Readable(Protocol):
    """What a shared transaction needs of the environment that it reads."""

    def check_usable(self) -> None:
        """Refuse to go on with a closed store, or with that of a parent process."""
        ...

    def read(self, kept: list[Txn] | None = None) -> Reading:
        """A short read transaction."""
        ...


class SharedReadTxn:
    """One read transaction for many short looks, until the next commit makes it old.

    Beginning and ending one for each look costs five times as much as the look. It is for the
    store's only writer: what another process commits would not be seen.
    """

    __slots__ = ("_environment", "_kept", "_reading", "lock", "txn")

    def __init__(self, environment: Readable) -> None:
        self._environment = environment
        self.lock = threading.Lock()
        self.txn: Txn | None = None
        """The transaction, if it has begun; used with the lock held only."""
        self._reading: Reading | None = None
        # Of the writer, whose commits must not fail since others have taken all places.
        self._kept: list[Txn] = []

    def look(self, look: Callable[[Txn], T]) -> T:
        """Look at the store; for a thread in which no signal lands."""
        with self.lock:
            return look(self.txn or self.begin())

    def begin(self) -> Txn:
        """Begin the transaction; for a caller who holds the lock."""
        self._environment.check_usable()
        reading = self._environment.read(self._kept)
        txn = reading.__enter__()
        self._reading, self.txn = reading, txn
        return txn

    def let_go(self) -> None:
        """Have the next look of a forked child refused; its parent may have held the lock."""
        # What has the transaction stays: to end it would end the parent's.
        self.lock, self.txn = threading.Lock(), None

    def forget(self) -> None:
        """Look at the store anew from the next time on."""
        with self.lock:
            self._end()

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """Keep everyone from looking, while the map changes."""
        with self.lock:
            self._end()
            try:
                yield
            finally:
                if self._kept:
                    # A change of the map takes the place away.
                    self._kept.clear()
                    self._take_place()

    def _take_place(self) -> None:
        # The next reader is told what is the matter.
        with contextlib.suppress(StoreError):
            reading = self._environment.read()
            with reading:
                self._kept.append(reading.txn)

    def _end(self) -> None:
        reading, self._reading, self.txn = self._reading, None, None
        if reading is not None:
            reading.__exit__()
            self._kept.append(reading.txn)
