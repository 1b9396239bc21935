"""The page as a part of another application, which knows who its users are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..control.face import Face
from .guard import Guard
from .pages import pages
from .visitors import LoginDoor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp

    from ..runtime import Runtime
    from .visitors import By, May

__all__ = ["console"]


def console(
    runtime: Runtime, *, by: By, may: May | None = None, hosts: Iterable[str] | None = None
) -> ASGIApp:
    """The page of a runtime, to be mounted in an application of Starlette or FastAPI.

    It needs the extra ``procession[control]``. What is done on it is recorded with what `by` says.

    Args:
        runtime: that is shown
        by: a function of the request that says who sends it, by the application's own login; None
            of one who is to be kept out. It may be a coroutine function
        may: a function of the request and of ``"look"`` or ``"act"`` that says whether its sender
            may; if it is not given, all whom `by` knows may do both
        hosts: the names by which browsers may call the application; any, if they are not given

    Example: ``app.mount("/procession", console(runtime, by=lambda request: request.user.name))``

    """
    called = None if hosts is None else frozenset(one.lower() for one in hosts)
    return Guard(pages(Face(runtime)), LoginDoor(by, may, called))
