"""Running one program of this folder to its end, or to its time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Failed", "output_of"]

ROOT = Path(__file__).parents[1]


class Failed(Exception):
    """A program did not end well, or not in time."""


def output_of(command: Sequence[str], limit: float) -> str:
    """What `python -m` with a command prints to stdout.

    Args:
        command: the module and its options
        limit: most seconds it may take; after that, it is killed with all that it started

    Raises:
        Failed: it was killed, or ended with an error; its last line says which

    """
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            said, complained = child.communicate(timeout=limit)
        except BaseException as error:
            # Its own children are in its session, and must not go on either.
            os.killpg(child.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failed(f"not done within {limit:.0f} s") from None
            raise
    if child.returncode:
        last = (complained.strip().splitlines() or ["without a word"])[-1]
        raise Failed(f"exit status {child.returncode}: {last}")
    return said
