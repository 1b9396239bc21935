"""A wheel of the checkout, and an environment of its own to try it in."""

import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("pykka", "lmdb", "msgpack", "msgspec")


@dataclass(frozen=True)
class Installed:
    """An environment that holds the wheel and what it needs, and nothing else."""

    python: Path
    packages: Path

    def run(self, *arguments: str, folder: Path) -> str:
        """What a process in a folder prints; fails when the process does."""
        done = subprocess.run(
            [str(self.python), *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
            env={"PATH": str(self.python.parent)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("actors", "store"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "_procession_pytest.py"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(folder),
            str(source),
        ],
        check=True,
        capture_output=True,
    )
    [built] = folder.glob("*.whl")
    return built


def environment(home: Path, wheel: Path) -> Installed:
    """The wheel unpacked; what it needs is linked from here, so that no network is needed."""
    venv.create(home, symlinks=True)
    [packages] = home.glob("lib/python*/site-packages")
    shutil.unpack_archive(wheel, packages, "zip")
    for name in NEEDED:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        (packages / name).symlink_to(package)
        # Shared libraries that a wheel of this package brings stand beside it.
        for libraries in package.parent.glob(f"{name}.libs"):
            (packages / libraries.name).symlink_to(libraries)
    return Installed(home / "bin" / "python", packages)


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return environment(tmp_path_factory.mktemp("environment"), wheel)
