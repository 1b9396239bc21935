"""What tests of bad input share: a small shop, and values that nobody should hand over."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, apply, handle
from procession.store.layout.schema import TABLES

shop = Domain("shop")


class Place(Command):
    order_id: str
    what: Any = None


class Placed(Event):
    order_id: str
    what: Any = None


class Moved(Event):
    order_id: str
    when: datetime
    number: int = 0
    text: str = ""
    ratio: float = 0.0


class Stray(Command):
    order_id: str


class Unheard(Event):
    order_id: str


@shop.register
class Basket(Aggregate, identity="order_id"):
    last: Any = None

    @handle(Place)
    def place(self, command: Place) -> Placed:
        return Placed(self.id, command.what)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.last = event.what


@shop.register
class Order(ProcessManager, correlate="order_id"):
    order_id: str = ""
    what: Any = None

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.what = event.what

    @handle(Moved)
    def on_moved(self, event: Moved) -> None:
        pass


def stored(runtime: Runtime) -> dict[str, int]:
    """How many rows each table has; how far routers are is written now and then."""
    with runtime._store.snapshot() as snapshot:
        return {table: snapshot.count(table) for table in TABLES if table != "checkpoints"}


def ordinary(runtime: Runtime) -> None:
    """An ordinary order."""
    (placed,) = runtime.ask(Place("o1", "book"), timeout=20)
    assert placed == Placed("o1", "book")
    runtime.settle(timeout=20)


@contextmanager
def running() -> Iterator[Runtime]:
    with Runtime.ephemeral(shop) as runtime:
        ordinary(runtime)
        yield runtime


def refusal(call: Callable[[], object], *errors: type[Exception]) -> Exception | None:
    """The error of these that it raises, if it raises one."""
    try:
        call()
    except errors as error:
        return error
    return None


# Odd values


class Touchy:
    """Fails whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"hands off my {name}")

    def __repr__(self) -> str:
        raise RuntimeError("it will not be shown")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("it will not be compared")

    def __hash__(self) -> int:
        raise RuntimeError("it has no hash")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


class TouchyText(str):
    """Text that fails in every way that text can."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("it will not be compared")

    def __hash__(self) -> int:
        return 1

    def __str__(self) -> str:
        raise RuntimeError("it will not be shown")

    def encode(self, *_: Any) -> bytes:
        raise RuntimeError("it will not be written")

    isascii = partition = rpartition = encode  # type: ignore[assignment]


class Liar(str):
    """Says that it is equal to everything."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1

    def encode(self, *_: Any) -> bytes:
        return b"\0" * 600


class Moment(datetime):
    pass


class Number(int):
    def __repr__(self) -> str:
        return "many"

    __str__ = __repr__


def deep(levels: int, make: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = make(value)
    return value


def fixed() -> list[Any]:
    """One of each kind."""
    return [
        None,
        True,
        0,
        -1,
        2**63,
        2**64,
        -(2**63) - 1,
        10**5_000,
        math.nan,
        math.inf,
        -math.inf,
        "",
        "\0",
        "a\0b",
        "\ud800",
        "a-\udfff",
        "x" * 600,
        "a-" + "x" * 600,
        "é" * 201,
        b"x",
        bytearray(b"x"),
        [],
        {},
        {1: 2},
        {"a": {1, 2}},
        deep(600),
        deep(5_000),
        deep(100_000),
        deep(5_000, lambda inner: {"a": inner}),
        deep(5_000, lambda inner: (inner,)),
        object(),
        Touchy(),
        [Touchy()],
        {"a": TouchyText("x")},
        TouchyText("x"),
        TouchyText("a-b"),
        Liar("x"),
        Liar("a-b"),
        Number(7),
        Moment(2020, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        timedelta.max,
        UUID(int=0),
        len,
        (n for n in range(3)),
        iter([]),
        Exception("x"),
        NotImplemented,
        ...,
        memoryview(b"x"),
        1j,
    ]


any_text = st.text(st.characters())
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)
odd = plain | st.datetimes() | st.timedeltas() | st.decimals() | st.sets(st.integers())


def told(value: object) -> str:
    try:
        return repr(value)[:60]
    except Exception:  # noqa: BLE001 - some of them refuse
        return object.__repr__(value)
