"""How a store connects to its database: what for, and what it refuses to write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import StoreError
from .connection import Connection, Session

if TYPE_CHECKING:
    from ..lmdb.environment import Durability
    from .address import Address

__all__ = ["Connector"]


class Connector:
    """Makes connections.

    Args:
        address: where to
        durability: as for `PostgresEngine`
        read_only: whether they refuse to write

    """

    def __init__(
        self, address: Address, *, durability: Durability = "fsync", read_only: bool = False
    ) -> None:
        self.address = address
        self._is_safe = durability == "fsync"
        self._is_read_only = read_only

    def __call__(self) -> Connection:
        """A new connection.

        Raises:
            DatabaseRefused: the database does not answer, or does not let this user in
            StoreError: it is not to be written to

        """
        commits = "" if self._is_safe or self._is_read_only else "off"
        connection = Connection(self.address, Session(self._is_read_only, commits))
        if self._is_read_only:
            return connection
        refusal = None
        if connection.is_standby:
            refusal = (
                "is a standby, which only reads; give the address of the primary, or open it with "
                "read_only=True"
            )
        elif self._is_safe and "off" in {connection.synchronous_commit, connection.fsync}:
            refusal = (
                f"has synchronous_commit={connection.synchronous_commit} and "
                f"fsync={connection.fsync}, so that a crash of the server takes back what was "
                f"acknowledged. Turn both on, for the server, the role and the database; or say "
                f'that it may: durability="none"'
            )
        if refusal is not None:
            connection.close()
            raise StoreError(f"the database at {self.address} {refusal}")
        return connection
