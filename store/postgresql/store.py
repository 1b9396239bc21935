"""The store in a PostgreSQL database: how it is opened, and what is said of it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ..errors import DamagedStore, UnknownFormat
from ..layout.frames import frame, unframe
from ..layout.schema import FORMAT_VERSION, SECRET
from ..store import SECRET_BYTES, Store
from .engine import PostgresEngine

if TYPE_CHECKING:
    from ..coded import AsStored, PayloadCodec
    from ..lmdb.environment import Durability
    from ..partitions import Partition
    from .address import Address
    from .node import DatabaseNode

__all__ = ["PostgresStore"]


class PostgresStore(Store):
    """Durable state in a schema of a PostgreSQL database.

    Args:
        url: where, as for `PostgresEngine`
        durability: as for `PostgresEngine`
        read_only: read beside a writer, in this process or another
        store_id: what a new store is called; random when it is not given
        secret: of a new store, as for `Store`
        partition: which one it is, as for `Store`
        family: as for `Store`
        node: as for `PostgresEngine`
        codec: as for `Store`

    Raises:
        LockedStore: another process has it open for writing
        UnknownFormat: another version wrote it
        WrongCodec: as `Store`
        StoreError: as `PostgresEngine`

    """

    has_format = True

    def __init__(
        self,
        url: str | Address,
        *,
        durability: Durability = "fsync",
        read_only: bool = False,
        store_id: str | None = None,
        secret: str | None = None,
        partition: Partition | None = None,
        family: str = "",
        node: DatabaseNode | None = None,
        codec: PayloadCodec | AsStored | None = None,
    ) -> None:
        number, count = (0, 1) if partition is None else (partition.number, partition.count)
        self._tables = PostgresEngine(
            url,
            durability=durability,
            read_only=read_only,
            part=number,
            partitions=count,
            node=node,
        )
        try:
            self._check_format(
                store_id or secrets.token_hex(16), secret or secrets.token_hex(SECRET_BYTES)
            )
            super().__init__(self._tables, partition=partition, family=family, codec=codec)
        except BaseException:
            self._tables.close()
            raise

    def __repr__(self) -> str:
        return f"<PostgresStore at {self.address}>"

    @property
    def address(self) -> Address:
        """Where it is."""
        return self._tables.address

    def _check_format(self, new_id: str, new_secret: str) -> None:
        engine = self._tables
        (raw,) = engine.get_many([("meta", b"format")])
        if raw is None:
            if engine.read_only or engine.range("meta", b"", b"\xff", 1):
                raise DamagedStore(
                    f"the tables at {self.address} do not say which format they have: they are no "
                    f"Procession store, a copy that was not finished (`procession copy` goes on "
                    f"with it), or were changed; go back to a backup then"
                )
            rows = {b"format": FORMAT_VERSION, b"store_id": new_id, SECRET: new_secret}
            ticket = engine.commit(
                {"meta": {key: frame(key, value) for key, value in rows.items()}}, {}
            )
            if ticket.error is not None:
                raise ticket.error
            return
        found = unframe(raw, "meta", b"format")
        if found != FORMAT_VERSION:
            raise UnknownFormat(
                f"the store at {self.address} has format {found}, and this version of Procession "
                f"knows format {FORMAT_VERSION}; open it with the version that wrote it"
            )
