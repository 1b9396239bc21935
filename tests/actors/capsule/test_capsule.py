"""What is in a capsule: all that an instance came of, and nothing else."""

import re
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from procession import Runtime, UnknownInstance
from procession.capsule import Capsule, CapsuleError, Masked, make_capsule
from procession.store import StoreFinding, divided_at, open_store, verify_open
from procession.testing import Publish, Simulation, VirtualClock, explore, reproduce
from tests.actors.capsule.orders import (
    Arrived,
    Buying,
    Pack,
    Placed,
    Rank,
    Reserved,
    Sending,
    shop,
)
from tests.coding import Reversed
from tests.postgresql import shared_server

PERSONAL = ["Placed.customer", "Placed.email", "Placed.card", "Placed.born"]
PERSONAL += ["Placed.token", "Placed.photo", "Placed.rank", "Placed.kind", "Placed.notes"]

SECRETS = (
    *("Alexandra Muster3", "muster3@example.org", "4929123456780003"),
    *("1987-06-05", "8c0e7b1e", "a photo", "allergic to nuts"),
)


def placed(number: int) -> Placed:
    return Placed(
        order_id=f"o{number}",
        customer=f"Alexandra Muster{number}",
        email=f"muster{number}@example.org",
        card=4_929_123_456_780_000 + number,
        total=Decimal("99.50"),
        born=datetime(1987, 6, 5, 4, 3, 2, tzinfo=UTC),
        token=UUID("8c0e7b1e-1111-4222-8333-444455556666"),
        photo=b"a photo",
        rank=Rank.GOLD,
        kind="phone",
        notes={"diet": ["allergic to nuts"]},
    )


def play(runtime: Runtime, orders: int = 6) -> None:
    for number in range(orders):
        runtime.publish(placed(number), stream=f"orders-o{number}")
        runtime.settle(timeout=20)
    for number in range(orders):
        packed = Pack(order_id=f"o{number}", parcel=f"parcel-{number}")
        runtime.publish(packed, stream=f"packing-{number}")
        runtime.settle(timeout=20)
    arrived = Arrived(parcel="parcel-3", signed="Mallory")
    runtime.publish(arrived, stream="arrivals-3")
    runtime.settle(timeout=20)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("played") / "store"
    with Runtime(folder, shop, clock=VirtualClock(), durability="none") as runtime:
        play(runtime)
    return folder


@pytest.fixture
def masked(store: Path, tmp_path: Path) -> Capsule:
    make_capsule(store, shop, Sending, "o3", tmp_path / "capsule", mask=PERSONAL)
    return Capsule(tmp_path / "capsule")


def bytes_of(path: Path) -> bytes:
    """All that is in a file, its members unpacked."""
    with zipfile.ZipFile(path) as archive:
        members = b"".join(archive.read(name) for name in archive.namelist())
    return path.read_bytes() + members


def findings(folder: Path) -> list[StoreFinding]:
    with open_store(folder, read_only=True) as store:
        return verify_open(store).findings


# What is in it


def test_the_store_of_a_capsule_is_sound_and_has_the_instance_as_it_was(
    store: Path, tmp_path: Path
) -> None:
    made = make_capsule(store, shop, Sending, "o3", tmp_path / "capsule")
    Capsule(tmp_path / "capsule").open_in(tmp_path / "opened")

    assert findings(tmp_path / "opened") == []
    with (
        Runtime(store, shop, read_only=True) as whole,
        Runtime(tmp_path / "opened", shop, clock=VirtualClock(), durability="none") as part,
    ):
        assert list(part.history(Sending, "o3")) == list(whole.history(Sending, "o3"))
        assert list(part.timeouts(Sending, "o3")) == list(whole.timeouts(Sending, "o3"))
        assert list(part.parked()) == list(whole.parked())
        assert part.get(Sending, "o3") == whole.get(Sending, "o3")
        assert [one.instance for one in part.parked()] == ["o3"]
        events = {one.position: one for one in whole.events()}
        assert all(events[one.position] == one for one in part.events())
    assert made.failures[0].error_type == "ValueError"


