"""Where the page is: an address of this machine's own, and the token that opens it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["Page"]


def _new_token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where a runtime has its page, and who may see it; given as `Runtime(control=...)`.

    Args:
        address: such as ``"http://127.0.0.1:8090"``; of the machine's own addresses only. With
            port 0 the operating system chooses one
        token: what opens the page; a new one is made if it is not given. None lets everyone in who
            reaches the address, which any user of the machine does
        hosts: names beside ``localhost`` and the address by which browsers may call it, as behind
            a proxy

    Raises:
        ValueError: the address is none of this machine's own

    """

    address: str
    token: str | None = field(default_factory=_new_token, repr=False)
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is not None and not self.token:
            raise ValueError("token='': give a text, or None for no token")
        _ = self.place

    @property
    def place(self) -> tuple[str, int]:
        """The host and the port.

        Raises:
            ValueError: it is none of this machine's own

        """
        refusal = f"{self.address!r} is no place for the page; write http://127.0.0.1:8090"
        try:
            parts = urlsplit(self.address)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"{refusal}: {error}") from error
        if parts.scheme != "http" or host is None or port is None or parts.path not in {"", "/"}:
            raise ValueError(refusal)
        if not _is_own(host):
            raise ValueError(
                f"{self.address!r}: the page is for this machine alone; for others, mount "
                f"`procession.console` in an application that has a login"
            )
        return host, port


def _is_own(host: str) -> bool:
    """Whether only processes of this machine reach it."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
