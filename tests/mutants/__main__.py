"""Changes of the core that no test notices: ``python -m tests.mutants --most 100``.

A copy of the checkout is changed, one place at a time, and the tests of what the core decides run
on each. What survives is printed, with the change; either a test is missing, or the change is none.
The tests run on the copy as it is first: where they fail, every change would seem to be noticed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

ROOT = Path(__file__).parents[2]
CHANGED = "actors/core"
# Those that notice most come first.
TESTS = (
    "actors/core",
    "actors/testing/test_scenario.py",
    "actors/engine/test_timers.py",
    "actors/engine/test_delayed_commands.py",
    "actors/engine/test_aggregate_actor.py",
    "actors/engine/test_once.py",
    "actors/engine/test_effects.py",
    "actors/model/test_correlation.py",
    "actors/model/test_contexts.py",
    "actors/model/test_upcasting.py",
    "actors/model/test_snapshots.py",
    "actors/authoring/test_context.py",
    "actors/queries/test_diagnostics.py",
    "actors/queries/test_reader.py",
    "actors/engine/test_damaged_records.py",
    "actors/test_promises.py",
    "actors/testing/test_runtime_under_exploration.py",
)
COMMAND = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
COMMAND += [f"tests/{one}" for one in TESTS]
# Annotations are not run, and whether two values are the same object rarely matters.
LEFT_OUT = ("BitOr", "Decorator", "NumberReplacer", "ZeroIterationForLoop")


def main() -> int:
    """Print what survives, and the score.

    Returns:
        0, since a survivor is for a person to judge; 1 if the tests fail with nothing changed

    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=100, help="changes to try; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name) / "checkout"
        _copy(folder)
        session = folder / "session.sqlite"
        config = folder / "mutants.toml"
        print("the tests with nothing changed", flush=True)
        began = time.monotonic()
        if subprocess.run(COMMAND, check=False, cwd=folder).returncode:
            print("nothing was tried: the tests fail with nothing changed")
            return 1
        # A change may have a test wait for ever.
        config.write_text(_config(limit=30 + 3 * (time.monotonic() - began)))
        _cosmic_ray(folder, "init", config, session)
        with use_db(str(session)) as db:
            _leave_out(db, options.most, options.seed)
        _cosmic_ray(folder, "exec", config, session)
        with use_db(str(session)) as db:
            return _tell(db)


def _copy(folder: Path) -> None:
    """A checkout in which `procession` is found before the one that is installed."""
    ignore = shutil.ignore_patterns(".*", "build", "__pycache__", "results")
    shutil.copytree(ROOT, folder, ignore=ignore)
    (folder / "procession").symlink_to("actors")
    (folder / "actors" / "store").symlink_to("../store")


def _config(limit: float) -> str:
    return (
        f'[cosmic-ray]\nmodule-path = "{CHANGED}"\ntimeout = {limit:.0f}\nexcluded-modules = []\n'
        f'test-command = "{" ".join(COMMAND)}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )


def _cosmic_ray(folder: Path, *arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "cosmic_ray.cli", *map(str, arguments)], check=True, cwd=folder
    )


def _leave_out(db: WorkDB, most: int, seed: int) -> None:
    """Keep as many as are to be tried, chosen by a seed."""
    wanted = [
        item
        for item in db.work_items
        if not any(
            part in mutation.operator_name for mutation in item.mutations for part in LEFT_OUT
        )
    ]
    chosen = random.Random(seed).sample(wanted, min(most or len(wanted), len(wanted)))
    kept = {item.job_id for item in chosen}
    skipped = WorkResult(output="not chosen", worker_outcome=WorkerOutcome.SKIPPED)
    for item in list(db.work_items):
        if item.job_id not in kept:
            db.set_result(item.job_id, skipped)


def _tell(db: WorkDB) -> int:
    tried = noticed = unending = 0
    for job_id, result in db.results:
        if result.worker_outcome is WorkerOutcome.SKIPPED:
            continue
        tried += 1
        if result.test_outcome is not TestOutcome.SURVIVED:
            noticed += 1
            unending += result.output == "timeout"
            continue
        [item] = [one for one in db.work_items if one.job_id == job_id]
        for mutation in item.mutations:
            place = f"{mutation.module_path}:{mutation.start_pos[0]}"
            print(f"{place} {mutation.operator_name}\n{result.diff or ''}")
    print(
        f"{noticed} of {tried} changes were noticed, {unending} of them since the tests did not end"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
