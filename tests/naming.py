"""What tests that are given values are called."""

import re


def called(value: object) -> str:
    """A value in a test's name: short, and the same in every process, so without its address."""
    return re.sub(r" at 0x[0-9a-f]+", "", ascii(value))[:40]
