"""What a hub may ask of an agent: run this model, do this task. Carried out one after the other, beside the decisions.

Rules: the last desired state counts and is tried until it runs, failed or was replaced; tasks wait in a bounded queue, one
too many is answered "busy" at once; nothing here ends the agent.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nervure_core.clock import Clock
from nervure_core.errors import WorldError
from nervure_core.messages import Desired, TaskOrder, TaskResult
from nervure_core.retry import Backoff
from nervure_edge.changes import Changes
from nervure_edge.config import AgentConfig
from nervure_edge.engine import Engine
from nervure_edge.examples import ExampleStore
from nervure_edge.models.deploy import Deployer

if TYPE_CHECKING:
    from nervure_edge.trainer import Trainer

logger = logging.getLogger(__name__)


class InThread(Protocol):
    """Runs something that blocks, away from the event loop."""

    def __call__(self, work: Callable[[], TaskResult]) -> Awaitable[TaskResult]:
        """Return what ``work`` returns."""
        ...


class Duties:
    """Deployments and tasks of one agent.

    Args:
        config: Bounds and the name of the slot.
        engine: Whose model is asked for and trained.
        examples: What is trained on.
        deployer: Carries deployments out.
        post: Sends an answer.
        in_thread: Runs training.
        clock: Time of waits and deadlines.
        changes: Wakes the loops.
        rng: Source of jitter.
    """

    def __init__(
        self,
        config: AgentConfig,
        engine: Engine,
        examples: ExampleStore,
        *,
        deployer: Deployer,
        post: Callable[[TaskResult], None],
        in_thread: InThread,
        clock: Clock,
        changes: Changes,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._engine = engine
        self._examples = examples
        self._deployer = deployer
        self._send = post
        self._in_thread = in_thread
        self._clock = clock
        self._changes = changes
        self._backoff = Backoff(config.session.backoff_base_s, config.session.backoff_cap_s, rng)
        self._desired: Desired | None = None
        self._waiting: list[tuple[TaskOrder, float]] = []
        self._trainer: Trainer | None = None
        self._stopping = False
        self.tasks_done = 0
        """Orders answered, also those that failed."""

    def desired(self, desired: Desired) -> None:
        """Take the desired state; the last word counts."""
        self._desired = desired
        self._changes.notify()

    def order(self, order: TaskOrder) -> None:
        """Take a task, or say at once that there are too many."""
        if len(self._waiting) >= self._config.training.max_queued_tasks:
            busy = TaskResult(order.task_id, order.run_id, order.round, ok=False, error="busy: too many tasks wait")
            self._post(busy)
            return
        self._waiting.append((order, self._clock.monotonic_s()))
        self._changes.notify()

    def stop(self) -> None:
        """Let the task that runs now end soon."""
        self._stopping = True
        if self._trainer is not None:
            self._trainer.stop()

    async def deploy(self) -> None:
        """Carry desired states out until cancelled."""
        slot = self._config.model.slot
        while True:
            await self._changes.wait_for(lambda: self._desired is not None)
            desired = self._desired
            wanted = next((item for item in desired.assignments if item.slot == slot), None) if desired else None
            try:
                if wanted is not None:
                    model = self._engine.model
                    await self._deployer.carry_out(wanted, model.bundle.bundle_id if model is not None else "")
                self._backoff.reset()
            except WorldError as error:
                logger.info("a deployment has to wait: %s", error)
                await self._clock.sleep(self._backoff.next_delay_s())
                continue
            if self._desired is desired:
                self._desired = None

    async def work(self) -> None:
        """Do tasks, one at a time, until cancelled."""
        while True:
            await self._changes.wait_for(lambda: bool(self._waiting))
            order, received_s = self._waiting.pop(0)
            self._post(await self._in_thread(partial(self._perform, order, received_s)))

    def _perform(self, order: TaskOrder, received_s: float) -> TaskResult:
        if self._trainer is None:
            from nervure_edge.trainer import Trainer  # brings numpy: only with the first task

            self._trainer = Trainer(
                self._examples,
                self._config.training,
                model=lambda: self._engine.model,
                monotonic_s=self._clock.monotonic_s,
                scratch=Path(self._config.data),
            )
            if self._stopping:
                self._trainer.stop()
        return self._trainer.perform(order, received_s)

    def _post(self, result: TaskResult) -> None:
        self.tasks_done += 1
        self._send(result)
