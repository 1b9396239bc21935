"""After-effects on threads of their own: attempts, retries, and what is set aside."""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ..clock import from_micros
from ..errors import InfiniteLoopError
from ..store import ClosedError, Committed, FailingDisk, NoThread, Step, StepExtras
from ..store.interrupts import start_thread
from .journal import PendingWrite
from .watchdog import whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from ..clock import Alarm, Clock
    from ..model.process_definition import ProcessDefinition
    from ..store import CommandRecord, EventRecord, Outcome, ParkedRecord
    from .effect_loop import EffectLoop
    from .failure_log import Failure
    from .services import Services

    Verdict: TypeAlias = tuple[str, int, str | None]

__all__ = ["EffectExecutor", "EffectJob", "EffectSource"]

STORE_AGAIN = timedelta(seconds=1)
"""Until an effect is tried again for which the store could not be read."""


class EffectSource(Protocol):
    """Whose effects they are: the feed of one process manager."""

    @property
    def definition(self) -> ProcessDefinition:
        """The process manager."""
        ...

    def run(self, job: EffectJob) -> bool:
        """Carry one out, and note in it what it issued; false if the instance does not exist."""
        ...

    def is_async(self, job: EffectJob) -> bool:
        """Whether it runs on an event loop."""
        ...

    def method_of(self, job: EffectJob) -> str:
        """The name of its method; empty if that was removed since."""
        ...

    async def run_in_loop(self, job: EffectJob) -> bool:
        """As `run`, on an event loop."""
        ...

    def undone(self, event: EventRecord, instances: list[str]) -> list[str]:
        """Those instances whose effect after an event has sent no commands on their way."""
        ...

    def finish(self, job: EffectJob) -> None:
        """One is done, or durably parked; any thread may call this."""
        ...

    def failure(self, job: EffectJob, error: BaseException, due: int | None) -> Failure:
        """For the log; it is tried again at that time, or parked."""
        ...

    def wait(self, job: EffectJob) -> timedelta | None:
        """How long until another attempt; None if there is none."""
        ...

    def parked(self, job: EffectJob, error: BaseException) -> ParkedRecord:
        """What is set aside."""
        ...


class Rerun:
    """A decision to run what was parked again; the record goes with the last outcome."""

    __slots__ = ("decision", "left", "number")

    def __init__(self, number: int, decision: Verdict, left: int) -> None:
        self.number = number
        self.decision = decision
        self.left = left


class EffectJob:
    """One effect of one event in one instance.

    `owed` is the version that the instance had when it was done with the event, if the store says
    that the effect is owed. `step` is what the last attempt came to, if anything.
    """

    __slots__ = ("attempt", "instance", "owed", "record", "rerun", "source", "step")

    def __init__(
        self,
        source: EffectSource,
        record: EventRecord,
        instance: str,
        attempt: int = 1,
        rerun: Rerun | None = None,
        *,
        owed: int | None = None,
    ) -> None:
        self.source = source
        self.record = record
        self.instance = instance
        self.attempt = attempt
        self.rerun = rerun
        self.owed = owed
        self.step: Step | None = None

    @property
    def line(self) -> tuple[str, str]:
        """Those with the same line run one after the other."""
        return self.source.definition.name, self.instance


class _LastWord(PendingWrite, gc=False):
    """A step of an effect; its commands go on their way when it is handed over."""

    enqueue: Callable[[list[CommandRecord]], None] | None = None

    def handed_over(self, outcome: Outcome) -> None:
        super().handed_over(outcome)
        if self.step.enqueue and isinstance(outcome, Committed):
            assert self.enqueue is not None
            self.enqueue(self.step.enqueue)


