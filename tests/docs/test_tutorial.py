"""The tutorial, followed from its first line to its last: all that a newcomer is to be able to do.

Its service runs, and is killed, in a process of its own; its page is asked over HTTP.
"""

import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.actors.control.service import short_folder
from tests.docs.walkthrough import ROOT, Block, blocks, is_printed, lines

PAGE = "docs/tutorial.md"
PROMPT = "order> "
PROCESS = "4711"
PORT = "8090"
"""Of the service, as the page has them."""

ATTEMPTS = 10


class Newcomer:
    """Has an editor, a browser, and two terminals: one for the service, and one for all else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._service: subprocess.Popen[str] | None = None
        self._address = ""
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
        }

    def write(self, block: Block) -> None:
        """Do with a file what the block's title says."""
        name, _, how = block.title.partition(", ")
        file = self._folder / name
        if how == "added":
            file.write_text(f"{file.read_text()}\n\n{block.text}")
        elif how:
            text = file.read_text().splitlines(keepends=True)
            text[int(how.removeprefix("line ")) - 1] = block.text
            file.write_text("".join(text))
        else:
            file.write_text(block.text.replace(PORT, "0"))

    def browse(self, block: Block) -> None:
        """Open the address that the service printed, follow a link, and see what is there."""
        link = block.title.removeprefix("browser: ")
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(self._address) as answer:
            page = answer.read().decode()
        [path] = re.findall(rf'<a href="([^"]+)"[^>]*>{link}</a>', page)
        with browser.open(urljoin(self._address, path)) as answer:
            text = re.sub(r"<[^>]*>", " ", answer.read().decode())
        assert is_printed(f"... {block.text} ...", text), text

    def second(self, block: Block) -> None:
        for line in lines(block):
            if line.typed.startswith("export "):
                name, _, value = line.typed.removeprefix("export ").partition("=")
                self._environment[name] = value
                continue
            if line.typed.startswith("kill "):
                self._kill(line.typed)
                continue
            # What the service is still at is seen a moment later, as it is by a person.
            for _ in range(ATTEMPTS):
                status, printed = self._run(line.typed)
                if is_printed(line.shown, printed):
                    break
            else:
                pytest.fail(f"{line.typed}\n{line.shown}\n--- printed:\n{printed}")
            assert status == 0 or "FAILED" in line.shown, printed

    def _run(self, typed: str) -> tuple[int, str]:
        done = subprocess.run(
            typed,
            shell=True,
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    def _kill(self, typed: str) -> None:
        assert self._service is not None
        status, printed = self._run(typed.replace(PROCESS, str(self._service.pid)))
        assert status == 0, printed
        assert self._service.wait(timeout=60) == -signal.SIGKILL
        self.close()

    def first(self, block: Block) -> None:
        for line in lines(block, "$ ", PROMPT):
            if line.prompt == PROMPT:
                self._type(line.typed, line.shown)
            else:
                self._start(line.typed, line.shown)

    def _start(self, typed: str, shown: str) -> None:
        assert self._service is None
        self._service = subprocess.Popen(
            [sys.executable, *typed.split()[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._folder,
            env=self._environment,
            text=True,
        )
        printed = self._printed()
        shown = shown.replace(PROCESS, str(self._service.pid)).replace(PORT, "...")
        assert is_printed(shown, printed), printed
        self._address = printed.split()[-1]

    def _type(self, typed: str, shown: str) -> None:
        service = self._service
        assert service is not None
        assert service.stdin is not None
        service.stdin.write(f"{typed}\n")
        service.stdin.flush()
        if typed:
            assert is_printed(shown, printed := self._printed()), printed
        else:
            assert service.wait(timeout=60) == 0
            self.close()

    def _printed(self) -> str:
        """What the service prints until it asks for the next order."""
        assert self._service is not None
        assert self._service.stdout is not None
        printed = ""
        while not printed.endswith(PROMPT):
            character = self._service.stdout.read(1)
            assert character, f"the service has ended: {printed}"
            printed += character
        return printed.removesuffix(PROMPT)

    def close(self) -> None:
        if self._service is not None:
            self._service.kill()
            self._service.communicate()
            self._service = None


@pytest.fixture
def newcomer() -> Iterator[Newcomer]:
    with short_folder() as folder:
        newcomer = Newcomer(folder)
        yield newcomer
        newcomer.close()


def test_a_newcomer_kills_a_service_sees_mends_and_retries_an_order_and_reads_its_trace(
    newcomer: Newcomer,
) -> None:
    """By the page alone: each block is done where its title says."""
    for block in blocks(PAGE):
        if block.language == "python":
            newcomer.write(block)
        elif block.title == "first terminal":
            newcomer.first(block)
        elif block.title.startswith("browser: "):
            newcomer.browse(block)
        elif block.title == "":
            newcomer.second(block)


def test_the_extras_that_documents_install_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for document in ROOT.glob("docs/**/*.md"):
        for named in re.findall(r"procession\[([\w,]+)\]", document.read_text()):
            assert set(named.split(",")) <= set(extras), document
