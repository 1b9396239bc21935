"""The documents' examples run, and what they name exists."""

import re
from pathlib import Path
from typing import Any

import pytest

from procession import Domain
from tests.postgresql import shared_server

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "domain_examples/README.md"]
)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")

DELIBERATELY_FLAWED = {"docs/guide/design-check.md", "domain_examples/README.md"}
LEFT_OUT = {"ignored-outcome", "no-end", "unanswered-command", "unmade-event"}
"""What an example may leave out that is about something else."""


def examples() -> list[tuple[str, str]]:
    return [
        (str(document.relative_to(ROOT)), "\n\n".join(BLOCK.findall(document.read_text())))
        for document in DOCUMENTS
        if BLOCK.search(document.read_text())
    ]


@pytest.mark.parametrize(("document", "code"), examples())
def test_the_examples_of_a_document_run_from_top_to_bottom_and_their_designs_are_sound(
    document: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domains: list[Domain] = []

    def remembered(domain: Domain, name: str, begin: Any = Domain.__init__) -> None:
        domains.append(domain)
        begin(domain, name)

    if "SHOP_DATABASE" in code:
        url = shared_server().new_url(without_tables="partitions=" in code)
        monkeypatch.setenv("SHOP_DATABASE", url)
    monkeypatch.setattr(Domain, "__init__", remembered)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, document, "exec"), {"__name__": "example"})
    found = [str(one) for each in domains for one in each.check() if one.code not in LEFT_OUT]
    assert found == [] or document in DELIBERATELY_FLAWED


@pytest.mark.parametrize("document", [str(one.relative_to(ROOT)) for one in DOCUMENTS])
def test_the_links_of_a_document_lead_somewhere(document: str) -> None:
    file = ROOT / document
    missing = [link for link in LINK.findall(file.read_text()) if not (file.parent / link).exists()]
    assert missing == []


def test_the_architecture_page_names_every_module() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    for package in ("actors", "store"):
        for module in ROOT.glob(f"{package}/**/*.py"):
            if module.stem != "__init__":
                assert f"`{module.stem}`" in page, f"{module.relative_to(ROOT)} is not on the page"
