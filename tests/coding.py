"""A payload codec without keys, for tests of what lies around one."""

from collections.abc import Callable, Collection

from procession.store import PayloadCodec


class Reversed:
    """Turns all round. Satisfies `PayloadCodec`."""

    name = "reversed"

    def prepare(self, subjects: Collection[str]) -> None: ...

    def encode(self, data: bytes, subject: str) -> bytes:
        return data[::-1]

    def decode(self, data: bytes) -> bytes:
        return data[::-1]

    def forget(self, subject: str, time: int) -> None: ...

    def look_again(self) -> None: ...


_is_a_codec: Callable[[], PayloadCodec] = Reversed
