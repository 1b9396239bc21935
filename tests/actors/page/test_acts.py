"""An act on many things: it goes on by itself, and a browser is told how far it is."""

import re
import threading
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from procession import Page, Runtime
from procession.control.plain import Plain
from procession.errors import UnknownMessage
from procession.page import acts, pages
from procession.page.acts import Act, Acts
from tests.actors.control.service import short_folder
from tests.actors.control.shop import PlaceOrder, shop
from tests.actors.page.visiting import Guest

MANY = 3


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    page = Page(address="http://127.0.0.1:0", token=None)
    with short_folder() as folder, Runtime(folder / "store", shop, control=page) as runtime:
        for number in range(MANY):
            runtime.ask(PlaceOrder(order_id=f"bad{number}", amount=number))
        runtime.settle(timeout=30)
        yield runtime


@pytest.fixture
def may_go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Each skip waits until it is let go on; the page waits for none."""
    may_go_on = threading.Semaphore(0)
    skip = Runtime.skip

    def waiting(runtime: Runtime, *arguments: Any, **named: Any) -> None:
        assert may_go_on.acquire(timeout=30)
        skip(runtime, *arguments, **named)

    monkeypatch.setattr(Runtime, "skip", waiting)
    monkeypatch.setattr(pages, "PATIENCE", 0.0)
    return may_go_on


def test_what_takes_long_shows_how_far_it_is_and_then_what_came_of_it(
    runtime: Runtime, may_go_on: threading.Semaphore
) -> None:
    assert runtime.page_url is not None
    guest = Guest(runtime.page_url)
    sure = guest.get("/parked/sure", verdict="skip")
    sent = guest.press(sure, f"Skip {MANY}", by="ann")
    assert sent.status == 303
    path = sent.headers["location"]
    page = guest.get(path).text
    assert f'<progress value="0" max="{MANY}"' in page
    # It renews itself, with scripts or without.
    assert re.search(r'<div id="act" data-live="1">', page)
    assert '<noscript><meta http-equiv="refresh"' in page

    may_go_on.release()
    while f'value="1" max="{MANY}"' not in page:
        page = guest.get(path).text
    assert f"skip: 1 of {MANY} by now. By ann (as claimed)." in page
    may_go_on.release(MANY - 1)
    while "progress" in page:
        page = guest.get(path).text
    assert f"skip: {MANY} done. By ann (as claimed)." in page
    assert '<div id="act">' in page
    assert runtime.health().parked == 0


def test_what_ends_at_once_is_shown_at_once(runtime: Runtime) -> None:
    assert runtime.page_url is not None
    guest = Guest(runtime.page_url)
    done = guest.press(guest.get("/parked/sure", verdict="skip"), f"Skip {MANY}")
    assert (done.status, f"skip: {MANY} done" in done.text) == (200, True)


def test_an_act_that_is_unknown_or_forgotten_is_told_in_a_sentence(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime.page_url is not None
    answer = Guest(runtime.page_url).get("/acts/xyz")
    assert (answer.status, "not kept any more" in unescape(answer.text)) == (404, True)
    monkeypatch.setattr(acts, "MOST_KEPT", 1)
    kept = Acts()
    first, second = (kept.begin(Act("retry", "ann", "/", None, iter([]))) for _ in range(2))
    assert kept.called(second).by == "ann"
    with pytest.raises(UnknownMessage):
        kept.called(first)


def test_what_ends_an_act_is_told(runtime: Runtime, may_go_on: threading.Semaphore) -> None:
    def rows() -> Iterator[Plain]:
        yield {"done": True}
        raise ValueError("broken")

    act = Act("retry", "ann", "/", 2, rows())
    act.carry_out()
    assert (act.is_over, act.done, str(act.error)) == (True, 1, "broken")
