"""The page of a service in another process: what it shows, and every button."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from itertools import islice

import pytest

from procession.control.calls import Health, Instance, Parked
from procession.control.client import connect
from tests.actors.control.service import Service, running, short_folder
from tests.actors.page.visiting import Answer, Guest

TOKEN = "the-token-of-this-test"


class Shop:
    """A shop with a page, and a guest who has its token."""

    def __init__(self, service: Service) -> None:
        self.service = service
        with connect(service.store) as client:
            self.url: str = client.one(Health())["page"]
        self.stranger = Guest(self.url)
        entered = self.stranger.get("/", token=TOKEN)
        self.cookie = entered.headers["set-cookie"].split(";")[0]
        self.guest = Guest(self.url, self.cookie)

    def status_of(self, name: str) -> str:
        with connect(self.service.store) as client:
            found = client.one(Instance(process="Fulfilment", id=name))
        return str(found["status"])

    def instance(self, name: str) -> Answer:
        return self.guest.get("/instance", process="shop.Fulfilment", id=name)

    def kind(self) -> Answer:
        """The only kind of what is parked."""
        [link] = re.findall(r'href="(/parked/kind\?[^"]*)"', self.guest.get("/parked").text)
        return self.guest.get(unescape(link))


@contextmanager
def opened() -> Iterator[Shop]:
    with short_folder() as folder, running(folder / "store", TOKEN) as service:
        service.tell("place good", "place bad1", "place bad2", "place open1")
        yield Shop(service)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with opened() as shop:
        yield shop


@pytest.fixture(scope="module")
def shared() -> Iterator[Shop]:
    """One that no test changes."""
    with opened() as shop:
        yield shop


def told(answer: Answer) -> str:
    """What an act came to."""
    [said] = re.findall(r'role="(?:status|alert)">(.*?)</p>', answer.text)
    return str(said)


# Looking


def test_the_overview_counts_and_says_how_the_service_is(shared: Shop) -> None:
    page = shared.guest.get("/").text
    row = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>")[1], re.DOTALL)[0]
    cells = [
        re.sub(r"<[^>]*>", "", one).strip()
        for one in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
    ]
    assert cells[:4] == ["shop.Fulfilment", "1", "2", "1"]
    assert float(cells[4]) >= 0
    assert cells[5:] == ["0", ""]
    assert "Not healthy" in page
    assert "<code>parked</code>" in page


def test_an_instance_shows_its_time_line_with_what_changed_and_why(shared: Shop) -> None:
    page = unescape(shared.instance("good").text)
    for part in (
        '<strong class="complete">complete</strong>, version 2',
        "<strong>on_placed</strong>",
        "<code>charging</code> → <code>charged</code>",
        "command shop.Charge.v1",
        "/event?id=shop%3A%3Apayment-good%401",
    ):
        assert part in page
    assert "timeout <code>payment</code>" in shared.instance("open1").text
    assert shared.instance("nobody").status == 404


def test_older_transitions_are_a_page_further(shared: Shop) -> None:
    page = shared.guest.get("/instance", process="Fulfilment", id="good", before=2).text
    assert "on_placed" in page
    assert "<strong>on_charged</strong>" not in page


def test_an_event_shows_its_payload_why_and_its_chain(shared: Shop) -> None:
    page = unescape(shared.guest.get("/event", id="shop::payment-good@1").text)
    assert '"order_id": "good"' in page
    assert "<strong>stepped</strong>" in page
    assert "shop.OrderPlaced.v1" in page
    assert shared.guest.get("/event", id="nothing").status == 404


def test_a_stream_lists_its_events(shared: Shop) -> None:
    assert "shop::order-good@1" in shared.guest.get("/stream", name="shop::order-good").text
    assert shared.guest.get("/stream", name="shop::order").status == 404


def test_what_is_parked_is_grouped_with_the_payload_behind_a_click(shared: Shop) -> None:
    groups = shared.guest.get("/parked").text
    assert "CardDeclined" in groups
    assert "card of" not in groups
    page = unescape(shared.kind().text)
    assert page.count("card of bad1") == 1
    assert '<details><summary>payload</summary><pre>{\n  "order_id": "bad1"\n}' in page


def test_instances_are_listed_by_status_and_by_field(shared: Shop) -> None:
    def ids(**query: str) -> list[str]:
        page = shared.guest.get("/instances", process="Fulfilment", **query).text
        return re.findall(r'<th scope="row"><a [^>]*>(.*?)</a>', page)

    assert ids() == ["good", "bad1", "bad2", "open1"]
    assert ids(status="suspended") == ["bad1", "bad2"]
    assert ids(status="complete") == ["good"]
    assert ids(field="amount", value="7", status="running") == ["open1"]
    assert ids(field="card", value="card-bad2") == ["bad2"]
    page = shared.guest.get("/instances", process="Fulfilment")
    pressed = shared.guest.press(page, "Show", status="complete").text
    assert re.findall(r'<th scope="row"><a [^>]*>(.*?)</a>', pressed) == ["good"]
    assert shared.guest.get("/instances", process="Nothing").status == 404


def test_a_search_finds_by_id_by_key_and_by_field(shared: Shop) -> None:
    def found(said: str) -> str:
        return unescape(shared.guest.press(shared.guest.get("/"), "Find", q=said).text)

    assert "id=bad1" in found("bad1")
    assert ">bad2</a>" in found("card-bad2")
    assert ">open1</a>" in found("status=charging")
    assert "/event?id=" in found("shop::order-good@1")
    assert "/stream?name=" in found("shop::order-good")
    assert "Nothing is called" in found("xyz")


def test_the_design_shows_what_happened_on_it_when_it_is_asked(shared: Shop) -> None:
    page = unescape(shared.guest.get("/graph?measured=1&since=").text)
    assert "Ways of shop.Fulfilment" in page
    assert 'class="label happened"' in page
    assert "data-live" not in page
    assert "no zone" in shared.guest.get("/graph?measured=1&since=2026-01-01T00:00:00").text


def test_the_design_has_live_counts_that_lead_to_the_instances(shared: Shop) -> None:
    page = unescape(shared.guest.get("/graph").text)
    assert ">1 running<" in page
    assert ">2 suspended<" in page
    assert ">2 parked<" in page
    assert "process=shop.Fulfilment&status=suspended" in page


def test_the_design_shows_what_waits_and_leads_to_it(shared: Shop) -> None:
    page = shared.guest.get("/graph").text
    [timeouts] = re.findall(r'href="(/timeouts\?[^"]*)"><text[^>]*>3 set<', page)
    listed = shared.guest.get(unescape(timeouts)).text
    assert re.findall(r'<th scope="row">\s*<a [^>]*>(.*?)</a>', listed) == ["bad1", "bad2", "open1"]
    assert "events wait" not in page
    assert "There is no event." in shared.guest.get("/backlog", process="Fulfilment").text


def test_the_tail_sends_each_event_as_it_comes(shop: Shop) -> None:
    page = shop.guest.get("/tail").text
    [stream] = re.findall(r'data-events="([^"]*)"', page)
    assert "shop::order-open1@1" in page
    of_one = shop.guest.press(shop.guest.get("/tail"), "Show", stream="shop::payment-good").text
    assert "shop::payment-good@1" in of_one
    assert "shop::order-open1@1" not in of_one
    shop.service.tell("place good2")
    found = islice(shop.guest.follow(unescape(stream)), 2)
    assert [row["event_id"] for _, row in found] == ["shop::order-good2@1", "shop::payment-good2@1"]


def test_a_tail_that_was_away_goes_on_where_it_was(shared: Shop) -> None:
    first, second = islice(shared.guest.follow("/tail/events", last_event_id="event.0:5"), 2)
    assert [first[0], second[0]] == ["event.0:6", "event.0:7"]
    [again] = islice(shared.guest.follow("/tail/events", last_event_id=first[0]), 1)
    assert again == second


def test_a_tail_that_was_at_no_place_is_told_so(shared: Shop) -> None:
    answer = shared.guest.send("GET", "/tail/events?after=6")
    assert answer.status == 400
    assert "'6'" in unescape(answer.text)


# Acting


def test_one_is_retried_to_completion_and_it_is_recorded_who_did_it(shop: Shop) -> None:
    shop.service.tell("mend")
    done = shop.guest.press(shop.kind(), "Retry 1", by="ann")
    assert told(done) == "retry: 1 done. By ann (as claimed)."
    shop.service.tell("settle")
    assert (shop.status_of("bad1"), shop.status_of("bad2")) == ("complete", "suspended")
    with connect(shop.service.store) as client:
        [decided] = client.rows(Parked(decided=True))
    assert (decided["decision"], decided["decided_by"]) == ("retry", "ann (as claimed)")
    assert "ann (as claimed)" in shop.guest.get("/parked/decided").text


def test_one_is_skipped(shop: Shop) -> None:
    assert told(shop.guest.press(shop.kind(), "Skip 2")).startswith("skip: 1 done")
    shop.service.tell("settle")
    assert (shop.status_of("bad1"), shop.status_of("bad2")) == ("suspended", "running")


@pytest.mark.parametrize(("verdict", "then"), [("Retry", "complete"), ("Skip", "running")])
def test_all_of_a_kind_are_decided_after_a_question(shop: Shop, verdict: str, then: str) -> None:
    shop.service.tell("mend")
    [link] = re.findall(rf'href="([^"]*)">{verdict} all<', shop.kind().text)
    sure = shop.guest.get(unescape(link))
    assert f"{verdict} 2?" in sure.text
    assert shop.status_of("bad1") == "suspended"
    assert "2 done" in told(shop.guest.press(sure, f"{verdict} 2"))
    shop.service.tell("settle")
    assert (shop.status_of("bad1"), shop.status_of("bad2")) == (then, then)
    assert "Nothing is parked" in shop.guest.get("/parked").text


def test_what_was_parked_after_the_question_is_not_decided(shop: Shop) -> None:
    [link] = re.findall(r'href="([^"]*)">Skip all<', shop.kind().text)
    sure = shop.guest.get(unescape(link))
    shop.service.tell("place bad3")
    assert "2 done" in told(shop.guest.press(sure, "Skip 2"))
    assert shop.status_of("bad3") == "suspended"


def test_what_is_of_another_handler_is_not_decided(shop: Shop) -> None:
    shop.service.tell("place odd1")
    page = shop.guest.get("/parked/kind", handler="on_placed").text
    assert "odd1" in page
    assert "bad1" not in page
    sure = shop.guest.get("/parked/sure", verdict="skip", handler="on_charged")
    assert "2 done" in told(shop.guest.press(sure, "Skip 2"))
    assert shop.status_of("odd1") == "suspended"


def test_an_instance_is_amended_ended_and_rebuilt(shop: Shop) -> None:
    done = shop.guest.press(shop.instance("open1"), "Amend", field="amount", value="9", by="ann")
    assert told(done) == "amend: done. By ann (as claimed)."
    assert "<code>7</code> → <code>9</code>" in shop.instance("open1").text
    done = shop.guest.press(shop.instance("open1"), "Refresh", by="bea")
    assert told(done) == "refresh: done. By bea (as claimed)."
    assert "rebuilt by bea (as claimed)" in shop.instance("open1").text
    before = shop.instance("open1")
    assert told(shop.guest.press(before, "End", reason="lost")).startswith("end: done")
    assert shop.status_of("open1") == "complete"
    late = shop.guest.press(before, "End", reason="lost")
    assert (late.status, "open1" in told(late)) == (500, True)


def test_a_timeout_is_moved_and_cancelled(shop: Shop) -> None:
    done = shop.guest.press(shop.instance("open1"), "Move payment", when="7200")
    assert told(done).startswith("timeout/move: done")
    page = shop.instance("open1")
    assert told(shop.guest.press(page, "Cancel payment")).startswith("timeout/cancel: done")
    assert "timeout <code>" not in shop.instance("open1").text
    assert told(shop.guest.press(page, "Cancel payment")).startswith("timeout/cancel: it was not")
    refused = shop.guest.press(page, "Move payment", when="soon")
    assert (refused.status, "is no time" in told(refused)) == (400, True)
