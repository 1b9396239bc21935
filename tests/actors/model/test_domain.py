"""Registering: what belongs to a domain, and every definition that is refused there."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessionError,
    ProcessManager,
    after,
    apply,
    handle,
    rejected,
    timeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Placed(Event):
    order_id: str


class Paid(Event):
    order_id: str
    payer: str = ""


class Pay(Command):
    order_id: str


class Refund(Command):
    order_id: str


class Payment(Aggregate, identity="order_id"):
    status: str = "new"

    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        return Paid(self.id)

    @apply(Paid)
    def _paid(self, event: Paid) -> None:
        self.status = "paid"


class Fulfilment(ProcessManager, correlate="order_id"):
    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.issue(Pay(event.order_id))


@pytest.fixture
def shop() -> Iterator[Domain]:
    """A domain with one class of each kind, which every refusal must leave as it is."""
    domain = Domain("shop")
    domain.register(Payment, Fulfilment, Refund)
    yield domain
    assert list(domain.aggregates) == [Payment]
    assert list(domain.processes) == [Fulfilment]
    assert domain.messages == {Refund}


def refuse(domain: Domain, cls: type, *parts: str) -> None:
    """See that a class is refused, with these parts in the message in this order."""
    with pytest.raises(DefinitionError) as caught:
        domain.register(cls)
    message, place = str(caught.value), 0
    for part in parts:
        assert part in message[place:], message
        place = message.index(part, place) + len(part)


# What is accepted


def test_register_returns_the_class_so_that_it_decorates() -> None:
    domain = Domain("shop")
    assert domain.register(Payment) is Payment
    assert domain.register(Fulfilment) is Fulfilment
    assert domain.register(Paid) is Paid


def test_several_classes_may_be_registered_at_once() -> None:
    domain = Domain("shop")
    assert domain.register(Fulfilment, Payment, Placed, Refund) is None
    assert list(domain.processes) == [Fulfilment]
    assert list(domain.aggregates) == [Payment]
    assert domain.messages == {Placed, Refund}


@pytest.mark.usefixtures("shop")
def test_registering_leaves_the_class_fit_for_other_domains() -> None:
    other = Domain("other")
    other.register(Payment, Fulfilment)
    assert other.aggregates[Payment].category == "other::payment"
    assert other.processes[Fulfilment].name == "other.Fulfilment"


def test_registering_a_class_again_changes_nothing(shop: Domain) -> None:
    before = shop.aggregates[Payment]
    shop.register(Payment, Fulfilment, Refund)
    assert shop.aggregates[Payment] is before


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Payment", "shop::payment"),
        ("CreditCard", "shop::credit_card"),
        ("HTTPProxy", "shop::http_proxy"),
        ("Order2Go", "shop::order2_go"),
    ],
)
def test_the_category_is_the_class_name_in_snake_case_under_the_domains(
    name: str, category: str
) -> None:
    domain = Domain("shop")
    cls = type(name, (Payment,), {})
    domain.register(cls)
    assert domain.aggregates[cls].category == category


def test_the_category_may_be_given() -> None:
    class Card(Payment, category="plastic"):
        pass

    domain = Domain("shop")
    domain.register(Card)
    assert domain.aggregates[Card].category == "shop::plastic"
    assert domain.aggregates[Card].stream_of(Pay("o-1")) == "shop::plastic-o-1"


@pytest.mark.parametrize("name", ["shop", "Shop2", "e_commerce", "_", "Läden"])
def test_a_domain_is_called_by_letters_digits_and_underscores(name: str) -> None:
    assert repr(Domain(name)) == f"Domain({name!r})"


# What is refused


@pytest.mark.parametrize("name", ["", " ", "a.b", "a b", "a::b", "a-b", "a\n", "a/b"])
def test_any_other_name_of_a_domain_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="is no name for a domain; use letters"):
        Domain(name)


def test_a_process_manager_without_handlers_is_refused(shop: Domain) -> None:
    class Idle(ProcessManager, correlate="order_id"):
        pass

    refuse(shop, Idle, "Idle", "handles nothing", "@handle(SomeEvent, start=True)")


def test_a_process_manager_without_a_start_is_refused(shop: Domain) -> None:
    class Endless(ProcessManager, correlate="order_id"):
        @handle(Paid)
        def on_paid(self, event: Paid) -> None: ...

    refuse(
        shop,
        Endless,
        "Endless",
        "no handler with start=True",
        "@handle(Paid, start=True)",
        "on_paid",
    )


def test_two_handlers_for_one_event_are_refused(shop: Domain) -> None:
    class Two(Fulfilment):
        @handle(Placed)
        def on_placed_too(self, event: Placed) -> None: ...

    refuse(shop, Two, "Two", "on_placed", "on_placed_too", "@handle(Placed)", "put what both do")


def test_a_process_manager_that_handles_a_command_is_refused(shop: Domain) -> None:
    class Greedy(Fulfilment):
        @handle(Pay)
        def on_pay(self, command: Pay) -> None: ...

    refuse(shop, Greedy, "Greedy.on_pay", "Pay is a command", "handle it in an aggregate")


def test_a_process_manager_that_applies_events_is_refused(shop: Domain) -> None:
    class Confused(Fulfilment):
        @apply(Paid)
        def _paid(self, event: Paid) -> None: ...

    refuse(shop, Confused, "Confused._paid", "@apply belongs to aggregates", "@handle(Paid)")


def test_a_process_manager_that_says_nothing_about_correlation_is_refused(shop: Domain) -> None:
    class Lost(ProcessManager):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    refuse(shop, Lost, "Lost.on_placed", "which instance a Placed is for", "`correlate=`")


def test_a_correlation_by_a_field_that_the_event_lacks_is_refused(shop: Domain) -> None:
    class Lost(Fulfilment):
        @handle(Paid, correlate="order")
        def on_paid(self, event: Paid) -> None: ...

    refuse(
        shop,
        Lost,
        "Lost.on_paid",
        "correlate='order'",
        "Paid has no field 'order'",
        "order_id, payer",
        "`correlate=`",
    )


def test_the_class_wide_correlation_must_fit_each_handled_event(shop: Domain) -> None:
    class Lost(ProcessManager, correlate="payer"):
        @handle(Paid, start=True)
        def on_paid(self, event: Paid) -> None: ...

        @handle(Placed)
        def on_placed(self, event: Placed) -> None: ...

    refuse(shop, Lost, "Lost.on_placed", "Placed has no field 'payer'", "`correlate=` of its own")


def test_a_mapping_to_a_field_that_the_event_lacks_is_refused(shop: Domain) -> None:
    class Lost(Fulfilment):
        order: str = ""

        @handle(Paid, correlate={"order": "order_number"})
        def on_paid(self, event: Paid) -> None: ...

    refuse(shop, Lost, "Lost.on_paid", "Paid has no field 'order_number'")


def test_a_mapping_from_a_field_that_the_process_manager_lacks_is_refused(shop: Domain) -> None:
    class Lost(Fulfilment):
        @handle(Paid, correlate={"order": "order_id"})
        def on_paid(self, event: Paid) -> None: ...

    refuse(shop, Lost, "Lost.on_paid", "has no field 'order'", '`order: str = ""`')


def test_a_mapping_of_no_field_is_refused(shop: Domain) -> None:
    class Lost(Fulfilment):
        @handle(Paid, correlate={})
        def on_paid(self, event: Paid) -> None: ...

    refuse(shop, Lost, "Lost.on_paid", "must map a field")


@pytest.mark.parametrize("wrong", [5, ["order_id"], b"order_id"])
def test_a_correlation_that_is_none_is_refused(shop: Domain, wrong: Any) -> None:
    class Lost(Fulfilment):
        @handle(Paid, correlate=wrong)
        def on_paid(self, event: Paid) -> None: ...

    refuse(shop, Lost, "Lost.on_paid", "is no field name, tuple of them, mapping, function or ALL")


def test_an_async_handler_is_refused(shop: Domain) -> None:
    class Later(Fulfilment):
        @handle(Paid)
        async def on_paid(self, event: Paid) -> None: ...

    refuse(shop, Later, "Later.on_paid is `async def`", "nothing would await it", "plain `def`")


def test_an_async_handler_behind_another_decorator_is_refused_too(shop: Domain) -> None:
    async def on_paid(self: Fulfilment, event: Paid) -> None: ...

    @functools.wraps(on_paid)
    def logged(self: Fulfilment, event: Paid) -> Any:
        return on_paid(self, event)

    later = type("Later", (Fulfilment,), {"on_paid": handle(Paid)(logged)})
    refuse(shop, later, "Later.on_paid is `async def`")


def test_a_handler_of_a_process_manager_that_yields_is_refused(shop: Domain) -> None:
    class Lazy(Fulfilment):
        @handle(Paid)
        def on_paid(self, event: Paid) -> Iterator[Pay]:
            yield Pay(event.order_id)

    refuse(shop, Lazy, "Lazy.on_paid has a `yield`", "would do nothing", "self.issue(...)")


def test_a_timeout_or_rejection_that_yields_is_refused_too(shop: Domain) -> None:
    class Lazy(Fulfilment):
        @timeout("late")
        def on_late(self) -> Iterator[Pay]:
            yield Pay("o1")

    refuse(shop, Lazy, "Lazy.on_late has a `yield`")

    class Lazier(Fulfilment):
        @rejected(Pay)
        def on_refused(self, command: Pay, reason: str) -> Iterator[Pay]:
            yield command

    refuse(shop, Lazier, "Lazier.on_refused has a `yield`")


def nothing() -> None: ...
def only_self(self: Any) -> None: ...
def self_and_two(self: Any, one: Any, two: Any) -> None: ...
def self_and_three(self: Any, one: Any, two: Any, three: Any) -> None: ...
def self_and_one(self: Any, one: Any) -> None: ...
def by_keyword(self: Any, *, event: Any, command: Any = None, reason: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("mark", "function", "call"),
    [
        (handle(Paid), nothing, "nothing(self, event)"),
        (handle(Paid), only_self, "only_self(self, event)"),
        (handle(Paid), self_and_two, "self_and_two(self, event)"),
        (handle(Paid), by_keyword, "by_keyword(self, event)"),
        (timeout("late"), nothing, "nothing(self)"),
        (timeout("late"), self_and_one, "self_and_one(self)"),
        (rejected(Pay), self_and_one, "self_and_one(self, command, reason)"),
        (rejected(Pay), self_and_three, "self_and_three(self, command, reason)"),
        (after(Paid), self_and_two, "self_and_two(self, event)"),
    ],
)
def test_a_method_that_cannot_be_called_with_what_it_is_given_is_refused(
    shop: Domain, mark: Any, function: Any, call: str
) -> None:
    odd = type("Odd", (Fulfilment,), {function.__name__: mark(_copy(function))})
    refuse(shop, odd, f"Odd.{function.__name__}", f"is called as {call}", f"write `def {call}")


@pytest.mark.parametrize(
    ("mark", "function"),
    [
        (handle(Paid), lambda self, event, more=1: None),
        (handle(Paid), lambda *arguments: None),
        (timeout("late"), lambda self, *rest, **named: None),
        (rejected(Pay), lambda self, command, reason, *, more=None: None),
    ],
)
def test_a_method_that_could_take_more_is_accepted(mark: Any, function: Any) -> None:
    function.__name__ = "method"
    Domain("shop").register(type("Odd", (Fulfilment,), {"method": mark(function)}))


def _copy(function: Any) -> Any:
    """Marks stay on a function, and each case needs one without."""
    return types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


@pytest.mark.parametrize(
    "name",
    ["issue", "cancel", "set_timeout", "cancel_timeout", "context", "mark_as_complete", "id"],
)
def test_a_method_in_the_place_of_one_of_ours_is_refused(shop: Domain, name: str) -> None:
    for body in (lambda self: None, property(lambda self: "x"), staticmethod(len)):
        refuse(shop, type("Own", (Fulfilment,), {name: body}), f"Own.{name}", "choose another name")


def test_a_mixin_is_looked_at_as_the_class_itself(shop: Domain) -> None:
    mixin = type("Mixin", (), {"issue": lambda self: None})
    refuse(shop, type("Own", (mixin, Fulfilment), {}), "Own.issue", "choose another name")


def test_an_init_is_refused_since_it_would_not_run_when_state_is_read(shop: Domain) -> None:
    own = type("Own", (Fulfilment,), {"__init__": lambda self, *rest: None})
    refuse(shop, own, "Own.__init__ would not run", "defaults in the class body")


def test_on_error_is_meant_to_be_overridden() -> None:
    domain = Domain("shop")
    domain.register(type("Own", (Fulfilment,), {"on_error": lambda self, error, context: None}))
    assert len(domain.processes) == 1


@pytest.mark.parametrize("keyword", ["stream", "idle", "corelate"])
def test_an_unknown_class_keyword_is_refused_by_name(keyword: str) -> None:
    options: Any = {keyword: "x"}
    with pytest.raises(DefinitionError, match=rf"Odd has the class keyword '{keyword}'.* streams"):

        class Odd(ProcessManager, **options): ...

    with pytest.raises(DefinitionError, match=rf"Odd has the class keyword '{keyword}'.*identity"):

        class Odd(Aggregate, **options): ...  # type: ignore[no-redef]


def test_a_class_keyword_that_a_parent_of_the_users_takes_is_its_own() -> None:
    class Tagged:
        tag: ClassVar[str]

        def __init_subclass__(cls, *, tag: str = "", **keywords: Any) -> None:
            super().__init_subclass__(**keywords)
            cls.tag = tag

    class Both(ProcessManager, Tagged, correlate="order_id", tag="x"): ...

    assert Both.tag == "x"


def test_a_method_of_an_aggregate_is_checked_as_well(shop: Domain) -> None:
    class Later(Aggregate, identity="order_id"):
        @handle(Refund)
        async def refund(self, command: Refund) -> None: ...

    refuse(shop, Later, "Later.refund is `async def`")

    class Odd(Aggregate, identity="order_id"):
        @handle(Refund)
        def refund(self) -> None: ...

    refuse(shop, Odd, "Odd.refund(self) is called as refund(self, command)")


def test_a_field_without_annotation_is_refused(shop: Domain) -> None:
    class Bare(Fulfilment):
        status = "new"

    refuse(shop, Bare, "Bare.status", "no annotation", "`status: str = 'new'`")


def test_a_field_without_default_is_refused(shop: Domain) -> None:
    class Bare(Fulfilment):
        status: str

    refuse(shop, Bare, "Bare.status", "no default", "`status: ")


def test_a_field_with_a_reserved_name_is_refused(shop: Domain) -> None:
    class Own(Fulfilment):
        version: int = 0

    refuse(shop, Own, "Own.version", "choose another name")


def test_two_process_managers_of_one_name_are_refused(shop: Domain) -> None:
    other = type("Fulfilment", (Fulfilment,), {})
    refuse(shop, other, "two classes are called shop.Fulfilment", "rename one")


def test_a_name_too_long_to_store_is_refused(shop: Domain) -> None:
    with pytest.raises(ProcessionError, match=r"shop\.LLL.*shorten"):
        shop.register(type("L" * 400, (Fulfilment,), {}))


@pytest.mark.parametrize(
    "name", ["", "Fulfilment", "Shop.", ".Fulfilment", "Shop.Ful filment", "A.B.C", "Shop.F-1", 5]
)
def test_a_name_of_a_process_manager_is_a_domain_and_a_word(name: Any) -> None:
    with pytest.raises(DefinitionError, match=r'Odd: name=.*write it as "<Domain>\.<name>"'):

        class Odd(ProcessManager, name=name): ...


def test_a_name_of_a_process_manager_has_at_most_a_hundred_bytes(shop: Domain) -> None:
    longest = f"shop.{'é' * 47}x"
    assert len(longest.encode()) == 100
    fits = types.new_class("Fits", (Fulfilment,), {"name": longest})
    other = Domain("other")
    other.register(fits)
    assert other.processes[fits].name == longest
    with pytest.raises(DefinitionError, match=r"Odd: name=.* has 101 bytes; .* at most 100"):
        types.new_class("Odd", (Fulfilment,), {"name": f"{longest}x"})


def test_a_name_is_that_of_the_class_itself_and_not_of_its_subclasses() -> None:
    class Named(Fulfilment, name="Old.Fulfilment"): ...

    class Special(Named): ...

    domain = Domain("shop")
    domain.register(Named, Special)
    names = [definition.name for definition in domain.processes.values()]
    assert names == ["Old.Fulfilment", "shop.Special"]


def test_a_name_is_refused_where_another_process_manager_has_it(shop: Domain) -> None:
    other = types.new_class("Other", (Fulfilment,), {"name": "shop.Fulfilment"})
    refuse(shop, other, "two classes are called shop.Fulfilment")


def test_an_aggregate_without_identity_is_refused(shop: Domain) -> None:
    class Nameless(Aggregate):
        @handle(Refund)
        def refund(self, command: Refund) -> None: ...

    refuse(shop, Nameless, "Nameless", "names it", '(Aggregate, identity="order_id")')


def test_an_aggregate_whose_command_lacks_the_identity_is_refused(shop: Domain) -> None:
    class Other(Aggregate, identity="order"):
        @handle(Refund)
        def refund(self, command: Refund) -> None: ...

    refuse(shop, Other, "Other.refund", "identity='order'", "Refund has no such field", "add it")


def test_an_aggregate_that_takes_no_command_is_refused(shop: Domain) -> None:
    class Idle(Aggregate, identity="order_id"):
        pass

    refuse(shop, Idle, "Idle", "takes no command", "@handle(SomeCmd)")


def test_an_aggregate_that_handles_an_event_is_refused(shop: Domain) -> None:
    class Nosy(Aggregate, identity="order_id"):
        @handle(Placed)
        def on_placed(self, event: Placed) -> None: ...

    refuse(shop, Nosy, "Nosy.on_placed", "Placed is an event", "use @apply")


@pytest.mark.parametrize("option", [{"start": True}, {"end": True}, {"correlate": "order_id"}])
def test_options_of_process_managers_are_refused_in_an_aggregate(
    shop: Domain, option: dict[str, Any]
) -> None:
    class Confused(Aggregate, identity="order_id"):
        @handle(Refund, **option)
        def refund(self, command: Refund) -> None: ...

    refuse(shop, Confused, "Confused.refund", "are for process managers", "identity")


def test_two_methods_that_take_one_command_are_refused(shop: Domain) -> None:
    class Two(Aggregate, identity="order_id"):
        @handle(Refund)
        def refund(self, command: Refund) -> None: ...

        @handle(Refund)
        def refund_too(self, command: Refund) -> None: ...

    refuse(shop, Two, "Two", "refund", "refund_too", "@handle(Refund)")


def test_two_methods_that_apply_one_event_are_refused(shop: Domain) -> None:
    class Two(Aggregate, identity="order_id"):
        @handle(Refund)
        def refund(self, command: Refund) -> Paid:
            return Paid(self.id)

        @apply(Paid)
        def _paid(self, event: Paid) -> None: ...

        @apply(Paid)
        def _paid_too(self, event: Paid) -> None: ...

    refuse(shop, Two, "Two", "_paid", "_paid_too", "@apply(Paid)")


def test_an_event_that_only_a_return_annotation_names_counts_as_made(shop: Domain) -> None:
    class Indirect(Aggregate, identity="order_id"):
        @handle(Refund)
        def refund(self, command: Refund) -> list[Placed | Paid]:
            return []

        @apply(Placed)
        def _placed(self, event: Placed) -> None: ...

    other = Domain("other")
    other.register(Indirect)
    assert other.aggregates[Indirect].events == {Placed, Paid}


def test_a_field_of_an_aggregate_without_annotation_is_refused(shop: Domain) -> None:
    class Bare(Payment):
        colour = "red"

    refuse(shop, Bare, "Bare.colour", "`colour: str = 'red'`")


def test_a_category_with_a_dash_is_refused(shop: Domain) -> None:
    class Dashed(Payment, category="credit-card"):
        pass

    refuse(shop, Dashed, "Dashed", "'shop::credit-card'", "dash", "_ instead")


def test_two_aggregates_of_one_category_are_refused(shop: Domain) -> None:
    class Returns(Aggregate, identity="order_id", category="payment"):
        @handle(Refund)
        def refund(self, command: Refund) -> None: ...

    refuse(shop, Returns, "Returns and Payment", "'shop::payment'", "`category=`")


def test_two_aggregates_that_take_one_command_are_refused(shop: Domain) -> None:
    class Rival(Aggregate, identity="order_id"):
        @handle(Pay)
        def snatch(self, command: Pay) -> None: ...

    refuse(shop, Rival, "Pay is taken by", "Payment.pay", "Rival.snatch", "a command of its own")


def test_a_class_of_another_kind_is_refused(shop: Domain) -> None:
    refuse(shop, int, "int is no Aggregate, ProcessManager, Projection, Event or Command", "derive")


def test_an_instance_is_refused_with_the_hint_to_register_its_class(shop: Domain) -> None:
    wrong: Any = Payment("o1")
    refuse(shop, wrong, "is no class", "register the class itself")


def test_of_several_classes_none_is_registered_when_one_is_refused(shop: Domain) -> None:
    class Returns(Aggregate, identity="order_id"):
        @handle(Refund)
        def refund(self, command: Refund) -> None: ...

    class Lost(ProcessManager):
        @handle(Placed, start=True)
        def on_placed(self, event: Placed) -> None: ...

    with pytest.raises(DefinitionError, match="Lost"):
        shop.register(Placed, Returns, Lost)


def test_of_several_classes_none_is_registered_when_one_has_an_impossible_name(
    shop: Domain,
) -> None:
    class Returns(Aggregate, identity="order_id"):
        @handle(Refund)
        def refund(self, command: Refund) -> None: ...

    with pytest.raises(ProcessionError):
        shop.register(Placed, Returns, type("L" * 400, (Fulfilment,), {}))


def test_a_refused_class_can_be_registered_once_it_is_mended(shop: Domain) -> None:
    domain = Domain("mended")
    refuse(domain, type("Fulfilment", (Fulfilment,), {"status": "new"}), "Fulfilment.status")
    body = {"status": "new", "__annotations__": {"status": "str"}}
    domain.register(type("Fulfilment", (Fulfilment,), body))
    assert [cls.__name__ for cls in domain.processes] == ["Fulfilment"]
