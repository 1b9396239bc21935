"""A fork from a divided store: an instance goes on alone with what other partitions had for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from procession import Runtime, UnknownInstance
from procession.store import partition_of
from procession.testing import VirtualClock
from tests.actors.cluster.wards import Admit, Stay, Ward, wards

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 4
PATIENTS = [f"p{number}" for number in range(6)]


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """Each stay has two answers from other partitions, and one that comes a day later."""
    path, clock = tmp_path_factory.mktemp("divided") / "store", VirtualClock()
    with Runtime(path, wards, partitions=PARTITIONS, clock=clock) as runtime:
        for patient in PATIENTS:
            runtime.ask(Admit(patient, "Ada"))
        runtime.settle(timeout=30)
        clock.advance(timedelta(days=2))
        runtime.settle(timeout=30)
    with Runtime(path, wards, read_only=True) as runtime:
        yield runtime


def test_it_goes_on_as_the_instance_did_from_each_of_its_versions(looking: Runtime) -> None:
    others = [
        one
        for one in PATIENTS
        if partition_of(one, PARTITIONS) != partition_of(f"w-{one}", PARTITIONS)
    ]
    assert len(others) > 2
    for patient in PATIENTS:
        then = looking.get(Stay, patient)
        assert then is not None
        assert then.version == 4
        for version in range(1, 5):
            moment = looking.at(Stay, patient, version)
            assert moment is not None
            clock = VirtualClock(moment.time)
            with looking.fork(Stay, patient, version, clock=clock) as fork:
                fork.settle(timeout=10)
                clock.advance(timedelta(days=2))
                fork.settle(timeout=10)
                now = fork.get(Stay, patient)
                assert now is not None
                assert (now.version, sorted(now.state["notes"])) == (4, sorted(then.state["notes"]))
                ward = fork.get(Ward, f"w-{patient}")
                assert ward is not None
                assert ward.state == {"beds": 1}
                assert [str(one) for one in fork.verify()] == []
                assert [one.id for one in fork.find(Stay)] == [patient]


def test_what_is_not_there_has_no_fork(looking: Runtime) -> None:
    with pytest.raises(UnknownInstance, match="no version 9"):
        looking.fork(Stay, "p1", 9)
