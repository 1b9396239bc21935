"""What `MODULE:name` stands for; modules of the current folder are found."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from ..errors import InvalidMessage
from ..model.domain import Domain
from ..store import PayloadCodec

__all__ = ["codec_of", "domain_of"]


def domain_of(said: str) -> Domain:
    """A domain.

    Raises:
        InvalidMessage: there is none

    """
    found = _named(said, "domain", "shop.domain:shop")
    if not isinstance(found, Domain):
        raise InvalidMessage(f"{said} is no Domain, but {type(found).__name__}")
    return found


def codec_of(said: str | None) -> PayloadCodec | None:
    """A codec; None where none is named.

    Raises:
        InvalidMessage: there is none

    """
    if said is None:
        return None
    found = _named(said, "codec", "shop.keys:codec")
    if not isinstance(found, PayloadCodec):
        raise InvalidMessage(f"{said} is no PayloadCodec, but {type(found).__name__}")
    return found


def _named(said: str, what: str, example: str) -> Any:
    module, colon, name = said.partition(":")
    if not (module and colon and name):
        raise InvalidMessage(f"{said!r} is no {what}; write MODULE:name, as in {example}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise InvalidMessage(
            f"{said} cannot be imported: {type(error).__name__}: {error}"
        ) from error
