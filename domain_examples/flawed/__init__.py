"""Process managers with a flaw each, beside one without, for `explore` to find.

Each module has the two as domains, `flawed` and `correct`, a `program` of what comes from outside,
and the `invariants` that only the correct one keeps. Every flaw passes a test that does one thing
after the other.
"""

from . import (
    compensates_in_any_order,
    counts_outside,
    forgets_refund,
    learns_late,
    never_ends,
    reminds_who_paid,
    ships_twice,
    starts_too_early,
    waits_for_ever,
)

__all__ = ["ALL"]

ALL = (
    ships_twice,
    forgets_refund,
    never_ends,
    starts_too_early,
    counts_outside,
    learns_late,
    compensates_in_any_order,
    reminds_who_paid,
    waits_for_ever,
)
