"""The ASGI application: each call at its path, GET to look and POST to act.

An answer that is one value is JSON; rows come as one JSON object a line, each as soon as it is
there, so that a listing takes no more memory when it is longer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..errors import (
    AlreadyDecided,
    InvalidMessage,
    UnknownMessage,
    place_of_error,
    type_of_error,
)
from ..store import ClosedError, InvalidName, ProcessionError
from .calls import CALLS, Tail
from .face import CannotAct
from .following import Following
from .plain import STILL, Plain
from .wire import BY, END, LOOK_AGAIN, ROWS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    from starlette.requests import Request

    from .calls import Answer, Call
    from .face import Face

__all__ = ["application", "call_of", "events_of", "refusal", "routes"]

logger = logging.getLogger("procession")

C = TypeVar("C", bound="Call")

SENT_EVENTS = "text/event-stream"
"""The type of an answer that is server-sent events."""

METRICS = "/metrics"
"""Where Prometheus reads, if its library is there."""

_STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (UnknownMessage, 404),
    (AlreadyDecided, 409),
    (CannotAct, 409),
    (ClosedError, 503),
    (InvalidMessage, 400),
    (InvalidName, 400),
    (msgspec.MsgspecError, 400),
)


def application(face: Face, caller: Callable[[Request, str | None], str]) -> Starlette:
    """The application that answers about one store.

    Args:
        face: what it shows, and acts on
        caller: who sends a request, given what the request claims

    """
    return Starlette(routes=routes(face, caller))


def routes(face: Face, caller: Callable[[Request, str | None], str]) -> list[Route]:
    """The routes of that application, each call at its path."""
    found = [
        Route(
            f"/{call.path}", _endpoint(call, face, caller), methods=["POST" if call.acts else "GET"]
        )
        for call in CALLS
    ]
    if find_spec("prometheus_client") is not None:
        found.append(Route(METRICS, _metrics_of(face), methods=["GET"]))
    return found


def _endpoint(
    kind: type[Call], face: Face, caller: Callable[[Request, str | None], str]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            call = (
                await _posted(kind, request) if kind.acts else call_of(kind, _asked(kind, request))
            )
            claimed = request.headers.get(BY)
            by = caller(request, None if claimed is None else unquote(claimed))
            answer = await run_in_threadpool(call.answer, face, by)
        except Exception as error:  # noqa: BLE001 - the client is told
            return JSONResponse(*refusal(error))
        if isinstance(answer, Following) and _wants_events(request):
            return events_of(request, answer)
        return _response(answer)

    return endpoint


def _wants_events(request: Request) -> bool:
    """Whether a client takes server-sent events, as browsers' `EventSource` does."""
    return SENT_EVENTS in request.headers.get("accept", "")


def _asked(kind: type[Call], request: Request) -> list[tuple[str, str]]:
    """What a query asks for; a client that was cut off says behind which event it goes on."""
    asked = request.query_params.multi_items()
    seen = request.headers.get("last-event-id")
    if issubclass(kind, Tail) and _wants_events(request):
        asked = [one for one in asked if one[0] != "follow"] + [("follow", "true")]
        if seen:
            asked = [one for one in asked if one[0] != "after"] + [("after", seen)]
    return asked


def _metrics_of(face: Face) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        del request
        metrics = import_module("procession.telemetry.metrics")
        try:
            runtime = face.needs_service("metrics")
            text = await run_in_threadpool(metrics.exposed, runtime)
        except Exception as error:  # noqa: BLE001 - the client is told
            return JSONResponse(*refusal(error))
        return Response(text, media_type=metrics.MEDIA_TYPE)

    return endpoint


async def _posted(kind: type[Call], request: Request) -> Call:
    return msgspec.json.decode(await request.body() or b"{}", type=kind)


def call_of(kind: type[C], items: Iterable[tuple[str, str]]) -> C:
    """A call from a query or a form.

    A list is given by repeating its name, a mapping as `name.key=value`.

    Args:
        kind: the call
        items: its fields and their values

    Raises:
        MsgspecError: a field or a value does not fit

    """
    lists = {
        one.name
        for one in msgspec.structs.fields(kind)
        if isinstance(msgspec.inspect.type_info(one.type), msgspec.inspect.ListType)
    }
    given: dict[str, Any] = {}
    for name, value in items:
        whole, dot, key = name.partition(".")
        if dot:
            given.setdefault(whole, {})[key] = value
        elif name in lists:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    return msgspec.convert(given, kind, strict=False)


def refusal(error: Exception) -> tuple[Plain, int]:
    """What is answered in the place of an error, with its status.

    What is none of Procession's own was raised by the user's code, or is a fault of ours; the log
    says where.
    """
    told = {"type": type(error).__name__, "message": str(error)}
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return {"error": told}, status
    if not isinstance(error, ProcessionError):
        logger.error("a call failed: %s at %s", type_of_error(error), place_of_error(error))
        told["message"] = f"{type(error).__name__}: {error}"
    return {"error": told}, 500


def _response(answer: Answer) -> Response:
    if isinstance(answer, Following):
        return StreamingResponse(_followed(answer), media_type=ROWS)
    if answer is None or isinstance(answer, dict | list):
        return JSONResponse(answer)
    return StreamingResponse(iterate_in_threadpool(_rows(answer)), media_type=ROWS)


def _rows(answer: Iterator[Plain]) -> Iterator[str]:
    try:
        for row in answer:
            # An empty line tells nothing; where the client has gone, the answer ends there.
            yield "\n" if row is STILL else _line(row)
        yield _line(END)
    except Exception as error:  # noqa: BLE001 - the client is told
        # The status has left with the first row.
        yield _line(_broken_off(error))


async def _followed(following: Following) -> AsyncIterator[str]:
    while not following.is_over:
        try:
            rows = await run_in_threadpool(following.look)
        except Exception as error:  # noqa: BLE001 - the client is told
            yield _line(_broken_off(error))
            return
        for row in rows:
            yield _line(row)
        if not following.has_more:
            await asyncio.sleep(LOOK_AGAIN)
    yield _line(_broken_off(ClosedError("the service is being closed")))


def events_of(request: Request, following: Following) -> Response:
    """What is followed, as server-sent events, whose ids say how far it is."""
    return StreamingResponse(_sent(request, following), media_type=SENT_EVENTS)


async def _sent(request: Request, following: Following) -> AsyncIterator[str]:
    # So that the client knows at once that it is connected.
    yield ": hello\n\n"
    while not (following.is_over or await request.is_disconnected()):
        for row in await run_in_threadpool(following.look):
            yield f"id: {row['after']}\ndata: {json.dumps(row)}\n\n"
        if not following.has_more:
            await asyncio.sleep(LOOK_AGAIN)


def _broken_off(error: Exception) -> Plain:
    """The last row, where an error ends the answer."""
    return {"refused": refusal(error)[0]["error"]}


def _line(row: Plain) -> str:
    return json.dumps(row) + "\n"
