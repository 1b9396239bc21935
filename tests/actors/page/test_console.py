"""The page mounted in an application, which has a login of its own."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from procession import Runtime, console
from procession.control.serving import QuietProtocol, serve_with
from tests.actors.control.shop import PlaceOrder, shop
from tests.actors.page.visiting import Guest


async def home(_: Request) -> PlainTextResponse:
    return PlainTextResponse("the shop's own page")


@contextmanager
def served(app: Any) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        waker, closer = socket.socketpair()
        with waker, closer:
            serving = threading.Thread(
                target=serve_with(app, QuietProtocol), args=(listening, waker)
            )
            serving.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
            finally:
                closer.send(b"x")
                serving.join()


@contextmanager
def mounted(runtime: Runtime, **options: Any) -> Iterator[Callable[[str | None], Guest]]:
    """Guests of a shop that has the page below /ops, by the names that they are logged in with."""
    page = console(runtime, **options)
    with served(Starlette(routes=[Route("/", home), Mount("/ops", page)])) as url:
        yield lambda name: Guest(url, None if name is None else f"user={name}")


def user(request: Request) -> str | None:
    return request.cookies.get("user")


async def user_later(request: Request) -> str | None:
    return user(request)


def may(request: Request, what: str) -> bool:
    return user(request) == "ann" or (user(request) == "bob" and what == "look")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(PlaceOrder(order_id="bad1", amount=7))
        runtime.settle(timeout=30)
        yield runtime


@pytest.mark.parametrize("by", [user, user_later])
def test_the_applications_login_says_who_acts(runtime: Runtime, by: Any) -> None:
    with mounted(runtime, by=by) as guest:
        page = guest("ann").get("/ops/parked/kind", handler="on_charged")
        assert "Your name" not in page.text
        done = guest("ann").press(page, "Skip 1")
        assert "1 done. By ann." in done.text
    [decided] = runtime.parked(decided=True)
    assert decided.decided_by == "ann"


def test_links_stay_below_where_it_is_mounted(runtime: Runtime) -> None:
    with mounted(runtime, by=user) as guest:
        page = guest("ann").get("/ops/").text
        assert 'href="/ops/parked"' in page
        assert 'href="/ops/static/page.css"' in page
        assert guest("ann").get("/ops/static/page.css").status == 200
        assert guest(None).get("/").text == "the shop's own page"


def test_a_stranger_sees_nothing(runtime: Runtime) -> None:
    with mounted(runtime, by=user) as guest:
        answer = guest(None).get("/ops/")
        assert (answer.status, "Log in there first" in answer.text) == (401, True)
        assert guest(None).send("POST", "/ops/act/decide", "ids=1&verdict=skip").status == 401


def test_one_who_may_look_has_no_buttons_and_acts_on_nothing(runtime: Runtime) -> None:
    with mounted(runtime, by=user, may=may) as guest:
        assert "Skip 1" in guest("ann").get("/ops/parked/kind").text
        assert "Skip 1" not in guest("bob").get("/ops/parked/kind").text
        assert guest("bob").send("POST", "/ops/act/decide", "ids=1&verdict=skip").status == 403
        assert guest("eve").get("/ops/").status == 401
    assert len(list(runtime.parked())) == 1


def test_another_origin_or_host_is_refused(runtime: Runtime) -> None:
    with mounted(runtime, by=user, hosts=["shop.example"]) as guest:
        assert guest("ann").get("/ops/").status == 421
        assert guest("ann").send("GET", "/ops/", host="SHOP.example").status == 200
        for origin in ("http://evil.example", None):
            refused = guest("ann").send(
                "POST", "/ops/act/decide", "ids=1&verdict=skip", host="shop.example", origin=origin
            )
            assert refused.status == 403


def test_a_runtime_that_only_reads_has_no_buttons(runtime: Runtime) -> None:
    assert runtime._store.location is not None
    with (
        Runtime(runtime._store.location, shop, read_only=True) as reading,
        mounted(reading, by=user) as guest,
    ):
        page = guest("ann").get("/ops/parked/kind").text
        assert "card of bad1" in page
        assert "Skip 1" not in page
        assert "no service answers" in guest("ann").get("/ops/").text


def test_it_is_mounted_in_fastapi(runtime: Runtime) -> None:
    app = FastAPI()
    app.mount("/ops", console(runtime, by=user))
    with served(app) as url:
        guest = Guest(url, "user=ann")
        assert "1 done. By ann." in guest.press(guest.get("/ops/parked/kind"), "Skip 1").text
