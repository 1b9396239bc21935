"""`projections`, `documents` and `rebuild-projection`: what is said of read models, and done."""

import json
from typing import Annotated, Any

import typer

from ..control.calls import Documents, HeldStreams, Projections, RebuildTables
from .options import (
    ByOption,
    CodecOption,
    DomainsOption,
    JsonOption,
    LimitOption,
    StoreOption,
    acting,
    looking,
)
from .output import Column, progress, said, short, show_json, show_rows, when

__all__ = ["documents", "projections", "rebuild_projection"]

_PROJECTIONS: list[Column] = [
    ("PROJECTION", lambda row: row["projection"]),
    ("PARTITION", lambda row: row.get("partition", "")),
    ("POSITION", lambda row: f"{row['position']:,}"),
    ("BEHIND", lambda row: f"{row['backlog']:,}"),
    ("OLDEST WAITING", lambda row: when(row["oldest"])),
    ("STREAMS HELD", lambda row: f"{row['streams_held']:,}"),
    ("PARKED", lambda row: f"{row['parked']:,}"),
    ("PROBLEM", lambda row: row["problem"] or ""),
]

_HELD: list[Column] = [
    ("STREAM", lambda row: row["stream"]),
    ("POSITION", lambda row: row["position"]),
    ("PARKED", lambda row: row["parked"] or ""),
    ("ERROR", lambda row: row["error_type"] or ""),
    ("NEXT TRY", lambda row: when(row["retry"])),
    ("WAITING BEHIND", lambda row: f"{row['waiting']:,}"),
]

_DOCUMENTS: list[Column] = [
    ("KEY", lambda row: row["key"]),
    ("PARTITION", lambda row: row.get("partition", "")),
    ("DOCUMENT", lambda row: short(row["document"])),
]

_DOCUMENT: list[Column] = [
    *_DOCUMENTS[:2],
    ("DOCUMENT", lambda row: json.dumps(row["document"], ensure_ascii=False, indent=2)),
]


def projections(
    projection: Annotated[
        str | None, typer.Argument(help="The streams that this one holds; all of them without.")
    ] = None,
    *,
    store: StoreOption = ".",
    codec: CodecOption = None,
    after: Annotated[
        str | None, typer.Option("--after", help="Only streams behind this one.")
    ] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List projections, how far they are behind, and what is parked; or one's streams of that.

    Example: procession projections Orders
    """
    with looking(store, codec=codec) as client:
        if projection is None:
            rows = client.rows(Projections())
            show_rows(rows, _PROJECTIONS, as_json=as_json, nothing="no projection")
            return
        rows = client.rows(HeldStreams(projection=projection, after=after, limit=limit))
        show_rows(rows, _HELD, as_json=as_json, nothing="nothing is set aside")


def documents(
    projection: Annotated[str, typer.Argument(help="Its name.")],
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="The document under this key, whole.")
    ] = None,
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    prefix: Annotated[
        str, typer.Option("--prefix", help="Only under keys that begin with this.")
    ] = "",
    after: Annotated[
        str | None, typer.Option("--after", metavar="KEY", help="Only under keys behind this one.")
    ] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List the documents that a projection keeps in the store, in order of their keys.

    Example: procession documents Accounts --prefix customer/
    """
    call = Documents(projection=projection, key=key, prefix=prefix, after=after, limit=limit)
    columns = _DOCUMENTS if key is None else _DOCUMENT
    with looking(store, domain, codec) as client:
        count = show_rows(client.rows(call), columns, as_json=as_json, nothing="no document")
        if key is None and count == limit and not as_json:
            said(f"the first {limit}; --limit and --after have more")


def rebuild_projection(
    projection: Annotated[str, typer.Argument(help="Its name.")],
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the tables of a projection anew, and swap them in; called again, it goes on.

    Example: procession rebuild-projection Orders
    """
    newest: dict[str, Any] = {}
    with acting(store, domain, by, codec) as client, progress(f"rebuilding {projection}") as done:
        for newest in client.rows(RebuildTables(projection=projection)):
            done(newest["position"], newest["end"])
    if as_json:
        show_json(newest)
    else:
        said(f"{newest['projected']:,} events written, up to position {newest['position']:,}")
