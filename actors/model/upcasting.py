"""Old payloads: what turns them into those of today's classes, and what says that nothing does."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgpack
import msgspec

from ..authoring.decorators import refuse_async
from ..errors import DefinitionError, InvalidMessage, UnknownMessage
from ..messages.codec import refuse_erased
from ..messages.times import written

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..authoring.decorators import Handler
    from ..messages.codec import Codec

__all__ = ["Chain", "Loads", "OldCodec", "Readers", "check_chain", "check_upcaster", "split"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_load_plain: Callable[[bytes], Any] = msgspec.msgpack.Decoder().decode


def split(name: str) -> tuple[str, int]:
    """A wire name without its version, and the version."""
    base, _, version = name.rpartition(".v")
    return base, int(version)


def check_upcaster(owner: str, upcaster: Handler) -> None:
    """Refuse a function that cannot be called with the old payload alone, or that waits.

    Raises:
        DefinitionError: it takes something else, or is ``async def``

    """
    refuse_async(f"{owner}{upcaster.name}", upcaster.function)
    try:
        inspect.signature(upcaster.function, follow_wrapped=False).bind({})
    except TypeError as error:
        raise DefinitionError(
            f"{owner}{upcaster.name}: an upcaster is called with the old payload alone ({error}); "
            f"write `def {upcaster.name}(old: dict[str, Any]) -> dict[str, Any]`, in a class "
            f"below @staticmethod"
        ) from None


def check_chain(
    what: str, current: Collection[int], upcasters: Mapping[int, Handler], add: str
) -> None:
    """Refuse upcasters that do not lead to a version which has a class.

    Args:
        what: whose payloads they take
        current: the versions that are read as they are
        upcasters: by the version that they take
        add: what to write for a missing step, with the version in braces

    Raises:
        DefinitionError: one takes the newest version or a later one, or a step is missing

    """
    newest = max(current)
    for version, upcaster in sorted(upcasters.items()):
        where = f"{upcaster.name} upcasts {what} from version {version}"
        if version >= newest:
            raise DefinitionError(
                f"{where}, but {what} has version {newest} here, so there is nothing to turn it "
                f"into; give the class `version={version + 1}`, or remove the upcaster"
            )
        if version + 1 not in upcasters and version + 1 not in current:
            raise DefinitionError(
                f"{where}, and nothing leads from version {version + 1} to {newest}; "
                f"write {add.format(version + 1)}"
            )


class Chain:
    """Upcasters that follow each other up to one version.

    Args:
        what: whose payloads they take, for errors
        version: the version they lead to
        upcasters: by the version that each takes, without a gap
        mend: what to do about an older version that none takes; ``{}`` stands for the version

    """

    def __init__(
        self, what: str, version: int, upcasters: Mapping[int, Handler], mend: str
    ) -> None:
        self.version = version
        self.oldest = min(upcasters, default=version)
        self._what = what
        self._upcasters = upcasters
        self._mend = mend

    def lift(self, packed: bytes, version: int) -> bytes:
        """Turn a packed payload of an older version into one of the current version.

        Raises:
            UnknownMessage: nothing leads from that version to the current one
            InvalidMessage: an upcaster failed, or returned no dictionary of plain values

        """
        if version > self.version:
            raise UnknownMessage(newer(self._what, version, self.version))
        if version < self.oldest:
            raise UnknownMessage(
                f"{self._what} is of version {version}, and its class is at version "
                f"{self.version}; {self._mend.format(version)}"
            )
        payload = _load_plain(packed)
        if not isinstance(payload, dict):
            refuse_erased(packed, self._what)
        for number in range(version, self.version):
            upcaster = self._upcasters[number]
            where = f"{self._what}: its upcaster {upcaster.name} from version {number}"
            try:
                payload = upcaster.function(payload)
            except Exception as error:
                raise InvalidMessage(f"{where} failed: {error!r}") from error
            if not isinstance(payload, dict):
                raise InvalidMessage(
                    f"{where} returned {payload!r}; return the new fields as a dictionary"
                )
        try:
            new: bytes = msgpack.packb(written(payload))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidMessage(
                f"{self._what}: what its upcasters return cannot be packed: {error}"
            ) from error
        return new


def newer(what: str, version: int, current: int) -> str:
    """What is said about a payload that a later version of the service wrote."""
    return (
        f"{what} is of version {version}, which is newer than its class here, at version "
        f"{current}; run the version of the service that knows it, then retry"
    )


class Loads(Protocol[T_co]):
    """What unpacks a payload."""

    def load(self, packed: bytes) -> T_co:
        """Unpack a payload."""


class OldCodec(Generic[T]):
    """Unpacks payloads of one older version as the current class.

    Args:
        codec: of the class
        chain: leads to its version
        version: of the payloads

    """

    def __init__(self, codec: Codec[T], chain: Chain, version: int) -> None:
        self._codec = codec
        self._chain = chain
        self._version = version

    def load(self, packed: bytes) -> T:
        """Unpack a payload.

        Raises:
            UnknownMessage: nothing leads from its version to the current one
            InvalidMessage: an upcaster failed, or what it made does not fit the class

        """
        return self._codec.load(self._chain.lift(packed, self._version))


class Readers(dict[str, "Loads[T] | None"]):
    """How one reader reads events, by wire name: None for those that are not for it.

    Names that were never seen are looked at once: another version of an event that is for it
    gets a codec that says what is wrong, so that the event is parked and not passed over.

    Args:
        is_known: whether a wire name has a class of its own elsewhere, so that events of that
            version are meant for others

    """

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_known = is_known
        self._newest: dict[str, tuple[Codec[T], Chain, bool]] = {}

    def add(self, name: str, codec: Codec[T], chain: Chain, *, is_external: bool) -> None:
        """Read events of that wire name, and of the versions that its chain takes.

        Args:
            name: the wire name
            codec: of the class
            chain: leads to the class's version
            is_external: whether the class stands for another domain's event

        """
        base, version = split(name)
        self[name] = codec
        for older in range(chain.oldest, version):
            self.setdefault(f"{base}.v{older}", OldCodec(codec, chain, older))
        if base not in self._newest or self._newest[base][1].version < version:
            self._newest[base] = (codec, chain, is_external)

    def __missing__(self, name: str) -> Loads[T] | None:
        found: Loads[T] | None = None
        base, _, version = name.rpartition(".v")
        if base in self._newest and version.isdecimal():
            codec, chain, is_external = self._newest[base]
            if is_external or not self._is_known(name):
                found = OldCodec(codec, chain, int(version))
        self[name] = found
        return found
