"""The page in a real browser, with the keyboard, on a phone and in the dark."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.actors.page.browsing import CHROMIUM, FOR_CONTAINERS
from tests.actors.page.test_page import TOKEN, Shop, opened

playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is missing")

PICTURES = os.environ.get("PROCESSION_PICTURES")
"""A folder, if the pictures of the documents are to be drawn anew."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FOR_CONTAINERS)
        yield browser
        browser.close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with opened() as shop:
        yield shop


@pytest.fixture
def page(browser: Any, shop: Shop) -> Iterator[Any]:
    """A page that has entered; what it is refused, and what goes wrong in it, fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 700})
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.extend([said.text] * (said.type == "error")))
    page.on("request", lambda one: wrong.extend([one.url] * (not one.url.startswith(shop.url))))
    page.goto(f"{shop.url}?token={TOKEN}")
    yield page
    context.close()
    assert wrong == []


def picture(page: Any, name: str, height: int) -> None:
    if PICTURES:
        page.evaluate("scrollTo(0, 0)")
        where = Path(PICTURES) / f"page-{name}.png"
        page.screenshot(path=str(where), clip={"x": 0, "y": 0, "width": 1100, "height": height})


def count_of(page: Any, status: str) -> Any:
    return page.locator(f"#processes a[href*='status={status}']")


def test_the_overview_follows_a_load_by_itself(page: Any, shop: Shop) -> None:
    assert "token" not in page.url
    expect = playwright.expect
    expect(count_of(page, "complete")).to_have_text("1")
    shop.service.tell(*(f"place good{number}" for number in range(20)))
    expect(count_of(page, "complete")).to_have_text("21", timeout=20_000)
    picture(page, "overview", 420)


def test_a_parked_order_is_retried_to_completion_by_clicking(page: Any, shop: Shop) -> None:
    page.get_by_role("link", name="Parked").click()
    page.get_by_role("link", name=re.compile("CardDeclined")).click()
    page.get_by_text("payload").first.click()
    playwright.expect(page.locator("pre").first).to_contain_text('"order_id": "bad1"')
    shop.service.tell("mend")
    page.get_by_label("Your name").first.fill("ann")
    page.get_by_role("button", name="Retry 1").click()
    playwright.expect(page.get_by_role("status")).to_contain_text("1 done")
    page.goto(f"{shop.url}instance?process=shop.Fulfilment&id=bad1")
    playwright.expect(page.locator("#now strong")).to_have_text("complete")
    assert shop.status_of("bad1") == "complete"
    # The name that was typed stays.
    page.goto(f"{shop.url}instance?process=shop.Fulfilment&id=bad2")
    playwright.expect(page.get_by_label("Your name").first).to_have_value("ann")


def test_an_instance_shows_what_happened_to_it(page: Any, shop: Shop) -> None:
    page.goto(f"{shop.url}instance?process=shop.Fulfilment&id=bad1")
    page.get_by_text("command shop.Charge.v1").click()
    playwright.expect(page.locator("ol.line pre:visible")).to_contain_text("bad1")
    page.get_by_text("Amend a field").click()
    playwright.expect(page.get_by_role("button", name="Amend")).to_be_visible()
    picture(page, "instance", 700)


def test_the_tail_moves(page: Any, shop: Shop) -> None:
    page.get_by_role("link", name="Tail").click()
    playwright.expect(page.locator("#connected")).to_have_text("follows")
    shop.service.tell("place good2")
    first = page.locator("#tail li").first
    playwright.expect(first).to_contain_text("shop::payment-good2@1")
    page.get_by_role("button", name="Pause").click()
    shop.service.tell("place good3")
    playwright.expect(page.locator("#connected")).to_have_text("2 are waiting")
    page.get_by_role("button", name="Go on").click()
    playwright.expect(page.locator("#tail li").first).to_contain_text("shop::payment-good3@1")


def test_the_design_counts_and_leads_to_the_instances(page: Any, shop: Shop) -> None:
    page.get_by_role("link", name="Design").click()
    complete = page.locator("svg text.complete")
    playwright.expect(complete).to_have_text("1 complete")
    shop.service.tell("place good2")
    playwright.expect(complete).to_have_text("2 complete", timeout=20_000)
    picture(page, "design", 330)
    page.locator("svg text.suspended").click()
    playwright.expect(page.get_by_role("link", name="bad1")).to_be_visible()


def test_the_keyboard_goes_everywhere(page: Any) -> None:
    page.keyboard.press("p")
    playwright.expect(page).to_have_url(re.compile("/parked$"))
    page.keyboard.press("/")
    page.keyboard.type("good")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="good", exact=True).focus()
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("heading", name="good")).to_be_visible()


@pytest.mark.parametrize(
    "path",
    ["", "parked", "parked/kind", "tail", "search?q=bad1", "instance?process=Fulfilment&id=bad1"],
)
def test_a_phone_scrolls_in_one_direction_only(page: Any, shop: Shop, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(f"{shop.url}{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_dark_is_dark(page: Any) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) == "rgb(20, 23, 27)"


def test_a_page_works_without_its_scripts(browser: Any, shop: Shop) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{shop.url}parked/kind?token={TOKEN}")
    page.get_by_role("link", name="Parked").click()
    page.get_by_role("link", name=re.compile("CardDeclined")).click()
    page.get_by_role("button", name="Skip 2").click()
    playwright.expect(page.get_by_role("status")).to_contain_text("1 done")
    context.close()
