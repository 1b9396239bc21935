"""What people subclass to fold events into tables of their own: a read model, a plain object."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from msgspec import Struct

from ..errors import DefinitionError, shown
from .context import Context
from .decorators import note_options, refuse_keywords
from .marks import refuse_lost_marks
from .process_manager import check_stored_name, listed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from .documents import Documents
    from .projection_database import Database
    from .retry import Retry

__all__ = ["Projection", "ProjectionUnit"]

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


class ProjectionUnit(Struct, gc=False):
    """What a projection has while it handles events.

    `handle` is the connection, `suffix` what the names of tables end with, and `context` is of the
    event in hand.
    """

    name: str
    handle: Any
    suffix: str = ""
    context: Context | None = None


class Projection:
    """A read model: ordered events folded into tables, with a checkpoint of its own.

    Methods marked with `project` write an event into the tables, through `self.db`. Those of one
    projection run one at a time, in order of position, and everything in a batch of events is kept
    together with the position up to which it goes. A projection keeps nothing in itself.

    Class keywords:
        name: ``<Domain>.<name>``, under which its checkpoint is stored, whatever the class is
            called; without it, the names of the domain and the class
        database: where its tables are, as ``DbApi(lambda: sqlite3.connect("orders.db"))``; or
            ``Documents()``, which are in the runtime's own store. Without it, the checkpoint is
            kept there alone, and an event may come again after a crash
        tables: the names of its tables, so that others can be made beside them and swapped in
        streams: only events of these categories and aggregate classes
        retry: a `Retry` for handlers that fail; three attempts when it is not given. Then the event
            is parked, with what comes after it in its stream
        gate: how long after-effects wait for it, at most; one minute when it is not given
        version: of its tables, from 1; raise it when they are to be made anew

    """

    __slots__ = ("_unit",)

    _unit: ProjectionUnit

    __procession_options__: ClassVar[dict[str, Any]] = {}
    __procession_name__: ClassVar[str | None] = None

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        database: Database | Documents[Any] | None = None,
        tables: Iterable[str] | None = None,
        streams: Iterable[str | type] | None = None,
        retry: Retry | None = None,
        gate: timedelta | None = None,
        version: int | None = None,
        **keywords: Any,
    ) -> None:
        given = {
            "database": database,
            "tables": _names_of_tables(cls, tables),
            "streams": listed(cls, streams),
            "retry": retry,
            "gate": gate,
            "version": version,
        }
        try:
            super().__init_subclass__(**keywords)
        except TypeError:
            refuse_keywords(cls, keywords, ("name", *given))
            raise
        if name is not None:
            check_stored_name(cls, name, "projection")
        cls.__procession_name__ = name
        note_options(cls, given)
        refuse_lost_marks(cls, Projection)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} of {self._unit.name}>"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"{type(self).__qualname__}.{name} was assigned, and a projection keeps nothing in "
            f"itself: what it keeps goes into its tables, with `self.db`"
        )

    @property
    def db(self) -> Any:
        """The database, within the transaction that has the checkpoint.

        A cursor for `DbApi`, a connection for `SqlAlchemy`; for `Documents`, what has ``get(key)``,
        ``put(key, value)``, ``delete(key)`` and ``items(prefix)``. It is not to be committed,
        rolled back or kept.
        """
        return self._unit.handle

    @property
    def context(self) -> Context:
        """Where the event in hand came from.

        Raises:
            RuntimeError: no event is being handled

        """
        context = self._unit.context
        if context is None:
            raise RuntimeError("self.context is there only while an event is being handled")
        return context

    def table(self, name: str) -> str:
        """The name to write in a statement for one of the class's `tables`.

        It is that of the table, or that of the table which is being made beside it.

        Raises:
            KeyError: the class has no such table

        """
        if name not in type(self).__procession_options__.get("tables", ()):
            raise KeyError(
                f"{type(self).__qualname__} has no table {name!r}; name it in the class: "
                f"`tables=[{name!r}]`"
            )
        return f"{name}{self._unit.suffix}"

    def create(self) -> None:
        """Make the tables, where they are missing; called when it is new, and to make it anew.

        Write ``create table if not exists`` with `self.table`, and indexes that are called by it.
        """

    def erase(
        self, kind: Literal["instance", "stream", "subject"], process: str, name: str
    ) -> None:
        """Take out of the tables what is erased in the store; override it where they have copies.

        It is called in a transaction of its own before an erasure counts as done, and again if that
        was cut off. Events that were erased come to no handler any more.

        Args:
            kind: of what is erased
            process: the process manager's name, of an instance; empty otherwise
            name: the instance, the stream, or whose data it is

        """


def _names_of_tables(cls: type, tables: Iterable[str] | None) -> tuple[str, ...] | None:
    if tables is None:
        return None
    given: tuple[object, ...] = () if isinstance(tables, str) else tuple(tables)
    names = tuple(one for one in given if isinstance(one, str) and _TABLE.fullmatch(one))
    if not given or len(names) < len(given) or len(set(names)) < len(names):
        raise DefinitionError(
            f"{cls.__qualname__}: tables={shown(tables)}; give a list of different names of "
            f'letters, digits and _, of at most 40 characters, such as ["orders"]'
        )
    return names
