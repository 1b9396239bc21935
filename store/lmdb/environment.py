"""The LMDB file itself: opening, locking, and growing.

Everything about LMDB that is not about our records is here. `docs/store-format.md` names the
files in a store's folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import resource
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import lmdb

from ..errors import (
    ClosedError,
    DamagedStore,
    FailingDisk,
    LockedStore,
    ReadOnlyStore,
    StoreError,
    StoreFull,
)
from ..interrupts import uninterrupted
from .file_swap import READERS_FILE, alone, sync_folder
from .lmdb_errors import DATA_FILE, error_for
from .private_files import PRIVATE_FOLDER, narrow, open_file, take_rights
from .read_txn import Reading, SharedReadTxn
from .shared_env import MAX_TABLES, WRITER_FILE, SharedEnv, used_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmdb import _Database

__all__ = ["DATA_FILE", "MAX_TABLES", "Durability", "Environment", "is_there"]

Durability: TypeAlias = Literal["fsync", "os", "none"]

# The file is kept longer than what is used by so much, or more.
ROOM = 1 << 22
# The map doubles while it is small, and then grows by this much.
LARGEST_GROWTH = 16 << 30
# Addresses beyond what is used, while a reader reads for long.
SPARE = 1 << 30

PATIENCE = 30.0
"""Seconds that the main thread waits until what keeps it from reading is mended."""

T = TypeVar("T")


_open: dict[str, SharedEnv] = {}
_open_lock = threading.Lock()
# Counts forks, so that a child can tell that what it holds is its parent's.
_generation = 0
_writer_fds: set[int] = set()


def _forget_parent() -> None:
    global _generation, _open_lock  # noqa: PLW0603 - a fork changes the whole process
    _generation += 1
    _open_lock = threading.Lock()
    for shared in _open.values():
        shared.let_go()
    _open.clear()
    # A lock lives as long as any copy of its descriptor; ours must not outlive the parent.
    for fd in _writer_fds:
        os.close(fd)
    _writer_fds.clear()


os.register_at_fork(after_in_child=_forget_parent)


class Environment:
    """One store's folder, open for reading or as its only writer."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool,
        durability: Durability,
        map_size: int,
    ) -> None:
        # Absolute, since the process may change its folder while the store is open.
        self.path = Path(path).absolute()
        try:
            self._key = os.path.realpath(self.path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path!r} cannot be a folder: {error}") from error
        self.read_only = read_only
        self._durability = durability
        self._generation = _generation
        self._closed = False
        self._writer_fd = -1
        self._length = 0
        self.shared_read = SharedReadTxn(self)
        if read_only:
            self._refuse_missing()
        else:
            self._create_folder()
            self._lock_for_writing()
            narrow(self.path / READERS_FILE, self.path / DATA_FILE)
        try:
            self._refuse_empty_file()
            self._shared = self._attach(map_size)
        except BaseException:
            self._unlock()
            raise

    # Opening

    def _refuse_missing(self) -> None:
        if not is_there(self.path):
            raise StoreError(
                f"there is no store at {self.path}; a store is made by opening it for writing"
            )

    def _create_folder(self) -> None:
        try:
            existed = self.path.exists()
            self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            if not existed and self._durability == "fsync":
                sync_folder(self.path.parent)
        except OSError as error:
            raise StoreError(f"the folder {self.path} cannot be made: {error}") from error

    def _lock_for_writing(self) -> None:
        lock_file = self.path / WRITER_FILE
        try:
            narrow(lock_file, self.path / DATA_FILE)
            fd = open_file(lock_file, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise StoreError(f"{lock_file} cannot be opened: {error}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 64).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise LockedStore(
                f"the store at {self.path} is already open for writing, by process {owner}; "
                f"close that one first, or open this one with read_only=True"
            ) from None
        except OSError as error:
            os.close(fd)
            raise StoreError(f"{lock_file} cannot be locked: {error}") from error
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
        except OSError as error:
            # With it the lock goes, which would keep the next attempt out.
            os.close(fd)
            raise error_for(error, "locking", self.path) from error
        self._writer_fd = fd
        _writer_fds.add(fd)

    def _unlock(self) -> None:
        if self._writer_fd >= 0:
            if self._writer_fd in _writer_fds:
                _writer_fds.discard(self._writer_fd)
                os.close(self._writer_fd)
            self._writer_fd = -1

    def _refuse_empty_file(self) -> None:
        # LMDB takes an empty file for a new one, and would start over without a word.
        data = self.path / DATA_FILE
        if is_there(self.path) and data.stat().st_size == 0:
            raise DamagedStore(f"{data} is empty: it was truncated; restore it from a copy")

    def _attach(self, map_size: int) -> SharedEnv:
        with _open_lock:
            shared = _open.get(self._key)
            if shared is not None:
                if not self.read_only and shared.read_only:
                    raise LockedStore(
                        f"the store at {self.path} is open for reading in this process; open it "
                        f"for writing first, and for reading beside that"
                    )
                if not self.read_only and shared.sync != (self._durability == "fsync"):
                    raise LockedStore(
                        f"the store at {self.path} is still open for reading in this process, "
                        f"since it was open for writing with another durability; close that first"
                    )
                shared.refuse_lost()
                shared.users += 1
                if not self.read_only:
                    shared.writer = self.shared_read
                return shared
            shared = SharedEnv(
                self.path,
                read_only=self.read_only,
                sync=self._durability == "fsync",
                map_size=0 if self.read_only else max(map_size, _size(self.path / DATA_FILE)),
                was_forked=_generation > 0,
                writer=self.shared_read,
            )
            _open[self._key] = shared
            return shared

    # Use

    @property
    def env(self) -> lmdb.Environment:
        """The LMDB environment, if it may be used here and now."""
        self.check_usable()
        return self._shared.env

    @property
    def fd(self) -> int:
        """The open file, whatever its name stands for meanwhile."""
        return self._shared.fd

    @property
    def is_inherited(self) -> bool:
        """Whether it was opened by the process that this one was forked from."""
        return self._generation != _generation

    def check_usable(self) -> None:
        """Refuse to go on with a closed store, or with that of a parent process.

        Raises:
            ClosedError: it is closed
            ReadOnlyStore: it was opened before a fork, by the parent

        """
        if self._closed:
            raise ClosedError(f"the store at {self.path} is closed")
        if self.is_inherited:
            raise ReadOnlyStore(
                f"the store at {self.path} was opened by another process before a fork, and is "
                f"that one's alone; start a new process instead of forking one, or fork first"
            )

    @contextlib.contextmanager
    def tables(self) -> Iterator[dict[str, _Database]]:
        """The tables by name, once for all who share the environment; to be filled by the first."""
        with self._shared.tables_lock:
            yield self._shared.tables

    def read(self, kept: list[lmdb.Transaction[bytes]] | None = None) -> Reading:
        """A short read transaction, for a `with` block that yields to no other code."""
        self.check_usable()
        return Reading(self._shared, kept)

    def look(self, look: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Look at the store in a short transaction of its own.

        It takes no lock that another thread wants, so it may be interrupted anywhere, and a signal
        handler may call it.

        Args:
            look: is given the transaction, and yields to no other code

        """
        self.check_usable()
        try:
            return self._look(look)
        except lmdb.Error as error:
            why = error
        shared = self._shared
        try:
            if threading.get_ident() in shared.reading_for_long:
                # It would wait for this thread.
                return self._look_again(why, look)
            # What mends it takes locks. In a signal handler it may wait for the very thread that
            # waits for it here.
            return uninterrupted(
                lambda: self._look_again(why, look), "procession-mending", timeout=PATIENCE
            )
        except TimeoutError:
            raise shared.unreadable(why) from why
        except lmdb.Error as error:
            raise shared.unreadable(error) from error

    def _look(self, look: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        shared = self._shared
        gate = shared.gate
        while True:
            token = gate.token()
            try:
                with token:
                    if gate.lets_in(token):
                        with shared.env.begin() as txn:
                            return look(txn)
            finally:
                gate.leave(token)
            gate.wait_at_entrance()

    def _look_again(self, why: lmdb.Error, look: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Look when what kept a transaction from beginning is mended, if it can be."""
        shared = self._shared
        if isinstance(why, lmdb.MapResizedError):
            shared.adopt_size()
        elif isinstance(why, lmdb.ReadersFullError):
            if not self.read_only:
                # The writer has a place of its own, whatever the others have.
                return self.shared_read.look(look)
            with shared.beginning:
                shared.check_readers()
        elif not (isinstance(shared.unreadable(why), FailingDisk) and self.recover()):
            raise why
        return self._look(look)

    @property
    def writing(self) -> threading.Lock:
        """Held while something is committed, or LMDB is opened again."""
        return self._shared.writing

    def refuse_lost(self) -> None:
        """Refuse to go on if the file is not the one of the folder any more.

        Raises:
            LostStore: it was removed or replaced

        """
        self._shared.refuse_lost()

    def look_after(self) -> None:
        """Give back the places of readers that have died, and look whether the locks are there.

        Raises:
            StoreError: LMDB cannot look at its table

        """
        self._shared.refuse_lost_locks()
        with self._shared.writing:
            self._shared.check_readers()

    def reopen(self) -> None:
        """Open LMDB again if it has given up; for a caller who holds `writing`.

        Raises:
            StoreError: it cannot be opened

        """
        self.shared_read.forget()
        self._shared.reopen()

    def recover(self) -> bool:
        """Open LMDB again if it has given up, as soon as no thread reads for long.

        Returns:
            whether it can be used; not while this thread itself reads for long

        Raises:
            StoreError: it cannot be opened

        """
        shared = self._shared
        while True:
            with shared.writing:
                self.check_usable()
                if shared.reopen():
                    return True
            if threading.get_ident() in shared.reading_for_long:
                return False
            shared.gate.wait_until_free()

    @contextlib.contextmanager
    def reading_for_long(self) -> Iterator[lmdb.Transaction[bytes]]:
        """A read transaction for as long as the block lasts; it may yield to other code."""
        me, threads = threading.get_ident(), self._shared.reading_for_long
        with self.read() as txn:
            threads.append(me)
            try:
                yield txn
            finally:
                threads.remove(me)

    def check_writable(self) -> None:
        """As `check_usable`, and refuse to write to what is open for reading, or is lost."""
        self.check_usable()
        if self._shared.lost is not None:
            raise self._shared.lost
        if self.read_only:
            raise ReadOnlyStore(f"the store at {self.path} is open for reading only")

    def begin_write(self) -> lmdb.Transaction[bytes]:
        self.check_writable()
        return self._shared.env.begin(write=True)

    def grow(self) -> None:
        """Make the map larger; no write transaction may be open.

        Raises:
            StoreFull: there are no more addresses to map

        """
        with self.shared_read.held_off(), self._shared.gate.alone():
            try:
                size = self.env.info()["map_size"]
            except lmdb.Error as error:
                raise self.error(error, "growing") from error
            more = min(size, LARGEST_GROWTH)
            try:
                # LMDB lets go of its map first, and would have to close if it got no other one.
                mmap.mmap(-1, more, prot=mmap.PROT_READ).close()
                self.env.set_mapsize(size + more)
            except (lmdb.Error, OverflowError, OSError) as error:
                raise StoreFull(
                    f"the store at {self.path} cannot grow beyond {size} bytes: {error}"
                ) from error

    def make_spare(self) -> None:
        """Make the map so large that it need not grow while a reader reads for long.

        No write transaction may be open.
        """
        # Addresses cost nothing, except where they are limited: then growth waits for the reader.
        if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            return
        try:
            with contextlib.suppress(StoreFull):
                while self.env.info()["map_size"] < 4 * self._used() + SPARE:
                    self.grow()
        except lmdb.Error as error:
            raise self.error(error, "growing") from error

    def make_room(self, size: int) -> None:
        """Make the file long enough for a commit, before the commit.

        Pages at the end that a transaction takes and frees again are never written, and without
        this the header would then speak of more than the file has, which is how a truncated one
        is told. The room costs no disk; `close` takes it away.

        Args:
            size: bytes of records that the commit may write and delete again

        """
        used = self._used()
        if self._length < used + size + ROOM:
            self._length = used + 2 * (size + ROOM)
            # A limit on file sizes may allow the commit all the same; it will tell.
            with contextlib.suppress(OSError):
                # Not by its name, which may stand for another file meanwhile.
                os.ftruncate(self._shared.fd, self._length)

    def _used(self) -> int:
        return used_bytes(self._shared.env)

    def _give_back_room(self) -> None:
        used = self._used()
        if os.fstat(self._shared.fd).st_size > used:
            os.ftruncate(self._shared.fd, used)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self.is_inherited:
            return
        self.shared_read.forget()
        try:
            if not self.read_only and self._shared.lost is None:
                self._settle()
        finally:
            with _open_lock:
                self._detach()
            self._unlock()

    def _settle(self) -> None:
        try:
            self._give_back_room()
            if self._durability == "os":
                self._shared.env.sync(True)
        except (lmdb.Error, OSError) as error:
            raise error_for(error, "closing", self.path) from error

    def _detach(self) -> None:
        self._shared.users -= 1
        if not self._shared.users:
            del _open[self._key]
            # Other threads may be reading; to close it under them would end the process.
            with self._shared.gate.alone():
                self._shared.gate.is_over = True
                self._shared.close()

    def replace(self, file: Path) -> None:
        """Close it, and put another file in the place of its own; only for the writer.

        Args:
            file: whole, on disk, and in the same folder

        Raises:
            LockedStore: a reader has the store open, here or in another process; it stays as it is

        """
        self.check_usable()
        self._closed = True
        self.shared_read.forget()
        data = self.path / DATA_FILE
        try:
            # No thread here opens it meanwhile, and by the other locks no other process does.
            with _open_lock:
                self._detach()
                if self._key in _open:
                    raise LockedStore(
                        f"the store at {self.path} is open for reading in this process: close "
                        f"that first, or compact the store into another folder"
                    )
                with alone(data):
                    take_rights(file, data)
                    file.replace(data)
                    sync_folder(self.path)
        finally:
            self._unlock()

    def error(self, error: lmdb.Error, doing: str) -> StoreError:
        """Our error for one of LMDB's."""
        return self._shared.refused(error, doing)


def is_there(path: Path) -> bool:
    """Whether a folder has a store's file.

    Raises:
        StoreError: this user may not look

    """
    try:
        return (path / DATA_FILE).is_file()
    except OSError as error:
        raise error_for(error, "looking for a store", path) from error


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
