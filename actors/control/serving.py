"""Answering at a socket: uvicorn's protocol for HTTP, for as long as clients call."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .application import application
from .face import Face
from .people import caller, peer_of

if TYPE_CHECKING:
    import socket

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from ..listening.listener import Serve, Waker
    from ..runtime import Runtime

__all__ = ["QuietProtocol", "serve_with", "server_for"]

LINGER = 5.0
"""Seconds without a client after which the loop ends; the next client begins another."""

GRACE = 1.0
"""Seconds that a call which is being answered has when the runtime closes."""


def server_for(runtime: Runtime) -> Serve:
    """What answers at the socket of a runtime's store."""
    return serve_with(application(Face(runtime), _who), _PeerProtocol)


def serve_with(app: ASGIApp, protocol: type[QuietProtocol]) -> Serve:
    """What answers at a socket with an application.

    Args:
        app: the application
        protocol: for each connection

    """
    # Its loggers are the service's own: nothing is set up here.
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
    )
    config.load()

    def serve(listening: socket.socket, waker: Waker) -> None:
        asyncio.run(_serve(config, protocol, listening, waker))

    return serve


def _who(request: Request, claimed: str | None) -> str:
    return caller(request.state.peer, claimed)


class QuietProtocol(H11Protocol):
    """HTTP that logs no request."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self.access_log = False


class _PeerProtocol(QuietProtocol):
    """The same over a Unix socket, with the user id of the process at the other end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer: Any = transport.get_extra_info("socket")
        self.app_state = {"peer": peer_of(peer)}


async def _serve(
    config: uvicorn.Config,
    protocol: type[QuietProtocol],
    listening: socket.socket,
    waker: Waker,
) -> None:
    loop = asyncio.get_running_loop()
    state = ServerState()
    is_over = asyncio.Event()
    loop.add_reader(waker.fileno(), is_over.set)
    server = await loop.create_server(partial(protocol, config, state), sock=listening)
    try:
        await _while_clients_call(state, is_over)
    finally:
        loop.remove_reader(waker.fileno())
        server.close()
        await _let_go(state)


async def _while_clients_call(state: ServerState, is_over: asyncio.Event) -> None:
    """Wait until it is over, or no client has been there from one look to the next."""
    seen = -1
    while state.connections or state.total_requests != seen:
        seen = state.total_requests
        try:
            await asyncio.wait_for(is_over.wait(), LINGER)
        except TimeoutError:
            continue
        return


async def _let_go(state: ServerState) -> None:
    for connection in list(state.connections):
        connection.shutdown()
    tasks = set(state.tasks)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=GRACE)
        for task in late:
            task.cancel()
