"""Times are read back as they were given: the moment, the offset, the zone and the fold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any, NamedTuple, TypedDict
from zoneinfo import ZoneInfo, available_timezones

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import Domain, Event, InvalidMessage, ProcessManager, Runtime, handle
from procession.clock import to_micros
from procession.messages.codec import codecs, differ, dump_headers
from procession.messages.times import are_in
from procession.testing import Scenario

BERLIN = ZoneInfo("Europe/Berlin")
# The clocks of Berlin showed this hour twice, and the other one never.
REPEATED = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
SKIPPED = datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN)


@dataclass
class Visit:
    at: datetime
    name: str = ""


class Pair(NamedTuple):
    first: datetime
    text: str


class Slot(TypedDict):
    begins: time


class Open(msgspec.Struct, tag="open", frozen=True):
    since: datetime


class Shut(msgspec.Struct, tag="shut", frozen=True):
    since: str


class Line(msgspec.Struct, array_like=True, frozen=True):
    at: datetime
    what: str


class Inner(Event):
    at: datetime
    text: str = ""


class Chain(Event):
    at: datetime
    before: Chain | None = None


class Booked(Event):
    """One field for each place in which a time may be."""

    at: datetime
    maybe: datetime | None = None
    number: int | datetime = 0
    hour: time | None = None
    many: list[datetime] = []
    parts: tuple[datetime, ...] = ()
    pair: tuple[str, datetime] | None = None
    unique: set[datetime] = set()
    frozen: frozenset[datetime] = frozenset()
    by_name: dict[str, datetime] = {}
    by_moment: dict[datetime, str] = {}
    deep: dict[str, list[tuple[datetime | None, str]]] = {}
    inner: Inner | None = None
    visit: Visit | None = None
    named: Pair | None = None
    slot: Slot | None = None
    state: Open | Shut | None = None
    line: Line | None = None
    text: str = ""
    texts: list[str] = []
    plain: Any = None


def read_back(event: Event) -> Any:
    codec = codecs[type(event)]
    packed = codec.dump(event)
    assert codec.dump(event) == packed
    return codec.load(packed)


def plain_of(event: Event) -> Any:
    return msgpack.unpackb(codecs[type(event)].dump(event), strict_map_key=False)


def same(one: datetime, other: datetime) -> bool:
    """Whether two times are the same in all that can be seen of them."""
    return (one.replace(tzinfo=None), one.tzinfo, one.fold, one.utcoffset()) == (
        other.replace(tzinfo=None),
        other.tzinfo,
        other.fold,
        other.utcoffset(),
    )


names = st.sampled_from(sorted(available_timezones()))
zones = names.map(ZoneInfo)
offsets = st.timedeltas(
    min_value=timedelta(hours=-23, minutes=-59), max_value=timedelta(hours=23, minutes=59)
).map(timezone)
every_zone: Any = st.none() | st.just(UTC) | offsets | zones
moments = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=every_zone,
    allow_imaginary=True,
)
# Most zones set their clocks at such a time.
hours_of_change = st.builds(
    lambda moment, zone, minutes: (
        datetime.fromtimestamp(moment * 900, zone) + timedelta(minutes=minutes)
    ),
    st.integers(-2_000_000, 2_600_000),
    zones,
    st.integers(-90, 90),
)


# What is read back


@given(moments | hours_of_change, st.integers(0, 1))
def test_every_time_is_read_back_with_its_moment_offset_zone_and_fold(
    moment: datetime, fold: int
) -> None:
    moment = moment.replace(fold=fold)
    assert same(read_back(Booked(moment)).at, moment)


@pytest.mark.parametrize("moment", [REPEATED, SKIPPED])
@pytest.mark.parametrize("fold", [0, 1])
def test_a_repeated_and_a_skipped_hour_keep_zone_and_fold_in_every_place(
    moment: datetime, fold: int
) -> None:
    at = moment.replace(fold=fold)
    event = Booked(
        at,
        maybe=at,
        number=at,
        hour=time(2, 30, fold=fold, tzinfo=BERLIN),
        many=[at, at],
        parts=(at,),
        pair=("a", at),
        unique={at},
        frozen=frozenset({at}),
        by_name={"a": at},
        by_moment={at: "a"},
        deep={"a": [(at, "b"), (None, "c")]},
        inner=Inner(at, "x"),
        visit=Visit(at),
        named=Pair(at, "y"),
        slot={"begins": time(2, 30, fold=fold, tzinfo=BERLIN)},
        state=Open(at),
        line=Line(at, "z"),
    )
    back = read_back(event)
    assert back == event
    found = [
        back.at,
        back.maybe,
        back.number,
        *back.many,
        *back.parts,
        back.pair[1],
        *back.unique,
        *back.frozen,
        back.by_name["a"],
        *back.by_moment,
        back.deep["a"][0][0],
        back.inner.at,
        back.visit.at,
        back.named.first,
        back.state.since,
        back.line.at,
    ]
    assert all(same(one, at) for one in found)
    for one in (back.hour, back.slot["begins"]):
        assert (one, one.tzinfo, one.fold) == (time(2, 30, tzinfo=BERLIN), BERLIN, fold)


@given(st.times(timezones=every_zone), st.integers(0, 1))
def test_a_time_of_day_is_read_back_with_its_offset_or_zone_and_fold(hour: time, fold: int) -> None:
    hour = hour.replace(fold=fold)
    back = read_back(Booked(REPEATED, hour=hour)).hour
    assert (back.replace(tzinfo=None), back.tzinfo, back.fold) == (
        hour.replace(tzinfo=None),
        hour.tzinfo,
        fold,
    )


def test_the_two_halves_of_a_repeated_hour_stay_an_hour_apart() -> None:
    first, second = read_back(Booked(REPEATED, many=[REPEATED, REPEATED.replace(fold=1)])).many
    assert to_micros(second) - to_micros(first) == 3_600_000_000


def test_a_message_within_messages_of_its_own_class_keeps_its_zone() -> None:
    event = Chain(REPEATED, Chain(SKIPPED, Chain(REPEATED.replace(fold=1))))
    back = read_back(event)
    assert same(back.before.before.at, REPEATED.replace(fold=1))


def test_a_text_that_looks_like_a_time_stays_text() -> None:
    text = "2026-10-25T02:30:00+01:00[Europe/Berlin]"
    event = Booked(
        REPEATED,
        text=text,
        texts=[text],
        plain={"a": [text]},
        by_moment={REPEATED: text},
        pair=(text, REPEATED),
        state=Shut(text),
        named=Pair(REPEATED, text),
        line=Line(REPEATED, text),
    )
    assert read_back(event) == event


# What is stored


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 10, 25, 2, 30), "2026-10-25T02:30:00"),  # noqa: DTZ001 - it has none
        (datetime(2026, 10, 25, 2, 30, tzinfo=UTC), "2026-10-25T02:30:00Z"),
        (datetime(2026, 10, 25, tzinfo=timezone(timedelta(0))), "2026-10-25T00:00:00Z"),
        (
            datetime(2026, 10, 25, 2, 30, 0, 5, tzinfo=timezone(timedelta(hours=-3.5))),
            "2026-10-25T02:30:00.000005-03:30",
        ),
        (REPEATED, "2026-10-25T02:30:00+02:00[Europe/Berlin]"),
        (REPEATED.replace(fold=1), "2026-10-25T02:30:00+01:00[Europe/Berlin]"),
        (SKIPPED, "2026-03-29T02:30:00+01:00[Europe/Berlin]"),
        (datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")), "2026-01-01T00:00:00+00:00[UTC]"),
        (
            datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Dublin")),
            "1900-01-01T00:00:00-00:25:21[Europe/Dublin]",
        ),
        (
            datetime(2000, 1, 1, tzinfo=timezone(timedelta(seconds=1172))),
            "2000-01-01T00:00:00+00:19:32",
        ),
        (datetime(2026, 1, 1, fold=1, tzinfo=UTC), "2026-01-01T00:00:00Z[_fold=1]"),
        (
            datetime(2026, 1, 1, fold=1, tzinfo=BERLIN),
            "2026-01-01T00:00:00+01:00[Europe/Berlin][_fold=1]",
        ),
    ],
)
def test_a_time_is_stored_as_text_that_people_can_read(moment: datetime, text: str) -> None:
    assert plain_of(Booked(moment))["at"] == text


@given(
    st.datetimes(
        timezones=st.none()
        | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    )
)
def test_what_rfc_3339_can_say_is_stored_as_msgspec_writes_it(moment: datetime) -> None:
    moment = moment.replace(fold=0)
    assert plain_of(Booked(moment))["at"] == msgspec.to_builtins(moment)


def test_times_that_were_stored_before_are_read() -> None:
    packed = msgpack.packb({"at": "2026-10-25T02:30:00+01:00", "many": ["2026-10-25T02:30:00Z"]})
    back = codecs[Booked].load(packed)
    assert back.at == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert back.many == [datetime(2026, 10, 25, 2, 30, tzinfo=UTC)]


def test_the_moment_stays_when_the_rules_of_a_zone_were_changed_since() -> None:
    packed = msgpack.packb({"at": "2026-07-01T12:00:00+05:00[Europe/Berlin]"})
    back = codecs[Booked].load(packed).at
    assert same(back, datetime(2026, 7, 1, 9, tzinfo=BERLIN))


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "Europe"])
def test_a_zone_that_is_not_known_is_refused_with_what_to_do(name: str) -> None:
    packed = msgpack.packb({"at": f"2026-07-01T12:00:00+02:00[{name}]"})
    with pytest.raises(
        InvalidMessage,
        match=r"^stored Booked does not fit its class: .*zone that is not known here; install the",
    ):
        codecs[Booked].load(packed)


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-01T12:00:00+02:00[Europe/Berlin]",
        "2026-07-01T12:00:00[]",
        "2026-07-01[Europe/Berlin]",
        "12:00:00[Europe/Berlin]",
        "2026-07-01T12:00:00+02:00[Europe/Berlin][u-ca=hebrew]",
        "0001-01-01T00:00:00+23:00[America/New_York]",
    ],
)
def test_text_that_is_no_time_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(InvalidMessage, match=r"`\$\.many\[1\]`"):
        codecs[Booked].load(
            msgpack.packb({"at": "2026-07-01T12:00:00Z", "many": ["2026-07-01T12:00:00Z", text]})
        )


# What is valid


class Foreign(tzinfo):
    """A zone of another library: by its rules clocks are set, and it has no name."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=BERLIN).utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None


