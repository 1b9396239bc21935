"""The site of the documents: it has each page, and its links lead somewhere."""

import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import procession
from tests.actors.page.browsing import CHROMIUM, FOR_CONTAINERS
from tests.docs.walkthrough import ROOT


class Page(HTMLParser):
    """The links of a page, and what can be linked to in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.has_diagram = False
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        self.has_diagram |= found.get("class") == "mermaid"
        if tag == "a":
            self.links.add(found.get("href") or "")
        elif tag in {"img", "script", "iframe"}:
            self.loads.add(found.get("src") or "")
        elif tag == "link" and found.get("rel") == "stylesheet":
            self.loads.add(found.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("zensical") is None:
        pytest.skip("not installed: zensical; pip install 'procession[docs]'")
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here, from which the script for diagrams comes")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "docs/build.py", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build/site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}


def test_every_document_is_in_the_navigation() -> None:
    configuration = (ROOT / "zensical.toml").read_text()
    navigation = str(tomllib.loads(configuration)["project"]["nav"])
    for document in ROOT.glob("docs/**/*.md"):
        assert f"'{document.relative_to(ROOT / 'docs')}'" in navigation


def test_every_link_of_the_site_leads_to_a_file_and_a_place_in_it(
    site: Path, pages: dict[Path, Page]
) -> None:
    lost = []
    for file, page in pages.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            there = pages.get(target)
            if not target.exists() or (
                there and parts.fragment and unquote(parts.fragment) not in there.anchors
            ):
                lost.append(f"{file.relative_to(site)}: {link}")
    assert lost == []


def test_a_page_of_the_site_loads_nothing_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert [one for page in pages.values() for one in page.loads if urlsplit(one).netloc] == []


def test_diagrams_are_drawn_by_a_script_of_the_site(site: Path, pages: dict[Path, Page]) -> None:
    drawn = [page for page in pages.values() if page.has_diagram]
    assert {page.file.relative_to(site).as_posix() for page in drawn} == {
        "architecture.html",
        "domain_examples/index.html",
        "guide/design-check.html",
    }
    for page in drawn:
        assert any(one.endswith("mermaid.min.js") for one in page.loads), page.file


def test_a_browser_draws_a_diagram_and_asks_for_nothing_from_elsewhere(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is missing")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FOR_CONTAINERS)
        page = browser.new_page()
        page.on("request", lambda one: asked.append(one.url))
        page.goto(f"file://{site}/guide/design-check.html")
        # What is drawn stands in the place of the text.
        page.wait_for_selector("div.mermaid", state="attached", timeout=30_000)
        browser.close()
    assert [one for one in asked if not one.startswith(("file:", "data:", "blob:"))] == []


def test_every_public_name_has_its_entry(site: Path, pages: dict[Path, Page]) -> None:
    api = pages[site / "api.html"]
    public = {f"procession.{name}" for name in procession.__all__ if not re.match("__", name)}
    assert public <= api.anchors
