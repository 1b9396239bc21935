"""The actor of one process instance: an event in, a step out."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..authoring.cause import Cause
from ..authoring.process_manager import SkippedWhileRefreshing
from ..authoring.retry import PARK, SKIP, Retry
from ..core.decide import make_step, refuse_loop
from ..core.failures import parked_work
from ..core.stimuli import CommandRefused, Delivery, InstanceStimulus, TimerDue, merged
from ..errors import AlreadyStarted, EarlyEvent, InvalidMessage, UnknownMessage
from ..store import Block, CorruptRecord, RefusalRecord, Step, StepExtras, StoreError, TimerRecord
from .durable_actor import DurableActor
from .event_buffer import UNREADABLE, event_at

if TYPE_CHECKING:
    from ..authoring.decorators import Handler
    from ..authoring.process_manager import ProcessManager
    from .router import Router

__all__ = ["InstanceActor"]

logger = logging.getLogger("procession")

NOTHING: dict[str, Any] = {}

_UNREADABLE = (InvalidMessage, UnknownMessage, CorruptRecord)

PAGE = 64
"""Waiting events that are taken up at a time."""


class InstanceActor(DurableActor):
    """Holds one instance's state, and makes a step of each event.

    Args:
        router: of the instance's process manager; has what all its instances share
        instance: the correlation id

    """

    __slots__ = (
        "_block",
        "_cause",
        "_content",
        "_holds_early",
        "_is_loaded",
        "_looks_again",
        "_process",
        "_to_take_up",
        "_unreported",
        "correlation_id",
        "indexed",
        "instance",
        "is_complete",
        "router",
        "seen",
        "state",
        "state_version",
        "timers",
        "version",
    )

    def __init__(self, router: Router, instance: str) -> None:
        super().__init__(router.dispatcher, router.journal)
        self.router = router
        self.instance = instance
        self.idle_timeout = router.definition.idle_timeout
        # None until the process is started, and while it must be made anew from `state`.
        self._process: ProcessManager | None = None
        self._cause: Cause | None = None
        self._is_loaded = False
        self.is_complete = False
        # Why it takes no events, if it does not.
        self._block: Block | None = None
        # How many events that waited in the store are still to be taken up before any other.
        self._to_take_up = 0
        # Whether events that came before the start are kept in the store.
        self._holds_early = False
        # Whether to look at what waits in the store when everything handed over is answered.
        self._looks_again = False
        # The highest position that this instance has handled or put aside.
        self.seen = 0
        # The newest transition's state, to return to when a handler fails.
        self.state = b""
        self.state_version = 1
        self.version = 0
        # What is due later, by name, with its time; replaced and never changed.
        self.timers: dict[str, int] = NOTHING
        # The learnt keys as the index has them; replaced and never changed.
        self.indexed: dict[str, Any] = NOTHING
        # Tells whether an event of a chain is the same as the one before.
        self._content = 0
        # Positions that count as handled only when what waits in the store has been taken up: a
        # crash must not leave it there with nobody to look at it.
        self._unreported: tuple[int, ...] = ()
        # Of the newest transition; what a timeout makes belongs to the same chain.
        self.correlation_id = ""

    # Turns

    def on_receive(self, message: InstanceStimulus) -> None:
        """Carry out one stimulus."""
        if message.needs_disk and self.handed != self.answered:
            self.envelopes.insert(0, message)
            self.is_stale = True
            return
        self._cause = None
        was_read = False
        try:
            if not self._is_loaded or (message.reply_to is not None and not self.version):
                self._load()
                if _is_own_waiting(message):
                    # It is among those that were just read.
                    return
            was_read = True
            step = message.carry_out()
        except BaseException as error:  # noqa: BLE001 - whatever it is, a person must see it
            # What the handler did to the object is undone by making it anew.
            self._process = None
            if message.reply_to is not None:
                message.reply_to.set_exception()
                step = _nothing(message, "failed")
            elif was_read:
                step = self._fail(message, error, self._cause, 1)
            elif self._block is not None:
                # It is suspended, and needs no state until somebody decides.
                step = message.carry_out()
            else:
                step = self._fail(message, error, self._cause_of(message), 1)
            if not was_read:
                # Unless it is suspended, it must not go on as if it had no state.
                self._is_loaded = self._block is not None
        self.hand(message, step)

    def _cause_of(self, stimulus: InstanceStimulus) -> Cause | None:
        """What a stimulus is about, when the instance cannot be read."""
        if isinstance(stimulus, CommandRefused):
            return Cause.of_refusal(stimulus.refusal)
        if not isinstance(stimulus, TimerDue):
            return None
        if stimulus.timer.kind != "retry":
            return Cause.of_timer(stimulus.timer, self.correlation_id)
        name, store = self.router.definition.name, self.router.store
        with suppress(StoreError):
            block, _ = store.read_waiting(name, self.instance, 0, 1)
            if block is not None and block.position:
                return Cause.of_event(event_at(store, block.position))
            if block is not None and block.name:
                failed = TimerRecord(block.due, name, self.instance, block.name, "timeout")
                return Cause.of_timer(failed, self.correlation_id)
            if block is not None:
                return Cause.of_refusal(store.read_refusals(block.sequence - 1, 1)[0])
        return None

    def forget(self) -> None:
        """Drop the state in memory; the next stimulus reads it from the log."""
        self._is_loaded = False
        self._process = None
        if not (self._looks_again or self._unreported):
            return
        self._looks_again = False
        try:
            self._load()
            if self._block is None and not self._to_take_up:
                self._resume()
        except StoreError:
            # The next stimulus reads again, and fails where a person sees it.
            self._is_loaded = False
            logger.exception("%s %r cannot be read", self.router.definition.name, self.instance)
            self._give_what_waits()
        if not self._to_take_up:
            self._report_all()

    def _give_what_waits(self) -> None:
        """Let the first event that waits fail, if there is one, so that it is parked again."""
        with suppress(StoreError):
            name, store = self.router.definition.name, self.router.store
            block, positions = store.read_waiting(name, self.instance, 0, 1)
            if block is None and positions:
                self.envelopes.insert(0, self._waiting(positions[0]))

    def report(self, position: int) -> None:
        """An event is done with; called by the journal."""
        if self._to_take_up or self._looks_again:
            self._unreported += (position,)
        else:
            self.router.handled.append(position)

    def _report_all(self) -> None:
        positions, self._unreported = self._unreported, ()
        if positions:
            self.router.handled.extend(positions)
            self.router.wake()

    # Errands

    def deliver(self, delivery: Delivery) -> Step:
        """An event came."""
        record = delivery.record
        taken: StepExtras | None = None
        if delivery.is_waiting:
            self._count_down()
            if self._block is not None:
                return _nothing(delivery)
            taken = StepExtras(unwait=record.position)
        else:
            if record.position <= self.seen:
                return _nothing(delivery, "seen_again")
            if self._block is not None or self._to_take_up:
                self.seen = record.position
                delivery.outcome = "waiting"
                return self._step(wait=record.position)
        if record.type == UNREADABLE:
            raise record.message
        definition = self.router.definition
        event = delivery.event
        if event is None:
            if self.router.handler_of(record) is None:
                # It waited for a handler that was removed since.
                return self._skip(delivery, "not_for_us", taken)
            event = self.router.load(record)
            delivery.learnt = self.router.learnt_of(event)
        handler = definition.handlers[type(event)]
        if self.is_complete and not (definition.restart and handler.start):
            return self._skip(delivery, "skipped_complete", taken)
        if self.is_complete or not self.version:
            if not (handler.start or definition.stateless):
                return self._early(delivery, taken)
            self._process = definition.begin(self.instance, event)
            self._process._unit.version = self.version  # noqa: SLF001 - a friend
        elif handler.start == "only":
            raise AlreadyStarted(
                f"{definition.name} {self.instance!r} is running, and {handler.name} only starts: "
                f"this {record.type} would start it a second time; skip it, or write start=True"
            )
        if delivery.learnt is not None and not self._has_learnt(*delivery.learnt):
            return self._skip(delivery, "not_for_us", taken)
        cause = Cause.of_event(record)
        content = hash((record.type, record.stream, record.data))
        same, self._content = content == self._content, content
        if record.depth:
            refuse_loop(self.router, record, handler, is_suspicious=same)
        return self._run(delivery, cause, handler, (event,), taken)

    def ring(self, stimulus: TimerDue) -> Step:
        """A timer is due."""
        timer = stimulus.timer
        if timer.kind == "retry":
            return self._try_again(stimulus)
        if self._block is not None or self._to_take_up:
            stimulus.is_put_off = True
            return _nothing(stimulus)
        if self.is_complete or self.timers.get(timer.name) != timer.due:
            # It was moved or cancelled, or the process has ended, since it was read.
            return self._step(extras=StepExtras(cancel=[timer]))
        return self._time_out(stimulus, timer, StepExtras(due=timer), 1)

    def _time_out(
        self, stimulus: TimerDue, timer: TimerRecord, taken: StepExtras, attempt: int
    ) -> Step:
        self._cause = cause = Cause.of_timer(timer, self.correlation_id)
        handler = self.router.definition.timeouts.get(timer.name)
        if handler is None:
            raise LookupError(
                f"{self.router.definition.name} has no @timeout({timer.name!r}) method any more; "
                f"write one and retry, or skip this"
            )
        return self._run(stimulus, cause, handler, (), taken, attempt)

    def tell_refusal(self, stimulus: CommandRefused) -> Step:
        """A command was refused."""
        refusal = stimulus.refusal
        if self._block is not None or self._to_take_up:
            # The refusal stays where it is; it is looked for when the instance goes on.
            return _nothing(stimulus)
        if self.is_complete:
            return self._skip(stimulus, "skipped_complete", StepExtras(told=refusal.sequence))
        return self._refuse(stimulus, refusal, StepExtras(told=refusal.sequence), 1)

    def _refuse(
        self, stimulus: InstanceStimulus, refusal: RefusalRecord, taken: StepExtras, attempt: int
    ) -> Step:
        self._cause = cause = Cause.of_refusal(refusal)
        command = self.router.registry.load_command(refusal.command.type, refusal.command.data)
        handler = self.router.definition.rejections.get(type(command))
        if handler is None:
            raise LookupError(
                f"{self.router.definition.name} has no @rejected({type(command).__name__}) method "
                f"any more; write one and retry, or skip this"
            )
        return self._run(stimulus, cause, handler, (command, refusal.reason), taken, attempt)

    def look(self) -> Step:
        """Something changed in the store."""
        self._look_again()
        return Step()

    def drop_process(self) -> None:
        """Make the object anew from the state before its next step."""
        self._process = None

    # What comes of them

    def _run(
        self,
        stimulus: InstanceStimulus,
        cause: Cause,
        handler: Handler,
        arguments: tuple[Any, ...],
        taken: StepExtras | None,
        attempt: int = 1,
    ) -> Step:
        """Run a handler; the step is what it did."""
        process = self._process
        definition = self.router.definition
        if process is None:
            process = definition.restore(
                self.instance, self.version, self.state, self.state_version
            )
            self._process = process
        unit = process._unit  # noqa: SLF001 - a friend: it gives the object its event
        unit.now = self.router.now()
        unit.cause, unit.attempt = cause, attempt
        try:
            try:  # noqa: SIM105 - `suppress` costs as much as a small handler
                handler.function(process, *arguments)
            except SkippedWhileRefreshing:
                pass
            step = make_step(self, process, cause, handler)
        except BaseException as error:  # noqa: BLE001 - the class, or a person, decides
            self._process = None
            unit.clear()
            return self._fail(stimulus, error, cause, attempt, process)
        if taken is not None:
            step.extras = merged(taken, step.extras)
        stimulus.outcome = "transitions"
        if self.is_complete:
            # Most will never go on; what they hold is let go while it is still at hand.
            self._process = None
        if self._holds_early:
            self._look_again()
        return step

    def _early(self, delivery: Delivery, taken: StepExtras | None) -> Step:
        """The event came before the start."""
        definition, record = self.router.definition, delivery.record
        if definition.early == "hold":
            self.seen = max(self.seen, record.position)
            self._holds_early = True
            delivery.outcome = "held"
            # One that waited already stays where it is.
            return Step() if taken is not None else self._step(wait=record.position)
        if definition.early == "park":
            error = EarlyEvent(
                f"{definition.name} {self.instance!r} has not started: this {record.type} came "
                f"before its start; retry it when it has, or skip it"
            )
            return self._park(delivery, error, Cause.of_event(record), 1, taken, blocks=False)
        return self._skip(delivery, "skipped_early", taken)

    def _skip(self, stimulus: InstanceStimulus, why: str, taken: StepExtras | None) -> Step:
        # An empty step still goes through the journal: what it was decided by may not be on
        # disk yet, and the router must not be told before it is.
        stimulus.outcome = why
        return Step() if taken is None else self._step(extras=taken)

    def _step(self, *, wait: int = 0, extras: StepExtras | None = None) -> Step:
        name = self.router.definition.name
        return Step(process=name, instance=self.instance, wait=wait, extras=extras)

    def _fail(
        self,
        stimulus: InstanceStimulus,
        error: BaseException,
        cause: Cause | None,
        attempt: int,
        process: ProcessManager | None = None,
    ) -> Step:
        """Something went wrong: try again later, go on without it, or set it aside."""
        taken: StepExtras | None = None
        if isinstance(stimulus, Delivery):
            cause = Cause.of_event(stimulus.record)
            if stimulus.is_waiting:
                taken = StepExtras(unwait=stimulus.record.position)
        elif isinstance(stimulus, TimerDue) and stimulus.timer.kind == "retry":
            taken = StepExtras(due=stimulus.timer, unblock=True)
        if cause is None:
            # Not a handler's doing: it is said, and there is nothing to set aside.
            logger.error("%s %r failed", self.router.definition.name, self.instance, exc_info=error)
            return Step()
        if isinstance(error, AlreadyStarted):
            return self._park(stimulus, error, cause, attempt, taken, blocks=False)
        decision = self._decide(error, cause, attempt, process)
        if decision is SKIP:
            if isinstance(stimulus, TimerDue) and taken is None:
                taken = StepExtras(due=stimulus.timer)
            elif isinstance(stimulus, CommandRefused):
                taken = StepExtras(told=stimulus.refusal.sequence)
            elif taken is not None:
                # What is tried again may be a timeout or a refusal, and goes with its retry.
                taken.told = cause.sequence
                if cause.name:
                    name = self.router.definition.name
                    taken.cancel = [
                        TimerRecord(cause.due, name, self.instance, cause.name, "timeout")
                    ]
            self.seen = max(self.seen, cause.position)
            self._look_again()
            return self._skip(stimulus, "skipped_error", taken)
        if isinstance(decision, Retry):
            wait = decision.wait(attempt)
            if wait is not None:
                now = self.router.now()
                due = now + round(wait.total_seconds() * 1_000_000)
                return self._try_later(stimulus, cause, attempt, due, taken)
        return self._park(stimulus, error, cause, attempt, taken, blocks=True)

    def _decide(
        self, error: BaseException, cause: Cause, attempt: int, process: ProcessManager | None
    ) -> object:
        definition = self.router.definition
        if not isinstance(error, Exception):
            return PARK
        if process is None and isinstance(error, _UNREADABLE):
            # No handler ran: what cannot be read now cannot be read in a minute.
            return PARK
        if process is not None:
            try:
                decision = process.on_error(error, cause.context(attempt))
            except Exception:
                # It was to say what becomes of the first error; that one is parked all the same.
                logger.exception("%s.on_error failed", definition.name)
                return PARK
            if decision is not None:
                return decision
        return definition.retry or PARK

    def _try_later(
        self,
        stimulus: InstanceStimulus,
        cause: Cause,
        attempt: int,
        due: int,
        taken: StepExtras | None,
    ) -> Step:
        name = self.router.definition.name
        timer = TimerRecord(due, name, self.instance, "retry", "retry")
        self._block = cause.block("retry", attempt, due)
        self.seen = max(self.seen, cause.position)
        stimulus.outcome = "retries"
        if isinstance(stimulus, TimerDue) and stimulus.timer.kind != "retry":
            stimulus.is_put_off = True
        made = StepExtras(timers=[timer], block=self._block)
        extras = merged(taken, made)
        assert extras is not None
        extras.unblock = False
        return self._step(extras=extras)

    def _park(
        self,
        stimulus: InstanceStimulus,
        error: BaseException,
        cause: Cause,
        attempt: int,
        taken: StepExtras | None,
        *,
        blocks: bool,
    ) -> Step:
        name = self.router.definition.name
        logger.warning("%s %r: %s was parked", name, self.instance, cause.id, exc_info=error)
        self.seen = max(self.seen, cause.position)
        stimulus.outcome = "parked"
        if isinstance(stimulus, TimerDue) and stimulus.timer.kind != "retry":
            stimulus.is_put_off = True
        made: StepExtras | None = None
        if blocks:
            self._block = cause.block("parked", attempt, cause.due)
            made = StepExtras(block=self._block)
        extras = merged(taken, made)
        if extras is not None and blocks:
            extras.unblock = False
        now = self.router.now()
        step = self._step(extras=extras)
        step.park = parked_work(error, name, self.instance, cause, attempt, now, blocks=blocks)
        return step

    def _try_again(self, stimulus: TimerDue) -> Step:
        """The wait before another attempt is over."""
        block, timer = self._block, stimulus.timer
        if block is None or block.kind != "retry" or block.due != timer.due:
            return self._step(extras=StepExtras(cancel=[timer]))
        attempt = block.attempts + 1
        taken = StepExtras(due=timer, unblock=True)
        definition, router = self.router.definition, self.router
        self._block = None
        self._look_again()
        if block.position:
            record = event_at(router.store, block.position)
            self._cause = cause = Cause.of_event(record)
            if record.type == UNREADABLE:
                raise record.message
            event = router.load(record)
            handler = definition.handlers[type(event)]
            if not self.version or self.is_complete:
                self._process = definition.begin(self.instance, event)
                self._process._unit.version = self.version  # noqa: SLF001 - a friend
            return self._run(stimulus, cause, handler, (event,), taken, attempt)
        if block.name:
            due = self.timers.get(block.name, 0)
            if 0 < due <= router.now():
                failed = TimerRecord(due, definition.name, self.instance, block.name, "timeout")
                taken.cancel = [failed]
                return self._time_out(stimulus, failed, taken, attempt)
        else:
            refusals = router.store.read_refusals(block.sequence - 1, 1)
            if refusals and refusals[0].sequence == block.sequence:
                taken.told = block.sequence
                return self._refuse(stimulus, refusals[0], taken, attempt)
        # Somebody cancelled it, or moved it: then it comes by itself.
        return self._step(extras=taken)

    # What waits in the store

    def _load(self) -> None:
        """Rehydrate from the newest transition."""
        # Marked first: an instance whose log cannot be read is suspended, not read for ever.
        self._is_loaded = True
        if self.envelopes:
            # These are still in the store, and are read again from there.
            self.envelopes[:] = [one for one in self.envelopes if not _is_own_waiting(one)]
        definition, store = self.router.definition, self.router.store
        self._process = self._block = None
        try:
            last = store.last_transition(definition.name, self.instance)
        except StoreError:
            self.version = 0
            block, _ = store.read_waiting(definition.name, self.instance, 0, 1)
            if block is not None and block.kind == "parked":
                self._block = block
            raise
        if last is None:
            self.version, self.state, self.seen, self.is_complete = 0, b"", 0, False
            self.timers, self.indexed = NOTHING, NOTHING
        else:
            self.version, self.state, self.seen = last.version, last.state, last.seen
            self.is_complete = last.is_complete
            self.timers = last.timers or NOTHING
            self.correlation_id = last.correlation_id
            self.state_version = last.state_version
            self.indexed = NOTHING
            if definition.state.indexed and last.state_version == definition.state_version:
                # Of another version, the index has other fields; the next step adds today's.
                self.indexed = definition.state.keys_of(definition.state.load(last.state))
        self._read_waiting()

    def _read_waiting(self) -> None:
        name, store = self.router.definition.name, self.router.store
        # What was skipped is not in any transition.
        self.seen = max(self.seen, store.last_parked(name, self.instance))
        self._block, positions = store.read_waiting(name, self.instance, 0, PAGE)
        self._to_take_up = 0
        self._holds_early = False
        if self._block is not None:
            self.seen = max(self.seen, self._block.position)
        if not positions:
            return
        self.seen = max(self.seen, store.last_waiting(name, self.instance))
        if self._block is not None:
            return
        waiting = [self._waiting(position) for position in positions]
        definition = self.router.definition
        may_hold = definition.early == "hold" and not (self.version or definition.stateless)
        if may_hold and not any(self._starts(one) for one in waiting):
            waiting = self._waiting_start(positions)
        if waiting:
            self._to_take_up = len(waiting)
            self.envelopes[:0] = waiting
        else:
            self._holds_early = True

    def _waiting_start(self, positions: list[int]) -> list[Delivery]:
        """The first start among what waits, if it stands behind more than one page."""
        name, store = self.router.definition.name, self.router.store
        while len(positions) == PAGE:
            _, positions = store.read_waiting(name, self.instance, positions[-1], PAGE)
            for position in positions:
                delivery = self._waiting(position)
                if self._starts(delivery):
                    return [delivery]
        return []

    def _starts(self, delivery: Delivery) -> bool:
        handler = self.router.handler_of(delivery.record)
        return handler is not None and bool(handler.start)

    def _waiting(self, position: int) -> Delivery:
        record = event_at(self.router.store, position)
        # Read when it is handled: one that cannot be must not stop the others.
        stimulus = Delivery(record=record, event=None, is_waiting=True)
        stimulus.actor = self
        stimulus.is_own = True
        return stimulus

    def _count_down(self) -> None:
        self._to_take_up -= 1
        if not self._to_take_up:
            self._look_again()

    def _look_again(self) -> None:
        """Read what waits once everything that was handed over is on disk."""
        self._looks_again = True
        self.is_stale = True

    def _resume(self) -> None:
        """Nothing holds it up any more: timeouts and refusals may have been put off."""
        name, store = self.router.definition.name, self.router.store
        self.router.timer_service.release(name, self.instance)
        after = 0
        while page := store.read_refusals(after, PAGE):
            for refusal in page:
                if (refusal.command.process, refusal.command.instance) == (name, self.instance):
                    self._take_up_refusal(refusal)
            after = page[-1].sequence

    def _take_up_refusal(self, refusal: RefusalRecord) -> None:
        stimulus = CommandRefused(refusal=refusal)
        stimulus.actor = self
        stimulus.is_own = True
        self.envelopes.append(stimulus)

    def _has_learnt(self, field: str, values: list[str]) -> bool:
        definition = self.router.definition
        if self._process is None:
            self._process = definition.restore(
                self.instance, self.version, self.state, self.state_version
            )
        return definition.state.keys_of(self._process.__dict__)[field] in values


def _is_own_waiting(stimulus: object) -> bool:
    return isinstance(stimulus, Delivery) and stimulus.is_waiting


def _nothing(stimulus: InstanceStimulus, why: str = "nothing") -> Step:
    stimulus.outcome = why
    return Step()
