"""Where a store in PostgreSQL is: a URL, taken apart, and shown without what is secret in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from ..errors import StoreError

__all__ = ["DEFAULT_SCHEMA", "Address", "is_address"]

DEFAULT_SCHEMA = "procession"

SCHEMES = ("postgresql://", "postgres://")

OURS = ("schema", "wait_for_owner")
"""Parameters that PostgreSQL does not know."""

PLACING = ("host", "hostaddr", "port", "dbname", "service")
"""Parameters that say where a store is; the same may stand before them."""

SECRET = ("password", "sslpassword")

BY_DEFAULT = {
    "application_name": "procession",
    # A peer that does not answer at all is given up after seconds instead of hours.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}

LONGEST_SCHEMA = 63
"""Bytes of a name in PostgreSQL."""


def is_address(place: object) -> TypeGuard[str]:
    """Whether a place is a URL of PostgreSQL, and no folder."""
    return isinstance(place, str) and place.startswith(SCHEMES)


@dataclass(frozen=True, slots=True)
class Address:
    """A store's place in a database.

    Attributes:
        shown: the URL without passwords, for people
        schema: which of the database's schemas the tables are in
        wait_for_owner: seconds that opening waits while another process has the store
        conninfo: for the driver; with the password, so it is never shown

    """

    shown: str
    schema: str
    wait_for_owner: float
    conninfo: str = field(repr=False)
    _place: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take a URL apart: ``postgresql://user@host/database?schema=shop&wait_for_owner=60``.

        All parameters but these two are PostgreSQL's own.

        Raises:
            StoreError: it is no such URL; what is said of it has no password

        """
        try:
            parts = urlsplit(url)
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            # What it says may have the password in it.
            raise StoreError(
                "the address of the store is no URL that can be taken apart; write "
                "postgresql://user:password@host:5432/database, with % for what is special in the "
                "password (an @ is %40)"
            ) from None
        user, at, hosts = parts.netloc.rpartition("@")
        name, has_password, _ = user.partition(":")
        base = f"postgresql://{name}{at}{hosts}{parts.path}"
        options: dict[str, Any] = dict(given)
        public = {one: value for one, value in options.items() if one not in SECRET}
        shown = base + (f"?{urlencode(public, quote_via=quote)}" if public else "")
        theirs = BY_DEFAULT | {one: value for one, value in options.items() if one not in OURS}
        secret = f"postgresql://{user if has_password else name}{at}{hosts}{parts.path}"
        return cls(
            shown=shown,
            schema=_schema(options.get("schema", DEFAULT_SCHEMA), shown),
            wait_for_owner=_seconds(options.get("wait_for_owner", "0"), shown),
            conninfo=f"{secret}?{urlencode(theirs, quote_via=quote)}",
            _place=(hosts, unquote(parts.path), *(str(options.get(one, "")) for one in PLACING)),
        )

    @property
    def identity(self) -> str:
        """The same for all users of one store who write its host alike; without who they are."""
        return "\n".join((*self._place, self.schema))

    def __str__(self) -> str:
        return self.shown


def _schema(name: str, shown: str) -> str:
    if not name or "\0" in name or len(name.encode()) > LONGEST_SCHEMA or name.startswith("pg_"):
        raise StoreError(
            f"{shown}: schema={name!r} is no name for a schema; give one of 1 to {LONGEST_SCHEMA} "
            f"bytes that does not begin with pg_"
        )
    return name


def _seconds(said: str, shown: str) -> float:
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise StoreError(f"{shown}: wait_for_owner={said!r} is no number of seconds from 0 on")
    return seconds
