"""In a checkout, `actors` and `store` are the very modules of `procession`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SAME = """
assert actors is procession
assert store is procession.store
assert actors.store is store
import actors.testing, procession.testing
assert actors.testing is procession.testing
import actors.messages.codec, procession.messages.codec
assert actors.messages.codec is procession.messages.codec
import store.layout.schema, procession.store.layout.schema
assert store.layout.schema is procession.store.layout.schema
from actors import Event
assert Event is procession.Event
assert procession.messages.codec.__spec__.name == "procession.messages.codec"
"""


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "order",
    [
        "import actors, store, procession",
        "import store, actors, procession",
        "import procession, store, actors",
        "import procession.store, store, actors, procession",
        "import actors.testing, store.lmdb, actors, store, procession",
    ],
)
def test_they_are_the_same_objects_in_whichever_order_they_are_imported(order: str) -> None:
    run(order + "\n" + SAME)


@pytest.mark.parametrize("order", ["import store, actors", "import actors, store"])
def test_they_are_where_nothing_but_the_dependencies_is_installed(order: str) -> None:
    # The folders that an editable install links to are taken off the path.
    hide = (
        "import sys\n"
        "sys.path = [one for one in sys.path if '__editable__' not in one]\n"
        "from importlib.util import find_spec\n"
        "assert find_spec('procession') is None\n"
    )
    run(hide + order + ", procession\n" + SAME)


def test_no_private_module_of_pykka_is_imported() -> None:
    for file in (ROOT / "actors").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [module]
            assert not any(name.startswith("pykka._") for name in names), file
