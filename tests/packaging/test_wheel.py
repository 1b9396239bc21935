"""A wheel puts one package beside a service's own files, and theirs stay theirs."""

import zipfile
from pathlib import Path

from procession import __version__
from tests.packaging.conftest import Installed, environment

ROOT = Path(__file__).parents[2]

SERVICE = """
import sys
import procession, procession.testing, procession.store
from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, handle

shop = Domain("shop")

class Place(Command):
    order: str

class Placed(Event):
    order: str

@shop.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command):
        return Placed(self.id)

@shop.register
class Handling(ProcessManager, correlate="order"):
    done: bool = False

    @handle(Placed, start=True, end=True)
    def on_placed(self, event):
        self.done = True

with Runtime.ephemeral(shop) as runtime:
    assert runtime.ask(Place("a")) == [Placed("a")]
    runtime.settle(timeout=30)
    assert runtime.get(Handling, "a").state == {"done": True}
"""


def test_a_wheel_holds_one_package_its_command_and_what_pytest_loads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        tops = {name.split("/")[0] for name in names}
        info = f"procession-{__version__}.dist-info"
        assert tops == {"procession", "_procession_pytest.py", info}
        for module in ("testing", "store", "core", "engine", "store/lmdb"):
            assert f"procession/{module}/__init__.py" in names
        assert "procession/py.typed" in names
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        assert "procession = procession.cli:main" in entry_points
        assert "[pytest11]\nprocession = _procession_pytest" in entry_points
        metadata = archive.read(f"{info}/METADATA").decode()
        licence = archive.read(f"{info}/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()
    for line in (
        "Name: procession",
        f"Version: {__version__}",
        "License-Expression: Apache-2.0",
        "Author: The Procession maintainers",
        "Requires-Python: >=3.11",
    ):
        assert line in metadata


def test_a_wheel_holds_every_module_of_the_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder, package in (("actors", "procession"), ("store", "procession/store")):
        for file in (ROOT / folder).rglob("*.py"):
            assert f"{package}/{file.relative_to(ROOT / folder)}" in names


def test_a_service_with_a_module_called_store_runs(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "store.py").write_text("mine = 'the shop around the corner'\n")
    (tmp_path / "service.py").write_text(
        SERVICE + "\nimport store\nassert store.mine\nprint(store.__file__)\n"
    )
    told = installed.run("service.py", folder=tmp_path)
    assert told.strip() == str(tmp_path / "store.py")


def test_a_service_with_packages_called_actors_and_store_runs(
    installed: Installed, tmp_path: Path
) -> None:
    for name in ("actors", "store"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"mine = {name!r}\n")
        (tmp_path / name / "errors.py").write_text("")
    (tmp_path / "service.py").write_text(
        "import actors.errors, store.errors\n"
        + SERVICE
        + "\nassert (actors.mine, store.mine) == ('actors', 'store')\n"
        + "assert procession.store is not store and procession.errors is not actors.errors\n"
    )
    installed.run("service.py", folder=tmp_path)


def test_packages_called_actors_and_store_installed_beside_it_do_no_harm(
    wheel: Path, tmp_path: Path
) -> None:
    crowded = environment(tmp_path / "environment", wheel)
    for name in ("actors", "store"):
        (crowded.packages / name).mkdir()
        (crowded.packages / name / "__init__.py").write_text(f"theirs = {name!r}\n")
    (tmp_path / "service.py").write_text(
        "import actors, store\n"
        + SERVICE
        + "\nassert (actors.theirs, store.theirs) == ('actors', 'store')\n"
    )
    crowded.run("service.py", folder=tmp_path)


def test_the_installed_command_is_the_module_run_as_a_program(
    installed: Installed, tmp_path: Path
) -> None:
    # What an installer writes into bin/procession: the entry point, loaded and called.
    script = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "[command] = entry_points(group='console_scripts', name='procession')\n"
        "sys.exit(command.load()())\n"
    )
    (tmp_path / "command.py").write_text(script)
    told = installed.run("command.py", "--version", folder=tmp_path)
    assert told == installed.run("-m", "procession", "--version", folder=tmp_path)
    assert told.strip() == f"procession {__version__}"


def test_the_command_verifies_a_store(installed: Installed, tmp_path: Path) -> None:
    service = SERVICE.replace("Runtime.ephemeral(shop)", 'Runtime("var/shop", shop)')
    (tmp_path / "service.py").write_text(service)
    installed.run("service.py", folder=tmp_path)
    told = installed.run("-m", "procession", "verify", "var/shop", folder=tmp_path)
    assert told.endswith("0 findings\n")


def test_without_the_extra_the_command_says_what_to_install(
    installed: Installed, tmp_path: Path
) -> None:
    program = """
import sys
from procession import Domain, Runtime
from procession.cli import main

sys.stderr = sys.stdout
with Runtime("var", Domain("shop")):
    print(main(["ls"]), main(["verify", "var"]))
"""
    said = installed.run("-c", program, folder=tmp_path).splitlines()
    assert said[0].startswith("error: procession ls: without the extra there are only backup")
    assert "pip install 'procession[control]'" in said[0]
    assert said[-1] == "2 0"


def test_the_page_has_its_templates_and_files_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if name.startswith("procession/page/")}
    source = ROOT / "actors/page"
    assert {
        f"procession/page/{one.relative_to(source).as_posix()}"
        for one in source.rglob("*.*")
        if "__pycache__" not in one.parts
    } == held
