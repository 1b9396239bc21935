"""A step has an object of its own: what is done to it afterwards is refused."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import Domain, Event, ProcessManager, Runtime, handle, timeout
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

tower = Domain("tower")


class Rang(Event):
    bell: str
    times: int


@tower.register
class Bell(ProcessManager, correlate="bell"):
    bell: str = ""
    total: int = 0
    strokes: list[int] = []

    left: ClassVar[list[Any]] = []

    @handle(Rang, start=True)
    def on_rang(self, event: Rang) -> None:
        self.total += event.times
        self.strokes.append(event.times)
        Bell.left.append(self)
        if event.times < 0:
            raise ValueError("a bell cannot ring back")

    @timeout("silence")
    def on_silence(self) -> None:
        self.mark_as_complete()


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    Bell.left = []


def ring(runtime: Runtime, *times: int) -> None:
    for one in times:
        runtime.publish(Rang("b", one), stream="tower-b")
    runtime.settle(timeout=10)


LATE: dict[str, Callable[[Any], object]] = {
    "self.total = 9": lambda bell: setattr(bell, "total", 9),
    "self.unheard = 9": lambda bell: setattr(bell, "unheard", 9),
    "del self.total": lambda bell: delattr(bell, "total"),
    "self.issue(...)": lambda bell: bell.issue(),
    "self.cancel(...)": lambda bell: bell.cancel("c"),
    "self.set_timeout(...)": lambda bell: bell.set_timeout("silence", timedelta(1)),
    "self.cancel_timeout(...)": lambda bell: bell.cancel_timeout("silence"),
    "self.mark_as_complete()": lambda bell: bell.mark_as_complete(),
}


@pytest.mark.parametrize("what", LATE)
def test_what_a_thread_that_a_handler_left_behind_does_is_refused_with_the_reason(
    what: str,
) -> None:
    errors: list[str] = []

    def later() -> None:
        with pytest.raises((AttributeError, RuntimeError)) as caught:
            LATE[what](Bell.left[0])
        errors.append(str(caught.value))

    with Runtime.ephemeral(tower, clock=VirtualClock()) as runtime:
        ring(runtime, 1)
        thread = threading.Thread(target=later)
        thread.start()
        thread.join()
        (error,) = errors
        assert error.startswith(f"tower.Bell 'b': {what} came after the step had ended")
        ring(runtime, 2)
        view = runtime.get(Bell, "b")
        assert view is not None
        assert view.state == {"bell": "b", "total": 3, "strokes": [1, 2]}
        assert not view.is_complete
        assert list(runtime.timeouts()) == []


def test_a_list_of_a_step_that_is_over_is_not_that_of_the_next() -> None:
    with Runtime.ephemeral(tower) as runtime:
        ring(runtime, 1)
        Bell.left[0].strokes.append(100)
        ring(runtime, 2)
        view = runtime.get(Bell, "b")
        assert view is not None
        assert view.state["strokes"] == [1, 2]


def test_a_step_that_failed_is_over_as_well() -> None:
    with Runtime.ephemeral(tower) as runtime:
        ring(runtime, 1, -1)
        with pytest.raises(AttributeError, match="came after the step had ended"):
            Bell.left[1].total = 5
        runtime.skip(next(iter(runtime.parked())).id)
        ring(runtime, 2)
        view = runtime.get(Bell, "b")
        assert view is not None
        assert view.state["total"] == 3


def test_an_object_whose_step_is_over_still_tells_what_it_was() -> None:
    with Runtime.ephemeral(tower) as runtime:
        ring(runtime, 1, 2)
        first, second = Bell.left
        assert (first.id, first.version, first.total, first.strokes) == ("b", 0, 1, [1])
        assert (second.id, second.version, second.total) == ("b", 1, 3)
        assert isinstance(first, Bell)
        assert type(first).__qualname__ == "Bell"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_whatever_comes_late_the_state_is_what_the_handlers_made(
    times: list[int], data: st.DataObject
) -> None:
    Bell.left = []
    with Runtime.ephemeral(tower) as runtime:
        for one in times:
            ring(runtime, one)
            late = data.draw(st.sampled_from(Bell.left))
            with pytest.raises((AttributeError, RuntimeError)):
                LATE[data.draw(st.sampled_from(sorted(LATE)))](late)
            late.strokes.append(0)
        view = runtime.get(Bell, "b")
        assert view is not None
        assert view.state == {"bell": "b", "total": sum(times), "strokes": times}
