"""How calls for other nodes are written and read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

FIRST = """
import sys, threading
sys.setswitchinterval(1e-6)
from procession.cluster.call_format import CallFormat
from procession.store import CommandRecord, EventRecord

command = CommandRecord("id", "A.B.v1", "a-1", 0, b"", "")
event = EventRecord("A.B.v1", "id", 0, 1, b"", "", "")
form = CallFormat(None, None)
for read, kind, given in (
    (form.asked, "ask", command),
    (form.told, "tell", [command]),
    (form.published, "publish", [("a-1", event, True)]),
):
    request, together = form.packed(kind, (given,)), threading.Barrier(16)
    threads = [
        threading.Thread(target=lambda: (together.wait(), read(request))) for _ in range(16)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
"""


def test_calls_are_read_by_many_threads_none_of_which_read_one_before() -> None:
    for _ in range(3):
        subprocess.run([sys.executable, "-c", FIRST], cwd=ROOT, check=True, timeout=60)
