"""Who comes to the page, and what they may do: by a token, or by the login of an application."""

from __future__ import annotations

import hmac
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias
from urllib.parse import parse_qsl

from starlette.responses import RedirectResponse

from ..control.people import caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from ..listening.page_address import Page

__all__ = ["By", "Door", "LoginDoor", "May", "TokenDoor", "Visitor", "form_of"]

By: TypeAlias = "Callable[[Request], Awaitable[str | None] | str | None]"
"""Says who sends a request; None, or nothing, of one who is not logged in."""

May: TypeAlias = "Callable[[Request, str], bool | Awaitable[bool]]"
"""Says whether the sender of a request may ``"look"`` or ``"act"``."""

COOKIE_AGE = 30 * 24 * 3600
"""Seconds that a browser keeps the token."""


class Visitor(NamedTuple):
    """One who was let in.

    Attributes:
        name: who it is; None where a token says no more than that it may come in
        may_act: whether it may do more than look
        has_header_token: whether its token came in a header, which no foreign page can have sent

    """

    name: str | None
    may_act: bool = True
    has_header_token: bool = False

    def called(self, claimed: str | None) -> str:
        """Who it is, as it is recorded.

        Args:
            claimed: who it says it is

        """
        return caller(None, claimed) if self.name is None else self.name


class Door(Protocol):
    """Lets visitors in.

    Attributes:
        hosts: the names by which the page may be called; None for any, where the application around
            it sees to that
        stranger: the page that one is shown who is not let in

    """

    stranger: str

    @property
    def hosts(self) -> frozenset[str] | None: ...

    async def enter(self, request: Request) -> Visitor | Response | None:
        """The visitor who sends a request; an answer, if that lets it in; None for a stranger."""
        ...


class TokenDoor:
    """Lets those in who have the token.

    Args:
        page: its address and its token

    """

    stranger = "enter.html"

    def __init__(self, page: Page) -> None:
        own = {"localhost", "127.0.0.1", "::1", page.place[0]}
        self.hosts: frozenset[str] | None = frozenset(own | {one.lower() for one in page.hosts})
        self._token = page.token

    async def enter(self, request: Request) -> Visitor | Response | None:
        if self._token is None:
            return Visitor(None)
        said = request.headers.get("authorization", "")
        if said.startswith("Bearer ") and self._is_token(said.removeprefix("Bearer ")):
            return Visitor(None, has_header_token=True)
        # A cookie is sent to all ports of a host, and each of them may have a page.
        port = request.headers.get("host", "").rpartition(":")[2]
        cookie = f"procession-{port if port.isdecimal() else 'page'}"
        given = request.query_params.get("token")
        is_entering = request.method == "POST" and request.url.path == "/enter"
        if is_entering:
            given = dict(await form_of(request)).get("token", "")
        if given is not None and self._is_token(given):
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(
                cookie, given, max_age=COOKIE_AGE, httponly=True, samesite="strict", path="/"
            )
            return answer
        if is_entering or not self._is_token(request.cookies.get(cookie, "")):
            return None
        return Visitor(None)

    def _is_token(self, said: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(said.encode(), self._token.encode())


class LoginDoor:
    """Lets those in whom the application around the page knows.

    Args:
        by: who sends a request
        may: whether that one may look or act; all may whom `by` knows, if it is not given
        hosts: as of any door

    """

    stranger = "stranger.html"

    def __init__(self, by: By, may: May | None, hosts: frozenset[str] | None) -> None:
        self._by = by
        self._may = may
        self.hosts = hosts

    async def enter(self, request: Request) -> Visitor | Response | None:
        name: Any = await _said(self._by(request))
        if not name:
            return None
        if self._may is None:
            return Visitor(name)
        if not await _said(self._may(request, "look")):
            return None
        return Visitor(name, may_act=bool(await _said(self._may(request, "act"))))


async def _said(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


async def form_of(request: Request) -> list[tuple[str, str]]:
    """What a form says, field by field."""
    return parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)
