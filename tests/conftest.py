"""What all tests share."""

import os
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings

from procession import Runtime
from procession.store import LmdbStore, StoreFinding
from procession.testing import VirtualClock
from tests.postgresql import stop_shared_server, take_back_schemas
from tests.verifying import verify_here

# Tests start hundreds of processes, and without bytecode on disk each compiles the whole package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell gives what it runs in the background an ignored SIGINT, which processes hand on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "procession", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", parent=settings.get_profile("procession"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "procession"))


def pytest_sessionfinish() -> None:
    stop_shared_server()


def pytest_runtest_logfinish() -> None:
    take_back_schemas()


@pytest.fixture(autouse=True)
def findings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StoreFinding]]:
    """Whatever a test does with a runtime, its store is found sound when it is closed.

    A test that damages one clears this at its end.
    """
    found: list[StoreFinding] = []
    close = Runtime.close

    def check_and_close(runtime: Runtime, **options: Any) -> None:
        if not runtime._is_closed:
            found.extend(verify_here(runtime))
        close(runtime, **options)

    monkeypatch.setattr(Runtime, "close", check_and_close)
    yield found
    assert not found, "\n".join(map(str, found))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2024, 2, 29, 12, tzinfo=UTC))


class Recorded(LmdbStore):
    """A store that, once it has a folder for them, keeps a copy of the disk after every commit."""

    copies: ClassVar[list[Path]] = []
    folder: ClassVar[Path | None] = None

    def __init__(self, path: Any, **options: Any) -> None:
        super().__init__(path, **options)
        self.path = path

    def close_commit(self, checkpoints: Any = None) -> None:
        super().close_commit(checkpoints)
        if Recorded.folder is not None:
            copy = Recorded.folder / str(len(Recorded.copies))
            # The socket is no file that could be copied.
            shutil.copytree(self.path, copy, ignore=shutil.ignore_patterns("control*"))
            Recorded.copies.append(copy)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    """What a runtime opens from now on is a `Recorded`."""
    monkeypatch.setattr("procession.runtime.open_store", Recorded)
    monkeypatch.setattr(Recorded, "copies", [])
    monkeypatch.setattr(Recorded, "folder", None)
    return Recorded
