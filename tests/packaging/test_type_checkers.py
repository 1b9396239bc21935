"""A type checker and an editor read the types of `procession` where it is installed.

`tests/actors/test_typing.py` says in full what mypy makes of the public names. This is about
finding them: as an editor does, through the environment and not through a path of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Installed

pytest.importorskip("basedpyright")

USER = """
from procession import Aggregate, Command, Completed, Domain, Event, ProcessManager, Runtime
from procession import StoredEvent, handle
from procession.store import Store
from procession.testing import Scenario, VirtualClock

shop = Domain("shop")

class Place(Command):
    order: str

class Placed(Event):
    order: str

@shop.register
class Handling(ProcessManager, correlate="order"):
    done: bool = False

    @handle(Placed, start=True, end=True)
    def on_placed(self, event: Placed) -> None:
        self.done = event.order != ""

@shop.register
class Hearing(ProcessManager, correlate="id"):
    done: bool = False

    @handle(Completed[Handling], start=True)
    def on_end(self, event: Completed[Handling]) -> None:
        self.done = event.copy.done
        event.copy.colour  # ! reportAttributeAccessIssue

def use(runtime: Runtime) -> None:
    followed: list[StoredEvent] = list(runtime.follow(after=0, type=Placed))
    wrong: list[StoredEvent] = list(runtime.follow(transitions=True))  # ! reportAssignmentType
    stored: list[Event] = runtime.ask(Place(order="a"))
    position: int = runtime.publish(Placed("a"), stream="order-a")
    Placed(7)  # ! reportArgumentType
    Placed("a").colour  # ! reportAttributeAccessIssue
    runtime.tell(Placed("a"))  # ! reportArgumentType
    runtime.get(Placed, "a")  # ! reportArgumentType
"""


def complaints(python: Path, folder: Path) -> dict[int, str]:
    """Which rule pyright names at which line of a user's file, in an environment."""
    (folder / "user.py").write_text(USER)
    settings = {"include": ["user.py"], "typeCheckingMode": "standard"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", str(python)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {one["range"]["start"]["line"]: one.get("rule", one["message"]) for one in found}


MISTAKES = {
    number: line.split("# ! ")[1] for number, line in enumerate(USER.split("\n")) if "# ! " in line
}


def test_pyright_finds_the_types_of_an_installed_wheel(
    installed: Installed, tmp_path: Path
) -> None:
    assert complaints(installed.python, tmp_path) == MISTAKES


def test_pyright_finds_the_sources_of_a_development_install(tmp_path: Path) -> None:
    assert complaints(Path(sys.executable), tmp_path) == MISTAKES
