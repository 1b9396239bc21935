"""What an instance knew is erased: it ends, if it runs, and takes nothing any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..store import Step, TimerRecord, TransitionRecord, erased_at, is_issued_by, marker
from .amending import BY_OPERATOR, headers_of
from .decide import changed_keys
from .decision import EMPTY, Decision
from .ending import let_go

if TYPE_CHECKING:
    from ..model.plans import ProcessPlan
    from .ports import Reads
    from .process_state import ProcessState
    from .stimuli import Erase

__all__ = ["decide_erase", "is_erased"]


def is_erased(state: ProcessState) -> bool:
    """Whether what an instance knew was erased."""
    return erased_at(state.fields) is not None


def decide_erase(plan: ProcessPlan, state: ProcessState, erase: Erase, reads: Reads) -> Decision:
    """Decide about an instance; what it was before is erased by others.

    Its timeouts and the commands that it holds back are cancelled, its learnt keys go, and what is
    parked of it is decided, as where it is ended. No method of its class runs.
    """
    if is_erased(state) or not state.version:
        return Decision(state, EMPTY, "nothing")
    decision = Decision(state, EMPTY, "erased")
    extras = let_go(plan, decision, ("end", erase.now, erase.by), reads)
    name, instance = plan.name, state.instance
    extras.cancel += [
        TimerRecord(
            due,
            name,
            instance,
            what,
            "command" if is_issued_by(what, name, instance) else "timeout",
        )
        for what, due in (state.timers or {}).items()
    ]
    extras.index = changed_keys(state.indexed, dict.fromkeys(state.indexed or (), ()))
    transition = TransitionRecord(
        state.version + 1,
        erase.now,
        "erase" if state.is_complete else "end",
        True,
        BY_OPERATOR,
        state.correlation_id,
        state.seen,
        marker(erase.now),
        note=f"erased by {erase.by or 'an operator'}",
        state_version=plan.definition.state_version,
        run=state.run,
        code=plan.code,
        headers=headers_of(erase.by),
    )
    decision.step = Step(process=name, instance=instance, transition=transition, extras=extras)
    decision.state = replace(
        decision.state,
        version=transition.version,
        is_complete=True,
        fields=transition.state,
        fields_version=transition.state_version,
        timers=None,
        indexed=None,
        values=None,
        base=0,
        weight=0,
        packed=None,
    )
    return decision
