"""Drives one run from where its records say it is to its end; the leader's part of a round.

Rules:

1. A record is stored, fenced, whenever a phase is reached; only then the next step begins. Which phase may follow which
   is in ``nervure_federation.rounds.phases``; each step here belongs to one phase.
2. Whoever takes a run over reads the records and goes on with the step of the phase found. Rounds that are final are
   never done again; a step that was interrupted is repeated and finds what it had already stored.
3. What goes wrong in one round fails that round, with the reason, and the next begins from the model in force. A run
   fails only when nothing can come of it: no such model, nothing to judge on, too many failed rounds in a row.

>>> await RunDriver(context, leadership, run, workshop).drive()
"""

from __future__ import annotations

import logging
from typing import Any

from nervure_core.bundle import Lineage
from nervure_core.errors import InternalError, NervureError, PeerError
from nervure_core.tensors import Arrays
from nervure_federation.rounds.collecting import Collected, NoHubs, collect_contributions, wait_for_hubs
from nervure_federation.rounds.joining import StreamingMean, order_of, pack_arrays, unpack_arrays, with_momentum
from nervure_federation.rounds.ledger import Run
from nervure_federation.rounds.phases import FINAL, Event, Phase, advance
from nervure_federation.rounds.records import (
    LOCAL_ROUND,
    Contribution,
    Participant,
    RoundRecord,
    RunState,
    RunStatus,
    Scores,
    round_key,
    status_key,
)
from nervure_federation.rounds.region_work import local_deadline_s
from nervure_federation.rounds.summary import local_only, summed
from nervure_federation.rounds.workshop import Workshop
from nervure_hub.context import HubContext
from nervure_hub.coordination import FencedOut, Leadership, LeaseLost, StoreUnreachable

_log = logging.getLogger(__name__)

CONTRIBUTION_MARGIN_S = 10.0
"""What a hub gets on top of its agents' deadline to aggregate, score and store."""


class RoundFailed(PeerError):
    """No candidate can come of a round."""

    code = "round-failed"


