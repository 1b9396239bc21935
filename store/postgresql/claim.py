"""What a process knows of a partition that is its own: its epoch, and whether it was taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import TakenOver
from .connection import Statement
from .parameters import integer, number_of, text

if TYPE_CHECKING:
    from .address import Address
    from .connection import Connection

__all__ = ["RELEASE", "Claim"]

RELEASE = Statement(
    b"release",
    b"UPDATE owners SET token = NULL, owner = NULL, since = NULL, leased_until = NULL "
    b"WHERE part = $1::int AND token = $2",
)

_RAISE = Statement(
    b"raise_epoch",
    b"UPDATE owners SET epoch = epoch + 1 WHERE part = $1::int AND token = $2 RETURNING epoch",
)
_OWNER = Statement(b"who_owns", b"SELECT owner, since::text FROM owners WHERE part = $1::int")


class Claim:
    """A partition that this process has taken.

    Args:
        address: of the store
        part: which partition
        token: what the owner is known by
        epoch: with which it was taken

    Attributes:
        epoch: that commits name
        lost: what is to be said once another process has it; None until then

    """

    def __init__(self, address: Address, part: int, token: str, epoch: int = 0) -> None:
        self._address = address
        self.part = part
        self._token = token
        self.epoch = epoch
        self.lost: TakenOver | None = None

    def raise_epoch(self, connection: Connection) -> None:
        """Fence what this process itself sent before, and may still be on its way.

        Raises:
            TakenOver: another process has it by now
            DatabaseRefused: the database does not answer

        """
        found = connection.one(_RAISE, [integer(self.part), text(self._token)])
        if not found.ntuples:
            raise self.taken_over(connection)
        self.epoch = number_of(found.get_value(0, 0))

    def taken_over(self, connection: Connection) -> TakenOver:
        """Note that another process has it, and what is to be said of it."""
        found = connection.one(_OWNER, [integer(self.part)])
        owner, since = ((found.get_value(0, column) or b"").decode() for column in range(2))
        now = f"it is {owner}'s since {since}" if owner else "that one has closed it again"
        self.lost = TakenOver(
            f"another process has taken over the store at {self._address}: {now}. Nothing that "
            f"this one has not acknowledged is kept; end it, and open the store anew"
        )
        return self.lost

    def close(self) -> None:
        """Let another process have it at once."""
        raise NotImplementedError
