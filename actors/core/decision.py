"""What is decided: the value that a stimulus is turned into."""

from __future__ import annotations

from msgspec import Struct

from ..authoring.cause import Cause
from ..authoring.process_manager import ProcessManager
from ..store import Step, StepExtras, TimerRecord
from .process_state import ProcessState

__all__ = ["EMPTY", "Decision"]

EMPTY = Step()
"""The step of a decision that writes nothing, or is still being made."""


class Decision(Struct, gc=False):
    """What came of a stimulus.

    Attributes:
        state: the instance after it
        step: what is to be written; an empty one until it is decided
        outcome: what happened, in a word that is also the name of a counter
        reload: whether the instance reads what waits in the store once its steps are on disk
        is_put_off: whether the timer comes again when the instance goes on
        cause: what was handled, if it came so far
        attempt: which attempt at it this was
        process: the object whose handler ran
        taken: what the step takes from the store in any case
        error: why something was parked, is tried again, was skipped or could not be done
        on_error_failed: what `on_error` raised, which was to say what becomes of `error`
        first: a timeout of the instance that was due before the event was stored, and is to be
            handled before it; the event then comes again

    """

    state: ProcessState
    step: Step
    outcome: str = ""
    reload: bool = False
    is_put_off: bool = False
    cause: Cause | None = None
    attempt: int = 1
    process: ProcessManager | None = None
    taken: StepExtras | None = None
    error: BaseException | None = None
    on_error_failed: BaseException | None = None
    first: TimerRecord | None = None
