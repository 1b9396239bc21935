"""Answering at the page's own address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..control.face import Face
from ..control.serving import QuietProtocol, serve_with
from .guard import Guard
from .pages import pages
from .visitors import TokenDoor

if TYPE_CHECKING:
    from ..listening.listener import Serve
    from ..listening.page_address import Page
    from ..runtime import Runtime

__all__ = ["server_for"]


def server_for(runtime: Runtime, page: Page) -> Serve:
    """What answers browsers.

    Args:
        runtime: that is shown
        page: where it is, and who may see it

    """
    return serve_with(Guard(pages(Face(runtime)), TokenDoor(page)), QuietProtocol)
