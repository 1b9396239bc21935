"""The disk that fails: `failing.c`, compiled, and its functions where it is in front."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="the disk that fails is written in C"
)


def compiled(folder: Path) -> dict[str, str]:
    """The environment of a process that has the library in front of the C library."""
    library = folder / "failing.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "failing.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return os.environ | {"LD_PRELOAD": str(library)}


class FailingDisk:
    """In a process that has the library: some writes to the files of a folder fail."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        arguments = (ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int)
        self._library.failing_arm.argtypes = arguments
        self._library.failing_failed.restype = ctypes.c_long

    def arm(self, folder: str, first: int, count: int, number: int) -> None:
        """Have writes from one on fail with a number of `errno`; with 0, half of it is written."""
        self._library.failing_arm(folder.encode(), first, count, number)

    def disarm(self) -> int:
        """Have none fail any more; returns how many did."""
        failed = int(self._library.failing_failed())
        self.arm("", 0, 0, 0)
        return failed
