"""Every rule against central differences in float64, over shapes, broadcasts and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from nervure_federation import training_graph

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
size = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def forward(
    nodes: list[Any], weights: dict[str, NDArray[np.float64]], x: tuple[int | str | None, ...], classes: int
) -> ModelProto:
    graph = helper.make_graph(
        [*nodes, helper.make_node("Softmax", ["scores"], ["probabilities"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, x)],
        [helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [x[0], classes])],
        initializer=[numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def assert_gradients(model: ModelProto, weights: dict[str, NDArray[np.float64]], x: NDArray[np.float64]) -> None:
    """Compare each weight's gradient (what SGD with lr 1 subtracts) with central differences of the loss."""
    rng = np.random.default_rng(len(x))
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    evaluator = ReferenceEvaluator(training_graph.build(model, trainable=tuple(weights), optimizer="sgd"))
    feeds: dict[str, Any] = {"x": x, "y": rng.integers(0, classes, len(x)), "lr": np.array(1.0), "mu": np.array(0.7)}
    feeds |= {f"p.{name}": value for name, value in weights.items()}
    feeds |= {f"g.{name}": rng.normal(size=value.shape) for name, value in weights.items()}
    outputs = evaluator.run(None, feeds)
    assert isinstance(outputs, list)
    found = dict(zip([f"p.{name}" for name in weights], outputs[2:], strict=True))

    def loss(name: str, value: NDArray[np.float64]) -> float:
        (result,) = evaluator.run(["loss"], feeds | {name: value})
        return float(result)

    step = 1e-5
    for name, after in found.items():
        before = feeds[name]
        for index in np.ndindex(before.shape):
            nudge = np.zeros_like(before)
            nudge[index] = step
            slope = (loss(name, before + nudge) - loss(name, before - nudge)) / (2 * step)
            assert before[index] - after[index] == pytest.approx(slope, rel=1e-5, abs=1e-7)


@quick
@given(seeds, size, size, size, st.booleans(), st.booleans(), st.sampled_from(["none", "row", "one", "scalar"]))
def test_gemm(seed: int, rows: int, inner: int, classes: int, trans_a: bool, trans_b: bool, bias: str) -> None:
    rng = np.random.default_rng(seed)
    shape = {"none": None, "row": (classes,), "one": (1, 1), "scalar": ()}[bias]
    weights = {
        # With transA the left operand is [inner, rows]: a weight product in front makes it so.
        "left": rng.normal(size=(inner, 3)),
        "right": rng.normal(size=(classes, inner) if trans_b else (inner, classes)),
    }
    if shape is not None:
        weights["bias"] = rng.normal(size=shape)
    first = helper.make_node("Gemm", ["left", "x"] if trans_a else ["x", "left"], ["hidden"], transB=1)
    last = helper.make_node(
        "Gemm",
        ["hidden", "right", *(["bias"] if shape is not None else [])],
        ["scores"],
        transA=int(trans_a),
        transB=int(trans_b),
        alpha=0.5,
        beta=1.5,
    )
    assert_gradients(forward([first, last], weights, ("N", 3), classes), weights, rng.normal(size=(rows, 3)))


@quick
@given(seeds, size, size, size, st.booleans())
def test_matmul_over_stacks(seed: int, rows: int, inner: int, classes: int, stacked: bool) -> None:
    rng = np.random.default_rng(seed)
    weights = {"a": rng.normal(size=(3, inner)), "b": rng.normal(size=(rows, inner, 2) if stacked else (1, inner, 2))}
    weights["c"] = rng.normal(size=(4, classes))
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h1"]),  # [N, 2, 3] [3, inner]
        helper.make_node("MatMul", ["h1", "b"], ["h2"]),  # a weight with a stack of its own
        helper.make_node("Flatten", ["h2"], ["h3"]),
        helper.make_node("MatMul", ["h3", "c"], ["scores"]),
    ]
    assert_gradients(forward(nodes, weights, (rows, 2, 3), classes), weights, rng.normal(size=(rows, 2, 3)))


@quick
@given(seeds, size, size, st.sampled_from(["Add", "Sub", "Mul"]), st.booleans(), st.data())
def test_broadcast_arithmetic(seed: int, rows: int, classes: int, op: str, swap: bool, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    shape = data.draw(st.sampled_from([(classes,), (1,), (1, classes), (1, 1), ()]))
    weights = {"w": rng.normal(size=(2, classes)), "b": rng.normal(size=shape)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node(op, ["b", "h"] if swap else ["h", "b"], ["scores"]),
    ]
    assert_gradients(forward(nodes, weights, (None, 2), classes), weights, rng.normal(size=(rows, 2)))


@quick
@given(seeds, size, st.sampled_from(["Relu", "Tanh", "Sigmoid", "Neg", "Identity"]))
def test_activations_and_a_value_used_twice(seed: int, rows: int, op: str) -> None:
    rng = np.random.default_rng(seed)
    weights = {"w": rng.normal(size=(3, 4)), "v": rng.normal(size=(4, 4))}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node(op, ["h"], ["a"]),
        helper.make_node("MatMul", ["a", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["sum"]),  # a skip connection: two gradients meet in a
        helper.make_node("Mul", ["sum", "sum"], ["scores"]),  # both slots of one node
    ]
    assert_gradients(forward(nodes, weights, ("N", 3), 4), weights, rng.normal(size=(rows, 3)))


def test_reshape_in_the_middle() -> None:
    rng = np.random.default_rng(1)
    weights = {"w": rng.normal(size=(3, 4)), "v": rng.normal(size=(2, 2))}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Constant", [], ["cube"], value_ints=[0, 2, 2]),
        helper.make_node("Reshape", ["h", "cube"], ["c"]),
        helper.make_node("MatMul", ["c", "v"], ["d"]),
        helper.make_node("Constant", [], ["flat"], value_ints=[0, 4]),
        helper.make_node("Reshape", ["d", "flat"], ["scores"]),
    ]
    assert_gradients(forward(nodes, weights, ("N", 3), 4), weights, rng.normal(size=(5, 3)))
