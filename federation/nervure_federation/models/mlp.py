"""A multilayer perceptron over one feature vector: the first model family, small enough for any device.

``x`` float32 [N, F] → normalisation (frozen) → (Gemm → Relu) per hidden layer → Gemm → Softmax → ``probabilities``
float32 [N, C]. Weights are ``fc<i>.weight`` [in, out] and ``fc<i>.bias`` [out], counted from 1.

>>> norm = Normalisation.fit(np.ones((1, 3), np.float32), heavy=[True, True, False])
>>> model = build(norm, labels=2, hidden=(4,), seed=1)
>>> trainable(model)
('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias')
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from nervure_federation.models.normalisation import Normalisation

OPSET = 18
IR_VERSION = 10
"""Read by onnxruntime 1.18 and newer; the base install asks for 1.22."""

INPUT = "x"
OUTPUT = "probabilities"


def build(normalisation: Normalisation, *, labels: int, hidden: Sequence[int] = (32, 16), seed: int = 0) -> ModelProto:
    """Build a forward model with random weights inside.

    Args:
        normalisation: Frozen constants; says how many features there are.
        labels: Number of classes, at least 2.
        hidden: Width of each hidden layer.
        seed: Of the weights (He et al. 2015, arXiv:1502.01852; biases start at 0).
    """
    rng = np.random.default_rng(seed)
    features = len(normalisation.mean)
    nodes, constants = normalisation.nodes(INPUT, "normalised")
    widths = [features, *hidden, labels]
    value = "normalised"
    for index, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
        weight = rng.normal(scale=np.sqrt(2.0 / fan_in), size=(fan_in, fan_out)).astype(np.float32)
        constants += [
            numpy_helper.from_array(weight, f"fc{index}.weight"),
            numpy_helper.from_array(np.zeros(fan_out, np.float32), f"fc{index}.bias"),
        ]
        last = index == len(widths) - 1
        made, value = _layer(index, value, last=last)
        nodes += made
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", labels])],
        initializer=constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="nervure")
    checker.check_model(model, full_check=True)
    return model


def trainable(model: ModelProto) -> tuple[str, ...]:
    """List the weights of a model made here, in order."""
    return tuple(tensor.name for tensor in model.graph.initializer if tensor.name.startswith("fc"))


def _layer(index: int, source: str, *, last: bool) -> tuple[list[NodeProto], str]:
    scores = f"fc{index}"
    target = OUTPUT if last else f"{scores}.active"
    return (
        [
            helper.make_node("Gemm", [source, f"{scores}.weight", f"{scores}.bias"], [scores], name=scores),
            helper.make_node("Softmax", [scores], [target], name=target, axis=-1)
            if last
            else helper.make_node("Relu", [scores], [target], name=target),
        ],
        target,
    )
