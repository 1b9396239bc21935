"""The programs that measure: which figure each is for, how large, and how long it may take."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PROGRAMS", "Program"]


class Program(NamedTuple):
    """One program.

    Attributes:
        row: the number of its figure
        module: in this folder
        full: its options at full size; what is not here is the program's own default
        quick: its options when it is only to be seen to work
        limit: most seconds it may take

    """

    row: int
    module: str
    full: tuple[str, ...]
    quick: tuple[str, ...]
    limit: float


PROGRAMS = (
    Program(1, "three_step_order", ("--orders", "50000"), ("--orders", "1000"), 120),
    Program(2, "three_step_order", ("--orders", "500000"), ("--orders", "1000"), 900),
    Program(3, "awake", (), ("--instances", "2000"), 120),
    Program(
        4,
        "bounded_memory",
        (),
        ("--instances", "6000", "--first", "2000", "--max-awake", "500"),
        600,
    ),
    Program(5, "backlog", (), ("--events", "6000", "--first", "2000", "--max-awake", "500"), 600),
    Program(6, "resuming", (), ("--instances", "4000", "--max-awake", "100"), 120),
    Program(7, "opening", (), ("--instances", "1000", "--tries", "1"), 600),
    Program(8, "ask_latency", (), ("--asks", "200"), 120),
    Program(9, "many_callers", (), ("--threads", "1", "8", "--seconds", "0.1"), 120),
    Program(10, "isolation", (), ("--instances", "2000", "--seconds", "0.05"), 120),
    Program(11, "timeouts", (), ("--pending", "9000", "--each", "3000"), 900),
    Program(12, "real_log", (), ("--events", "2000"), 300),
    Program(13, "hot_instance", (), ("--events", "2000", "--instances", "100"), 120),
    Program(14, "history", (), ("--transitions", "500", "--tries", "20"), 120),
    Program(15, "disk", (), ("--orders", "500"), 300),
    Program(16, "instructions", (), ("--orders", "40"), 300),
    Program(17, "fan_out", (), ("--instances", "100", "400", "--listed", "20", "40"), 300),
    Program(18, "busy_actors", (), ("--instances", "1500", "--max-awake", "500", "50"), 300),
    Program(19, "learnt_keys", (), ("--parcels", "200"), 300),
    Program(20, "random_ids", (), ("--orders", "400"), 600),
    Program(21, "growing_state", (), ("--appends", "400"), 300),
    Program(22, "lonely_order", (), ("--orders", "25"), 120),
    Program(23, "refusals", (), ("--asks", "50"), 60),
    Program(24, "ask_beside_slow", (), ("--instances", "20", "--seconds", "0.001"), 60),
    Program(25, "coroutines", (), ("--callers", "50", "--rounds", "2", "--turns", "1"), 120),
    Program(26, "postgresql", (), ("--orders", "100", "--rounds", "1", "--asks", "20"), 900),
    Program(27, "partitions", (), ("--orders", "100", "--tries", "1"), 900),
    Program(28, "shadow", ("--orders", "1000000"), ("--orders", "400"), 1_200),
    Program(29, "backtest", (), ("--events", "1000", "--tries", "1"), 600),
    Program(
        30,
        "nodes",
        (),
        ("--orders", "60", "--partitions", "12", "--rounds", "1", "--at-once", "20", "60"),
        900,
    ),
)
