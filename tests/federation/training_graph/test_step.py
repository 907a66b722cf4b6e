"""What a training step does at its edges: padding, huge scores, clipping, frozen parts, names that collide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nervure_core.errors import ConfigurationError
from nervure_federation import training_graph

NET = """net (float[N, 2] x) => (float[N, 2] p)
<float[2, 2] w = {1, 0, 0, 1}, float[2] b = {0, 0}> { s = Gemm(x, w, b) p = Softmax(s) }"""
WEIGHTS = {"p.w": np.eye(2), "p.b": np.zeros(2)}


def test_rows_without_a_class_weigh_nothing(parse: Any, run: Any) -> None:
    graph = training_graph.build(parse(NET), optimizer="sgd")
    rows = np.array([[1.0, 2.0], [3.0, -1.0]])
    plain = run(graph, {"x": rows, "y": [0, 1], "lr": 0.1, **WEIGHTS})
    padded = run(graph, {"x": [*rows, [9, 9], [-9, 9]], "y": [0, 1, -1, 2], "lr": 0.1, **WEIGHTS})
    for name, value in plain.items():
        np.testing.assert_allclose(padded[name], value, rtol=1e-6)


def test_a_batch_without_labels_moves_nothing(parse: Any, run: Any) -> None:
    graph = training_graph.build(parse(NET), optimizer="adam")
    out = run(graph, {"x": [[1, 2]], "y": [-1], "lr": 0.1, **WEIGHTS})
    assert out["loss"] == out["grad_norm"] == 0
    np.testing.assert_array_equal(out["new.p.w"], np.eye(2))


@pytest.mark.parametrize("size", [1e4, 1e15])
def test_huge_scores_stay_finite(parse: Any, onnxruntime_run: Any, size: float) -> None:
    # Only what agents have: onnx's reference computes LogSoftmax as the log of a softmax.
    graph = training_graph.build(parse(NET), optimizer="sgd")
    out = onnxruntime_run(graph, {"x": [[size, -size]], "y": [1], "lr": 0.0, **WEIGHTS})
    assert out["loss"] == pytest.approx(2 * size)
    assert np.isfinite(out["grad_norm"])


def test_clipping_scales_the_whole_gradient_once(parse: Any, run: Any) -> None:
    feeds = {"x": [[30.0, -40.0]], "y": [1], "lr": 1.0, **WEIGHTS}
    free = run(training_graph.build(parse(NET), optimizer="sgd"), feeds)
    held = run(training_graph.build(parse(NET), optimizer="sgd", clip_norm=2.0), feeds)
    loose = run(training_graph.build(parse(NET), optimizer="sgd", clip_norm=1e6), feeds)
    assert held["grad_norm"] == pytest.approx(free["grad_norm"])
    factor = 2.0 / float(free["grad_norm"])
    for name in ("w", "b"):
        before = WEIGHTS[f"p.{name}"]
        np.testing.assert_allclose(before - held[f"new.p.{name}"], factor * (before - free[f"new.p.{name}"]), rtol=1e-5)
        np.testing.assert_array_equal(loose[f"new.p.{name}"], free[f"new.p.{name}"])


def test_clipping_survives_a_zero_gradient(parse: Any, run: Any) -> None:
    graph = training_graph.build(parse(NET), optimizer="sgd", clip_norm=1.0)
    out = run(graph, {"x": [[1, 2]], "y": [-1], "lr": 0.1, **WEIGHTS})
    np.testing.assert_array_equal(out["new.p.w"], np.eye(2))


def test_fedprox_pulls_towards_the_global_weights(parse: Any, run: Any) -> None:
    graph = training_graph.build(parse(NET), optimizer="sgd")
    anchors = {"g.w": np.full((2, 2), 3.0), "g.b": np.array([1.0, -1.0])}
    out = run(graph, {"x": [[0, 0]], "y": [-1], "lr": 0.5, "mu": 1.0, **anchors, **WEIGHTS})
    np.testing.assert_allclose(out["new.p.w"], (np.eye(2) + 3.0) / 2)
    np.testing.assert_allclose(out["new.p.b"], [0.5, -0.5])
    assert out["loss"] == pytest.approx(0.5 * (4 + 9 + 9 + 4 + 1 + 1))


def test_values_with_names_of_ours_are_renamed(parse: Any, run: Any) -> None:
    text = """net (float[N, 2] x) => (float[N, 2] t) <float[2, 2] y = {1, 0, 0, 1}>
    { loss = MatMul(x, y) lr = Relu(loss) t = Softmax(lr) }"""
    graph = training_graph.build(parse(text), trainable=("y",), optimizer="adam")
    out = run(graph, {"x": [[1, 2]], "y": [0], "lr": 0.1, "p.y": np.eye(2)})
    assert set(out) == {"loss", "grad_norm", "new.p.y", "new.m.y", "new.v.y", "new.t"}
    assert out["new.p.y"][0, 0] > 1


def test_frozen_parts_need_no_rule(parse: Any, run: Any) -> None:
    text = """net (float[N, 2] x) => (float[N, 2] p) <float[2, 2] w = {1, 0, 0, 1}, float[2] scale = {2, 2}>
    { a = Erf(x) c = Div(a, scale) d = Clip(c) s = MatMul(d, w) p = Softmax(s) }"""
    assert training_graph.weights(parse(text)) == ("w",)
    out = run(training_graph.build(parse(text), optimizer="sgd"), {"x": [[1, 2]], "y": [0], "lr": 1.0, **WEIGHTS})
    assert out["grad_norm"] > 0


def test_local_functions_are_opened(parse: Any) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "own" : 1]>
    net (float[N, 2] x) => (float[N, 2] p) <float[2, 2] w = {1, 0, 0, 1}> { s = own.dense(x, w) p = Softmax(s) }
    <domain: "own", opset_import: ["" : 17]> dense (x, w) => (y) { z = MatMul(x, w) y = Relu(z) }"""
    from onnx import parser

    graph = training_graph.build(parser.parse_model(text), trainable=("w",), optimizer="sgd")
    assert "new.p.w" in {value.name for value in graph.graph.output}


def test_settings_are_checked(parse: Any) -> None:
    with pytest.raises(ConfigurationError, match="no optimizer 'lion'"):
        training_graph.build(parse(NET), optimizer="lion")  # type: ignore[arg-type] # what a recipe may hold
    with pytest.raises(ConfigurationError, match="no loss 'hinge'"):
        training_graph.supports(parse(NET), loss="hinge")
    with pytest.raises(ConfigurationError, match="positive, not 0"):
        training_graph.build(parse(NET), clip_norm=0.0)
