"""Routes about federated runs and what they are judged on: entry point ``rounds`` of ``nervure.api``.

A run is asked for with its settings (``RunSpec``), with the name of a shipped recipe, or with both, in which case the
settings change the recipe. Any hub answers for all runs: they are in the coordination store.

>>> httpx.post("http://127.0.0.1:7444/v1/rounds", json={"recipe": "demo", "model": "flows"}).json()
{'run_id': 'run-3f9a01c2d4'}
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, File, Query, UploadFile
from pydantic import BaseModel, Field

from nervure_core.errors import InputError
from nervure_federation.heldout import (
    MAX_HELDOUT_BYTES,
    HeldoutConflict,
    HeldoutName,
    HeldoutSite,
    list_heldout,
    put_heldout,
)
from nervure_federation.recipes import merged, recipe_names
from nervure_federation.rounds.spec import RunSpec
from nervure_federation.rounds.submitting import RunMissing, all_runs, find, submit
from nervure_federation.rounds.summary import run_details, run_row
from nervure_hub.api import errors, limits
from nervure_hub.context import HubContext

# The API's tables of statuses and of how much a route takes; those of another part are added where that part is loaded.
errors.LEAVES.update({RunMissing: HTTPStatus.NOT_FOUND, HeldoutConflict: HTTPStatus.CONFLICT})
limits.UPLOADS["/v1/heldout"] = MAX_HELDOUT_BYTES + (1 << 20)  # and what frames the files

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


Sets = Annotated[list[UploadFile], File(description="The sets, each called REGION/SITE.npz, with arrays x and y")]
SetsName = Annotated[str, Query(description="What runs call these sets", examples=["demo"])]


class Started(BaseModel):
    """A run that was asked for."""

    run_id: str = Field(examples=["run-3f9a01c2d4"])


class Runs(BaseModel):
    """All runs, the newest first."""

    runs: list[dict[str, Any]]


class HeldoutPushed(BaseModel):
    """What is stored under a name of held-out sets."""

    name: str
    sites: list[HeldoutSite]


class HeldoutNames(BaseModel):
    """All held-out sets, by name."""

    heldout: list[HeldoutName]


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

    @router.post("/v1/heldout", status_code=201)
    async def push_heldout(name: SetsName, files: Sets) -> HeldoutPushed:
        """Store held-out sets under a name, all or none; a name keeps its sets."""
        return HeldoutPushed(name=name, sites=await put_heldout(context.objects, name, await _contents(files)))

    @router.get("/v1/heldout")
    async def heldout() -> HeldoutNames:
        """List all held-out sets."""
        return HeldoutNames(heldout=await list_heldout(context.objects))

    return router


async def _contents(files: list[UploadFile]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for file in files:
        given = file.filename or ""
        if not given.endswith(".npz"):
            raise InputError(f"file {given[:200]!r} is not called REGION/SITE.npz")
        name = given.removesuffix(".npz")
        if name in contents:
            raise InputError(f"held-out set {name[:200]!r} is given twice")
        contents[name] = await file.read()
    return contents
