"""Short read transactions, which hold up no thread that changes the map."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Protocol

import lmdb

from ..errors import ClosedError, FailingDisk, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .shared_env import SharedEnv

__all__ = ["Reading", "SharedReadTxn"]


class Reading:
    """A read transaction while the map stays as it is.

    Args:
        shared: what it reads
        kept: an ended transaction of before, whose place in LMDB's table of readers this one gets

    """

    __slots__ = ("_kept", "_shared", "txn")

    def __init__(
        self, shared: SharedEnv, kept: list[lmdb.Transaction[bytes]] | None = None
    ) -> None:
        self._shared = shared
        self._kept = kept

    def __enter__(self) -> lmdb.Transaction[bytes]:
        shared = self._shared
        try:
            return self._enter()
        except lmdb.MapResizedError:
            # Another process, the writer, has grown the map.
            with shared.gate.alone():
                shared.env.set_mapsize(0)
        try:
            return self._enter()
        except lmdb.Error as error:
            raise shared.refused(error, "reading") from error

    def _enter(self) -> lmdb.Transaction[bytes]:
        shared = self._shared
        shared.gate.enter()
        try:
            self.txn = txn = self._begin()
        except BaseException as error:
            shared.gate.leave()
            if type(error) is lmdb.Error and shared.gate.is_over:
                raise ClosedError("the store was closed just before it was read") from error
            if isinstance(error, lmdb.Error) and not isinstance(error, lmdb.MapResizedError):
                raise shared.refused(error, "reading") from error
            raise
        return txn

    def _begin(self) -> lmdb.Transaction[bytes]:
        shared = self._shared
        with shared.beginning:
            if self._kept:
                # No other transaction gets its place meanwhile.
                self._kept.clear()
            try:
                return shared.env.begin()
            except lmdb.ReadersFullError:
                shared.check_readers()
                return shared.env.begin()

    def __exit__(
        self, kind: object = None, error: BaseException | None = None, trace: object = None
    ) -> None:
        self.txn.abort()
        self._shared.gate.leave()
        if isinstance(error, lmdb.Error):
            raise self._shared.refused(error, "reading") from error


class Readable(Protocol):
    """What a shared transaction needs of the environment that it reads."""

    read_only: bool

    @property
    def is_inherited(self) -> bool:
        """Whether it was opened by the process that this one was forked from."""
        ...

    def check_usable(self) -> None:
        """Refuse to go on with a closed store, or with that of a parent process."""
        ...

    def read(self, kept: list[lmdb.Transaction[bytes]] | None = None) -> Reading:
        """A short read transaction."""
        ...

    def recover(self) -> bool:
        """Open LMDB again if it has given up; returns whether it can be used."""
        ...

    def error(self, error: lmdb.Error, doing: str) -> StoreError:
        """Our error for one of LMDB's."""
        ...


class SharedReadTxn:
    """One read transaction for many short looks, until the next commit makes it old.

    Beginning and ending one for each look costs five times as much as the look. It is for the
    store's only writer: what another process commits would not be seen.
    """

    __slots__ = ("_environment", "_kept", "_lock", "_reading", "_txn")

    def __init__(self, environment: Readable) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._txn: lmdb.Transaction[bytes] | None = None
        # Of the writer, whose commits must not fail since others have taken all places.
        self._kept: list[lmdb.Transaction[bytes]] = []

    def __enter__(self) -> lmdb.Transaction[bytes]:
        if self._environment.is_inherited:
            # Before the lock, which some thread of the parent may have held at the fork.
            self._environment.check_usable()
        self._lock.acquire()
        return self._txn or self._begin()

    def _begin(self, *, may_recover: bool = True) -> lmdb.Transaction[bytes]:
        try:
            self._environment.check_usable()
            self._reading = reading = self._environment.read(self._kept)
            self._txn = txn = reading.__enter__()
        except FailingDisk:
            self._reading = None
            self._lock.release()
            # Without the lock, since no read may be open meanwhile.
            if not (may_recover and self._environment.recover()):
                raise
        except BaseException:
            self._reading = None
            self._lock.release()
            raise
        else:
            return txn
        self._lock.acquire()
        return self._txn or self._begin(may_recover=False)

    def __exit__(
        self, kind: object = None, error: BaseException | None = None, trace: object = None
    ) -> None:
        if self._environment.read_only:
            self._end()
        self._lock.release()
        if isinstance(error, lmdb.Error):
            raise self._environment.error(error, "reading") from error

    def forget(self) -> None:
        """Look at the store anew from the next time on."""
        with self._lock:
            self._end()

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """Keep everyone from looking, while the map changes."""
        with self._lock:
            self._end()
            try:
                yield
            finally:
                if self._kept:
                    # A change of the map takes the place away.
                    self._kept.clear()
                    self._take_place()

    def _take_place(self) -> None:
        # Whoever looks next is told what is the matter.
        with contextlib.suppress(StoreError):
            reading = self._environment.read()
            with reading:
                self._kept.append(reading.txn)

    def _end(self) -> None:
        reading, self._reading, self._txn = self._reading, None, None
        if reading is not None:
            reading.__exit__()
            if not self._environment.read_only:
                self._kept.append(reading.txn)
