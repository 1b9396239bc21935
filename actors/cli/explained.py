"""`why`, `trace`, `graph` and `check`: what the classes explain."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from ..control.calls import Graph, Measured, Trace, Why
from ..page.svg import svg_of
from .named import domain_of
from .options import CodecOption, DomainsOption, JsonOption, StoreOption, looking
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
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what came of an event for every process manager that listens to it.

    Example: procession why shop::payment-o17@1
    """
    with looking(store, domain, codec) as client:
        rows = client.rows(Why(event=event))
        show_rows(rows, _WHY, as_json=as_json, nothing="no process manager listens to it")


def trace(
    event: Annotated[
        str, typer.Argument(help="The id of an event, or of a command that was sent.")
    ],
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that one beginning led to, as a tree.

    Example: procession trace shop::payment-o17@1
    """
    with looking(store, domain, codec) as client:
        for row in client.rows(Trace(event=event)):
            if as_json:
                show_json(row)
            else:
                said(f"{'  ' * row['depth']}{row['line']}")


def graph(
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    is_measured: Annotated[
        bool, typer.Option("--measured", help="With what happened on it, by one pass over the log.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Only what happened from then on, in UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", help="Only what happened before then, in UTC.")
    ] = None,
    code: Annotated[
        int | None, typer.Option("--code", help="Only what this version of the code decided.")
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option("--beside", help="Another part beside it: SINCE..UNTIL, or code=NUMBER."),
    ] = None,
    drawn_as: Annotated[
        Literal["mermaid", "svg", "json"], typer.Option("--format", help="Of what is measured.")
    ] = "mermaid",
    as_json: JsonOption = False,
) -> None:
    """Draw the design of each domain, as a Mermaid flowchart.

    Example: procession graph --measured --since 2026-11-01 --beside 2026-10-01..2026-11-01
    """
    if not is_measured:
        if (since, until, code, beside, drawn_as) != (None, None, None, None, "mermaid"):
            raise typer.BadParameter("these options choose what is measured; add --measured")
        with looking(store, domain, codec) as client:
            found = client.one(Graph())
        show(found, found.values(), as_json=as_json)
        return
    call = Measured(since=_in_utc(since), until=_in_utc(until), code=code, **_beside(beside))
    with looking(store, domain, codec) as client:
        found = client.one(call)
    draw = _drawn if drawn_as == "mermaid" else svg_of
    lines = (draw(domain, one) for domain, one in found.items())
    show(found, lines, as_json=as_json or drawn_as == "json")


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _beside(said: str | None) -> dict[str, Any]:
    """What `--beside` says, as fields of the call."""
    if said is None:
        return {}
    start, dots, end = said.partition("..")
    is_code = said.startswith("code=") and said[5:].isdecimal()
    if is_code:
        return {"beside": True, "beside_code": int(said[5:])}
    moments: list[datetime | None] = []
    if dots:
        with suppress(ValueError):
            moments = [datetime.fromisoformat(one) if one else None for one in (start, end)]
    if not moments:
        raise typer.BadParameter(
            f"--beside {said}: write 2026-10-01..2026-11-01, of which one may be left out, or "
            f"code=1"
        )
    return {
        "beside": True,
        "beside_since": _in_utc(moments[0]),
        "beside_until": _in_utc(moments[1]),
    }


def _drawn(domain: str, found: dict[str, Any]) -> str:
    """A drawing, with the ways that were gone as comments below it."""
    lines = [f"%% {domain}", found["mermaid"].rstrip()]
    for process, ways in found["variants"].items():
        for row in ways:
            lines.append(f"%% {process} {row['share']:.1%} {row['count']:,}: {row['way']}")
            if "beside" in row:
                lines[-1] += f" (beside {row['beside']['share']:.1%})"
    return "\n".join(lines)


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
