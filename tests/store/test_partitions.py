"""Which partition an id belongs to."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from procession.store import partition_of

COUNTS = st.integers(1, 4_096)
PLAIN = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]))


@given(PLAIN.filter(bool), PLAIN, PLAIN, COUNTS)
def test_ids_with_the_same_part_in_braces_lie_together(
    tag: str, before: str, behind: str, count: int
) -> None:
    assert partition_of(f"{before}{{{tag}}}{behind}", count) == partition_of(tag, count)


@given(PLAIN, PLAIN, COUNTS)
def test_the_first_braces_with_something_in_them_decide(a: str, b: str, count: int) -> None:
    assert partition_of(f"{{x}}{a}{{y}}{b}", count) == partition_of("x", count)


def test_ids_with_nothing_in_their_braces_are_spread_like_others() -> None:
    for form in ("{{}}{}", "{{{}", "}}{}{{", "{}"):
        found = Counter(partition_of(form.format(number), 8) for number in range(800))
        assert len(found) == 8
        assert max(found.values()) < 200
