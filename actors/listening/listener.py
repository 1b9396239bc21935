"""The socket of a store's owner, and the thread that waits until a client calls.

Nothing here but the standard library is needed. What answers is imported when a client calls for
the first time, and is let go of when no client has called for a while.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..store import NoThread, located
from ..store.interrupts import start_thread
from .place import (
    LONGEST_PATH,
    POINTER,
    folders_for,
    new_shared_socket_in,
    private_folder,
    shared_sockets_in,
    socket_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MISSING_EXTRA", "Listener", "Serve", "Waker"]

logger = logging.getLogger("procession")

MISSING_EXTRA = (
    "the process that owns this store lacks what answers here; install the extra there: "
    "pip install 'procession[control]'"
)

PATIENCE = 3.0
"""Seconds that closing waits for a call that is being answered."""

_LONGEST_REQUEST = 1 << 16
_SLOW_CLIENT = 1.0


class Waker(Protocol):
    """What ends the serving."""

    def fileno(self) -> int:
        """A file that can be read from once it is to end."""
        ...


Serve: TypeAlias = "Callable[[socket.socket, Waker], None]"
"""Answers all who call at a socket, until the waker can be read from or no client has called for
a while."""


class Listener:
    """Waits at a socket for clients, and has them answered.

    Args:
        path: the store's folder, or its address in a database
        load: imports what answers; called on the listener's thread when a client has called
        is_shared: whether other processes have the store as well, each with a socket of its own

    Attributes:
        socket: where clients call; None if there is no socket
        problem: why there is none; empty if there is one

    """

    _thread_name = "procession-control"

    def __init__(
        self, path: str | os.PathLike[str], load: Callable[[], Serve], *, is_shared: bool = False
    ) -> None:
        self._store = located(path)
        self._is_shared = is_shared
        self._load = load
        self._listening: socket.socket | None = None
        self._thread: threading.Thread | None = None
        # One end is read from by who serves, and written to by who closes.
        self._waker: socket.socket | None = None
        self._closer: socket.socket | None = None
        self._is_over = False
        self.socket: Path | None = None
        self.problem = ""

    def start(self) -> None:
        """Bind the socket and start the thread; a failure is logged and kept, and not raised."""
        try:
            self._listening = self._bind()
            self._waker, self._closer = socket.socketpair()
            self._thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
            start_thread(self._thread)
        except (OSError, ValueError, NoThread) as error:
            self._thread = None
            self._let_go()
            self.problem = str(error)
            self._say(error)
            return
        _all.add(self)

    def close(self) -> None:
        """Answer no client any more; waits a moment for the one that is being answered."""
        _all.discard(self)
        self._is_over = True
        if self._closer is not None:
            with suppress(OSError):
                self._closer.send(b"x")
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._let_go()

    def forget(self) -> None:
        """Leave the socket to the process that this one was forked from."""
        for one in (self._listening, self._waker, self._closer):
            if one is not None:
                one.close()

    # Binding

    def _say(self, problem: Exception) -> None:
        logger.warning(
            "no client can call the owner of the store at %s: %s. All else runs",
            self._store,
            problem,
        )

    def _bind(self) -> socket.socket:
        refusals = []
        for place, folder in enumerate(folders_for(self._store)):
            try:
                listening = self._bind_in(folder)
            except (OSError, ValueError) as error:
                refusals.append(f"{folder}: {error}")
                with suppress(OSError, ValueError):
                    folder.rmdir()
                continue
            if isinstance(self._store, Path):
                self._point(self._store / POINTER, elsewhere=place > 0)
            return listening
        raise OSError("; ".join(refusals))

    def _bind_in(self, folder: Path) -> socket.socket:
        path = new_shared_socket_in(folder) if self._is_shared else socket_in(folder)
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise OSError(f"a socket's path has at most {LONGEST_PATH} bytes")
        private_folder(folder)
        if self._is_shared:
            _clear_up(folder)
        elif path.is_socket():
            # The store has one owner, so what is there was left by one that is gone.
            path.unlink()
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(os.fspath(path))
            listening.listen()
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
        self.socket = path
        return listening

    def _point(self, pointer: Path, *, elsewhere: bool) -> None:
        """Have the store say where its socket is, if that is elsewhere."""
        with suppress(OSError):
            # In a folder that cannot be written to, clients look where the owner looked.
            pointer.unlink(missing_ok=True)
            if elsewhere:
                fd = os.open(pointer, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "w") as file:
                    file.write(f"{self.socket}\n")

    def _let_go(self) -> None:
        self.forget()
        self._remove()

    def _remove(self) -> None:
        if self.socket is not None:
            with suppress(OSError):
                self.socket.unlink()
            with suppress(OSError):
                self.socket.parent.rmdir()
            if isinstance(self._store, Path):
                with suppress(OSError):
                    (self._store / POINTER).unlink(missing_ok=True)
        self.socket = None

    # Waiting

    def _run(self) -> None:
        assert self._listening is not None
        assert self._waker is not None
        waiting = select.poll()
        waiting.register(self._listening, select.POLLIN)
        waiting.register(self._waker, select.POLLIN)
        while self._is_called(waiting):
            try:
                serve = self._load()
                with self._listening.dup() as listening:
                    serve(listening, self._waker)
            except ImportError as error:
                logger.warning("a client called, and cannot be answered: %s", error)
                self._refuse("MissingExtra", MISSING_EXTRA)
            except (Exception, SystemExit) as error:
                logger.exception("a client called, and what answers failed")
                self._refuse(type(error).__name__, f"what answers failed: {error}")

    def _is_called(self, waiting: select.poll) -> bool:
        """Wait until a client calls; false once it is over."""
        # What is closed must not be polled: its number may be another file's by now.
        if not self._is_over:
            waiting.poll()
        return not self._is_over

    def _refuse(self, kind: str, why: str) -> None:
        """Answer the client that called first, and let it go."""
        assert self._listening is not None
        with suppress(OSError):
            calling, _ = self._listening.accept()
            with calling:
                calling.settimeout(_SLOW_CLIENT)
                calling.recv(_LONGEST_REQUEST)
                body = json.dumps({"error": {"type": kind, "message": why}}).encode()
                calling.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
                    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                )


def _clear_up(folder: Path) -> None:
    """Remove the sockets of processes that were killed."""
    for path in shared_sockets_in(folder):
        with socket.socket(socket.AF_UNIX) as calling:
            calling.settimeout(_SLOW_CLIENT)
            try:
                calling.connect(os.fspath(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                # Its process may be busy.
                continue


_all: weakref.WeakSet[Listener] = weakref.WeakSet()


def _forget_in_child() -> None:
    # A client of a dead parent would wait at a socket that the child holds open.
    for listener in _all:
        listener.forget()
    _all.clear()


os.register_at_fork(after_in_child=_forget_in_child)
