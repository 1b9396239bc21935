"""A refusal that was stored is raised again as it was, as far as it can be."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from procession import Rejected
from procession.messages.refusals import pack_refusal, refused_again
from tests.naming import called


class Grade(Enum):
    LOW = "low"


class Refused(Rejected):
    def __init__(self, reason: str, **fields: Any) -> None:
        super().__init__(reason)
        self.__dict__.update(fields)


VALUES: list[Any] = [
    *(None, True, 7, -1.5, "text", b"bytes", Decimal("1.50"), UUID(int=3), Grade.LOW),
    *(datetime(2020, 1, 1, tzinfo=UTC), date(2020, 1, 2), time(3, 4), timedelta(1, 2, 3)),
    [1, [2]],
    (1, "a"),
    {1, 2},
    frozenset({"a"}),
    {"a": (1, {2: Decimal(3)}), 4: []},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was_and_of_its_type(value: Any) -> None:
    again: Any = refused_again("no", pack_refusal(Refused("no", value=value)))
    assert type(again).__name__ == "Refused"
    assert (str(again), again.reason, again.args) == ("no", "no", ("no",))
    assert (again.value, type(again.value)) == (value, type(value))
    assert not hasattr(again, "__notes__")


def circle() -> list[Any]:
    one: list[Any] = []
    one.append(one)
    return one


@pytest.mark.parametrize(
    "value", [object(), 2**70, "\ud800", circle(), [object()], type], ids=called
)
def test_what_cannot_be_stored_is_left_out_and_a_note_says_so(value: Any) -> None:
    again: Any = refused_again("no", pack_refusal(Refused("no", value=value, other=1)))
    assert (type(again), again.other) == (Refused, 1)
    assert not hasattr(again, "value")
    assert again.__notes__ == [
        "this was refused before, and is without its attribute 'value', which could not be stored"
    ]


def test_a_class_that_is_gone_gives_a_plain_refusal_with_the_same_attributes() -> None:
    def packed() -> bytes | None:
        class Gone(Refused):
            pass

        # Until it is collected, a class is found below its parent.
        Gone.__module__ = "elsewhere"
        made = pack_refusal(Gone("no", left=2))
        Gone.__module__ = __name__
        return made

    again: Any = refused_again("no", packed())
    assert (type(again), again.reason, again.left) == (Rejected, "no", 2)
    assert "its class, elsewhere." in again.__notes__[0]


def test_a_plain_refusal_needs_no_room() -> None:
    assert pack_refusal(Rejected("no")) is None
    again = refused_again("no", None)
    assert (type(again), again.reason) == (Rejected, "no")
