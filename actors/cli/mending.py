"""`end` and `amend`: instances that a person ends, or gives other values."""

from typing import Annotated

import typer

from ..control.calls import Amend, End
from ..errors import InvalidMessage
from .options import (
    ByOption,
    CodecOption,
    DomainsOption,
    JsonOption,
    ProcessArgument,
    StoreOption,
    YesOption,
    acting,
    ask,
    pairs,
)
from .output import said, show_json

__all__ = ["amend", "end"]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the instance.")]
VersionOption = Annotated[
    int | None,
    typer.Option("--version", help="As you saw it; if it has moved since, nothing is done."),
]


def end(
    process: ProcessArgument,
    id: IdArgument,  # noqa: A002
    *,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it is recorded.")],
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    version: VersionOption = None,
    compensate: Annotated[
        bool, typer.Option(help="Whether the class's method runs that is marked @ended.")
    ] = True,
    yes: YesOption = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """End an instance that is not to go on, its timeouts and what it holds back with it.

    It asks first.

    Example: procession end Fulfilment o17 --reason "the customer called" --by maria
    """
    call = End(process=process, id=id, reason=reason, version=version, compensate=compensate)
    with acting(store, domain, by, codec) as client:
        if not yes:
            ask(f"end {process} {id}?")
        found = client.one(call)
    _tell(f"{process} {id}: ended", found["version"], as_json=as_json)


def amend(
    process: ProcessArgument,
    id: IdArgument,  # noqa: A002
    fields: Annotated[
        list[str], typer.Argument(metavar="FIELD=VALUE", help="A value as text or as JSON.")
    ],
    *,
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    version: VersionOption = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try again what suspends it, with these values.")
    ] = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give fields of an instance other values, in a transition of its own.

    Example: procession amend Fulfilment o17 amount=12.50 --retry --by maria
    """
    if not fields:
        raise InvalidMessage("amend: say what, as FIELD=VALUE")
    call = Amend(process=process, id=id, fields=pairs(fields), version=version, retry=retry)
    with acting(store, domain, by, codec) as client:
        found = client.one(call)
    _tell(f"{process} {id}: amended", found["version"], as_json=as_json)


def _tell(what: str, version: int, *, as_json: bool) -> None:
    if as_json:
        show_json({"version": version})
    else:
        said(f"{what}, version {version}")
