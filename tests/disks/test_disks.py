"""Promises 5, 11 and 15: whichever write a disk refuses, nothing is lost and nothing hangs."""

from pathlib import Path

import pytest

from procession import Runtime
from tests.disks.campaign import KINDS, Campaign
from tests.disks.failing import needs_compiler
from tests.disks.shop import GiftNoted, PlaceOrder, shop


@needs_compiler
def test_whichever_write_the_disk_refuses_nothing_is_lost_or_doubled_and_no_call_hangs(
    tmp_path: Path,
) -> None:
    tally = Campaign(tmp_path, every=37).run()
    assert tally.wrong == []
    # Each kind came to writes of opening and of working, or this run has shown nothing about it.
    assert all(tally.runs[kind] >= 3 for kind in KINDS)
    assert {"FailingDisk", "StoreFull"} <= set(tally.refused)


# The campaign means something only if what it looks for can be found.


@needs_compiler
@pytest.mark.parametrize(
    ("acknowledged", "lost"), [("o1", 0), ("gift-o1", 0), ("o2", 1), ("gift-o2", 1)]
)
def test_what_was_acknowledged_and_is_not_there_is_found(
    tmp_path: Path, acknowledged: str, lost: int
) -> None:
    with Runtime(tmp_path / "store", shop) as runtime:
        runtime.ask(PlaceOrder("o1"))
        runtime.publish(GiftNoted("o1"), stream="gifts-gift-o1")
    campaign = Campaign(tmp_path)
    campaign.look(tmp_path / "store", [acknowledged], "here")
    assert campaign.tally.lost == lost


@needs_compiler
def test_what_was_done_twice_is_found(tmp_path: Path) -> None:
    with Runtime(tmp_path / "store", shop) as runtime:
        for _ in range(2):
            runtime.ask(PlaceOrder("o1"))
    campaign = Campaign(tmp_path)
    campaign.look(tmp_path / "store", ["o1"], "here")
    assert campaign.tally.doubled > 0
