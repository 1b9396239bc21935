"""`fork`: an instance goes on from one of its versions, in a store of its own."""

from typing import Annotated

import typer

from ..control.face import Face
from ..control.instances import instance
from ..errors import InvalidMessage
from ..model.registry import Registry
from ..runtime import Runtime
from .files import shown
from .named import codec_of, domain_of
from .options import (
    CodecOption,
    DomainsOption,
    JsonOption,
    ProcessArgument,
    StoreOption,
    definition_of,
)
from .output import said, show_json

__all__ = ["fork"]


def fork(
    process: ProcessArgument,
    id: Annotated[str, typer.Argument(help="Of the instance.")],  # noqa: A002 - the word there
    target: Annotated[
        str, typer.Argument(metavar="FOLDER", help="The folder of the fork; missing or empty.")
    ],
    *,
    version: Annotated[
        int, typer.Option("--version", min=1, help="Of the transition that it goes on from.")
    ],
    store: StoreOption = ".",
    domain: DomainsOption = None,
    codec: CodecOption = None,
    within: Annotated[
        float, typer.Option("--within", min=0, help="Seconds that it has to settle in.")
    ] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Have an instance go on from one of its versions, in a store of its own, and tell its state.

    Nothing leaves the fork: no after-effect runs. What was due since is due at once. A service may
    be working on the store meanwhile, which is only read. A codec is that of both.

    Example: procession fork Fulfilment o1 var/fork --version 1 --domain shop.next:shop
    """
    if not domain:
        raise InvalidMessage("a fork needs the code: say where it is, --domain MODULE:NAME")
    domains = [domain_of(one) for one in domain]
    definition = definition_of(Registry(domains), process)
    coded = codec_of(codec)
    with (
        Runtime(store, *domains, read_only=True, codec=coded) as runtime,
        runtime.fork(definition.cls, id, version, target, codec=coded) as made,
    ):
        made.settle(timeout=within)
        found = instance(Face(made), definition.name, definition.id_of(id))
    assert found is not None
    if as_json:
        show_json({"fork": shown(target), "from": version, **found})
        return
    said(f"{shown(target)}: {definition.name} {found['id']} went on from version {version}")
    said(f"  {found['status']}, version {found['version']}")
    for name, value in found["state"].items():
        said(f"  {name} = {value}")
