"""Filling the tables of a partition with many rows that are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .connecting import Connector
from .migrations import transaction
from .parameters import copied
from .statements import copy_into, fence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..storage_engine import Row
    from .address import Address
    from .claim import Claim

__all__ = ["Filling"]


class Filling:
    """A connection for rows that are new, which does not wait for the server's disk.

    What a crash of the server takes back of them is the last that were written. They are durable
    with the next commit of the engine, which does wait.

    Args:
        address: of the store
        claim: to the partition

    """

    def __init__(self, address: Address, claim: Claim) -> None:
        self._claim = claim
        self._connection = Connector(address, durability="none")()

    def write(self, table: str, rows: Sequence[Row]) -> None:
        """Write rows, all of them or none.

        Raises:
            TakenOver: another process has the partition
            StoreError: the database refused, or does not answer

        """
        part, connection = self._claim.part, self._connection
        with transaction(connection):
            connection.run(fence({part: self._claim.epoch}))
            connection.copy_in(copy_into(table), copied([(part, rows)]))

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
