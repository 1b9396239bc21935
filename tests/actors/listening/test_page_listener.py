"""The page's socket: where it is, what is said of it, and what it costs."""

import http.client
import logging
import socket
from urllib.parse import urlsplit

import pytest

from procession import Domain, Page, Runtime
from procession.listening.listener import MISSING_EXTRA, Serve
from procession.listening.page_listener import PageListener
from tests.actors.page.visiting import Guest

nothing = Domain("nothing")


def test_the_log_says_once_where_the_page_opens(caplog: pytest.LogCaptureFixture) -> None:
    with Runtime.ephemeral(nothing, control="http://127.0.0.1:0") as runtime:
        health, url = runtime.health(), runtime.page_url
        assert url is not None
        assert health.page == url.partition("?")[0]
        entered = Guest(url).send("GET", url.removeprefix(str(health.page)[:-1]))
        assert entered.status == 303
    assert [one.levelno for one in caplog.records if url in one.getMessage()] == [logging.WARNING]
    assert runtime.page_url is None
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((urlsplit(url).hostname, urlsplit(url).port))


def test_without_a_token_the_address_opens() -> None:
    page = Page(address="http://localhost:0", token=None)
    with Runtime.ephemeral(nothing, control=page) as runtime:
        assert runtime.page_url is not None
        assert "token" not in runtime.page_url
        assert Guest(runtime.page_url).get("/").status == 200


def test_an_address_that_is_taken_keeps_no_store_from_opening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Runtime.ephemeral(nothing, control=address) as runtime:
            health = runtime.health()
            assert (health.page, "in use" in health.page_problem) == (None, True)
            assert runtime.page_url is None


def test_an_address_for_others_is_refused_before_the_store_is_opened() -> None:
    with pytest.raises(ValueError, match="for this machine alone"):
        Runtime("nowhere/at/all", nothing, control="http://0.0.0.0:8090")
    with pytest.raises(ValueError, match="open for reading only has no page"):
        Runtime("nowhere/at/all", nothing, read_only=True, control="http://127.0.0.1:0")


def test_without_the_extra_the_page_says_what_to_install() -> None:
    def missing() -> Serve:
        raise ModuleNotFoundError("No module named 'jinja2'")

    listener = PageListener("store", Page(address="http://127.0.0.1:0"), missing)
    listener.start()
    try:
        connection = http.client.HTTPConnection(urlsplit(str(listener.url)).netloc, timeout=30)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, MISSING_EXTRA in answer.read().decode()) == (503, True)
        connection.close()
    finally:
        listener.close()


def test_a_tail_that_is_followed_does_not_keep_the_runtime_from_closing() -> None:
    page = Page(address="http://127.0.0.1:0", token=None)
    with Runtime.ephemeral(nothing, control=page) as runtime:
        connection = http.client.HTTPConnection(urlsplit(str(runtime.page_url)).netloc, timeout=30)
        connection.request("GET", "/tail/events")
        answer = connection.getresponse()
        assert answer.readline() == b": hello\n"
    assert b"data" not in answer.read()
    connection.close()
