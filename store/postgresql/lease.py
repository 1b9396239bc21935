"""What a node has: its place among the nodes, its partitions, and the lease on all of them.

A node has one advisory lock for all that it owns; see `ownership` for what it is a hint of.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DatabaseRefused, LockedStore, StoreError, TakenOver
from ..interrupts import start_thread
from .claim import RELEASE, Claim
from .connection import Statement
from .ownership import CONNECT_AGAIN, LEASE, RENEW_EVERY
from .parameters import bigint, boolean, integer, number_of, numbers_of, seconds_of, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from psycopg.pq.abc import PGresult

    from .address import Address
    from .connection import Call, Connection

__all__ = ["Lease", "NodeRow", "OwnerRow"]

logger = logging.getLogger("procession")

_HOLD = Statement(b"hold_node", b"SELECT pg_advisory_lock(hashtextextended($1, 0))")
_RENEW = Statement(
    b"renew_all",
    b"WITH mine AS (SELECT part FROM owners WHERE token = $1 ORDER BY part FOR NO KEY UPDATE) "
    b"UPDATE owners SET leased_until = clock_timestamp() + make_interval(secs => $2) FROM mine "
    b"WHERE owners.part = mine.part RETURNING owners.part",
)
_APPEAR = Statement(
    b"appear",
    b"INSERT INTO nodes (id, name, since, alive_until, reads, writes, is_drained) VALUES ($1, $2, "
    b"clock_timestamp(), clock_timestamp() + make_interval(secs => $3), $4, $5, false) "
    b"ON CONFLICT (id) DO UPDATE SET alive_until = EXCLUDED.alive_until, "
    # Who was taken for gone is behind those that came meanwhile, and may have written what it
    # cannot read.
    b"since = CASE WHEN $6 OR nodes.alive_until < clock_timestamp() THEN EXCLUDED.since "
    b"ELSE nodes.since END",
)
_LEAVE = Statement(b"leave", b"DELETE FROM nodes WHERE id = $1")
_BURY = Statement(
    b"bury",
    b"DELETE FROM nodes WHERE alive_until < clock_timestamp() - interval '1 minute'",
)
# Of all that is equally held one row: there may be thousands of partitions, and few nodes.
_OWNERS = Statement(
    b"all_owners",
    b"SELECT parts, epochs, token, wanted_by, is_over, CASE WHEN token = '' THEN true "
    b"ELSE pg_try_advisory_xact_lock(hashtextextended(token, 0)) END FROM "
    b"(SELECT array_agg(part) AS parts, array_agg(epoch) AS epochs, coalesce(token, '') AS token, "
    b"coalesce(wanted_by, '') AS wanted_by, coalesce(leased_until < clock_timestamp(), true) "
    b"AS is_over FROM owners GROUP BY 3, 4, 5) AS held",
)
# One that ends without a word is no node any more as soon as its lock is free for long enough.
_NODES = Statement(
    b"all_nodes",
    b"SELECT id, name, alive_until >= clock_timestamp(), is_drained, "
    b"array_to_string(reads, ' '), array_to_string(writes, ' '), "
    b"pg_try_advisory_xact_lock(hashtextextended(id, 0)) FROM nodes ORDER BY since, id",
)
_TAKE = Statement(
    b"take_one",
    b"UPDATE owners SET epoch = epoch + 1, token = $3, owner = $4, since = clock_timestamp(), "
    b"leased_until = clock_timestamp() + make_interval(secs => $5), "
    b"wanted_by = CASE WHEN wanted_by = $3 THEN NULL ELSE wanted_by END "
    b"WHERE part = $1::int AND epoch = $2::bigint RETURNING epoch",
)
_WAIT_FOR = Statement(b"wait_for", b"UPDATE nodes SET waits_for = nullif($2, '') WHERE id = $1")


class OwnerRow(NamedTuple):
    """What is known of the owner of a partition at one moment."""

    part: int
    epoch: int
    token: str
    wanted_by: str
    is_over: bool
    is_unlocked: bool


class NodeRow(NamedTuple):
    """What is known of a node at one moment."""

    id: str
    name: str
    is_alive: bool
    is_drained: bool
    reads: frozenset[str]
    writes: frozenset[str]
    is_unlocked: bool


class _Own(Claim):
    """A partition of a node."""

    def __init__(self, lease: Lease, part: int, epoch: int) -> None:
        super().__init__(lease.address, part, lease.id, epoch)
        self._lease = lease

    def close(self) -> None:
        self._lease.release(self)


class Lease:
    """The partitions of this node. A thread renews it, on a connection of its own.

    Args:
        address: of the store
        connect: makes a connection
        look: asks a question on a connection of the readers

    Attributes:
        id: what the node is known by
        name: for people

    """

    def __init__(
        self,
        address: Address,
        connect: Callable[[], Connection],
        look: Callable[..., list[PGresult]],
    ) -> None:
        self.address = address
        self.id = secrets.token_hex(16)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{self.id[:4]}"
        self._connect = connect
        self._look = look
        self._claims: dict[int, _Own] = {}
        self._reads: frozenset[str] = frozenset()
        self._writes: frozenset[str] = frozenset()
        self._is_over = False
        self._has_begun = False
        self._connection: Connection | None = None
        self._waker, self._closer = socket.socketpair()
        self._thread = threading.Thread(target=self._keep, name="procession-lease", daemon=True)

    def begin(self, reads: Collection[str], writes: Collection[str]) -> None:
        """Be a node from now on.

        Args:
            reads: wire names of what it understands
            writes: of what it may write

        """
        self._reads, self._writes = frozenset(reads), frozenset(writes)
        self._connection = connection = self._connect()
        connection.one(_HOLD, [text(self.id)])
        connection.run(self._appearing(is_back=False), (_BURY, ()))
        self._has_begun = True
        start_thread(self._thread)

    def _appearing(self, *, is_back: bool) -> Call:
        given = [
            text(self.id),
            text(self.name),
            seconds_of(LEASE),
            texts(sorted(self._reads)),
            texts(sorted(self._writes)),
            boolean(is_back),
        ]
        return _APPEAR, given

    # Looking

    def look(self) -> tuple[list[OwnerRow], list[NodeRow]]:
        """All owners and all nodes, as they are now."""
        owners, nodes = self._look((_OWNERS, ()), (_NODES, ()))
        found = [one for row in range(owners.ntuples) for one in _owners_from(owners, row)]
        return sorted(found), [_node_from(nodes, row) for row in range(nodes.ntuples)]

    def say_waits_for(self, node: str) -> None:
        """Let operators see that this node owns nothing until another one is gone."""
        self._look((_WAIT_FOR, [text(self.id), text(node)]))

    # Taking and letting go

    def take(self, epochs: Mapping[int, int]) -> list[int]:
        """Take partitions over from who has them with these epochs.

        Returns:
            those that were taken; another node was quicker with the others

        """
        calls: list[Call] = [
            (
                _TAKE,
                [
                    integer(part),
                    bigint(epochs[part]),
                    text(self.id),
                    text(self.name),
                    seconds_of(LEASE),
                ],
            )
            # In their order, as all lock them who lock more than one.
            for part in sorted(epochs)
        ]
        taken: list[int] = []
        for part, found in zip(sorted(epochs), self._look(*calls) if calls else (), strict=True):
            if found.ntuples:
                self._claims[part] = _Own(self, part, number_of(found.get_value(0, 0)))
                taken.append(part)
        return taken

    def claimed(self, part: int) -> Claim:
        """What was taken.

        Raises:
            LockedStore: it was not

        """
        claim = self._claims.get(part)
        if claim is None:
            raise LockedStore(f"partition {part} of {self.address} is another node's")
        return claim

    def lose(self, part: int) -> None:
        """Another node has taken a partition over."""
        claim = self._claims.get(part)
        if claim is not None and claim.lost is None:
            claim.lost = TakenOver(
                f"another process has taken over partition {part} of {self.address}; nothing that "
                f"this one has not acknowledged is kept"
            )
            logger.error("%s", claim.lost)

    def release(self, claim: _Own) -> None:
        """Let another node have a partition at once."""
        if self._claims.get(claim.part) is claim:
            del self._claims[claim.part]
        # If the database does not answer, the lease ends by itself.
        with suppress(StoreError):
            if claim.lost is None:
                self._look((RELEASE, [integer(claim.part), text(self.id)]))

    # Keeping it

    def _keep(self) -> None:
        while not self._is_over:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                    self._connection.one(_HOLD, [text(self.id)])
                    self._renew(self._connection, is_back=True)
                self._wait(RENEW_EVERY, self._connection)
                if not self._is_over:
                    self._renew(self._connection)
            except StoreError as error:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                if not isinstance(error, DatabaseRefused):
                    logger.warning("the lease of the node cannot be renewed: %s", error)
                self._wait(CONNECT_AGAIN)

    def _renew(self, connection: Connection, *, is_back: bool = False) -> None:
        # Those that are taken meanwhile have a lease that begins then.
        claims = dict(self._claims)
        renewing: Call = _RENEW, [text(self.id), seconds_of(LEASE)]
        found, _ = connection.run(renewing, self._appearing(is_back=is_back))
        kept = {number_of(found.get_value(row, 0)) for row in range(found.ntuples)}
        for part, claim in claims.items():
            if part not in kept and claim.lost is None and self._claims.get(part) is claim:
                logger.error("%s", claim.taken_over(connection))

    def _wait(self, within: float, connection: Connection | None = None) -> None:
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        if connection is not None:
            # What the server says unasked is that it ends the connection.
            poll.register(connection, select.POLLIN)
        poll.poll(round(within * 1000))

    def close(self) -> None:
        """Let go of all, and be no node any more."""
        if self._is_over:
            return
        self._is_over = True
        with suppress(OSError):
            self._closer.send(b"x")
        if self._thread.is_alive():
            self._thread.join()
        for claim in list(self._claims.values()):
            claim.close()
        with suppress(StoreError):
            if self._has_begun:
                self._look((_LEAVE, [text(self.id)]))
        if self._connection is not None:
            self._connection.close()
        self._waker.close()
        self._closer.close()


def _owners_from(result: PGresult, row: int) -> Iterator[OwnerRow]:
    parts, epochs = (numbers_of(result.get_value(row, one)) for one in (0, 1))
    token, wanted_by = (_said(result, row, one) for one in (2, 3))
    is_over, is_unlocked = (bool(_number(result, row, one)) for one in (4, 5))
    for part, epoch in zip(parts, epochs, strict=True):
        yield OwnerRow(part, epoch, token, wanted_by, is_over, is_unlocked)


def _node_from(result: PGresult, row: int) -> NodeRow:
    number, name, reads, writes = (_said(result, row, one) for one in (0, 1, 4, 5))
    is_alive, is_drained, is_unlocked = (bool(_number(result, row, one)) for one in (2, 3, 6))
    known = frozenset(reads.split()), frozenset(writes.split())
    return NodeRow(number, name, is_alive, is_drained, *known, is_unlocked)


def _number(result: PGresult, row: int, column: int) -> int:
    return number_of(result.get_value(row, column))


def _said(result: PGresult, row: int, column: int) -> str:
    return (result.get_value(row, column) or b"").decode()
