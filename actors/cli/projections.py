"""`projections` and `rebuild-projection`: how far read models are, and making them anew."""

from typing import Annotated, Any

import typer

from ..control.calls import HeldStreams, Projections, RebuildTables
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
from .output import Column, progress, said, show_json, show_rows, when

__all__ = ["projections", "rebuild_projection"]

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
