"""`nodes`, `drain` and `move`: the processes that share a store in a database."""

from typing import Annotated, Any

import typer

from ..store import Address, StoreError, is_address, operating
from .options import JsonOption, StoreOption
from .output import Column, said, show_rows, when

__all__ = ["drain", "move", "nodes", "show_partitions"]


def _state(row: dict[str, Any]) -> str:
    if not row["is_alive"]:
        return "says nothing"
    if row["waits_for"]:
        return f"waits for {row['waits_for']}"
    return "drained" if row["is_drained"] else "runs"


_NODES: list[Column] = [
    ("NODE", lambda row: row["node"]),
    ("SINCE", lambda row: when(row["since"])),
    ("PARTITIONS", lambda row: row["partitions"]),
    ("STATE", _state),
]

_PARTITIONS: list[Column] = [
    ("PARTITION", lambda row: row["partition"]),
    ("OWNER", lambda row: row["owner"] or "none"),
    ("SINCE", lambda row: when(row["since"])),
    ("EPOCH", lambda row: row["epoch"]),
    ("COMMANDS", lambda row: f"{row['queue_rows']:,}"),
    ("NOT TAKEN", lambda row: f"{row['not_taken']:,}"),
    ("CALLS", lambda row: f"{row['calls']:,}"),
    ("OLDEST CALL", lambda row: when(row["oldest_call"])),
    ("GOES TO", lambda row: row["wanted_by"]),
]

NodeArgument = Annotated[str, typer.Argument(help="The node, as `procession nodes` names it.")]


def nodes(*, store: StoreOption = ".", as_json: JsonOption = False) -> None:
    """List the nodes that share a store in a database."""
    show_rows(operating().nodes(_address(store)), _NODES, as_json=as_json, nothing="no node")


def show_partitions(store: str, *, as_json: bool) -> None:
    """List the partitions of a store in a database: whose they are, and what waits in them."""
    show_rows(
        operating().partitions(_address(store)),
        _PARTITIONS,
        as_json=as_json,
        nothing="no partition",
    )


def drain(
    node: NodeArgument,
    *,
    store: StoreOption = ".",
    undo: Annotated[bool, typer.Option("--undo", help="Have it take its share again.")] = False,
) -> None:
    """Have a node hand over all its partitions, and take none, before it is ended."""
    operating().drain(_address(store), node, undo=undo)
    said(f"{node} {'takes its share again' if undo else 'hands its partitions over'}")


def move(
    partition: Annotated[int, typer.Argument(help="Its number.")],
    node: NodeArgument,
    *,
    store: StoreOption = ".",
) -> None:
    """Have a partition handed over to a node."""
    operating().move(_address(store), partition, node)
    said(f"partition {partition} goes to {node}")


def _address(store: str) -> Address:
    if not is_address(store):
        raise StoreError(
            f"{store} is a folder, whose partitions are run by one process and its children; "
            f"nodes share a store in a database: --store postgresql://…"
        )
    return Address.parse(store)
