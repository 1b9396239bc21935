"""An operator ends an instance: what it had under way goes, and its class may make good for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..authoring.cause import Cause
from ..authoring.decorators import Handler
from ..clock import from_micros
from ..errors import AlreadyEnded
from ..store import ENDS, StepExtras, TimerRecord
from .amending import BY_OPERATOR, actor_in, headers_of
from .decide import run
from .decision import EMPTY, Decision

if TYPE_CHECKING:
    from ..authoring.process_manager import ProcessManager
    from ..model.plans import ProcessPlan
    from ..store import Step
    from .ports import Reads
    from .process_state import ProcessState
    from .stimuli import End

__all__ = ["decide_end", "ended_by", "let_go", "run_end"]


def decide_end(plan: ProcessPlan, state: ProcessState, end: End, reads: Reads) -> Decision:
    """Decide about an instance that has started.

    Its timeouts and the commands that it holds back are cancelled, and what is parked of its
    events, timeouts and refusals is decided. What waited behind these comes after the end, as what
    comes late does. What has left the instance goes on.

    Raises:
        AlreadyEnded: it is complete
        Exception: what the class's method raised

    """
    if state.is_complete:
        raise _already_ended(plan, state, reads)
    decision = Decision(state, EMPTY)
    decision.taken = let_go(plan, decision, ("end", end.now, end.by), reads)
    decision.step = run_end(plan, decision, end, reads)
    return decision


def let_go(
    plan: ProcessPlan, decision: Decision, verdict: tuple[str, int, str | None], reads: Reads
) -> StepExtras:
    """What holds an instance up that is over goes, and what is parked of it is decided.

    Args:
        plan: of the process manager
        decision: whose state has the block, and has it no more afterwards
        verdict: about what is parked
        reads: finds that

    """
    block, instance = decision.state.block, decision.state.instance
    suspended_by = 0 if block is None else block.parked
    taken = StepExtras(cancel=[])
    taken.unpark = suspended_by
    others = reads.undecided_of(plan.name, instance)
    taken.unpark_too = [number for number in others if number != suspended_by]
    taken.decision = verdict
    if block is not None:
        decision.state = replace(decision.state, block=None)
        taken.unblock = decision.reload = True
        if block.kind == "retry":
            taken.cancel = [TimerRecord(block.due, plan.name, instance, "retry", "retry")]
        if block.sequence and reads.refusal(block.sequence) is not None:
            taken.told = block.sequence
    return taken


def run_end(plan: ProcessPlan, decision: Decision, end: End, reads: Reads) -> Step:
    """The step of an end; the decision is filled in.

    Raises:
        Exception: what the class's method raised

    """
    state, endings = decision.state, plan.definition.endings
    name, function = "end", _do_nothing
    if end.compensates and None in endings:
        # By what it is for, and not by its own name, so that it may be renamed.
        name, function = "ended", endings[None].function
    decision.cause = Cause(
        BY_OPERATOR,
        BY_OPERATOR,
        state.correlation_id,
        note=ended_by(end.by) + end.reason,
        time=end.now,
        headers=headers_of(end.by),
    )
    process = state.restore(plan.definition)
    # Nothing that it has set or holds back comes any more; what its method issues does.
    process._unit.timers = dict.fromkeys(state.timers or ())  # noqa: SLF001 - a friend
    handler = Handler("ended", None, name, function, end=True)
    return run(plan, decision, end, reads, handler, (end.reason,), process)


def ended_by(by: str | None) -> str:
    """What the note of an end begins with; the reason follows."""
    return f"ended by {by or 'an operator'}: "


def _do_nothing(process: ProcessManager, reason: str) -> None:
    """In the place of a method that is not there, or is not to run."""


def _already_ended(plan: ProcessPlan, state: ProcessState, reads: Reads) -> AlreadyEnded:
    last = reads.stored_transition(plan.name, state.instance, state.version)
    assert last is not None
    is_by_operator = last.cause == BY_OPERATOR and last.handler in ENDS
    by = actor_in(last) or "an operator" if is_by_operator else None
    return AlreadyEnded(plan.name, state.instance, from_micros(last.time), by)
