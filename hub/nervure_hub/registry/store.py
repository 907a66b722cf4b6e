"""The registry over coordination (which releases there are) and the object store (their files)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from nervure_core.bundle import MANIFEST, Bundle, Manifest, parse_manifest, read_bundle
from nervure_core.clock import Clock, SystemClock
from nervure_core.files import write_atomic
from nervure_hub.coordination.contract import Coordination, Leadership
from nervure_hub.objects import ObjectMissing, ObjectStore
from nervure_hub.registry.checks import check_model
from nervure_hub.registry.records import MODELS_PREFIX, BundleRef, ModelMissing, ReleaseRefused


class Registry:
    """Models by name and release.

    Args:
        coordination: Holds one key a release.
        objects: Holds the files by content; a manifest's key is the bundle's id.
        clock: Stamps releases.
    """

    def __init__(self, coordination: Coordination, objects: ObjectStore, clock: Clock | None = None) -> None:
        self._coordination = coordination
        self._objects = objects
        self._clock = clock or SystemClock()

    async def push(self, folder: Path, *, leadership: Leadership | None = None) -> BundleRef:
        """Take a bundle in as the next release of its name.

        Args:
            folder: The bundle.
            leadership: Of the controller that publishes; None when a person does.

        Raises:
            BundleError: A file is missing, damaged or not what the manifest says, or the model doesn't run.
            ReleaseRefused: The release is not higher than the newest one.
            FencedOut: The leadership is over.
            StoreUnreachable: Coordination is away.
            ObjectStoreFailed: The object store is away or full.
        """
        bundle = await asyncio.to_thread(read_bundle, folder)
        wanted = self._describe(bundle)
        there = await self._existing(wanted)
        if there is not None:
            return there
        await check_model(bundle)
        for name in bundle.manifest.files:
            await self._objects.put(await asyncio.to_thread(bundle.path(name).read_bytes))
        await self._objects.put(bundle.manifest_bytes)
        return await self._commit(wanted, leadership)

    def _describe(self, bundle: Bundle) -> BundleRef:
        manifest = bundle.manifest
        return BundleRef(
            name=manifest.name,
            release=manifest.release,
            bundle_id=bundle.bundle_id,
            workload=manifest.workload,
            size_bytes=sum(entry.size for entry in manifest.files.values()),
            pushed_at_s=self._clock.wall_s(),
            run_id=manifest.lineage.run_id,
            round=manifest.lineage.round,
            note=manifest.lineage.note,
        )

    async def _existing(self, wanted: BundleRef) -> BundleRef | None:
        """Return the same bundle if it is there; refuse a release that would not be the newest."""
        known = await self.releases(wanted.name)
        for ref in known:
            if ref.bundle_id == wanted.bundle_id:
                return ref
        newest = known[-1].release if known else 0
        if wanted.release <= newest:
            raise ReleaseRefused(
                f"{wanted.name}: release {wanted.release} does not come after {newest}, which is here already",
                wanted.name,
                wanted.release,
                hint=f"make the bundle with release {newest + 1}",
            )
        return None

    async def _commit(self, wanted: BundleRef, leadership: Leadership | None) -> BundleRef:
        if leadership is not None:
            await self._coordination.put_fenced(wanted.key, wanted.to_bytes(), leadership)
            return wanted
        await self._coordination.compare_and_put(wanted.key, wanted.to_bytes(), expected_revision=0)
        # Somebody else may have pushed meanwhile: the first writer of a release, or of a higher one, stands.
        entries, _ = await self._coordination.list(f"{MODELS_PREFIX}{wanted.name}/")
        own = next((entry for entry in entries if entry.key == wanted.key), None)
        if own is None or BundleRef.from_bytes(own.key, own.value).bundle_id != wanted.bundle_id:
            raise ReleaseRefused(
                f"{wanted.name}: somebody else pushed release {wanted.release} just now", wanted.name, wanted.release
            )
        if any(entry.key > own.key and entry.create_revision < own.create_revision for entry in entries):
            await self._coordination.delete_if(own.key, expected_revision=own.revision)
            raise ReleaseRefused(
                f"{wanted.name}: somebody else pushed a higher release just now", wanted.name, wanted.release
            )
        return wanted

    async def releases(self, name: str = "") -> Sequence[BundleRef]:
        """Return all releases of a model, or of all models, ordered by name and release."""
        prefix = f"{MODELS_PREFIX}{name}/" if name else MODELS_PREFIX
        entries, _ = await self._coordination.list(prefix)
        found = (BundleRef.from_bytes(entry.key, entry.value) for entry in entries)
        return sorted(found, key=lambda ref: (ref.name, ref.release))

    async def latest(self, name: str) -> BundleRef | None:
        """Return the newest release of a model, or None where there is none."""
        known = await self.releases(name)
        return known[-1] if known else None

    async def release(self, name: str, release: int | None = None) -> BundleRef:
        """Return one release of a model, the newest by default.

        Raises:
            ModelMissing: There is none.
        """
        known = await self.releases(name)
        for ref in reversed(known):
            if release is None or ref.release == release:
                return ref
        what = f"model {name!r}" if not known else f"release {release} of model {name!r}"
        raise ModelMissing(f"{what} is not in the registry", hint="`nervure models list` shows what is")

    async def manifest_bytes(self, bundle_id: str) -> bytes:
        """Return a bundle's manifest as it was pushed.

        Raises:
            ModelMissing: There is no such bundle.
        """
        try:
            return await self._objects.get(bundle_id)
        except ObjectMissing as error:
            raise ModelMissing(f"bundle {bundle_id[:12]}… is not in the registry") from error

    async def manifest(self, bundle_id: str) -> Manifest:
        """Return a bundle's manifest.

        Raises:
            ModelMissing: There is no such bundle.
        """
        return parse_manifest(await self.manifest_bytes(bundle_id), origin=f"bundle {bundle_id[:12]}…")

    async def file(self, sha256: str) -> bytes:
        """Return one file of any bundle by its hash, checked.

        Raises:
            ObjectMissing: There is none.
        """
        return await self._objects.get(sha256)

    async def fetch(self, bundle_id: str, folder: Path) -> Bundle:
        """Write a bundle into ``folder`` (made if absent) and read it back verified; what is there is kept if right.

        Raises:
            ModelMissing: There is no such bundle.
            OSError: The folder can't be written.
        """
        data = await self.manifest_bytes(bundle_id)
        manifest = parse_manifest(data, origin=f"bundle {bundle_id[:12]}…")
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        for name, entry in manifest.files.items():
            content = await self._objects.get(entry.sha256)
            await asyncio.to_thread(write_atomic, folder / name, content)
        # The manifest last: a folder without one is no bundle.
        await asyncio.to_thread(write_atomic, folder / MANIFEST, data)
        return await asyncio.to_thread(read_bundle, folder)
