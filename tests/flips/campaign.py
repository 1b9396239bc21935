"""One byte of a sound store is changed, and it is looked who notices."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from procession import Runtime
from tests.kill.campaign import finish
from tests.kill.shop import AddNote, GiftNoted, PlaceOrder, shop

if TYPE_CHECKING:
    from collections.abc import Callable

READER = Path(__file__).parent / "reader.py"

PAGE = 4_096
_HEADER = struct.Struct("=QHHHH")
KINDS = {0x01: "branch page", 0x02: "leaf page", 0x04: "overflow page", 0x08: "meta page"}
META = 168
"""Bytes of a meta page in which LMDB has anything."""

GAP = "room that is free"
OTHER = "other page"
"""By its header: a page that was never used, or is the middle of a longer one."""

SECONDS = 120
"""After which a reader that found no end is ended."""


@dataclass
class Tally:
    """What came of it all, by kind of page."""

    flips: Counter[str] = field(default_factory=Counter)
    noticed_by_reading: Counter[str] = field(default_factory=Counter)
    noticed_by_verify_alone: Counter[str] = field(default_factory=Counter)
    ended_the_process: Counter[str] = field(default_factory=Counter)
    without_effect: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    """Other answers than those of the sound store, no error, and no finding of `verify`."""
    told_by_verify_alone: dict[str, int] = field(default_factory=dict)
    """Where reading answered otherwise without an error: for how many of them by kind."""


def make_store(path: Path) -> None:
    """A store in which all that can happen has happened, all of it done."""
    os.environ["EFFECTS"] = str(path.with_name("effects"))
    orders = [f"o{number:04d}" for number in range(150)]
    with Runtime(path, shop, durability="os") as runtime:
        for name in orders[::10]:
            stream = f"killed::gift-{name}"
            # Longer than a page.
            headers = {"letter": f"dear {name}, " * 700}
            runtime.publish(
                GiftNoted(name), stream=stream, event_id=f"gift-{name}", headers=headers
            )
            runtime.tell(AddNote(name), command_id=f"note-{name}")
        totals = (Decimal(2_000 if number % 5 == 0 else 7) for number in range(len(orders)))
        runtime.tell_many(map(PlaceOrder, orders, totals))
        finish(runtime, set(orders))


def run(flips: int, seed: int, tell: Callable[[int], None] = lambda _: None) -> Tally:
    """Change bytes, one in each copy of the store.

    Args:
        flips: how many, the same number for each kind of place
        seed: of the places
        tell: called with the number of flips after each one

    """
    tally, chance = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="procession-flips-") as name:
        folder = Path(name)
        make_store(folder / "store")
        sound = (folder / "store" / "data.mdb").read_bytes()
        places = places_by_kind(sound)
        expected, *rest = look(folder / "copy", sound)
        assert not expected["errors"], expected
        assert rest == [{"findings": 0}], rest
        for number in range(flips):
            kind = sorted(places)[number % len(places)]
            place = chance.choice(places[kind])
            raw = bytearray(sound)
            raw[place] ^= chance.randrange(1, 256)
            found = look(folder / "copy", bytes(raw))
            _note(tally, kind, place, expected, found)
            tell(number + 1)
    return tally


def places_by_kind(data: bytes) -> dict[str, list[int]]:
    """The bytes of a file by what LMDB has there."""
    found: dict[str, list[int]] = defaultdict(list)
    for start in range(0, len(data), PAGE):
        _, _, flags, lower, upper = _HEADER.unpack_from(data, start)
        kind = KINDS.get(flags & 0x0F, OTHER)
        if kind in {"branch page", "leaf page"} and lower <= upper <= PAGE:
            found[kind] += [*range(start, start + lower), *range(start + upper, start + PAGE)]
            found[GAP] += range(start + lower, start + upper)
        else:
            end = start + (META if kind == "meta page" else PAGE)
            found[kind] += range(start, min(end, len(data)))
    return dict(found)


def look(copy: Path, data: bytes) -> list[dict[str, Any]]:
    """What reading and then verifying came to; less if the process was ended by it."""
    copy.mkdir(exist_ok=True)
    (copy / "data.mdb").write_bytes(data)
    try:
        reader = subprocess.run(
            [sys.executable, READER, copy],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return []
    return [json.loads(line) for line in reader.stdout.splitlines()]


def _note(
    tally: Tally, kind: str, place: int, expected: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    tally.flips[kind] += 1
    if not found or found[0]["errors"]:
        tally.noticed_by_reading[kind] += bool(found)
        tally.ended_the_process[kind] += not found
    elif len(found) == 1:
        tally.ended_the_process[kind] += 1
    elif found[0] == expected:
        # Whatever it was, no answer is made of it, or verify tells of it.
        counted = tally.noticed_by_verify_alone if found[1]["findings"] else tally.without_effect
        counted[kind] += 1
    elif found[1]["findings"]:
        tally.noticed_by_verify_alone[kind] += 1
        tally.told_by_verify_alone[kind] = tally.told_by_verify_alone.get(kind, 0) + 1
    else:
        tally.silent.append(f"{kind}, byte {place}: {found[0]}")
