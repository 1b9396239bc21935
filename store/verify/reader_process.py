"""A process of its own that reads a store, and what is said when it does not come to its end.

LMDB reads through a memory map: a page that is damaged, or that the file has no more, may end the
process that reads it with SIGBUS. So what goes through a whole store does it in a process whose
end does no harm.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing import spawn
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .. import errors
from ..errors import DamagedStore, StoreError, TooManyReaders
from ..lmdb.lmdb_errors import DATA_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ReaderProcess"]

BOOT = """
import json, sys
request = json.loads(sys.stdin.readline())
sys.path[:] = request["sys_path"]
try:
    import procession
except ModuleNotFoundError:
    import store  # a checkout of which nothing is installed
from procession.store.verify.reading import read
read(request)
"""

OF_DAMAGE = frozenset({signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL})
"""Signals by which a process ends that reads what is damaged."""


class ReaderProcess:
    """A child that reads one store. A context manager; leaving the block ends the child.

    Args:
        path: the store's folder
        task: what the child does: a function of `reading`
        options: for that function, as JSON has them

    Raises:
        StoreError: no process could be started

    """

    def __init__(self, path: str | os.PathLike[str], task: str, **options: Any) -> None:
        self._path = Path(path).absolute()
        self._doing = "opened the file"
        self._last_words = ""
        try:
            # What `multiprocessing` starts, which a program may set if its own is no Python.
            self._process = subprocess.Popen(  # noqa: S603 - nothing of it is from outside
                [os.fsdecode(spawn.get_executable() or sys.executable), "-c", BOOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except OSError as error:
            raise StoreError(
                f"no process could be started to read the store at {self._path}: {error}. Run "
                f"`procession verify {self._path}` from a shell"
            ) from error
        request = {"sys_path": sys.path, "path": str(self._path), "task": task, "options": options}
        try:
            self.tell(request)
        except BaseException:
            self.end()
            raise

    def tell(self, message: Any) -> None:
        """Send the child something that `json` knows."""
        assert self._process.stdin is not None
        # Of a child that has ended, its end tells more.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the child says, until it has done what it was to do.

        Raises:
            DamagedStore: a signal ended it that means damage
            StoreError: what the child raised; or it ended without having come to its end

        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = _message(line)
            if message is None:
                self._last_words = line.strip() or self._last_words
            elif "error" in message:
                raise _error_from(message)
            elif "reading" in message:
                self._doing = f"read its table {message['reading']!r}"
            else:
                yield message
        status = self._process.wait()
        if status:
            raise self._ended(status)

    def _ended(self, status: int) -> StoreError:
        who = f"the process that reads the store at {self._path}"
        if status > 0:
            return StoreError(f"{who} ended with {status}: {self._last_words or 'it said nothing'}")
        name = signal.Signals(-status).name
        if -status in OF_DAMAGE:
            return DamagedStore(
                f"the reader of the store was killed by {name} when it {self._doing}: the file is "
                f"truncated or damaged at {self._path / DATA_FILE}; restore it from a backup"
            )
        return StoreError(f"{who} was killed by {name} when it {self._doing}; start it again")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def kill(self) -> None:
        """Have the child end, without waiting for it; any thread may call this."""
        self._process.kill()

    def end(self) -> None:
        """End the child, if it has not ended, and let go of it."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What could not be sent to it any more is told by its end.
            with suppress(OSError):
                assert pipe is not None
                pipe.close()


def _message(line: str) -> dict[str, Any] | None:
    """What the child said; None if the line is another's, such as the interpreter's."""
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return None


def _error_from(message: dict[str, Any]) -> StoreError:
    cls: type[StoreError] = getattr(errors, message["error"])
    error = cls(message["text"])
    if isinstance(error, TooManyReaders):
        error.processes = {int(one): count for one, count in message["processes"].items()}
    return error
