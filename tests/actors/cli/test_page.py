"""Every line of the page about the command line runs, in its order, against a service."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from procession.cli import main
from tests.actors.cli.test_commands import COMMANDS
from tests.actors.control.service import ROOT, Service, running, short_folder

PAGE = (ROOT / "docs/guide/command-line.md").read_text()
LINES = re.findall(r"^\$ procession (.*)$", PAGE, re.MULTILINE)

BY_ITSELF = ("tail -f", "serve", "copy", "import", "rebuild-projection", "documents")
"""What does not end, or is for another store than that of the service; it is tested by itself."""

KEYS = """
from procession.encryption import AesGcm, SqliteKeys

codec = AesGcm(SqliteKeys("keys.sqlite"))
"""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with short_folder() as folder, running(folder / "var/shop") as service:
        (folder / "shop").mkdir()
        for name in ("domain", "next"):
            module = folder / f"shop/{name}.py"
            module.write_text("from tests.actors.control.shop import shop\n")
        (folder / "shop/keys.py").write_text(KEYS)
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PROCESSION_STORE", "var/shop")
        service.tell("place good", "place bad1", "place bad2", "place open1")
        yield service


def test_the_lines_of_the_page_run_in_its_order(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in LINES:
        if not line.startswith(BY_ITSELF):
            assert main(shlex.split(line)) in {0, 1}, f"{line}: {capsys.readouterr().err}"
            service.tell("settle")


def test_the_page_shows_what_is_printed(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("ls", "why shop::payment-good@1"):
        assert main(line.split()) == 0
        shown = PAGE.split(f"$ procession {line}\n", 1)[1].split("$", 1)[0].split("```")[0]
        printed = capsys.readouterr().out
        assert [one.split() for one in printed.splitlines()] == [
            one.split() for one in shown.splitlines()
        ]


def test_every_command_is_on_the_page() -> None:
    named = {line.split()[0] for line in LINES}
    assert set(COMMANDS) | {"timeout", "capsule"} == named
    assert {Path(line.split()[1]).name for line in LINES if line.startswith("timeout ")} == {
        "move",
        "cancel",
    }
