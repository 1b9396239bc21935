"""One trace goes through commands, steps, effects and commits, and through what a service calls."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler

from procession import (
    Aggregate,
    AsyncRuntime,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    StoreError,
    after,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.store import Conflict, LmdbStore, Step
from procession.telemetry import conventions as names
from procession.testing import VirtualClock

shop = Domain("traced")
ALICE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = ALICE[:-1] + "0"
SECRET = "4111-1111"  # what no span may say


class Place(Command):
    order: str


class Reserve(Command):
    order: str


class Bill(Command):
    order: str


class Placed(Event):
    order: str


class Reserved(Event):
    order: str


class Paid(Event):
    order: str


class Called(Event):
    order: str


@shop.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(command.order)


@shop.register
class Stock(Aggregate, identity="order"):
    reserved: bool = False

    @handle(Reserve)
    def reserve(self, command: Reserve) -> Reserved:
        if command.order == "refused":
            raise Rejected("none left")
        if command.order == "broken":
            raise RuntimeError(SECRET)
        return Reserved(command.order)

    @apply(Reserved)
    def _reserved(self, event: Reserved) -> None:
        self.reserved = True


@shop.register
class Invoice(Aggregate, identity="order"):
    @handle(Bill)
    def bill(self, command: Bill) -> None: ...


def carried() -> str | None:
    """What an instrumented client puts into the headers of a request."""
    sent: dict[str, str] = {}
    propagate.inject(sent)
    return sent.get("traceparent")


class Outside:
    """Another service: what it was called with, and how often it fails first."""

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, str | None]] = []
        self.failures = 0

    def call(self, traceparent: str | None) -> None:
        self.calls.append((carried(), traceparent))
        if self.failures:
            self.failures -= 1
            raise RuntimeError(SECRET)


outside = Outside()
called_in_loop: list[tuple[str | None, str | None]] = []
failures = {"handler": 0}


@shop.register
class Fulfilment(
    ProcessManager, correlate="order", retry=Retry(attempts=3, first=timedelta(minutes=1))
):
    order: str = ""
    seen: list[str] = []

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        if failures["handler"]:
            failures["handler"] -= 1
            raise RuntimeError(SECRET)
        self.seen.append(str(self.context.headers.get("traceparent")))
        self.issue(Reserve(event.order))
        self.issue(Bill(event.order), after=timedelta(hours=2))
        self.set_timeout("payment", timedelta(hours=1))

    @handle(Reserved)
    def on_reserved(self, event: Reserved) -> None: ...

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None: ...

    @timeout("payment")
    def on_payment(self) -> None: ...

    @rejected(Reserve)
    def on_refused(self, command: Reserve, reason: str) -> None: ...

    @after(Reserved)
    def call(self, event: Reserved) -> None:
        outside.call(self.context.headers.get("traceparent"))

    @after(Placed)
    async def call_in_loop(self, event: Placed) -> None:
        before = trace.get_current_span()
        await asyncio.sleep(0)
        assert trace.get_current_span() is before
        called_in_loop.append((carried(), self.context.headers.get("traceparent")))

    @after(Paid)
    def close(self, event: Paid) -> None:
        self.issue(Bill(event.order))


port = Domain("port")


class Docked(Event):
    ship: str


class Unloaded(Event):
    ship: str


@port.register
class Stay(
    ProcessManager,
    correlate="ship",
    early="hold",
    retry=Retry(attempts=2, first=timedelta(milliseconds=10)),
):
    ship: str = ""

    @handle(Docked, start=True)
    def on_docked(self, event: Docked) -> None: ...

    @handle(Unloaded)
    def on_unloaded(self, event: Unloaded) -> None:
        if failures["handler"]:
            failures["handler"] -= 1
            raise RuntimeError(SECRET)

    @after(Unloaded)
    def tell(self, event: Unloaded) -> None:
        outside.call(None)


class Spans:
    """What was exported."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("service")

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def of(self, name: str) -> list[ReadableSpan]:
        return [one for one in self.all if one.name == name]

    def one(self, name: str, **attributes: Any) -> ReadableSpan:
        found = [
            one
            for one in self.of(name)
            if all(said(one)[getattr(names, key)] == value for key, value in attributes.items())
        ]
        assert len(found) == 1, [(one.name, dict(said(one))) for one in self.all]
        return found[0]

    def clear(self) -> None:
        self._exporter.clear()


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def context_of(span: ReadableSpan) -> trace.SpanContext:
    context: trace.SpanContext | None = span.context
    assert context is not None
    return context