def test_a_capsule_has_the_instance_that_caused_its_events_and_no_other(
    store: Path, tmp_path: Path
) -> None:
    made = make_capsule(store, shop, Sending, "o3", tmp_path / "capsule")
    Capsule(tmp_path / "capsule").open_in(tmp_path / "opened")

    with Runtime(tmp_path / "opened", shop, read_only=True) as runtime:
        assert {one.id for one in runtime.find(Buying)} == {"o3"}
        assert {one.id for one in runtime.find(Sending)} == {"o3"}
        # Of the article, all that was reserved: it belongs to its aggregate.
        assert {one.stream for one in runtime.events()} == {
            *("orders-o3", "incident::stock-hat-1", "packing-3", "arrivals-3")
        }
    assert (made.events, made.transitions) == (6, 3)


def test_a_moment_is_found_in_a_log_with_gaps(tmp_path: Path) -> None:
    clock = VirtualClock()
    with Runtime(tmp_path / "store", shop, clock=clock, durability="none") as runtime:
        for number in range(40):
            runtime.publish(placed(number), stream=f"orders-o{number}")
            runtime.settle(timeout=20)
            clock.advance(timedelta(seconds=1))
        make_capsule(tmp_path / "store", shop, Buying, "o30", tmp_path / "capsule")
    Capsule(tmp_path / "capsule").open_in(tmp_path / "opened")

    with open_store(tmp_path / "opened", read_only=True) as store:
        events = list(store.scan_log())
        for before, after in pairwise(events):
            if before.time < after.time:
                assert store.position_before(after.time) in range(before.position, after.position)


def test_an_instance_that_never_began_has_a_capsule_when_its_start_failed(tmp_path: Path) -> None:
    with Runtime(tmp_path / "store", shop, clock=VirtualClock(), durability="none") as runtime:
        runtime.publish(placed(3), stream="orders-o3")
        runtime.publish(msgspec.structs.replace(placed(3), order_id="ox"), stream="orders-ox")
        runtime.settle(timeout=20)

    made = make_capsule(tmp_path / "store", shop, Buying, "ox", tmp_path / "capsule")

    assert (made.events, made.transitions) == (1, 0)
    assert reproduce(tmp_path / "capsule", shop).failures == made.failures != []


def test_the_size_of_a_capsule_does_not_depend_on_that_of_the_store(tmp_path: Path) -> None:
    sizes = []
    for orders in (4, 60):
        folder = tmp_path / str(orders)
        with Runtime(folder, shop, clock=VirtualClock(), durability="none") as runtime:
            for number in range(orders):
                runtime.publish(placed(number), stream=f"orders-o{number}")
            runtime.settle(timeout=20)
        made = make_capsule(folder, shop, Buying, "o3", tmp_path / f"{orders}.capsule")
        sizes.append(made.transitions)
    assert sizes == [1, 1]


def test_no_such_instance_and_too_much_of_one_are_said(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownInstance, match="no instance 'o99'"):
        make_capsule(store, shop, Sending, "o99", tmp_path / "capsule")
    with pytest.raises(CapsuleError, match="more than 2 events and transitions"):
        make_capsule(store, shop, Sending, "o3", tmp_path / "capsule", most=2)
    assert not (tmp_path / "capsule").exists()


def test_a_capsule_is_taken_beside_the_service_that_works_on_the_store(tmp_path: Path) -> None:
    with Runtime(tmp_path / "store", shop, clock=VirtualClock(), durability="none") as runtime:
        play(runtime, 4)
        made = make_capsule(tmp_path / "store", shop, Sending, "o3", tmp_path / "capsule")
        runtime.publish(placed(9), stream="orders-o9")

    assert reproduce(tmp_path / "capsule", shop).failures == made.failures


def test_a_simulation_begins_with_a_capsule(masked: Capsule, tmp_path: Path) -> None:
    with Simulation(shop, store=tmp_path / "capsule") as simulation:
        simulation.run()
        view = simulation.get(Sending, "o3")
        assert view is not None
        assert view.status == "suspended"
        assert simulation.verify() == []


