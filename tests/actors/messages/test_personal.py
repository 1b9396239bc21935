"""Marks on fields: whose they are, what stands there when they were erased, and masks."""

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest

from procession import DefinitionError, Event, Personal
from procession.messages.personal import MASKED, PersonalField, masked, personal_in, personal_of


class Told(Event):
    person: str
    name: Annotated[str, Personal]
    note: Annotated[str | None, Personal(subject="person")]
    plain: str = ""


def test_marks_say_which_fields_are_personal_and_whose() -> None:
    assert personal_of(Told) == {
        "name": PersonalField(None, "(erased)"),
        "note": PersonalField("person", "(erased)"),
    }


@pytest.mark.parametrize(
    ("hint", "erased"), [(str, "(erased)"), (int, 0), (Decimal, 0), (list[str], []), (bytes, b"")]
)
def test_an_erased_field_has_the_first_value_that_says_nothing(hint: Any, erased: object) -> None:
    [field] = personal_in("X", {"a": Annotated[hint, Personal]}).values()
    assert field.erased == erased


def test_a_field_that_can_say_nothing_only_with_none_must_take_it() -> None:
    with pytest.raises(DefinitionError, match=r"write `\| None` behind its type"):
        personal_in("X", {"a": Annotated[UUID, Personal]})


def test_what_is_marked_is_masked_and_the_rest_stays() -> None:
    assert masked({"name": "Ada", "plain": "x"}, personal_of(Told)) == {
        "name": MASKED,
        "plain": "x",
    }
