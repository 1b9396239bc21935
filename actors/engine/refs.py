"""References as Pykka has them, to actors that may be asleep: by name, and not by object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pykka

from ..errors import InvalidMessage, shown
from ..messages.types import Command
from .aggregate_actor import AggregateActor
from .instance_actor import InstanceActor
from .router import Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model.aggregate_definition import AggregateDefinition
    from .engine import Engine
    from .pooled_actor import PooledActor

__all__ = ["AggregateRef", "InstanceRef", "RouterRef"]


class _Asleep:
    """What Pykka asks whether an actor has stopped."""

    def __init__(self, engine: Engine, kind: str, name: str) -> None:
        self._engine = engine
        self._kind = kind
        self._name = name

    def is_set(self) -> bool:
        return self._engine.is_closing or not self._engine.residency.is_awake(
            self._kind, self._name
        )


class _NamedRef(pykka.ActorRef[Any]):
    """A reference to the actor of that name, whichever object is that actor at the time.

    Args:
        engine: that runs it
        actor_class: of the actor
        kind: the process manager's name, or the aggregate's category
        name: the instance's id, or the aggregate's stream

    """

    def __init__(
        self, engine: Engine, actor_class: type[PooledActor], kind: str, name: str
    ) -> None:
        # As the parent's, which takes the actor itself, and that may be asleep.
        self.actor_class = actor_class
        self.actor_urn = f"urn:procession:{kind}:{name}"
        self.actor_stopped = _Asleep(engine, kind, name)  # type: ignore[assignment]
        self._engine = engine
        self._kind = kind
        self._name = name

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Passivate the actor once it has done all that it was sent; its log stays.

        The next message wakes it again, so nothing is lost.

        Args:
            block: whether to wait for it
            timeout: most seconds to wait, or None for as long as it takes

        Returns:
            whether it was awake; a future of that without `block`

        Raises:
            pykka.Timeout: it was still busy when the time ran out

        """
        reply = self._engine.passivate(self._kind, self._name)
        return reply.get(timeout=timeout) if block else reply

    def proxy(self) -> NoReturn:
        """Refused: a proxy reaches for the attributes of an object, and this actor is a log.

        Raises:
            InvalidMessage: always

        """
        raise InvalidMessage(
            f"{self} has no proxy: the actor may be asleep, and is read from its log when it "
            f"wakes; look at it with runtime.get"
        )


class AggregateRef(_NamedRef):
    """Of an aggregate: takes its commands.

    Args:
        engine: that runs it
        definition: of the aggregate
        stream: its stream
        ask: the runtime's own
        tell: the runtime's own

    """

    def __init__(
        self,
        engine: Engine,
        definition: AggregateDefinition,
        stream: str,
        ask: Callable[..., Any],
        tell: Callable[[Command], str],
    ) -> None:
        super().__init__(engine, AggregateActor, definition.category, stream)
        self._definition = definition
        self._ask = ask
        self._tell = tell

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Have the aggregate carry out a command; as `Runtime.ask`."""
        return self._ask(self._checked(message), block=block, timeout=timeout)

    def tell(self, message: Any) -> None:
        """Queue a command for the aggregate; as `Runtime.tell`."""
        self._tell(self._checked(message))

    def _checked(self, message: object) -> Command:
        if not isinstance(message, Command) or type(message) not in self._definition.handlers:
            takes = ", ".join(command.__name__ for command in self._definition.handlers)
            raise InvalidMessage(
                f"{self._definition.cls.__qualname__} does not take {shown(message)}; "
                f"it takes {takes}"
            )
        stream = self._definition.stream_of(message)
        if stream != self._name:
            raise InvalidMessage(
                f"{shown(message)} is for {stream!r}, and this is a reference to {self._name!r}; "
                f"ask for the other one's, or use runtime.ask"
            )
        return message


class InstanceRef(_NamedRef):
    """Of a process instance: it hears events and takes no messages.

    Args:
        engine: that runs it
        process: the process manager's name
        instance: its id

    """

    def __init__(self, engine: Engine, process: str, instance: str) -> None:
        super().__init__(engine, InstanceActor, process, instance)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> NoReturn:
        """Refused, as `tell`."""
        del block, timeout
        self.tell(message)

    def tell(self, message: Any) -> NoReturn:
        """Refused.

        Raises:
            InvalidMessage: always

        """
        raise InvalidMessage(
            f"instance {self._name!r} of {self._kind} does not take {shown(message)}: an instance "
            f"hears events, in order of their positions; publish an event, or send a command to "
            f"an aggregate"
        )


class _Closed:
    """As `_Asleep`, for a router."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def is_set(self) -> bool:
        return self._router.is_closed


class RouterRef(pykka.ActorRef[Router]):
    """Of a router: it takes events from the log alone, for as long as the runtime is open."""

    def __init__(self, router: Router) -> None:
        # As the parent's, with what a router has in the place of a flag.
        self.actor_class = Router
        self.actor_urn = f"urn:procession:{router.plan.name}"
        self.actor_stopped = _Closed(router)  # type: ignore[assignment]
        self._router = router

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> NoReturn:
        """Refused, as `tell`."""
        del block, timeout
        self.tell(message)

    def tell(self, message: Any) -> NoReturn:
        """Refused.

        Raises:
            InvalidMessage: always

        """
        raise InvalidMessage(
            f"the router of {self._router.plan.name} does not take {shown(message)}: it takes "
            f"events from the log; publish an event"
        )

    def stop(self, *, block: bool = True, timeout: float | None = None) -> NoReturn:
        """Refused.

        Raises:
            InvalidMessage: always

        """
        del block, timeout
        raise InvalidMessage(
            f"the router of {self._router.plan.name} runs for as long as the runtime is open; "
            f"close the runtime"
        )