class EffectExecutor:
    """Runs the effects of all process managers, never two of one instance at once.

    Args:
        services: of the engine
        clock: tells when to try again
        enqueue: takes commands that were just handed over
        threads: most effects that run at once, besides those that are ``async def``; with 0 they
            run when `run_next` is called
        tasks: most of those that are ``async def`` that run at once

    """

    def __init__(
        self,
        services: Services,
        clock: Clock,
        enqueue: Callable[[list[CommandRecord]], None],
        *,
        threads: int,
        tasks: int,
    ) -> None:
        self._services = services
        self._enqueue = enqueue
        # All keys from the start, since others look at it from their threads.
        self.counts: Counter[str] = Counter(effects=0, effects_retried=0, effects_parked=0)
        self._clock = clock
        self._alarm: Alarm | None = None
        self._most = threads
        self._most_tasks = tasks
        self._loop: EffectLoop | None = None
        self._threads: list[threading.Thread] = []
        self._alive: set[threading.Thread] = set()
        self._inside = threading.local()
        # Everything below is guarded by this. It may be held when one of the dispatcher's locks
        # is taken, never the other way round.
        self._condition = threading.Condition()
        # The head of a line is ready, running, or waits for its next attempt.
        self._lines: dict[tuple[str, str], deque[EffectJob]] = {}
        self._ready: deque[tuple[str, str]] = deque()
        self._waiting: list[tuple[int, int, tuple[str, str]]] = []
        self._numbers = 0
        self._running = 0
        self._free = 0
        self._is_busy = False
        # What was decided about parked effects and is not on disk yet, by their numbers.
        self._claims: dict[int, Verdict] = {}
        self.is_closed = False

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread runs an effect, and so cannot wait for all effects."""
        return getattr(self._inside, "is_inside", False)

    # For the engine

    def start(self) -> None:
        """Be ready to try again later; an executor that no feed uses needs no alarm."""
        # An alarm is a thread.
        self._alarm = self._clock.alarm(self._ring)

    @property
    def is_ready(self) -> bool:
        """Whether an effect is to run."""
        return bool(self._ready)

    def claim(
        self, number: int, decision: Verdict, refuse_decided: Callable[[], object]
    ) -> Verdict | None:
        """Let no other decision be made about a parked effect until `release`.

        Args:
            number: under which it is parked
            decision: what is decided
            refuse_decided: raises if a decision about it is on disk

        Returns:
            the other decision that is being carried out, which has won; None if this one has

        """
        with self._condition:
            other = self._claims.get(number)
            if other is None:
                # With the lock, so that none is told of a claim that comes behind a decision.
                refuse_decided()
                self._claims[number] = decision
            return other

    def release(self, number: int) -> None:
        """The decision that was claimed is on disk, or was not made."""
        with self._condition:
            self._claims.pop(number, None)

    def rerun(
        self,
        source: EffectSource,
        event: EventRecord,
        instances: list[str],
        record: ParkedRecord,
        verdict: Verdict,
    ) -> None:
        """Run an effect that was parked again; it is parked again if it fails.

        Its number is released when what came of it is on disk.

        Args:
            source: whose it is
            event: that it follows
            instances: for which it runs
            record: what was parked; its number was claimed
            verdict: what an operator decided. It is recorded when the effect has come to an end,
                in the step that takes the record away, so that a crash before that leaves it
                parked

        Raises:
            ClosedError: the runtime was closed meanwhile

        """
        if self.is_closed:
            raise ClosedError("the runtime was closed before the effect could run again")
        # What is on its way already must not be in the way of the decision.
        instances = source.undone(event, instances)
        rerun = Rerun(record.number, verdict, max(1, len(instances)))
        if instances:
            attempt = record.attempts + 1
            self.add(EffectJob(source, event, one, attempt, rerun) for one in instances)
        else:
            with self._condition:
                self._end(EffectJob(source, event, "", 1, rerun), None)

    def close(self) -> None:
        """Start no more effects; those that run are finished."""
        with self._condition:
            self.is_closed = True
            self._ready.clear()
            self._waiting.clear()
            self._condition.notify_all()
            self._note_busy()
            if self._loop is not None:
                self._loop.close()
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()

    def stop(self, timeout: float | None = None) -> list[threading.Thread]:
        """Wait until the threads have ended.

        Args:
            timeout: most seconds to wait, or None for as long as it takes

        Returns:
            the threads whose effects are not over; each ends when its effect is

        """
        with self._condition:
            self._condition.wait_for(lambda: not self._alive, timeout)
            threads = [*self._threads]
            if self._loop is not None:
                threads.append(self._loop)
            late = [thread for thread in threads if thread in self._alive]
        for thread in threads:
            if thread not in late:
                thread.join()
        return late

    def places(self, thread: threading.Thread) -> list[str]:
        """Where a thread is that is late; what waits on the event loop is told to end."""
        if thread is self._loop:
            return self._loop.cancel()
        return [whereabouts(thread)]

    # For feeds

    def add(self, jobs: Iterable[EffectJob]) -> None:
        """Have effects run, those of one instance in this order."""
        with self._condition:
            if self.is_closed:
                return
            for job in jobs:
                line = self._lines.setdefault(job.line, deque())
                line.append(job)
                if len(line) == 1:
                    self._ready.append(job.line)
            self._call()

    # The threads

    def _call(self) -> None:
        """Have what is ready run; called with the lock held."""
        self._note_busy()
        while self._free < len(self._ready) and len(self._threads) < self._most:
            name = f"procession-effects-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                # It waits for the lock that is held here.
                start_thread(thread)
            except NoThread as error:
                what = f"effects have {len(self._threads)} threads and no more"
                self._services.failures.tell_fault(what, error)
                break
            self._threads.append(thread)
            self._alive.add(thread)
            self._free += 1
        self._condition.notify(len(self._ready))

    def _note_busy(self) -> None:
        """Tell who waits for quiet; an effect that waits for its time is none of it."""
        is_busy = bool(self._ready or self._running)
        if is_busy != self._is_busy:
            self._is_busy = is_busy
            self._services.dispatcher.note_outside(self, is_busy=is_busy)

    def _work(self) -> None:
        self._go_inside()
        while True:
            with self._condition:
                while not self._ready and not self.is_closed:
                    self._condition.wait()
                if self.is_closed:
                    break
                job = self._take()
                if job.source.is_async(job) and self._give_to_loop(job):
                    continue
            self._carry_out(job)
        self._go_away()

    def _go_inside(self) -> None:
        self._inside.is_inside = True

    def _go_away(self) -> None:
        with self._condition:
            self._alive.discard(threading.current_thread())
            self._condition.notify_all()

    def _give_to_loop(self, job: EffectJob) -> bool:
        """Have one run on the event loop, if there can be one; called with the lock held."""
        loop = self._loop
        if loop is None:
            # Here, since asyncio takes a while to import, and many a service has no coroutine.
            from .effect_loop import EffectLoop  # noqa: PLC0415

            loop = EffectLoop(self._most_tasks, self._go_inside, self._go_away)
            try:
                # It waits for the lock that is held here, if for anything.
                start_thread(loop)
            except NoThread as error:
                loop.drop()
                what = "effects that are `async def` share no event loop, and run one by one"
                self._services.failures.tell_fault(what, error)
                return False
            self._loop = loop
            self._alive.add(loop)
        # The thread is free again; the effect is under way.
        self._free += 1
        loop.submit(partial(self._carry_out_in_loop, job))
        return True

    def _run(self, job: EffectJob) -> bool:
        return job.source.run(job)

    async def _run_in_loop(self, job: EffectJob) -> bool:
        return await job.source.run_in_loop(job)

    async def _carry_out_in_loop(self, job: EffectJob) -> None:
        error: BaseException | None = None
        is_there = False
        # What waited for room when it was closed is for the next run.
        is_begun = not self.is_closed
        try:
            if is_begun:
                is_there = await self._run_in_loop(job)
        except BaseException as raised:  # noqa: BLE001 - as in `_carry_out`
            error = raised
        with self._condition:
            self._running -= 1
            if is_begun:
                self._answer(job, error, is_there=is_there)
            # No thread of the effects looks by itself for what is behind it in its line.
            self._call()

    def run_next(self, run: Callable[[EffectJob], bool]) -> EffectJob:
        """Run one effect that is ready on the caller's thread; for simulations.

        Args:
            run: carries it out; false if the instance does not exist

        """
        with self._condition:
            job = self._take()
        self._carry_out(job, run)
        return job

    def _take(self) -> EffectJob:
        """The next one that is ready; called with the lock held."""
        job = self._lines[self._ready.popleft()][0]
        self._free -= 1
        self._running += 1
        return job

    def _carry_out(self, job: EffectJob, run: Callable[[EffectJob], bool] | None = None) -> None:
        error: BaseException | None = None
        is_there = False
        try:
            is_there = self._run(job) if run is None else run(job)
        except BaseException as raised:  # noqa: BLE001 - a person must see it, whatever it is
            error = raised
        with self._condition:
            self._running -= 1
            self._free += 1
            self._answer(job, error, is_there=is_there)
            self._note_busy()

    def _answer(self, job: EffectJob, error: BaseException | None, *, is_there: bool) -> None:
        """An attempt is over; called with the lock held, before it counts as quiet."""
        if error is not None:
            if self.is_closed:
                # It may have failed because of that; the next run tries it anew.
                return
            may_try_again = isinstance(error, Exception) and not isinstance(
                error, InfiniteLoopError
            )
            if isinstance(error, FailingDisk):
                # What the store is read for was not there. That is no attempt of the effect's.
                job.attempt -= 1
                wait: timedelta | None = STORE_AGAIN
            else:
                wait = job.source.wait(job) if may_try_again else None
            due = None
            if wait is not None:
                due = self._services.now() + round(wait.total_seconds() * 1_000_000)
            self._services.failures.tell(job.source.failure(job, error, due))
            if due is not None:
                self.counts["effects_retried"] += 1
                self._try_later(job, due)
                return
        elif is_there:
            self.counts["effects"] += 1
        line = self._lines[job.line]
        line.popleft()
        if not line:
            del self._lines[job.line]
        elif not self.is_closed:
            self._ready.append(job.line)
        self._end(job, error)

    def _end(self, job: EffectJob, error: BaseException | None) -> None:
        """There are no more attempts; called with the lock held."""
        step = job.step
        if error is not None:
            step = Step(park=job.source.parked(job, error))
        if job.owed is not None:
            step = step or Step()
            step.process, step.instance = job.line
            step.extras = step.extras or StepExtras()
            step.extras.paid = job.record.position
        rerun = job.rerun
        if rerun is not None:
            rerun.left -= 1
            if not rerun.left:
                step = step or Step()
                step.extras = step.extras or StepExtras()
                step.extras.unpark, step.extras.decision = rerun.number, rerun.decision
        if step is not None:
            self.write(job, step)
        elif rerun is None:
            job.source.finish(job)

    def write(self, job: EffectJob, step: Step) -> None:
        """Write the last word about an effect that issued commands, was parked, or is run again."""

        def note(outcome: Outcome) -> None:
            # Otherwise a run before this one parked it, and crashed before it wrote how far it
            # got.
            if step.park is not None and isinstance(outcome, Committed):
                self.counts["effects_parked"] += 1
            if job.rerun is None:
                job.source.finish(job)
            elif step.extras is not None:
                self.release(job.rerun.number)

        self._services.journal.add(_LastWord(step, note, enqueue=self._enqueue))

    def _try_later(self, job: EffectJob, due: int) -> None:
        job.attempt += 1
        self._numbers += 1
        heapq.heappush(self._waiting, (due, self._numbers, job.line))
        self._set_alarm()

    def _ring(self) -> None:
        with self._condition:
            if not self.is_closed:
                self._set_alarm()

    def _set_alarm(self) -> None:
        """Take up what is due, and have it ring for what is not; called with the lock held."""
        while self._waiting:
            if self._waiting[0][0] <= self._services.now():
                self._ready.append(heapq.heappop(self._waiting)[-1])
                continue
            assert self._alarm is not None
            due = self._waiting[0][0]
            self._alarm.set(from_micros(due))
            # A clock that was moved before the alarm was set does not ring for it.
            if due > self._services.now():
                break
        self._call()
