"""What is done on every way through a function is read from its code."""

from typing import Any

import pytest

from procession.model.control_flow import Flow, always_calls


class Ending:
    def always(self) -> None:
        self.end()

    def always_by_a_method(self) -> None:
        self.always()

    def always_by_a_function(self) -> None:
        ends(self)

    def always_in_each_branch(self, value: Any = 0) -> None:
        if value:
            self.end()
        else:
            self.always()

    def always_behind_a_loop(self, value: Any = ()) -> None:
        for one in value:
            self.note(one)
        self.end()

    def always_or_it_fails(self, value: Any = 0) -> None:
        if not value:
            raise ValueError
        self.end()

    def sometimes_in_a_branch(self, value: Any = 0) -> None:
        if value:
            self.end()

    def sometimes_in_a_loop(self, value: Any = ()) -> None:
        for _ in value:
            self.end()

    def sometimes_behind_a_way_out(self, value: Any = 0) -> None:
        if value:
            return
        self.end()

    def sometimes_by_a_method(self) -> None:
        self.sometimes_in_a_branch()

    def sometimes_when_nothing_is_caught(self) -> None:
        try:
            self.note(0)
            self.end()
        except ValueError:
            self.note(1)

    def sometimes_by_itself(self) -> None:
        self.sometimes_by_itself()

    def sometimes_never(self) -> None:
        self.note(0)

    def note(self, one: object) -> None: ...

    def end(self) -> None: ...


def ends(one: Ending) -> None:
    one.end()


@pytest.mark.parametrize(
    "name", [name for name in dir(Ending) if name.startswith(("always", "sometimes"))]
)
def test_what_is_called_on_every_way_through_is_seen(name: str) -> None:
    assert always_calls(getattr(Ending, name), "end", Ending) is name.startswith("always")


def test_what_is_no_function_calls_nothing() -> None:
    assert not always_calls(print, "end", Ending)


def in_two_branches(value: Any) -> Any:
    if value:
        return value.first
    return value.second


def one_behind_the_other(value: Any) -> Any:
    if value:
        value.first()
    return value.second


def around_again(value: Any) -> None:
    for one in value:
        if one:
            one.first()
        else:
            one.second()


@pytest.mark.parametrize(
    ("function", "reaches"),
    [(in_two_branches, False), (one_behind_the_other, True), (around_again, True)],
)
def test_whether_one_instruction_can_follow_another(function: Any, reaches: bool) -> None:
    flow = Flow(function.__code__)
    named = {one.argval: index for index, one in enumerate(flow.instructions)}
    assert flow.reaches(named["first"], named["second"]) is reaches
