"""What can name an instance, an aggregate or a stream."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import InvalidMessage, InvalidName
from procession.messages.identifiers import check_stream, id_of
from procession.store import MAX_NAME_BYTES, category_of


class Desk(Enum):
    NORTH = "north"
    SOUTH = 2
    NOWHERE = None


class Floor(IntEnum):
    FIRST = 1


class Room(StrEnum):
    HALL = "hall"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("o1", "o1"),
        ("o-1", "o-1"),
        ("Köln/東京", "Köln/東京"),
        (" ", " "),
        ("x" * MAX_NAME_BYTES, "x" * MAX_NAME_BYTES),
        (0, "0"),
        (-7, "-7"),
        (2**70, str(2**70)),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Desk.NORTH, "north"),
        (Desk.SOUTH, "2"),
        (Floor.FIRST, "1"),
        (Room.HALL, "hall"),
    ],
)
def test_text_whole_numbers_uuids_and_members_of_these_are_ids(value: object, text: str) -> None:
    found = id_of(value, "order_id")
    assert found == text
    assert type(found) is str


@pytest.mark.parametrize("value", [None, True, 1.0, b"o1", ["o1"], object(), Desk.NOWHERE])
def test_anything_else_is_no_id_and_the_message_says_whose(value: object) -> None:
    with pytest.raises(InvalidMessage, match=r"order_id: .* is no id; ids are text, whole numbers"):
        id_of(value, "order_id")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "empty"),
        ("x" * (MAX_NAME_BYTES + 1), r"401 bytes long; at most 400.*digest"),
        ("é" * 250, "500 bytes long"),
        ("a\0b", "NUL"),
        ("a" * 70 + "\0", "NUL"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_text_that_cannot_be_a_key_is_refused_with_the_reason(value: str, why: str) -> None:
    with pytest.raises(InvalidName, match=f"order_id.*{why}"):
        id_of(value, "order_id")


@settings(derandomize=True, deadline=None)
@given(st.text(st.characters()))
def test_an_id_of_text_is_that_text_or_refused(value: str) -> None:
    try:
        found = id_of(value, "order_id")
    except InvalidName:
        assert (
            not value
            or "\0" in value
            or len(value.encode("utf-8", "replace")) > 400
            or any(0xD800 <= ord(letter) < 0xE000 for letter in value)
        )
    else:
        assert found == value


@pytest.mark.parametrize(
    ("stream", "category"),
    [
        ("shop::order-o1", "shop::order"),
        ("shop::order-o-1-2", "shop::order"),
        ("order-", "order"),
        ("order", "order"),
    ],
)
def test_the_category_is_what_is_before_the_first_dash(stream: str, category: str) -> None:
    assert category_of(stream) == category


@pytest.mark.parametrize("stream", ["shop::order-o1", "a-b", "a-b-c", "a--b", "Köln-東京"])
def test_a_stream_is_called_category_dash_id(stream: str) -> None:
    check_stream(stream)


@pytest.mark.parametrize("stream", ["order", "order-", "-o1", "-"])
def test_a_stream_without_category_or_id_is_refused_with_the_right_form(stream: str) -> None:
    with pytest.raises(InvalidMessage, match=r'no stream name; write "category-id"'):
        check_stream(stream)


@pytest.mark.parametrize("stream", ["", "a-" + "b" * 399, "a-\0", "a-\ud800"])
def test_a_stream_that_cannot_be_a_key_is_refused(stream: str) -> None:
    with pytest.raises(InvalidName, match="stream"):
        check_stream(stream)


@pytest.mark.parametrize("stream", [None, 5, b"a-b"])
def test_a_stream_that_is_no_text_is_refused(stream: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"stream=.* is no text"):
        check_stream(stream)
