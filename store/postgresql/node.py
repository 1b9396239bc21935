"""What a process has in common for all partitions of a database, such as a few connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .calls import Calls
from .connecting import Connector
from .lease import Lease
from .readers import Readers
from .writer import Writer

if TYPE_CHECKING:
    from ..lmdb.environment import Durability
    from .address import Address

__all__ = ["DatabaseNode"]

MOST_READERS = 4
"""Connections that read, of all partitions; the lease and the writer have one each besides."""


class DatabaseNode:
    """The connections of one process, and what it owns.

    Args:
        address: of the store
        durability: as for `PostgresEngine`
        read_only: whether the process only looks at the store

    """

    def __init__(
        self, address: Address, *, durability: Durability = "fsync", read_only: bool = False
    ) -> None:
        self.address = address
        self.connect = Connector(address, durability=durability, read_only=read_only)
        self.readers = Readers(self.connect, MOST_READERS)
        self.writer = Writer(self.connect)
        self.lease = Lease(address, self.connect, self.readers.look)
        self.calls = Calls(self.readers.look, self.lease.id)

    def close(self) -> None:
        """Let go of all."""
        self.lease.close()
        with self.writer.lock:
            self.writer.close()
        self.readers.close()
