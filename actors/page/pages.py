"""The pages, each at its path: GET to look, and POST to act.

Below `/calls` are the calls that the command line makes, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from ..control.application import call_of, events_of, refusal, routes
from ..control.aside import NEVER, parked_groups, parked_page
from ..control.calls import CALLS, Measured, Selected
from ..control.condition import health, partitions, stats
from ..control.explained import trace, why
from ..control.following import Following
from ..control.instances import Status, instance, instance_page, processes
from ..control.log import backlog, event_at, event_called, events
from ..control.projections import projections
from ..errors import PartitionDown, UnknownMessage
from .acts import Act, Acts
from .drawing import drawn
from .folding import folded_projections, foremost, problems_by_name
from .guard import visitor_of
from .pace import pace
from .rendering import CLAIM, rendered, static
from .searching import by_field, by_name
from .visitors import form_of
from .waits import set_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from ..control.face import Face
    from ..control.plain import Plain

__all__ = ["pages"]

LIMIT = 50
"""Rows of a page."""

MOST_EXPLAINED = 500
"""Rows of what came of an event, and links of its chain, that are shown."""

PATIENCE = 1.0
"""Seconds after which a browser is told how far an act is."""

MOST_CAUGHT_UP = 500
"""Events that a tail which was away gets of those that it missed."""

NO_FIELDS = {"by", "back", "field", "of", "value"}
"""What forms have for the page, and no call."""

ACTS = {call.path: call for call in CALLS if call.acts}


def pages(face: Face) -> Starlette:
    """The application that shows one store; it asks for no token and no login.

    Args:
        face: what it shows, and acts on

    """
    shown: dict[str, Callable[[Face, Request], tuple[str, Plain]]] = {
        "/": _overview,
        "/instances": _instances,
        "/instance": _instance,
        "/event": _event,
        "/stream": _stream,
        "/parked": _parked,
        "/parked/kind": _parked_kind,
        "/parked/sure": _sure,
        "/parked/decided": _decided,
        "/graph": _graph,
        "/timeouts": _timeouts,
        "/backlog": _backlog,
        "/partitions": _partitions,
        "/search": _search,
        "/tail": _tail,
    }
    acts = Acts()
    return Starlette(
        routes=[
            *(Route(path, partial(_shown, face, show)) for path, show in shown.items()),
            Route("/tail/events", partial(_followed, face)),
            Route("/act/{path:path}", partial(_acted, face, acts), methods=["POST"]),
            Route("/acts/{name}", partial(_act, acts)),
            Route("/static/{name}", static),
            Mount("/calls", routes=routes(face, lambda one, said: visitor_of(one).called(said))),
        ],
        exception_handlers={404: _missing, 405: _other_way},
    )


async def _missing(request: Request, error: Exception) -> Response:
    del error
    return rendered(request, "refused.html", code=404, why="There is no such page.")


async def _other_way(request: Request, error: Exception) -> Response:
    del error
    return rendered(request, "refused.html", code=405, why=f"Nothing is done by {request.method}.")


async def _shown(
    face: Face, show: Callable[[Face, Request], tuple[str, Plain]], request: Request
) -> Response:
    try:
        template, values = await run_in_threadpool(show, face, request)
    except Exception as error:  # noqa: BLE001 - the visitor is told
        return _told(request, error)
    return rendered(request, template, **values)


def _told(request: Request, error: Exception) -> Response:
    said, status = refusal(error)
    return rendered(request, "refused.html", code=status, why=said["error"]["message"])


# Looking


def _overview(face: Face, request: Request) -> tuple[str, Plain]:
    del request
    steps = pace(face)
    rows = [{**row, "pace": steps.get(row["process"], 0.0)} for row in processes(face)]
    how = health(face)
    return "overview.html", {
        "rows": rows,
        "is_healthy": how["is_healthy"],
        "problems": problems_by_name(how["problems"]),
        "stats": _stats(face),
        "parked": sum(group["count"] for group in parked_groups(face)),
        "projections": folded_projections(projections(face)),
        "is_divided": face.is_divided,
    }


def _stats(face: Face) -> dict[str, int]:
    # Without a partition that is down there are none; the health says which one it is.
    with suppress(PartitionDown):
        return stats(face) if face.is_running else {}
    return {}


def _instances(face: Face, request: Request) -> tuple[str, Plain]:
    asked = request.query_params
    process = face.known(asked.get("process", ""))
    status = asked.get("status") or None
    field = asked.get("field") or None
    found = instance_page(
        face,
        process,
        status=[] if status is None else [Status(status)],
        where={} if field is None else {field: asked.get("value", "")},
        after=asked.get("after"),
        limit=LIMIT,
    )
    return "instances.html", {
        "process": process,
        "status": status,
        "field": field,
        "value": asked.get("value", ""),
        "statuses": [one.value for one in Status],
        "found": found,
    }


def _instance(face: Face, request: Request) -> tuple[str, Plain]:
    process, name = request.query_params.get("process", ""), request.query_params.get("id", "")
    found = instance(face, process, name, limit=LIMIT, before=_number(request, "before"))
    if found is None:
        raise UnknownMessage(f"{process} has no instance {name!r}")
    log = face.log_of(found["process"], name)
    for row in found["history"]:
        position = row.get("position")
        row["event"] = event_at(log, position) if position else None
        effect = log.store.effect_at(position, found["process"], name) if position else None
        row["effect"] = None if effect is None else effect.handler
    found["history"].reverse()
    return "instance.html", {"one": found, "can_act": face.is_running}


def _event(face: Face, request: Request) -> tuple[str, Plain]:
    name = request.query_params.get("id", "")
    found = event_called(face, name)
    if found is None:
        raise UnknownMessage(f"there is no event {name!r}")
    has_classes = bool(face.process_names())
    return "event.html", {
        "event": found,
        "why": why(face, name)[:MOST_EXPLAINED] if has_classes else None,
        "trace": list(islice(trace(face, name), MOST_EXPLAINED)) if has_classes else None,
        "most": MOST_EXPLAINED,
    }


def _stream(face: Face, request: Request) -> tuple[str, Plain]:
    stream = request.query_params.get("name", "")
    after = _number(request, "after")
    if "-" not in stream:
        raise UnknownMessage(f"{stream!r} is no stream; a stream is a category, a dash and an id")
    rows = list(events(face, stream=stream, after=after, limit=LIMIT))
    # None as well where the last one cannot be read.
    last = rows[-1].get("position") if len(rows) == LIMIT else None
    return "events.html", {
        "title": stream,
        "rows": rows,
        "go_on": _go_on("/stream", last, name=stream),
    }


def _go_on(path: str, after: int | str | None, **asked: str) -> str | None:
    """Where the rest of a listing is; None if this was all."""
    return None if after is None else f"{path}?{urlencode({**asked, 'after': after})}"


def _parked(face: Face, request: Request) -> tuple[str, Plain]:
    del request
    return "parked.html", {"groups": parked_groups(face)}


def _decided(face: Face, request: Request) -> tuple[str, Plain]:
    rows, go_on = parked_page(face, decided=True, after=_number(request, "after") or 0, limit=LIMIT)
    return "decided.html", {"rows": rows, "after": go_on}


class Kind(TypedDict):
    """Of what is parked: where it failed and how; None stands for any."""

    process: str | None
    error: str | None
    handler: str | None
    place: str | None


def _kind_in(request: Request) -> Kind:
    asked = request.query_params
    return Kind(
        # Under no name stand commands that came from outside.
        process=asked.get("process") or None,
        error=asked.get("error"),
        handler=asked.get("handler"),
        place=asked.get("place"),
    )


def _parked_kind(face: Face, request: Request) -> tuple[str, Plain]:
    kind = _kind_in(request)
    rows, go_on = parked_page(face, **kind, after=_number(request, "after") or 0, limit=LIMIT)
    return "parked_kind.html", {
        "kind": kind,
        "rows": rows,
        "after": go_on,
        "can_act": face.is_running,
    }


def _sure(face: Face, request: Request) -> tuple[str, Plain]:
    """The question before all of a kind are decided: it is about those that are there by now."""
    kind = _kind_in(request)
    found: Any = Selected(**kind).look(face)
    verdict = "skip" if request.query_params.get("verdict") == "skip" else "retry"
    return "sure.html", {"kind": kind, "verdict": verdict, **found}


def _graph(face: Face, request: Request) -> tuple[str, Plain]:
    asked = request.query_params.multi_items()
    if not any(name == "measured" for name, _ in asked):
        return "graph.html", {"pictures": drawn(face), "variants": None}
    call = call_of(Measured, [(name, one) for name, one in asked if one and name != "measured"])
    found = call.happened(face)
    variants = {name: ways for one in found.values() for name, ways in one["variants"].items()}
    return "graph.html", {"pictures": drawn(face, found), "variants": variants}


def _timeouts(face: Face, request: Request) -> tuple[str, Plain]:
    process = face.known(request.query_params.get("process", ""))
    name = request.query_params.get("name", "")
    rows = set_timeouts(face, process, name, limit=LIMIT)
    return "timeouts.html", {"process": process, "name": name, "rows": rows, "limit": LIMIT}


def _backlog(face: Face, request: Request) -> tuple[str, Plain]:
    """The events that a process manager is not done with, the oldest first."""
    process = face.known(request.query_params.get("process", ""))
    rows, after = backlog(
        face, process, after=request.query_params.get("after") or None, limit=LIMIT
    )
    return "events.html", {
        "title": f"Before {process}",
        "rows": rows,
        "go_on": _go_on("/backlog", after, process=process),
    }


def _partitions(face: Face, request: Request) -> tuple[str, Plain]:
    problems = health(face)["problems"]
    rows: list[Plain] = [
        {**row, "problems": [one for one in problems if one.get("partition") == row["number"]]}
        for row in partitions(face)
    ]
    return "partitions.html", {
        "rows": rows if request.query_params.get("all") else foremost(rows, LIMIT),
        "count": len(rows),
        "totals": {
            name: sum(row[name] for row in rows) for name in ("events", "backlog", "lane_backlog")
        },
    }


def _search(face: Face, request: Request) -> tuple[str, Plain]:
    said = request.query_params.get("q", "").strip()
    field, equals, value = said.partition("=")
    is_field = bool(equals) and field.isidentifier()
    return "search.html", {
        "said": said,
        "field": field if is_field else None,
        "value": value,
        "hits": by_name(face, said) if said and not is_field else [],
        "parts": by_field(face, None, field, value) if is_field else [],
    }


def _tail(face: Face, request: Request) -> tuple[str, Plain]:
    stream = request.query_params.get("stream") or None
    found = Following(face, stream=stream, last=LIMIT)
    rows = list(found.rows())[-LIMIT:]
    rows.reverse()
    return "tail.html", {"rows": rows, "stream": stream, "after": found.place}


def _number(request: Request, name: str) -> int | None:
    said = request.query_params.get(name, "")
    return min(int(said), NEVER - 1) if said.isdecimal() else None


# What goes on


async def _followed(face: Face, request: Request) -> Response:
    """Events as they come, as server-sent events: one that was away goes on where it was."""
    after = request.headers.get("last-event-id") or request.query_params.get("after")
    stream = request.query_params.get("stream") or None
    try:
        following = Following(
            face, stream=stream, last=0, after=after or None, most_behind=MOST_CAUGHT_UP
        )
    except Exception as error:  # noqa: BLE001 - the visitor is told
        return _told(request, error)
    return events_of(request, following)


# Acting


async def _acted(face: Face, acts: Acts, request: Request) -> Response:
    kind = ACTS.get(request.path_params["path"])
    if kind is None:
        return rendered(request, "refused.html", code=404, why="There is no such act.")
    form = await form_of(request)
    given = dict(form)
    claimed, back = given.get("by"), given.get("back", "/")
    # A path of these pages and of no other host.
    back = back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
    verdict = given.get("verdict", kind.path)
    try:
        call = call_of(kind, _fields(form))
        by = visitor_of(request).called(claimed)
        found = await run_in_threadpool(call.answer, face, by)
    except Exception as error:  # noqa: BLE001 - the visitor is told
        return _told(request, error)
    if isinstance(found, Iterator):
        total = given.get("of", "")
        act = Act(verdict, by, back, int(total) if total.isdecimal() else None, found)
        name = acts.begin(act)
        await run_in_threadpool(act.wait, PATIENCE)
        base = request.scope.get("root_path", "")
        answer = (
            _how_far(request, act)
            if act.is_over
            else RedirectResponse(f"{base}/acts/{name}", status_code=303)
        )
    else:
        answer = rendered(request, "done.html", act=verdict, by=by, back=back, value=found)
    if claimed is not None:
        answer.set_cookie(CLAIM, quote(claimed), httponly=True, samesite="strict")
    return answer


async def _act(acts: Acts, request: Request) -> Response:
    try:
        act = acts.called(request.path_params["name"])
    except UnknownMessage as error:
        return _told(request, error)
    return _how_far(request, act)


def _how_far(request: Request, act: Act) -> Response:
    """What came of an act, or has come by now."""
    is_over = act.is_over
    if act.error is not None:
        return _told(request, act.error)
    return rendered(
        request,
        "done.html" if is_over else "doing.html",
        act=act.verdict,
        by=act.by,
        back=act.back,
        value=None,
        done=act.done,
        refused=act.refused,
        why=act.why,
        total=act.total,
    )


def _fields(form: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The fields of a call in a form, which has a field of the state and its value apart."""
    given = dict(form)
    if "field" in given:
        yield f"fields.{given['field']}", given.get("value", "")
    yield from ((name, said) for name, said in form if name not in NO_FIELDS)
