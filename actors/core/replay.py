"""The state of an instance, made anew by the class as it is today.

A replay goes along the transitions of an instance and decides again what made them. It may also be
led along the log, and then decides what concerned the instance and made no transition: a handler
that was added later sees what it would have seen. What handlers issue and set is dropped.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from .amending import BY_OPERATOR, actor_in, amended, amendment_in
from .decide import changed_keys, decide, take
from .decision import EMPTY, Decision
from .ending import ended_by, run_end
from .past import stimulus_of
from .ports import UNREADABLE
from .process_state import ProcessState
from .stimuli import End, EventDelivered, Rebuilt, TimeoutDue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..authoring.state import Keys
    from ..model.plans import ProcessPlan
    from ..store import EventRecord, TransitionRecord
    from .ports import Reads
    from .stimuli import Stimulus

    LearntKey = tuple[str, list[str]]

__all__ = ["Replay", "replay_log", "replayed_fields"]

PAGE = 256
"""Events of the log that are read at a time."""


def replayed_fields(plan: ProcessPlan, state: ProcessState, reads: Reads) -> dict[str, Any]:
    """The fields that an instance has when its causes are decided by the class as it is today.

    A cause that has no handler any more is left out; where none has one, the fields stay as they
    are.

    Args:
        plan: of the process manager
        state: the instance as it is
        reads: gives its transitions, and the events that made them

    Raises:
        Exception: what a handler raised

    """
    replay = Replay(plan, state.instance, reads)
    while replay.next is not None:
        replay.step()
    return (replay.now if replay.now.version else state).restore(plan.definition).__dict__


class Replay:
    """One instance on its way through its log.

    Args:
        plan: of the process manager
        instance: the instance's id
        reads: gives its transitions, and the events that made them
        left_out: positions that it is not given, whatever the log has there

    """

    def __init__(
        self, plan: ProcessPlan, instance: str, reads: Reads, left_out: frozenset[int] = frozenset()
    ) -> None:
        self.instance = instance
        self.now = ProcessState(instance)
        self.seen = 0
        self.error: Exception | None = None
        self._plan = plan
        self._reads = reads
        self._left_out = left_out
        self.taken: set[str] = set()
        """Of a divided store, the ids of events that it takes once, wherever they are found."""
        # What came before its start, where the class keeps that until then.
        self._held: list[EventRecord] = []
        self._last: TransitionRecord | None = None
        self._recorded = iter(reads.transitions(plan.name, instance))
        self.next = next(self._recorded, None)
        """The transition whose cause is decided next; None when there is none left."""

    @property
    def version(self) -> int:
        """Of the last transition that it went past."""
        return 0 if self._last is None else self._last.version

    @property
    def next_time(self) -> int:
        """When the next transition came, if no event made it: a timeout when it was due."""
        transition = self.next
        assert transition is not None
        if transition.cause == BY_OPERATOR:
            # Before the answers to what it issued, which may have come within the microsecond.
            return transition.time - 1
        name = transition.cause.removeprefix("timeout:")
        due = (self._last.timers or {}).get(name) if self._last is not None else None
        return due if due is not None and name != transition.cause else transition.time

    def step(self) -> None:
        """Go past the next transition.

        Raises:
            Exception: what a handler raised

        """
        transition = self.next
        assert transition is not None
        stimulus = stimulus_of(
            self._plan, self.instance, transition, self.next_time, self._reads, refreshing=True
        )
        if stimulus is None and transition.position and self.now.is_complete:
            # An event that has no handler any more began another run.
            self.now = ProcessState(self.instance)
        elif stimulus is not None and (self.now.version or isinstance(stimulus, EventDelivered)):
            self._decide_again(transition, stimulus)
        if transition.cause == BY_OPERATOR and self.now.version:
            self._repeat_operator(transition)
        if self.now.is_complete is not transition.is_complete and self.now.version:
            # The log says where a run ended, or runs would mix when today's class says otherwise.
            self.now = replace(self.now, is_complete=transition.is_complete)
        self._last, self.next = transition, next(self._recorded, None)
        self._take_held()

    def concerns(self, record: EventRecord, learnt: LearntKey | None) -> None:
        """Take an event that is for this instance and made no transition.

        As a running instance would: one that has ended passes it over, and so does one that has
        not begun, unless the event is a start. Where the log says that a run ended or went on, that
        stays so.

        Raises:
            Exception: what a handler raised, if `on_error` does not pass over it

        """
        if record.position in self._left_out:
            return
        now, definition = self.now, self._plan.definition
        handler = self._plan.subscription.handler_of(record)
        if handler is None:
            return
        if now.is_complete:
            if self.version or not (definition.restart and handler.start):
                return
        elif now.version:
            if handler.start == "only":
                return
        elif not (handler.start or definition.stateless):
            if definition.early == "hold":
                self._held.append(record)
            return
        event = self._plan.subscription.load(record)
        stimulus = EventDelivered(record, event, learnt, now=record.time, refreshing=True)
        decision = decide(self._plan, self._before(self.version + 1), stimulus, self._reads)
        if decision.outcome == "transitions":
            self.now = decision.state
            self.seen = max(self.seen, record.position)
            if self.version:
                self.now = replace(self.now, is_complete=False)
            self._take_held()
        elif decision.error is not None and decision.outcome != "skipped_error":
            raise decision.error

    def leave_out(self, positions: Iterable[int]) -> None:
        """Positions of events that it is not given."""
        self._left_out |= frozenset(positions)

    def finish(self) -> Rebuilt:
        """Go to the end of its transitions.

        Raises:
            Exception: what a handler raised

        """
        while self.next is not None:
            self.step()
        return Rebuilt(self.version, self.now if self.now.version else None, self.seen)

    def _take_held(self) -> None:
        while self._held and self.now.version and not self.now.is_complete:
            record = self._held.pop(0)
            event = self._plan.subscription.load(record)
            self.concerns(record, self._plan.subscription.learnt_of(event))

    def _before(self, version: int, timers: dict[str, int] | None = None) -> ProcessState:
        """The instance as it is, one version before that; one that has not begun seems ended."""
        now = self.now
        if version == 1:
            return now
        is_complete = now.is_complete or not now.version
        return replace(now, version=version - 1, is_complete=is_complete, timers=timers)

    def _decide_again(self, transition: TransitionRecord, stimulus: Stimulus) -> None:
        """Today's class may pass the cause by; then the state stays as it was."""
        due = {stimulus.timer.name: stimulus.timer.due} if type(stimulus) is TimeoutDue else None
        decision = Decision(self._before(transition.version, due), EMPTY)
        take(self._plan, decision, stimulus, self._reads)
        if decision.outcome == "transitions":
            self.now = decision.state

    def _repeat_operator(self, transition: TransitionRecord) -> None:
        """What an operator decided is in the log as what happened is, so it is done again."""
        plan = self._plan
        fields = amendment_in(plan.definition, transition)
        if fields:
            self.now = amended(plan.definition, self.now, fields)
        elif transition.handler == "ended":
            by = actor_in(transition)
            reason = (transition.note or "").removeprefix(ended_by(by))
            end = End(reason, by, now=transition.time, refreshing=True)
            decision = Decision(self._before(transition.version), EMPTY)
            run_end(plan, decision, end, self._reads)
            self.now = decision.state


