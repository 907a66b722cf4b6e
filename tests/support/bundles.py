"""Small real models and bundles for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nervure_core.bundle import (
    INFER,
    Bundle,
    DecisionKind,
    DecisionSpec,
    Lineage,
    Manifest,
    TensorSpec,
    write_bundle,
)

FEATURES = 4
LABELS = ("benign", "attack")


def classifier(*, features: int = FEATURES, seed: int = 0, input_name: str = "x") -> onnx.ModelProto:
    """Return x float32[N, features] -> softmax(x W + b) float32[N, 2], weights inside."""
    rng = np.random.default_rng(seed)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", [input_name, "w", "b"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "classifier",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["N", features])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(LABELS)])],
        [
            numpy_helper.from_array(rng.normal(size=(features, len(LABELS))).astype(np.float32), "w"),
            numpy_helper.from_array(np.zeros(len(LABELS), np.float32), "b"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def manifest(
    *, name: str = "flows", release: int = 1, workload: str = "network", features: int = FEATURES, input_name: str = "x"
) -> Manifest:
    """Return the manifest that ``classifier`` fits."""
    return Manifest(
        name=name,
        release=release,
        workload=workload,
        inputs=(TensorSpec(name=input_name, dtype="float32", shape=(-1, features)),),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(-1, len(LABELS))),),
        labels=LABELS,
        benign_label="benign",
        decision=DecisionSpec(output="probabilities", kind=DecisionKind.SOFTMAX),
        lineage=Lineage(note="for tests"),
    )


def make_bundle(
    folder: Path,
    *,
    name: str = "flows",
    release: int = 1,
    workload: str = "network",
    seed: int = 0,
    files: dict[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle that runs; ``files`` adds or replaces."""
    content = {INFER: classifier(seed=seed).SerializeToString(), **(files or {})}
    return write_bundle(folder, manifest(name=name, release=release, workload=workload), content)
