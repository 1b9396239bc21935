"""The tutorial, followed from its first line to its last."""

import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors.control.service import short_folder
from tests.docs.walkthrough import ROOT, Block, blocks, is_printed, lines

PAGE = "docs/tutorial.md"
PROMPT = "order> "
ATTEMPTS = 10


class Terminals:
    """The two terminals of the page: one for its service, and one for all else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._service: subprocess.Popen[str] | None = None
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
            file.write_text(block.text)

    def second(self, block: Block) -> None:
        for line in lines(block):
            if line.typed.startswith("export "):
                name, _, value = line.typed.removeprefix("export ").partition("=")
                self._environment[name] = value
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

    def first(self, block: Block) -> None:
        if started := lines(block):
            [line] = started
            assert self._service is None
            self._service = subprocess.Popen(
                [sys.executable, *line.typed.split()[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._folder,
                env=self._environment,
                text=True,
            )
            self._printed()
        for line in lines(block, PROMPT):
            self._type(line.typed, line.shown)

    def _type(self, typed: str, shown: str) -> None:
        service = self._service
        assert service is not None
        assert service.stdin is not None
        if typed == "^\\":
            service.send_signal(signal.SIGQUIT)
            assert service.wait(timeout=60) == -signal.SIGQUIT
            self.close()
            return
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
def terminals() -> Iterator[Terminals]:
    with short_folder() as folder:
        terminals = Terminals(folder)
        yield terminals
        terminals.close()


def test_who_follows_the_tutorial_sees_what_it_shows(terminals: Terminals) -> None:
    for block in blocks(PAGE):
        if block.language == "python":
            terminals.write(block)
        elif block.title == "first terminal":
            terminals.first(block)
        elif block.title == "":
            terminals.second(block)


def test_the_extras_that_documents_install_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for document in ROOT.glob("docs/**/*.md"):
        for named in re.findall(r"procession\[([\w,]+)\]", document.read_text()):
            assert set(named.split(",")) <= set(extras), document
