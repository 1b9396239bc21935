"""Nodes that are killed and hindered for real; `python -m tests.nodes` does it for longer."""

import pytest

from tests.nodes.campaign import Campaign


@pytest.mark.parametrize(
    "kinds", [("killed", "answer lost"), ("cut off", "joined")], ids=" and ".join
)
def test_nothing_is_lost_or_doubled_when_nodes_end(kinds: tuple[str, ...]) -> None:
    campaign = Campaign(2, seed=1, count=2, kinds=kinds).run()
    assert campaign.wrong == []
    assert campaign.acknowledged > 0
