"""Bundles: what is deployed. A folder of ``manifest.json``, ``infer.onnx``, ``weights.bin`` and optional files.

Rules:
- The manifest names every file with its SHA-256 and size; the bundle's id is the SHA-256 of ``manifest.json`` itself,
  so one hash vouches for all.
- A new round replaces ``weights.bin`` only; its layout (name, dtype, shape, offset, length) stands in the manifest, so
  neither an agent nor a hub needs the ``onnx`` package to read or write weights.
- A bundle is read whole and verified before anything of it is used, and written beside and renamed.

>>> bundle = read_bundle(Path("out/model"))  # doctest: +SKIP
>>> bundle.manifest.name, bundle.manifest.release  # doctest: +SKIP
('flows', 7)
"""

from pathlib import Path

from nervure_core.bundle.manifest import (
    DecisionKind,
    DecisionSpec,
    FileEntry,
    Lineage,
    Manifest,
    TensorLayout,
    TensorSpec,
    TrainingSpec,
)
from nervure_core.bundle.pack import pack_onnx
from nervure_core.bundle.store import (
    INFER,
    MANIFEST,
    PROBE,
    TRAIN,
    WEIGHTS,
    Bundle,
    BundleError,
    parse_manifest,
    read_bundle,
    with_new_weights,
    write_bundle,
)
from nervure_core.bundle.weights import arrays_to_weights, weights_to_arrays

__all__ = [
    "INFER",
    "MANIFEST",
    "PROBE",
    "TRAIN",
    "WEIGHTS",
    "Bundle",
    "BundleError",
    "DecisionKind",
    "DecisionSpec",
    "FileEntry",
    "Lineage",
    "Manifest",
    "Path",
    "TensorLayout",
    "TensorSpec",
    "TrainingSpec",
    "arrays_to_weights",
    "pack_onnx",
    "parse_manifest",
    "read_bundle",
    "weights_to_arrays",
    "with_new_weights",
    "write_bundle",
]
