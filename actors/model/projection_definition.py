"""A projection class, read once and checked."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..authoring.decorators import Handler, check_method, handlers_of
from ..authoring.documents import Documents
from ..authoring.marks import called, refuse_overridden
from ..authoring.process_manager import LONGEST_NAME
from ..authoring.projection import Projection, ProjectionUnit
from ..authoring.retry import Retry
from ..errors import DefinitionError, shown
from ..store import InvalidName, check_name
from .base_classes import derived_beside, refuse_unheard
from .options import check_retry, check_version
from .streams import check_streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..authoring.aggregate import Aggregate
    from ..authoring.projection_database import Database

__all__ = ["ProjectionDefinition"]

GATE = timedelta(minutes=1)
"""How long after-effects wait for a projection, at most, unless the class says otherwise."""

_OURS = frozenset({"db", "context", "table"})


class ProjectionDefinition:
    """What a projection class says.

    Args:
        cls: the class
        domain: the name of the domain it is registered in
        externals: event classes that stand for events of other domains, with their wire names

    Raises:
        DefinitionError: it cannot work as it is written

    """

    def __init__(
        self, cls: type[Projection], domain: str, externals: Mapping[type, str] | None = None
    ) -> None:
        self.cls = cls
        self.name = cls.__procession_name__ or f"{domain}.{cls.__name__}"
        self.externals = externals if externals is not None else {}
        options = cls.__procession_options__
        self.database: Database | Documents[Any] | None = options.get("database")
        self.tables: tuple[str, ...] = options.get("tables", ())
        self.streams: list[str | type[Aggregate]] = list(options.get("streams", ()))
        self.retry: Retry = options.get("retry", Retry())
        self.gate: timedelta = options.get("gate", GATE)
        self.version: int = options.get("version", 1)
        refuse_overridden(cls, Projection)
        self.handlers: dict[type, Handler] = handlers_of(cls, Projection, "project")
        if len(self.name.encode()) > LONGEST_NAME:
            raise InvalidName(f"{self.name}: a name has at most {LONGEST_NAME} bytes; shorten it")
        check_name("projection name", self.name)
        self._check_options()
        check_streams(cls.__qualname__, self.streams, is_given="streams" in options)
        self._check_methods()
        refuse_unheard(cls, self.handlers, derived_beside(self.handlers))

    @property
    def documents(self) -> Documents[Any] | None:
        """What it keeps in the store; None if it has a database, or keeps nothing there."""
        return self.database if isinstance(self.database, Documents) else None

    def made(self, handle: Any, suffix: str) -> Projection:
        """An object of the class, to write with.

        Args:
            handle: what it gets as `self.db`
            suffix: what the names of its tables end with

        """
        made = self.cls.__new__(self.cls)
        unit = ProjectionUnit(self.name, handle, suffix)
        object.__setattr__(made, "_unit", unit)
        return made

    def events(self) -> Mapping[type, Handler]:
        """Every event class that it projects."""
        return self.handlers

    def _check_options(self) -> None:
        where, gate = self.cls.__qualname__, shown(self.gate)
        database: object = self.database
        is_database = callable(getattr(database, "connect", None))
        if not (database is None or self.documents is not None or is_database):
            raise DefinitionError(
                f"{where}: database={shown(database)}; give one, such as "
                f'`DbApi(lambda: sqlite3.connect("orders.db"))` or `Documents()` of '
                f"procession.projections"
            )
        if self.documents is not None and self.tables:
            raise DefinitionError(
                f"{where}: documents are in no tables; remove `tables=`, and keep documents under "
                f"keys that begin with what they are of"
            )
        if database is None and self.tables:
            raise DefinitionError(
                f"{where}: tables are made and swapped in a database, and none is given; give "
                f"`database=` as well, or remove `tables=`"
            )
        check_retry(self.cls, self.retry)
        given: object = self.gate
        if not isinstance(given, timedelta) or given < timedelta(0):
            raise DefinitionError(
                f"{where}: gate={gate}; give a timedelta from 0, such as timedelta(minutes=1)"
            )
        check_version(self.cls, self.version, "tables")

    def _check_methods(self) -> None:
        where = self.cls.__qualname__
        for body in self.cls.__mro__:
            if body in Projection.__mro__:
                continue
            for name in body.__dict__:
                if name == "__init__" or name in _OURS:
                    raise DefinitionError(
                        f"{where}.{name} would be in the place of what a projection has, or never "
                        f"be called; choose another name for the method"
                    )
        if not self.handlers:
            raise DefinitionError(
                f"{where} projects nothing; mark a method with @project(SomeEvent)"
            )
        for handler in self.handlers.values():
            check_method(self.cls, handler, "event")
            if inspect.isgeneratorfunction(inspect.unwrap(handler.function)):
                raise DefinitionError(
                    f"{where}.{handler.name} has a `yield`, so calling it would do nothing; write "
                    f"into the tables with `self.db`"
                )
        for role in ("handle", "apply", "after", "timeout", "rejected", "ended"):
            for handler in handlers_of(self.cls, Projection, role).values():
                raise DefinitionError(
                    f"{where}.{handler.name}: {called(handler)} is for no projection; use "
                    f"`@project(...)` here"
                )
