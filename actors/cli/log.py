"""`events` and `tail`: the log, as it is and as it grows."""

from contextlib import suppress
from enum import Enum
from typing import Annotated, Any, Literal

import typer

from ..control.calls import Events, Tail
from .options import CodecOption, JsonOption, LimitOption, ProcessOption, StoreOption, looking
from .output import Column, said, short, show_json, show_rows, when

__all__ = ["events", "tail"]


class Followed(Enum):
    """What can be followed, as options have it."""

    value: Literal["event", "transition", "parked"]

    EVENT = "event"
    TRANSITION = "transition"
    PARKED = "parked"


_EVENTS: list[Column] = [
    ("POSITION", lambda row: row["position"]),
    ("TIME", lambda row: when(row["time"])),
    ("TYPE", lambda row: row["type"]),
    ("ID", lambda row: row["event_id"]),
    ("DATA", lambda row: short(row["data"])),
]


def events(
    stream: Annotated[
        str | None, typer.Argument(help="Only of this stream or category, as shop::order-o1.")
    ] = None,
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    after: Annotated[int | None, typer.Option("--after", help="Only behind this position.")] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List stored events: the newest of the log, or the first of a stream.

    Example: procession events shop::order-o17
    """
    with looking(store, codec=codec) as client:
        rows = client.rows(Events(stream=stream, after=after, limit=limit))
        show_rows(rows, _EVENTS, as_json=as_json, nothing="no event")


def tail(
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    stream: Annotated[
        str | None, typer.Option("--stream", help="Only of this stream or category.")
    ] = None,
    process: ProcessOption = None,
    kind: Annotated[
        list[Followed] | None,
        typer.Option(
            "--kind",
            help="What to print; give it again for more. Without it events, or transitions "
            "with --process.",
        ),
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only events of this type, as shop.OrderPlaced.v1."),
    ] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Begin with so many.")] = 10,
    after: Annotated[
        str | None,
        typer.Option("--after", help="Go on behind this; each row of --json says its own."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what comes to the end of the log: events, or what a process manager's instances do.

    Example: procession tail -f --process Fulfilment
    """
    with looking(store, codec=codec) as client, suppress(KeyboardInterrupt):
        call = Tail(
            kinds=[one.value for one in kind or []],
            stream=stream,
            types=event_type or [],
            process=process,
            last=last,
            after=after,
            follow=follow,
        )
        for row in client.rows(call):
            if as_json:
                show_json(row)
            else:
                said(_line(row))


def _line(row: dict[str, Any]) -> str:
    if "pruned" in row:
        return f"not told: {row['error']}"
    if "error" in row:
        return f"{row.get('position', row.get('number'))}: cannot be read: {row['error']}"
    if "attempts" in row:
        return (
            f"{when(row['time'])} parked {row['id']}: {row['process']} {row['instance']} "
            f"{row['error_type']}: {row['error']}"
        )
    if "handler" in row:
        does = ", ".join(row["commands"])
        return (
            f"{when(row['time'])} {row['id']}@{row['version']} {row['handler']} "
            f"({row['type'] or row['cause']}){f' → {does}' if does else ''}"
            f"{' ended' if row['is_complete'] else ''}"
        )
    where = f"{row['position']} {when(row['time'])} {row['type']} {row['event_id']}"
    return f"{where} {short(row['data'])}"
