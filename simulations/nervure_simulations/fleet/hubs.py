"""Regional hubs as processes: started by the command a person would use, each with its own folder, one object store.

>>> hubs = await start_hubs(supervisor, scenario, Wiring(coordination, ray, out))  # doctest: +SKIP
>>> hubs["europe"].grpc  # doctest: +SKIP
'127.0.0.1:40123'
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from nervure_simulations.scenarios import Scenario
from nervure_simulations.servers import Child, ChildSpec, Supervisor, kill_now
from nervure_simulations.servers.child import json_ready
from nervure_simulations.servers.ray_node import RayNode

READY_WITHIN_S = 120.0
GRACE_S = 25.0
HEARTBEAT_S = "1.0"
"""Hubs of a fleet ask their agents for a report every second: a short run has to see what happens."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What all hubs share.

    Args:
        etcd: ``host:port``; empty where the twin coordinates.
        ray: The Ray runtime.
        folder: The run's folder.
    """

    etcd: str
    ray: RayNode
    folder: Path


@dataclass(frozen=True, slots=True)
class Hub:
    """A running hub."""

    region: str
    hub_id: str
    child: Child
    grpc: str
    """``host:port`` for agents."""
    api: str
    """URL of its API."""
    data: Path
    pids: tuple[int, ...]
    """All its processes at the time it was ready."""

    def kill(self, more_pids: Iterable[int] = ()) -> int:
        """SIGKILL every process of the hub at once, as a power cut would; return how many there were."""
        self.child.expect_end()
        return kill_now({self.child.pid, *self.pids, *more_pids})


async def start_hubs(supervisor: Supervisor, scenario: Scenario, wiring: Wiring) -> dict[str, Hub]:
    """Start one hub a region, side by side.

    Raises:
        ChildError: One of them did not start; the message names its log.
    """
    async with asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(_start(supervisor, name, region.gateways, wiring))
            for name, region in scenario.regions.items()
        }
    return {name: task.result() for name, task in tasks.items()}


async def _start(supervisor: Supervisor, region: str, gateways: int, wiring: Wiring) -> Hub:
    data = wiring.folder / "hubs" / region
    argv = [
        *(sys.executable, "-m", "nervure_core.command", "hub", "up"),
        *("--region", region, "--port", "0", "--api-port", "0", "--gateways", str(gateways)),
        *("--data", str(data), "--objects", (wiring.folder / "objects").resolve().as_uri()),
        *("--ray-address", wiring.ray.address, "--json"),
    ]
    if wiring.etcd:
        argv += ["--etcd", wiring.etcd]
    spec = ChildSpec(
        f"hub-{region}",
        tuple(argv),
        ready=json_ready,
        env={"NERVURE_HUB__GATEWAY__HEARTBEAT_S": HEARTBEAT_S, **wiring.ray.env},
        grace_s=GRACE_S,
    )
    child = await supervisor.start(spec, within_s=READY_WITHIN_S)
    answer = child.answer
    return Hub(
        region=region,
        hub_id=str(answer.get("hub_id", "")),
        child=child,
        grpc=str(answer["grpc"]),
        api=str(answer["api"]),
        data=data,
        pids=tuple(int(pid) for pid in answer.get("pids", ())),
    )


def rss_mib(pids: Iterable[int]) -> float:
    """Return the resident memory of these processes together, as the kernel counts it; the dead count nothing."""
    total = 0
    for pid in set(pids):
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20
