"""Spans of time, as people type them."""

import re

from ..errors import InvalidMessage

__all__ = ["seconds_in"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_in(said: str) -> float:
    """How many seconds ``90s``, ``30m``, ``2h`` or ``1d`` are.

    Raises:
        InvalidMessage: it is no such thing

    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", said.strip())
    if found is None:
        raise InvalidMessage(f"{said!r} is no span of time; write 90s, 30m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]