def replay_log(
    plan: ProcessPlan, replays: Sequence[Replay], reads: Reads, until: int
) -> list[tuple[Replay, Rebuilt | None]]:
    """Lead instances along the log, once for all of them.

    Whom an event is for is found as the router finds it, with the learnt keys that the instances
    have by then. Their own transitions come where they came: an event at its position, a timeout
    when it was due, what waited behind what it waited for.

    Args:
        plan: of the process manager
        replays: of the instances, at their beginnings
        reads: the log, from where the process manager began
        until: the last position

    Returns:
        what each comes to; None of one with an `error`

    """
    for one in replays:
        try:
            # What made a transition comes with it.
            made = [
                (each.position, each.cause) for each in reads.transitions(plan.name, one.instance)
            ]
            one.leave_out(position for position, _ in made)
            if plan.partition is not None:
                one.taken.update(cause for position, cause in made if position)
        except Exception as error:  # noqa: BLE001 - told of that instance
            one.error = error
    course = _Course(plan, replays)
    for record in _log(reads, plan.begun_at, until):
        course.go_past(record)
    return [(one, course.finished(one)) for one in replays]


def _log(reads: Reads, position: int, until: int) -> Iterator[EventRecord]:
    while position < until:
        page = reads.read_log(position, min(PAGE, until - position))
        if not page:
            return
        yield from page
        position = page[-1].position


