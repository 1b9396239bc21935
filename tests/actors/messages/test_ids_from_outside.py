"""Ids that callers choose: any text, and never taken for one that was made here."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from procession import Aggregate, Command, Domain, Event, IdReused, ProcessManager, Runtime, handle

mill = Domain("mill")


class Turn(Command):
    wheel: str
    number: int


class Turned(Event):
    wheel: str
    number: int


@mill.register
class Wheel(Aggregate, identity="wheel"):
    @handle(Turn)
    def turn(self, command: Turn) -> Turned:
        return Turned(self.id, command.number)


@mill.register
class Keeper(ProcessManager, correlate="wheel"):
    wheel: str = ""
    turns: int = 0

    @handle(Turned, start=True)
    def turned(self, event: Turned) -> None:
        self.turns += 1
        if event.number < 9:
            self.issue(Turn(self.wheel, event.number + 1))


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime.ephemeral(mill) as runtime:
        yield runtime


ids = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
)
lookalikes = st.from_regex(
    r"(mill::wheel|mill\.Keeper)-[ab]@[0-9]{1,22}(\.[0-9]{1,22})?\+{0,2}", fullmatch=True
)


@settings(max_examples=40)
@given(ids | lookalikes)
@example("pay-7@20261126012233445566")
@example("mill.Keeper-a@1.0")
@example("mill.Keeper-a@20261126012233445566.0")
@example("mill::wheel-a@1")
@example("mill::wheel-a@2")
@example("operator")
@example("timeout:x")
def test_a_command_may_have_any_id_and_its_chain_is_its_own(command_id: str) -> None:
    with Runtime.ephemeral(mill) as runtime:
        runtime.ask(Turn("b", 5))
        (first,) = runtime.ask(Turn("a", 0), command_id=command_id)
        runtime.settle(timeout=10)
        assert runtime.ask(Turn("a", 0), command_id=command_id) == [first]
        assert list(runtime.parked()) == []
        keeper = runtime.get(Keeper, "a")
        assert keeper is not None
        assert keeper.state["turns"] == 10
        chain = list(runtime.events("mill::wheel-a"))
        assert [one.depth for one in runtime._store.read_stream("mill::wheel-a", 0, 99)] == list(
            range(10)
        )
        for one in chain[::3]:
            tree = runtime.trace(one.event_id)
            assert (tree.kind, tree.id) == ("command", command_id)
            events = [node.position for _, node in tree.walk() if node.kind == "event"]
            assert events == [other.position for other in chain]


@settings(max_examples=40)
@given(ids | lookalikes)
@example("mill::wheel-a@1")
@example("mill::wheel-a@3")
@example("mill::wheel-b@2")
@example("mill.Keeper-a@1.0")
@example("mill.Keeper-a@3.0")
@example("timeout:x")
def test_an_event_may_have_any_id_and_is_found_and_traced_by_it(event_id: str) -> None:
    with Runtime.ephemeral(mill) as runtime:
        event = Turned("a", 6)
        position = runtime.publish(event, stream="mill::bell-b", event_id=event_id)
        assert runtime.publish(event, stream="mill::bell-b", event_id=event_id) == position
        with pytest.raises(IdReused):
            runtime.publish(event, stream="other-b", event_id=event_id)
        runtime.settle(timeout=10)
        stored = list(runtime.events())
        assert len({one.event_id for one in stored}) == len(stored) == 4
        assert [one.event_id for one in stored if one.position == position] == [event_id]
        for one in stored:
            assert runtime._store.position_of(one.event_id) == one.position
            tree = runtime.trace(one.event_id)
            assert (tree.kind, tree.id) == ("event", event_id)
            events = [node.position for _, node in tree.walk() if node.kind == "event"]
            assert events == [other.position for other in stored]
            assert [told.outcome for told in runtime.why(one.event_id)] in (
                ["started"],
                ["stepped"],
            )


def test_an_id_that_the_store_gave_to_another_event_is_refused(runtime: Runtime) -> None:
    runtime.publish(Turned("a", 9), stream="gate-1")
    with pytest.raises(IdReused, match=r"'gate-1@1' is .* position 1, in stream 'gate-1'; publish"):
        runtime.publish(Turned("a", 9), stream="gate-2", event_id="gate-1@1")
    assert len(list(runtime.events())) == 1
