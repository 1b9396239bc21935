"""Checking the store in a folder, in a process of its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..lmdb.store import LmdbStore
from ..postgresql.address import is_address
from .inspecting import StoreFinding
from .reader_process import ReaderProcess
from .verify import LIMIT, Verification, verify_open, verify_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ..coded import PayloadCodec
    from ..store import Store

__all__ = ["verify", "verify_apart", "verify_beside", "verify_each"]


def verify(
    path: str | os.PathLike[str], *, limit: int = LIMIT, codec: PayloadCodec | None = None
) -> list[StoreFinding]:
    """Check a store as it is at one moment, beside its writer or without one.

    Every record is looked at: its checksum and shape, numbers without gaps, and whether what it
    refers to is there, in both directions. Memory does not depend on the size of the store. It is
    read by a process of its own, since one that reads a damaged file may be ended by a signal; a
    store with a codec is read by this one, which has its keys.

    Args:
        path: the store's folder, or its address in a database
        limit: most findings; the check ends there
        codec: with which the store was written, if there is any

    Returns:
        all that is wrong; nothing in a sound store

    Raises:
        DamagedStore: the file is truncated or damaged, so that it cannot be read to its end
        WrongCodec: the store was written with another codec, or with none
        StoreError: there is no store, or it cannot be opened at all, or no process could be started

    """
    return verify_apart(path, limit=limit, codec=codec).findings


def verify_beside(
    store: Store, *, now: Callable[[], int], learnt: Iterable[tuple[str, int, str]] = ()
) -> Verification:
    """As `verify_open`; what is in a folder is read by a process of its own.

    What needs a codec is read by this one, which alone has its keys.

    Raises:
        DamagedStore: the file is truncated or damaged, so that it cannot be read to its end
        LostStore: the file was removed or replaced
        StoreError: it cannot be read, or no process could be started

    """
    if not isinstance(store, LmdbStore) or store.codec is not None:
        return verify_open(store, now=now, learnt=learnt)
    # The process opens what has the name.
    store.refuse_lost()
    return verify_apart(store.location, now=now, learnt=learnt)


def verify_apart(
    path: str | os.PathLike[str],
    *,
    limit: int = LIMIT,
    now: Callable[[], int] | None = None,
    learnt: Iterable[tuple[str, int, str]] = (),
    on_progress: Callable[[int, int], object] | None = None,
    codec: PayloadCodec | None = None,
) -> Verification:
    """As `verify`, and tells how much was checked; the other arguments as for `verify_open`."""
    # What is damaged in a database harms the server's process, and not this one.
    if is_address(path) or codec is not None:
        return verify_path(
            path, limit=limit, now=now, learnt=learnt, on_progress=on_progress, codec=codec
        )
    options = {
        "limit": limit,
        "learnt": list(learnt),
        "asks_now": now is not None,
        "tells": on_progress is not None,
    }
    verification: Verification | None = None
    with ReaderProcess(path, "verify", **options) as reader:
        for message in reader.messages():
            if message.get("asks") == "now":
                assert now is not None
                reader.tell(now())
            elif "of" in message:
                assert on_progress is not None
                on_progress(message["rows"], message["of"])
            else:
                findings = [StoreFinding(*one) for one in message["findings"]]
                verification = Verification(findings, message["checked"])
    if verification is None:
        raise _unsaid(path)
    return verification


def verify_each(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, StoreFinding]]:
    """What is wrong first with each of some stores, which as many processes read as can at once.

    Args:
        folder: in which they are
        names: of their folders

    Yields:
        the name of a store, and the first thing that is wrong with it; nothing of sound ones

    Raises:
        DamagedStore: as `verify_apart`
        StoreError: as `verify_apart`

    """
    count = min(os.cpu_count() or 1, len(names))
    shares = [list(names[first::count]) for first in range(count)]
    with ExitStack() as started:
        readers = [
            started.enter_context(ReaderProcess(folder, "verify_each", names=share))
            for share in shares
        ]
        for reader, share in zip(readers, shares, strict=True):
            for message in reader.messages():
                share.remove(message["name"])
                for one in message["findings"]:
                    yield message["name"], StoreFinding(*one)
            if share:
                raise _unsaid(folder / share[0])


def _unsaid(path: str | os.PathLike[str]) -> StoreError:
    # Where a program leaves it to the system to see to its children, none of them has a status.
    return StoreError(
        f"the process that reads the store at {path} ended without saying what it found: the "
        f"file may be damaged. Run `procession verify {path}` from a shell"
    )
