"""What an operator decides: about what was parked, about timeouts, and about whole instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import from_micros
from ..core.amending import checked
from ..core.stimuli import Adjust, Amend, End, Refresh, Reload
from ..errors import AlreadyDecided, InvalidMessage, UnknownMessage, shown
from ..messages.identifiers import plain_text
from ..store import (
    CommandRecord,
    CommandResult,
    Duplicate,
    Step,
    StepExtras,
    StoreError,
    TimerRecord,
)
from .ingress import Receipt, Receipts
from .instance_actor import InstanceMessage
from .pending_replies import ReplyFuture

if TYPE_CHECKING:
    from ..core.stimuli import Operation
    from ..model.process_definition import ProcessDefinition
    from ..store import ParkedRecord, Store
    from .effect_executor import Verdict
    from .engine import Engine

__all__ = ["Admin", "person"]


CALLED = "operator"
"""Under which type the id of a decision is kept, beside those of commands."""


class Admin:
    """Carries out decisions while the engine runs.

    Args:
        engine: that runs
        store: its store
        call: an id that the step of a decision takes, so that it is made once; empty without one

    """

    def __init__(self, engine: Engine, store: Store, call: str = "") -> None:
        self._engine = engine
        self._store = store
        self._call = call
        self._now = engine.services.now

    def retry(self, number: int, by: str | None) -> None:
        """Handle what was parked, then what waited behind it, in order."""
        by = person(by)
        parked = self._parked(number)
        decision: Verdict = ("retry", self._now(), by)
        if parked.effect:
            self._retry_effect(parked, decision)
            return
        extras = StepExtras(unpark=number, decision=decision, waits=[])
        step = Step(process=parked.process, instance=parked.instance, extras=extras)
        looks: list[tuple[str, str]] = []
        if parked.command is not None:
            step.enqueue = [parked.command]
        else:
            looks = self._instances(parked)
            extras.unblock = parked.blocks
            if parked.position:
                extras.waits = [(*one, parked.position) for one in looks]
        self._decide(number, step)
        self._look(looks)

    def _retry_effect(self, parked: ParkedRecord, decision: Verdict) -> None:
        """Have it run; it stays parked until it is known what came of it."""
        self._claim(parked.number, decision)
        try:
            self._engine.effect_feeds.retry(parked, decision)
        except BaseException:
            self._engine.effects.release(parked.number)
            raise

    def skip(self, number: int, by: str | None) -> None:
        """Go on without what was parked."""
        by = person(by)
        parked = self._parked(number)
        decision: Verdict = ("skip", self._now(), by)
        extras = StepExtras(unpark=number, decision=decision, cancel=[])
        if parked.blocks:
            extras.unblock = True
            extras.told = parked.sequence
            block = self._store.block_of(parked.process, parked.instance)
            if parked.name and block is not None:
                extras.cancel.append(
                    TimerRecord(block.due, parked.process, parked.instance, parked.name, "timeout")
                )
        step = Step(process=parked.process, instance=parked.instance, extras=extras)
        if parked.effect:
            self._claim(number, decision)
            try:
                self._decide(number, step)
            finally:
                self._engine.effects.release(number)
            return
        self._decide(number, step)
        if parked.blocks:
            self._look([(parked.process, parked.instance)])

    def adjust(
        self, definition: ProcessDefinition, instance: str, name: str, due: int, by: str | None
    ) -> bool:
        """Move what is due to another time, or cancel it with 0; False if it is not set."""
        if plain_text(name) is None:
            raise InvalidMessage(f"{shown(name)} is no name of a timeout; give a str")
        return bool(self._operate(definition, instance, Adjust(name, due, person(by))))

    def end(self, definition: ProcessDefinition, instance: str, end: End) -> int:
        """End an instance; returns the version that it has then.

        Raises:
            UnknownInstance: there is none
            AlreadyEnded: it has ended
            MovedOn: it is not at the version that the operator saw
            Exception: what the class's method raised

        """
        reason = plain_text(end.reason)
        if not reason or len(reason) > LONGEST_REASON or not _is_utf8(reason):
            raise InvalidMessage(
                f"reason={shown(end.reason)} says nothing that can be recorded; give text of at "
                f"most {LONGEST_REASON} characters"
            )
        end.reason, end.by = reason, person(end.by)
        _check_version(end.version)
        return self._operate(definition, instance, end)

    def amend(self, definition: ProcessDefinition, instance: str, amend: Amend) -> int:
        """Give fields of an instance other values; returns the version that it has then.

        Raises:
            InvalidMessage: a field is not there, names the instance, or cannot have that value
            UnknownInstance: there is no such instance
            MovedOn: it is not at the version that the operator saw

        """
        # Here, where an error is the caller's.
        amend.fields = checked(definition, amend.fields)
        amend.by = person(amend.by)
        _check_version(amend.version)
        return self._operate(definition, instance, amend)

    def refresh(
        self, definition: ProcessDefinition, instance: str, by: str | None, *, is_whole: bool
    ) -> bool:
        """Rebuild the state of one instance; false if there is none.

        Args:
            definition: of the process manager
            instance: the instance's id
            by: who asks
            is_whole: from all that concerns it, and not only from what made its transitions

        """
        until = self._engine.done_up_to(definition.name) if is_whole else 0
        return bool(self._operate(definition, instance, Refresh(until=until, by=person(by))))

    def _operate(self, definition: ProcessDefinition, instance: str, operation: Operation) -> int:
        """Have it decided in the instance's turn; returns what the instance answers."""
        reply: ReplyFuture[int] = ReplyFuture.within(self._engine.services.replies)
        given = self._given()
        message = InstanceMessage(operation, reply=reply, given=given)
        self._send(definition.name, instance, message)
        answer: int = reply.get()
        return answer

    def _given(self) -> CommandRecord | None:
        """What the step is to remember, as it does of a command that was given an id."""
        if not self._call:
            return None
        return CommandRecord(self._call, CALLED, "", self._now(), b"", "")

    def _parked(self, number: int) -> ParkedRecord:
        parked = self._store.parked_as(number) if _may_be_parked(number) else None
        if parked is None:
            self._refuse_decided(number)
            raise UnknownMessage(
                f"nothing is parked under {shown(number)}; parked() lists what is, "
                f"and parked(decided=True) what was"
            )
        return parked

    def _refuse_decided(self, number: int) -> None:
        """Say who won, if a decision is on disk."""
        decided = self._store.decided_as(number) if _may_be_parked(number) else None
        if decided is not None and decided.decision is not None:
            raise _already(number, decided.decision)

    def _claim(self, number: int, decision: Verdict) -> None:
        """Keep others from deciding about an effect that may run for long, until it is decided."""
        other = self._engine.effects.claim(number, decision, lambda: self._parked(number))
        if other is not None:
            raise _already(number, other)

    def _instances(self, parked: ParkedRecord) -> list[tuple[str, str]]:
        """Whose step it is; for an event that could not be correlated, that is tried again."""
        if parked.instance:
            return [(parked.process, parked.instance)]
        if not parked.process:
            raise UnknownMessage(
                f"what is parked under {parked.number} was a command that cannot be read, so it "
                f"cannot be carried out; skip it, and send the command again"
            )
        router = self._engine.router_of.get(parked.process)
        is_projection = self._engine.projections.feed_of(parked.process) is not None
        if router is None and not is_projection:
            raise UnknownMessage(
                f"{parked.process} is in no domain of this runtime; register it, or skip this"
            )
        record = self._store.event_at(parked.position)
        assert record is not None
        if router is None:
            # It could not be read, so that its stream was not known.
            return [(parked.process, record.stream)]
        return [(parked.process, instance) for instance in router.find_again(record)]

    def _look(self, instances: list[tuple[str, str]]) -> None:
        for process, instance in instances:
            self._send(process, instance, InstanceMessage(Reload()))

    def _send(self, process: str, instance: str, message: InstanceMessage) -> None:
        if self._engine.deliver(process, instance, message):
            self._engine.dispatcher.nudge()

    def _decide(self, number: int, step: Step) -> None:
        """Write a decision, unless another one was quicker: the store keeps the first.

        Raises:
            AlreadyDecided: another one was
            StoreError: the disk refused, or what the decision is about is gone

        """
        step.given = self._given()
        step.result = None if step.given is None else CommandResult()
        work = Receipt(step)
        receipts = Receipts([work], self._engine.command_queue, self._engine.services.replies)
        self._engine.journal.add(work)
        receipts.wait()
        if type(work.outcome) is Duplicate:
            self._refuse_decided(number)
            raise StoreError(
                f"what was parked under {number} was not decided, since what it is about is gone "
                f"from the store: look with `procession verify` what is wrong"
            )


def _may_be_parked(number: int) -> bool:
    """Whether it is a number under which something could be parked."""
    return issubclass(type(number), int) and 0 < number < 1 << 63


def _already(number: int, decision: Verdict) -> AlreadyDecided:
    verdict, time, by = decision
    return AlreadyDecided(number, verdict, from_micros(time), by)


LONGEST_PERSON = 1_000

LONGEST_REASON = 10_000


def person(by: object) -> str | None:
    """Who asks, as it is recorded.

    Raises:
        InvalidMessage: it is no text, or says nothing

    """
    if by is None:
        return None
    name = plain_text(by)
    if name is None or len(name) > LONGEST_PERSON or not _is_utf8(name) or not name.strip():
        raise InvalidMessage(
            f"by={shown(by)} names no person; give text of 1 to {LONGEST_PERSON} characters, or "
            f"leave it out, and no one is recorded"
        )
    return name


def _check_version(version: object) -> None:
    if version is not None and not (type(version) is int and version > 0):
        raise InvalidMessage(
            f"version={shown(version)} is no version of an instance; give the one that `get` said"
        )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
