"""What a process has in common for all partitions of a database, such as a few connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .calls import Calls
from .connecting import Connector
from .lease import Lease
from .line import Line
from .looks import Looks
from .readers import Readers
from .writer import Writer

if TYPE_CHECKING:
    from ..lmdb.environment import Durability
    from .address import Address

__all__ = ["DatabaseNode"]

MOST_READERS = 3
"""Connections that read, of all partitions; the lease has one besides, who commits one for that and
one for what is looked for before."""


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
        self.looks = Looks(Line(self.connect))
        self.writer = Writer(Line(self.connect))
        self.lease = Lease(address, self.connect, self.readers.look)
        self.calls = Calls(self.readers.look, self.lease.id)

    def close(self) -> None:
        """Let go of all."""
        self.lease.close()
        for line in (self.looks.line, self.writer.line):
            with line.lock:
                line.close()
        self.readers.close()
