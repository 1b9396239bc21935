"""The command line. `procession --help` lists what there is."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..store import ProcessionError
from . import without_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

EXTRA = ("typer", "rich")

DEBUG = "PROCESSION_DEBUG"
"""Set in the environment, it has a fault of the command's own shown with its traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Returns:
        what the process ends with: 0, or 1 if something was found, or 2 if it could not be done,
        or 130 if it was interrupted

    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if all(find_spec(one) for one in EXTRA):
            return int(import_module("procession.cli.app").run(given))
        return without_extra.run(given)
    except ProcessionError as error:
        sys.stderr.write(f"error: {error}\n")
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        sys.stderr.write(
            f"error: {type(error).__name__}: {error}; with {DEBUG}=1 it says where\n",
        )
    return 2
