"""A whole training run against an MLP written by hand in float64 numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from nervure_federation import training_graph

Floats = NDArray[np.float64]
FEATURES, HIDDEN, CLASSES, ROWS = 7, 5, 3, 11


def model(weights: dict[str, Floats], dtype: type[np.floating[Any]]) -> ModelProto:
    """Standardise (frozen, by operators without a gradient rule), Gemm, Relu, Gemm, Softmax."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("Log", ["size"], ["loud"]),
        helper.make_node("Sub", ["loud", "mean"], ["norm"]),
        helper.make_node("Gemm", ["norm", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", kind, [None, FEATURES])],
        [helper.make_tensor_value_info("y", kind, [None, CLASSES])],
        initializer=[numpy_helper.from_array(value.astype(dtype), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@dataclass
class Mlp:
    """The same thing by hand: forward, backward, FedProx, SGD and Adam, all in float64."""

    weights: dict[str, Floats]
    anchors: dict[str, Floats]
    first: dict[str, Floats] = field(default_factory=dict)
    second: dict[str, Floats] = field(default_factory=dict)
    steps: int = 0

    def gradients(self, x: Floats, y: NDArray[np.int64], mu: float) -> tuple[float, dict[str, Floats]]:
        w = self.weights
        norm = np.log(np.abs(x)) - w["mean"]
        hidden = norm @ w["w1"] + w["b1"]
        active = np.maximum(hidden, 0)
        scores = active @ w["w2"].T + w["b2"]
        scores = scores - scores.max(1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        loss = -logs[np.arange(len(y)), y].mean()
        back = np.exp(logs)
        back[np.arange(len(y)), y] -= 1
        back /= len(y)
        upper = (back @ w["w2"]) * (hidden > 0)
        found = {"w2": back.T @ active, "b2": back.sum(0), "w1": norm.T @ upper, "b1": upper.sum(0)}
        for name in found:
            drift = w[name] - self.anchors[name]
            loss += mu / 2 * float((drift**2).sum())
            found[name] = found[name] + mu * drift
        return float(loss), found

    def step(self, x: Floats, y: NDArray[np.int64], lr: float, mu: float, optimizer: str) -> tuple[float, float]:
        loss, found = self.gradients(x, y, mu)
        self.steps += 1
        for name, gradient in found.items():
            move = gradient
            if optimizer == "adam":
                self.first[name] = 0.9 * self.first.get(name, np.zeros_like(gradient)) + 0.1 * gradient
                self.second[name] = 0.999 * self.second.get(name, np.zeros_like(gradient)) + 0.001 * gradient**2
                mean = self.first[name] / (1 - 0.9**self.steps)
                move = mean / (np.sqrt(self.second[name] / (1 - 0.999**self.steps)) + 1e-8)
            self.weights[name] = self.weights[name] - lr * move
        return loss, float(np.sqrt(sum((gradient**2).sum() for gradient in found.values())))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_ten_steps_equal_numpy(run: Any, optimizer: Any, mu: float, dtype: Any, tolerance: float) -> None:
    rng = np.random.default_rng(7)
    weights = {
        "mean": rng.normal(size=FEATURES),
        "w1": rng.normal(size=(FEATURES, HIDDEN)),
        "b1": rng.normal(size=HIDDEN),
        "w2": rng.normal(size=(CLASSES, HIDDEN)),
        "b2": rng.normal(size=CLASSES),
    }
    trainable = ("w1", "b1", "w2", "b2")
    graph = training_graph.build(model(weights, dtype), trainable=trainable, optimizer=optimizer)
    anchors = {name: weights[name] + rng.normal(size=weights[name].shape) for name in trainable}
    hand = Mlp(dict(weights), anchors)
    state: dict[str, Any] = {f"p.{name}": weights[name] for name in trainable}
    fixed = {f"g.{name}": anchors[name] for name in trainable}
    for _ in range(10):
        x, y = rng.normal(size=(ROWS, FEATURES)), rng.integers(0, CLASSES, ROWS)
        out = run(graph, {"x": x, "y": y, "lr": 0.02, "mu": mu, **fixed, **state})
        loss, length = hand.step(x.astype(dtype).astype(np.float64), y, 0.02, mu, optimizer)
        np.testing.assert_allclose(out["loss"], loss, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(out["grad_norm"], length, rtol=tolerance, atol=tolerance)
        state = {name.removeprefix("new."): value for name, value in out.items() if name.startswith("new.")}
        assert all(value.dtype == dtype for name, value in state.items() if name != "t")
    for name in trainable:
        np.testing.assert_allclose(state[f"p.{name}"], hand.weights[name], rtol=tolerance, atol=tolerance)
    if optimizer == "adam":
        assert state["t"] == 10


def test_names_and_shapes_are_the_contract() -> None:
    rng = np.random.default_rng(0)
    shapes = {"mean": (7,), "w1": (7, 5), "b1": (5,), "w2": (3, 5), "b2": (3,)}
    forward = model({name: rng.normal(size=shape) for name, shape in shapes.items()}, np.float32)
    graph = training_graph.build(forward, trainable=("w1", "b2"), optimizer="adam")
    inputs = {value.name: value.type.tensor_type for value in graph.graph.input}
    state = ["p.w1", "p.b2", "g.w1", "g.b2", "m.w1", "m.b2", "v.w1", "v.b2", "t"]
    assert list(inputs) == ["x", "y", "lr", "mu", *state]
    assert inputs["t"].elem_type == inputs["y"].elem_type == TensorProto.INT64
    assert [dim.dim_value for dim in inputs["m.w1"].shape.dim] == [7, 5]
    news = ["new.p.w1", "new.p.b2", "new.m.w1", "new.m.b2", "new.v.w1", "new.v.b2", "new.t"]
    assert [value.name for value in graph.graph.output] == ["loss", "grad_norm", *news]
    frozen = {tensor.name for tensor in graph.graph.initializer}
    assert {"mean", "b1", "w2"} <= frozen
    assert not {"w1", "b2", "p.w1", "p.b2"} & frozen
    assert {node.domain for node in graph.graph.node} == {""}