def trace_of(span: ReadableSpan) -> int:
    return context_of(span).trace_id


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def link_of(span: ReadableSpan) -> int:
    [link] = span.links
    return link.context.span_id


def id_of(span: ReadableSpan) -> int:
    return context_of(span).span_id


def traceparent_of(span: ReadableSpan) -> str:
    of = context_of(span)
    return "-".join(
        [
            "00",
            trace.format_trace_id(of.trace_id),
            trace.format_span_id(of.span_id),
            f"{of.trace_flags:02x}",
        ]
    )


def traceparents(runtime: Runtime) -> list[str | None]:
    return [one.headers.get("traceparent") for one in runtime.events()]


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    outside.__init__()  # type: ignore[misc]
    called_in_loop.clear()
    failures["handler"] = 0
    yield
    failures["handler"] = 0


@pytest.fixture
def runtime(spans: Spans, clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=clock, tracer_provider=spans.provider) as runtime:
        yield runtime


@pytest.fixture
def harbour(spans: Spans, clock: VirtualClock) -> Iterator[Runtime]:
    """A runtime in which no test moves the clock by as much as a second."""
    with Runtime.ephemeral(port, clock=clock, tracer_provider=spans.provider) as runtime:
        yield runtime


def test_one_trace_goes_from_the_caller_through_every_step_to_the_effect(
    runtime: Runtime, spans: Spans
) -> None:
    with spans.tracer.start_as_current_span("request") as request:
        runtime.ask(Place("o1"))
    runtime.settle(5)
    sent, placed = spans.one("send traced::order"), spans.one("carry_out traced::order")
    began = spans.one("handle traced.Fulfilment", HANDLER="on_placed")
    reserved = spans.one("carry_out traced::stock")
    went_on = spans.one("handle traced.Fulfilment", HANDLER="on_reserved")
    effect = spans.one("after traced.Fulfilment", HANDLER="call")
    assert parent_of(sent) == request.get_span_context().span_id
    chain = [sent, placed, began, reserved]
    assert [parent_of(one) for one in chain[1:]] == [id_of(one) for one in chain[:-1]]
    assert parent_of(went_on) == parent_of(effect) == id_of(reserved)
    of_all = {trace_of(one) for one in (*chain, went_on, effect)}
    assert of_all == {request.get_span_context().trace_id}


def test_what_an_effect_calls_goes_on_in_its_span_which_its_headers_name(
    runtime: Runtime, spans: Spans
) -> None:
    runtime.ask(Place("o1"))
    runtime.settle(5)
    effect = spans.one("after traced.Fulfilment", HANDLER="call")
    assert outside.calls == [(traceparent_of(effect), traceparent_of(effect))]


def test_an_effect_that_is_a_coroutine_has_its_span_as_well(runtime: Runtime, spans: Spans) -> None:
    runtime.ask(Place("o1"))
    runtime.settle(5)
    effect = spans.one("after traced.Fulfilment", HANDLER="call_in_loop")
    assert called_in_loop == [(traceparent_of(effect), traceparent_of(effect))]


def test_a_command_of_a_coroutine_is_in_the_trace_that_is_current_in_it(
    runtime: Runtime, spans: Spans
) -> None:
    async def request(order: str) -> int:
        with spans.tracer.start_as_current_span(order) as span:
            await AsyncRuntime.over(runtime).ask(Place(order))
            return span.get_span_context().span_id

    async def requests() -> list[int]:
        return await asyncio.gather(*(request(f"o{number}") for number in range(3)))

    parents = asyncio.run(requests())
    sent = {said(one)[names.STREAM]: parent_of(one) for one in spans.of("send traced::order")}
    assert sent == {f"traced::order-o{number}": parents[number] for number in range(3)}


