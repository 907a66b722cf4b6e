"""Routes about models and what is desired of them."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Query, UploadFile

from nervure_core.bundle import BundleError, Manifest
from nervure_core.errors import InputError
from nervure_hub.api import labels
from nervure_hub.api.schemas import DeployAnswer, DeployRequest, PushAnswer, Release, Releases
from nervure_hub.context import HubContext
from nervure_hub.deployments import Deployment, Selector, selects
from nervure_hub.deployments.controller import facts_of

MAX_FILES = 32
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Files = Annotated[
    list[UploadFile], File(description="Every file of the bundle under its own name, manifest.json included")
]
Regions = Annotated[list[str] | None, Query(description="region an agent must belong to; repeat for more")]


def create(context: HubContext) -> APIRouter:
    """Return the router."""
    router = APIRouter(tags=["models"])

    @router.post("/v1/models", status_code=201)
    async def push(
        files: Files, deploy: bool = False, label: labels.Labels = None, region: Regions = None
    ) -> PushAnswer:
        """Take a bundle in as the next release of its name; with ``deploy``, want it on agents at once."""
        selector = _selector(label, region)
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="nervure-push-"))
        try:
            await _save(files, folder)
            ref = await context.registry.push(folder)
        except BundleError as error:
            # The folder is the hub's own business: the user knows the files by their names.
            message = error.message.replace(f"{folder}/", "").removeprefix(f"{folder}: ")
            raise BundleError(message, hint=error.hint) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if not deploy:
            return PushAnswer(model=Release.of(ref))
        deployment = await context.deployments.deploy(ref, selector)
        return PushAnswer(
            model=Release.of(ref), deployment=deployment, agents_selected=await _count(context, deployment)
        )

    @router.get("/v1/models")
    async def models() -> Releases:
        """List all releases of all models, and what is desired."""
        return Releases(
            models=[Release.of(ref) for ref in await context.registry.releases()],
            deployments=list(await context.deployments.list()),
        )

    @router.get("/v1/models/{name}")
    async def releases(name: str) -> Releases:
        """List one model's releases and what is desired of it."""
        await context.registry.release(name)
        return Releases(
            models=[Release.of(ref) for ref in await context.registry.releases(name)],
            deployments=[item for item in await context.deployments.list() if item.name == name],
        )

    @router.get("/v1/models/{name}/{release}")
    async def manifest(name: str, release: int) -> Manifest:
        """Show the manifest of one release."""
        return await context.registry.manifest((await context.registry.release(name, release)).bundle_id)

    @router.post("/v1/deployments", status_code=201)
    async def deploy(request: DeployRequest) -> DeployAnswer:
        """Want a release on the agents that the selector selects."""
        ref = await context.registry.release(request.name, request.release)
        deployment = await context.deployments.deploy(ref, request.selector)
        return DeployAnswer(deployment=deployment, agents_selected=await _count(context, deployment))

    @router.get("/v1/deployments")
    async def deployments() -> list[Deployment]:
        """List what is desired of every model."""
        return list(await context.deployments.list())

    return router


async def _count(context: HubContext, deployment: Deployment) -> int:
    return sum(
        record.state == "live" and selects(deployment, facts_of(record)) for record in await context.directory.agents()
    )


def _selector(label: Sequence[str] | None, region: Sequence[str] | None) -> Selector | None:
    if not label and not region:
        return None
    return Selector(labels=labels.parse(label), regions=tuple(region or ()))


async def _save(files: Sequence[UploadFile], folder: Path) -> None:
    if len(files) > MAX_FILES:
        raise InputError(f"{len(files)} files are more than a bundle has ({MAX_FILES})")
    for file in files:
        name = file.filename or ""
        if _FILE_NAME.fullmatch(name) is None:
            raise InputError(f"file name {name[:100]!r} can't be in a bundle", hint="send plain names without folders")
        with await asyncio.to_thread((folder / name).open, "xb") as target:
            while chunk := await file.read(1 << 20):
                await asyncio.to_thread(target.write, chunk)
