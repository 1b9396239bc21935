"""How long an id may be, how large a number, how deep a list, how big a payload."""

import ast
import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import Domain, InvalidMessage, InvalidName, ProcessManager, Runtime, handle
from procession.store import MAX_NAME_BYTES
from tests.actors.bad_input import (
    Basket,
    Liar,
    Moment,
    Moved,
    Number,
    Order,
    Place,
    Placed,
    deep,
    ordinary,
    refusal,
    running,
    shop,
    stored,
)

MOMENT = datetime(2024, 2, 29, tzinfo=UTC)

# Ids of every length

LETTERS = {1: "x", 2: "é", 3: "€", 4: "𝄞"}


@settings(max_examples=150)
@given(
    size=st.integers(0, 600) | st.integers(MAX_NAME_BYTES - 5, MAX_NAME_BYTES + 5),
    letter=st.sampled_from(sorted(LETTERS)),
)
def test_an_id_names_an_instance_and_an_aggregate_or_is_refused_by_its_length(
    ids: Runtime, size: int, letter: int
) -> None:
    text = LETTERS[letter] * (size // letter) + "y" * (size % letter)
    assert len(text.encode()) == size
    before = stored(ids)
    error = refusal(lambda: ids.ask(Place(text, size), timeout=20), InvalidName)
    if error is not None:
        # The category of its stream has a part of the room.
        assert not 0 < size <= MAX_NAME_BYTES - len("shop::basket-")
        assert "empty" in str(error) or str(MAX_NAME_BYTES) in str(error)
        assert stored(ids) == before
    else:
        ids.settle(timeout=20)
        basket, order = ids.get(Basket, text), ids.get(Order, text)
        assert basket is not None
        assert order is not None
        assert (order.id, order.state["what"], basket.state["last"]) == (text, size, size)
        assert [one.id for one in ids.find(Order) if one.id == text] == [text]
    moved = Moved("o1", MOMENT)
    for give in (
        lambda: ids.publish(moved, stream="feed::x-1", event_id=text),
        lambda: ids.ask(Place("o1", "book"), command_id=text, timeout=20),
        lambda: ids.tell(Place("o1", "book"), command_id=text),
    ):
        is_refused = refusal(give, InvalidName) is not None
        assert is_refused is not (0 < size <= MAX_NAME_BYTES)


@pytest.fixture(scope="module")
def ids() -> Iterator[Runtime]:
    with Runtime.ephemeral(shop) as runtime:
        yield runtime


@settings(max_examples=60)
@given(size=st.integers(MAX_NAME_BYTES - 30, MAX_NAME_BYTES + 30))
def test_an_instance_may_have_an_id_as_long_as_any_though_no_aggregate_has_one_so_long(
    ids: Runtime, size: int
) -> None:
    text = "z" * size
    ids.publish(Placed(text), stream="feed::x-1")
    ids.settle(timeout=20)
    if size <= MAX_NAME_BYTES:
        assert ids.get(Order, text) is not None
    else:
        (*_, parked) = ids.parked()
        assert "InvalidName" in parked.error
        with pytest.raises(InvalidName):
            ids.get(Order, text)


def test_an_event_of_a_stream_with_the_longest_name_is_handled_by_who_has_no_ids() -> None:
    domain = Domain("shop")

    @domain.register
    class Watcher(ProcessManager, stateless=True):
        @handle(Placed)
        def on_placed(self, event: Placed) -> None:
            pass

    with Runtime.ephemeral(domain) as runtime:
        for size in range(MAX_NAME_BYTES - 6, MAX_NAME_BYTES + 1):
            runtime.publish(Placed("o1"), stream="f-" + "x" * (size - 2))
        runtime.settle(timeout=20)
        stats = runtime.stats()
        # Its events have the stream's name and a version as ids, of which two are too long.
        assert (stats["transitions"], stats["parked"]) == (7, 0)


# Numbers, nesting, size


@given(number=st.integers(-(2**70), 2**70) | st.sampled_from([2**64 - 1, 2**64, -(2**63) - 1]))
def test_a_whole_number_of_64_bits_is_stored_and_a_longer_one_refused(
    ids: Runtime, number: int
) -> None:
    before, last = stored(ids), ids._store.last_position()
    moved = Moved("o1", MOMENT, number)
    error = refusal(lambda: ids.publish(moved, stream="feed::x-1"), InvalidMessage)
    if error is not None:
        assert not -(2**63) <= number < 2**64
        assert "number" in str(error)
        assert stored(ids) == before
    else:
        (event,) = ids.events(after=last)
        assert event.event == moved


LEVELS = 800
"""How deep lists may surely be, with Python's own limit of 1,000 calls."""


def test_lists_within_lists_are_stored_up_to_a_depth_and_refused_beyond() -> None:
    with running() as runtime:
        taken: list[int] = []
        tried = [*range(1, 1_000, 37), *range(900, 1_100, 3), 10_000, 200_000]
        for levels in tried:
            place = Place(f"o{levels}", deep(levels))
            error = refusal(functools.partial(runtime.ask, place, timeout=20), InvalidMessage)
            assert error is None or "recursion" in str(error)
            taken += [] if error else [levels]
        runtime.settle(timeout=20)
        assert max(taken) < 1_100
        assert {levels for levels in tried if levels <= LEVELS} <= set(taken)
        parked = {one.instance for one in runtime.parked() if int(one.instance[1:]) > LEVELS}
        for levels in taken:
            # The last few are too deep for whoever is deeper in calls of its own.
            if f"o{levels}" in parked or levels > LEVELS:
                continue
            order = runtime.get(Order, f"o{levels}")
            assert order is not None
            assert order.state["what"] == deep(levels)
        ordinary(runtime)


@pytest.mark.parametrize("value", [Number(7), Liar("x"), Moment(2020, 1, 1, tzinfo=UTC)])
def test_a_value_of_a_class_of_ones_own_is_refused_with_the_classs_name(
    ids: Runtime, value: Any
) -> None:
    for event in (Placed("o1", value), Placed("o1", [value]), Moved("o1", value, value, value)):
        with pytest.raises(InvalidMessage, match=type(value).__name__):
            ids.publish(event, stream="feed::x-1")


@pytest.mark.parametrize("make", [lambda: b"x" * 50_000_000, lambda: ["é" * 100] * 50_000])
def test_a_payload_of_many_megabytes_is_stored_and_reads_back_equal(
    make: Callable[[], Any],
) -> None:
    what = make()
    with running() as runtime:
        (placed,) = runtime.ask(Place("big", what), timeout=60)
        assert placed == Placed("big", what)
        runtime.settle(timeout=60)
        order = runtime.get(Order, "big")
        assert order is not None
        assert order.state["what"] == what
        ordinary(runtime)


# What the code does not do

FORBIDDEN = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
MODULES = {"pickle", "_pickle", "marshal", "shelve", "copyreg", "dill", "yaml", "code", "codeop"}


def test_nothing_that_is_read_is_ever_run() -> None:
    root = Path(__file__).parents[2]
    for file in [*root.glob("actors/**/*.py"), *root.glob("store/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            where = f"{file.relative_to(root)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Name):
                # `procession show --debug` stops in the user's own debugger.
                is_asked_for = (node.id, file.name) == ("breakpoint", "stepping.py")
                assert node.id not in FORBIDDEN or is_asked_for, where
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] not in MODULES, where
            if isinstance(node, ast.Attribute):
                # Of a module as well, such as `builtins`; compiling a pattern is none of it.
                is_pattern = isinstance(node.value, ast.Name) and node.value.id == "re"
                assert node.attr not in FORBIDDEN or is_pattern, where
