"""What stands on the page about other libraries can be read, and says what one misses."""

import ast

import pytest

from tests.docs.walkthrough import ROOT, Block, blocks

PAGE = "docs/coming-from.md"
OTHERS = [one for one in blocks(PAGE) if one.language == "python" and one.title]


@pytest.mark.parametrize("block", OTHERS, ids=lambda one: one.title)
def test_the_code_of_others_can_be_parsed(block: Block) -> None:
    assert ast.parse(block.text).body


def test_each_library_has_its_code_its_table_and_what_one_misses() -> None:
    sections = (ROOT / PAGE).read_text().split("\n## ")
    peers = [
        one for one in sections if one.startswith(("DBOS", "Temporal", "Commanded", "Protean"))
    ]
    assert len(peers) == 4
    for section in peers:
        assert "\n```" in section
        assert "\n| --- | --- |\n" in section
        assert "\nYou will miss: " in section