class Shy(Foreign):
    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None


@pytest.mark.parametrize("moment", [REPEATED, SKIPPED])
@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("zone", [Foreign(), ZoneInfo.no_cache("Europe/Berlin")])
def test_a_time_of_any_zone_is_taken_in_every_hour_and_keeps_its_moment(
    moment: datetime, fold: int, zone: tzinfo
) -> None:
    at = moment.replace(tzinfo=zone, fold=fold)
    event = Booked(
        at,
        many=[at],
        pair=("a", at),
        unique={at},
        by_moment={at: "a"},
        inner=Inner(at),
        visit=Visit(at),
        deep={"a": [(at, "b")]},
    )
    back = read_back(event)
    for one in (back.at, back.many[0], back.pair[1], back.inner.at, back.visit.at):
        assert (to_micros(one), one.utcoffset()) == (to_micros(at), at.utcoffset())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at", datetime(2026, 1, 1, tzinfo=Shy())),
        ("hour", time(12, tzinfo=Foreign())),
        ("many", [datetime(2026, 1, 1, tzinfo=Shy())]),
    ],
)
def test_a_zone_that_would_be_lost_is_refused_with_the_fields_name(name: str, value: Any) -> None:
    event = Booked(**{"at": REPEATED, name: value})
    with pytest.raises(
        InvalidMessage,
        match=rf"zone without offset or name; use zoneinfo\.ZoneInfo - at `\$\.{name}`",
    ):
        read_back(event)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("many", (REPEATED,)),
        ("parts", [REPEATED]),
        ("unique", [REPEATED]),
        ("inner", {"at": REPEATED}),
        ("visit", {"at": REPEATED, "name": ""}),
        ("plain", REPEATED),
        ("text", REPEATED),
        ("maybe", "2026-10-25T02:30:00+01:00[Europe/Berlin]"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_beside_a_repeated_hour_as_well(
    name: str, value: Any
) -> None:
    event = Booked(**{"at": REPEATED.replace(tzinfo=Foreign()), name: value})
    with pytest.raises(InvalidMessage, match=rf"^Booked is not valid: .*\b{name}\b"):
        read_back(event)


def test_times_of_two_zones_differ_only_by_what_they_say() -> None:
    other = REPEATED.replace(tzinfo=timezone(timedelta(hours=2)))
    assert other != REPEATED
    assert not differ([other], [REPEATED])
    assert differ([other], [REPEATED.replace(fold=1)])
    assert not differ({other: {other}}, {REPEATED: {REPEATED}})


def test_a_time_is_no_plain_value_so_headers_refuse_it() -> None:
    with pytest.raises(InvalidMessage, match=r"^headers is not valid: "):
        dump_headers({"at": REPEATED})


def test_only_types_with_times_go_the_longer_way() -> None:
    class Nothing(Event):
        a: int
        b: list[dict[str, tuple[int, ...] | None]]
        c: Visitless | None = None

    class Hidden(Event):
        a: dict[str, list[Inner | None]]

    assert not are_in(Nothing)
    assert are_in(Hidden)
    assert all(map(are_in, (Booked, Chain, dict[datetime, int], tuple[int, time])))


@dataclass
class Visitless:
    name: str = ""


# States


diary = Domain("diary")


class Noted(Event):
    page: str
    at: datetime


@diary.register
class Page(ProcessManager, correlate="page"):
    page: str = ""
    last: datetime | None = None
    hour: time = time(0)
    all: list[datetime] = []

    @handle(Noted, start=True)
    def on_noted(self, event: Noted) -> None:
        assert event.at.tzinfo is not None
        self.last = event.at
        self.hour = event.at.timetz()
        self.all.append(event.at)
        self.all.append(event.at.replace(fold=1, tzinfo=Foreign()))


@pytest.mark.parametrize("moment", [REPEATED, SKIPPED])
def test_events_and_states_of_a_repeated_or_skipped_hour_keep_their_zone_over_a_restart(
    tmp_path: Any, moment: datetime
) -> None:
    count = 60
    with Runtime(tmp_path, diary) as runtime:
        for _ in range(count):
            # The state grows, so that only what is added is stored.
            runtime.publish(Noted("p", moment.replace(fold=1)), stream="diary::page-p")
        runtime.settle(timeout=20)
        assert list(runtime.parked()) == []
    with Runtime(tmp_path, diary) as runtime:
        view = runtime.get(Page, "p")
        assert view is not None
        assert same(view.state["last"], moment.replace(fold=1))
        assert view.state["hour"].tzinfo is BERLIN
        assert len(view.state["all"]) == 2 * count
        assert all(to_micros(one) == to_micros(view.state["last"]) for one in view.state["all"])
        assert [one.id for one in runtime.find(Page, last=moment.replace(fold=1))] == ["p"]
        utc = moment.replace(fold=1).astimezone(timezone(timedelta(hours=1)))
        if moment is REPEATED:
            assert [one.id for one in runtime.find(Page, last=utc)] == ["p"]


def test_an_upcaster_may_return_a_time_in_a_zone() -> None:
    from procession.model.upcasting import Chain as Upcasts  # noqa: PLC0415 - used here only

    class Step:
        name = "step"

        @staticmethod
        def function(fields: dict[str, Any]) -> dict[str, Any]:
            return fields | {"at": REPEATED.replace(fold=1)}

    steps: Any = {1: Step}
    packed = Upcasts("Inner", 2, steps, "").lift(msgpack.packb({"text": "x"}), 1)
    assert same(codecs[Inner].load(packed).at, REPEATED.replace(fold=1))


def test_a_default_of_a_state_may_be_in_a_zone() -> None:
    @Domain("defaults").register
    class Kept(ProcessManager, correlate="page"):
        page: str = ""
        at: datetime = REPEATED

        @handle(Noted, start=True)
        def on_noted(self, event: Noted) -> None: ...

    assert same(Kept("p").at, REPEATED)


def test_a_scenario_takes_a_time_for_the_same_that_shows_the_same_hour_at_the_same_offset() -> None:
    outcome = Scenario(diary).when(Noted("p", REPEATED))
    outcome.state(last=REPEATED.replace(tzinfo=timezone(timedelta(hours=2))))
    with pytest.raises(AssertionError, match=r"the state of Page .* is not as expected"):
        outcome.state(last=REPEATED.replace(tzinfo=timezone(timedelta(hours=1))))
