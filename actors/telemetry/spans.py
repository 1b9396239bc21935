"""Spans of what a runtime does, and how a trace goes along in headers.

A trace goes where the headers go: a message in whose headers there is a `traceparent` is traced,
and its span's own goes into the headers of all that comes of it. So it is decided once, where
something comes from outside, whether a chain is traced; what is not sampled has no `traceparent`,
is not stored with one, and makes no spans.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..clock import nanoseconds, stopwatch
from ..errors import place_of_error, type_of_error
from ..messages.codec import dump_headers, load_headers
from . import conventions as names

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, SpanContext, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from ..clock import Clock

__all__ = ["MOST_LINKS", "WAITS_FROM", "Spans", "failed", "headers_with", "origin_of"]

WAITS_FROM = 1_000_000
"""Microseconds after which what was stored counts as having waited."""

MOST_LINKS = 128
"""Steps that the span of a commit is linked to, at most; OpenTelemetry keeps no more by itself."""

_propagator = TraceContextTextMapPropagator()
_FIELDS = tuple(_propagator.fields)
_MARK = b"traceparent"


def origin_of(headers: bytes | None) -> SpanContext | None:
    """The span that headers name; None if they name none."""
    # Most have none, which is seen without unpacking them.
    if headers is None or _MARK not in headers:
        return None
    said: dict[str, Any] = load_headers(headers)
    carrier = {name: said[name] for name in _FIELDS if isinstance(said.get(name), str)}
    origin = trace.get_current_span(_propagator.extract(carrier, Context())).get_span_context()
    return origin if origin.is_valid else None


def headers_with(headers: bytes | None, span: Span) -> bytes | None:
    """Headers that name a span in the place of another one; none, if it is not sampled."""
    said = {name: value for name, value in load_headers(headers).items() if name not in _FIELDS}
    if span.get_span_context().trace_flags.sampled:
        _propagator.inject(said, trace.set_span_in_context(span, Context()))
    return dump_headers(said)


def failed(span: Span, error: BaseException) -> None:
    """Say of a span that it failed, and of the error its type and place.

    The error's text is left out, which may quote a payload.
    """
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute(names.ERROR_TYPE, type_of_error(error))
    span.set_attribute(names.ERROR_PLACE, place_of_error(error))


class Spans:
    """Makes the spans of one runtime.

    Args:
        provider: of the service
        clock: of the runtime, by which it is told what has waited

    Attributes:
        now: the time in microseconds

    Raises:
        TypeError: it is no provider of tracers

    """

    def __init__(self, provider: TracerProvider, clock: Clock) -> None:
        if not isinstance(provider, trace.TracerProvider):
            raise TypeError(
                f"tracer_provider={provider!r} is no TracerProvider; give the one of your service, "
                f"as opentelemetry.trace.get_tracer_provider() returns it"
            )
        self._tracer = provider.get_tracer(names.SCOPE, schema_url=names.SCHEMA_URL)
        self.now: Callable[[], int] = stopwatch(clock)
        # What was stored before comes from an earlier run.
        self._opened = self.now()
        # The spans of steps that were handed over, and in which commit each is.
        self._handed: deque[tuple[int, SpanContext]] = deque(maxlen=MOST_LINKS)
        self._closed: deque[tuple[Span, int]] = deque()

    def has_waited(self, stored: int) -> bool:
        """Whether what was stored at a time, in microseconds, has waited until now."""
        return stored < self._opened or self.now() - stored > WAITS_FROM

    def sent(
        self, headers: bytes | None, started: int, attributes: dict[str, AttributeValue]
    ) -> bytes | None:
        """What was sent from outside, as a span of its own.

        Its parent is the span that the headers name, or else the one in which the caller is.

        Args:
            headers: that it came with
            started: when it came, in nanoseconds
            attributes: of the span

        Returns:
            the headers that it goes on with

        """
        origin = origin_of(headers)
        span = self._tracer.start_span(
            f"send {attributes[names.DESTINATION]!s}",
            None if origin is None else _inside(origin),
            SpanKind.PRODUCER,
            _said("send", "send", attributes),
            start_time=started,
        )
        span.end()
        return headers_with(headers, span)

    def handled(
        self,
        operation: str,
        origin: SpanContext,
        started: int,
        attributes: dict[str, AttributeValue],
        *,
        waited: bool,
    ) -> Span:
        """A span of what comes of a message; its caller ends it.

        Args:
            operation: what was done, in a word
            origin: the span that the message comes from
            started: when it began, in nanoseconds
            attributes: of the span
            waited: whether the message did, so that a trace of its own begins, with a link

        """
        said = _said("process", operation, attributes)
        said[names.WAITED] = waited
        return self._tracer.start_span(
            f"{operation} {attributes[names.DESTINATION]!s}",
            Context() if waited else _inside(origin),
            SpanKind.CONSUMER,
            said,
            [Link(origin)] if waited else (),
            started,
        )

    # Commits, all with the journal's lock held but the last

    def step_in(self, commit: int, span: Span) -> None:
        """Note that the step of a span is in a commit."""
        if span.get_span_context().trace_flags.sampled:
            self._handed.append((commit, span.get_span_context()))

    def commit(self, number: int, steps: int) -> Span | None:
        """A span of a commit, linked to those of its steps; None if none of these is traced.

        It is a child of the first one if all are of one trace, and else begins a trace of its own.
        """
        origins = [origin for commit, origin in self._handed if commit == number]
        self._handed.clear()
        if not origins:
            return None
        is_of_one = len({one.trace_id for one in origins}) == 1
        return self._tracer.start_span(
            "commit",
            _inside(origins[0]) if is_of_one else Context(),
            SpanKind.INTERNAL,
            {names.SYSTEM: names.SYSTEM_NAME, names.COMMIT_STEPS: steps},
            [Link(one) for one in origins],
        )

    def close(self, span: Span) -> None:
        """The commit of a span is over. An exporter is not to be waited for with the lock held."""
        self._closed.append((span, nanoseconds()))

    def end_closed(self) -> None:
        """End the spans of commits that are over."""
        while self._closed:
            span, ended = self._closed.popleft()
            span.end(ended)


def _inside(origin: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(origin), Context())


def _said(
    kind: str, operation: str, attributes: dict[str, AttributeValue]
) -> dict[str, AttributeValue]:
    """The attributes that all spans have which are about a message, and those of this one."""
    return {
        names.SYSTEM: names.SYSTEM_NAME,
        names.OPERATION_TYPE: kind,
        names.OPERATION_NAME: operation,
        **attributes,
    }
