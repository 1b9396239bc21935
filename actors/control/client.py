"""The other side: a client that calls the service of a store, or opens the store itself."""

from __future__ import annotations

import http.client
import json
import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol, Self, cast
from urllib.parse import quote, urlencode

import msgspec

from ..clock import pause
from ..errors import InvalidMessage
from ..listening.place import sockets_of
from ..runtime import Runtime
from ..store import LockedStore, ProcessionError
from .face import CannotAct, Face
from .following import Following
from .people import caller
from .plain import STILL, Plain
from .wire import BY, END, LOOK_AGAIN, ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..model.domain import Domain
    from ..store import PayloadCodec
    from .calls import Call

__all__ = ["Client", "Refused", "connect"]

CONNECT_WITHIN = 5.0
"""Seconds that a service has to take a call."""


class Refused(ProcessionError):
    """The service refused a call, and said why."""


class Client(Protocol):
    """Carries calls out, wherever the store is open."""

    is_service: bool
    """Whether a service answers."""

    def one(self, call: Call) -> Any:
        """The answer to a call that has one value.

        Raises:
            ProcessionError: it was refused

        """
        ...

    def rows(self, call: Call) -> Iterator[Plain]:
        """The rows that a call is answered with, as they come.

        Raises:
            ProcessionError: it was refused

        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def connect(
    store: str | os.PathLike[str],
    domains: Sequence[Domain] = (),
    *,
    acts: bool = False,
    by: str | None = None,
    codec: PayloadCodec | None = None,
) -> Client:
    """A client of a store: of its service if one answers, and else of the store itself.

    Args:
        store: its folder
        domains: the classes, for a store that no service has open
        acts: whether the calls change anything: a store without a service is opened for writing
            then, and what its instances have in hand is taken up
        by: who asks, as the person says; not empty
        codec: of a store that has one and that no service has open

    Raises:
        StoreError: there is no store, or it cannot be opened
        WrongCodec: it has a codec, and another one was given, or none
        CannotAct: the calls change something, and there is neither a service nor classes
        InvalidMessage: `by` says nothing

    """
    if by is not None and not by.strip():
        raise InvalidMessage(
            f"by={by!r} names no person; leave it out, and the user id of the process is recorded"
        )
    for path in sockets_of(store):
        found = _called(os.fspath(path))
        if found is not None:
            return _ServiceClient(os.fspath(path), found, by)
    if not acts:
        return _StoreClient(Runtime(store, *domains, read_only=True, codec=codec), by)
    # Whether there is a store is told first.
    with Runtime(store, read_only=True, codec=codec):
        pass
    if not domains:
        raise CannotAct(
            f"no service answers for the store at {os.fspath(store)}, and what acts on it needs "
            f"its classes; start the service, or give them with --domain MODULE:domain"
        )
    try:
        return _StoreClient(Runtime(store, *domains, control=False, codec=codec), by)
    except LockedStore as error:
        raise LockedStore(
            f"{error}. That process answers at no socket: it has control=False, or its health() "
            f"says why there is none"
        ) from error


def _called(path: str) -> socket.socket | None:
    """A connection to a socket; None if no process listens there."""
    calling = socket.socket(socket.AF_UNIX)
    calling.settimeout(CONNECT_WITHIN)
    try:
        calling.connect(path)
    except OSError:
        calling.close()
        return None
    return calling


class _Connection(http.client.HTTPConnection):
    """HTTP over a connection to a Unix socket."""

    def __init__(self, calling: socket.socket) -> None:
        super().__init__("store")
        self.sock = calling


class _ServiceClient:
    """Calls a service; each call has a connection of its own."""

    is_service = True

    def __init__(self, path: str, calling: socket.socket, by: str | None) -> None:
        self._path = path
        self._next: socket.socket | None = calling
        self._headers = {} if by is None else {BY: quote(by)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None

    def one(self, call: Call) -> Any:
        with closing(self._connection()) as connection:
            return json.loads(self._answer(connection, call).read())

    def rows(self, call: Call) -> Iterator[Plain]:
        connection = self._connection()
        try:
            answer = self._answer(connection, call)
        except BaseException:
            connection.close()
            raise
        return self._rows(connection, answer)

    @staticmethod
    def _rows(connection: _Connection, answer: http.client.HTTPResponse) -> Iterator[Plain]:
        with closing(connection):
            if answer.headers.get_content_type() != ROWS:
                yield from json.loads(answer.read())
                return
            try:
                while line := answer.readline():
                    if line.isspace():
                        continue
                    row = json.loads(line)
                    if row == END:
                        return
                    if "refused" in row:
                        raise Refused(row["refused"]["message"])
                    yield row
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise _gone(str(error)) from error
            raise _gone("the answer has no end")

    def _connection(self) -> _Connection:
        calling, self._next = self._next or _called(self._path), None
        if calling is None:
            raise Refused(f"the service at {self._path} has gone")
        return _Connection(calling)

    def _answer(self, connection: _Connection, call: Call) -> http.client.HTTPResponse:
        given = {name: one for name, one in msgspec.to_builtins(call).items() if one is not None}
        assert connection.sock is not None
        connection.sock.settimeout(call.within)
        try:
            if call.acts:
                connection.request("POST", f"/{call.path}", json.dumps(given), self._headers)
            else:
                connection.request("GET", f"/{call.path}?{_query(given)}", None, self._headers)
            answer = connection.getresponse()
            if answer.status == http.client.OK:
                return answer
            body = answer.read()
        except TimeoutError as error:
            raise Refused(f"the service did not answer within {call.within} seconds") from error
        except (OSError, http.client.HTTPException) as error:
            raise _gone(str(error)) from error
        raise Refused(_why(answer.status, body))


def _query(given: Plain) -> str:
    pairs: list[tuple[str, Any]] = []
    for name, value in given.items():
        if isinstance(value, dict):
            pairs += [(f"{name}.{key}", one) for key, one in value.items()]
        elif isinstance(value, list):
            pairs += [(name, one) for one in value]
        else:
            pairs.append((name, json.dumps(value) if isinstance(value, bool) else value))
    return urlencode(pairs)


def _why(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"the service failed at it (status {status}); its log says more"


def _gone(how: str) -> Refused:
    return Refused(f"the service went away while it answered: {how}")


class _StoreClient:
    """Carries calls out on a store that it has opened itself."""

    is_service = False

    def __init__(self, runtime: Runtime, by: str | None) -> None:
        self._runtime = runtime
        self._face = Face(runtime)
        self._by = caller(os.getuid(), by)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._runtime.close()

    def one(self, call: Call) -> Any:
        return call.answer(self._face, self._by)

    def rows(self, call: Call) -> Iterator[Plain]:
        answer = call.answer(self._face, self._by)
        if isinstance(answer, Following):
            return _followed(answer)
        return (row for row in cast("Iterator[Plain]", answer) if row is not STILL)


def _followed(following: Following) -> Iterator[Plain]:
    while True:
        yield from following.look()
        if not following.has_more:
            pause(LOOK_AGAIN)