def test_a_search_begins_with_a_capsule(masked: Capsule, tmp_path: Path) -> None:
    after = Pack(order_id="o3", parcel="another")
    again = Publish(after, stream="packing-3")

    coverage = explore(shop, [again], store=tmp_path / "capsule", max_examples=3)
    assert coverage.runs == 3

    signed = Arrived(parcel="parcel-3", signed="Mallory again")
    program = [Publish(signed, stream="arrivals-4")]
    with Simulation(shop, program=program, store=tmp_path / "capsule") as simulation:
        [parked] = simulation.parked()
        simulation.skip(parked.id)
        simulation.run()
        assert [one.instance for one in simulation.parked()] == ["o3"]


def test_a_capsule_of_a_divided_store_is_a_divided_store(tmp_path: Path) -> None:
    store, opened = tmp_path / "store", tmp_path / "opened"
    with Runtime(store, shop, partitions=3, clock=VirtualClock()) as runtime:
        play(runtime)
    made = make_capsule(store, shop, Sending, "o3", tmp_path / "capsule", mask=PERSONAL)
    Capsule(tmp_path / "capsule").open_in(opened)

    divided = divided_at(opened)
    assert divided is not None
    assert [findings(divided.folder_of(number)) for number in range(3)] == [[], [], []]
    assert reproduce(tmp_path / "capsule", shop).failures == made.failures != []
    with pytest.raises(ValueError, match="which nodes share; say how many: nodes="):
        Simulation(shop, store=tmp_path / "capsule")
    with pytest.raises(CapsuleError, match="cannot be masked"):
        make_capsule(store, shop, Sending, "o3", tmp_path / "other", mask_ids=True)


def test_nodes_begin_with_a_capsule_of_a_divided_store(tmp_path: Path) -> None:
    file = tmp_path / "capsule"
    with Runtime(tmp_path / "store", shop, partitions=3, clock=VirtualClock()) as runtime:
        play(runtime)
        found = runtime.get(Sending, "o3")
    make_capsule(tmp_path / "store", shop, Sending, "o3", file, mask=PERSONAL)
    with Simulation(shop, nodes=2, store=file) as simulation:
        view = simulation.get(Sending, "o3")
        assert view is not None
        assert found is not None
        assert (view.version, view.status) == (found.version, found.status)
        [parked] = simulation.parked()
        simulation.retry(parked.id)
        simulation.settle()
        assert [one.error for one in simulation.parked()] == [parked.error]
        assert simulation.verify() == []
    again = [Publish(Arrived(parcel="parcel-9", signed="Eve"), stream="arrivals-9")]
    coverage = explore(shop, again, nodes=2, store=file, max_examples=3)
    assert coverage.runs == 3


def test_a_capsule_of_a_divided_store_with_a_codec_has_none(tmp_path: Path) -> None:
    file, store = tmp_path / "capsule", tmp_path / "store"
    codec = Reversed()
    with Runtime(store, shop, partitions=3, clock=VirtualClock(), codec=codec) as runtime:
        play(runtime)
    made = make_capsule(store, shop, Sending, "o3", file, codec=codec)
    assert reproduce(file, shop).failures == made.failures != []


def test_a_capsule_is_taken_out_of_a_database(tmp_path: Path) -> None:
    address = shared_server().new_url()
    with Runtime(address, shop, clock=VirtualClock()) as runtime:
        play(runtime, 4)
        made = make_capsule(address, shop, Sending, "o3", tmp_path / "capsule", mask=PERSONAL)
    Capsule(tmp_path / "capsule").open_in(tmp_path / "opened")

    assert findings(tmp_path / "opened") == []
    assert reproduce(tmp_path / "capsule", shop).failures == made.failures != []


# Masks


def test_what_is_masked_is_nowhere_in_the_file(masked: Capsule, tmp_path: Path) -> None:
    found = bytes_of(tmp_path / "capsule")

    assert [one for one in SECRETS if one.encode() in found] == []
    assert (4_929_123_456_780_003).to_bytes(8, "big") not in found
    assert {name for name, one in masked.contents.masked.items() if one.values} == {*PERSONAL}


def test_what_is_masked_is_nowhere_in_the_store_that_it_is_opened_as(
    masked: Capsule, tmp_path: Path
) -> None:
    masked.open_in(tmp_path / "opened")
    found = b"".join(one.read_bytes() for one in (tmp_path / "opened").iterdir())

    assert [one for one in SECRETS if one.encode() in found] == []


