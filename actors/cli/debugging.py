"""An instance's life under a debugger, for `show --debug`."""

from ..errors import InvalidMessage
from ..model.registry import Registry
from ..shadowing.opened import opened
from ..shadowing.stepping import step_through
from ..store import Store
from .named import codec_of, domain_of
from .options import definition_of
from .output import said

__all__ = ["debug"]


def debug(
    store: str,
    process: str,
    instance: str,
    domains: list[str] | None,
    codec: str | None,
    version: int | None,
) -> None:
    """Stop before each handler of an instance, and tell what came of it.

    Raises:
        InvalidMessage: there is no domain, or it has no such process manager
        UnknownInstance: there is no such instance, or it has no such version

    """
    if not domains:
        raise InvalidMessage("a debugger needs the code: say where it is, --domain MODULE:NAME")
    registry = Registry([domain_of(one) for one in domains])
    definition = definition_of(registry, process)
    with opened(store, codec=codec_of(codec)) as stores:
        where = _where(stores, definition.name, instance)
        for step in step_through(where, registry, definition, instance, version=version):
            said(f"version {step.version}: {step.handler} by {step.cause}")
            for one in step.differs or ():
                said(f"  other than stored: {one}")
            if step.differs is None:
                said("  an operator made it")


def _where(stores: list[Store], process: str, instance: str) -> Store:
    """The partition that has the instance; any of them, if none has."""
    return next((one for one in stores if one.started_as(process, instance)), stores[0])
