"""Reads a whole store as a service does, then verifies it; one line of JSON after each.

    python reader.py STORE

A damaged page can end the process that reads it, so this is a process of its own.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from procession import Aggregate, ProcessionError, Runtime
from procession.store import verify
from tests.kill.shop import Fulfilment, Notebook, Order, Payment, Shipment, shop


def said(runtime: Runtime) -> Iterator[str]:
    """Every answer of the reading half; a record that cannot be read is answered in its place."""
    aggregates: dict[str, type[Aggregate]] = {
        "order": Order,
        "payment": Payment,
        "shipment": Shipment,
        "notebook": Notebook,
    }
    streams = set()
    for one in runtime.events():
        yield f"{one.position} {one}"
        streams.add(one.stream)
    for stream in sorted(streams):
        for one in runtime.events(stream):
            yield f"{stream} {one.version} {one}"
        kind, _, name = stream.partition("::")[2].partition("-")
        if kind in aggregates:
            yield str(runtime.get(aggregates[kind], name))
    for view in runtime.find(Fulfilment):
        yield str(view)
        yield str(runtime.get(Fulfilment, view.id))
        for step in runtime.history(Fulfilment, view.id):
            yield str(step)
    yield from map(str, runtime.parked())
    yield from map(str, runtime.timeouts())


def read(path: str) -> dict[str, object]:
    """A digest of all answers, and what was said to be damaged."""
    digest, errors, count = hashlib.sha256(), [], 0
    try:
        with Runtime(path, shop, read_only=True) as runtime:
            answers = said(runtime)
            while True:
                try:
                    answer = next(answers)
                except StopIteration:
                    break
                count += 1
                digest.update(answer.encode())
                if "CorruptRecord" in answer:
                    errors.append("CorruptRecord")
    except ProcessionError as error:
        errors.append(type(error).__name__)
    return {"digest": digest.hexdigest(), "errors": sorted(set(errors)), "answers": count}


def main() -> None:
    path = sys.argv[1]
    for look in (read, lambda path: {"findings": len(verify(path, limit=1))}):
        try:
            found = look(path)
        except ProcessionError as error:
            found = {"errors": [type(error).__name__], "findings": 1}
        # By the system's call, so that what was said is there when the next look ends the process.
        os.write(1, json.dumps(found).encode() + b"\n")


if __name__ == "__main__":
    main()
