"""The figures on the page are those of the results."""

from typing import Any

from bench.page import PAGE, SECTIONS, filled

RESULTS: dict[str, Any] = {
    "machine": {"cpu": "some", "cores": 2, "commit": "newest"},
    "rows": {
        "3": {
            "figures": [
                {
                    "row": 3,
                    "what": "bytes for each",
                    "value": 1422,
                    "unit": "bytes",
                    "reach": 1000,
                    "better": "at most",
                    "reaches": False,
                    "details": {"instances": 100_000, "series": {"points": []}},
                }
            ],
            "commit": "older",
        },
        "12": {"figures": [], "skipped": "no log", "commit": "newest"},
    },
    "peers": [
        {
            "system": "other",
            "version": "1.0",
            "store": "memory",
            "orders": 80,
            "orders_per_s": 5.25,
            "ratio_of_ours": 1100.0,
        }
    ],
    "ours": {"orders": 20_000, "orders_per_s": 7_000},
    "microseconds": {"one part": 10.5, "another": 4.5},
}


def test_what_stands_between_the_marks_is_replaced_and_the_rest_stays() -> None:
    page = "before\n<!-- steps -->\nold\n<!-- end -->\nafter\n"
    assert filled(page, RESULTS) == (
        "before\n<!-- steps -->\n\n| µs | part |\n| --- | --- |\n| 10.5 | one part |\n"
        "| 4.5 | another |\n| 15.0 | together |\n\n<!-- end -->\nafter\n"
    )


def test_a_figure_that_does_not_reach_says_so() -> None:
    page = filled("<!-- figures --><!-- end -->", RESULTS)
    assert "| 3 | bytes for each | 1,422 bytes | at most 1,000 | **not reached** |" in page
    assert "skipped: no log" in page


def test_rows_that_were_measured_before_say_of_which_commit_they_are() -> None:
    page = filled("<!-- machine --><!-- end -->", RESULTS)
    assert "- commit: newest\n- commit of rows 3: older\n" in page


def test_every_section_is_made_and_filling_twice_changes_nothing() -> None:
    page = "".join(f"<!-- {name} -->x<!-- end -->\n" for name in SECTIONS)
    once = filled(page, RESULTS)
    assert "x<" not in once
    assert "1,100 times" in once
    assert "instances 100,000" in once
    assert "series" not in once
    assert filled(once, RESULTS) == once


def test_the_page_has_every_section() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in SECTIONS if f"<!-- {name} -->" not in page] == []
