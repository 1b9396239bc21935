"""What `docs/store-format.md` says is what the code writes."""

import re
import struct
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from procession.store import (
    FORMAT_VERSION,
    FROM_OUTSIDE,
    MAX_NAME_BYTES,
    Append,
    Block,
    CommandRecord,
    CommandResult,
    Committed,
    DocumentChanges,
    DocumentSet,
    EffectRecord,
    Erase,
    ErasureRecord,
    EventRecord,
    LmdbStore,
    PackedFields,
    ParkedRecord,
    RefusalRecord,
    Step,
    StepExtras,
    TimerRecord,
    TransitionRecord,
    UnmatchedRecord,
    change_between,
)
from procession.store.layout.schema import TABLES, PartitionRow, SentRow

DOC = (Path(__file__).parents[2] / "docs" / "store-format.md").read_text(encoding="utf-8")
ZERO, ONE, TWO, THREE = (bytes(7) + bytes([n]) for n in range(4))


def dumps() -> list[bytes]:
    """The bytes of each hex block: what stands before two spaces on each line."""
    blocks = re.findall(r"```hex\n(.*?)```", DOC, re.DOTALL)
    return [
        b"".join(bytes.fromhex(re.split(r" {2,}", line)[0]) for line in block.splitlines())
        for block in blocks
    ]


def fields_of(heading: str) -> int:
    """How many fields the section's table numbers."""
    section = DOC.split(f"### {heading}", 1)[1].split("\n#", 1)[0]
    return len(re.findall(r"^\| \d+ \|", section, re.MULTILINE))


WORDS = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]


def said_fields_of(heading: str) -> int:
    """How many fields the section's heading speaks of."""
    (word,) = re.findall(rf"^### {heading}: (\w+) fields$", DOC, re.MULTILINE)
    return WORDS.index(word) + 2


def read_with_lmdb_alone(folder: Path) -> dict[str, dict[bytes, bytes]]:
    found: dict[str, dict[bytes, bytes]] = {}
    with lmdb.Environment(str(folder), max_dbs=32, readonly=True) as env:
        for table in TABLES:
            db = env.open_db(table.encode(), create=False)
            with env.begin() as txn, txn.cursor(db) as cursor:
                found[table] = {bytes(key): bytes(raw) for key, raw in cursor}
    return found


def value(key: bytes, raw: bytes) -> Any:
    """A frame taken apart as the page says; in `ids` there is none."""
    if len(raw) == 8 and raw[:4] == ZERO[:4]:
        return int.from_bytes(raw, "big")
    (checksum,) = struct.unpack("<I", raw[:4])
    assert checksum == zlib.crc32(key + raw[4:])
    return msgpack.unpackb(raw[4:])


def digest(*names: str) -> bytes:
    return blake2b("\0".join(names).encode(), digest_size=16).digest()


def write(folder: Path, *steps: Step, checkpoints: dict[str, int] | None = None) -> None:
    with LmdbStore(folder, durability="none") as store:
        if any(step.transition is not None for step in steps):
            assert store.number_of_code("P", "cpython-311", b"12345678") == 1
        assert store.commit(steps, checkpoints) == [Committed()] * len(steps)


def test_the_example_is_what_the_code_writes(tmp_path: Path) -> None:
    data: bytes = msgpack.packb({"order_id": "o1"})
    stream = "shop::order-o1"
    record = EventRecord("Shop.OrderPlaced.v1", stream, 0, 1_709_208_000_000_000, data, "", "")
    write(tmp_path, Step(append=Append(stream, 0, [record])))
    log_key, log_value, stream_key, stream_value = dumps()
    found = read_with_lmdb_alone(tmp_path)
    assert found["log"] == {log_key: log_value}
    assert found["ids"] == {stream_key: stream_value}
    assert found["event_ids"] == {}


def test_the_page_names_the_format_and_every_table() -> None:
    assert f"Format version {FORMAT_VERSION}." in DOC
    assert f"at most {MAX_NAME_BYTES} bytes" in DOC
    tables = DOC.split("## The tables", 1)[1].split("###", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE) == list(TABLES)


