"""`why`, `trace`, `graph` and `check`: what the classes explain."""

from typing import Annotated

import typer

from ..control.calls import Graph, Trace, Why
from .options import DomainsOption, JsonOption, StoreOption, domain_of, looking
from .output import Column, said, show, show_json, show_rows

__all__ = ["check", "graph", "trace", "why"]

_WHY: list[Column] = [
    ("PROCESS", lambda row: row["process"]),
    ("INSTANCE", lambda row: row["instance"] or "-"),
    ("BY", lambda row: row["how"]),
    ("CAME OF IT", lambda row: row["outcome"]),
    ("DETAIL", lambda row: row["detail"]),
]


def why(
    event: Annotated[str, typer.Argument(help="The event's id.")],
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what came of an event for every process manager that listens to it.

    Example: procession why shop::payment-o17@1
    """
    with looking(store, domain) as client:
        rows = client.rows(Why(event=event))
        show_rows(rows, _WHY, as_json=as_json, nothing="no process manager listens to it")


def trace(
    event: Annotated[
        str, typer.Argument(help="The id of an event, or of a command that was sent.")
    ],
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that one beginning led to, as a tree.

    Example: procession trace shop::payment-o17@1
    """
    with looking(store, domain) as client:
        for row in client.rows(Trace(event=event)):
            if as_json:
                show_json(row)
            else:
                said(f"{'  ' * row['depth']}{row['line']}")


def graph(
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the design of each domain, as a Mermaid flowchart.

    Example: procession graph > design.mmd
    """
    with looking(store, domain) as client:
        found = client.one(Graph())
    show(found, found.values(), as_json=as_json)


def check(
    domain: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="Where the domain is.")],
    *,
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", help="Look also at what is stored in this folder."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong or doubtful in a design; 1 if there is something.

    Example: procession check shop.domain:shop
    """
    found = domain_of(domain).check(store)
    show(
        [{"code": one.code, "finding": str(one)} for one in found],
        [*map(str, found), f"{domain}: {len(found)} finding{'s' * (len(found) != 1)}"],
        as_json=as_json,
    )
    raise typer.Exit(1 if found else 0)
