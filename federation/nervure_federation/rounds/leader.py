"""The leader of all runs: one hub of all regions, by election, drives every run that is not at its end.

Rules: every hub campaigns; who is elected drives, and every write of a driver is fenced with the epoch of that election,
so a leader that was paused and wakes up too late changes nothing. Losing the leadership abandons all drivers at once;
the next leader goes on from the records (``nervure_federation.rounds.driver``). A store that can't be reached ends the
leadership too: desired state freezes, agents go on.

>>> controller = LeaderRounds(context)
>>> await controller.run()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing

from nervure_core.errors import NervureError
from nervure_core.retry import Backoff
from nervure_federation.rounds.driver import RunDriver
from nervure_federation.rounds.ledger import Run, read_ledger
from nervure_federation.rounds.records import PREFIX
from nervure_federation.rounds.workshop import Workshop
from nervure_hub.context import HubContext
from nervure_hub.coordination import FencedOut, Leadership, LeaseLost, StoreUnreachable, follow
from nervure_hub.coordination.background import first_of

_log = logging.getLogger(__name__)

ELECTION = "rounds"
ELECTION_TTL_S = 5.0
"""A leader that died is replaced after this time at the latest."""


def due_runs(ledger: Mapping[str, Run]) -> list[Run]:
    """Return the runs that should be under way: of each model the one that was asked for first and is not at its end.

    Two runs of one model at once would each publish over what the other has learnt; the second waits, and starts from
    what the first has made.
    """
    due: dict[str, Run] = {}
    asked = [(run.record.submitted_at_s, run.run_id, run.record.spec.model) for run in ledger.values() if run.record]
    for _, run_id, model in sorted(asked):
        if not ledger[run_id].ended:
            due.setdefault(model, ledger[run_id])
    return list(due.values())


class LeaderRounds:
    """The controller; see the module's rules.

    Args:
        context: The hub.
        ttl_s: How long the election outlives a leader that is gone.
    """

    name = "leader-rounds"

    def __init__(self, context: HubContext, *, ttl_s: float = ELECTION_TTL_S) -> None:
        self._context = context
        self._ttl_s = ttl_s
        self._drivers: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<LeaderRounds {self._context.hub_id}: {sorted(self._drivers)}>"

    async def run(self) -> None:
        """Campaign and lead, again and again, until cancelled."""
        backoff = Backoff(base_s=0.2, cap_s=5.0)
        while True:
            try:
                store = self._context.coordination
                async with store.campaign(ELECTION, self._context.hub_id, self._ttl_s) as leadership:
                    _log.info("%s leads the rounds, epoch %d", self._context.hub_id, leadership.epoch)
                    backoff.reset()
                    await first_of(self._lead(leadership), leadership.lost.wait())
            except (FencedOut, LeaseLost, StoreUnreachable) as error:
                _log.warning("%s leads no more: %s", self._context.hub_id, error.message)
            await self._context.clock.sleep(backoff.next_delay_s())

    async def _lead(self, leadership: Leadership) -> None:
        self._drivers.clear()
        try:
            with Workshop(self._context.registry, self._context.objects) as workshop:
                async with (
                    asyncio.TaskGroup() as group,
                    aclosing(follow(self._context.coordination, PREFIX, clock=self._context.clock)) as states,
                ):
                    async for state in states:
                        self._reconcile(group, workshop, leadership, read_ledger(state))
        except BaseExceptionGroup as several:
            # One driver lost the leadership or the store, which ends all of them: one error says it.
            raise several.exceptions[0] from several

    def _reconcile(
        self, group: asyncio.TaskGroup, workshop: Workshop, leadership: Leadership, ledger: dict[str, Run]
    ) -> None:
        for run in due_runs(ledger):
            if run.run_id not in self._drivers:
                driver = RunDriver(self._context, leadership, run, workshop)
                self._drivers[run.run_id] = group.create_task(self._drive(driver), name=f"run {run.run_id}")

    async def _drive(self, driver: RunDriver) -> None:
        try:
            await driver.drive()
        except (FencedOut, LeaseLost, StoreUnreachable):
            raise
        except NervureError as error:
            await driver.fail(error.message)
        except Exception as error:  # noqa: BLE001 - the outermost loop: a bug in one run must not stop the others
            _log.exception("run %s failed", driver.run_id)
            await driver.fail(f"internal error: {type(error).__name__}: {error}")
