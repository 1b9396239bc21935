"""What is tried many times a second says once that it fails, and once that it goes again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procession import StoreError
from procession.cluster.outage import Outage
from procession.store import DatabaseRefused

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged since the last call."""

    def found() -> list[str]:
        messages = [record.message for record in caplog.records]
        caplog.clear()
        return messages

    return found


def test_an_outage_says_that_it_begins_that_it_changes_and_that_it_is_over(
    said: Callable[[], list[str]],
) -> None:
    outage = Outage("the nodes cannot be looked at")
    outage.went_well()
    assert said() == []
    for _ in range(100):
        outage.failed(DatabaseRefused("no answer"))
    assert said() == ["the nodes cannot be looked at; it is tried again until it goes: no answer"]
    outage.failed(StoreError("damaged"))
    assert said() == ["the nodes cannot be looked at; it is tried again until it goes: damaged"]
    outage.went_well()
    outage.went_well()
    assert said() == ["no longer: the nodes cannot be looked at"]
    outage.failed(StoreError("damaged"))
    assert len(said()) == 1


def test_an_error_that_is_not_of_a_store_is_told_with_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage("partition 3 cannot be opened")
    outage.failed(StoreError("it is locked"))
    outage.failed(KeyError("ours"))
    assert [record.exc_info is not None for record in caplog.records] == [False, True]
