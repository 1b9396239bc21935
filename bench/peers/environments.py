"""A virtual environment for each peer, with exactly the pinned packages, made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
DEFAULT_FOLDER = HERE / ".envs"
STAMP = "made-from.txt"
TIME_LIMIT = 600.0
"""Seconds that a package index may take to deliver."""


class NotMade(Exception):
    """An environment could not be made, as on a machine without a package index."""


def requirements(library: str) -> Path:
    return HERE / "requirements" / f"{library}.txt"


def environment(library: str, folder: Path) -> Path:
    """The interpreter in the environment of this library, which is made unless it is there."""
    home = folder / library
    interpreter = home / "bin" / "python"
    wanted = f"# Python {sys.version.split()[0]}\n{requirements(library).read_text()}"
    stamp = home / STAMP
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [*pip, "--requirement", str(requirements(library))],
    ):
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIME_LIMIT,
                env=os.environ | {"PYTHONPATH": ""},
            )
        except subprocess.TimeoutExpired as error:
            raise NotMade(f"{library}: no environment within {TIME_LIMIT:.0f} s") from error
        if done.returncode != 0:
            raise NotMade(f"{library}: {last_line(done.stderr)}")
    stamp.write_text(wanted)
    return interpreter


def last_line(text: str) -> str:
    """What a program said last, which is where it names its error."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no message")
