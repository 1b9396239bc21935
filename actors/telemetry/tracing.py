"""The parts of an engine that make spans, which stand in the place of the engine's own.

The span of a step is made when the step was decided, with the time at which its message came. So
all that is said of it is known by then, and a message that is put off makes none. It is not current
while a handler runs, which decides and calls nothing outside; that of an after-effect is.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from opentelemetry import trace

from ..clock import nanoseconds
from ..core.decision import EMPTY
from ..core.stimuli import EventDelivered, RetryDue, TimeoutDue
from ..engine.aggregate_actor import AggregateActor
from ..engine.effect_executor import EffectExecutor
from ..engine.engine import Parts
from ..engine.ingress import Ingress
from ..engine.instance_actor import InstanceActor
from ..engine.journal import Journal
from ..store import COMMITTED, RefusalRecord, category_of
from . import conventions as names
from .spans import Spans, failed, headers_with, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from ..clock import Clock
    from ..core.carry_out import CommandDecision
    from ..core.decision import Decision
    from ..engine.aggregate_actor import AggregateShare, CommandMessage
    from ..engine.effect_executor import EffectJob
    from ..engine.ingress import Receipt
    from ..engine.instance_actor import InstanceMessage, InstanceShare
    from ..messages.types import Command, Event
    from ..model.registry import Registry
    from ..store import CommandRecord, Outcome, TimerRecord

__all__ = ["Tracing"]


class Tracing:
    """Makes the parts of one runtime that make spans.

    Args:
        provider: of the service
        clock: of the runtime

    Raises:
        TypeError: it is no provider of tracers

    """

    def __init__(self, provider: TracerProvider, clock: Clock) -> None:
        self._spans = Spans(provider, clock)

    def ingress(self, registry: Registry, clock: Clock, secret: bytes) -> Ingress:
        """What makes records of messages from outside."""
        return TracedIngress(self._spans, registry, clock, secret)

    def parts(self) -> Parts:
        """What the engine is to have in the place of its own parts."""
        spans = self._spans
        return Parts(
            instance_actor=partial(TracedInstanceActor, spans),
            aggregate_actor=partial(TracedAggregateActor, spans),
            journal=partial(TracedJournal, spans),
            effects=partial(TracedEffectExecutor, spans),
        )


class TracedIngress(Ingress):
    """Has a span for each message from outside, in the caller's trace."""

    def __init__(self, spans: Spans, registry: Registry, clock: Clock, secret: bytes) -> None:
        super().__init__(registry, clock, secret)
        self._spans = spans

    def command(
        self,
        command: Command,
        command_id: str | None,
        headers: Mapping[str, Any] | None = None,
        *,
        is_remembered: bool = True,
    ) -> CommandRecord:
        started = nanoseconds()
        record = super().command(command, command_id, headers, is_remembered=is_remembered)
        attributes = {
            **_message(record.command_id, record.type, record.correlation_id),
            names.DESTINATION: category_of(record.stream),
            names.STREAM: record.stream,
        }
        record.headers = self._spans.sent(record.headers, started, attributes)
        return record

    def publication(
        self,
        event: Event,
        stream: str,
        event_id: str | None,
        headers: Mapping[str, Any] | None,
        *,
        as_import: bool = False,
    ) -> Receipt:
        started = nanoseconds()
        receipt = super().publication(event, stream, event_id, headers, as_import=as_import)
        append = receipt.step.append
        assert append is not None
        [record] = append.events
        attributes: dict[str, AttributeValue] = {
            names.MESSAGE_TYPE: record.type,
            names.DESTINATION: category_of(stream),
            names.STREAM: stream,
        }
        if event_id is not None:
            attributes[names.MESSAGE_ID] = event_id
        record.headers = self._spans.sent(record.headers, started, attributes)
        return receipt


class TracedAggregateActor(AggregateActor):
    """Has a span for each traced command that it carries out, refuses or fails at."""

    __slots__ = ("_span", "_spans", "_started")

    def __init__(self, spans: Spans, share: AggregateShare, stream: str) -> None:
        super().__init__(share, stream)
        self._spans = spans
        self._started = 0
        self._span: Span | None = None

    def on_receive(self, message: CommandMessage) -> None:
        self._started = nanoseconds()
        super().on_receive(message)

    def hand(self, message: CommandMessage, decision: CommandDecision, generation: int) -> None:
        span = self._span_of(message, decision)
        if span is not None:
            _pass_on_made(decision, span)
        self._span = span
        super().hand(message, decision, generation)
        if span is not None and self._span is None:
            span.end()

    def settle(self, message: CommandMessage, decision: CommandDecision, outcome: Outcome) -> None:
        super().settle(message, decision, outcome)
        span = self._span
        if span is not None and outcome is COMMITTED:
            # What was decided is kept.
            self._span = None
            self._spans.step_in(self.journal.number, span)

    def _span_of(self, message: CommandMessage, decision: CommandDecision) -> Span | None:
        record, error = message.record, decision.refusal
        origin = origin_of(record.headers)
        if origin is None:
            return None
        attributes = {
            **_message(record.command_id, record.type, record.correlation_id),
            names.DESTINATION: category_of(self.stream),
            names.STREAM: self.stream,
            names.OUTCOME: decision.outcome or ("commands" if error is None else "failed"),
        }
        waited = self._spans.has_waited(record.time)
        span = self._spans.handled("carry_out", origin, self._started, attributes, waited=waited)
        # To refuse is to answer.
        if error is not None and decision.outcome != "rejected":
            failed(span, error)
        return span


