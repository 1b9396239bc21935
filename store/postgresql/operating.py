"""What operators see of the nodes that share a database, and have them do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .connecting import Connector
from .connection import Statement
from .migrations import partitions_of
from .parameters import boolean, integer, number_of, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .address import Address

__all__ = ["drain", "move", "nodes", "partitions"]

_NODES = Statement(
    b"",
    b"SELECT name, (extract(epoch FROM since) * 1000000)::bigint, is_alive, is_drained, "
    b"coalesce(waits_for, ''), partitions FROM procession_nodes ORDER BY since",
)
_PARTITIONS = Statement(
    b"",
    b"SELECT part, coalesce(owner, ''), epoch, (extract(epoch FROM since) * 1000000)::bigint, "
    b"coalesce((SELECT name FROM nodes WHERE id = wanted_by), ''), not_taken, queue_rows, calls, "
    b"(extract(epoch FROM oldest_call) * 1000000)::bigint FROM procession_partitions ORDER BY part",
)
_DRAIN = Statement(b"", b"UPDATE nodes SET is_drained = $2 WHERE name = $1 RETURNING name")
_MOVE = Statement(
    b"",
    b"UPDATE owners SET wanted_by = nodes.id FROM nodes "
    b"WHERE part = $1::int AND nodes.name = $2 AND alive_until >= clock_timestamp() "
    b"AND NOT is_drained RETURNING part",
)


def nodes(address: Address) -> list[dict[str, Any]]:
    """The nodes of a store, in the order in which they came."""
    return [
        {
            "node": _text(row[0]),
            "since": _moment(row[1]),
            "is_alive": bool(number_of(row[2])),
            "is_drained": bool(number_of(row[3])),
            "waits_for": _text(row[4]),
            "partitions": number_of(row[5]),
        }
        for row in _rows(address, _NODES, ())
    ]


def partitions(address: Address) -> list[dict[str, Any]]:
    """The partitions of a store: whose they are, and what waits in them."""
    return [
        {
            "partition": number_of(row[0]),
            "owner": _text(row[1]),
            "epoch": number_of(row[2]),
            "since": _moment(row[3]),
            "wanted_by": _text(row[4]),
            "not_taken": number_of(row[5]),
            "queue_rows": number_of(row[6]),
            "calls": number_of(row[7]),
            "oldest_call": _moment(row[8]),
        }
        for row in _rows(address, _PARTITIONS, ())
    ]


def drain(address: Address, node: str, *, undo: bool = False) -> None:
    """Have a node hand over all that it owns, and take nothing.

    Args:
        address: of the store
        node: its name
        undo: have it take its share again

    Raises:
        StoreError: there is no such node

    """
    if not _rows(address, _DRAIN, [text(node), boolean(not undo)], writes=True):
        raise StoreError(f"{address} has no node {node!r}; `procession nodes` lists those it has")


def move(address: Address, partition: int, node: str) -> None:
    """Have the owner of a partition hand it over to a node.

    Raises:
        StoreError: there is no such partition, or no such node that is alive and not drained

    """
    if not _rows(address, _MOVE, [integer(partition), text(node)], writes=True):
        raise StoreError(
            f"{address} has no partition {partition}, or no node {node!r} that could take it; "
            f"`procession partitions` and `procession nodes` list what it has"
        )


def _rows(
    address: Address,
    statement: Statement,
    given: Sequence[bytes | None],
    *,
    writes: bool = False,
) -> list[list[bytes | None]]:
    connection = Connector(address, read_only=not writes)()
    try:
        if partitions_of(connection, address) < 2:
            raise StoreError(f"there is no divided store at {address}, whose nodes could be seen")
        found = connection.one(statement, given)
        return [
            [found.get_value(row, column) for column in range(found.nfields)]
            for row in range(found.ntuples)
        ]
    finally:
        connection.close()


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _moment(value: bytes | None) -> str | None:
    if value is None:
        return None
    epoch = datetime.fromtimestamp(0, tz=UTC)
    return (epoch + timedelta(microseconds=number_of(value))).isoformat()
