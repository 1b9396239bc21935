"""Messages as dictionaries, as JSON, and as pydantic and FastAPI have them."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from procession import Aggregate, Command, Domain, Event, InvalidMessage, Runtime, handle


class Colour(Enum):
    RED = "red"


class Line(Event):
    sku: str
    count: int = 1


class Tree(Event):
    value: int
    children: "list[Tree]" = []


class Paid(Event):
    order: str


class Pay(Command[Paid]):
    """Take money."""

    order: str
    amount: Decimal
    at: datetime | None = None
    on: date | None = None
    hour: time | None = None
    wait: timedelta = timedelta(minutes=3)
    lines: list[Line] = []
    sizes: dict[int, str] = {}
    tags: set[str] = set()
    raw: bytes = b""
    colour: Colour = Colour.RED
    key: UUID | None = None


WHOLE = Pay(
    "o1",
    Decimal("9.90"),
    at=datetime(2024, 2, 29, 12, tzinfo=UTC),
    on=date(2024, 2, 29),
    hour=time(9, 30),
    lines=[Line("a"), Line("b", 2)],
    sizes={1: "s"},
    tags={"new"},
    raw=b"\xff\x00",
    key=UUID(int=7),
)

shop = Domain("shop")


@shop.register
class Payment(Aggregate, identity="order"):
    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        return Paid(self.id)


# Dictionaries


def test_a_message_is_plain_values_and_these_are_the_message_again() -> None:
    values = WHOLE.to_dict()
    assert values == {
        "order": "o1",
        "amount": "9.90",
        "at": "2024-02-29T12:00:00Z",
        "on": "2024-02-29",
        "hour": "09:30:00",
        "wait": "PT180S",
        "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}],
        "sizes": {"1": "s"},
        "tags": ["new"],
        "raw": "/wA=",
        "colour": "red",
        "key": "00000000-0000-0000-0000-000000000007",
    }
    assert json.loads(WHOLE.to_json()) == values
    assert Pay.from_dict(values) == WHOLE


@pytest.mark.parametrize("fold", [0, 1])
def test_a_time_keeps_its_zone_and_its_fold(fold: int) -> None:
    moment = datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=ZoneInfo("Europe/Berlin"))
    command = Pay("o1", Decimal(1), at=moment)
    back = Pay.from_dict(json.loads(command.to_json())).at
    assert back is not None
    assert (back.tzinfo, back.fold, back.utcoffset()) == (moment.tzinfo, fold, moment.utcoffset())


def test_values_that_have_their_type_stay_and_what_a_person_writes_is_taken() -> None:
    assert Pay.from_dict({"order": "o1", "amount": Decimal(1), "more": 3}) == Pay("o1", Decimal(1))
    assert Pay.from_dict({"order": "o1", "amount": 0.1}).amount == Decimal("0.1")
    assert Tree.from_dict({"value": 1, "children": [{"value": 2}]}) == Tree(1, [Tree(2)])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"order": "o1"}, "Pay is not valid: Object missing required field `amount`"),
        ({"order": 1, "amount": 1}, r"Expected `str`, got `int` - at `\$.order`"),
        ({"order": "o1", "amount": 1, "at": "noon"}, r"at `\$.at`"),
        ({"order": "o1", "amount": 1, "lines": 3}, r"at `\$.lines`"),
        ([], r"Pay: \[\] is no mapping"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(values: Any, said: str) -> None:
    with pytest.raises(InvalidMessage, match=said):
        Pay.from_dict(values)


# pydantic


def test_pydantic_reads_and_writes_messages() -> None:
    pydantic = pytest.importorskip("pydantic")
    adapter = pydantic.TypeAdapter(Pay)
    command = Pay("o1", Decimal("9.90"), at=WHOLE.at, lines=[Line("a")], sizes={1: "s"})
    made = adapter.validate_python(
        {
            "order": "o1",
            "amount": "9.90",
            "at": "2024-02-29T12:00:00Z",
            "lines": [{"sku": "a"}],
            "sizes": {"1": "s"},
        }
    )
    assert type(made) is Pay
    assert made == command
    assert adapter.validate_json(adapter.dump_json(command)) == command
    assert adapter.validate_python(command) is command
    with Runtime.ephemeral(shop) as runtime:
        assert runtime.ask(made) == [Paid("o1")]


def test_pydantic_says_all_that_does_not_fit_and_where() -> None:
    pydantic = pytest.importorskip("pydantic")
    with pytest.raises(pydantic.ValidationError) as raised:
        pydantic.TypeAdapter(Pay).validate_python({"amount": "much", "lines": [{"count": "q"}]})
    assert [(one["loc"], one["type"]) for one in raised.value.errors()] == [
        (("order",), "missing"),
        (("amount",), "decimal_parsing"),
        (("lines", 0, "sku"), "missing"),
        (("lines", 0, "count"), "int_parsing"),
    ]


def test_a_message_within_itself_and_within_a_model_is_described() -> None:
    pydantic = pytest.importorskip("pydantic")
    tree = Tree(1, [Tree(2)])
    model = pydantic.create_model("Model", tree=(Tree, ...), either=(Pay | Line, ...))
    made = model(tree=tree, either={"sku": "a"})
    assert (made.tree, made.either) == (tree, Line("a"))
    assert model.model_validate_json(made.model_dump_json()) == made
    schema = pydantic.TypeAdapter(Tree).json_schema()
    assert schema["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    described = pydantic.TypeAdapter(Pay).json_schema()
    assert (described["title"], described["description"]) == ("Pay", "Take money.")
    assert described["required"] == ["order", "amount"]


def test_nothing_imports_pydantic_or_asyncio_before_it_is_used() -> None:
    code = "import sys, procession; sys.exit(len({'pydantic_core', 'asyncio'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fastapi_takes_a_message_as_its_body_and_answers_with_one() -> None:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    with Runtime.ephemeral(shop) as runtime:

        async def pay(command: Annotated[Pay, fastapi.Body()]) -> list[Paid]:
            return await runtime.ask(command, block=False)

        app.post("/pay")(pay)

        async def post(body: object) -> tuple[int, Any]:
            sent: list[Any] = []

            async def receive() -> Any:
                return {"type": "http.request", "body": json.dumps(body).encode()}

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/pay",
                "query_string": b"",
                "headers": [(b"content-type", b"application/json")],
            }
            await app(scope, receive, send)
            return sent[0]["status"], json.loads(sent[1]["body"])

        assert asyncio.run(post({"order": "o1", "amount": "9.90"})) == (200, [{"order": "o1"}])
        status, answer = asyncio.run(post({"order": "o1"}))
        assert status == 422
        assert answer["detail"][0]["loc"] == ["body", "amount"]
    described = app.openapi()["paths"]["/pay"]["post"]
    body = described["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["order", "amount"]
