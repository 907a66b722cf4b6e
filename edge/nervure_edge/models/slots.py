"""The models on a device's disk: files by their hash, bundles made of them, and which bundle a slot runs.

    models/objects/<sha256>            content-addressed files; ``<sha256>.part`` is a download that can go on
    models/bundles/<bundle id>/        manifest.json and hard links to its files under their own names
    models/state.json                  slot -> current, previous, golden, trial

Laws:
1. ``state.json`` is replaced atomically and last: whatever was interrupted before it left only files nobody names.
2. A bundle's folder appears by one rename, whole and verified, or not at all.
3. ``trial`` is written before a bundle is activated and cleared by ``commit`` or ``reject``. A trial found at start means
   that the process died while trying it: the slot starts on ``current``, and the trial is counted as failed.
4. ``golden`` is the first bundle that ever worked here and is never removed; ``previous`` is the one before ``current``.
5. What no slot names is removed, after the state says so.

>>> slots = SlotStore(Path("data/models"))  # doctest: +SKIP
>>> slots.try_out("default", bundle_id); slots.commit("default", bundle_id)  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from nervure_core.bundle import MANIFEST, Bundle, BundleError, parse_manifest, read_bundle
from nervure_core.errors import InputError, WorldError
from nervure_core.files import sha256_file, sha256_hex, sync_folder, write_atomic

logger = logging.getLogger(__name__)

STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Slot:
    """Bundle ids of one slot; empty where there is none."""

    current: str = ""
    previous: str = ""
    golden: str = ""
    trial: str = ""

    def names(self, bundle_id: str) -> bool:
        """Return whether the slot still needs a bundle."""
        return bundle_id in (self.current, self.previous, self.golden, self.trial)


class SlotStore:
    """The models of one device.

    Args:
        folder: Made if missing; one store at a time may own it.

    Raises:
        WorldError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._objects = folder / "objects"
        self._bundles = folder / "bundles"
        try:
            for path in (self._objects, self._bundles):
                path.mkdir(parents=True, exist_ok=True)
            self._slots = _read_state(folder / STATE)
            for leftover in self._bundles.glob(".*"):
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError as error:
            raise _world(folder, error) from error

    def __repr__(self) -> str:
        return f"<SlotStore {self._folder} {self._slots}>"

    def slot(self, name: str) -> Slot:
        """Return what a slot names now."""
        return self._slots.get(name, Slot())

    def object_path(self, sha256: str) -> Path:
        """Return where a file of this hash rests, or would."""
        return self._objects / sha256

    def part_path(self, sha256: str) -> Path:
        """Return where a download of this hash grows."""
        return self._objects / f"{sha256}.part"

    def has_object(self, sha256: str, size: int) -> bool:
        """Return whether a file of this hash is here; its content is verified when it is used."""
        with contextlib.suppress(OSError):
            return self.object_path(sha256).stat().st_size == size
        return False

    def adopt_part(self, sha256: str) -> Path:
        """Make a finished download an object.

        Raises:
            BundleError: Its content has another hash; the download is removed.
            WorldError: The disk fails.
        """
        part, path = self.part_path(sha256), self.object_path(sha256)
        try:
            found = sha256_file(part)
            if found != sha256:
                part.unlink()
                raise BundleError(
                    f"artifact {sha256[:12]}…: what was fetched has SHA-256 {found[:12]}…",
                    path=path,
                    hint="the hub's copy is damaged: push the bundle again",
                )
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
            sync_folder(self._objects)
        except OSError as error:
            raise _world(part, error) from error
        return path

    def assemble(self, manifest_bytes: bytes) -> Bundle:
        """Make the bundle's folder from objects and verify every file; cheap when it is there already.

        Raises:
            BundleError: A file is missing or damaged; damaged objects are removed, so that they are fetched anew.
            WorldError: The disk fails.
        """
        bundle_id = sha256_hex(manifest_bytes)
        manifest = parse_manifest(manifest_bytes, origin=f"bundle {bundle_id[:12]}…")
        folder = self._bundles / bundle_id
        try:
            if not folder.exists():
                self._link(folder, manifest_bytes, {name: entry.sha256 for name, entry in manifest.files.items()})
        except OSError as error:
            raise _world(folder, error) from error
        return self._verified(folder)

    def _link(self, folder: Path, manifest_bytes: bytes, files: Mapping[str, str]) -> None:
        beside = Path(tempfile.mkdtemp(dir=self._bundles, prefix=".new-"))
        try:
            for name, sha256 in files.items():
                source = self.object_path(sha256)
                try:
                    os.link(source, beside / name)
                except OSError:
                    # Some file systems have no hard links: a copy costs room, nothing else.
                    shutil.copyfile(source, beside / name)
            write_atomic(beside / MANIFEST, manifest_bytes)
            beside.rename(folder)
            sync_folder(self._bundles)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise

    def _verified(self, folder: Path) -> Bundle:
        try:
            return read_bundle(folder)
        except BundleError as error:
            if error.path is not None and error.path.parent == folder:
                self._forget_damaged(folder)
            raise

    def _forget_damaged(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for path in self._objects.iterdir():
            if path.suffix != ".part" and sha256_file(path) != path.name:
                path.unlink(missing_ok=True)

    def install(self, folder: Path) -> Bundle:
        """Copy a local bundle in and return it as it rests here.

        Raises:
            BundleError: ``folder`` holds no bundle, or a damaged one.
            WorldError: The disk fails.
        """
        bundle = read_bundle(folder)
        try:
            for name, entry in bundle.manifest.files.items():
                if not self.has_object(entry.sha256, entry.size):
                    shutil.copyfile(bundle.path(name), self.part_path(entry.sha256))
                    self.adopt_part(entry.sha256)
        except OSError as error:
            raise _world(self._objects, error) from error
        return self.assemble(bundle.manifest_bytes)

    def bundle(self, bundle_id: str) -> Bundle:
        """Return an assembled bundle after verifying it.

        Raises:
            BundleError: It is not here, or damaged.
        """
        return self._verified(self._bundles / bundle_id)

    def try_out(self, slot: str, bundle_id: str) -> None:
        """Put on record that a bundle is about to be tried.

        Raises:
            WorldError: The disk fails.
        """
        self._write(slot, replace(self.slot(slot), trial=bundle_id))

    def commit(self, slot: str, bundle_id: str) -> None:
        """Make a bundle the current one and keep the one before as previous.

        Raises:
            WorldError: The disk fails; the slot is as it was.
        """
        now = self.slot(slot)
        previous = now.current if now.current != bundle_id else now.previous
        self._write(slot, Slot(bundle_id, previous, now.golden or bundle_id))
        self._sweep()

    def reject(self, slot: str) -> None:
        """Give a trial up; the current bundle stays.

        Raises:
            WorldError: The disk fails.
        """
        self._write(slot, replace(self.slot(slot), trial=""))
        self._sweep()

    def _write(self, name: str, slot: Slot) -> None:
        slots = {**self._slots, name: slot}
        data = json.dumps({key: asdict(value) for key, value in slots.items()}, indent=1).encode()
        try:
            write_atomic(self._folder / STATE, data)
        except OSError as error:
            raise _world(self._folder / STATE, error) from error
        self._slots = slots

    def _sweep(self) -> None:
        """Remove what no slot names; a failure costs room only."""
        try:
            needed: set[str] = set()
            for folder in self._bundles.iterdir():
                if any(slot.names(folder.name) for slot in self._slots.values()):
                    data = (folder / MANIFEST).read_bytes()
                    needed |= {entry.sha256 for entry in parse_manifest(data, origin=str(folder)).files.values()}
                else:
                    shutil.rmtree(folder, ignore_errors=True)
            for path in self._objects.iterdir():
                if path.name.removesuffix(".part") not in needed:
                    path.unlink(missing_ok=True)
        except (OSError, InputError) as error:
            logger.warning("%s: old models cannot be removed: %s", self._folder, error)


def _read_state(path: Path) -> dict[str, Slot]:
    try:
        found: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        logger.warning("%s is damaged: starting without a model until a hub deploys one", path)
        return {}
    slots: dict[str, Slot] = {}
    if isinstance(found, dict):
        for name, value in cast("dict[str, Any]", found).items():
            with contextlib.suppress(TypeError):
                slots[name] = Slot(**value)
    return slots


def _world(path: Path, error: OSError) -> WorldError:
    return WorldError(f"{path}: {error.strerror or error}", hint="check the disk and the rights of the data folder")
