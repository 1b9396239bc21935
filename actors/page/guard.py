"""What stands before every page: the host that was called, who calls, and from where.

A page of another site can send a browser here. It cannot read the answers, cannot have its name
stand for this machine, and what it posts bears its own origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

from .rendering import VISITOR, rendered

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .visitors import Door, Visitor

__all__ = ["Guard", "visitor_of"]

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With "no-referrer" a browser would post without its origin.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

STATIC = "/static/"
"""What is below this has nothing of the store in it."""


class Guard:
    """Asks every request for who it is before the application sees it.

    Args:
        app: the application
        door: lets visitors in

    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = await self._refusal(request)
        if answer is not None:
            await answer(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    async def _refusal(self, request: Request) -> Response | None:
        """What is answered in the place of the application; None if it is to answer."""
        host = request.headers.get("host", "")
        if self._door.hosts is not None and _name_in(host) not in self._door.hosts:
            return _refused(request, 421, f"This page is not called {host!r}.")
        if request.method in {"GET", "HEAD"} and _path(request).startswith(STATIC):
            return None
        origin = request.headers.get("origin")
        is_looking = request.method in {"GET", "HEAD"}
        if not is_looking and origin is not None and origin.partition("://")[2] != host:
            return _refused(request, 403, "That was sent from the page of another site.")
        entered = await self._door.enter(request)
        if entered is None:
            return rendered(request, self._door.stranger, code=401, has_failed=not is_looking)
        if isinstance(entered, Response):
            return entered
        if not is_looking and origin is None and not entered.has_header_token:
            return _refused(request, 403, "The browser does not say from where that was sent.")
        if not is_looking and not entered.may_act:
            return _refused(request, 403, f"{entered.name} may look at this, and not act.")
        request.scope[VISITOR] = entered
        return None


def visitor_of(request: Request) -> Visitor:
    """Who sends a request that was let through."""
    found: Visitor = request.scope[VISITOR]
    return found


def _path(request: Request) -> str:
    """The path below where the page is mounted."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", ""))


def _name_in(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _refused(request: Request, status: int, why: str) -> Response:
    return rendered(request, "refused.html", code=status, why=why)