class RunDriver:
    """Drives one run; see the module's rules.

    Args:
        context: The leading hub.
        leadership: Fences every write.
        run: The run as the store holds it.
        workshop: Bundles and the judge.
    """

    def __init__(self, context: HubContext, leadership: Leadership, run: Run, workshop: Workshop) -> None:
        if run.record is None:
            raise InternalError(f"run {run.run_id} has no specification")
        self.run_id = run.run_id
        self._context = context
        self._leadership = leadership
        self._run = run
        self._spec = run.record.spec
        self._workshop = workshop
        self._status = run.status or RunStatus(run_id=run.run_id)
        self._wait_until_s: dict[int, float] = {}

    async def drive(self) -> None:
        """Do what is left of the run.

        Raises:
            FencedOut: Somebody else leads by now.
            StoreUnreachable: The coordination store is away.
            NervureError: The run can't be begun; the caller fails it.
        """
        await self._begin()
        first = LOCAL_ROUND if self._spec.baseline_local else 1
        for number in range(first, self._spec.rounds + 1):
            record = self._run.rounds.get(number)
            if record is None:
                await self._pace(number)
            if record is None or not record.final:
                record = await self._round(number, record)
            if number == LOCAL_ROUND and self._status.local_only is None:
                await self._note(local_only=local_only(self._run.contributions.get(LOCAL_ROUND, ())))
            if self._run.failures_in_a_row() > self._spec.max_failed_rounds:
                await self.fail(f"{self._run.failures_in_a_row()} rounds failed in a row, the last: {record.reason}")
                return
        await self._finish(RunState.FINISHED, "")

    async def _pace(self, number: int) -> None:
        """Wait until the round before this one began ``interval_s`` ago; a leader that takes over waits only the rest."""
        before, interval_s = self._run.rounds.get(number - 1), self._spec.interval_s
        if before is not None and interval_s:
            left_s = before.started_at_s + interval_s - self._context.clock.wall_s()
            # Bounded, since the clocks of two hubs may differ.
            await self._context.clock.sleep(min(max(left_s, 0.0), interval_s))

    async def fail(self, reason: str) -> None:
        """End the run as failed."""
        _log.warning("run %s failed: %s", self.run_id, reason)
        await self._finish(RunState.FAILED, reason)

    async def _begin(self) -> None:
        status = self._status
        base = status.base or await self._workshop.latest(self._spec.model)
        initial = status.initial
        if initial is None and self._spec.judge is not None:
            initial = await self._workshop.score(await self._workshop.bundle(base), {}, self._spec.judge.heldout)
        await self._note(
            state=RunState.RUNNING,
            base=base,
            initial=initial,
            current=status.current or base,
            latest=status.latest or initial,
            started_at_s=status.started_at_s or self._context.clock.wall_s(),
        )

    async def _finish(self, state: RunState, message: str) -> None:
        await self._note(state=state, message=message, finished_at_s=self._context.clock.wall_s())

    async def _note(self, **changes: Any) -> None:
        stamp = {"leader": self._context.hub_id, "epoch": self._leadership.epoch}
        self._status = self._run.status = self._status.model_copy(update={**changes, **stamp})
        await self._context.coordination.put_fenced(status_key(self.run_id), self._status.to_bytes(), self._leadership)

    # One round:

    async def _round(self, number: int, record: RoundRecord | None) -> RoundRecord:
        began_s = self._context.clock.monotonic_s()
        record = record or await self._select(number)
        await self._note(round=number)
        while record.phase not in FINAL:
            changes: dict[str, Any]
            try:
                event, changes = await self._step(record)
            except (FencedOut, LeaseLost, StoreUnreachable):
                raise
            except NervureError as error:
                _log.warning("run %s round %d failed: %s", self.run_id, number, error.message)
                event = Event.GIVE_UP
                changes = {"reason": error.message}
            phase = advance(record.phase, event)
            if phase in FINAL:
                changes["duration_s"] = self._context.clock.monotonic_s() - began_s
            record = await self._store(record.model_copy(update={**changes, "phase": phase}))
        if record.phase is Phase.PUBLISHED:
            current, latest = self._run.model_in_force()
            await self._note(current=current, latest=latest)
        return record

    async def _store(self, record: RoundRecord) -> RoundRecord:
        await self._context.coordination.put_fenced(
            round_key(self.run_id, record.round), record.to_bytes(), self._leadership
        )
        self._run.rounds[record.round] = record
        return record

    async def _select(self, number: int) -> RoundRecord:
        base, _ = self._run.model_in_force()
        if base is None:
            raise InternalError(f"run {self.run_id} has no model to start from")
        hubs: tuple[Participant, ...] = ()
        reason = ""
        try:
            hubs = await wait_for_hubs(self._context, self._spec.min_regions, self._spec.gather_s)
        except NoHubs as error:
            # The round fails in its first step, with this reason, and counts as failed; hubs may come back.
            reason = error.message
        return await self._store(
            RoundRecord(
                run_id=self.run_id,
                round=number,
                kind="local" if number == LOCAL_ROUND else "federated",
                phase=Phase.SELECTED,
                base=base,
                participants=hubs,
                reason=reason,
                started_at_s=self._context.clock.wall_s(),
            )
        )

    async def _step(self, record: RoundRecord) -> tuple[Event, dict[str, Any]]:
        match record.phase:
            case Phase.SELECTED:
                if not record.participants:
                    raise RoundFailed(record.reason)
                return Event.DISPATCH, {}
            case Phase.DISPATCHED | Phase.COLLECTING:
                return await self._collect(record)
            case Phase.AGGREGATED:
                return Event.JUDGE, await self._judge(record)
            case Phase.JUDGED:
                return await self._publish(record) if record.accepted else (Event.KEEP, {})
            case _:
                raise InternalError(f"a round that is {record.phase.value} has no step")

    async def _collect(self, record: RoundRecord) -> tuple[Event, dict[str, Any]]:
        limit_s = local_deadline_s(self._spec) if record.kind == "local" else self._spec.deadline_s
        limit_s += self._spec.gather_s + CONTRIBUTION_MARGIN_S
        # One time limit for both waits below, from when this leader began to wait: clocks of two hubs may differ.
        now_s = self._context.clock.monotonic_s()
        until_s = self._wait_until_s.setdefault(record.round, now_s + limit_s)
        # The first sight of a contribution is an event of its own, so that whoever watches sees the round collecting.
        first = record.phase is Phase.DISPATCHED
        found = await collect_contributions(self._context, record, max(until_s - now_s, 0.0), until_first=first)
        if first and found.contributions:
            return Event.CONTRIBUTION, {}
        if not found.contributions:
            raise RoundFailed(f"nobody contributed: {'; '.join(summed(record, ())['absent'])}")
        self._run.contributions[record.round] = list(found.contributions)
        return Event.JOIN, await self._join(record, found)

    async def _join(self, record: RoundRecord, found: Collected) -> dict[str, Any]:
        done = order_of(found.contributions)
        regions = {contribution.region for contribution in done}
        if len(regions) < self._spec.min_regions:
            absent = "; ".join(summed(record, found.contributions)["absent"])
            raise RoundFailed(f"{len(regions)} regions contributed, {self._spec.min_regions} needed: {absent}")
        changes = summed(record, found.contributions)
        if record.kind == "local":
            return changes
        mean = StreamingMean()
        for contribution in done:
            weight = contribution.examples if self._spec.join == "examples" else 1
            mean.add(await self._weights(contribution), weight=weight)
        candidate = await self._carried_on(mean.result(), record)
        return {**changes, "candidate_key": await self._context.objects.put(pack_arrays(candidate))}

    async def _carried_on(self, mean: Arrays, record: RoundRecord) -> Arrays:
        last = self._run.rounds.get(record.round - 1)
        # After a round that was not published there is no step to go on with: a candidate that overshot was refused.
        if not self._spec.server_momentum or last is None or last.bundle_id != record.base.bundle_id:
            return mean
        base, before = await self._workshop.bundle(record.base), await self._workshop.bundle(last.base)
        return with_momentum(mean, base.weights(), before.weights(), self._spec.server_momentum)

    async def _weights(self, contribution: Contribution) -> Arrays:
        return unpack_arrays(await self._context.objects.get(contribution.weights_key))

    async def _judge(self, record: RoundRecord) -> dict[str, Any]:
        if record.kind == "local":
            return {"accepted": False, "reason": "trained alone, for comparison only"}
        release = (await self._workshop.latest(record.base.name)).release + 1
        if self._spec.judge is None:
            return {"accepted": True, "reason": "published unjudged, as the run asks", "release": release}
        base = await self._workshop.bundle(record.base)
        candidate = unpack_arrays(await self._context.objects.get(record.candidate_key))
        scores = await self._workshop.score(base, candidate, self._spec.judge.heldout)
        decision = self._workshop.decide(scores, self._in_force(), self._spec.judge)
        return {
            "scores": scores,
            "accepted": decision.accepted,
            "reason": decision.reason,
            "release": release if decision.accepted else 0,
        }

    def _in_force(self) -> Scores | None:
        return self._run.model_in_force()[1]

    async def _publish(self, record: RoundRecord) -> tuple[Event, dict[str, Any]]:
        base = await self._workshop.bundle(record.base)
        arrays = unpack_arrays(await self._context.objects.get(record.candidate_key))
        lineage = Lineage(parent=record.base.bundle_id, run_id=self.run_id, round=record.round, note=self._spec.note)
        published = await self._workshop.publish(
            base, arrays, lineage, release=record.release, leadership=self._leadership
        )
        # Desired again by a leader that took over: the same release for the same agents, so nobody does anything.
        await self._context.deployments.deploy(published, leadership=self._leadership)
        return Event.PUBLISH, {"release": published.release, "bundle_id": published.bundle_id}
