"""From what a hub wants an agent to run to a running model: fetch, verify, load, probe, exchange, commit.

Rules:
- Only the last word counts: a newer ``Desired`` that comes while one is being carried out is looked at afterwards.
- A bundle is fetched file by file, by hash and range; what is here already is not fetched again, so a round that changes
  the weights costs the weights.
- Faults of the bundle (hash, manifest, inputs, probe) are reported as ``failed`` once and not tried again until the
  desired state changes; faults of the world (no hub, disk) are tried again.
- The old model decides until the exchange, and goes on after any failure.

>>> deployer = Deployer(slots, fetch=uplink.fetch, ...)  # doctest: +SKIP
>>> await deployer.carry_out(assignment)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nervure_core.bundle import Bundle, BundleError, parse_manifest
from nervure_core.errors import InputError, WorldError
from nervure_core.messages import Assignment, DeploymentReport, DeploymentState
from nervure_edge.models.fetch import Fetch
from nervure_edge.models.slots import SlotStore

if TYPE_CHECKING:
    from nervure_edge.models.loaded import LoadedModel

logger = logging.getLogger(__name__)

MAX_MANIFEST_BYTES = 1 << 20
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DeployBounds:
    """What a deployment may cost."""

    max_bundle_bytes: int
    probe_rows: int
    fetch_timeout_s: float
    """Per artifact; what came in time is kept and the next try goes on behind it."""


class Deployer:
    """Carries assignments out, one at a time.

    Args:
        store: The models on disk.
        fetch: Where artifacts come from.
        exchange: Makes a loaded model the deciding one; raises ``InputError`` when it does not fit the workload.
        report: Takes reports for the hub.
        bounds: What a deployment may cost.
        executor: Runs hashing, loading and probing; None takes the loop's own.
    """

    def __init__(
        self,
        store: SlotStore,
        *,
        fetch: Fetch,
        exchange: Callable[[LoadedModel], None],
        report: Callable[[DeploymentReport], None],
        bounds: DeployBounds,
        executor: Executor | None = None,
    ) -> None:
        self._store = store
        self._fetch = fetch
        self._exchange = exchange
        self._report = report
        self._bounds = bounds
        self._executor = executor
        self._failed: dict[str, str] = {}

    async def carry_out(self, assignment: Assignment, running_id: str) -> bool:
        """Make the assigned model the running one; return whether it runs now.

        Args:
            assignment: What the hub wants.
            running_id: Bundle id of the model that runs now, empty without one.

        Raises:
            WorldError: A fault that may pass; call again later.
        """
        if assignment.bundle_id == running_id:
            self._say(assignment, DeploymentState.RUNNING)
            return True
        known = self._failed.get(assignment.bundle_id)
        if known is not None:
            self._say(assignment, DeploymentState.FAILED, known)
            return False
        self._say(assignment, DeploymentState.FETCHING)
        try:
            manifest_bytes = await self._manifest(assignment.bundle_id)
            await self._files(manifest_bytes, assignment)
            await self._in_thread(lambda: self._activate(assignment, manifest_bytes))
        except InputError as error:
            logger.warning("model %s release %d is refused: %s", assignment.name, assignment.release, error)
            # Bounded: a hub that sends bad bundles for ever must not grow this table for ever.
            if len(self._failed) >= 64:
                self._failed.clear()
            self._failed[assignment.bundle_id] = error.message
            self._say(assignment, DeploymentState.FAILED, error.message)
            return False
        self._say(assignment, DeploymentState.RUNNING)
        return True

    async def _manifest(self, bundle_id: str) -> bytes:
        try:
            return (await self._in_thread(lambda: self._store.bundle(bundle_id))).manifest_bytes
        except BundleError:
            path = await self._object(bundle_id, MAX_MANIFEST_BYTES)
        return await self._in_thread(path.read_bytes)

    async def _files(self, manifest_bytes: bytes, assignment: Assignment) -> None:
        manifest = parse_manifest(manifest_bytes, origin=f"bundle {assignment.bundle_id[:12]}…")
        if (manifest.name, manifest.release) != (assignment.name, assignment.release):
            raise BundleError(
                f"bundle {assignment.bundle_id[:12]}… is {manifest.name} release {manifest.release}, "
                f"not {assignment.name} release {assignment.release}"
            )
        total = sum(entry.size for entry in manifest.files.values())
        if total > self._bounds.max_bundle_bytes:
            raise BundleError(f"bundle of {total} bytes is larger than {self._bounds.max_bundle_bytes}")
        for entry in manifest.files.values():
            if not self._store.has_object(entry.sha256, entry.size):
                await self._object(entry.sha256, entry.size)

    async def _object(self, sha256: str, max_bytes: int) -> Path:
        """Fetch one artifact, going on where an earlier try ended."""
        part = self._store.part_path(sha256)
        have = part.stat().st_size if part.exists() else 0
        if have > max_bytes:
            part.unlink()
            have = 0
        try:
            async with asyncio.timeout(self._bounds.fetch_timeout_s):
                with part.open("ab") as file:
                    async for chunk in self._fetch(sha256, have):
                        have += len(chunk)
                        if have > max_bytes:
                            break
                        file.write(chunk)
        except TimeoutError as error:
            raise WorldError(f"artifact {sha256[:12]}… did not come in {self._bounds.fetch_timeout_s:g} s") from error
        except OSError as error:
            raise WorldError(f"{part}: {error.strerror}", hint="check the disk") from error
        if have > max_bytes:
            part.unlink()
            raise BundleError(f"artifact {sha256[:12]}… is larger than the {max_bytes} bytes announced")
        return await self._in_thread(lambda: self._store.adopt_part(sha256))

    def _activate(self, assignment: Assignment, manifest_bytes: bytes) -> None:
        from nervure_edge.models.loaded import load_model  # brings numpy and onnxruntime: only with the first model

        slot, bundle_id = assignment.slot, assignment.bundle_id
        bundle: Bundle = self._store.assemble(manifest_bytes)
        self._store.try_out(slot, bundle_id)
        try:
            self._exchange(load_model(bundle, probe_rows=self._bounds.probe_rows))
        except InputError:
            self._store.reject(slot)
            raise
        self._store.commit(slot, bundle_id)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _say(self, assignment: Assignment, state: DeploymentState, message: str = "") -> None:
        self._report(DeploymentReport(assignment.name, assignment.release, assignment.bundle_id, state, message[:500]))
