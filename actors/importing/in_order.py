"""Any number of things in order of time, of which a bounded number is in memory."""

from __future__ import annotations

import heapq
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import msgspec

from .mapping import Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

__all__ = ["InOrder"]

RUN = 100_000
"""Events that are sorted in memory."""

_LENGTH = 4


class InOrder:
    """Events, in order of time; those of one time in the order of their rows. A context manager.

    Args:
        run: how many are in memory; more wait in files, which go with this

    """

    def __init__(self, run: int = RUN) -> None:
        self._run = run
        self._newest: list[Prepared] = []
        self._files = ExitStack()
        self._runs: list[IO[bytes]] = []
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, one: Prepared) -> None:
        """Take one more."""
        self._newest.append(one)
        self.count += 1
        if len(self._newest) == self._run:
            self._put_away()

    def __iter__(self) -> Iterator[Prepared]:
        """All of them."""
        self._newest.sort(key=_place)
        return heapq.merge(self._newest, *(_read(file) for file in self._runs), key=_place)

    def _put_away(self) -> None:
        self._newest.sort(key=_place)
        file = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - entered
        encode = msgspec.msgpack.Encoder().encode
        for one in self._newest:
            packed = encode(one)
            file.write(len(packed).to_bytes(_LENGTH, "big"))
            file.write(packed)
        self._runs.append(file)
        self._newest.clear()


def _place(one: Prepared) -> tuple[int, int, int]:
    return one.time, one.place, one.row


def _read(file: IO[bytes]) -> Iterator[Prepared]:
    file.seek(0)
    decode = msgspec.msgpack.Decoder(Prepared).decode
    while length := file.read(_LENGTH):
        yield decode(file.read(int.from_bytes(length, "big")))
