"""`serve`: a service that is nothing but its domains."""

import signal
from typing import Annotated

import typer

from ..errors import InvalidMessage
from ..listening.page_address import Page
from ..model.domain import Domain
from ..runtime import Runtime
from ..store.interrupts import Latch
from .files import shown
from .named import codec_of, domain_of
from .options import CodecOption, DomainsOption, JsonOption
from .output import said, show_json

__all__ = ["serve"]


def serve(
    path: Annotated[
        str, typer.Argument(metavar="STORE", help="The store's folder, or postgresql://...")
    ],
    *,
    domain: DomainsOption = None,
    codec: CodecOption = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Have a page there, as 127.0.0.1:8090, and print its token."
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Divide a new store into so many partitions, for good."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that run a divided store.")] = 1,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Let every user of this machine see and use the page."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the domains on a store until a signal ends it, and answer the other commands.

    A signal has all processes finish what they have in hand.

    Example: procession serve var/shop --domain shop.domain:shop --http 127.0.0.1:8090
    """
    if not domain:
        raise InvalidMessage("serve needs the classes: give them with --domain MODULE:domain")
    control = True if http is None else _page(http, has_token=not no_token)
    is_over = Latch()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: is_over.open())
    domains = [domain_of(one) for one in domain]
    with _opened(path, domains, codec, control, partitions, processes) as runtime:
        health = runtime.health()
        if as_json:
            show_json(
                {
                    "path": shown(path),
                    "control": None if health.control is None else str(health.control),
                    "control_problem": health.control_problem or None,
                    "page": runtime.page_url,
                    "page_problem": health.page_problem or None,
                }
            )
        else:
            said(f"{shown(path)}: runs, and answers at {health.control or health.control_problem}")
            if http is not None:
                said(f"the page is at {runtime.page_url or health.page_problem}")
        is_over.wait()


def _opened(
    path: str,
    domains: list[Domain],
    codec: str | None,
    control: bool | Page,
    partitions: int | None,
    processes: int,
) -> Runtime:
    try:
        return Runtime(
            path,
            *domains,
            codec=codec_of(codec),
            control=control,
            partitions=partitions,
            processes=processes,
        )
    except ValueError as error:
        raise InvalidMessage(str(error)) from error


def _page(http: str, *, has_token: bool) -> Page:
    address = http if "://" in http else f"http://{http}"
    try:
        return Page(address=address) if has_token else Page(address=address, token=None)
    except ValueError as error:
        raise InvalidMessage(str(error)) from error
