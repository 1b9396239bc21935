"""One LMDB environment of this process: all who have the store open here share it.

LMDB forbids a second one on the same file. It is opened again when LMDB has given up on it, and
knows whether its files are still those of its folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from typing import TYPE_CHECKING, Protocol

import lmdb

from ..errors import (
    ClosedError,
    DamagedStore,
    FailingDisk,
    LockedStore,
    LostStore,
    ProcessionError,
    StoreError,
)
from .file_swap import READERS_FILE, opening, sync_folder
from .free_pages import are_free
from .lmdb_errors import DATA_FILE, error_for
from .private_files import PRIVATE_FILE, open_file, refuse_link
from .reader_table import MAX_READERS, clear_dead, processes_in, processes_listed, too_many
from .rw_lock import RWLock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lmdb import _Database

__all__ = ["MAX_TABLES", "WRITER_FILE", "SharedEnv", "used_bytes"]

MAX_TABLES = 32

WRITER_FILE = "writer.lock"


class KeptOpen(Protocol):
    """Reads that stay open between commits."""

    def held_off(self) -> AbstractContextManager[None]:
        """Keep everyone from reading, while the map changes."""
        ...

    def let_go(self) -> None:
        """Have the next look of a forked child refused."""
        ...


class SharedEnv:
    """An open LMDB file.

    Args:
        path: the store's folder
        read_only: whether another process may be writing meanwhile
        sync: whether each commit is brought to disk
        map_size: bytes of the first memory map, or 0 for what the file has
        was_forked: whether this process was forked from one that may have had it open
        writer: the reads that the writer keeps open between its commits

    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool,
        sync: bool,
        map_size: int,
        was_forked: bool,
        writer: KeptOpen,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self.sync = sync
        self.gate = RWLock()
        self.users = 1
        self.tables: dict[str, _Database] = {}
        self.tables_lock = threading.Lock()
        self.writing = threading.Lock()
        """Held while something is committed, or LMDB is opened again."""
        self.beginning = threading.Lock()
        """Held while a read transaction begins."""
        self.reading_for_long: list[int] = []
        """Threads whose read transactions last; one that waits for itself would wait for ever."""
        self.lost: LostStore | None = None
        self._data = str(path / DATA_FILE)
        self._was_forked = was_forked
        self.writer = writer
        self._is_down = False
        self._map_size = map_size
        self.env = self._open(map_size)
        try:
            # By this the file is known, whatever its name comes to stand for.
            self.fd = open_file(path / DATA_FILE, os.O_RDONLY if read_only else os.O_RDWR)
        except OSError as error:
            self.env.close()
            raise error_for(error, "opening", path) from error
        try:
            self._id = self._id_of(self._data)
            self._refuse_truncated(self.env)
            self._lock_ids = self._ids_of_locks()
        except (lmdb.Error, OSError) as error:
            self.close()
            raise error_for(error, "opening", path) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of it; no transaction may be open."""
        self.env.close()
        os.close(self.fd)

    def let_go(self) -> None:
        """Close what a forked child has of its parent's, whose locks would live on with it."""
        os.close(self.fd)
        self.writer.let_go()

    # Opening

    def _open(self, map_size: int) -> lmdb.Environment:
        data = self.path / DATA_FILE
        # LMDB would follow them.
        refuse_link(data)
        refuse_link(self.path / READERS_FILE)
        is_new = not (self.read_only or data.exists())
        try:
            env = self._open_file(map_size, data)
            if is_new and self.sync:
                self._sync_folder(env)
        except BaseException:
            if is_new:
                # What was begun is no store yet, and would be taken for one that was cut off; or
                # its name is not durable, which is seen to only where a store is new.
                with contextlib.suppress(OSError):
                    data.unlink(missing_ok=True)
            raise
        return env

    def _sync_folder(self, env: lmdb.Environment) -> None:
        try:
            sync_folder(self.path)
        except OSError as error:
            env.close()
            raise error_for(error, "opening", self.path) from error

    def _open_file(self, map_size: int, data: Path) -> lmdb.Environment:
        try:
            with opening(data):
                return self._open_alone(map_size)
        except lmdb.ReadersFullError as error:
            raise too_many(self.path, processes_in(self.path / READERS_FILE)) from error
        except lmdb.Error as error:
            if self._was_forked and "already open in this process" in str(error):
                raise LockedStore(
                    f"the store at {self.path} was open when this process was forked, and LMDB "
                    f"forbids a second opening: start a new process instead of forking one, or "
                    f"fork before the store is opened"
                ) from error
            raise self._not_opened(error) from error
        except OSError as error:
            raise error_for(error, "opening", self.path) from error

    def _open_alone(self, map_size: int) -> lmdb.Environment:
        if not self._was_forked:
            # A child must not let go of what LMDB has of its parent's.
            clear_dead(self.path / READERS_FILE)
        return lmdb.Environment(
            str(self.path),
            map_size=map_size,
            readonly=self.read_only,
            max_readers=MAX_READERS,
            max_dbs=MAX_TABLES,
            mode=PRIVATE_FILE,
            sync=self.sync,
            # Reads of instances and streams are scattered; reading ahead would waste them.
            readahead=False,
        )

    def _not_opened(self, error: lmdb.Error) -> StoreError:
        ours = error_for(error, "opening", self.path)
        if getattr(error, "code", 0) > 0 and type(ours) is not DamagedStore:
            return ours
        return DamagedStore(
            f"{self._data} cannot be opened: {error}. It is truncated, or no LMDB file, or was "
            f"written by another version of LMDB"
        )

    def _refuse_truncated(self, env: lmdb.Environment) -> None:
        # Beyond the end of the file the map has no pages: touching one would kill the process.
        needed, size = used_bytes(env), os.fstat(self.fd).st_size
        page = env.stat()["psize"]
        # The last ones may be free, and not written.
        if size < needed and not are_free(self.fd, page, range(size // page, needed // page)):
            raise DamagedStore(
                f"{self._data} is truncated: it has {size} bytes where its header says {needed}; "
                f"restore it from a copy"
            )

    # Readers

    def begin_read(self) -> lmdb.Transaction[bytes]:
        """Begin a read transaction; for a thread whose token the gate has let in."""
        with self.beginning:
            try:
                return self.env.begin()
            except lmdb.ReadersFullError:
                self.check_readers()
                return self.env.begin()

    def adopt_size(self) -> None:
        """Take over the size that another process, the writer, has given the map."""
        with self.gate.alone():
            self.env.set_mapsize(0)

    def check_readers(self) -> None:
        """Give back the places of readers that have died.

        Raises:
            StoreError: LMDB cannot look at its table

        """
        try:
            # Not while another process opens it: see `reader_table`.
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            self.env.reader_check()
        except lmdb.Error as error:
            raise error_for(error, "looking after readers", self.path) from error
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)

    def no_place(self) -> StoreError:
        """What to say when all places for readers are taken."""
        return too_many(self.path, processes_listed(self.env.readers()))

    # Whether it is still there

    def refuse_lost(self) -> None:
        """Refuse to go on if the file is not the one of the folder any more.

        Raises:
            LostStore: it was removed or replaced

        """
        if self.lost is None:
            with contextlib.suppress(OSError):
                if self._id_of(self._data) == self._id:
                    return
            self._lose(DATA_FILE)
        raise self.lost  # type: ignore[misc] # it was set just now

    def refuse_lost_locks(self) -> None:
        """As `refuse_lost`, for the files by which other processes are kept away."""
        with contextlib.suppress(OSError):
            if self._ids_of_locks() == self._lock_ids:
                return
        self._lose(f"{READERS_FILE} or {WRITER_FILE}")

    def _lose(self, name: str) -> None:
        self.lost = LostStore(
            f"{name} of the store at {self.path} was removed or replaced while the store was open. "
            f"What was acknowledged before is in the file that was there, and nothing is "
            f"acknowledged any more: end this process, put the file back, and open the store again"
        )

    def _ids_of_locks(self) -> list[tuple[int, int]]:
        names = [READERS_FILE] if self.read_only else [READERS_FILE, WRITER_FILE]
        # A read-only file system may have none.
        files = [self.path / name for name in names]
        return [self._id_of(str(file)) if file.exists() else (0, 0) for file in files]

    @staticmethod
    def _id_of(file: str) -> tuple[int, int]:
        found = os.stat(file)  # noqa: PTH116 - once a commit, and a path costs as much again
        return found.st_dev, found.st_ino

    # Opening again

    def reopen(self) -> bool:
        """Open LMDB again if it has given up; for a caller who holds `writing`.

        Returns:
            whether it can be used; not while a reader reads for long

        Raises:
            StoreError: it cannot be opened

        """
        with self.writer.held_off(), self.gate.alone_at_once() as is_alone:
            if not is_alone:
                return False
            if not self._has_given_up():
                return True
            self.refuse_lost()
            try:
                if not self._is_down:
                    self._map_size = self.env.info()["map_size"]
                self._is_down = True
                self.env.close()
                env = self._open(self._map_size)
                try:
                    self._refuse_truncated(env)
                    for name in self.tables:
                        self.tables[name] = env.open_db(name.encode(), create=False)
                except BaseException:
                    env.close()
                    raise
            except (lmdb.Error, StoreError) as error:
                raise FailingDisk(
                    f"the store at {self.path} could not be opened again after the disk had "
                    f"failed, and is tried again with the next call: {error}"
                ) from error
            self.env, self._is_down = env, False
            return True

    def _has_given_up(self) -> bool:
        if self._is_down:
            return True
        try:
            self.env.begin().abort()
        except lmdb.PanicError:
            return True
        except lmdb.Error:
            return False
        return False

    def unreadable(self, error: lmdb.Error) -> ProcessionError:
        """Our error for one that LMDB raised when a read began."""
        if type(error) is lmdb.Error and self.gate.is_over:
            return ClosedError("the store was closed just before it was read")
        return self.refused(error, "reading")

    def refused(self, error: lmdb.Error, doing: str) -> StoreError:
        """Our error for one that LMDB raised."""
        if self._is_down:
            return FailingDisk(f"the store at {self.path} could not be opened again yet ({error})")
        if isinstance(error, lmdb.ReadersFullError):
            return self.no_place()
        return error_for(error, doing, self.path)


def used_bytes(env: lmdb.Environment) -> int:
    """How long the file must be for all that its header speaks of."""
    return int((env.info()["last_pgno"] + 1) * env.stat()["psize"])