class TracedInstanceActor(InstanceActor):
    """Has a span for each traced step."""

    __slots__ = ("_span", "_spans", "_started")

    def __init__(self, spans: Spans, share: InstanceShare, instance: str) -> None:
        super().__init__(share, instance)
        self._spans = spans
        self._started = 0
        self._span: Span | None = None

    def on_receive(self, message: InstanceMessage) -> None:
        self._started = nanoseconds()
        super().on_receive(message)

    def hand(self, message: InstanceMessage, decision: Decision, generation: int) -> None:
        span = self._span_of(message, decision)
        if span is not None:
            _pass_on_issued(decision, span)
        self._span = span
        super().hand(message, decision, generation)
        if span is not None and self._span is None:
            span.end()

    def settle(self, message: InstanceMessage, decision: Decision, outcome: Outcome) -> None:
        super().settle(message, decision, outcome)
        span = self._span
        if span is not None and outcome is COMMITTED:
            self._span = None
            if decision.step is not EMPTY:
                self._spans.step_in(self.journal.number, span)

    def _span_of(self, message: InstanceMessage, decision: Decision) -> Span | None:
        cause, error, transition = decision.cause, decision.error, decision.step.transition
        if cause is None:
            return None
        origin = origin_of(cause.headers if cause.event is None else cause.event.headers)
        if origin is None:
            return None
        attributes: dict[str, AttributeValue] = {
            **_message(cause.id, cause.type, cause.correlation_id),
            names.DESTINATION: self._share.plan.name,
            names.INSTANCE: self.instance,
            names.OUTCOME: decision.outcome,
            names.ATTEMPT: decision.attempt,
        }
        if cause.position:
            attributes[names.POSITION] = cause.position
        if transition is not None:
            attributes |= {names.HANDLER: transition.handler, names.VERSION: transition.version}
        elif error is not None:
            attributes[names.HANDLER] = self._handler_of(cause)
        stimulus = message.stimulus
        waited = (
            isinstance(stimulus, TimeoutDue | RetryDue)
            or (isinstance(stimulus, EventDelivered) and stimulus.was_held)
            or self._spans.has_waited(cause.time if cause.event is None else cause.event.time)
        )
        span = self._spans.handled("handle", origin, self._started, attributes, waited=waited)
        if error is not None:
            failed(span, error)
        return span


class TracedEffectExecutor(EffectExecutor):
    """Has a span for each attempt at a traced after-effect, which is current while it runs."""

    def __init__(self, spans: Spans, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._spans = spans

    def _run(self, job: EffectJob) -> bool:
        with self._traced(job):
            return super()._run(job)

    async def _run_in_loop(self, job: EffectJob) -> bool:
        with self._traced(job):
            return await super()._run_in_loop(job)

    @contextmanager
    def _traced(self, job: EffectJob) -> Iterator[None]:
        record = job.record
        origin = origin_of(record.headers)
        if origin is None:
            yield
            return
        attributes = {
            **_message(record.event_id, record.type, record.correlation_id),
            names.DESTINATION: job.source.definition.name,
            names.INSTANCE: job.instance,
            names.POSITION: record.position,
            names.HANDLER: job.source.method_of(job),
            names.ATTEMPT: job.attempt,
        }
        waited = job.attempt > 1 or job.owed is not None or self._spans.has_waited(record.time)
        span = self._spans.handled("after", origin, nanoseconds(), attributes, waited=waited)
        # The method finds it in its context's headers, and the commands that it issues have it.
        job.record = replace(record, headers=headers_with(record.headers, span))
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            job.record = record
            span.end()


class TracedJournal(Journal):
    """Has a span for each commit that holds traced steps."""

    def __init__(self, spans: Spans, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._spans = spans

    def flush(self) -> bool:
        found = super().flush()
        self._spans.end_closed()
        return found

    def _commit(self, done: Mapping[str, int]) -> None:
        span = self._spans.commit(self.number, self._store.ahead.steps)
        if span is None:
            super()._commit(done)
            return
        try:
            super()._commit(done)
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            self._spans.close(span)


def _message(message_id: str, kind: str, correlation_id: str) -> dict[str, AttributeValue]:
    return {
        names.MESSAGE_ID: message_id,
        names.MESSAGE_TYPE: kind,
        names.CONVERSATION_ID: correlation_id,
    }


def _pass_on_made(decision: CommandDecision, span: Span) -> None:
    """Have what an aggregate made go on in the trace of a span."""
    step = decision.step
    events = [] if step.append is None else step.append.events
    if events:
        headers = headers_with(events[0].headers, span)
        for event in events:
            event.headers = headers
    extras = step.extras
    if extras is not None and extras.refusal is not None:
        # The command is in the queue as well, or its row is.
        command = extras.refusal.command
        told = replace(command, headers=headers_with(command.headers, span))
        extras.refusal = RefusalRecord(told, extras.refusal.reason)


def _pass_on_issued(decision: Decision, span: Span) -> None:
    """Have what an instance issued and set go on in the trace of a span.

    Not the context of its handler, which is to be the same when state is rebuilt.
    """
    step = decision.step
    if step.transition is None:
        return
    timers = [] if step.extras is None else step.extras.timers
    passed: list[CommandRecord | TimerRecord] = list(step.enqueue or ())
    passed += [timer.command for timer in timers if timer.command is not None]
    passed += [timer for timer in timers if timer.kind == "timeout"]
    if passed:
        # They all have those of the cause.
        headers = headers_with(passed[0].headers, span)
        for one in passed:
            one.headers = headers
