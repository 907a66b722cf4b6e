"""Normalisation in the graph, the MLP, and the bundle an agent gets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import parser

from nervure_core.bundle import Bundle, Lineage, TrainingSpec, read_bundle, with_new_weights
from nervure_federation import training_graph
from nervure_federation.models import (
    TRAINING,
    Fitter,
    Normalisation,
    Purpose,
    Schedule,
    build_bundle,
    mlp,
    starting_bundle,
)

PURPOSE = Purpose(
    name="flows", labels=("benign", "attack"), benign_label="benign", features="flow.v1", columns=("a", "b")
)
HEAVY = (True, False)


def probabilities(bundle: Bundle, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(bundle.path("infer.onnx")), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    return np.asarray(found)


def sample(rows: int = 400, seed: int = 3) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Attacks move a thousand times more bytes: only visible on the log scale."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    size = np.exp(rng.normal(size=rows) + np.where(y, 12, 5))
    return np.stack([size, rng.normal(size=rows)], axis=1).astype(np.float32), y


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (5, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    arrays.arrays(np.bool_, 3),
    st.integers(0, 2**32 - 1),
)
def test_the_graph_normalises_as_numpy_does(x: NDArray[np.float32], heavy: NDArray[np.bool_], seed: int) -> None:
    fitted = Normalisation.fit(np.random.default_rng(seed).normal(size=(9, 3)).astype(np.float32), heavy=list(heavy))
    model = mlp.build(fitted, labels=2, hidden=(), seed=seed)
    del model.graph.output[:]
    model.graph.output.extend(parser.parse_graph("g (float[N, 3] x) => (float[N, 3] normalised) { }").output)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    np.testing.assert_allclose(np.asarray(found), fitted.apply(x), rtol=1e-4, atol=1e-4)


def test_a_column_that_is_constant_in_the_sample_is_not_blown_up() -> None:
    fitted = Normalisation.fit(np.ones((10, 1), np.float32), heavy=[False])
    np.testing.assert_array_equal(fitted.apply(np.array([[1.0], [2.0]], np.float32)), [[0.0], [1.0]])


def test_infinite_features_are_clipped(tmp_path: Path) -> None:
    bundle = starting_bundle(tmp_path / "b", *sample(), PURPOSE, heavy=HEAVY)
    found = probabilities(bundle, np.array([[np.inf, -np.inf], [np.finfo(np.float32).max, 0]], np.float32))
    assert np.isfinite(found).all()


def test_the_starting_bundle_is_whole_and_works(tmp_path: Path) -> None:
    x, y = sample()
    bundle = starting_bundle(tmp_path / "b", x, y, PURPOSE, heavy=HEAVY, hidden=(8,), note="made up")
    manifest = read_bundle(tmp_path / "b").manifest
    assert set(manifest.files) == {"infer.onnx", "train.onnx", "weights.bin", "probe.npz"}
    assert manifest.trainable == tuple(item.name for item in manifest.tensors)
    assert manifest.trainable == ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    assert [(item.name, item.dtype, item.shape) for item in manifest.inputs] == [("x", "float32", (-1, 2))]
    assert [(item.name, item.dtype, item.shape) for item in manifest.outputs] == [("probabilities", "float32", (-1, 2))]
    assert manifest.columns == ("a", "b")
    assert manifest.training == TRAINING
    assert manifest.lineage.note == "made up"
    with np.load(bundle.path("probe.npz")) as probe:
        assert probe["x"].shape == (16, 2)
    held_x, held_y = sample(seed=4)
    assert (probabilities(bundle, held_x).argmax(1) == held_y).mean() > 0.95


def test_the_same_sample_and_seed_give_the_same_bundle(tmp_path: Path) -> None:
    first, again, other = (
        starting_bundle(tmp_path / name, *sample(), PURPOSE, heavy=HEAVY, schedule=Schedule(epochs=2, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.bundle_id == again.bundle_id != other.bundle_id


def test_a_round_replaces_the_weights_and_nothing_else(tmp_path: Path) -> None:
    x, y = sample()
    start = starting_bundle(tmp_path / "start", x, y, PURPOSE, heavy=HEAVY, schedule=Schedule(epochs=0))
    weights = {name: np.asarray(value, np.float32) for name, value in start.weights().items()}
    fit = Fitter(start.path("train.onnx")).fit(weights, x, y, Schedule(epochs=5, learning_rate=0.1))
    after = with_new_weights(start, tmp_path / "next", fit.weights, release=2, lineage=Lineage(round=1))
    changed = {name for name in start.manifest.files if start.manifest.files[name] != after.manifest.files[name]}
    assert changed == {"weights.bin"}
    assert fit.steps == 5 * math.ceil(400 / 32)
    assert (probabilities(after, x).argmax(1) == y).mean() > 0.95


def test_the_proximal_term_keeps_a_fit_near_its_start(tmp_path: Path) -> None:
    x, y = sample()
    start = starting_bundle(tmp_path / "start", x, y, PURPOSE, heavy=HEAVY, schedule=Schedule(epochs=0))
    weights = {name: np.asarray(value, np.float32) for name, value in start.weights().items()}

    def drift(mu: float) -> float:
        fit = Fitter(start.path("train.onnx")).fit(weights, x, y, Schedule(epochs=3, learning_rate=0.05, mu=mu))
        return math.sqrt(sum(float(((fit.weights[name] - value) ** 2).sum()) for name, value in weights.items()))

    assert drift(10.0) < 0.5 * drift(0.0)


def test_a_model_of_another_family_becomes_a_trainable_bundle(tmp_path: Path) -> None:
    model = parser.parse_model("""<ir_version: 9, opset_import: ["" : 17]>
    net (float[N, 2] cells) => (float[N, 3] odds) <float[2, 3] w = {1, 0, 0, 0, 1, 0}, float[3] b = {0, 0, 0}>
    { h = MatMul(cells, w) s = Add(h, b) odds = Softmax(s) }""")
    purpose = Purpose(name="cells", labels=("a", "b", "c"))
    probe = {"cells": np.eye(2, dtype=np.float32)}
    spec = TrainingSpec(optimizer="sgd")
    bundle = build_bundle(tmp_path / "b", model, purpose, probe=probe, training=spec)
    assert bundle.manifest.trainable == ("w", "b")
    np.testing.assert_array_equal(bundle.weights()["w"], [[1, 0, 0], [0, 1, 0]])
    session = onnxruntime.InferenceSession(str(bundle.path("train.onnx")), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].name == "cells"


def test_an_untrainable_model_leaves_nothing_behind(tmp_path: Path) -> None:
    model = parser.parse_model("""<ir_version: 9, opset_import: ["" : 17]>
    net (float[N, 2] x) => (float[N, 2] p) <float[2, 2] w = {1, 0, 0, 1}> { h = MatMul(x, w) s = Erf(h) p = Softmax(s) }""")
    probe: dict[str, Any] = {"x": np.eye(2, dtype=np.float32)}
    with pytest.raises(training_graph.UntrainableModelError, match="no gradient rule for Erf"):
        build_bundle(tmp_path / "b", model, PURPOSE, probe=probe)
    assert list(tmp_path.iterdir()) == []
