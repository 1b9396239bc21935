"""What a handler may know: the same at every replay."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from procession import (
    Context,
    Domain,
    Event,
    ProcessManager,
    Retry,
    Runtime,
    after,
    handle,
    timeout,
)
from procession.testing import VirtualClock

shop = Domain("shop")
effects: list[tuple[str, object]] = []
verdicts: list[tuple[object, str]] = []


class Opened(Event):
    account: str


class Paid(Event):
    account: str


class Failed(Event):
    account: str


@shop.register
class Account(ProcessManager, correlate="account", restart=True):
    account: str = ""
    ids: list[str] = []
    times: list[str] = []
    attempts: int = 0

    def _note(self) -> None:
        self.ids += [self.context.new_id(), self.context.new_id()]
        self.times.append(self.context.now.isoformat())

    @handle(Opened, start=True)
    def opened(self, event: Opened) -> None:
        self._note()
        self.set_timeout("check", timedelta(hours=1))

    @handle(Paid)
    def paid(self, event: Paid) -> None:
        self._note()

    @handle(Failed)
    def failed(self, event: Failed) -> None:
        made = self.context.new_id()
        verdicts.append((self.context.now, made))
        if self.context.attempt == 1 and not self.context.refreshing:
            raise ValueError("not yet")
        self.ids.append(made)

    @timeout("check")
    def check(self) -> None:
        self._note()
        self.mark_as_complete()

    def on_error(self, error: Exception, context: Context) -> Retry:
        verdicts.append((context.now, context.new_id()))
        return Retry(attempts=2, first=timedelta(minutes=1))

    @after(Paid)
    def told(self, event: Paid) -> None:
        effects.append((self.context.new_id(), self.context.now))
        if len(effects) == 1:
            raise ValueError("the other side does not answer")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    effects.clear()
    verdicts.clear()
    with Runtime.ephemeral(shop, clock=clock) as opened:
        yield opened


def publish(runtime: Runtime, event: Event) -> None:
    runtime.publish(event, stream="outside-1")
    runtime.settle(timeout=10)


def state(runtime: Runtime) -> dict[str, object]:
    view = runtime.get(Account, "a")
    assert view is not None
    return view.state


def test_a_handler_knows_the_time_of_its_transition_and_a_replay_has_the_same(
    runtime: Runtime, clock: VirtualClock
) -> None:
    begun = clock.now()
    publish(runtime, Opened("a"))
    clock.advance(timedelta(minutes=5))
    publish(runtime, Paid("a"))
    clock.advance(timedelta(hours=2))
    runtime.settle(timeout=10)
    times = [one.time.isoformat() for one in runtime.history(Account, "a")]
    assert state(runtime)["times"] == times
    assert times[:2] == [begun.isoformat(), (begun + timedelta(minutes=5)).isoformat()]
    clock.advance(timedelta(days=1))
    assert runtime.refresh(Account, "a") == 1
    assert state(runtime)["times"] == times


def test_an_id_that_a_handler_makes_is_another_each_time_and_the_same_at_every_replay(
    runtime: Runtime, clock: VirtualClock
) -> None:
    publish(runtime, Opened("a"))
    publish(runtime, Paid("a"))
    clock.advance(timedelta(hours=2))
    publish(runtime, Opened("a"))  # the next run of the id
    ids = state(runtime)["ids"]
    assert isinstance(ids, list)
    all_of_them = [one for step in runtime.history(Account, "a") for one in step.state["ids"]]
    assert len(ids) == 2
    assert len(set(all_of_them)) == 8
    assert all(str(UUID(one)) == one for one in ids)
    runtime.refresh(Account, "a")
    assert state(runtime)["ids"] == ids


def test_two_instances_make_other_ids(runtime: Runtime) -> None:
    publish(runtime, Opened("a"))
    publish(runtime, Opened("b"))
    one, other = runtime.get(Account, "a"), runtime.get(Account, "b")
    assert one is not None
    assert other is not None
    assert not set(one.state["ids"]) & set(other.state["ids"])


def test_another_attempt_makes_the_same_ids_at_its_own_time(
    runtime: Runtime, clock: VirtualClock
) -> None:
    publish(runtime, Opened("a"))
    first = clock.now()
    publish(runtime, Failed("a"))
    clock.advance(timedelta(minutes=2))
    runtime.settle(timeout=10)
    (at, made), (at_error, in_error), (later, again) = verdicts
    assert at == at_error == first
    assert later == first + timedelta(minutes=1)
    assert made == again != in_error
    last = list(runtime.history(Account, "a"))[-1]
    assert last.time == later
    assert last.state["ids"][-1] == made


def test_an_after_effect_makes_the_same_id_at_each_attempt(
    runtime: Runtime, clock: VirtualClock
) -> None:
    publish(runtime, Opened("a"))
    publish(runtime, Paid("a"))
    (parked,) = runtime.parked()
    clock.advance(timedelta(minutes=1))
    runtime.retry(parked.id)
    runtime.settle(timeout=10)
    (first, at), (second, later) = effects
    assert first == second
    assert later == clock.now() != at