class _Course:
    """Several instances on their way along the log."""

    def __init__(self, plan: ProcessPlan, replays: Sequence[Replay]) -> None:
        self._plan = plan
        self._is_found = False
        self._by_id = {one.instance: one for one in replays}
        self._indexed = plan.definition.state.indexed
        # Who has which learnt key, and which keys each has.
        self._having: dict[tuple[str, str], dict[str, None]] = {}
        self._keys: dict[str, Keys] = {}
        # Whose next transition was made by which event, and whose at which time.
        self._at: dict[int, list[Replay]] = {}
        self._later: list[tuple[int, int, Replay]] = []
        self._count = 0
        for one in replays:
            self._go_on(one, 0)

    def go_past(self, record: EventRecord) -> None:
        """All that comes of one event, and of what came before it."""
        position = record.position
        # What is due at a time comes behind the events that were stored up to then.
        while self._later and self._later[0][0] < record.time:
            replay = heappop(self._later)[-1]
            self._step(replay)
            self._go_on(replay, position - 1)
        for replay in self._at.pop(position, ()):
            self._step(replay)
            self._go_on(replay, position)
        subscription = self._plan.subscription
        if record.type == UNREADABLE or not subscription.listens_to(record):
            return
        if record.sent_for not in {"", self._plan.name}:
            # A copy for another process manager; this one has its own, or the event itself.
            return
        self._is_found = record.sent_to is not None
        try:
            instances, learnt = subscription.route(
                record, subscription.load(record), self._read_index
            )
        except Exception:  # noqa: BLE001 - it would be parked, and is for no instance
            return
        for instance in instances:
            one = self._by_id.get(instance)
            if one is not None and one.error is None and self._is_first(one, record, learnt):
                try:
                    one.concerns(record, learnt)
                except Exception as error:  # noqa: BLE001 - told of that instance
                    one.error = error
                self._learn(one)

    def _is_first(self, one: Replay, record: EventRecord, learnt: LearntKey | None) -> bool:
        """Whether an instance is given an event once that may be found twice in its partition."""
        if self._plan.partition is None or learnt is None or len(learnt[1]) < 2:
            return True
        is_first = record.event_id not in one.taken
        one.taken.add(record.event_id)
        return is_first

    def finished(self, replay: Replay) -> Rebuilt | None:
        """What an instance comes to."""
        if replay.error is None:
            try:
                return replay.finish()
            except Exception as error:  # noqa: BLE001 - told of that instance
                replay.error = error
        return None

    def _step(self, replay: Replay) -> None:
        if replay.error is not None:
            return
        try:
            replay.step()
        except Exception as error:  # noqa: BLE001 - told of that instance
            replay.error = error
        self._learn(replay)

    def _go_on(self, replay: Replay, position: int) -> None:
        """Go past what came of events up to a position, and wait for what comes next."""
        while replay.error is None and replay.next is not None:
            if replay.next.position > position:
                self._at.setdefault(replay.next.position, []).append(replay)
                return
            if not replay.next.position:
                self._count += 1
                heappush(self._later, (replay.next_time, self._count, replay))
                return
            # Its event came before, and had to wait.
            self._step(replay)

    def _learn(self, replay: Replay) -> None:
        if not self._indexed:
            return
        # What is begun anew has none of the keys that it had.
        none: Keys = dict.fromkeys(self._indexed, ())
        now = replay.now.indexed or none
        for field, old, new in changed_keys(self._keys.get(replay.instance), now):
            if old is not None:
                self._having.get((field, old), {}).pop(replay.instance, None)
            if new is not None:
                self._having.setdefault((field, new), {})[replay.instance] = None
        self._keys[replay.instance] = now

    def _read_index(self, process: str, field: str, value: str) -> list[str]:
        del process
        partition = self._plan.partition
        if partition is not None and partition.has(value) is self._is_found:
            # By a value that belongs elsewhere, another partition finds them, and sends a copy.
            return []
        return sorted(self._having.get((field, value), ()))
