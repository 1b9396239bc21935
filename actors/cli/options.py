"""The options that most commands have, and what they stand for."""

import os
import sys
from contextlib import suppress
from typing import Annotated, TypeAlias

import typer

from ..control.calls import Processes
from ..control.client import Client, connect
from ..errors import InvalidMessage
from ..model.domain import Domain
from ..model.process_definition import ProcessDefinition
from ..model.registry import Registry
from ..store import ProcessionError
from .named import codec_of, domain_of

__all__ = [
    "ByOption",
    "CodecOption",
    "DomainsOption",
    "JsonOption",
    "LimitOption",
    "ProcessArgument",
    "ProcessOption",
    "StoreOption",
    "YesOption",
    "acting",
    "ask",
    "definition_of",
    "looking",
    "names",
    "pairs",
]

STORE = "PROCESSION_STORE"
"""The name of the store's folder in the environment."""

StoreOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--store",
        "-s",
        envvar=STORE,
        help="The store's folder, or its address: postgresql://...",
    ),
]
DomainsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--domain",
        "-d",
        metavar="MODULE:NAME",
        help="Where the classes are, if no service answers for the store; may be repeated.",
    ),
]
CodecOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--codec",
        metavar="MODULE:NAME",
        envvar="PROCESSION_CODEC",
        help="Where the codec is of a store that has one, if no service answers for the store.",
    ),
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON; of many, one object a line.")
]
ByOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--by",
        envvar="PROCESSION_BY",
        help="Who asks; recorded as what you claim, beside your user id.",
    ),
]


def names(context: typer.Context, incomplete: str) -> list[str]:
    """The process managers of a store, for a shell that completes a name."""
    store = context.params.get("store") or os.environ.get(STORE) or "."
    # Where there is no store yet, there is nothing to complete.
    with suppress(ProcessionError), looking(store) as client:
        found = [str(row["process"]) for row in client.rows(Processes())]
        ends = [name.rpartition(".")[2] for name in found]
        return [one for one in (*ends, *found) if one.startswith(incomplete)]
    return []


ProcessArgument: TypeAlias = Annotated[
    str, typer.Argument(help="The process manager.", autocompletion=names)
]
ProcessOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--process", "-p", help="Only of this process manager.", autocompletion=names),
]
LimitOption: TypeAlias = Annotated[int, typer.Option("--limit", min=1, help="Most rows.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def looking(store: str, domains: list[str] | None = None, codec: str | None = None) -> Client:
    """A client that looks: of the service, or of the store itself, beside its writer."""
    return connect(store, _domains(domains), codec=codec_of(codec))


def acting(store: str, domains: list[str] | None, by: str | None, codec: str | None) -> Client:
    """A client that acts: of the service, or of the store itself, opened with its classes."""
    return connect(store, _domains(domains), acts=True, by=by, codec=codec_of(codec))


def ask(question: str) -> None:
    """Go on if the person at the terminal says yes.

    Raises:
        InvalidMessage: there is no terminal
        Abort: it is a no

    """
    if not sys.stdin.isatty():
        raise InvalidMessage(f"{question} There is no terminal to ask at; say so with --yes")
    typer.confirm(question, abort=True, err=True)


def _domains(said: list[str] | None) -> list[Domain]:
    return [domain_of(one) for one in said or ()]


def definition_of(registry: Registry, process: str) -> ProcessDefinition:
    """A process manager of the classes, which may be named without its domain.

    Raises:
        InvalidMessage: they have none of that name, or several

    """
    there = registry.processes.values()
    named = [one for one in there if process in {one.name, one.name.rpartition(".")[2]}]
    if len(named) != 1:
        known = ", ".join(one.name for one in there) or "none"
        raise InvalidMessage(f"{process} is no process manager of the classes: {known}")
    return named[0]


def pairs(said: list[str]) -> dict[str, str]:
    """What `FIELD=VALUE` stands for, of each.

    Raises:
        InvalidMessage: one is no such thing

    """
    found: dict[str, str] = {}
    for one in said:
        field, equals, value = one.partition("=")
        if not (field and equals):
            raise InvalidMessage(f"{one}: write FIELD=VALUE")
        found[field] = value
    return found
