"""Does what the plan says, at moments and to victims that are drawn, and puts everything right in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from nervure_simulations.faults.disk import MemoryDisk
from nervure_simulations.faults.plan import Fault

if TYPE_CHECKING:
    from nervure_simulations.faults.agent_node import AgentNode
    from nervure_simulations.faults.hub_node import GatewayNode
    from nervure_simulations.faults.world import World

_YEAR_S = 365 * 86_400.0


class Chaos:
    """The faults of one world.

    Args:
        world: Who suffers.
        rng: Decides when, who and how long.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world, self._rng = world, rng

    async def rage(self) -> None:
        """Let things go wrong for the time of the plan."""
        world, plan = self._world, self._world.plan
        if Fault.REPEATS in plan.faults:
            world.network.repeat_share = 0.05
        if Fault.FAILED_COMMITS in plan.faults:
            for hub in world.hubs:
                hub.table.failing_share = 0.2
        ends_s = plan.chaos_s
        while True:
            await world.clock.sleep(self._rng.expovariate(plan.faults_per_s))
            if world.clock.monotonic_s() >= ends_s:
                return
            self._strike(self._rng.choice(plan.faults))

    def heal(self) -> None:
        """Put everything right; who is down comes up by itself."""
        world = self._world
        world.network.repeat_share = 0.0
        world.network.heal_all()
        for hub in world.hubs:
            hub.table.failing_share = 0.0
        nodes: list[AgentNode | GatewayNode] = [*world.agents, *self._gateways()]
        for node in nodes:
            node.disk.others_bytes = node.disk.failing_syncs = 0
            node.clock.wrong_by_s = 0.0
        for agent in world.agents:
            if agent.process is not None:
                agent.process.mount.crash_in = None
        for gateway in self._gateways():
            if gateway.mount is not None:
                gateway.mount.crash_in = None

    def _strike(self, fault: Fault) -> None:
        world, rng = self._world, self._rng
        agent, gateway, hub = rng.choice(world.agents), rng.choice(self._gateways()), rng.choice(world.hubs)
        power, pause_s = rng.random() < 0.5, rng.choice((0.1, 1.0, 4.0))
        world.trace("chaos", fault.value)
        match fault:
            case Fault.CUT:
                if world.network.wires:
                    rng.choice(list(world.network.wires)).cut()
            case Fault.PARTITION:
                world.network.part(agent.name, hub.address)
                self._later(rng.uniform(0.2, 8.0), lambda: world.network.heal(agent.name, hub.address))
            case Fault.AGENT_CRASH:
                agent.pause_s = pause_s
                agent.crash(power=power)
            case Fault.AGENT_CRASH_IN_STEP:
                if agent.process is not None:
                    agent.process.die_in(rng.randrange(20), power=power)
            case Fault.AGENT_STOP:
                if agent.process is not None:
                    agent.process.stop()
            case Fault.GATEWAY_CRASH:
                gateway.pause_s = pause_s
                gateway.crash(power=power)
            case Fault.GATEWAY_CRASH_IN_STEP:
                gateway.die_in(rng.randrange(20), power=power)
            case Fault.GATEWAY_STOP:
                gateway.pause_s = pause_s
                gateway.stop()
            case Fault.HUB_CRASH:
                for one in hub.gateways:
                    one.pause_s = pause_s
                    one.crash(power=power)
                hub.forget_lake()
            case Fault.LAKE_CRASH:
                hub.forget_lake()
            case Fault.FULL_DISK:
                self._fill(rng.choice((agent, gateway)).disk)
            case Fault.FAILED_SYNC:
                rng.choice((agent, gateway)).disk.failing_syncs = rng.randint(1, 3)
            case Fault.WRONG_CLOCK:
                node: AgentNode | GatewayNode = rng.choice((agent, gateway))
                node.clock.wrong_by_s = rng.uniform(-50 * _YEAR_S, 50 * _YEAR_S)
            case Fault.FAILED_COMMITS | Fault.REPEATS:
                pass

    def _fill(self, disk: MemoryDisk) -> None:
        disk.others_bytes = disk.capacity_bytes - disk.used_bytes - self._rng.choice((0, 7, 300))
        self._later(self._rng.uniform(0.2, 6.0), disk.empty)

    def _gateways(self) -> list[GatewayNode]:
        return [gateway for hub in self._world.hubs for gateway in hub.gateways]

    @staticmethod
    def _later(delay_s: float, work: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, work)