def test_a_command_that_an_effect_issues_is_a_child_of_the_effect(
    runtime: Runtime, spans: Spans
) -> None:
    runtime.ask(Place("o1"))
    runtime.publish(Paid("o1"), stream="bank-b1")
    runtime.settle(5)
    effect = spans.one("after traced.Fulfilment", HANDLER="close")
    assert parent_of(spans.one("carry_out traced::invoice")) == id_of(effect)


def test_a_step_says_what_it_was_about_and_what_came_of_it(runtime: Runtime, spans: Spans) -> None:
    runtime.ask(Place("o1"), command_id="c1")
    runtime.settle(5)
    event = next(runtime.events("traced::order-o1"))
    began = spans.one("handle traced.Fulfilment", HANDLER="on_placed")
    assert said(began) == {
        "messaging.system": "procession",
        "messaging.operation.type": "process",
        "messaging.operation.name": "handle",
        "messaging.destination.name": "traced.Fulfilment",
        "messaging.message.id": event.event_id,
        "messaging.message.conversation_id": "c1",
        "procession.message.type": "traced.Placed.v1",
        "procession.instance": "o1",
        "procession.handler": "on_placed",
        "procession.outcome": "transitions",
        "procession.attempt": 1,
        "procession.position": 1,
        "procession.version": 1,
        "procession.waited": False,
    }
    assert began.kind is trace.SpanKind.CONSUMER
    assert said(spans.one("send traced::order"))["messaging.message.id"] == "c1"


def test_a_commit_is_in_the_trace_of_its_steps_and_linked_to_each(
    runtime: Runtime, spans: Spans
) -> None:
    runtime.tell(Place("o1"))
    runtime.settle(5)
    handled = {id_of(one) for one in spans.all if one.name.startswith(("handle", "carry_out"))}
    linked = {link.context.span_id for one in spans.of("commit") for link in one.links}
    assert linked == handled
    assert {trace_of(one) for one in spans.all} == {trace_of(spans.one("send traced::order"))}
    assert all(said(one)[names.COMMIT_STEPS] for one in spans.of("commit"))


def test_a_commit_of_several_traces_has_a_trace_of_its_own_with_links(
    runtime: Runtime, spans: Spans
) -> None:
    runtime.tell_many([Place(f"o{number}") for number in range(3)])
    runtime.settle(5)
    shared = [
        one for one in spans.of("commit") if len({link.context.trace_id for link in one.links}) > 1
    ]
    assert shared
    assert all(one.parent is None for one in shared)


