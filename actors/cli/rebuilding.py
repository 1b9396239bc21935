"""`refresh` and `rebuild`: state, made anew from the events."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..control.calls import Rebuild, Refresh, RefreshAll
from ..errors import InvalidMessage
from .options import (
    ByOption,
    CodecOption,
    DomainsOption,
    JsonOption,
    ProcessArgument,
    StoreOption,
    acting,
)
from .output import progress, said, show_json

if TYPE_CHECKING:
    from ..control.calls import Call
    from ..control.client import Client

__all__ = ["rebuild", "refresh"]


def refresh(
    process: ProcessArgument,
    id: Annotated[  # noqa: A002
        str | None, typer.Argument(metavar="ID", help="Of one instance; all without it.")
    ] = None,
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    by: ByOption = None,
    since: Annotated[
        str | None, typer.Option("--since", help='"origin": from the whole log.')
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild the state of an instance, or of all, from the events that made it.

    Example: procession refresh Fulfilment o17
    """
    if since not in {None, "origin"}:
        raise InvalidMessage(f"--since {since}: write --since origin, or leave it out")
    from_origin: Literal["origin"] | None = "origin" if since else None
    with acting(store, domain, by, codec) as client:
        if id is None:
            found = _all(client, RefreshAll(process=process, since=from_origin), process)
        else:
            found = client.one(Refresh(process=process, id=id, since=from_origin))
    if as_json:
        show_json({"rebuilt": found["rebuilt"]})
    else:
        said(f"{found['rebuilt']:,} rebuilt")


def rebuild(
    process: ProcessArgument,
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild all instances of a class from the whole log; called again, it goes on.

    Example: procession rebuild Fulfilment
    """
    with acting(store, domain, by, codec) as client:
        newest = _all(client, Rebuild(process=process), process)
    if as_json:
        show_json(newest)
    else:
        said(
            f"{newest['rebuilt']:,} rebuilt, {newest['passed_over']:,} were rebuilt by this code "
            f"before"
        )


def _all(client: "Client", call: "Call", process: str) -> dict[str, Any]:
    """Have all instances rebuilt, and show how far it is; returns what it came to."""
    newest: dict[str, Any] = {}
    with progress(f"rebuilding {process}") as done:
        for newest in client.rows(call):
            done(newest["rebuilt"] + newest["passed_over"] + newest["not_rebuilt"], newest["of"])
    return newest