def test_stand_ins_have_the_type_and_the_length_of_what_they_stand_for(
    masked: Capsule, tmp_path: Path
) -> None:
    masked.open_in(tmp_path / "opened")
    with Runtime(tmp_path / "opened", shop, read_only=True) as runtime:
        [stored] = runtime.events("orders-o3")
        view = runtime.get(Buying, "o3")

    event = stored.event
    assert isinstance(event, Placed)
    assert view is not None
    assert re.fullmatch(r"[A-Z][a-z]{8} [A-Z][a-z]{5}[1-9]", event.customer)
    assert re.fullmatch(r"[a-z]{6}[1-9]@[a-z]{7}\.[a-z]{3}", event.email)
    assert len(str(event.card)) == 16
    assert (event.born.year, event.born.tzinfo, len(event.photo)) == (1987, UTC, 7)
    assert view.state["customer"] == event.customer
    assert (event.order_id, event.total) == ("o3", Decimal("99.50"))


def test_a_state_that_is_kept_as_changes_is_masked_in_each_of_them(tmp_path: Path) -> None:
    with Runtime(tmp_path / "store", shop, clock=VirtualClock(), durability="none") as runtime:
        for number in range(60):
            event = Reserved(article="hat", order_id="o3", customer=f"Alexandra Muster{number % 7}")
            runtime.publish(event, stream="reservations-o3")
        runtime.settle(timeout=20)
        make_capsule(
            *(tmp_path / "store", shop, Sending, "o3", tmp_path / "capsule"),
            mask=["Reserved.customer"],
        )
    Capsule(tmp_path / "capsule").open_in(tmp_path / "opened")

    assert b"Alexandra" not in bytes_of(tmp_path / "capsule")
    assert findings(tmp_path / "opened") == []
    with open_store(tmp_path / "opened", read_only=True) as store:
        stored = store.stored_transition("incident.Sending", "o3", 60)
        assert stored is not None
        assert stored.base > 0
    with Runtime(tmp_path / "opened", shop, read_only=True) as runtime:
        *_, last = runtime.history(Sending, "o3")
        found = [one.event for one in runtime.events("reservations-o3")]
    events = [one.customer for one in found if isinstance(one, Reserved)]
    assert last.state["told"] == [f"reserved for {one}" for one in events]
    assert len(set(events)) == 7


def test_two_capsules_of_one_instance_have_other_stand_ins(store: Path, tmp_path: Path) -> None:
    states = []
    for name in ("one", "other"):
        make_capsule(store, shop, Sending, "o3", tmp_path / name, mask=PERSONAL)
        states.append(reproduce(tmp_path / name, shop).state)
    assert states[0] != states[1]


def test_ids_stay_unless_it_is_said_that_they_are_masked_too(store: Path, tmp_path: Path) -> None:
    mask = ["Placed.order_id", "Pack.parcel"]
    kept = make_capsule(store, shop, Sending, "o3", tmp_path / "kept", mask=mask)
    made = make_capsule(store, shop, Sending, "o3", tmp_path / "made", mask=mask, mask_ids=True)

    assert kept.masked == {"Placed.order_id": Masked(0, 1, 0), "Pack.parcel": Masked(0, 1, 0)}
    assert reproduce(tmp_path / "kept", shop).failures == kept.failures
    Capsule(tmp_path / "made").open_in(tmp_path / "opened")
    assert findings(tmp_path / "opened") == []
    assert made.instance != "o3"
    assert b"parcel-3" not in bytes_of(tmp_path / "made")
    assert b"orders-o3" not in bytes_of(tmp_path / "made")
    again = reproduce(tmp_path / "made", shop)
    assert again.failures == made.failures
    assert [one.instance for one in again.failures] == [made.instance]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("customer", "no class of these domains has that name"),
        ("Nothing.customer", "no class of these domains has that name"),
        ("Placed.name", "Placed has no field 'name'; it has order_id"),
    ],
)
def test_a_field_that_no_class_has_is_refused(
    told: str, said: str, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(CapsuleError, match=said):
        make_capsule(store, shop, Sending, "o3", tmp_path / "capsule", mask=[told])
    assert not (tmp_path / "capsule").exists()
