"""What an operator decides: about what was parked, about timeouts, and to rebuild state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.stimuli import Adjust, Refresh, Reload
from ..errors import InvalidMessage, UnknownMessage, shown
from ..messages.identifiers import plain_text
from ..store import Step, StepExtras, TimerRecord
from .ingress import Receipt, Receipts
from .instance_actor import InstanceMessage
from .pending_replies import Reply

if TYPE_CHECKING:
    from ..model.process_definition import ProcessDefinition
    from ..store import ParkedRecord, Store
    from .engine import Engine

__all__ = ["Admin"]


class Admin:
    """Carries out decisions while the engine runs."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store
        self._now = engine.services.now

    def retry(self, number: int, by: str | None) -> None:
        """Handle what was parked, then what waited behind it, in order."""
        by = _person(by)
        parked = self._parked(number)
        extras = StepExtras(unpark=number, decision=("retry", self._now(), by), waits=[])
        step = Step(process=parked.process, instance=parked.instance, extras=extras)
        looks: list[tuple[str, str]] = []
        if parked.command is not None:
            step.enqueue = [parked.command]
        elif parked.effect:
            # It stays parked until it is known what came of it.
            self._engine.effect_feeds.retry(parked, extras.decision)
            return
        else:
            looks = self._instances(parked)
            extras.unblock = parked.blocks
            if parked.position:
                extras.waits = [(*one, parked.position) for one in looks]
        self._write(step)
        self._look(looks)

    def skip(self, number: int, by: str | None) -> None:
        """Go on without what was parked."""
        by = _person(by)
        parked = self._parked(number)
        extras = StepExtras(unpark=number, decision=("skip", self._now(), by), cancel=[])
        if parked.blocks:
            extras.unblock = True
            extras.told = parked.sequence
            block = self._store.block_of(parked.process, parked.instance)
            if parked.name and block is not None:
                extras.cancel.append(
                    TimerRecord(block.due, parked.process, parked.instance, parked.name, "timeout")
                )
        self._write(Step(process=parked.process, instance=parked.instance, extras=extras))
        if parked.blocks:
            self._look([(parked.process, parked.instance)])

    def adjust(
        self, definition: ProcessDefinition, instance: str, name: str, due: int, by: str | None
    ) -> bool:
        """Move what is due to another time, or cancel it with 0; False if it is not set."""
        if plain_text(name) is None:
            raise InvalidMessage(f"{shown(name)} is no name of a timeout; give a str")
        by = _person(by)
        reply: Reply[bool] = Reply.within(self._engine.services.replies)
        message = InstanceMessage(Adjust(name, due, by), reply=reply)
        self._send(definition.name, instance, message)
        was_set: bool = reply.get()
        return was_set

    def refresh(self, definition: ProcessDefinition, instance: str, *, is_whole: bool) -> bool:
        """Rebuild the state of one instance; false if there is none.

        Args:
            definition: of the process manager
            instance: the instance's id
            is_whole: from all that concerns it, and not only from what made its transitions

        """
        until = self._engine.done_up_to(definition.name) if is_whole else 0
        reply: Reply[bool] = Reply.within(self._engine.services.replies)
        message = InstanceMessage(Refresh(until=until), reply=reply)
        self._send(definition.name, instance, message)
        was_there: bool = reply.get()
        return was_there

    def _parked(self, number: int) -> ParkedRecord:
        parked = None
        if issubclass(type(number), int) and 0 < number < 1 << 63:
            parked = self._store.parked_as(number)
        if parked is None:
            raise UnknownMessage(
                f"nothing is parked under {shown(number)}; parked() lists what is, "
                f"and parked(decided=True) what was"
            )
        return parked

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
        if router is None:
            raise UnknownMessage(
                f"{parked.process} is in no domain of this runtime; register it, or skip this"
            )
        record = self._store.event_at(parked.position)
        assert record is not None
        return [(parked.process, instance) for instance in router.find_again(record)]

    def _look(self, instances: list[tuple[str, str]]) -> None:
        for process, instance in instances:
            self._send(process, instance, InstanceMessage(Reload()))

    def _send(self, process: str, instance: str, message: InstanceMessage) -> None:
        if self._engine.deliver(process, instance, message):
            self._engine.dispatcher.nudge()

    def _write(self, step: Step) -> None:
        work = Receipt(step)
        receipts = Receipts([work], self._engine.command_queue, self._engine.services.replies)
        self._engine.journal.add(work)
        receipts.wait()


LONGEST_PERSON = 1_000


def _person(by: object) -> str | None:
    """Who asks, as it is recorded."""
    if by is None:
        return None
    name = plain_text(by)
    if name is None or len(name) > LONGEST_PERSON or not _is_utf8(name):
        raise InvalidMessage(
            f"by={shown(by)} says nobody; give text of at most {LONGEST_PERSON} characters"
        )
    return name


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
