"""What a handler may know about the event in its hands."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from procession import Context
from procession.clock import to_micros
from procession.messages.codec import dump_headers
from procession.store import EventRecord

NOON = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = to_micros(NOON) + 1_000_000


def record(headers: dict[str, Any] | None = None) -> EventRecord:
    return EventRecord(
        type="shop.Paid.v1",
        stream="shop::payment-o1",
        version=3,
        time=to_micros(NOON),
        data=b"",
        event_id="e1",
        correlation_id="c1",
        causation_id="e0",
        headers=dump_headers(headers),
        position=42,
    )


def test_the_context_says_where_an_event_came_from() -> None:
    assert asdict(Context.of(record({"trace": "t1"}), LATER)) == {
        "event_id": "e1",
        "type": "shop.Paid.v1",
        "stream": "shop::payment-o1",
        "position": 42,
        "time": NOON,
        "now": NOON + timedelta(seconds=1),
        "correlation_id": "c1",
        "causation_id": "e0",
        "headers": {"trace": "t1"},
        "attempt": 1,
        "refreshing": False,
    }


def test_the_time_is_in_utc() -> None:
    assert Context.of(record(), LATER).time.tzinfo is UTC
    assert Context.of(record(), LATER).now.tzinfo is UTC


def test_without_headers_there_is_an_empty_mapping_of_ones_own() -> None:
    one, other = Context.of(record(), LATER), Context.of(record(), LATER)
    one.headers["trace"] = "t1"
    assert other.headers == {}


def test_a_context_cannot_be_changed() -> None:
    context: Any = Context.of(record(), LATER)
    with pytest.raises(FrozenInstanceError):
        context.position = 7
    assert context.position == 42


def test_contexts_compare_by_value() -> None:
    assert Context.of(record({"a": 1}), LATER) == Context.of(record({"a": 1}), LATER)
    assert Context.of(record({"a": 1}), LATER) != Context.of(record({"a": 2}), LATER)


def test_a_context_of_a_test_makes_ids_as_well() -> None:
    one, other = Context.of(record(), LATER), Context.of(record(), LATER)
    made = [one.new_id(), one.new_id()]
    assert made == [other.new_id(), other.new_id()]
    assert made[0] != made[1] != one.at("elsewhere").new_id()
