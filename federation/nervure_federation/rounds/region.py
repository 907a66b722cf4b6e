"""The rounds of one hub: trains its own agents for every round that is open, and contributes one aggregate.

Runs in every hub. It compares what the store says is open (`ledger.work_for`) with what it is working on, and starts or
abandons work; so a hub that was restarted, or that missed changes while the store was away, just goes on.

Where things run: the controller in the event loop; Flower, which is synchronous and computes, in a few worker threads
of this controller. Threads of one process are enough: the controllers of a hub have a process of their own, apart from
the gateways, and messages are stamped per run (see ``nervure_federation.flower``), so no run needs its own process.

A contribution is written once (compare-and-put on an absent key), also when nothing came of it: then it says why, and
the leader need not wait.

>>> controller = RegionRounds(context)
>>> await controller.run()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from nervure_core.errors import NervureError
from nervure_core.retry import Backoff
from nervure_federation.rounds.ledger import read_ledger, work_for
from nervure_federation.rounds.records import (
    PREFIX,
    Contribution,
    Participant,
    RoundRecord,
    RunRecord,
    contribution_key,
)
from nervure_federation.rounds.region_work import RegionWork
from nervure_federation.rounds.workshop import Workshop
from nervure_hub.context import HubContext
from nervure_hub.coordination import KeyValue, StoreUnreachable, follow

_log = logging.getLogger(__name__)

MAX_PARALLEL_ROUNDS = 4
"""Rounds of different runs that one hub works on at once; further ones wait."""

Key = tuple[str, int]


class RegionRounds:
    """The controller; see the module's rules."""

    name = "region-rounds"

    def __init__(self, context: HubContext) -> None:
        self._context = context
        self._me = Participant(region=context.region, hub_id=context.hub_id)
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_PARALLEL_ROUNDS)

    def __repr__(self) -> str:
        return f"<RegionRounds {self._me}: {sorted(self._tasks)}>"

    async def run(self) -> None:
        """Train whenever a round is open, until cancelled."""
        threads = ThreadPoolExecutor(MAX_PARALLEL_ROUNDS, thread_name_prefix="rounds")
        try:
            with Workshop(self._context.registry, self._context.objects) as workshop:
                work = RegionWork(self._context, self._me, workshop, threads)
                async with asyncio.TaskGroup() as group, aclosing(self._follow()) as states:
                    async for state in states:
                        self._reconcile(group, work, state)
        finally:
            # The work was cancelled, which abandons its grids: the threads are at their end.
            threads.shutdown(wait=False, cancel_futures=True)

    def _follow(self) -> AsyncGenerator[Mapping[str, KeyValue]]:
        return follow(self._context.coordination, PREFIX, clock=self._context.clock)

    def _reconcile(self, group: asyncio.TaskGroup, work: RegionWork, state: Mapping[str, KeyValue]) -> None:
        ledger = read_ledger(state)
        wanted = work_for(ledger, self._me)
        for key in [key for key in self._tasks if key not in wanted]:
            # Finished, or nobody waits for it any more: then cancelling abandons it.
            self._tasks.pop(key).cancel()
        for key, record in wanted.items():
            run = ledger[record.run_id].record
            if key not in self._tasks and run is not None:
                self._tasks[key] = group.create_task(self._work(work, run, record), name=f"round {key}")

    async def _work(self, work: RegionWork, run: RunRecord, record: RoundRecord) -> None:
        async with self._slots:
            contribution = await self._attempt(work, run, record)
            await self._contribute(record, contribution)

    async def _attempt(self, work: RegionWork, run: RunRecord, record: RoundRecord) -> Contribution:
        try:
            return await work.contribute(run, record)
        except NervureError as error:
            reason = error.message
        except Exception as error:  # noqa: BLE001 - the outermost loop: a bug here must not stop other runs
            _log.exception("round %d of %s failed in %s", record.round, record.run_id, self._me)
            reason = f"internal error: {type(error).__name__}: {error}"
        _log.warning("round %d of %s: %s contributes nothing: %s", record.round, record.run_id, self._me, reason)
        return Contribution(region=self._me.region, hub_id=self._me.hub_id, state="failed", reason=reason)

    async def _contribute(self, record: RoundRecord, contribution: Contribution) -> None:
        key = contribution_key(record.run_id, record.round, self._me)
        backoff = Backoff(base_s=0.2, cap_s=5.0)
        while True:
            try:
                await self._context.coordination.compare_and_put(key, contribution.to_bytes(), expected_revision=0)
            except StoreUnreachable as error:
                delay_s = backoff.next_delay_s()
                _log.warning("%s; trying again in %.1f s", error.message, delay_s)
                await self._context.clock.sleep(delay_s)
            else:
                return
