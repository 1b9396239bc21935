"""Priorities by chance: the same for the same number, and lost by who is demoted."""

from procession.testing.simulation.ranking import Ranking

ALL = ["router", "instance", "commit", "client"]


def order_of(ranking: Ranking) -> list[str]:
    left, order = list(ALL), []
    while left:
        order.append(left.pop(ranking.first(left)))
    return order


def test_a_number_gives_everyone_a_priority_that_stays() -> None:
    for number in range(20):
        ranking = Ranking(number)
        assert order_of(ranking) == order_of(ranking) == order_of(Ranking(number))


def test_numbers_give_all_orders_there_are() -> None:
    assert len({tuple(order_of(Ranking(number))) for number in range(500)}) == 24


def test_who_is_demoted_falls_behind_all_others_and_behind_those_before() -> None:
    ranking = Ranking(7)
    first, second, *others = order_of(ranking)
    ranking.demote(first)
    ranking.demote(second)
    assert order_of(ranking) == [*others, first, second]
