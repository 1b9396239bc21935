"""Refuses what a handler would do to the world while it is only tried.

Python tells an audit hook of sockets, files and processes before they are opened. A hook cannot be
removed, so this one looks first whether the thread is in a handler that is tried, and it is there
from the first such handler of the process on. What is open already (a log file, a connection that
was made before) is written to without a word of it, and C code of its own need not ask.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

__all__ = ["OutOfReach", "Watch", "guard"]

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_OF_SOCKETS = "socket."

_OF_PROCESSES = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
        # A thread would go on when the handler has returned, with nothing to look after it.
        "_thread.start_new_thread",
        "_thread.start_joinable_thread",
    }
)

_OF_FILES = frozenset(
    {
        "os.chflags",
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.removexattr",
        "os.rename",
        "os.rmdir",
        "os.setxattr",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "sqlite3.connect",
    }
)


class OutOfReach(PermissionError):
    """A handler that is only tried would have opened a socket, a file for writing or a process."""


class Watch(threading.local):
    """What the thread's handler was refused; None while it is in none."""

    refused: list[str] | None = None


_watch = Watch()

_installing = threading.Lock()
_is_installed = False


def guard() -> Watch:
    """What keeps handlers from reaching outside.

    Who runs one has its `refused` be a list before, and None behind it: a block for that would cost
    as much as a small handler. What is refused is added to the list, and raises `OutOfReach` where
    the handler asked for it.
    """
    global _is_installed  # noqa: PLW0603 - a hook is there once in a process, for ever
    with _installing:
        if not _is_installed:
            sys.addaudithook(_hear)
            _is_installed = True
    return _watch


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    refused = _watch.refused
    if refused is None:
        return
    what = _reached_for(event, arguments)
    if what is None:
        return
    if not what.endswith(".pyc"):
        # A module that is imported in a handler goes without the file that would spare the next.
        refused.append(what)
    raise OutOfReach(
        f"{what} was refused: the handler is only tried on what is stored, and reaches nothing "
        f"outside"
    )


def _reached_for(event: str, arguments: tuple[Any, ...]) -> str | None:
    """What is asked for, in words; None of what is allowed."""
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & WRITES:
            return None
        # Under a name of its own while it is written.
        name = str(path).partition(".pyc.")[0]
        return f"open for writing: {name}.pyc" if name != str(path) else f"open for writing: {path}"
    if event.startswith(_OF_SOCKETS) or event in _OF_PROCESSES or event in _OF_FILES:
        return event
    return None
