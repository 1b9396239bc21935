"""The words in which a run log tells what instances and aggregates did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.stimuli import (
    CommandDue,
    CommandRefused,
    End,
    EventDelivered,
    Reload,
    RetryDue,
    TimeoutDue,
)
from ...store import id_in_stream

if TYPE_CHECKING:
    from ...core.carry_out import CommandDecision
    from ...core.decision import Decision
    from ...core.stimuli import Operation, Stimulus
    from ...store import CommandRecord, EventRecord, Step, TransitionRecord

__all__ = ["carried_out", "elapsed", "handled", "short", "subject_of"]

OUTCOMES = {
    "skipped_early": "skipped {what}, which came before its start",
    "skipped_complete": "skipped {what}, since it has ended",
    "seen_again": "passed over {what}, which it has seen",
    "waiting": "lets {what} wait, since it is held up",
    "held": "holds {what} until its start",
    "not_for_us": "skipped {what}, which is not for it",
    "skipped_error": "failed at {what}, and goes on without it",
    "parked": "failed at {what}: parked",
    "retries": "failed at {what}, and will try again",
}

DETAILS = {"seen_again", "nothing", "not_for_us", "failed"}
"""Outcomes that changed nothing anywhere."""


def elapsed(micros: int) -> str:
    """A time as people read it: ``2d 00:30:00``."""
    seconds, rest = divmod(micros, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    text = f"{hours:02}:{minutes:02}:{seconds:02}"
    if rest:
        text += f".{rest:06}".rstrip("0")
    return f"{days}d {text}" if days else text


def short(wire_name: str) -> str:
    """The class's name in a wire name."""
    return wire_name.split(".")[1] if "." in wire_name else wire_name


def handled(name: str, stimulus: Stimulus | Operation, decision: Decision) -> tuple[str, bool]:
    """What an instance made of a stimulus, and whether that is a detail."""
    what, outcome, step = subject_of(stimulus), decision.outcome, decision.step
    if step.transition is not None:
        made = _made(step.transition, step)
        return f"{name} handled {what}" + (f" → {', '.join(made)}" if made else ""), False
    text = OUTCOMES.get(outcome, "had nothing to do for {what}").format(what=what)
    if step.park is not None:
        text += f" ({step.park.error_type.rpartition('.')[2]}: {step.park.error_text})"
    return f"{name} {text}", outcome in DETAILS or isinstance(stimulus, Reload) or outcome == ""


def subject_of(stimulus: Stimulus | Operation) -> str:
    """What an instance was given, in a few words."""
    if isinstance(stimulus, EventDelivered):
        return short(stimulus.record.type)
    if isinstance(stimulus, RetryDue):
        return "what failed before"
    if isinstance(stimulus, TimeoutDue):
        return f"timeout {stimulus.timer.name}"
    if isinstance(stimulus, CommandDue):
        assert stimulus.timer.command is not None
        return f"the time of {short(stimulus.timer.command.type)}"
    if isinstance(stimulus, CommandRefused):
        return f"the refusal of {short(stimulus.refusal.command.type)} ({stimulus.refusal.reason})"
    if isinstance(stimulus, End):
        return f"its end ({stimulus.reason})"
    return type(stimulus).__name__.lower()


def _made(transition: TransitionRecord, step: Step) -> list[str]:
    """What a transition brought with it."""
    extras = step.extras
    made: list[str] = []
    if step.enqueue:
        made.append("issued " + ", ".join(short(one.type) for one in step.enqueue))
    for timer in extras.timers if extras is not None else ():
        after = elapsed(timer.due - transition.time)
        if timer.command is not None:
            made.append(f"issued {short(timer.command.type)} (in {after})")
        else:
            made.append(f"set timeout {timer.name} (in {after})")
    # One that was moved is not cancelled, nor is one that has just come.
    moved = {timer.name for timer in extras.timers} if extras is not None else set()
    moved.add(transition.cause.removeprefix("timeout:"))
    for timer in extras.cancel if extras is not None else ():
        if timer.name not in moved:
            what = "timeout " if timer.kind == "timeout" else "the command "
            made.append(f"cancelled {what}{timer.name}")
    if transition.is_complete:
        made.append("ended")
    return made


def carried_out(record: CommandRecord, cls: str, decision: CommandDecision) -> str:
    """What an aggregate made of a command."""
    step, refusal = decision.step, decision.refusal
    name = f"{cls} {id_in_stream(record.stream)}"
    what = short(record.type)
    if refusal is not None:
        reason = f"{type(refusal).__name__}: {refusal}"
        if step.park is not None:
            return f"{name} failed at {what}: parked ({reason})"
        return f"{name} refused {what} ({refusal})"
    events: list[EventRecord] = step.append.events if step.append is not None else []
    made = ", ".join(short(event.type) for event in events)
    return f"{name} carried out {what}" + (f" → {made}" if made else "")
