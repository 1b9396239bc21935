"""Checking the store in a folder, in a process of its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

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

__all__ = ["Verifiers", "verify", "verify_apart", "verify_beside"]


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


class Verifiers:
    """Processes that verify stores, as many as can at once; they start before the stores are there.

    A context manager; leaving the block ends them.

    Args:
        folder: in which the stores are going to be
        names: of their folders

    Raises:
        StoreError: no process could be started

    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        count = min(os.cpu_count() or 1, len(names))
        self._shares = [list(names[first::count]) for first in range(count)]
        self._readers: list[ReaderProcess] = []
        self._started = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._readers = [
                stack.enter_context(ReaderProcess(self._folder, "verify_each", names=share))
                for share in self._shares
            ]
            self._started = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def begin(self) -> None:
        """Have them begin: the stores are there."""
        for reader in self._readers:
            reader.tell("begin")

    def findings(self) -> Iterator[tuple[str, StoreFinding | None]]:
        """Of each store its name, and what is wrong with it first; nothing if it is sound.

        Raises:
            DamagedStore: as `verify_apart`
            StoreError: as `verify_apart`

        """
        for reader, share in zip(self._readers, self._shares, strict=True):
            for message in reader.messages():
                share.remove(message["name"])
                found = [StoreFinding(*one) for one in message["findings"]]
                yield message["name"], found[0] if found else None
            if share:
                raise _unsaid(self._folder / share[0])


def _unsaid(path: str | os.PathLike[str]) -> StoreError:
    # Where a program leaves it to the system to see to its children, none of them has a status.
    return StoreError(
        f"the process that reads the store at {path} ended without saying what it found: the "
        f"file may be damaged. Run `procession verify {path}` from a shell"
    )
