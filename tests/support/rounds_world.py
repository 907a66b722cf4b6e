"""A whole federation in one process: one store, several hubs, agents that really train with ``train.onnx``."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nervure_core.bundle import TRAIN, Bundle, TrainingSpec
from nervure_core.clock import Clock, SystemClock
from nervure_core.codec import decode_content, encode_content
from nervure_core.messages import TaskKind, TaskOrder
from nervure_core.tensors import MetricValue, TaskContent
from nervure_federation.memory_fleet import Answer, MemoryFleet
from nervure_federation.models import Fitter, Purpose, Schedule, starting_bundle
from nervure_federation.rounds import submitting
from nervure_federation.rounds.leader import LeaderRounds
from nervure_federation.rounds.ledger import Run, read_ledger
from nervure_federation.rounds.records import PREFIX
from nervure_federation.rounds.region import RegionRounds
from nervure_federation.rounds.spec import RunSpec
from nervure_hub.config import HubConfig
from nervure_hub.context import HubContext
from nervure_hub.coordination import MemoryCoordination, follow
from nervure_hub.deployments import Deployments
from nervure_hub.objects import ObjectStore
from nervure_hub.registry import Registry

MODEL = "blobs"
FEATURES = 6
Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


def rows(seed: int, count: int = 200, *, attack_share: float = 0.5) -> Rows:
    """Two clouds that a small model tells apart: benign round -1, attacks round +1."""
    rng = np.random.default_rng(seed)
    y = (rng.random(count) < attack_share).astype(np.int64)
    x = rng.normal(0.0, 1.0, (count, FEATURES)) + (2.0 * y - 1.0)[:, None]
    return x.astype(np.float32), y


def make_start(folder: Path) -> Bundle:
    """A starting model that has hardly learnt anything."""
    x, y = rows(99, 64)
    return starting_bundle(
        folder,
        x,
        y,
        Purpose(name=MODEL, labels=("benign", "attack"), benign_label="benign", workload="memory"),
        heavy=[False] * FEATURES,
        hidden=(8,),
        schedule=Schedule(epochs=0, seed=3),
        training=TrainingSpec(optimizer="sgd", learning_rate=0.05, batch_size=32),
    )


def trainer(bundle: Bundle, data: Rows) -> Answer:
    """An agent: trains its rows with the bundle's own training graph, as an order says."""
    fitter = Fitter(bundle.path(TRAIN))
    x, y = data

    def work(order: TaskOrder) -> bytes:
        content = decode_content(order.content)
        config: dict[str, Any] = next(iter(content.configs.values()))
        start: Any = content.arrays["arrays"]
        if order.kind is TaskKind.EVALUATE:
            metrics: dict[str, MetricValue] = {
                "num-examples": len(y),
                "eval-loss": 0.5,
                "tp": 1,
                "fp": 2,
                "tn": 3,
                "fn": 4,
            }
            return encode_content(TaskContent(metrics={"metrics": metrics}))
        plan = Schedule(
            epochs=config["epochs"],
            learning_rate=config.get("lr", 0.05),  # the bundle's own
            batch_size=config.get("batch-size", 32),
            mu=config.get("proximal-mu", 0.0),
            seed=config["seed"],
        )
        fit = fitter.fit(start, x, y, plan)
        return encode_content(
            TaskContent(
                {"arrays": dict(fit.weights)},
                {"metrics": {"num-examples": len(y), "train-loss": fit.loss, "train-steps": fit.steps}},
            )
        )

    async def answer(order: TaskOrder) -> bytes:
        return await asyncio.to_thread(work, order)

    return answer


def npz(data: Rows) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, x=data[0], y=data[1])
    return sink.getvalue()


