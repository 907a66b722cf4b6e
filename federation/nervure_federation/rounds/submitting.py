"""Asking for runs and looking at them, through the coordination store; what the API and controllers of others use.

>>> run_id = await submit(context, RunSpec(model="flows"))
>>> run = await find(context.coordination, run_id)
"""

from __future__ import annotations

from nervure_core.errors import InputError
from nervure_core.ids import new_id
from nervure_federation.rounds.ledger import Run, read_ledger
from nervure_federation.rounds.records import PREFIX, RunRecord, spec_key
from nervure_federation.rounds.spec import RunSpec
from nervure_federation.rounds.workshop import check_trainable
from nervure_hub.context import HubContext
from nervure_hub.coordination import Coordination


class RunMissing(InputError):
    """There is no such run."""

    code = "run-missing"


async def submit(context: HubContext, spec: RunSpec) -> str:
    """Ask for a run and return its id; whoever leads begins with it.

    Raises:
        ModelMissing: The registry has no model of that name.
        NotTrainable: The model's newest release can't be trained.
        NoHeldout: There is nothing to judge on, and the run wants a judge.
        StoreUnreachable: The coordination store is away.
    """
    await check_trainable(context.registry, context.objects, spec)
    while True:
        run_id = new_id("run")
        record = RunRecord(run_id=run_id, spec=spec, submitted_at_s=context.clock.wall_s(), submitted_in=context.region)
        # Absent-only: an id drawn twice must not replace somebody's run.
        if await context.coordination.compare_and_put(spec_key(run_id), record.to_bytes(), expected_revision=0):
            return run_id


async def find(coordination: Coordination, run_id: str) -> Run:
    """Return everything the store holds of one run.

    Raises:
        RunMissing: There is no such run.
    """
    entries, _ = await coordination.list(f"{PREFIX}{run_id}/")
    run = read_ledger(entries).get(run_id)
    if run is None:
        raise RunMissing(f"run {run_id!r} is not known", hint="`nervure rounds list` shows the runs")
    return run


async def all_runs(coordination: Coordination) -> list[Run]:
    """Return all runs, the newest first."""
    entries, _ = await coordination.list(PREFIX)
    runs = read_ledger(entries).values()
    return sorted(runs, key=lambda run: run.record.submitted_at_s if run.record else 0.0, reverse=True)
