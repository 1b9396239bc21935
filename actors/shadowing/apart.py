"""Processes of their own that go through what is stored, each a part of it."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.registry import Registry
from ..model.whereabouts import domain_at
from ..store import StoreError
from .opened import opened
from .part import go_through
from .report import Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from .part import Part

__all__ = ["go_apart"]


def go_apart(
    place: str,
    domains: Sequence[tuple[str, str]],
    parts: Sequence[Part],
    told: Callable[[int], object],
) -> Findings:
    """Have processes go through the parts of a store.

    Args:
        place: the store's folder or address
        domains: where the domains are, as `where_is` says
        parts: one for each process
        told: is called with how many instances all of them went through

    Raises:
        StoreError: one of them failed

    """
    findings = Findings()
    with contextlib.ExitStack() as stack:
        children = {}
        for part in parts:
            pipe, process = _start(place, domains, part)
            stack.callback(_end, process)
            children[pipe] = process
        done = dict.fromkeys(children, 0)
        while children:
            # What multiprocessing waits for may be sockets and numbers as well.
            for pipe in [one for one in list(children) if one in wait(list(children))]:
                message = _received(pipe, children[pipe])
                if isinstance(message, int):
                    done[pipe] = message
                    told(sum(done.values()))
                    continue
                findings.add(message)
                del children[pipe]
    return findings


def _start(
    place: str, domains: Sequence[tuple[str, str]], part: Part
) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_run, args=(place, list(domains), part, theirs), name="procession-shadow"
    )
    process.start()
    theirs.close()
    return ours, process


def _end(process: SpawnProcess) -> None:
    process.terminate()
    process.join()
    process.close()


def _received(pipe: Connection, process: SpawnProcess) -> Any:
    try:
        message = pipe.recv()
    except EOFError:
        process.join()
        raise StoreError(
            f"a process that went through what is stored ended with {process.exitcode}: a handler "
            f"may have ended it, or the store's file is damaged; `procession verify` tells"
        ) from None
    if isinstance(message, str):
        raise StoreError(f"a process that went through what is stored failed: {message}")
    return message


def _run(place: str, domains: list[tuple[str, str]], part: Part, pipe: Connection) -> None:
    """The child's side."""
    # The terminal interrupts it as well, and the parent ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What handlers print and log belongs to no run of theirs.
    logging.disable(logging.CRITICAL)
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    try:
        registry = Registry([domain_at(*one) for one in domains])
        with opened(place) as stores:
            message: Any = go_through(stores, registry, part, pipe.send)
    except BaseException as error:  # noqa: BLE001 - it is raised where the parent waits
        message = f"{type(error).__name__}: {error}"
    # A parent that has ended waits for nothing.
    with suppress(BrokenPipeError):
        pipe.send(message)
