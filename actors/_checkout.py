"""In a checkout, `actors` and `store` are other names of `procession` and `procession.store`.

The folders of the repository are called by other names than what they are installed as. Without
this, ``import actors`` would run the same files a second time, and there would be two `Event`
classes that know nothing of each other. An installed wheel has no folder of these names, and
never gets here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_file_location, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["share_modules"]

_FOLDERS = {"actors": "procession", "store": "procession.store"}
_ROOT = Path(__file__).resolve().parents[1]


class _SameModules(MetaPathFinder, Loader):
    """Finds `actors.x` and `store.x`: the modules that `procession` has already."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        folder, dot, rest = fullname.partition(".")
        if folder not in _FOLDERS:
            return None
        return spec_from_loader(fullname, self, origin=f"{_FOLDERS[folder]}{dot}{rest}")

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        assert spec.origin is not None
        module = import_module(spec.origin)
        # The import system writes the spec that it was given into the module.
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs again; the module gets the spec back that it had."""
        assert module.__spec__ is not None
        module.__spec__ = self._specs.pop(module.__spec__.name)


class _FromCheckout(MetaPathFinder):
    """Finds `procession` in the folders of the checkout, where it is not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        for folder, name in _FOLDERS.items():
            if fullname == name:
                home = _ROOT / folder
                return spec_from_file_location(
                    name, home / "__init__.py", submodule_search_locations=[str(home)]
                )
        return None


def share_modules(folder: str) -> None:
    """Have a folder's name, and all below it, stand for the modules of `procession`.

    Args:
        folder: ``"actors"`` or ``"store"``, whose `__init__` is being run under that name

    """
    if not any(isinstance(finder, _SameModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _SameModules())
        sys.meta_path.append(_FromCheckout())
    sys.modules[folder] = import_module(_FOLDERS[folder])
