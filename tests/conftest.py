"""What all tests share."""

import os
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, settings

from actors.testing import VirtualClock

settings.register_profile(
    "procession", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", parent=settings.get_profile("procession"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "procession"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2024, 2, 29, 12, tzinfo=UTC))