def test_a_commit_that_the_disk_refuses_is_a_span_that_failed(
    runtime: Runtime, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = LmdbStore.close_commit
    left = ["refused"]

    def refusing(store: LmdbStore, checkpoints: Any = None) -> None:
        if left:
            left.pop()
            store.drop_commit()
            raise StoreError(SECRET)
        close(store, checkpoints)

    monkeypatch.setattr(LmdbStore, "close_commit", refusing)
    with pytest.raises(StoreError):
        runtime.ask(Place("o1"))
    runtime.ask(Place("o1"))
    runtime.settle(5)
    errors = [said(one).get(names.ERROR_TYPE) for one in spans.of("commit")]
    assert errors[0] == "procession.store.errors.StoreError"
    assert set(errors[1:]) == {None}


def test_a_traceparent_that_the_caller_gives_is_the_parent(runtime: Runtime, spans: Spans) -> None:
    with spans.tracer.start_as_current_span("something else"):
        runtime.publish(
            Paid("o1"),
            stream="bank-b1",
            headers={"traceparent": ALICE, "tracestate": "vendor=1", "actor": "alice"},
        )
    runtime.settle(5)
    sent = spans.one("send bank")
    assert (trace.format_trace_id(trace_of(sent)), parent_of(sent)) == (
        ALICE[3:35],
        int(ALICE[36:52], 16),
    )
    [stored] = runtime.events()
    assert stored.headers == {
        "traceparent": traceparent_of(sent),
        "tracestate": "vendor=1",
        "actor": "alice",
    }


def test_a_traceparent_that_is_none_is_dropped_and_a_trace_begins(
    runtime: Runtime, spans: Spans
) -> None:
    runtime.publish(Paid("o1"), stream="bank-b1", headers={"traceparent": "none of it"})
    assert spans.one("send bank").parent is None
    [stored] = traceparents(runtime)
    assert stored is not None
    assert stored.startswith("00-")


@pytest.mark.parametrize("given", [None, {"traceparent": UNSAMPLED, "actor": "alice"}])
def test_what_is_not_sampled_is_stored_without_a_traceparent_and_makes_no_span(
    clock: VirtualClock, given: dict[str, str] | None
) -> None:
    spans = Spans(ParentBased(ALWAYS_OFF))
    with Runtime.ephemeral(shop, clock=clock, tracer_provider=spans.provider) as runtime:
        runtime.ask(Place("o1"), headers=given)
        runtime.settle(5)
        assert traceparents(runtime) == [None, None]
        assert [one.headers.get("actor") for one in runtime.events()] == [given and "alice"] * 2
        clock.advance(timedelta(hours=3))
        runtime.settle(5)
    assert spans.all == ()
    assert outside.calls == [(None, None)]


def test_a_caller_whose_trace_is_sampled_is_followed_although_no_trace_begins_here(
    clock: VirtualClock,
) -> None:
    spans = Spans(ParentBased(ALWAYS_OFF))
    with Runtime.ephemeral(shop, clock=clock, tracer_provider=spans.provider) as runtime:
        runtime.ask(Place("o1"), headers={"traceparent": ALICE})
        runtime.ask(Place("o2"))
        runtime.settle(5)
    assert {trace.format_trace_id(trace_of(one)) for one in spans.all} == {ALICE[3:35]}
    assert len(spans.of("carry_out traced::order")) == 1


def test_a_timeout_and_a_command_that_was_held_back_are_linked_and_not_children(
    runtime: Runtime, spans: Spans, clock: VirtualClock
) -> None:
    runtime.ask(Place("o1"))
    runtime.settle(5)
    began = spans.one("handle traced.Fulfilment", HANDLER="on_placed")
    clock.advance(timedelta(hours=3))
    runtime.settle(5)
    late = [
        spans.one("handle traced.Fulfilment", HANDLER="on_payment"),
        spans.one("carry_out traced::invoice"),
    ]
    assert [(one.parent, link_of(one)) for one in late] == [(None, id_of(began))] * 2
    assert len({trace_of(began), *map(trace_of, late)}) == 3
    assert [said(one)[names.WAITED] for one in late] == [True, True]


def test_an_attempt_that_failed_says_the_error_and_never_its_text_and_the_next_is_linked(
    runtime: Runtime, spans: Spans, clock: VirtualClock
) -> None:
    failures["handler"] = 1
    runtime.ask(Place("o1"))
    runtime.settle(5)
    first = spans.one("handle traced.Fulfilment")
    assert first.status.status_code is trace.StatusCode.ERROR
    assert said(first)[names.OUTCOME] == "retries"
    assert said(first)[names.ERROR_TYPE] == "RuntimeError"
    assert said(first)[names.ERROR_PLACE].endswith("in on_placed")
    assert said(first)[names.HANDLER] == "on_placed"
    clock.advance(timedelta(minutes=2))
    runtime.settle(5)
    second = spans.one("handle traced.Fulfilment", ATTEMPT=2)
    assert second.status.status_code is trace.StatusCode.UNSET
    assert (second.parent, link_of(second)) == (None, id_of(spans.one("carry_out traced::order")))
    assert SECRET not in "".join(one.to_json() for one in spans.all)


def test_what_is_parked_says_so_and_when_it_is_retried_it_is_linked(
    runtime: Runtime, spans: Spans, clock: VirtualClock
) -> None:
    failures["handler"] = 3
    runtime.ask(Place("o1"))
    for _ in range(3):
        runtime.settle(5)
        clock.advance(timedelta(minutes=10))
    runtime.settle(5)
    assert [said(one)[names.OUTCOME] for one in spans.of("handle traced.Fulfilment")] == [
        "retries",
        "retries",
        "parked",
    ]
    spans.clear()
    [parked] = runtime.parked()
    runtime.retry(parked.id)
    runtime.settle(5)
    again = spans.one("handle traced.Fulfilment", HANDLER="on_placed")
    assert again.parent is None
    assert link_of(again)


def test_an_event_that_came_before_the_start_is_linked_when_it_is_taken_up_however_soon(
    harbour: Runtime, spans: Spans
) -> None:
    harbour.publish(Unloaded("a"), stream="sea-a")
    harbour.settle(5)
    sent = spans.one("send sea")
    harbour.publish(Docked("a"), stream="sea-a")
    harbour.settle(5)
    taken_up = spans.one("handle port.Stay", OUTCOME="transitions", POSITION=1)
    assert (taken_up.parent, link_of(taken_up)) == (None, id_of(sent))
    # The effect waited with its event.
    effect = spans.one("after port.Stay")
    assert (effect.parent, link_of(effect)) == (None, id_of(sent))


def test_another_attempt_at_a_step_or_an_effect_is_linked_however_soon(
    harbour: Runtime, spans: Spans, clock: VirtualClock
) -> None:
    harbour.publish(Docked("a"), stream="sea-a")
    outside.failures = 1
    harbour.publish(Unloaded("a"), stream="sea-a")
    harbour.settle(5)
    clock.advance(timedelta(milliseconds=100))
    harbour.settle(5)
    first, second = spans.of("after port.Stay")
    assert parent_of(first) is not None
    assert (second.parent, link_of(second)) == (None, parent_of(first))
    spans.clear()
    failures["handler"] = 1
    harbour.publish(Unloaded("a"), stream="sea-a")
    harbour.settle(5)
    clock.advance(timedelta(milliseconds=100))
    harbour.settle(5)
    first, second = spans.of("handle port.Stay")
    assert parent_of(first) is not None
    assert (second.parent, link_of(second)) == (None, parent_of(first))


def test_a_step_that_is_decided_again_is_one_span(
    runtime: Runtime, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = runtime._store.hand_over
    left = ["traced::order-o1", ""]

    def refusing(step: Step) -> Any:
        stream = "" if step.append is None else step.append.stream
        if stream in left and (stream or step.transition is not None):
            left.remove(stream)
            return Conflict("not at that version")
        return hand_over(step)

    monkeypatch.setattr(runtime._store, "hand_over", refusing)
    runtime.ask(Place("o1"))
    runtime.settle(5)
    assert left == []
    began = spans.one("handle traced.Fulfilment", HANDLER="on_placed")
    assert parent_of(began) == id_of(spans.one("carry_out traced::order"))


def test_a_commit_is_linked_to_none_of_the_steps_of_one_that_was_dropped(
    runtime: Runtime, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = runtime._store.hand_over
    left = ["broken"]

    def breaking(step: Step) -> Any:
        if left and step.transition is not None:
            left.pop()
            raise RuntimeError(SECRET)
        return hand_over(step)

    monkeypatch.setattr(runtime._store, "hand_over", breaking)
    with pytest.raises(StoreError):
        runtime.ask(Place("o1"))
    dropped = id_of(spans.one("carry_out traced::order"))
    runtime.ask(Place("o1"))
    runtime.settle(5)
    linked = {link.context.span_id for one in spans.of("commit") for link in one.links}
    assert linked
    assert dropped not in linked


def test_a_refusal_is_no_error_and_its_handler_is_a_child_of_it(
    runtime: Runtime, spans: Spans
) -> None:
    runtime.ask(Place("refused"))
    runtime.settle(5)
    refused = spans.one("carry_out traced::stock", OUTCOME="rejected")
    assert refused.status.status_code is trace.StatusCode.UNSET
    told = spans.one("handle traced.Fulfilment", HANDLER="on_refused")
    assert parent_of(told) == id_of(refused)


def test_a_command_that_its_aggregate_fails_at_is_a_span_that_failed(
    runtime: Runtime, spans: Spans
) -> None:
    runtime.ask(Place("broken"))
    runtime.settle(5)
    span = spans.one("carry_out traced::stock", OUTCOME="parked")
    assert said(span)[names.ERROR_TYPE] == "RuntimeError"
    assert SECRET not in span.to_json()


def test_each_attempt_at_an_effect_is_a_span_and_the_later_ones_are_linked(
    runtime: Runtime, spans: Spans, clock: VirtualClock
) -> None:
    outside.failures = 1
    runtime.ask(Place("o1"))
    runtime.settle(5)
    clock.advance(timedelta(minutes=2))
    runtime.settle(5)
    found = spans.of("after traced.Fulfilment")
    first, second = (one for one in found if said(one)[names.HANDLER] == "call")
    reserved = id_of(spans.one("carry_out traced::stock"))
    assert (first.status.status_code, parent_of(first)) == (trace.StatusCode.ERROR, reserved)
    assert (second.status.status_code, second.parent) == (trace.StatusCode.UNSET, None)
    assert link_of(second) == reserved
    assert [said(one)[names.ATTEMPT] for one in (first, second)] == [1, 2]
    assert SECRET not in first.to_json()


def test_what_an_earlier_run_stored_is_linked(
    tmp_path: Path, clock: VirtualClock, spans: Spans
) -> None:
    # Without the process manager, the event is left for the next run.
    before = Domain("traced")
    before.register(Order)
    options: dict[str, Any] = {"clock": clock, "tracer_provider": spans.provider}
    with Runtime(tmp_path, shop, **options):
        pass
    with Runtime(tmp_path, before, retired=["traced.Fulfilment"], **options) as runtime:
        runtime.ask(Place("o1"))
    placed = spans.one("carry_out traced::order")
    clock.advance(timedelta(milliseconds=10))
    with Runtime(tmp_path, shop, **options) as runtime:
        runtime.settle(5)
    began = spans.one("handle traced.Fulfilment", HANDLER="on_placed")
    assert (began.parent, link_of(began)) == (None, id_of(placed))


def test_a_timeout_that_is_due_after_reopening_is_linked_to_the_step_that_set_it(
    tmp_path: Path, clock: VirtualClock, spans: Spans
) -> None:
    options: dict[str, Any] = {"clock": clock, "tracer_provider": spans.provider}
    with Runtime(tmp_path, shop, **options) as runtime:
        runtime.ask(Place("o1"))
        runtime.settle(5)
    began = spans.one("handle traced.Fulfilment", HANDLER="on_placed")
    with Runtime(tmp_path, shop, **options) as runtime:
        clock.advance(timedelta(minutes=90))
        runtime.settle(5)
    late = spans.one("handle traced.Fulfilment", HANDLER="on_payment")
    assert (late.parent, link_of(late)) == (None, id_of(began))


def test_what_is_stored_of_a_state_does_not_depend_on_whether_it_is_rebuilt(
    runtime: Runtime,
) -> None:
    runtime.ask(Place("o1"))
    runtime.settle(5)
    before = runtime.get(Fulfilment, "o1")
    assert before is not None
    [seen] = before.state["seen"]
    assert seen == traceparents(runtime)[0]
    runtime.refresh(Fulfilment, "o1")
    after_all = runtime.get(Fulfilment, "o1")
    assert after_all is not None
    assert after_all.state == before.state


def test_without_a_provider_nothing_is_stored_and_nothing_of_it_is_imported(
    tmp_path: Path,
) -> None:
    program = """
import sys
from procession import Runtime
with Runtime.ephemeral() as runtime:
    runtime.settle(5)
print([one for one in sys.modules if "opentelemetry" in one or "procession.telemetry" in one])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert ran.stdout == "[]\n"
    with Runtime.ephemeral(shop) as runtime:
        runtime.ask(Place("o1"))
        runtime.settle(5)
        assert [one.headers for one in runtime.events()] == [{}, {}]


@pytest.mark.parametrize("wrong", [lambda spans: spans.tracer, lambda _: "otel"])
def test_what_is_no_provider_is_refused_before_the_store_is_opened(
    tmp_path: Path, spans: Spans, wrong: Callable[[Spans], Any]
) -> None:
    with pytest.raises(TypeError, match="is no TracerProvider; give the one of your service"):
        Runtime(tmp_path / "store", shop, tracer_provider=wrong(spans))
    assert not (tmp_path / "store").exists()
