"""The site of the documents: it has each page, and its links lead somewhere."""

import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import procession
from tests.docs.walkthrough import ROOT

SITE = ROOT / "build/site"


class Page(HTMLParser):
    """The links of a page, and what can be linked to in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        if tag == "a":
            self.links.add(found.get("href") or "")
        elif tag in {"img", "script", "iframe"}:
            self.loads.add(found.get("src") or "")
        elif tag == "link" and found.get("rel") == "stylesheet":
            self.loads.add(found.get("href") or "")


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    if find_spec("zensical") is None:
        pytest.skip("not installed: zensical; pip install 'procession[docs]'")
    build = [sys.executable, "docs/build.py"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file: Page(file) for file in SITE.rglob("*.html") if file.name != "404.html"}


def test_every_document_is_in_the_navigation() -> None:
    configuration = (ROOT / "zensical.toml").read_text()
    navigation = str(tomllib.loads(configuration)["project"]["nav"])
    for document in ROOT.glob("docs/**/*.md"):
        assert f"'{document.relative_to(ROOT / 'docs')}'" in navigation


def test_every_link_of_the_site_leads_to_a_file_and_a_place_in_it(pages: dict[Path, Page]) -> None:
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
                lost.append(f"{file.relative_to(SITE)}: {link}")
    assert lost == []


def test_a_page_of_the_site_loads_nothing_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert [one for page in pages.values() for one in page.loads if urlsplit(one).netloc] == []


def test_every_public_name_has_its_entry(pages: dict[Path, Page]) -> None:
    api = pages[SITE / "api.html"]
    public = {f"procession.{name}" for name in procession.__all__ if not re.match("__", name)}
    assert public <= api.anchors
