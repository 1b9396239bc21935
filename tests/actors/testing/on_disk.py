"""Simulations on an LMDB file, where the usual ones are on dictionaries."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from procession.store import LmdbStore

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["on_disk"]


@contextmanager
def on_disk() -> Iterator[Path]:
    """Have a simulation that is begun in the block keep its store in a folder."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setattr(
            "procession.testing.simulation.world.DictionaryEngine", lambda: _opened(folder)
        )
        yield folder


def _opened(folder: Path) -> Any:
    """An engine that may be opened again, as dictionaries may."""
    engine: Any = LmdbStore(folder, durability="none", map_size=1 << 20, secret="0" * 64)._engine

    def reopened() -> Any:
        engine.close()
        return _opened(folder)

    engine.reopened = reopened
    return engine
