"""What a process has in common for all partitions of a database, such as a few connections."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .calls import Calls
from .connecting import Connector
from .first_look import look_first
from .lease import Lease
from .readers import Readers
from .writer import Writer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..lmdb.environment import Durability
    from .address import Address
    from .first_look import FirstLook

__all__ = ["DatabaseNode"]

MOST_READERS = 4
"""Connections that read, of all partitions; the lease and the writer have one each besides."""


class DatabaseNode:
    """The connections of one process, and what it owns.

    Args:
        address: of the store
        durability: as for `PostgresEngine`
        read_only: whether the process only looks at the store

    Attributes:
        first_looks: by partition, what is known already of those that are being opened

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
        self.first_looks: dict[int, FirstLook] = {}

    @contextmanager
    def opening(self, parts: Collection[int]) -> Iterator[None]:
        """Look at partitions once for all of them, which are opened while the block lasts.

        Those that are opened for writing are this node's already.
        """
        self.first_looks = found = look_first(self.readers.look, parts)
        try:
            yield
        finally:
            self.first_looks = {}
            for one in found.values():
                one.end()

    def close(self) -> None:
        """Let go of all."""
        self.lease.close()
        with self.writer.held():
            self.writer.close()
        self.readers.close()
