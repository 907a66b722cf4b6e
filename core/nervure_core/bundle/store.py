"""Bundles on disk: read and verified whole, written beside and renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from nervure_core.bundle.manifest import FileEntry, Lineage, Manifest
from nervure_core.bundle.weights import arrays_to_weights, weights_to_arrays
from nervure_core.errors import InputError, WorldError
from nervure_core.files import sha256_file, sha256_hex, sync_folder
from nervure_core.tensors import Arrays
from nervure_core.validation import first_problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANIFEST = "manifest.json"
INFER = "infer.onnx"
WEIGHTS = "weights.bin"
TRAIN = "train.onnx"
PROBE = "probe.npz"
MAX_MANIFEST_BYTES = 1 << 20


class BundleError(InputError):
    """A folder is no bundle, or a file in it is not what the manifest says.

    Attributes:
        path: The file or folder at fault.
    """

    code = "bundle"

    def __init__(self, message: str, *, path: Path | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    manifest: Manifest
    manifest_bytes: bytes
    bundle_id: str

    def path(self, name: str) -> Path:
        """Return the path of one file."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Return whether the bundle holds ``name``."""
        return name in self.manifest.files

    def weights(self) -> Arrays:
        """Return the tensors of ``weights.bin``; none when the bundle keeps its weights inside ``infer.onnx``."""
        return weights_to_arrays(self.manifest, self.path(WEIGHTS).read_bytes()) if self.has(WEIGHTS) else {}


def parse_manifest(data: bytes, *, origin: str) -> Manifest:
    """Return the manifest in ``data``.

    Args:
        data: JSON, 1 MiB at most.
        origin: Where it came from, for the error.

    Raises:
        BundleError: It is no manifest; the message names the field and what was found.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{origin}: manifest of {len(data)} bytes is larger than {MAX_MANIFEST_BYTES}")
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise BundleError(f"{origin}: {first_problem(error)}", hint="see docs/bundles.md for the fields") from error
    if INFER not in manifest.files:
        raise BundleError(f"{origin}: files do not name {INFER}")
    return manifest


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle in ``folder`` after checking the size and hash of every file.

    Raises:
        BundleError: The folder, the manifest or a file is missing or not what it should be.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{folder}: no bundle here: {MANIFEST}: {error.strerror}",
            path=path,
            hint="make one with `nervure models pack MODEL.onnx --out DIR`",
        ) from error
    manifest = parse_manifest(data, origin=str(path))
    for name, entry in manifest.files.items():
        _check_file(folder / name, entry)
    return Bundle(folder, manifest, data, sha256_hex(data))


def _check_file(path: Path, entry: FileEntry) -> None:
    try:
        size = path.stat().st_size
        found = sha256_file(path) if size == entry.size else ""
    except OSError as error:
        raise BundleError(
            f"{path}: {error.strerror}", path=path, hint="the bundle is incomplete: push it again"
        ) from error
    if size != entry.size:
        raise BundleError(f"{path}: {size} bytes, the manifest says {entry.size}", path=path)
    if found != entry.sha256:
        raise BundleError(
            f"{path}: SHA-256 is {found[:12]}…, the manifest says {entry.sha256[:12]}…",
            path=path,
            hint="the file was changed or damaged after the bundle was made: make the bundle anew",
        )


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle of ``files`` whose manifest gets their sizes and hashes; replaces nothing.

    Raises:
        BundleError: ``folder`` exists and is not empty, or ``infer.onnx`` is missing.
        WorldError: The files can't be written; nothing is left behind.
    """
    if INFER not in files:
        raise BundleError(f"a bundle needs {INFER}")
    entries = {name: FileEntry(sha256=sha256_hex(data), size=len(data)) for name, data in files.items()}
    # Through model_validate, so that names of files are checked too; model_copy would not.
    whole = Manifest.model_validate({**manifest.model_dump(), "files": entries})
    data = whole.model_dump_json(indent=1).encode()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        for name, content in {**files, MANIFEST: data}.items():
            with (beside / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(beside)
        beside.chmod(0o755)
        try:
            # rename(2) replaces an empty folder and refuses a full one: no check, no race.
            beside.rename(folder)
        except OSError as error:
            raise BundleError(
                f"{folder}: can't put a bundle here: {error.strerror}",
                path=folder,
                hint="give a folder that does not exist yet",
            ) from error
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise _unwritable(folder, error) from error
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    return Bundle(folder, whole, data, sha256_hex(data))


def _unwritable(folder: Path, error: OSError) -> WorldError:
    return WorldError(
        f"{folder}: can't be written: {error.strerror}", hint="give a folder that may be written, on a disk with room"
    )


def with_new_weights(
    bundle: Bundle, folder: Path, arrays: Mapping[str, NDArray[np.generic]], *, release: int, lineage: Lineage
) -> Bundle:
    """Write the bundle that differs from ``bundle`` in its weights, release and lineage only.

    Args:
        bundle: The parent.
        folder: Where the new one goes; must not exist.
        arrays: New values, by tensor name; tensors not named keep theirs.
        release: Number of the new release.
        lineage: Where the weights come from.

    Raises:
        InputError: A tensor does not fit the layout or is not finite.
        BundleError: ``folder`` exists.
        WorldError: The files can't be written.
    """
    weights = arrays_to_weights(bundle.manifest, {**bundle.weights(), **arrays})
    files = {name: weights if name == WEIGHTS else bundle.path(name).read_bytes() for name in bundle.manifest.files}
    manifest = bundle.manifest.model_copy(update={"release": release, "lineage": lineage})
    return write_bundle(folder, manifest, files)
