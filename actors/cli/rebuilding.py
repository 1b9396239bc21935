"""`refresh` and `rebuild`: state, made anew from the events."""

from typing import Annotated, Any

import typer

from ..control.calls import Rebuild, Refresh
from ..errors import InvalidMessage
from .options import DomainsOption, JsonOption, StoreOption, acting
from .output import progress, said, show_json, working

__all__ = ["rebuild", "refresh"]


def refresh(
    process: Annotated[str, typer.Argument(help="The process manager.")],
    id: Annotated[  # noqa: A002
        str | None, typer.Argument(metavar="ID", help="Of one instance; all without it.")
    ] = None,
    *,
    store: StoreOption = ".",  # type: ignore[assignment] # typer makes a path of it
    domain: DomainsOption = None,
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
    call = Refresh(process=process, id=id, since="origin" if since else None)
    with acting(store, domain, None) as client, working("rebuilding"):
        found = client.one(call)
    if as_json:
        show_json(found)
    else:
        said(f"{found['rebuilt']:,} rebuilt")


def rebuild(
    process: Annotated[str, typer.Argument(help="The process manager.")],
    *,
    store: StoreOption = ".",  # type: ignore[assignment] # as above
    domain: DomainsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild all instances of a class from the whole log; called again, it goes on.

    Example: procession rebuild Fulfilment
    """
    newest: dict[str, Any] = {}
    with (
        acting(store, domain, None) as client,
        progress(f"rebuilding {process}", None) as done,
    ):
        for newest in client.rows(Rebuild(process=process)):
            done(newest["rebuilt"] + newest["passed_over"] + newest["not_rebuilt"])
    if as_json:
        show_json(newest)
    else:
        said(
            f"{newest['rebuilt']:,} rebuilt, {newest['passed_over']:,} were rebuilt by this code "
            f"before"
        )
