"""A fingerprint of code: another one when a class would decide something else, as far as is seen.

It is of what Python compiled, so it says nothing where another version of Python compiled it. What
the code reads from elsewhere, such as a variable of its module, is not in it.
"""

from __future__ import annotations

import re
import sys
from hashlib import blake2b
from types import CodeType
from typing import TYPE_CHECKING, Any

from .code_scan import code_reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..authoring.state import StateType

__all__ = ["PYTHON", "fingerprint_of"]

PYTHON: str = sys.implementation.cache_tag or sys.implementation.name
"""What compiles the code here; two fingerprints are compared only where it is the same."""


def fingerprint_of(
    cls: type, state: StateType, functions: Iterable[Callable[..., Any]], said: Iterable[str]
) -> bytes:
    """Eight bytes that tell a class from other versions of it.

    Args:
        cls: the class
        state: its fields
        functions: that decide, or are called by what decides
        said: what else the class says, in words

    """
    parts = [f"{name}: {hint!r}" for name, hint in state.fields.items()]
    parts += [f"{name} = {_told(value)}" for name, value in state.fresh().items()]
    parts += said
    properties = [
        value.fget
        for body in cls.__mro__
        for value in body.__dict__.values()
        if isinstance(value, property) and value.fget is not None
    ]
    package = cls.__module__.partition(".")[0]
    for function in code_reached([*functions, *properties], cls):
        # Libraries change with every machine; what is in them is not the service's rule.
        if function.__module__.partition(".")[0] == package:
            parts += ["\n".join(_code(function.__code__))]
    digest = blake2b(digest_size=8)
    # In which order they were found depends on the hashes of names, which differ in each run.
    for part in sorted(parts):
        digest.update(part.encode("utf-8", "backslashreplace") + b"\0")
    return digest.digest()


def _code(code: CodeType) -> Iterator[str]:
    """What a function does, without where it stands."""
    yield code.co_code.hex()
    yield repr(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:
            yield _told(constant)


def _told(value: object) -> str:
    """A value in words that are the same in each run."""
    if isinstance(value, (set, frozenset)):
        return f"set {sorted(map(_told, value))}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} {[_told(one) for one in value]}"
    if isinstance(value, dict):
        return f"dict {[(_told(key), _told(one)) for key, one in value.items()]}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
