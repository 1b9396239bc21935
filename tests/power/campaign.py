"""Stores as power cuts leave them: each is looked at, and some are opened and worked off."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from procession import Runtime
from procession.store import DamagedStore
from tests.kill.campaign import finish
from tests.kill.checker import Acknowledged, Findings
from tests.kill.shop import shop
from tests.power.recording import images, recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.power.recording import Image, Moment

HERE = Path(__file__).parent
WORKER = HERE.parent / "kill" / "worker.py"

PER_STORE = 50
"""Images that are made of one recording."""

OPENED = 10
"""Of how many images one is opened and worked off."""

LINES = 400
"""What a worker says before it is ended; later images would only be larger."""


@dataclass
class Tally:
    """What came of it all."""

    images: int = 0
    torn_writes: int = 0
    lost_writes: int = 0
    before_a_store: int = 0
    acknowledged: int = 0
    opened: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)


def recorder(folder: Path) -> Path | None:
    """The library that records, built by the machine's C compiler; None if there is none."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "recorder.so"
    source = HERE / "recorder.c"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"],
        check=True,
    )
    return library


def run(cuts: int, seed: int, tell: Callable[[int], None] = lambda _: None) -> Tally | None:
    """Make and check images; None where there is no C compiler.

    Args:
        cuts: how many
        seed: of the moments, and of what was not synced
        tell: called with the number of images after each one

    """
    tally, chance = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="procession-power-") as name:
        folder = Path(name)
        library = recorder(folder)
        if library is None:
            return None
        os.environ["EFFECTS"] = str(folder / "effects")
        (folder / "effects").touch()
        number = 0
        while tally.images < cuts:
            moments = record(library, folder, number)
            for image in images(moments, chance, min(PER_STORE, cuts - tally.images)):
                check(folder / "image", image, tally)
                tell(tally.images)
            number += 1
    return tally


def record(library: Path, folder: Path, number: int) -> list[Moment]:
    """What a worker writes until it is killed; the number decides how large its commits are."""
    recording, store = folder / "recording", folder / "store"
    surroundings = {**os.environ, "LD_PRELOAD": str(library), "RECORDING": str(recording)}
    worker = subprocess.Popen(
        [sys.executable, WORKER, store, str(number)],
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert worker.stdout is not None
    with worker.stdout:
        for _ in range(LINES):
            worker.stdout.readline()
        worker.kill()
    worker.wait()
    moments = recorded(recording)
    recording.unlink()
    shutil.rmtree(store)
    return moments


def check(path: Path, image: Image, tally: Tally) -> None:
    """Look at what a power cut leaves, in a folder that is made for it and removed."""
    tally.images += 1
    tally.torn_writes += image.torn
    tally.lost_writes += image.lost
    path.mkdir()
    (path / "data.mdb").write_bytes(image.data)
    acknowledged = Acknowledged(image.lines)
    tally.acknowledged += len(acknowledged)
    try:
        findings = Findings(str(path), acknowledged)
    except DamagedStore as error:
        # Its making was cut off, so it is none yet.
        tally.before_a_store += 1
        if "open" in image.lines:
            tally.wrong.append(f"image {tally.images}: {error}")
        shutil.rmtree(path)
        return
    _note(findings, tally)
    if tally.images % OPENED == 0 and not findings.wrong:
        _work_off(path, acknowledged, tally)
    shutil.rmtree(path)


def _work_off(path: Path, acknowledged: Acknowledged, tally: Tally) -> None:
    with Runtime(path, shop) as runtime:
        runtime.settle(timeout=60)
        finish(runtime, acknowledged.orders)
    tally.opened += 1
    after = Findings(str(path), acknowledged)
    _note(after, tally)
    unfinished = (after.orders | acknowledged.orders) - after.complete
    if unfinished:
        tally.wrong.append(f"image {tally.images}: never finished: {sorted(unfinished)[:5]}")


def _note(findings: Findings, tally: Tally) -> None:
    tally.lost += findings.lost
    tally.doubled += findings.doubled
    tally.wrong += [f"image {tally.images}: {one}" for one in findings.wrong]