@dataclass
class Hub:
    """One hub's controllers over a fleet in memory."""

    context: HubContext
    fleet: MemoryFleet
    task: asyncio.Task[None] | None = None

    async def run(self, *, lead: bool = True) -> None:
        """Live until cancelled: the hub's key under a lease, and its controllers."""
        store = self.context.coordination
        async with store.lease(2.0) as lease:
            await store.put(f"/nervure/hubs/{self.context.region}/{self.context.hub_id}", b"{}", lease=lease)
            async with asyncio.TaskGroup() as group:
                group.create_task(RegionRounds(self.context).run())
                if lead:
                    group.create_task(LeaderRounds(self.context, ttl_s=1.0).run())

    async def kill(self) -> None:
        """End the hub's tasks wherever they are."""
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@dataclass
class World:
    """One coordination store, one object store, and the hubs over them."""

    folder: Path
    clock: Clock = field(default_factory=SystemClock)
    hubs: dict[str, Hub] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.coordination = MemoryCoordination(self.clock)
        self.objects = ObjectStore.open("memory:")
        self.registry = Registry(self.coordination, self.objects, self.clock)
        self.deployments = Deployments(self.coordination)
        self.start = make_start(self.folder / "start")

    async def prepare(self, *, heldout: str = "default") -> None:
        """Push the starting model and store held-out sets."""
        await self.registry.push(self.start.folder)
        for index, region in enumerate(("americas", "asia", "europe")):
            await self.objects.put_named(f"heldout/{heldout}/{region}/site-{index}.npz", npz(rows(1000 + index)))

    def add_hub(self, region: str, *, agents: int = 2) -> Hub:
        """Make a hub with agents that train."""
        fleet = MemoryFleet(region, f"hub-{region}", self.clock)
        for index in range(agents):
            data = rows(len(self.hubs) * 100 + index, 60 + 20 * index, attack_share=0.3 + 0.2 * index)
            fleet.join(f"{region}-{index}", trainer(self.start, data), model=MODEL, examples=len(data[1]))
        context = HubContext(
            config=HubConfig(region=region, data=self.folder / region),
            hub_id=f"hub-{region}",
            region=region,
            coordination=self.coordination,
            objects=self.objects,
            registry=self.registry,
            deployments=self.deployments,
            directory=fleet,
            transport=fleet,
            clock=self.clock,
        )
        self.hubs[region] = Hub(context, fleet)
        return self.hubs[region]

    def up(self, group: asyncio.TaskGroup, region: str, *, lead: bool = True) -> Hub:
        """Let a hub live."""
        hub = self.hubs[region]
        hub.task = group.create_task(hub.run(lead=lead))
        return hub

    async def submit(self, spec: RunSpec) -> str:
        """Ask for a run."""
        return await submitting.submit(next(iter(self.hubs.values())).context, spec)

    async def until(self, run_id: str, condition: Callable[[Run], bool], *, limit_s: float = 60.0) -> Run:
        """Wait until the records of a run fulfil a condition."""
        async with asyncio.timeout(limit_s):
            async with aclosing(follow(self.coordination, PREFIX)) as states:
                async for state in states:
                    run = read_ledger(state).get(run_id)
                    if run is not None and condition(run):
                        return run
        raise AssertionError("unreachable: a watch never ends")


@asynccontextmanager
async def living(world: World, *regions: str) -> AsyncGenerator[asyncio.TaskGroup]:
    """Let hubs live within the block."""
    async with asyncio.TaskGroup() as group:
        for region in regions:
            world.up(group, region)
        try:
            yield group
        finally:
            for hub in world.hubs.values():
                if hub.task is not None:
                    hub.task.cancel()


def small(**changes: Any) -> RunSpec:
    """A run that is over in a moment."""
    settings: dict[str, Any] = {
        "model": MODEL,
        "rounds": 2,
        "epochs": 2,
        "lr": 0.05,
        "batch_size": 16,
        "deadline_s": 20.0,
        "straggler_s": 5.0,
        "gather_s": 2.0,
    }
    return RunSpec(**{**settings, **changes})
