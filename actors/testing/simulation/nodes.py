"""Simulated nodes, each a process that runs some of the partitions of one divided store."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.ownership import Version, taker, too_much, waiting
from ...engine.ingress import Ingress
from ...errors import BeginUndecided, DefinitionError
from ...queries.reader import Reader
from ...store import DictionaryEngine, Partition, Store, StoreError
from .accidents import STEPS
from .faults import RuntimeBroke
from .leases import Leases
from .partitions_reader import PartitionsReader
from .running import Running
from .simulated_clock import NodeClock, SharedClock
from .simulated_disk import SimulatedDisk
from .simulated_store import SimulatedStore
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ...model.process_definition import ProcessDefinition
    from ...model.registry import Registry
    from ...store import Durability, SentRecord, TakenOver
    from .beginning import Beginning
    from .faults import Faults
    from .world import Look, Move

__all__ = ["Nodes"]


class Node:
    """One process, and the partitions that it runs, by their numbers.

    Some of them may be another node's by now, which this one has yet to find out.

    Args:
        name: by which the others know it
        registry: all classes of the version that it runs

    """

    def __init__(self, name: str, registry: Registry) -> None:
        self.name = name
        self.run(registry)
        self.clock = NodeClock()
        self.parts: dict[int, Owned] = {}
        self.is_up = True
        """Whether it has its turns; not while it hangs, and not when it has died."""
        self.is_down = False
        """Whether it has died, and another one is to come in its place."""

    def run(self, registry: Registry) -> None:
        """Have the process that comes next run that version."""
        self.registry = registry
        self.version = Version(registry.reads(), registry.writes())


class Owned(Running):
    """A partition that a node runs.

    Attributes:
        node: that runs it
        epoch: that its commits name
        goes_to: the name of the node that is to have it next, while it is handed over; empty if
            that is any
        is_lost: whether a commit of it was refused, since another node has it

    """

    node: Node
    epoch: int
    clock: SharedClock
    goes_to: str | None = None
    is_lost = False


class Nodes(World):
    """As `World`, of several nodes that share the partitions of a divided store by leases.

    Each partition has tables of its own. A node that opens a partition raises its epoch, and a
    commit that names an older one is refused. The lanes between partitions are read when the moves
    say so, and what is read there is what is durable.

    Args:
        nodes: how many
        partitions: how many; if it is None, as many as the run begins with, or twice the nodes
        arguments: as for `World`

    Raises:
        ValueError: there are to be less than one, or not as many as in the store that the run is to
            begin with, or that is not divided, or the run is to be without fsync

    """

    is_divided = True

    def __init__(self, nodes: int, partitions: int | None, *arguments: Any, **named: Any) -> None:
        if nodes < 1 or (partitions is not None and partitions < 1):
            raise ValueError(f"nodes={nodes!r}, partitions={partitions!r}; give numbers from 1")
        self._wanted = partitions
        self._names = [f"node {number}" for number in range(1, nodes + 1)]
        # What any node runs, in order of the partitions.
        self._opened_parts: list[Owned] = []
        # Lanes of which the target was told that there is more, and those that are late.
        self._lanes: dict[tuple[int, int], None] = {}
        self._late_lanes: dict[tuple[int, int], None] = {}
        # Those that live, in the order in which they came.
        self._came: list[Node] = []
        # Who is to have a partition that was let go of.
        self._promised: dict[int, str] = {}
        # The names of the nodes that are yet to be replaced, in order.
        self._deploying: list[str] = []
        super().__init__(*arguments, **named)

    def _open(self, beginning: Beginning, durability: Durability) -> None:
        if durability != "fsync":
            raise ValueError(
                f'durability={durability!r}: a run over nodes has durability="fsync", since a node '
                f"goes on from what another one has made durable"
            )
        if beginning.count and not beginning.is_divided:
            raise ValueError(
                "a run over nodes is to begin with a store that is not divided; have it begin with "
                "a divided one, or leave nodes= out"
            )
        if beginning.count and self._wanted not in {None, beginning.count}:
            raise ValueError(
                f"partitions={self._wanted!r}, and the store that the run is to begin with has "
                f"{beginning.count}, which never changes; leave partitions= out"
            )
        self._count = count = beginning.count or self._wanted or 2 * len(self._names)
        self.family = beginning.family
        self.leases = Leases(count)
        self._nodes = [Node(name, self.registry) for name in self._names]
        self._newest = self.registry
        self._tables = beginning.tables() or [DictionaryEngine() for _ in range(count)]
        self._partitions = [Partition(number, self._count) for number in range(self._count)]
        self._stores = [
            Store(tables.beside(read_only=True), partition=partition, family=self.family)
            for tables, partition in zip(self._tables, self._partitions, strict=True)
        ]
        self.origin = sum(store.commit_count for store in self._stores)
        self._neighbours = {number: _Neighbour(number, self) for number in range(self._count)}
        self._begin_all()

    def _begin_all(self) -> None:
        """Have each node open its share."""
        self._came = list(self._nodes)
        self._lanes.clear()
        self._late_lanes.clear()
        self._promised.clear()
        if self.origin or self.registry is not self.first:
            for store in self._stores:
                self._check_names(store)
        for node in self._nodes:
            node.is_up, node.is_down = True, False
        fit = [node for node in self._nodes if node.name not in self._waiting()]
        opened = [self._opened(number, fit[number % len(fit)]) for number in range(self._count)]
        self._secret = opened[0].store.secret()
        self._look_by(self._came[0].registry)
        for part in opened:
            part.engine.start()

    def _look_by(self, registry: Registry) -> None:
        """Have readers and callers go by one of the versions that run."""
        self.registry = registry
        self._readers = [Reader(store, registry) for store in self._stores]
        self._reader = PartitionsReader(self._readers, self._stores, registry, self._partitions[0])
        # For what is checked before it is sent.
        self.ingress = Ingress(registry, self.clock, self._secret, run="outside")
        self.has_changed = True

    def _comes(self, node: Node) -> None:
        """A node lives from now on, and is the last that came."""
        self._goes(node)
        node.is_up, node.is_down = True, False
        self._came.append(node)
        self._follow_versions()

    def _goes(self, node: Node) -> None:
        """The others see that a node is gone."""
        if node in self._came:
            self._came.remove(node)
            self._follow_versions()

    def _follow_versions(self) -> None:
        # Who was there first is read by all that own something.
        if self._came and self._came[0].registry is not self.registry:
            self._look_by(self._came[0].registry)

    def _waiting(self) -> dict[str, str]:
        """The nodes that own nothing, since another one does not read what they write."""
        return waiting({node.name: node.version for node in self._came})

    def _opened(self, number: int, node: Node) -> Owned:
        """Have a node take a partition, and open it."""
        mistaken = node.parts.get(number)
        if mistaken is not None:
            self._end(mistaken)
        epoch = self.leases.take(number, node.name)
        faults = self.faults.of(f"{node.name}, partition {number}")
        clock = SharedClock(self.clock, node.clock)
        tables = self._tables[number].beside()

        def fence() -> TakenOver | None:
            refusal = self.leases.refusal(number, epoch)
            if refusal is not None:
                part.is_lost = True
            return refusal

        disk = SimulatedDisk(tables, faults, "fsync", fence)
        store = SimulatedStore(disk, faults, self._partitions[number], self.family)
        if len(self._versions) > 1:
            try:
                self._check_names(store, node.registry)
            except (DefinitionError, BeginUndecided) as error:
                raise RuntimeBroke(f"{node.name} cannot open partition {number}: {error}") from None
        neighbours = {one: each for one, each in self._neighbours.items() if one != number}
        # Of two runs on the same tables, none makes the ids that the other made.
        run = f"{number:04x}{self.origin:06x}{epoch:06x}"
        part = Owned(
            store, faults, node.registry, clock, self.options, run=run, neighbours=neighbours
        )
        part.node, part.epoch, part.clock = node, epoch, clock
        node.parts[number] = part
        self._opened_parts = sorted([*self._opened_parts, part], key=_place)
        return part

    def _end(self, part: Owned) -> None:
        """What a node ran of a partition is gone from its memory; who waits hears that."""
        part.node.parts.pop(part.number, None)
        self._opened_parts = [one for one in self._opened_parts if one is not part]
        part.clock.forget()
        part.engine.services.replies.close()
        part.engine.projections.abandon()
        part.store.close()
        self.has_changed = True

    # As `World`

    @property
    def parts(self) -> Sequence[Owned]:
        """What is given turns, in order of the partitions."""
        return [part for part in self._opened_parts if part.node.is_up]

    @property
    def stores(self) -> Sequence[Store]:
        return self._stores

    @property
    def readers(self) -> Sequence[Reader]:
        return self._readers

    def of_stream(self, stream: str) -> Running | None:
        return self._taking(self._partitions[0].of_stream(stream))

    def of_instance(self, definition: ProcessDefinition, instance: str) -> Running | None:
        return self._taking(self._reader.partition_of_instance(definition, instance))

    def of_parked(self, number: int) -> tuple[Running | None, int]:
        place, partition = divmod(number, self._count)
        return self._taking(partition), place

    def parked_id(self, partition: int, number: int) -> int:
        return number * self._count + partition

    def _taking(self, number: int) -> Owned | None:
        """What callers reach of a partition: its owner's, unless that is about to let go of it."""
        part = self._owner(number)
        return None if part is None or part.goes_to is not None else part

    def _owner(self, number: int) -> Owned | None:
        """What the owner of a partition runs of it, if it is there and can answer."""
        lease = self.leases[number]
        for node in self._nodes:
            if node.name == lease.node:
                part = node.parts.get(number)
                return part if part is not None and part.epoch == lease.epoch else None
        return None

    def position_of(self, stream: str, event_id: str) -> int:
        return self._stores[self._partitions[0].of_stream(stream)].position_of(event_id)

    def stats(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for number in range(self._count):
            part = self._owner(number)
            for name, count in ({} if part is None else part.engine.stats()).items():
                total[name] = total.get(name, 0) + count
        return total

    def looking(self, call: str) -> Look:
        self._refuse_query(call)
        return self._reader

    def cut_power(self) -> bool:
        return False

    def end(self) -> None:
        for part in self._opened_parts:
            self._end(part)
        for store in self._stores:
            store.close()

    def restart(self) -> None:
        """End all nodes here, and start them anew on what was durable."""
        self.crashes += 1
        self._deploying.clear()
        for part in self._opened_parts:
            self._end(part)
        self._begin_all()

    def _go_on_with(self, registry: Registry) -> None:
        self._newest = registry
        for node in self._nodes:
            node.run(registry)

    def crash(self, which: int | None = None) -> None:
        there = [node for node in self._nodes if not node.is_down]
        if which is None:
            for part in self._opened_parts:
                part.faults.reached.closed("crash_before_commit")
            self.log.note("crash: all nodes end, and what was not committed is gone")
            self.restart()
        elif there:
            node = there[which % len(there)]
            for part in node.parts.values():
                part.faults.reached.closed("crash_before_commit")
            self._die(node)

    def _crashed(self, faults: Faults) -> None:
        for part in self._opened_parts:
            if part.faults is faults:
                self._die(part.node)

    def _die(self, node: Node) -> None:
        """A node has ended; the others see that at once, since its connection is gone."""
        self.crashes += 1
        self.log.note(f"{node.name} dies: what it had not committed is gone")
        for part in list(node.parts.values()):
            self._end(part)
        node.is_up, node.is_down = False, True
        self._goes(node)
        self._run_out(node)

    def _run_out(self, node: Node) -> None:
        for number in self.leases.of(node.name):
            self.leases[number].has_run_out = True

    def guarded(self, do: Callable[..., Any], *arguments: Any) -> None:
        super().guarded(do, *arguments)
        for part in self._opened_parts:
            if part.is_lost:
                self.log.note(f"{part.node.name} stops partition {part.number}, which it has lost")
                self._end(part)

    # Lanes

    def tell(self, target: int, source: int) -> None:
        """A partition has sent something to another one, which reads the lane when it is moved."""
        self._lanes[target, source] = None

    def _read_lane(self, target: int, source: int) -> None:
        self._lanes.pop((target, source), None)
        self.log.note(f"partition {target} reads the lane from {source}", True)
        for part in self._opened_parts:
            if part.number == target and part.engine.lanes is not None:
                part.engine.lanes.nudge(source)

    # What nodes do next

    def moves(self) -> Iterator[Move]:
        for lane in self._lanes:
            if lane not in self._late_lanes:
                yield partial(self._read_lane, *lane), ("lane", *lane)
        yield from self._hand_overs()
        for number in self.leases.free:
            node = self._taker(number)
            if node is not None:
                yield partial(self._take_over, number, node), ("take", number)
        yield from self._moves_of_nodes()
        for part in self.parts:
            if part.epoch != self.leases[part.number].epoch and part.is_drained:
                yield partial(self._look_at_lease, part), ("look", part.number)

    def _hand_overs(self) -> Iterator[Move]:
        """Hand-overs that go on, or begin since a node is replaced or has more than its share."""
        going = [part for part in self.parts if part.goes_to is not None]
        for part in going:
            if part.is_drained:
                yield partial(self._let_go, part), ("let go", part.number)
        if going or any(self._taker(number) for number in self.leases.free):
            return
        if self._deploying:
            yield from self._deploy()
        elif all(node.is_up for node in self._nodes):
            pair = too_much(self._owned())
            if pair is not None:
                most, to = (self._named(name) for name in pair)
                number = max(self.leases.of(most.name))
                part = most.parts[number]
                yield partial(self._begin_to_hand_over, part, to.name), ("hand over", number)

    def _deploy(self) -> Iterator[Move]:
        """A node hands over all that it has; then another process comes in its place."""
        node = self._named(self._deploying[0])
        owned = self.leases.of(node.name)
        if not node.is_up or not owned:
            yield partial(self._replace, node), ("replace", node.name)
            return
        others = {name: count for name, count in self._owned().items() if name != node.name}
        # None of the others may read what it writes; they take it all when it is gone.
        to = taker(others) or ""
        part = node.parts[owned[0]]
        yield partial(self._begin_to_hand_over, part, to), ("hand over", part.number)

    def _replace(self, node: Node) -> None:
        self._deploying.remove(node.name)
        for part in list(node.parts.values()):
            self._end(part)
        code = "the same code" if node.registry is self._newest else "the next version"
        self.log.note(f"{node.name} is replaced by one with {code}")
        if not node.is_up:
            self._run_out(node)
        node.run(self._newest)
        self._comes(node)
        if node.name in self._waiting():
            other = self._waiting()[node.name]
            self.log.note(f"{node.name} owns no partition until {other} is gone")

    def _moves_of_nodes(self) -> Iterator[Move]:
        any_up = any(node.is_up for node in self._nodes)
        for node in self._nodes:
            if node.is_down:
                yield partial(self._come_back, node, "comes back"), ("come", node.name)
            elif not node.is_up:
                owned = self.leases.of(node.name)
                if any_up and owned and not all(self.leases[one].has_run_out for one in owned):
                    yield partial(self._notice, node), ("notice", node.name)
                elif not (any_up and owned):
                    move = partial(self._come_back, node, "goes on after it hung")
                    yield move, ("come", node.name)

    def _notice(self, node: Node) -> None:
        self.log.note(f"{node.name} hangs, and its leases run out")
        self._goes(node)
        self._run_out(node)

    def _come_back(self, node: Node, text: str) -> None:
        self.log.note(f"{node.name} {text}")
        if node in self._came:
            node.is_up = True
        else:
            self._comes(node)

    def _owned(self) -> dict[str, int]:
        """How many partitions each node has that is up, and may have some."""
        waits = self._waiting()
        return {
            node.name: len(self.leases.of(node.name))
            for node in self._nodes
            if node.is_up and node.name not in waits
        }

    def _named(self, name: str) -> Node:
        return next(node for node in self._nodes if node.name == name)

    def _taker(self, number: int) -> Node | None:
        """The node that takes a partition."""
        promised, owned = self._promised.get(number), self._owned()
        if promised in owned:
            return self._named(promised or "")
        # Not who is about to be replaced, nor, if there is another one, who was late to renew.
        owned = {one: count for one, count in owned.items() if one not in self._deploying[:1]}
        late = self.leases[number].node
        name = taker({one: count for one, count in owned.items() if one != late})
        name = name or taker(owned)
        return None if name is None else self._named(name)

    def _take_over(self, number: int, node: Node) -> None:
        before = self.leases[number].node
        self._promised.pop(number, None)
        part = self._opened(number, node)
        whose = f", which {before} had" if before else ""
        self.log.note(f"{node.name} takes partition {number}{whose}: epoch {part.epoch}")
        part.engine.start()
        self.has_changed = True

    def _begin_to_hand_over(self, part: Owned, to: str) -> None:
        self.log.note(
            f"{part.node.name} hands partition {part.number} over to {to or 'any'}: it takes "
            f"nothing new, and finishes what it has begun"
        )
        part.goes_to = to
        part.engine.take_no_more()

    def _let_go(self, part: Owned) -> None:
        """Let go of a partition that is drained.

        Raises:
            RuntimeBroke: something that was begun would be thrown away

        """
        node, number = part.node, part.number
        left = part.store.ahead.steps + len(part.engine.journal.intake.works)
        if left:
            raise RuntimeBroke(
                f"{node.name} lets go of partition {number}, and {left} of what it has begun is "
                f"not durable"
            )
        # How far it got may be refused; then the next owner looks at a little more again.
        with suppress(StoreError):
            part.engine.close(0.0)
        self.log.note(f"{node.name} lets go of partition {number}")
        if self.leases[number].epoch == part.epoch:
            self.leases.release(number)
            self._promised[number] = part.goes_to or ""
        self._end(part)

    def _look_at_lease(self, part: Owned) -> None:
        self.log.note(f"{part.node.name} sees that partition {part.number} is not its own any more")
        self._end(part)

    # What goes wrong with nodes

    @property
    def accidents(self) -> Mapping[str, Callable[[int], bool]]:
        return {
            "hang": self._hang,
            "lease": self._lose_lease,
            "hand_over": self._hand_over,
            "deploy": self._deploy_all,
            "lane": self._delay_lane,
            "skew": self._skew,
        }

    def _hang(self, which: int) -> bool:
        """Have a node hang, one in the middle of something if there is one; whether one did."""
        up = [node for node in self._nodes if node.is_up]
        busy = [node for node in up if not all(one.is_drained for one in node.parts.values())]
        there = busy or up
        if len(up) < 2:
            return False
        node = there[which % len(there)]
        self.log.note(f"{node.name} hangs")
        node.is_up = False
        return True

    def _lose_lease(self, which: int) -> bool:
        """Have another node take what one is late to renew its lease of; whether there was one.

        The late one goes on with what it has in hand, and does not know.
        """
        own = self._own_parts()
        own = [part for part in own if not part.is_drained] or own
        if len(self._owned()) < 2 or not own:
            return False
        part = own[which % len(own)]
        self.log.note(f"{part.node.name} is late to renew its lease of partition {part.number}")
        self.leases[part.number].has_run_out = True
        node = self._taker(part.number)
        if node is not None:
            self._take_over(part.number, node)
        return True

    def _hand_over(self, which: int) -> bool:
        """Have a partition handed over to another node; whether there was one."""
        own = [part for part in self._own_parts() if part.goes_to is None]
        own = [part for part in own if not part.is_drained] or own
        if len(self._owned()) < 2 or not own:
            return False
        part = own[which % len(own)]
        others = [name for name in self._owned() if name != part.node.name]
        if not others:
            return False
        self._begin_to_hand_over(part, others[which % len(others)])
        return True

    def _deploy_all(self, which: int) -> bool:
        """Have all nodes replaced, one after the other; whether that was not under way."""
        if self._deploying or len(self._owned()) < 2:
            return False
        names = [node.name for node in self._nodes]
        first = which % len(names)
        self._deploying = names[first:] + names[:first]
        self._newest, self._upgrade = self._upgrade or self._newest, None
        self.log.note("a rolling deploy begins: each node is replaced, one after the other")
        return True

    def _skew(self, which: int) -> bool:
        """Have the clock of a node go ahead of the others', or behind; whether there are others."""
        if len(self._nodes) < 2:
            return False
        node = self._nodes[which % len(self._nodes)]
        place = which // len(self._nodes)
        step, is_forward = STEPS[place // 2 % len(STEPS)], bool(place % 2)
        where = "forward" if is_forward else "back"
        self.log.note(f"the clock of {node.name} is set {where} by {step}")
        self.guarded(self.clock.set_of, node.clock, step if is_forward else -step)
        return True

    def _delay_lane(self, which: int) -> bool:
        """Have a lane be read when nothing else is to be done; whether there was one to be read."""
        lanes = [lane for lane in self._lanes if lane not in self._late_lanes]
        if not lanes:
            return False
        target, source = lane = lanes[which % len(lanes)]
        self.log.note(f"the lane from partition {source} to {target} is late")
        self._late_lanes[lane] = None
        return True

    def let_go_held(self) -> bool:
        has_held = super().let_go_held()
        self._late_lanes.clear()
        return has_held

    @property
    def is_any_held(self) -> bool:
        return bool(self._late_lanes) or super().is_any_held

    def _own_parts(self) -> list[Owned]:
        """What nodes that are up run of partitions that are theirs."""
        return [part for part in self.parts if part.epoch == self.leases[part.number].epoch]


def _place(part: Owned) -> tuple[int, int]:
    return part.number, part.epoch


class _Neighbour:
    """Another partition, of which what is durable is read. Satisfies `Neighbour`."""

    def __init__(self, number: int, nodes: Nodes) -> None:
        self._number = number
        self._nodes = nodes

    @property
    def _store(self) -> Store:
        return self._nodes.stores[self._number]

    def read_lane(self, target: int, after: int, limit: int) -> list[SentRecord]:
        return self._store.read_lane(target, after, limit)

    def last_sent(self, target: int) -> int:
        return self._store.last_sent(target)

    def has_sent(self, target: int, sequence: int) -> bool:
        return self._store.last_sent(target) >= sequence

    def may_have_more(self, target: int, after: int) -> bool:
        return self._store.last_sent(target) > after

    def cursor_of(self, source: int) -> int:
        return self._store.cursor_of(source)

    def nudge(self, source: int) -> None:
        self._nodes.tell(self._number, source)
