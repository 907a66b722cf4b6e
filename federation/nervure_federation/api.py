"""Routes about federated runs: entry point ``rounds`` of ``nervure.api``.

A run is asked for with its settings (``RunSpec``), with the name of a shipped recipe, or with both, in which case the
settings change the recipe. Any hub answers for all runs: they are in the coordination store.

>>> httpx.post("http://127.0.0.1:7444/v1/rounds", json={"recipe": "demo", "model": "flows"}).json()
{'run_id': 'run-3f9a01c2d4'}
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from nervure_federation.recipes import merged, recipe_names
from nervure_federation.rounds.spec import RunSpec
from nervure_federation.rounds.submitting import RunMissing, all_runs, find, submit
from nervure_federation.rounds.summary import run_details, run_row
from nervure_hub.api import errors
from nervure_hub.context import HubContext

# The API's one table of statuses; a leaf of another part is added where that part is loaded.
errors.LEAVES[RunMissing] = HTTPStatus.NOT_FOUND

EXAMPLES: list[Any] = [
    {"recipe": "demo", "model": "flows"},
    {"model": "flows", "strategy": "fedprox", "options": {"mu": 0.01}, "rounds": 10, "epochs": 2},
]
Settings = Annotated[
    dict[str, Any],
    Body(
        examples=EXAMPLES,
        description="Settings of the run; `recipe` names a shipped recipe that they change. Settings: "
        + ", ".join(RunSpec.model_fields),
    ),
]


class Started(BaseModel):
    """A run that was asked for."""

    run_id: str = Field(examples=["run-3f9a01c2d4"])


class Runs(BaseModel):
    """All runs, the newest first."""

    runs: list[dict[str, Any]]


def create(context: HubContext) -> APIRouter:
    """Return the router."""
    router = APIRouter(tags=["rounds"])

    @router.post("/v1/rounds", status_code=201)
    async def start(settings: Settings) -> Started:
        """Ask for a federated run; whichever hub leads begins with it."""
        return Started(run_id=await submit(context, merged(settings)))

    @router.get("/v1/rounds")
    async def runs() -> Runs:
        """List all runs, the newest first."""
        return Runs(runs=[run_row(run) for run in await all_runs(context.coordination)])

    @router.get("/v1/rounds/{run_id}")
    async def run(run_id: str) -> dict[str, Any]:
        """Show a run: its settings, where it stands, and every round with the judge's scores."""
        return run_details(await find(context.coordination, run_id))

    @router.get("/v1/recipes")
    async def recipes() -> list[str]:
        """List the shipped recipes."""
        return recipe_names()

    return router
