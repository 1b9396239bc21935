"""Each command of the page for the person on call, in its order, against a running service."""

import re
import shlex
from collections.abc import Callable, Iterator

import pytest

from procession.cli import main
from tests.actors.control.service import Service, running, short_folder
from tests.docs.walkthrough import ROOT, Block, blocks, is_printed, lines

PAGE = "docs/on-call.md"
CONSOLES = [one for one in blocks(PAGE) if one.language == "console"]
MENDED = "## 7. "
"""From this heading on the service runs the code that was mended."""

Serve = Callable[..., Service]
Type = Callable[[Service, Block], None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Place these orders at a service whose store is below the folder where commands are typed."""
    with short_folder() as folder, running(folder / "var/shop") as service:
        (folder / "shop").mkdir()
        (folder / "shop/domain.py").write_text("from tests.actors.control.shop import shop\n")
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("COLUMNS", "200")

        def placed(*orders: str) -> Service:
            service.tell(*(f"place {order}" for order in orders))
            return service

        yield placed


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type the lines of a block, and see what it shows."""

    def run(service: Service, block: Block) -> None:
        for line in lines(block):
            if line.typed.startswith("export "):
                name, _, value = line.typed.removeprefix("export ").partition("=")
                monkeypatch.setenv(name, value)
                continue
            status = main(shlex.split(line.typed)[1:])
            printed = capsys.readouterr()
            assert status == 0 or line.typed == "procession health", printed.err
            assert is_printed(line.shown, printed.out), f"{line.shown}\n---\n{printed.out}"
            service.tell("settle")

    return run


def test_the_ten_tasks_are_done_by_the_commands_of_the_page(serve: Serve, typed: Type) -> None:
    service = serve("good", "bad1", "bad2", "open1")
    page = (ROOT / PAGE).read_text()
    mended = False
    for block in CONSOLES:
        if block.title:
            continue
        if not mended and page.index(block.text) > page.index(MENDED):
            service.tell("mend")
            mended = True
        typed(service, block)


def test_what_cannot_be_tried_again_is_skipped_amended_or_ended(serve: Serve, typed: Type) -> None:
    service = serve(*(f"bad{number}" for number in range(1, 6)))
    environment, *_ = CONSOLES
    [block] = [one for one in CONSOLES if one.title]
    typed(service, environment)
    typed(service, block)


def test_a_command_in_a_sentence_of_the_page_is_one_that_is_run() -> None:
    commands = [line.typed for block in CONSOLES for line in lines(block)]
    run = {one.split()[1] for one in commands if one.startswith("procession ")}
    named = set(re.findall(r"`procession (\w+)", (ROOT / PAGE).read_text()))
    assert named <= run | {"upgrade"}
