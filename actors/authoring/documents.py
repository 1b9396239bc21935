"""What a projection keeps without a database: documents in the runtime's own store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import DefinitionError, shown
from ..messages.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Documents"]

T = TypeVar("T")


class Documents(Generic[T]):
    """Where a projection keeps documents, each under a key: in the runtime's own store.

    Handlers get, put and delete them with `self.db`, and everything in a batch of events is kept in
    one commit with the position up to which it goes. `Runtime.documents` reads them.

    Args:
        kind: of each document: a dataclass, a `Message`, or a type such as ``dict[str, Decimal]``.
            Without it, whatever MessagePack gives back as it was: texts, numbers, bytes, and lists
            and mappings of these
        merge: of a divided store, makes one document of two that two partitions have under the same
            key. Without it, a key is to be in one partition only, as that of a stream's id is

    Raises:
        DefinitionError: no document can be of this kind

    """

    def __init__(
        self, kind: type[T] | Any = Any, *, merge: Callable[[T, T], T] | None = None
    ) -> None:
        given: object = merge
        if given is not None and not callable(given):
            raise DefinitionError(
                f"Documents: merge={shown(merge)}; give a function of two documents, such as "
                f"`merge=lambda one, other: one + other`"
            )
        self.kind = kind
        self.merge = merge
        row: Any = tuple
        try:
            # In an array, since a number by itself could be taken for the mark of what was erased.
            self._codec: Codec[tuple[T]] = Codec(row[kind], "a document")
        except (TypeError, RecursionError) as error:
            raise DefinitionError(
                f"Documents({shown(kind)}): a document cannot be of this kind: {error}"
            ) from error

    def pack(self, value: T) -> bytes:
        """The bytes of a document.

        Raises:
            InvalidMessage: it is of another kind, or would not read back equal

        """
        return self._codec.dump((value,))

    def load(self, packed: bytes) -> T:
        """A document of its bytes.

        Raises:
            InvalidMessage: it does not fit the kind any more

        """
        return self._codec.load(packed)[0]
