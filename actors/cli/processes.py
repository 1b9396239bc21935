"""`ls`, `show` and `stuck`: process managers and their instances."""

from typing import Annotated, Any

import typer

from ..control.calls import Instance, Instances, Processes, Stuck
from ..control.instances import Status
from ..errors import UnknownMessage
from .debugging import debug
from .options import (
    CodecOption,
    DomainsOption,
    JsonOption,
    LimitOption,
    ProcessArgument,
    ProcessOption,
    StoreOption,
    looking,
    names,
    pairs,
)
from .output import Column, said, short, show_json, show_rows, when
from .spans import seconds_in

__all__ = ["ls", "show", "stuck"]

_PROCESSES: list[Column] = [
    ("PROCESS", lambda row: row["process"]),
    ("RUNNING", lambda row: f"{row['running']:,}"),
    ("SUSPENDED", lambda row: f"{row['suspended']:,}"),
    ("COMPLETE", lambda row: f"{row['complete']:,}"),
    ("BACKLOG", lambda row: f"{row['backlog']:,}"),
    ("OLDEST WAITING", lambda row: when(row["oldest"])),
]

_INSTANCES: list[Column] = [
    ("ID", lambda row: row["id"]),
    ("STATUS", lambda row: row["status"]),
    ("VERSION", lambda row: row["version"]),
    ("MOVED", lambda row: when(row["time"])),
    ("STATE", lambda row: short(row["state"])),
]

_HISTORY: list[Column] = [
    ("VERSION", lambda row: row["version"]),
    ("TIME", lambda row: when(row["time"])),
    ("HANDLER", lambda row: row["handler"]),
    ("CAUSE", lambda row: row["type"] or row["cause"]),
    ("CHANGES", lambda row: _changed(row["changes"])),
    ("COMMANDS", lambda row: "\n".join(one["type"] for one in row["commands"])),
    ("NOTE", lambda row: "; ".join(filter(None, ("ended" * row["is_complete"], row["note"])))),
]

_STUCK: list[Column] = [
    ("PROCESS", lambda row: row["process"]),
    ("ID", lambda row: row["id"] or f"(held: {row['event']})"),
    ("SINCE", lambda row: when(row["since"])),
    ("AFTER", lambda row: row.get("handler") or row.get("type") or "its start failed"),
    ("WAITS FOR", lambda row: "; ".join(_reasons(row)) or "events only"),
]


def ls(
    process: Annotated[
        str | None, typer.Argument(help="Lists its instances.", autocompletion=names)
    ] = None,
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    status: Annotated[
        list[Status] | None, typer.Option("--status", help="Only those; may be repeated.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="FIELD=VALUE", help="Only those; may be repeated."),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="Only behind this instance.")
    ] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List the process managers, or the instances of one.

    Example: procession ls Fulfilment --status suspended --where customer_id=c1
    """
    with looking(store, codec=codec) as client:
        if process is None:
            rows = client.rows(Processes())
            show_rows(rows, _PROCESSES, as_json=as_json, nothing="no process manager")
            return
        call = Instances(
            process=process,
            status=status or [],
            where=pairs(where or []),
            after=after,
            limit=limit,
        )
        count = show_rows(
            client.rows(call), _INSTANCES, as_json=as_json, nothing="no instance", is_search=True
        )
        if count == limit and not as_json:
            said(f"the first {limit}; --limit and --after have more")


def show(
    process: ProcessArgument,
    id: Annotated[str, typer.Argument(metavar="ID", help="Of the instance.")],  # noqa: A002
    *,
    store: StoreOption = ".",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most transitions.")] = 20,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="As that transition left it.")
    ] = None,
    step: Annotated[
        bool,
        typer.Option("--debug", help="Stop before each handler; with --version, before that one."),
    ] = False,
    domain: DomainsOption = None,
    codec: CodecOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one instance: its state, what it waits for, and what changed it.

    Example: procession show Fulfilment o-17 --version 2
    """
    if step:
        debug(store, process, id, domain, codec, version)
        return
    with looking(store, domain, codec) as client:
        found = client.one(Instance(process=process, id=id, limit=limit, version=version))
    if found is None:
        raise UnknownMessage(f"{process} has no instance {id!r}; `procession ls {process}` lists")
    if as_json:
        show_json(found)
        return
    said(f"{found['process']} {found['id']}: {found['status']}, version {found['version']}")
    for field, value in found["state"].items():
        said(f"  {field} = {short(value)}")
    said(f"waits for: {'; '.join(_reasons(found)) or 'events only'}")
    show_rows(found["history"], _HISTORY, as_json=False, nothing="it has no transition yet")


def stuck(
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    process: ProcessOption = None,
    since: Annotated[str, typer.Option("--since", help="For how long: 90s, 30m, 2h, 1d.")] = "1h",
    as_json: JsonOption = False,
) -> None:
    """List the instances that have not moved for a time, and what they wait for.

    Example: procession stuck --since 2h
    """
    with looking(store, codec=codec) as client:
        rows = client.rows(Stuck(process=process, seconds=seconds_in(since)))
        nothing = f"all have moved within {since}"
        show_rows(rows, _STUCK, as_json=as_json, nothing=nothing, is_search=True)


def _reasons(row: dict[str, Any]) -> list[str]:
    """What an instance, or an event that is held, waits for."""
    if "until" in row:
        named = " or ".join(row["values"])
        return [f"an instance with {row['field']} = {named}, until {when(row['until'])}"]
    found = [f"{name} at {when(due)}" for name, due in row["due"].items()]
    if row["parked"] is not None:
        error = row["parked"]["error"]
        found.insert(0, f"you, to retry or skip {row['parked']['id']} ({short(error)})")
    if row["retry"] is not None:
        found.insert(0, f"another attempt at {when(row['retry'])}")
    if row["waiting"]:
        found.append(f"{row['waiting']:,} events wait behind it")
    return found


def _changed(changes: dict[str, list[Any]] | None) -> str:
    if changes is None:
        return "?"
    return "\n".join(
        f"{field}: {short(before)} → {short(after)}" for field, (before, after) in changes.items()
    )
