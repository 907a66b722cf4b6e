"""One seed: a small fleet, faults for a while, healing, rest, and the question whether every promise was kept.

Rules:
- Everything that is drawn comes from generators named by the seed and by what they are for, so that one more draw in one
  place changes nothing in another.
- Bounds are looked at all the time; what must be stored is compared when the world has healed and come to rest, which
  must happen within ``SETTLE_S`` of virtual time.

>>> run_seed(1).violations
()
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from nervure_core.clock import VirtualClock
from nervure_edge.spool import Spool
from nervure_hub.lake import Lake
from nervure_hub.lake.ranges import SeqRanges
from nervure_simulations.faults.agent_node import AgentNode
from nervure_simulations.faults.chaos import Chaos
from nervure_simulations.faults.hub_node import HubNode, SimGateway
from nervure_simulations.faults.loop import StalledError, VirtualLoop
from nervure_simulations.faults.network import Network
from nervure_simulations.faults.plan import Plan, draw
from nervure_simulations.faults.trace import Trace

SETTLE_S = 180.0
_WATCH_S = 0.1
_RECORD_BYTES = 8192
"""More than any record here takes."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes on trial; a test may plant a broken one."""

    spool: type[Spool] = Spool
    gateway: type[SimGateway] = SimGateway
    lake: type[Lake] = Lake


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed showed."""

    seed: int
    violations: tuple[str, ...]
    digest: str
    """Hash of the whole trace: equal for equal runs."""
    steps: int
    turns: int
    virtual_s: float
    made: int
    died: int
    refused: int
    stored: int
    last_steps: tuple[str, ...]


class World:
    """The world of one seed.

    Args:
        seed: Decides everything.
        parts: What is on trial.
        loop: Owns the time.
        clock: The loop's.
    """

    def __init__(self, seed: int, parts: Parts, loop: VirtualLoop, clock: VirtualClock) -> None:
        self.seed, self.parts, self.clock = seed, parts, clock
        self.plan: Plan = draw(seed)
        self.trace = Trace(clock)
        self.violations: list[str] = []
        self.network = Network(random.Random(f"{seed}/network"), self.trace)
        self.network.slowness_s = self.plan.slowness_s
        self.network.half_open_share = self.plan.half_open_share
        self._disk_rng = random.Random(f"{seed}/disk")
        loop.thread_delay_s = self.disk_delay_s
        self._loop = loop
        self.addresses = tuple(f"hub-{number}" for number in range(len(self.plan.gateways)))
        self.group = asyncio.TaskGroup()
        self.hubs: list[HubNode] = []
        self.agents: list[AgentNode] = []

    def disk_delay_s(self) -> float:
        """Return how long something in a thread takes."""
        return self._disk_rng.expovariate(1.0 / self.plan.disk_delay_s)

    def hub_order(self, agent: str) -> tuple[str, ...]:
        """Return the hubs as an agent's configuration lists them."""
        order = list(self.addresses)
        random.Random(f"{self.seed}/order/{agent}").shuffle(order)
        return tuple(order)

    def violation(self, what: str) -> None:
        """Note that a promise was broken."""
        self.trace("VIOLATION", what)
        self.violations.append(what)

    async def run(self) -> Outcome:
        """Live through the plan."""
        self.hubs = [HubNode(name, self, count) for name, count in zip(self.addresses, self.plan.gateways, strict=True)]
        self.agents = [
            AgentNode(f"agent-{number}", self, random.Random(f"{self.seed}/agent/{number}"))
            for number in range(self.plan.agents)
        ]
        async with self.group as group:
            lives = []
            for hub in self.hubs:
                self.network.doors[hub.address] = list(hub.gateways)
                lives += [group.create_task(gateway.live()) for gateway in hub.gateways]
                lives.append(group.create_task(hub.compact_for_ever()))
            lives += [group.create_task(agent.live()) for agent in self.agents]
            lives.append(group.create_task(self._watch()))
            chaos = Chaos(self, random.Random(f"{self.seed}/chaos"))
            await chaos.rage()
            chaos.heal()
            self.trace("world", "has healed")
            if await self._settle():
                await self._compare()
            for life in lives:
                life.cancel()
        return self.outcome()

    async def _settle(self) -> bool:
        """Wait until every agent has delivered everything; return whether that came in time."""
        for agent in self.agents:
            agent.producing = False
        ends_s = self.clock.monotonic_s() + SETTLE_S
        while self.clock.monotonic_s() < ends_s:
            await self.clock.sleep(0.5)
            if all(self._delivered(agent) for agent in self.agents):
                return True
        for agent in self.agents:
            if not self._delivered(agent):
                spool = agent.process.spool if agent.process is not None else None
                self.violation(f"{agent.name} does not come to rest: {spool!r}")
        return False

    @staticmethod
    def _delivered(agent: AgentNode) -> bool:
        spool = agent.process.spool if agent.process is not None else None
        return spool is not None and spool.acknowledged_seq >= spool.next_seq

    async def _compare(self) -> None:
        for hub in self.hubs:
            for gateway in hub.gateways:
                while not gateway.up:
                    await self.clock.sleep(0.5)
            await hub.compact()
            await hub.compact()
        stored: dict[str, dict[tuple[bytes, int], str]] = {agent.name: {} for agent in self.agents}
        losses: dict[bytes, SeqRanges] = {}
        for hub in self.hubs:
            here: set[tuple[str, int]] = set()
            for agent, stream, seq, subject in hub.stored():
                if (stream, seq) in here:
                    self.violation(f"{hub.address}: {agent} number {seq} is stored twice")
                here.add((stream, seq))
                known = stored[agent].setdefault((bytes.fromhex(stream), seq), subject)
                if known != subject:
                    self.violation(f"{agent}: number {seq} is stored as {known!r} and as {subject!r}")
            for stream_id, ranges in hub.losses.items():
                for start, end in ranges.ranges():
                    losses.setdefault(stream_id, SeqRanges()).add(start, end)
        for node in self.agents:
            node.book.check(stored[node.name], losses)
        self.stored = sum(len(events) for events in stored.values())

    stored = 0

    async def _watch(self) -> None:
        """Look at the bounds, all the time."""
        plan = self.plan
        while True:
            await self.clock.sleep(_WATCH_S)
            for agent in self.agents:
                if agent.disk.used_bytes > max(plan.spool_quota_bytes, agent.bytes_at_start) + 256:
                    self.violation(
                        f"{agent.name}: {agent.disk.used_bytes} bytes on a quota of {plan.spool_quota_bytes}"
                    )
            for gateway in (gateway for hub in self.hubs for gateway in hub.gateways):
                if gateway.server is None:
                    continue
                size, queued = gateway.server.journal_bytes
                if size > max(plan.journal_quota_bytes, gateway.bytes_at_start):
                    self.violation(f"{gateway.label}: journal of {size} bytes on {plan.journal_quota_bytes}")
                if queued > plan.journal_queue_bytes + _RECORD_BYTES * 2 * plan.agents:
                    self.violation(f"{gateway.label}: {queued} bytes wait on a bound of {plan.journal_queue_bytes}")

    def outcome(self) -> Outcome:
        """Return what was seen so far."""
        books = [agent.book for agent in self.agents]
        return Outcome(
            self.seed,
            tuple(self.violations),
            self.trace.digest,
            self.trace.steps,
            self._loop.turns,
            round(self.clock.monotonic_s(), 3),
            sum(book.made for book in books),
            sum(book.died for book in books),
            sum(book.refused for book in books),
            self.stored,
            tuple(self.trace.last),
        )


def run_seed(seed: int, parts: Parts | None = None) -> Outcome:
    """Run one seed to its end."""
    clock = VirtualClock()
    loop = VirtualLoop(clock)
    try:
        with _quiet():
            world = World(seed, parts or Parts(), loop, clock)
            try:
                return loop.run_until_complete(world.run())
            except StalledError as error:
                world.violation(error.message)
                return world.outcome()
    finally:
        loop.close()


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the parts on trial from logging a hundred thousand expected faults."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
