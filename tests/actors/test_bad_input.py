"""Whatever is handed over is stored and reads back equal, or is refused before anything is stored.

Nothing of it ends the runtime: after each, an ordinary order is carried out.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from procession import ProcessionError, Runtime, TimedOut
from tests.actors.bad_input import (
    Basket,
    Moved,
    Order,
    Place,
    Placed,
    Stray,
    Unheard,
    fixed,
    odd,
    ordinary,
    refusal,
    running,
    stored,
    told,
)

LONGEST_ERROR = 1_500


def values() -> list[Any]:
    # Made anew, so that they are gone when other tests look at all that there is.
    return [
        *fixed(),
        Order,
        Basket,
        Placed,
        Placed("o1"),
        Place("o1"),
        Unheard("o1"),
        Stray("o1"),
    ]


# What is done with them

CALLS: dict[str, Callable[[Runtime, Any], Any]] = {
    "publish": lambda runtime, x: runtime.publish(x, stream="feed::x-1"),
    "publish: field": lambda runtime, x: runtime.publish(Placed("o9", x), stream="feed::x-1"),
    "publish: id field": lambda runtime, x: runtime.publish(Placed(x), stream="feed::x-1"),
    "publish: time": lambda runtime, x: runtime.publish(Moved("o9", x), stream="feed::x-1"),
    "publish: stream": lambda runtime, x: runtime.publish(Placed("o9"), stream=x),
    "publish: event_id": lambda runtime, x: runtime.publish(
        Placed("o9"), stream="feed::x-1", event_id=x
    ),
    "publish: headers": lambda runtime, x: runtime.publish(
        Placed("o9"), stream="feed::x-1", headers=x
    ),
    "publish: header": lambda runtime, x: runtime.publish(
        Placed("o9"), stream="feed::x-1", headers={"a": x}
    ),
    "publish_many": lambda runtime, x: runtime.publish_many(x, stream="feed::x-1"),
    "publish_many: one": lambda runtime, x: runtime.publish_many([x], stream="feed::x-1"),
    "publish_many: stream": lambda runtime, x: runtime.publish_many([Placed("o9")], stream=x),
    "publish_many: event_id": lambda runtime, x: runtime.publish_many(
        [Placed("o9")], stream="feed::x-1", event_id=lambda _: x
    ),
    "ask": lambda runtime, x: runtime.ask(x, timeout=20),
    "ask: field": lambda runtime, x: runtime.ask(Place("o9", x), timeout=20),
    "ask: id field": lambda runtime, x: runtime.ask(Place(x), timeout=20),
    "ask: command_id": lambda runtime, x: runtime.ask(Place("o9"), command_id=x, timeout=20),
    "ask: timeout": lambda runtime, x: runtime.ask(Place("o9"), timeout=x),
    "tell": lambda runtime, x: runtime.tell(x),
    "tell: field": lambda runtime, x: runtime.tell(Place("o9", x)),
    "tell: id field": lambda runtime, x: runtime.tell(Place(x)),
    "tell: command_id": lambda runtime, x: runtime.tell(Place("o9"), command_id=x),
    "tell_many": lambda runtime, x: runtime.tell_many(x),
    "tell_many: one": lambda runtime, x: runtime.tell_many([x]),
    "tell_many: command_id": lambda runtime, x: runtime.tell_many(
        [Place("o9")], command_id=lambda _: x
    ),
}

LOOKS: dict[str, Callable[[Runtime, Any], Any]] = {
    "get": lambda runtime, x: runtime.get(Order, x),
    "get: aggregate": lambda runtime, x: runtime.get(Basket, x),
    "get: class": lambda runtime, x: runtime.get(x, "o1"),
    "history": lambda runtime, x: list(runtime.history(Order, x)),
    "history: class": lambda runtime, x: list(runtime.history(x, "o1")),
    "find": lambda runtime, x: list(runtime.find(x)),
    "find: value": lambda runtime, x: list(runtime.find(Order, order_id=x)),
    "events": lambda runtime, x: list(runtime.events(x)),
    "events: after": lambda runtime, x: list(runtime.events(after=x)),
    "events: stream, after": lambda runtime, x: list(runtime.events("feed::x-1", after=x)),
    "why": lambda runtime, x: runtime.why(x),
    "trace": lambda runtime, x: runtime.trace(x),
    "stuck: class": lambda runtime, x: list(runtime.stuck(x, timedelta(0))),
    "stuck: since": lambda runtime, x: list(runtime.stuck(Order, x)),
    "timeouts: class": lambda runtime, x: list(runtime.timeouts(x)),
    "timeouts: id": lambda runtime, x: list(runtime.timeouts(Order, x)),
    "timeouts: before": lambda runtime, x: list(runtime.timeouts(before=x)),
    "retry": lambda runtime, x: runtime.retry(x),
    "retry: by": lambda runtime, x: runtime.retry(99, by=x),
    "skip": lambda runtime, x: runtime.skip(x),
    "refresh: class": lambda runtime, x: runtime.refresh(x),
    "move_timeout: class": lambda runtime, x: runtime.move_timeout(x, "o1", "late", timedelta(1)),
    "move_timeout: id": lambda runtime, x: runtime.move_timeout(Order, x, "late", timedelta(1)),
    "move_timeout: name": lambda runtime, x: runtime.move_timeout(Order, "o1", x, timedelta(1)),
    "move_timeout: when": lambda runtime, x: runtime.move_timeout(Order, "o1", "late", x),
    "move_timeout: by": lambda runtime, x: runtime.move_timeout(
        Order, "o1", "late", timedelta(1), by=x
    ),
    "settle: timeout": lambda runtime, x: runtime.settle(timeout=x),
}


REFUSALS = (ProcessionError, TypeError, ValueError)


def send(runtime: Runtime, call: str, value: Any) -> None:
    before, last = stored(runtime), runtime._store.last_position()
    error = refusal(lambda: CALLS[call](runtime, value), *REFUSALS)
    if isinstance(error, TimedOut):
        # It was given no time, and is carried out all the same.
        assert call == "ask: timeout"
    elif error is not None:
        assert 0 < len(str(error)) < LONGEST_ERROR, str(error)[:LONGEST_ERROR]
        assert stored(runtime) == before, told(value)
    else:
        runtime.settle(timeout=20)
        for event in runtime.events(after=last):
            assert isinstance(event.event, Placed | Moved | Unheard)
            if call.endswith(": field"):
                assert event.event == Placed("o9", value)
    ordinary(runtime)


@pytest.mark.parametrize("call", CALLS)
def test_what_comes_in_is_stored_and_reads_back_equal_or_is_refused_and_nothing_is_stored(
    call: str,
) -> None:
    with running() as runtime:
        for value in values():
            send(runtime, call, value)
        settings(max_examples=30)(given(odd)(lambda value: send(runtime, call, value)))()
        # What was taken, and names no instance.
        assert all(one.cause.startswith(("feed::x-1@", "a-b@")) for one in runtime.parked())


def look(runtime: Runtime, call: str, value: Any) -> None:
    before = stored(runtime)
    error = refusal(lambda: LOOKS[call](runtime, value), *REFUSALS)
    assert error is None or 0 < len(str(error)) < LONGEST_ERROR, str(error)[:LONGEST_ERROR]
    # To rebuild state is recorded.
    before |= {name: stored(runtime)[name] for name in ("transitions", "ids")}
    assert stored(runtime) == before, told(value)


@pytest.mark.parametrize("call", LOOKS)
def test_whatever_is_asked_for_gets_an_answer_or_a_clear_error_and_changes_nothing(
    call: str,
) -> None:
    with running() as runtime:
        for value in values():
            look(runtime, call, value)
        settings(max_examples=30)(given(odd)(lambda value: look(runtime, call, value)))()
        ordinary(runtime)
