"""What came of one cause: as it is stored, or when given code decides it again."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from ..core.process_state import ProcessState
from ..store import TransitionRecord

__all__ = ["Kind", "Outcome"]

Kind: TypeAlias = Literal[
    "commands",
    "timeouts",
    "state",
    "completion",
    "events",
    "refusals",
    "passed over",
    "taken up",
    "unhandled",
    "unreadable",
    "outside",
]


class Outcome(Struct, frozen=True, gc=False):
    """What came of it.

    Attributes:
        transition: that was made; None where there was none
        kind: why not: it was refused, passed over, has no handler any more, or cannot be read
        subject: of what: an error, or the type of a message
        how: the same for people
        said: more about that, such as an error's text
        state: the instance after the transition, as it was decided
        reached: what the handler reached for outside, and was refused
        is_skipped: whether the class has an error passed over
        is_erased: whether it cannot be known, since what it comes of was erased

    """

    transition: TransitionRecord | None
    kind: Kind = "refusals"
    subject: str = ""
    how: str = ""
    said: str = ""
    state: ProcessState | None = None
    reached: tuple[str, ...] = ()
    is_skipped: bool = False
    is_erased: bool = False
