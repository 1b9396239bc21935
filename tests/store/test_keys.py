"""Keys are taken apart: what is quick for those that are sound says what the format has."""

import random

import pytest

from procession.store.layout import keys
from procession.store.layout.keys import Digest, Misshapen, Number, Parts, Text, parser
from procession.store.layout.schema import TABLES

NUMBERED = (Text("id", may_be_empty=True), Text("kind"), Number("version"))
SHAPES: dict[str, Parts] = {name: table.key for name, table in TABLES.items()} | {
    "numbered": NUMBERED,
    "number": (Number("place", 0),),
    "digest first": (Digest("names"), Number("place")),
}


def said(parts: Parts, key: bytes, *, quickly: bool) -> object:
    read = parser(parts) if quickly else lambda given: keys._parse(parts, given)
    try:
        return read(key)
    except Misshapen as error:
        return str(error)


@pytest.mark.parametrize("parts", SHAPES.values(), ids=SHAPES)
def test_any_bytes_are_taken_apart_as_part_by_part(parts: Parts) -> None:
    chosen = random.Random(len(parts))
    pieces = [b"a", b"\0", b"o1", "ö".encode(), b"\xff", bytes(7), b"\0" * 7 + b"\1", bytes(16)]
    for _ in range(3_000):
        key = b"".join(chosen.choices(pieces, k=chosen.randrange(9)))
        assert said(parts, key, quickly=True) == said(parts, key, quickly=False), key


def test_a_key_of_texts_and_a_number_says_them() -> None:
    read = parser(NUMBERED)
    assert read("ö1\0s\0".encode() + bytes(7) + b"\x07") == ("ö1", "s", 7)
    assert read(b"\0s\0" + bytes(7) + b"\1") == ("", "s", 1)
    with pytest.raises(Misshapen, match="no kind"):
        read(b"o1\0\0" + bytes(7) + b"\1")
