"""The socket of the page, which browsers call; otherwise as the one in the store's folder."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from .listener import Listener

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from .listener import Serve
    from .page_address import Page

__all__ = ["PageListener"]

logger = logging.getLogger("procession")


class PageListener(Listener):
    """Waits at an address for browsers, and has them answered.

    Args:
        path: the store's folder
        page: where, and with which token
        load: as for `Listener`

    Attributes:
        url: where the page is, without its token; None if the address could not be had

    """

    _thread_name = "procession-page"

    def __init__(self, path: str | os.PathLike[str], page: Page, load: Callable[[], Serve]) -> None:
        super().__init__(path, load)
        self._page = page
        self.url: str | None = None

    @property
    def url_with_token(self) -> str | None:
        """Where the page opens."""
        if self.url is None or self._page.token is None:
            return self.url
        return f"{self.url}?{urlencode({'token': self._page.token})}"

    def start(self) -> None:
        """As of any listener; the log says where the page opens."""
        super().start()
        if self.url is not None:
            # At a level that is seen where no logging is set up: the token is said nowhere else.
            logger.warning(
                "the page of the store at %s opens at %s", self._store, self.url_with_token
            )

    def _say(self, problem: Exception) -> None:
        logger.warning(
            "the store at %s has no page at %s: %s. All else runs",
            self._store,
            self._page.address,
            problem,
        )

    def _bind(self) -> socket.socket:
        host, port = self._page.place
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{listening.getsockname()[1]}/"
        return listening

    def _remove(self) -> None:
        self.url = None
