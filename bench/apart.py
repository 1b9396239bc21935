"""Measuring in a process of its own.

A process that has measured something is no longer as it was: its heap has grown, its caches are
warm. What must not be disturbed by what went before is measured in a fresh process.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["apart"]

P = ParamSpec("P")
R = TypeVar("R")


def apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of a module in a fresh process, and return what it returns."""
    # Spawned, not forked: a fork would start with all that this process holds.
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as pool:
        return pool.submit(function, *args, **kwargs).result()
