"""What a hub does for one open round: gather agents, select, train, store the aggregate, and say what came of it.

The order of bytes and numbers: traffic is counted by the grid on real contents; examples are those that the gatekeeper
let through; who was refused is named with the reason, also in a round that failed.

>>> contribution = await RegionWork(context, me, workshop, threads).contribute(run, record)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from nervure_core.bundle import Bundle
from nervure_core.errors import InputError, NervureError
from nervure_core.tensors import Arrays, ConfigValue
from nervure_federation.rounds.joining import pack_arrays
from nervure_federation.rounds.records import Contribution, LocalScore, Participant, Refused, RoundRecord, RunRecord
from nervure_federation.rounds.selection import eligible, quorum_of, select
from nervure_federation.rounds.spec import RunSpec
from nervure_federation.rounds.workshop import Workshop, trainable_of
from nervure_hub.context import HubContext

if TYPE_CHECKING:
    from nervure_federation.grid import SessionGrid

GATHER_POLL_S = 0.25
"""How often the directory is asked while a hub waits for agents."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RegionWork:
    """A hub's part in rounds.

    Args:
        context: The hub.
        me: The hub as a participant.
        workshop: Fetches bundles and judges.
        threads: Where Flower runs.
    """

    context: HubContext
    me: Participant
    workshop: Workshop
    threads: ThreadPoolExecutor

    async def contribute(self, run: RunRecord, record: RoundRecord) -> Contribution:
        """Take part in a round.

        Raises:
            NervureError: The base model can't be had, or the store of objects failed. What agents do wrong does not
                raise: it is in the contribution.
        """
        started_s = self.context.clock.monotonic_s()
        base = await self.workshop.bundle(record.base)
        arrays = trainable_of(base)
        candidates = await self._gather(run.spec)
        if len(candidates) < run.spec.min_agents:
            return self._empty("abstained", f"{len(candidates)} eligible agents, {run.spec.min_agents} needed")
        selected = select(candidates, run.spec, record, self.me)
        grid = self._grid(run.spec, record, selected, arrays)
        try:
            if record.kind == "local":
                found = await self._alone(run.spec, record, base, grid, arrays)
            else:
                found = await self._together(run.spec, record, grid, arrays)
        except NervureError as error:
            found = {"state": "failed", "reason": error.message}
        return self._empty("done").model_copy(
            update={
                "selected": len(selected),
                "refused": tuple(
                    Refused(agent=refusal.agent_id, rule=refusal.rule, reason=refusal.reason)
                    for refusal in grid.refused
                ),
                "bytes_up": grid.traffic.bytes_up,
                "bytes_down": grid.traffic.bytes_down,
                "replies": grid.traffic.messages_up,
                "duration_s": self.context.clock.monotonic_s() - started_s,
                **found,
            }
        )

    def _empty(self, state: Any, reason: str = "") -> Contribution:
        return Contribution(region=self.me.region, hub_id=self.me.hub_id, state=state, reason=reason)

    async def _gather(self, spec: RunSpec) -> list[str]:
        """Return the eligible agents, after waiting for enough of them where there are too few."""
        end_s = self.context.clock.monotonic_s() + spec.gather_s
        while True:
            found = eligible(await self.context.directory.agents(), spec)
            if len(found) >= spec.min_agents or self.context.clock.monotonic_s() >= end_s:
                return found
            await self.context.clock.sleep(GATHER_POLL_S)

    def _grid(self, spec: RunSpec, record: RoundRecord, selected: tuple[str, ...], arrays: Arrays) -> SessionGrid:
        # Flower is imported when the first round is there, not when a hub starts.
        from nervure_federation.exchange import Patience
        from nervure_federation.grid import Roster, SessionGrid
        from nervure_federation.rounds.training import gate_for

        alone = record.kind == "local"
        patience = Patience(
            quorum=1 if alone else quorum_of(len(selected), spec),
            deadline_s=local_deadline_s(spec) if alone else spec.deadline_s,
            # Alone, each agent that is left out is missing from the mean: wait for all of them.
            straggler_s=local_deadline_s(spec) if alone else spec.straggler_s,
        )
        return SessionGrid(
            Roster(record.run_id, record.round, selected, patience),
            self.context.transport,
            asyncio.get_running_loop(),
            self.context.clock,
            gate_for(arrays, spec.max_examples),
        )

    async def _together(self, spec: RunSpec, record: RoundRecord, grid: SessionGrid, arrays: Arrays) -> dict[str, Any]:
        from nervure_federation.rounds.training import TrainingOrder, train

        order = TrainingOrder(record.round, trainer_config(spec, record, spec.epochs), spec.evaluate)
        aggregate = await self._in_thread(grid, lambda: train(spec.plan(), grid, arrays, order))
        return {
            "weights_key": await self.context.objects.put(pack_arrays(aggregate.arrays)),
            "examples": aggregate.examples,
            "agents": aggregate.agents,
            "metrics": dict(aggregate.metrics),
            "evaluation": dict(aggregate.evaluation),
        }

    async def _alone(
        self, spec: RunSpec, record: RoundRecord, base: Bundle, grid: SessionGrid, arrays: Arrays
    ) -> dict[str, Any]:
        from nervure_federation.rounds.training import TrainingOrder, train_alone

        if spec.judge is None:
            raise InputError("the local-only baseline needs a judge")
        order = TrainingOrder(record.round, trainer_config(spec, record, spec.epochs * spec.rounds))
        trained = await self._in_thread(grid, lambda: train_alone(grid, arrays, order))
        scores: list[LocalScore] = []
        for alone in trained:
            found = await self.workshop.score(base, alone.arrays, spec.judge.heldout)
            scores.append(LocalScore(agent=alone.agent, examples=alone.examples, scores=found))
        return {
            "agents": tuple(alone.agent for alone in trained),
            "examples": sum(alone.examples for alone in trained),
            "local": tuple(scores),
        }

    async def _in_thread(self, grid: SessionGrid, step: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, step)
        except asyncio.CancelledError:
            # The thread can't be cancelled; what it waits for can.
            grid.abandon()
            raise


def local_deadline_s(spec: RunSpec) -> float:
    """Return how long agents have to train alone: as long as for all rounds together."""
    return min(spec.deadline_s * spec.rounds, 86_400.0)


def trainer_config(spec: RunSpec, record: RoundRecord, epochs: int) -> Mapping[str, ConfigValue]:
    """Return what an agent's trainer is told; strategies add their own keys (``server-round``, ``proximal-mu``)."""
    config: dict[str, ConfigValue] = {
        "model": record.base.name,
        "release": record.base.release,
        "epochs": epochs,
        # Another shuffle each round, the same when the round is started again.
        "seed": spec.seed + record.round,
    }
    # What is not said here, the agent's trainer takes from the model's manifest.
    if spec.lr is not None:
        config["lr"] = spec.lr
    if spec.batch_size is not None:
        config["batch-size"] = spec.batch_size
    return config
