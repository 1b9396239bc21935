"""Our errors for those of PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.pq import DiagnosticField

from ..errors import DamagedStore, DatabaseRefused, StoreError, StoreFull, TakenOver

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from .address import Address

__all__ = ["FENCED", "KnownKey", "error_for", "is_end_of_connection"]

FENCED = "PX001"
"""What our own function raises: another process is the owner by now."""

_KNOWN_KEY = "23505"

# Shutdowns, crashes of another session, and a server that starts.
_ENDS = ("57P01", "57P02", "57P03", "57P05", "08")

_FULL = frozenset({"53100"})
_RULED = {
    "42501": "this role lacks rights that the store needs; see the guide for those",
    "25006": "the database only reads: it is a standby, or was made read-only; give the address of "
    "the primary, or open with read_only=True",
    "3D000": "there is no such database; make it with createdb",
    "42P07": "the schema has a table of that name that is not the store's; give the store a schema "
    "of its own: ?schema=NAME",
}
_DAMAGE = ("XX001", "XX002", "42P01", "42703", "42883", "3F000")
"""Damaged pages or indexes; tables, columns, functions or a schema that are not there any more."""


class KnownKey(DatabaseRefused):
    """A row is there that was to be new; nothing was kept."""


def is_end_of_connection(result: PGresult) -> bool:
    """Whether the server says with this that it ends the connection."""
    return _code(result).startswith(_ENDS)


def error_for(result: PGresult, address: Address) -> StoreError:
    """Our error for one of PostgreSQL's.

    Args:
        result: the server's answer
        address: of the store

    """
    code = _code(result)
    said = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    why = f"PostgreSQL said {said!r}, code {code}"
    if code == FENCED:
        return TakenOver(
            f"another process has taken over the store at {address}: {said}. Nothing that this one "
            f"has not acknowledged is kept; end it, and open the store anew"
        )
    if code in _FULL:
        return StoreFull(
            f"no room on the disk of the server of {address}; nothing of it was kept: free some "
            f"space there and try again ({why})"
        )
    if code in _RULED:
        return StoreError(f"{address}: {_RULED[code]} ({why})")
    if code.startswith(_DAMAGE):
        return DamagedStore(
            f"the store at {address} cannot be read: {why}. Its tables were changed or damaged; go "
            f"back to a backup"
        )
    kind = KnownKey if code == _KNOWN_KEY else DatabaseRefused
    return kind(f"the server of {address} refused; nothing of it was kept. {why}")


def _code(result: PGresult) -> str:
    return (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
