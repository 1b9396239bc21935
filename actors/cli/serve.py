"""`serve`: a service that is nothing but its domains."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidMessage
from ..runtime import Runtime
from .options import DomainsOption, domain_of
from .output import said

__all__ = ["serve"]


def serve(
    path: Annotated[Path, typer.Argument(metavar="STORE", help="The store's folder.")],
    *,
    domain: DomainsOption = None,
) -> None:
    """Run the domains on a store until a signal ends it, and answer the other commands.

    Example: procession serve var/shop --domain shop.domain:shop
    """
    if not domain:
        raise InvalidMessage("serve needs the classes: give them with --domain MODULE:domain")
    is_over = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: is_over.set())
    with Runtime(path, *(domain_of(one) for one in domain)) as runtime:
        health = runtime.health()
        said(f"{path}: runs, and answers at {health.control or health.control_problem}")
        is_over.wait()
