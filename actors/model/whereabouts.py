"""Where a domain is, so that another process can find it."""

from __future__ import annotations

import importlib
import sys

from ..errors import DefinitionError
from .domain import Domain

__all__ = ["domain_at", "where_is"]


def where_is(domain: Domain) -> tuple[str, str]:
    """The module in which a domain is, and its name there, by which another process finds it.

    Raises:
        DefinitionError: no module has it

    """
    for name, module in list(sys.modules.items()):
        # What is there may be no module.
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is domain:
                return name, attribute
    raise DefinitionError(
        f"the domain {domain.name} is in no module, so that another process cannot find it: give "
        f"it a name at the top of a module, as shop = Domain({domain.name!r})"
    )


def domain_at(module: str, name: str) -> Domain:
    """The domain that is there."""
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Domain)
    return found