def test_the_files_are_those_of_the_page(tmp_path: Path) -> None:
    write(tmp_path)
    named = re.findall(r"^\| `([\w.]+)` \|", DOC.split("## Opening", maxsplit=1)[0], re.MULTILINE)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(named)


def changed() -> bytes:
    """What leads from one state to another."""
    before, after = ({"key": key, "items": items} for key, items in (("a", [1]), ("b", [1, 2])))
    fields = [PackedFields.of(msgpack.packb(state)) for state in (before, after)]
    change, _ = change_between(fields[0], fields[1].parts)
    assert change is not None
    return change


def test_a_change_of_a_state_is_that_of_the_page() -> None:
    added = {"items": [1, msgpack.packb(2)]}
    others = {"key": msgpack.packb("b")}
    # Of a text all of it is contents; of an array, what follows its head.
    key, items = zlib.crc32(msgpack.packb("b")), zlib.crc32(b"\x01\x02")
    checksum = zlib.crc32(f"key\0000\0{key}\0items\0array2\0{items}\0".encode())
    assert msgpack.unpackb(changed()) == [checksum, others, added]


def event_of(stream: str) -> EventRecord:
    return EventRecord("E", stream, 0, 5, b"data", "", "corr")


def test_keys_and_rows_are_those_of_the_page(tmp_path: Path) -> None:
    given = EventRecord("E", "s", 0, 5, b"data", "e1", "corr", "cause", b"headers", 4)
    given.digest = bytes(16)
    issued = CommandRecord("c1", "C", "t", 6, b"c", "corr", "e1", "P", "i", 1, 5, b"headers")
    asked = CommandRecord("c0", "C", "s", 4, b"c", "c0", digest=bytes(16))
    told = CommandRecord("c2", "C", "t", 7, b"c", "c2", digest=bytes(16))
    delayed = CommandRecord("c3", "C", "t", 8, b"c", "corr", "e1", "P", "i", 1)
    failed = ParkedRecord("P", "i", "e1", "E", "text", 3, 9, 1, None, "late", 2, True)
    failed.handler, failed.place = "on_e", "shop.py:7 in on_e"
    effect = ParkedRecord("P", "i", "e1", "E", "text", 1, 9, 1, effect="print")
    write(
        tmp_path,
        Step(
            append=Append("s", None, [given], unique=True),
            process="P",
            instance="i",
            transition=TransitionRecord(
                version=1,
                time=8,
                handler="on_e",
                is_complete=True,
                cause="e1",
                correlation_id="corr",
                seen=1,
                state=b"state",
                commands=[("c1", "C", b"c")],
                timers={"late": 10},
                note="note",
                state_version=2,
                position=1,
                code=1,
                headers=b"headers",
            ),
            enqueue=[issued, told],
            given=asked,
            result=CommandResult(),
            park=failed,
            wait=2,
            extras=StepExtras(
                timers=[
                    TimerRecord(10, "P", "i", "late", "timeout", None, 6, b"headers"),
                    TimerRecord(11, "P", "i", "c3", "command", delayed),
                ],
                block=Block("parked", 1, "late", 2, 3, 4, depth=6, headers=b"headers"),
                index=[("email", None, "a@b")],
                refusal=RefusalRecord(issued, "no"),
                snapshot=(1, b"snapshot"),
            ),
        ),
        Step(park=ParkedRecord("", "t", "c2", "E", "text", 1, 9, 0, told)),
        Step(park=effect),
        Step(
            process="P",
            extras=StepExtras(hold=UnmatchedRecord("P", 2, "email", ["c@d"], 13, ["j"])),
        ),
        Step(
            extras=StepExtras(
                effect=EffectRecord(1, "P", "i", "print", 1, 14, [("P-i@after1.0", "C", b"c")])
            )
        ),
        Step(process="P", instance="i", extras=StepExtras(owes=1)),
        Step(
            extras=StepExtras(
                erase=Erase(16, record=ErasureRecord("instance", "P", "gone", 16, "ann"))
            )
        ),
        Step(
            extras=StepExtras(
                documents=DocumentChanges(
                    "R", {(2, "k"): b"value"}, [DocumentSet("R", 2, "live", 3, 1, [2])]
                )
            )
        ),
        *(Step(append=Append(stream, 0, [event_of(stream)])) for stream in ("cat-", "cat-1-2")),
        Step(extras=StepExtras(unpark=2, decision=("skip", 12, "ann"))),
        checkpoints={"P": 1},
    )
    found = read_with_lmdb_alone(tmp_path)
    rows = {
        table: {key: value(key, raw) for key, raw in found[table].items()}
        for table in TABLES
        if table != "meta"
    }
    issued_row = ["c1", "C", "t", 6, b"c", "corr", "e1", "P", "i", 1, 5, b"headers"]
    told_row = ["c2", "C", "t", 7, b"c", "c2", None, None, None, 0, 0, None]
    delayed_row = ["c3", "C", "t", 8, b"c", "corr", "e1", "P", "i", 1, 0, None]
    event_row = ["E", "s", 1, 5, b"data", "e1", "corr", "cause", b"headers", 4]
    other_rows = [
        ["E", stream, 1, 5, b"data", None, "corr", None, None, 0] for stream in ("cat-", "cat-1-2")
    ]
    moved = ["P", "i", 1, 8, "on_e", True, "e1", "corr", 1, b"state", [["c1", "C", b"c"]]]
    moved += [{"late": 10}, "note", 2, 1, 0, 1, 1, b"headers"]
    failed_row = ["P", "i", "e1", "E", "text", 3, 9, 1, None, "late", 2, True, "", None]
    failed_row += ["on_e", "shop.py:7 in on_e"]
    effect_row = ["P", "i", "e1", "E", "text", 1, 9, 1, None, "", 0, False, "print", None, "", ""]
    skipped = ["", "t", "c2", "E", "text", 1, 9, 0, told_row, "", 0, False, "", ["skip", 12, "ann"]]
    skipped += ["", ""]
    block = ["parked", 1, "late", 2, 3, 4, 1, 6, b"headers"]
    timeout = ["P", "i", "late", "timeout", None, 6, b"headers"]
    code_row = ["P", "cpython-311", b"12345678"]
    acted = ["P", "i", "print", 1, 14, [["P-i@after1.0", "C", b"c"]]]
    assert rows == {
        "log": {ONE: event_row, TWO: other_rows[0], THREE: other_rows[1]},
        "transitions": {ONE: moved},
        "ids": {b"\0n\0s\0" + ONE: 1, b"i\0i\0P\0" + ONE: 1, b"\0s\0cat\0" + ONE: 2}
        | {b"1-2\0s\0cat\0" + ONE: 3},
        "started": {b"P\0" + ONE: "i"},
        "queue": {ONE: issued_row, b"\x40" + bytes(6) + b"\x01": told_row},
        "event_ids": {b"e1": [1, bytes(16)]},
        "command_ids": {
            b"c0": [1, 1, None, "C", "s", 4, bytes(16), True, None],
            b"c2": [0, 0, None, "C", "t", 7, bytes(16), False, None],
        },
        "checkpoints": {b"P": 1},
        "parked": {ONE: failed_row, THREE: effect_row},
        "parked_at": {b"P\0i\0" + ONE: 1, digest("P", "i", "print") + ONE: 3},
        "decided": {TWO: skipped},
        "waiting": {b"P\0i\0" + ZERO: block, b"P\0i\0" + TWO: 0},
        "timers": {
            bytes(7) + b"\x0a" + digest("P", "i", "timeout", "late"): timeout,
            bytes(7) + b"\x0b" + digest("P", "i", "command", "c3"): [
                *("P", "i", "c3", "command"),
                delayed_row,
                0,
                None,
            ],
        },
        "index": {digest("P", "email", "a@b") + b"i": 0},
        "refusals": {ONE: [issued_row, "no"]},
        "snapshots": {b"s": [1, b"snapshot"]},
        "names": {
            b"event\0" + digest("E"): "E",
            b"command\0" + digest("C"): "C",
            b"process\0" + digest("P"): "P",
        },
        "codes": {ONE: code_row},
        "unmatched": {b"P\0" + TWO: ["email", ["c@d"], 13, ["j"]]},
        "unmatched_by": {digest("P", "email", "c@d") + TWO: 0},
        "counts": {
            digest("event", "s", "E"): ["event", ["s", "E"], 1],
            digest("event", "cat", "E"): ["event", ["cat", "E"], 2],
            digest("instance", "P", "suspended"): ["instance", ["P", "suspended"], 1],
            digest("parked", "P", "E", "on_e", "shop.py:7 in on_e"): [
                "parked",
                ["P", "E", "on_e", "shop.py:7 in on_e"],
                1,
            ],
            digest("parked", "P", "E", "", ""): ["parked", ["P", "E", "", ""], 1],
        },
        "effects": {ONE + digest("P", "i"): acted},
        "owed": {b"P\0" + ONE + b"i": 1},
        "erasures": {ONE: ["instance", "P", "gone", 16, "ann", False]},
        "tombstones": {},
        "partitions": {},
        "outgoing": {},
        "cursors": {},
        "document_sets": {b"R\0" + TWO: ["live", 3, 1, [2]]},
        "documents": {b"R\0" + TWO + b"k": [b"value"]},
    }
    assert FROM_OUTSIDE == 1 << 62
    for heading, row in {
        "An event": event_row,
        "A transition": moved,
        "A change of a state": list(msgpack.unpackb(changed())),
        "A command": issued_row,
        "An event that was given its id": rows["event_ids"][b"e1"],
        "A command that was given its id": rows["command_ids"][b"c0"],
        "What was parked": failed_row,
        "A block": block,
        "A timer": timeout,
        "A refusal": rows["refusals"][ONE],
        "A snapshot": rows["snapshots"][b"s"],
        "A code": code_row,
        "How many there are": rows["counts"][digest("event", "s", "E")],
        "What an after-effect issued": acted,
        "An event that is held": rows["unmatched"][b"P\0" + TWO],
        "Which partition this is": PartitionRow.__struct_fields__,
        "A making of documents": rows["document_sets"][b"R\0" + TWO],
        "What was sent": SentRow.__struct_fields__,
    }.items():
        assert fields_of(heading) == len(row)
        assert said_fields_of(heading) == len(row)


