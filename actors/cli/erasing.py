"""`erase` and `erasures`: what is kept of an instance, a stream or a person is erased, for good."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..control.calls import Erase, EraseAgain, Erasures
from ..errors import InvalidMessage
from .options import (
    ByOption,
    CodecOption,
    DomainsOption,
    JsonOption,
    StoreOption,
    YesOption,
    acting,
    ask,
    looking,
    names,
)
from .output import Column, said, show_json, show_rows, when

__all__ = ["erase", "erasures"]

_ERASURES: list[Column] = [
    ("TIME", lambda row: when(row["time"])),
    ("KIND", lambda row: row["kind"]),
    ("PROCESS", lambda row: row["process"]),
    ("ID", lambda row: row["id"]),
    ("BY", lambda row: row["by"] or ""),
]


def erase(
    process: Annotated[
        str | None,
        typer.Argument(metavar="PROCESS", help="Of the instance.", autocompletion=names),
    ] = None,
    id: Annotated[str | None, typer.Argument(metavar="ID", help="Of the instance.")] = None,  # noqa: A002
    *,
    stream: Annotated[
        str | None,
        typer.Option("--stream", help="All events of a stream, as of an aggregate."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="All fields that are marked as this person's."),
    ] = None,
    again: Annotated[
        str | None,
        typer.Option(
            "--again",
            metavar="FILE",
            help="What `procession erasures --json` told of a store, in one that was restored.",
        ),
    ] = None,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    yes: YesOption = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase what is kept of an instance, a stream or a person. There is no way back.

    It asks first. What is erased is gone from the file after `procession compact`.

    Example: procession erase Fulfilment o17 --by maria
    """
    named = [one for one in (process, stream, subject, again) if one is not None]
    if len(named) != 1 or (process is None) != (id is None):
        raise InvalidMessage(
            "erase: name one thing: PROCESS and ID, or --stream, --subject or --again"
        )
    what = f"{process} {id}" if process is not None else f"{named[0]}"
    with acting(store, domain, by, codec) as client:
        if again is not None:
            rows = _told(again)
            if not yes:
                ask(f"erase again what {len(rows)} erasures in {again} name?")
            found = list(client.rows(EraseAgain(erasures=rows)))
        else:
            if not yes:
                ask(f"erase what is kept of {what}? There is no way back.")
            call = Erase(process=process, id=id, stream=stream, subject=subject)
            found = [client.one(call)]
    if as_json:
        show_json(found)
    for row in () if as_json else found:
        said(f"{row['process']} {row['id']}: erased".lstrip())
    if not (found or as_json):
        said("all of these are erased here already")


def _told(file: str) -> list[dict[str, Any]]:
    """What `erasures --json` told: one object a line.

    Raises:
        InvalidMessage: the file is not that

    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InvalidMessage(
            f"{file} cannot be read as what `procession erasures --json` tells: {error}"
        ) from error


def erasures(
    *, store: StoreOption = ".", codec: CodecOption = None, as_json: JsonOption = False
) -> None:
    """List what was erased, when, and who asked. Keep the list where the store is not.

    Example: procession erasures --json > erasures.jsonl
    """
    with looking(store, codec=codec) as client:
        show_rows(client.rows(Erasures()), _ERASURES, as_json=as_json, nothing="nothing was erased")
