"""Answers as HTML, and the files that they name: all of it comes with the package."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["CLAIM", "VISITOR", "rendered", "static"]

_HERE = Path(__file__).parent

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

VISITOR = "procession.visitor"
"""The key of a request's scope under which the visitor stands that sent it."""

CLAIM = "procession-name"
"""The cookie with the name that a visitor typed last."""

LONGEST = 120
"""Characters of a value on one line."""


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"pretty": _pretty, "short": _short, "when": _when, "number": _number}
    made.globals["query"] = _query
    return made


def rendered(request: Request, template: str, *, code: int = 200, **values: Any) -> Response:
    """A page.

    Args:
        request: that it answers
        template: which page
        code: the status of the answer
        values: what stands on it

    """
    text = _environment().get_template(template)
    body = text.render(
        base=request.scope.get("root_path", ""),
        path=request.url.path,
        visitor=request.scope.get(VISITOR),
        claim=unquote(request.cookies.get(CLAIM, "")),
        **values,
    )
    return HTMLResponse(body, status_code=code)


async def static(request: Request) -> Response:
    """A file that pages name."""
    found = _files().get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("there is no such file", status_code=404)
    kind, content = found
    return Response(content, media_type=kind, headers={"cache-control": "max-age=600"})


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    return {
        one.name: (_TYPES[one.suffix], one.read_bytes())
        for one in (_HERE / "static").iterdir()
        if one.suffix in _TYPES
    }


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _when(moment: str | None) -> str:
    return "" if moment is None else moment[:19].replace("T", " ")


def _number(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def _query(**values: Any) -> str:
    """The query of a link, without what is None."""
    return urlencode({name: value for name, value in values.items() if value is not None})