def test_meta_holds_the_format_and_an_id_of_the_store(tmp_path: Path) -> None:
    write(tmp_path)
    meta = {key: value(key, raw) for key, raw in read_with_lmdb_alone(tmp_path)["meta"].items()}
    assert meta.keys() == {b"format", b"store_id", b"secret"}
    assert meta[b"format"] == FORMAT_VERSION
    assert re.fullmatch(r"[0-9a-f]{32}", meta[b"store_id"])
    assert re.fullmatch(r"[0-9a-f]{64}", meta[b"secret"])


def test_an_id_in_the_form_of_its_place_is_left_out_of_the_event_even_when_given(
    tmp_path: Path,
) -> None:
    given = EventRecord("E", "s", 0, 5, b"", "s@1", "")
    write(tmp_path, Step(append=Append("s", None, [given], unique=True)))
    found = read_with_lmdb_alone(tmp_path)
    assert value(ONE, found["log"][ONE])[5] is None
    assert value(b"s@1", found["event_ids"][b"s@1"]) == [1, b""]


def test_meta_counts_the_commits_that_wrote_anything(tmp_path: Path) -> None:
    for _ in range(2):
        write(tmp_path, Step(append=Append("s", None, [event_of("s")])), Step())
    write(tmp_path, Step())
    meta = read_with_lmdb_alone(tmp_path)["meta"]
    assert value(b"commits", meta[b"commits"]) == 2
