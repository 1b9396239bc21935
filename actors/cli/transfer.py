"""`import` and `export`: history from files, and as files."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ..clock import SystemClock
from ..errors import InvalidMessage
from ..exporting import export as export_store
from ..importing import import_file
from .named import codec_of, domain_of
from .options import CodecOption, DomainsOption, JsonOption, StoreOption
from .output import progress, said, show_json

__all__ = ["export", "import_"]


def import_(
    file: Annotated[Path, typer.Argument(help="The log.")],
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--map", help="A TOML file that says which row is which event."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--format", help="Of the file, if its name does not say it."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="A time with a zone; it goes on to here at the end.")
    ] = None,
    live_from: Annotated[
        str | None,
        typer.Option(help="A time with a zone; what is of then or later may leave the store."),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="With --live-from: divide it into so many, for good."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import a log: each event at its own time, with all that was due in between.

    Commands, timeouts and after-effects stay in the store. It may be interrupted; the same command
    goes on.

    Example: procession import log.csv --map mapping.toml -s history -d shop.domain:shop
    """
    domains = [domain_of(one) for one in domain or ()]
    if not domains:
        raise InvalidMessage("import: give the classes that handle the log, with --domain")
    since = _moment("--live-from", live_from)
    if since is not None and since > SystemClock().now():
        raise InvalidMessage(f"--live-from {live_from} has not come; what is due until then waits")
    with progress("importing") as shown:
        found = import_file(
            file,
            store,
            *domains,
            mapping=mapping,
            kind=kind,
            codec=codec_of(codec),
            until=_moment("--until", until),
            live_from=since,
            partitions=partitions,
            progress=lambda _, done, of: shown(done, of),
        )
    if as_json:
        show_json(
            {
                "rows": found.rows,
                "left_out": found.left_out,
                "events": found.events,
                "known": found.known,
                "transitions": found.transitions,
                "parked": found.parked,
                "until": found.until.isoformat(),
                "is_live": found.is_live,
            }
        )
        return
    said(
        f"{found.rows:,} rows: {found.events:,} events stored, {found.known:,} stored before, "
        f"{found.left_out:,} left out; {found.transitions:,} transitions, {found.parked:,} parked; "
        f"the store is at {found.until.isoformat()}"
    )


def export(
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    kind: Annotated[
        str | None,
        typer.Option("--format", help="Of the file, if its name does not say it."),
    ] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option(help="Only these kinds of objects: process managers, aggregates, categories."),
    ] = None,
    after: Annotated[
        str, typer.Option(help="Only events behind this position, as an earlier export said it.")
    ] = "0",
    as_json: JsonOption = False,
) -> None:
    """Write what a store holds as a file for process mining, beside its service or without one.

    Example: procession export log.jsonocel -s store
    """
    with progress("exporting") as shown:
        found = export_store(
            store,
            target,
            *[domain_of(one) for one in domain or ()],
            kind=kind,
            objects=objects or None,
            after=int(after) if after.isdecimal() else after,
            codec=codec_of(codec),
            progress=shown,
        )
    if as_json:
        show_json(
            {
                "events": found.events,
                "objects": found.objects,
                "position": found.position,
                "pruned": found.pruned,
            }
        )
        return
    said(
        f"{target}: {found.events:,} events, {found.objects:,} objects, up to position "
        f"{found.position if isinstance(found.position, str) else format(found.position, ',')}"
    )
    if found.pruned:
        said(f"events behind position {after} were pruned, up to {found.pruned:,}")


def _moment(option: str, said_time: str | None) -> datetime | None:
    if said_time is None:
        return None
    try:
        moment = datetime.fromisoformat(said_time)
    except ValueError as error:
        raise InvalidMessage(f"{option} {said_time}: write it as 2026-11-27T12:00Z") from error
    if moment.utcoffset() is None:
        raise InvalidMessage(f"{option} {said_time} has no zone; write it as 2026-11-27T12:00Z")
    return moment
