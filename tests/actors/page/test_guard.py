"""Who is let in, and what no page of another site can have a browser do."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from procession import Page, Runtime
from procession.control.calls import Parked
from procession.control.client import connect
from tests.actors.control.shop import PlaceOrder, shop
from tests.actors.page.test_page import TOKEN, Shop, opened
from tests.actors.page.visiting import Guest

SKIP = urlencode({"ids": "1", "verdict": "skip"})


@pytest.fixture(scope="module")
def page() -> Iterator[Shop]:
    with opened() as page:
        yield page
        # No test of this file decided anything.
        with connect(page.service.store) as client:
            assert len(list(client.rows(Parked()))) == 2


def test_without_the_token_nothing_is_shown_and_nothing_done(page: Shop) -> None:
    for path in ("/", "/parked", "/tail/events", "/calls/processes", "/nothing"):
        answer = page.stranger.get(path)
        assert answer.status == 401
        assert "Fulfilment" not in answer.text
    assert page.stranger.send("POST", "/act/decide", SKIP).status == 401
    assert page.stranger.get("/", token="another").status == 401
    assert page.stranger.send("GET", "/", authorization="Bearer another").status == 401


def test_the_token_is_taken_once_and_leaves_the_address(page: Shop) -> None:
    entered = page.stranger.get("/parked", token=TOKEN)
    assert (entered.status, entered.headers["location"]) == (303, "/")
    assert {"httponly", "samesite=strict"} <= {
        one.strip().lower() for one in entered.headers["set-cookie"].split(";")
    }


def test_the_token_can_be_typed(page: Shop) -> None:
    asked = page.stranger.get("/")
    assert page.stranger.press(asked, "Enter", token=TOKEN).status == 303
    refused = page.stranger.press(asked, "Enter", token="another")
    assert (refused.status, "That is not the token" in refused.text) == (401, True)


def test_the_token_opens_the_calls_to_programs(page: Shop) -> None:
    answer = page.stranger.send("GET", "/calls/parked/groups", authorization=f"Bearer {TOKEN}")
    assert '"count":2' in answer.text.replace(" ", "")
    acted = page.stranger.send(
        "POST", "/calls/decide", '{"verdict": "skip", "ids": [77]}',
        authorization=f"Bearer {TOKEN}", origin=None,
    )  # fmt: skip
    assert (acted.status, '"id": 77, "done": false' in acted.text) == (200, True)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", ""]
)
def test_another_name_is_refused(page: Shop, host: str) -> None:
    assert page.guest.send("GET", "/", host=host).status == 421


def test_names_of_this_machine_are_taken_at_any_port(page: Shop) -> None:
    # As through a tunnel.
    for host in ("localhost:1234", "[::1]:1234", "127.0.0.1", "localhost:99999"):
        assert page.guest.send("GET", "/static/page.js", host=host).status == 200
        assert page.stranger.send("GET", "/", host=host).status == 401


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://[", "", None]
)
def test_what_is_posted_from_elsewhere_is_refused(page: Shop, origin: str | None) -> None:
    for path in ("/act/decide", "/calls/decide"):
        assert page.guest.send("POST", path, SKIP, origin=origin).status == 403


def test_nothing_acts_by_get(page: Shop) -> None:
    for path in ("/act/decide", "/calls/decide"):
        assert page.guest.get(f"{path}?{SKIP}").status == 405


def test_every_answer_forbids_what_is_from_elsewhere(page: Shop) -> None:
    for guest, path in ((page.guest, "/"), (page.stranger, "/"), (page.guest, "/static/page.js")):
        headers = guest.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; base-uri 'none'")
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_name_nothing_that_is_elsewhere_and_have_no_code_in_them(page: Shop) -> None:
    for path in (
        "/",
        "/parked",
        "/graph",
        "/tail",
        "/search?q=good",
        "/instance?process=Fulfilment&id=good",
    ):
        text = page.guest.get(path).text
        assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"<script(?! type=\"module\" src=\"/static/)|\son\w+=|\sstyle=", text)


def test_the_way_back_leads_to_no_other_host(page: Shop) -> None:
    body = urlencode({"ids": "77", "verdict": "skip", "back": "//evil.example/"})
    assert "evil.example" not in page.guest.send("POST", "/act/decide", body).text


def test_payloads_are_text() -> None:
    script = "<script>alert(1)</script>"
    page = Page(address="http://127.0.0.1:0", token=None)
    with Runtime.ephemeral(shop, control=page) as runtime:
        runtime.ask(PlaceOrder(order_id=script, amount=1))
        runtime.ask(PlaceOrder(order_id=f"bad{script}", amount=1))
        runtime.settle(timeout=30)
        assert runtime.page_url is not None
        guest = Guest(runtime.page_url)
        for path in (
            "/instances?process=Fulfilment",
            f"/instance?{urlencode({'process': 'Fulfilment', 'id': script})}",
            f"/event?{urlencode({'id': f'shop::order-{script}@1'})}",
            "/parked/kind?process=Fulfilment",
            f"/search?{urlencode({'q': script})}",
            f"/stream?{urlencode({'name': f'shop::order-{script}'})}",
            f"/instances?{urlencode({'process': script})}",
            "/tail",
            "/graph",
        ):
            text = guest.get(path).text
            assert script not in text
            assert "alert(1)" in text or path == "/graph"


@pytest.mark.parametrize(
    "address",
    ["http://0.0.0.0:8090", "http://192.0.2.1:8090", "http://shop.example:80", "127.0.0.1:8090",
     "https://127.0.0.1:8090", "http://127.0.0.1", "http://127.0.0.1:x", "http://127.0.0.1:1/a"],
)  # fmt: skip
def test_only_addresses_of_this_machine_alone_are_taken(address: str) -> None:
    with pytest.raises(ValueError, match=r"for this machine alone|is no place for the page"):
        Page(address=address)


def test_tokens_differ_and_are_shown_by_no_repr() -> None:
    one, other = Page(address="http://localhost:0"), Page(address="http://localhost:0")
    assert one.token != other.token
    assert str(one.token) not in repr(one)
    with pytest.raises(ValueError, match="None for no token"):
        Page(address="http://localhost:0", token="")
