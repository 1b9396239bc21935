"""Short read transactions, which hold up no thread that changes the map."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import lmdb

from ..errors import ClosedError, DamagedStore, InvalidName

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["RWLock", "Reading", "SharedReadTxn"]


class RWLock:
    """Lets many read, or one change the map; LMDB forbids both at once in a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._changing = threading.Lock()
        self._readers = 0
        self._closed = False
        self.is_over = False

    def enter(self) -> None:
        # The bare lock: its condition costs three times as much, and is rarely needed.
        with self._lock:
            while self._closed:
                self._condition.wait()
            self._readers += 1

    def leave(self) -> None:
        with self._lock:
            self._readers -= 1
            if self._closed and not self._readers:
                self._condition.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changing:
            with self._condition:
                self._closed = True
                while self._readers:
                    self._condition.wait()
            try:
                yield
            finally:
                with self._condition:
                    self._closed = False
                    self._condition.notify_all()


class Reading:
    """A read transaction while the map stays as it is."""

    __slots__ = ("_env", "_gate", "_txn")

    def __init__(self, env: lmdb.Environment, gate: RWLock) -> None:
        self._env = env
        self._gate = gate

    def __enter__(self) -> lmdb.Transaction[bytes]:
        self._gate.enter()
        try:
            self._txn = self._env.begin()
        except lmdb.MapResizedError:
            # Another process, the writer, has grown the map.
            self._gate.leave()
            with self._gate.alone():
                self._env.set_mapsize(0)
            return self.__enter__()
        except BaseException as error:
            self._gate.leave()
            if type(error) is lmdb.Error and self._gate.is_over:
                raise ClosedError("the store was closed just before it was read") from error
            raise
        return self._txn

    def __exit__(
        self, kind: object = None, error: BaseException | None = None, trace: object = None
    ) -> None:
        self._txn.abort()
        self._gate.leave()
        if error is not None:
            _raise_ours(error, self._env.path())


class Readable(Protocol):
    """What a shared transaction needs of the environment that it reads."""

    path: Path
    read_only: bool

    @property
    def is_inherited(self) -> bool:
        """Whether it was opened by the process that this one was forked from."""
        ...

    def check_usable(self) -> None:
        """Refuse to go on with a closed store, or with that of a parent process."""
        ...

    def read(self) -> Reading:
        """A short read transaction."""
        ...


class SharedReadTxn:
    """One read transaction for many short looks, until the next commit makes it old.

    Beginning and ending one for each look costs five times as much as the look. It is for the
    store's only writer: what another process commits would not be seen.
    """

    __slots__ = ("_environment", "_lock", "_reading", "_txn")

    def __init__(self, environment: Readable) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._txn: lmdb.Transaction[bytes] | None = None

    def __enter__(self) -> lmdb.Transaction[bytes]:
        if self._environment.is_inherited:
            # Before the lock, which some thread of the parent may have held at the fork.
            self._environment.check_usable()
        self._lock.acquire()
        txn = self._txn
        if txn is None:
            try:
                self._environment.check_usable()
                self._reading = reading = self._environment.read()
                txn = self._txn = reading.__enter__()
            except BaseException:
                self._lock.release()
                raise
        return txn

    def __exit__(
        self, kind: object = None, error: BaseException | None = None, trace: object = None
    ) -> None:
        if self._environment.read_only:
            self._end()
        self._lock.release()
        if error is not None:
            _raise_ours(error, self._environment.path)

    def forget(self) -> None:
        """Look at the store anew from the next time on."""
        with self._lock:
            self._end()

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """Keep everyone from looking, while the map changes."""
        with self._lock:
            self._end()
            yield

    def _end(self) -> None:
        reading, self._reading, self._txn = self._reading, None, None
        if reading is not None:
            reading.__exit__()


def _raise_ours(error: BaseException, path: str | os.PathLike[str]) -> None:
    """Our error for one of LMDB's; any other one goes on as it is."""
    if isinstance(error, lmdb.BadValsizeError):
        raise InvalidName(
            f"the store at {path} cannot look for a name that is empty or too long: {error}"
        ) from error
    if isinstance(error, lmdb.Error):
        raise DamagedStore(
            f"{Path(path, 'data.mdb')} cannot be read: {error}. It was changed or damaged, or the "
            f"disk fails; go back to a backup"
        ) from error
