"""`explore`: a search for a run that goes wrong."""

from typing import Annotated

import typer

from .files import explored
from .options import JsonOption

__all__ = ["explore"]


def explore(
    program: Annotated[
        str, typer.Argument(metavar="MODULE:PROGRAM", help="Where the program of a search is.")
    ],
    *,
    minutes: Annotated[float, typer.Option(help="How long.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    domain: Annotated[list[str] | None, typer.Option(help="A Domain in the module.")] = None,
    store: Annotated[
        str | None,
        typer.Option(help="What each run begins with: a store's folder, or an incident capsule."),
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="A file that keeps seeds of runs that reached something new.")
    ] = None,
    pin: Annotated[
        str | None, typer.Option(help="The file of the test that is written when one goes wrong.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search for a run that breaks an invariant; 1 if there is one.

    Example: procession explore shop.checks:program --minutes 10
    """
    raise typer.Exit(
        explored(
            program,
            minutes=minutes,
            seed=seed,
            domains=domain or [],
            store=store,
            corpus=corpus,
            pin=pin,
            as_json=as_json,
        )
    )
