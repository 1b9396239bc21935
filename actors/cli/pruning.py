"""`prune`: what was complete for long enough leaves the store."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ..control.calls import Prune
from ..errors import InvalidMessage
from .options import ByOption, CodecOption, DomainsOption, JsonOption, acting
from .output import said, show_json

__all__ = ["prune"]


def prune(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Its folder or address.")],
    *,
    before: Annotated[
        str, typer.Option("--before", help="What was complete before it, as 2026-01-31, in UTC.")
    ],
    ids_before: Annotated[
        str | None,
        typer.Option("--ids-before", help="Tombstones and ids from before it go as well."),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", help="Keep what goes in this file: .jsonl, .gz or .zst."),
    ] = None,
    domain: DomainsOption = None,
    codec: CodecOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take what was complete before a day out of the store, beside the work.

    Example: procession prune var/shop --before 2026-01-31 --archive events.jsonl.zst
    """
    call = Prune(
        before=_moment(before),
        ids_before=None if ids_before is None else _moment(ids_before),
        archive=None if archive is None else str(archive.absolute()),
    )
    with acting(store, domain, by, codec) as client:
        found = client.one(call)
    if as_json:
        show_json(found)
    else:
        said(
            f"{found['instances']:,} instances with {found['transitions']:,} transitions and "
            f"{found['events']:,} events were pruned; {found['forgotten']:,} tombstones and ids "
            f"were forgotten"
        )


def _moment(typed: str) -> str:
    """A day or a moment, as a person types it; of UTC, if no zone is said."""
    try:
        moment = datetime.fromisoformat(typed)
    except ValueError as error:
        raise InvalidMessage(
            f"{typed!r} is no day and no moment; write 2026-01-31 or 2026-01-31T12:00+01:00"
        ) from error
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).isoformat()
