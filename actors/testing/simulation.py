"""The real runtime, one turn at a time, the same for the same seed."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from ..authoring.process_manager import due_time
from ..core.carry_out import CommandDelivered
from ..engine.admin import Admin
from ..engine.aggregate_actor import CommandMessage
from ..engine.engine import Options
from ..messages.identifiers import id_of
from ..model.registry import Registry
from .deviations import Deviation, Deviations, Planned, Seeded, deviation, kinds_of, unpacked
from .faults import InjectedStoreError
from .looking import Looking
from .outside import Answer, Publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..authoring.process_manager import ProcessManager
    from ..messages.types import Command, Event
    from ..model.domain import Domain
    from .outside import Program

__all__ = ["Simulation"]

MAX_STEPS = 10_000
"""Turns after which a run counts as endless."""


class Simulation(Looking):
    """Runs domains as a `Runtime` does, on one thread, and the same for the same seed.

    The routers, the actors, the journal, the timer service, the after-effects and the store are the
    real ones. What is simulated is who has the next turn, the clock, and what goes wrong. Nothing
    happens by itself: `step` lets one thing happen, and whatever waits lets things happen until
    it has what it waits for. A context manager; leaving the `with` block removes the store.

    Args:
        domains: whose classes to run
        program: what comes from outside when `step` or `run` let it come, as for `explore`
        seed: a number for a run of its own, or a word that `explore` gave; without one, the
            ordinary run
        faults: what a number as a seed may let happen: ``"order"`` (turns held back and swapped),
            ``"time"`` (the clock moves on while things are in flight), ``"crash"``, ``"commit"``
            (one fails), ``"handler"`` (one fails), ``"duplicate"`` (things are brought again),
            ``"sleep"`` (idle actors leave memory)
        start: the clock's first time, with a zone; without one, the start of the year 2000
        stream: of events in the program that do not say theirs
        options: as for `Runtime`: `max_awake`, `idle_timeout`, `max_in_flight`,
            `largest_commit`, `max_chain`

    """

    def __init__(
        self,
        *domains: Domain,
        program: Program = (),
        seed: int | str | None = None,
        faults: Iterable[str] = ("order",),
        start: datetime | None = None,
        stream: str | None = None,
        **options: Any,
    ) -> None:
        deviations = Deviations()
        if isinstance(seed, str):
            deviations = Planned(unpacked(seed)[0])
        elif seed is not None:
            deviations = Seeded(seed, kinds_of(faults))
        super().__init__(
            Registry(domains),
            program,
            deviations,
            start=start,
            stream=stream,
            options=Options(**options),
        )

    @classmethod
    def planned(
        cls,
        registry: Registry,
        program: Program,
        deviations: Iterable[Deviation],
        *,
        start: datetime | None = None,
        stream: str | None = None,
        **options: Any,
    ) -> Self:
        """A run with just these deviations, by a registry that many runs may share."""
        made = cls.__new__(cls)
        Looking.__init__(
            made,
            registry,
            program,
            Planned(deviations),
            start=start,
            stream=stream,
            options=Options(**options),
        )
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store, and remove it. Nothing is finished."""
        self._end()

    # Letting things happen

    def step(self) -> bool:
        """Let one thing happen; false if nothing is left to do before another time comes."""
        self._refuse_in_turn("step")
        return self._next(brings=True, waits=False)

    def run(self, *, max_steps: int = MAX_STEPS, horizon: timedelta | None = None) -> None:
        """Bring the whole program, and let everything settle up to the last timeout.

        Args:
            max_steps: turns after which it counts as endless
            horizon: how long after the start the clock stops

        Raises:
            AssertionError: it did not come to rest

        """
        for _ in self.steps(max_steps=max_steps, horizon=horizon):
            pass

    def steps(
        self, *, max_steps: int = MAX_STEPS, horizon: timedelta | None = None
    ) -> Iterator[None]:
        """As `run`, and pauses after each step."""
        self._refuse_in_turn("run")
        last = self._turn + max_steps
        end = None if horizon is None else self._clock.start + horizon
        while self._next(brings=True, waits=True, end=end):
            yield
            if self._turn > last:
                raise AssertionError(
                    f"it did not come to rest within {max_steps} turns: something goes on for "
                    f"ever. If it is meant to, as a timeout that sets itself again, give horizon="
                )

    def settle(self) -> None:
        """Let things happen until nothing is undelivered and nothing is in flight."""
        self._refuse_in_turn("settle")
        while self._next(brings=False, waits=False):
            pass

    def advance(self, by: timedelta) -> None:
        """Let time pass. What is due on the way happens in order of time, and all settles.

        Raises:
            ValueError: `by` is negative; time does not run backwards

        """
        self._refuse_in_turn("advance")
        if by < timedelta(0):
            raise ValueError(f"by={by!r} is negative; a clock only goes forward")
        end = self._clock.now() + by
        self.settle()
        while (due := self._clock.next_due()) is not None and due <= end:
            self._guarded(self._move_clock, due)
            self.settle()
        if self._clock.now() < end:
            self._guarded(self._move_clock, end)
            self.settle()

    def crash(self) -> None:
        """End the simulated process here, and start another one on what was durable."""
        self._refuse_in_turn("crash")
        self.note("crash: what was not committed is gone")
        self._restart()

    def provoke(self, accident: str, which: int = 0) -> None:
        """Have something go wrong at the first chance.

        Args:
            accident: ``"crash"``; ``"crash_before_commit"`` or ``"crash_after_commit"``, inside
                the next one; ``"commit_fails"``; ``"fails_before"`` or ``"fails_after"``, the next
                handler; ``"repeat_event"``, ``"repeat_command"`` or ``"repeat_outside"``, one
                that came of late; ``"turn"``, ``"hold"``, ``"arrival"``: another one's turn;
                ``"time"``: the clock moves to what is due next; ``"sleep"``: idle actors leave
                memory
            which: where there are several

        Raises:
            ValueError: there is no such accident

        """
        self._deviations.armed.append(deviation(accident, which))

    # Asking for something

    def tell(self, command: Command, *, command_id: str | None = None) -> str:
        """Have a command carried out later; returns its id once the command is durable.

        Like all that waits for an answer here, it asks again under the same id when a simulated
        crash or a refusing disk leaves it without one.
        """
        name = command_id or self._new_id()
        self._send("tell", command, name)
        return name

    def publish(
        self,
        event: Event,
        *,
        stream: str,
        event_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> int:
        """Store an event from outside; returns its position once it is durable."""
        name = event_id or self._new_id()
        self._send("publish", Publish(event, stream, name, headers), name)
        return self._store.position_of(name)

    def ask(self, command: Command, *, command_id: str | None = None) -> list[Event]:
        """Have an aggregate carry out a command; returns the events it made once durable.

        Raises:
            Rejected: the aggregate refused

        """
        name = command_id or self._new_id()

        def begin(answer: Answer) -> None:
            command_queue = self._engine.command_queue
            record = self._ingress.command(command, name)
            before = self._store.result_of(name)
            if before is None:
                command_queue.send(
                    CommandMessage(CommandDelivered(record, is_from_outside=True), answer)  # type: ignore[arg-type] # as much of a future
                )
            else:
                command_queue.answer(answer, before)  # type: ignore[arg-type] # as much of a future

        self.note(f"outside: ask {command!r}")
        events: list[Event] = self._wait("ask", begin)
        return events

    def _send(self, call: str, item: Command | Publish, name: str) -> None:
        def begin(answer: Answer) -> None:
            self._engine.journal.add(self._receipt(item, name, answer))

        self.note(f"outside: {call} {item.event if isinstance(item, Publish) else item!r}")
        self._wait(call, begin)
        self._outside.append((item, name))

    def _wait(self, call: str, begin: Callable[[Answer], None]) -> Any:
        """Let things happen until an answer is there."""
        self._refuse_in_turn(call)
        while True:
            answer, crashes = Answer(self._engine.command_queue), self._crashes
            begin(answer)
            while not answer.is_there and self._crashes == crashes:
                if not self._next(brings=True, waits=False) and not answer.is_there:
                    raise AssertionError(f"{call}: nothing is left to do, and no answer came")
            if answer.is_there and not isinstance(answer.error, InjectedStoreError):
                break
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _new_id(self) -> str:
        self._asked += 1
        return f"outside.{self._asked}"

    # Deciding

    def retry(self, parked_id: int, *, by: str | None = None) -> None:
        """Handle what was parked, then what waited behind it, in order."""
        self._decide("retry", partial(Admin.retry, number=parked_id, by=by))

    def skip(self, parked_id: int, *, by: str | None = None) -> None:
        """Go on without what was parked."""
        self._decide("skip", partial(Admin.skip, number=parked_id, by=by))

    def cancel_timeout(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        name: str,
        *,
        by: str | None = None,
    ) -> bool:
        """Have a timeout, or a command that is held back, not come at all."""
        return self._adjust("cancel_timeout", cls, id, name, 0, by)

    def move_timeout(
        self,
        cls: type[ProcessManager],
        id: object,  # noqa: A002
        name: str,
        when: timedelta | datetime,
        *,
        by: str | None = None,
    ) -> bool:
        """Have a timeout, or a command that is held back, come at another time."""
        due = due_time(self._engine.services.now(), when)
        return self._adjust("move_timeout", cls, id, name, due, by)

    def _adjust(
        self,
        call: str,
        cls: type[ProcessManager],
        name: object,
        timeout: str,
        due: int,
        by: str | None,
    ) -> bool:
        instance = id_of(name, f"for {cls.__name__}")
        definition = self._registry.process(cls)
        return bool(
            self._decide(
                call,
                lambda one: one.adjust(definition, instance, timeout, due, by),
                fully=True,
            )
        )

    def _decide(self, call: str, do: Callable[[Admin], Any], *, fully: bool = False) -> Any:
        self._refuse_in_turn(call)
        self.note(f"outside: {call}")
        found: list[Any] = []
        self._guarded(lambda: found.append(self._operate(do, fully=fully)))
        return found[0] if found else None
