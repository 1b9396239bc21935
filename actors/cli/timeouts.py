"""`timeouts`, `timeout move` and `timeout cancel`: what is due later."""

from typing import Annotated

import typer

from ..control.calls import CancelTimeout, MoveTimeout, Timeouts
from .options import (
    ByOption,
    CodecOption,
    DomainsOption,
    JsonOption,
    LimitOption,
    ProcessArgument,
    ProcessOption,
    StoreOption,
    acting,
    looking,
)
from .output import Column, said, show_json, show_rows, when
from .spans import seconds_in

__all__ = ["cancel", "move", "timeouts"]

_TIMEOUTS: list[Column] = [
    ("DUE", lambda row: when(row["due"])),
    ("PROCESS", lambda row: row["process"]),
    ("ID", lambda row: row["id"]),
    ("NAME", lambda row: row["name"]),
    ("KIND", lambda row: row["kind"]),
    ("COMMAND", lambda row: "" if row["command"] is None else row["command"]["type"]),
]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the instance.")]
NameArgument = Annotated[
    str, typer.Argument(help="Of the timeout, or the id of a command that is held back.")
]


def timeouts(
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    process: ProcessOption = None,
    id: Annotated[  # noqa: A002
        str | None, typer.Option("--id", help="Only of this instance.")
    ] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List what is due later: timeouts, other attempts, and commands that are held back.

    Example: procession timeouts --process Fulfilment
    """
    with looking(store, codec=codec) as client:
        rows = client.rows(Timeouts(process=process, id=id, limit=limit))
        show_rows(rows, _TIMEOUTS, as_json=as_json, nothing="nothing is due")


def move(
    process: ProcessArgument,
    id: IdArgument,  # noqa: A002
    name: NameArgument,
    when_: Annotated[
        str, typer.Argument(metavar="WHEN", help="From now, as +30m, or a moment with its zone.")
    ],
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a timeout come at another time; 1 if it is not set.

    Example: procession timeout move Fulfilment o17 payment +30m
    """
    at = str(seconds_in(when_[1:])) if when_.startswith("+") else when_
    with acting(store, domain, by, codec) as client:
        call = MoveTimeout(process=process, id=id, name=name, when=at)
        _tell(name, client.one(call)["was_set"], "moved", as_json=as_json)


def cancel(
    process: ProcessArgument,
    id: IdArgument,  # noqa: A002
    name: NameArgument,
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a timeout not come at all; 1 if it is not set.

    Example: procession timeout cancel Fulfilment o17 payment
    """
    with acting(store, domain, by, codec) as client:
        call = CancelTimeout(process=process, id=id, name=name)
        _tell(name, client.one(call)["was_set"], "cancelled", as_json=as_json)


def _tell(name: str, was_set: bool, done: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"was_set": was_set})
    else:
        said(f"{name}: {done}" if was_set else f"{name} is not set; nothing was done")
    raise typer.Exit(0 if was_set else 1)
