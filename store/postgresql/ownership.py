"""Who may write: a lease with an epoch, which every commit names.

A process that opens a partition raises its epoch, and so fences the one before it. When it may: at
once if no process has it; when the lease is over, by the server's clock; or when the owner's
connection is gone. Each owner has an advisory lock of its own, which the server lets go when the
owner's process dies; the lock is a hint and no more, since a connection may break under an owner
that lives. So it has to be free twice, with a while between in which a living owner connects again.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import socket
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DatabaseRefused, LockedStore, StoreError, TakenOver
from ..interrupts import Latch, start_thread
from .claim import RELEASE, Claim
from .connection import Connection, Statement
from .parameters import bigint, integer, number_of, seconds_of, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from .address import Address

__all__ = ["LEASE", "Ownership"]

logger = logging.getLogger("procession")

LEASE = 3.0
"""Seconds for which a partition is its owner's without a word from it."""

RENEW_EVERY = 1.0
LOOK_AGAIN = 0.12
"""Seconds between two looks at another process's lease."""

CONNECT_AGAIN = 0.1

_LOOK = Statement(
    b"look_at_owner",
    b"SELECT epoch, token, owner, since::text, leased_until < clock_timestamp(), "
    b"pg_try_advisory_xact_lock(hashtextextended(token, 0)) FROM owners WHERE part = $1::int",
)
# The epoch is looked at anew when the row is locked, so of two that take it one is refused.
_TAKE = Statement(
    b"take",
    b"WITH taken AS (UPDATE owners SET epoch = epoch + 1, token = $3, owner = $4, "
    b"since = clock_timestamp(), leased_until = clock_timestamp() + make_interval(secs => $5) "
    b"WHERE part = $1::int AND epoch = $2::bigint RETURNING epoch) "
    b"SELECT epoch, pg_advisory_lock(hashtextextended($3, 0)) FROM taken",
)
_RENEW = Statement(
    b"renew",
    b"UPDATE owners SET leased_until = clock_timestamp() + make_interval(secs => $3) "
    b"WHERE part = $1::int AND token = $2 RETURNING epoch",
)
_HOLD = Statement(b"hold", b"SELECT pg_try_advisory_lock(hashtextextended($1, 0))")


class _Look(NamedTuple):
    """What is known of an owner at one moment."""

    epoch: int
    token: str
    owner: str
    since: str
    is_over: bool
    is_unlocked: bool


class Ownership(Claim):
    """A partition that this process has, until it lets it go or another one takes it over.

    A thread keeps the lease, and the connection that the lock stands on.

    Args:
        address: of the store
        part: which partition
        connect: makes a connection

    Raises:
        LockedStore: another process has it

    """

    def __init__(self, address: Address, part: int, connect: Callable[[], Connection]) -> None:
        super().__init__(address, part, secrets.token_hex(16))
        self._connect = connect
        self._is_over = False
        self._connection: Connection | None = connect()
        self._waker, self._closer = socket.socketpair()
        try:
            self.epoch = self._take(self._connection)
        except BaseException:
            self._let_go()
            raise
        self._thread = threading.Thread(
            target=_keep, args=(weakref.ref(self),), name="procession-lease", daemon=True
        )
        try:
            start_thread(self._thread)
        except BaseException:
            self._release()
            self._let_go()
            raise

    # Taking it

    def _take(self, connection: Connection) -> int:
        left = self._address.wait_for_owner
        seen: _Look | None = None
        while True:
            look = self._look(connection)
            is_dead = look.is_unlocked and seen is not None and seen.epoch == look.epoch
            if look.is_over or (is_dead and seen is not None and seen.is_unlocked):
                epoch = self._seize(connection, look.epoch)
                if epoch:
                    return epoch
            elif not look.is_unlocked and left <= 0:
                raise LockedStore(
                    f"the store at {self._address} is already open for writing, by {look.owner} "
                    f"since {look.since}; close that one first, open this one with read_only=True, "
                    f"or wait until that one has gone: ?wait_for_owner=SECONDS"
                )
            seen = look
            Latch().wait(LOOK_AGAIN)
            left -= LOOK_AGAIN

    def _look(self, connection: Connection) -> _Look:
        found = connection.one(_LOOK, [integer(self.part)])
        if not found.ntuples:
            raise StoreError(f"the store at {self._address} has no partition {self.part}")
        epoch, *said = (found.get_value(0, column) for column in range(6))
        token, owner, since = ((one or b"").decode() for one in said[:3])
        # Without an owner, what is asked of its lock and lease is null.
        is_over, is_unlocked = (one is None or bool(number_of(one)) for one in said[3:])
        return _Look(number_of(epoch), token, owner, since, is_over, is_unlocked)

    def _seize(self, connection: Connection, epoch: int) -> int:
        """Take it over from who has that epoch; 0 if another process was quicker."""
        me = f"process {os.getpid()} on {socket.gethostname()}"
        given = [
            integer(self.part),
            bigint(epoch),
            text(self._token),
            text(me),
            seconds_of(LEASE),
        ]
        found = connection.one(_TAKE, given)
        return number_of(found.get_value(0, 0)) if found.ntuples else 0

    # Keeping it

    def keep(self) -> bool:
        """Wait a while and renew the lease. Returns whether there is more to do."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                # It may have been taken already, by one whom the connection went with.
                self._connection.one(_HOLD, [text(self._token)])
                self._renew(self._connection)
            if self._waits_in_vain(self._connection):
                return False
            self._renew(self._connection)
        except TakenOver as error:
            # Where in our code it was found is of no interest.
            logger.error("%s", error)  # noqa: TRY400
            return False
        except StoreError as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                if not isinstance(error, DatabaseRefused):
                    logger.warning("the lease of the store cannot be renewed: %s", error)
            return not self._is_closed(CONNECT_AGAIN)
        return True

    def _renew(self, connection: Connection) -> None:
        given = [integer(self.part), text(self._token), seconds_of(LEASE)]
        if not connection.one(_RENEW, given).ntuples:
            raise self.taken_over(connection)

    def _waits_in_vain(self, connection: Connection) -> bool:
        """Wait until the lease is to be renewed; true if it is to be let go of meanwhile."""
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        # What the server says unasked is that it ends the connection.
        poll.register(connection, select.POLLIN)
        poll.poll(round(RENEW_EVERY * 1000))
        return self._is_over

    def _is_closed(self, within: float) -> bool:
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        poll.poll(round(within * 1000))
        return self._is_over

    # Letting it go

    def close(self) -> None:
        """Let another process have it at once."""
        if self._is_over:
            return
        self._is_over = True
        with suppress(OSError):
            self._closer.send(b"x")
        self._thread.join()
        self._release()
        self._let_go()

    def _release(self) -> None:
        # If the database does not answer, the lease ends by itself.
        with suppress(StoreError):
            if self.lost is None:
                connection = self._connection or self._connect()
                self._connection = connection
                connection.one(RELEASE, [integer(self.part), text(self._token)])

    def _let_go(self) -> None:
        self._is_over = True
        if self._connection is not None:
            self._connection.close()
        self._waker.close()
        self._closer.close()


def _keep(ownership: weakref.ref[Ownership]) -> None:
    """What the thread does, for as long as the store is open."""
    while True:
        one = ownership()
        if one is None or not one.keep():
            return
        del one
