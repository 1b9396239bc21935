"""Whoever takes a partition raises its epoch, and older epochs are refused from then on."""

from procession.store import TakenOver
from procession.testing.simulation.leases import Leases


def test_a_commit_that_names_an_older_epoch_is_refused_and_says_who_has_the_partition() -> None:
    leases = Leases(2)
    first = leases.take(1, "node 1")
    assert leases.refusal(1, first) is None
    second = leases.take(1, "node 2")
    assert leases.refusal(1, second) is None
    refusal = leases.refusal(1, first)
    assert isinstance(refusal, TakenOver)
    assert str(refusal) == (
        "partition 1 was taken over by node 2, with epoch 2; this commit names epoch 1, and "
        "nothing of it was kept"
    )


def test_what_was_let_go_of_or_not_renewed_may_be_taken_and_its_epoch_holds_until_then() -> None:
    leases = Leases(3)
    epochs = [leases.take(number, "node 1") for number in range(3)]
    assert leases.free == []
    assert leases.of("node 1") == [0, 1, 2]
    leases.release(0)
    leases[2].has_run_out = True
    assert leases.free == [0, 2]
    assert leases.of("node 1") == [1, 2]
    assert [leases.refusal(number, epoch) for number, epoch in enumerate(epochs)] == [None] * 3
