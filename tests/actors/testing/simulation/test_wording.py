"""The words of the run log."""

import pytest

from procession.testing.simulation.wording import elapsed, short


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "00:00:00"),
        (1_500_000, "00:00:01.5"),
        (1, "00:00:00.000001"),
        (1_800_000_000, "00:30:00"),
        (2 * 86_400_000_000 + 3_661_000_000, "2d 01:01:01"),
    ],
)
def test_a_time_is_told_in_days_and_hours(micros: int, text: str) -> None:
    assert elapsed(micros) == text


def test_a_wire_name_is_told_as_its_class() -> None:
    assert short("shop.OrderPlaced.v1") == "OrderPlaced"
    assert short("shop.Selling") == "Selling"
    assert short("Selling") == "Selling"
