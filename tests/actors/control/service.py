"""The shop of these tests, running in another process."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Service:
    """A shop that runs in a process of its own on a store."""

    def __init__(self, store: Path, token: str | None = None) -> None:
        self.store = store
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from tests.actors.control.shop import main; main({str(store)!r}, {token!r})",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        self._answered()

    def tell(self, *lines: str) -> None:
        """Have it do something, and wait until it is done."""
        assert self._process.stdin is not None
        for line in lines:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            self._answered()

    def _answered(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self._process.kill()
        self._ended()

    def close(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._ended()

    def _ended(self) -> int:
        status = self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        return status


@contextmanager
def running(store: Path, token: str | None = None) -> Iterator[Service]:
    service = Service(store, token)
    try:
        yield service
    finally:
        if service._process.returncode is None:
            service.close()


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="p") as folder:
        yield Path(folder)
