"""Who asks: what the operating system says of a caller, and what the caller claims."""

from __future__ import annotations

import pwd
import socket
import struct

__all__ = ["caller", "peer_of"]

LONGEST_CLAIM = 200
"""Characters that are kept of what a caller claims to be."""


def caller(uid: int | None, claimed: str | None) -> str:
    """Who asks, as it is recorded.

    Args:
        uid: the user id of the calling process; None if the operating system does not say
        claimed: who the caller says it is; a caller may type any name

    """
    said = (claimed or "").strip()[:LONGEST_CLAIM]
    if uid is None:
        return f"{said} (as claimed)" if said else "unknown"
    return f"{said} (as claimed by {_user(uid)})" if said else _user(uid)


def _user(uid: int) -> str:
    try:
        return f"uid {uid}, {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"


def peer_of(calling: socket.socket) -> int | None:
    """The user id of the process at the other end of a Unix socket; None if it is not told."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = calling.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
